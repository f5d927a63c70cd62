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

pub(crate) async fn measure(page: &mut Page) -> anyhow::Result<()> {
    let world = World::new()?;
    let running = world.spawn().await?;
    let mut curves: Vec<Vec<(u64, Duration)>> = vec![Vec::new(); OPERATIONS.len()];
    let mut there = 0;
    for size in SIZES {
        running.fill(there, size).await?;
        there = size;
        for (curve, p50) in curves.iter_mut().zip(at(&running, size).await?) {
            curve.push((size, p50));
        }
    }
    for (what, curve) in OPERATIONS.iter().zip(&curves) {
        let (first, last) = (curve[0].1, curve[curve.len() - 1].1);
        let growth = last.as_secs_f64() / first.as_secs_f64();
        let times: Vec<String> = curve.iter().map(|(_, p50)| format!("{p50:.0?}")).collect();
        page.add(Row::new(
            &format!("{what}, p50 with 100 to 100,000 projects"),
            "flat: <= 1.5 times",
            format!("{} ({growth:.2} times)", times.join(", ")),
            growth <= GROWTH_MAX,
        ));
    }
    page.plot(&OPERATIONS, &curves);
    running.crash().await
}

/// The p50 of every operation with so many projects.
async fn at(running: &Running, size: u64) -> anyhow::Result<Vec<Duration>> {
    let mut samples = vec![Vec::new(); OPERATIONS.len()];
    for sample in 0..SAMPLES {
        for (times, time) in samples.iter_mut().zip(once(running, size, sample).await?) {
            times.push(time);
        }
    }
    let p50 = |mut times: Vec<Duration>| {
        times.sort_unstable();
        times[times.len() / 2]
    };
    Ok(samples.into_iter().map(p50).collect())
}

async fn once(running: &Running, size: u64, sample: u64) -> anyhow::Result<Vec<Duration>> {
    // Spread over all of them.
    let resting = key(sample * 7919 % size)?;
    let (fresh, live) = (key(900_000 + sample)?, key(900_000 + sample)?);
    let request = started(900_000 + sample)?;
    let tenant = resting.tenant.clone();
    let filter =
        Filter { after: Some(resting.id.as_str().into()), limit: 100, ..Filter::default() };
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
