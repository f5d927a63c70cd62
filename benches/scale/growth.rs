//! Whether an operation costs more when there are more projects.

use std::time::{Duration, Instant};

use sandtree_actors::Operation;
use sandtree_actors::ports::Filter;

use crate::page::{Page, Row};
use crate::world::{Running, World, asker, key, started};

/// How many projects there are.
const SIZES: [u64; 4] = [100, 1_000, 10_000, 100_000];
/// Times that each operation is done at each size.
const SAMPLES: u64 = 300;
/// Projects in one page of the list: as many as there are at least.
const PAGE: u32 = 100;
/// What is measured, in the order of [`once`].
pub(crate) const OPERATIONS: [&str; 6] = [
    "status of one at rest",
    "list of 100",
    "create with a start",
    "status of a live one",
    "stop",
    "delete",
];
/// How much more an operation may cost with a thousand times as many projects.
const GROWTH_MAX: f64 = 1.5;

/// A tree with so many projects, and how long each operation took there.
struct Sized {
    size: u64,
    running: Running,
    /// What the tree stands on; goes after it.
    _world: World,
    samples: Vec<Vec<Duration>>,
}

pub(crate) async fn measure(page: &mut Page) -> anyhow::Result<()> {
    let mut all = Vec::new();
    for size in SIZES {
        all.push(Sized::filled(size).await?);
    }
    // In turns, so that a machine that is busy for a while is busy for all of them.
    for sample in 0..=SAMPLES {
        for sized in &mut all {
            sized.sample(sample).await?;
        }
    }
    let mut curves: Vec<Vec<(u64, Duration)>> = vec![Vec::new(); OPERATIONS.len()];
    for sized in all {
        for (curve, p50) in curves.iter_mut().zip(sized.end().await?) {
            curve.push(p50);
        }
    }
    report(page, &curves);
    Ok(())
}

fn report(page: &mut Page, curves: &[Vec<(u64, Duration)>]) {
    for (what, curve) in OPERATIONS.iter().zip(curves) {
        let (first, last) = (curve[0].1, curve[curve.len() - 1].1);
        let growth = last.as_secs_f64() / first.as_secs_f64();
        let times: Vec<String> = curve.iter().map(|(_, p50)| shown(*p50)).collect();
        page.add(Row::new(
            &format!("{what}, p50 with 100 to 100,000 projects"),
            "flat: <= 1.5 times",
            format!("{} ({growth:.2} times)", times.join(", ")),
            growth <= GROWTH_MAX,
        ));
    }
    page.plot(&OPERATIONS, curves);
}

/// A time with digits enough to see what a ratio is made of.
fn shown(time: Duration) -> String {
    let us = time.as_secs_f64() * 1e6;
    if us < 1000.0 { format!("{us:.1} µs") } else { format!("{:.2} ms", us / 1000.0) }
}

impl Sized {
    async fn filled(size: u64) -> anyhow::Result<Self> {
        let world = World::new()?;
        let running = world.spawn().await?;
        running.fill(0, size).await?;
        Ok(Self { size, running, _world: world, samples: vec![Vec::new(); OPERATIONS.len()] })
    }

    /// Does every operation once.
    async fn sample(&mut self, sample: u64) -> anyhow::Result<()> {
        let times = once(&self.running, self.size, sample).await?;
        // The first one opens what is opened once.
        if sample > 0 {
            self.samples.iter_mut().zip(times).for_each(|(samples, time)| samples.push(time));
        }
        Ok(())
    }

    /// The p50 of every operation.
    async fn end(self) -> anyhow::Result<Vec<(u64, Duration)>> {
        self.running.crash().await?;
        let p50 = |mut times: Vec<Duration>| {
            times.sort_unstable();
            (self.size, times[times.len() / 2])
        };
        Ok(self.samples.into_iter().map(p50).collect())
    }
}

async fn once(running: &Running, size: u64, sample: u64) -> anyhow::Result<Vec<Duration>> {
    // Spread over all of them.
    let resting = key(sample * 7919 % size)?;
    let (fresh, live) = (key(900_000 + sample)?, key(900_000 + sample)?);
    let request = started(900_000 + sample)?;
    let tenant = resting.tenant.clone();
    // Whatever there are, the page is a full one.
    let first = sample * 7919 % (size + 1 - u64::from(PAGE));
    let after = first.checked_sub(1).map(key).transpose()?;
    let after = after.map(|key| key.id.as_str().into());
    let filter = Filter { after, limit: PAGE, ..Filter::default() };
    let (stopping, deleting) = (fresh.clone(), fresh);
    let delete = Operation::Delete { keep_files: false };
    running
        .call(move |tree| async move {
            let mut times = Vec::new();
            let mut began = Instant::now();
            let mut lap = || {
                times.push(began.elapsed());
                began = Instant::now();
            };
            tree.get(&resting).await?;
            lap();
            tree.list(&tenant, &filter).await?;
            lap();
            tree.create(&asker(), request).await?;
            lap();
            tree.get(&live).await?;
            lap();
            tree.operate(&asker(), &stopping, Operation::Stop).await?;
            lap();
            tree.operate(&asker(), &deleting, delete).await?;
            lap();
            anyhow::Ok(times)
        })
        .await?
}
