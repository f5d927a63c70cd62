//! What live and passivated projects cost, and how long a server takes to find ten
//! thousand of them that were running.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use sandtree_actors::{ExecOutput, Tree};
use sandtree_model::{Failure, Phase, ProjectKey};
use sandtree_wire::ExecSpec;

use crate::memory::live_bytes;
use crate::page::{Page, Row};
use crate::world::{AT_ONCE, Running, World, asker, key, started};

/// Projects in the store.
const ROWS: u64 = 100_000;
/// Of these, projects that run, if so many files may be open.
const LIVE_MAX: u64 = 10_000;
/// Files that are open beside the link of each: the database, sockets that listen for a
/// moment, and those of the runtimes.
const FILES_ELSE: u64 = 4_000;
/// Projects at rest that are woken before they may leave memory again.
const AWAKE_MAX: u64 = 2_000;
/// Most bytes of the heap for each.
const LIVE_BYTES_MAX: usize = 40 * 1024;
const PASSIVATED_BYTES_MAX: usize = 1024;
/// Most open files for each; what else comes and goes is a hundredth.
const LIVE_FILES_MAX: f64 = 1.01;
/// Projects that are asked for something among them.
const SAMPLES: u64 = 1_000;
/// Longest time until it serves, and until all that run are linked again.
const SERVING_MAX: Duration = Duration::from_millis(300);
const RECONCILED_MAX: Duration = Duration::from_secs(5);
/// Longest wait for anything here.
const PATIENCE: Duration = Duration::from_secs(300);

pub(crate) async fn measure(page: &mut Page) -> anyhow::Result<()> {
    let files = sandtree::open_files::raise_limit().unwrap_or(u64::MAX);
    let live = LIVE_MAX.min(files.saturating_sub(FILES_ELSE));
    let world = World::new()?;
    let running = world.spawn().await?;
    running.fill(live, ROWS).await?;
    passivated(page, &running, live).await?;
    let began = Instant::now();
    create_all(&running, live).await?;
    let rate = per_second(live, began.elapsed());
    page.add(Row::told(
        "creates with a start, 64 at once, 100,000 projects",
        format!("{rate:.0} a second, {:.0} durable transitions a second", rate * 3.0),
    ));
    running.crash().await?;
    let without = (settled_bytes().await, open_files()?);

    let (began, worked) = (Instant::now(), processor_time()?);
    let running = world.spawn().await?;
    let some = key(ROWS / 2)?;
    running.call(|tree| async move { tree.get(&some).await }).await??;
    let serving = began.elapsed();
    page.add(Row::new(
        "start-up with 100,000 projects, until the first answer",
        "<= 300 ms",
        format!("{serving:.0?}"),
        serving <= SERVING_MAX,
    ));
    let reconciled = reconciled(&running, live, began).await?;
    let worked = processor_time()?.saturating_sub(worked);
    page.add(Row::new(
        &format!("{live} that were running, until all are linked again"),
        "<= 5 s for 10,000, in proportion",
        format!("{reconciled:.2?}, with {worked:.2?} of the processor"),
        reconciled <= RECONCILED_MAX.mul_f64(live as f64 / LIVE_MAX as f64),
    ));
    idle(page, live, without).await?;
    asked(page, &running, live).await?;
    running.crash().await
}

/// What live projects cost that nobody asks for anything, beside what there is `without`.
async fn idle(page: &mut Page, live: u64, without: (usize, u64)) -> anyhow::Result<()> {
    let each = settled_bytes().await.saturating_sub(without.0) / usize::try_from(live)?;
    page.add(Row::new(
        "heap of a live idle project",
        "<= 40 KiB",
        format!("{:.1} KiB", each as f64 / 1024.0),
        each <= LIVE_BYTES_MAX,
    ));
    let each = open_files()?.saturating_sub(without.1) as f64 / live as f64;
    let is_met = each <= LIVE_FILES_MAX;
    page.add(Row::new(
        "open files of a live idle project",
        "<= 1.01",
        format!("{each:.3}"),
        is_met,
    ));
    Ok(())
}

/// How long projects among so many take to answer.
async fn asked(page: &mut Page, running: &Running, live: u64) -> anyhow::Result<()> {
    let (mut status, mut quiet, mut again) = (Vec::new(), Vec::new(), Vec::new());
    for sample in 0..SAMPLES {
        let key = key(sample * 7919 % live)?;
        let times = running.call(|tree| async move {
            let began = Instant::now();
            tree.get(&key).await?;
            let status = began.elapsed();
            anyhow::Ok([status, exec(&tree, &key).await?, exec(&tree, &key).await?])
        });
        let [first, second, third] = times.await??;
        status.push(first);
        quiet.push(second);
        again.push(third);
    }
    for (what, times) in [
        ("status of one", status),
        ("first command in one that was quiet", quiet),
        ("another command in it", again),
    ] {
        page.add(Row::told(&format!("{what} of {live} that are live, p50 and p99"), shown(times)));
    }
    Ok(())
}

/// The time of a command that does nothing.
async fn exec(tree: &Tree, key: &ProjectKey) -> anyhow::Result<Duration> {
    let began = Instant::now();
    let argv = vec!["true".to_owned()];
    let spec = ExecSpec { argv, ..ExecSpec::default() };
    let mut exec = tree.sandbox(key).await?.exec(spec).await?;
    loop {
        match exec.next().await? {
            ExecOutput::Exited { .. } => return Ok(began.elapsed()),
            ExecOutput::Failed(error) => bail!("a command was not started: {error:?}"),
            ExecOutput::Started { .. } | ExecOutput::Stdout(_) | ExecOutput::Stderr(_) => {}
        }
    }
}

fn shown(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let us = |time: Duration| time.as_secs_f64() * 1e6;
    let (p50, p99) = (times[times.len() / 2], times[times.len() * 99 / 100]);
    format!("{:.0} µs, {:.0} µs", us(p50), us(p99))
}

/// What this process has had of the processor so far.
fn processor_time() -> anyhow::Result<Duration> {
    const TICKS_A_SECOND: u64 = 100;
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // Behind the name, which may hold anything: user and system time, in ticks.
    let (_, numbers) = stat.rsplit_once(')').context("a name")?;
    let ticks = numbers.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
    let ticks = ticks.sum::<Result<u64, _>>()?;
    Ok(Duration::from_millis(ticks * 1000 / TICKS_A_SECOND))
}

/// Files that this process has open.
fn open_files() -> anyhow::Result<u64> {
    Ok(std::fs::read_dir("/proc/self/fd")?.count().try_into()?)
}

/// Projects at rest are asked for something, and let go again.
async fn passivated(page: &mut Page, running: &Running, live: u64) -> anyhow::Result<()> {
    touch_all(running, live).await?;
    let before = settled_bytes().await;
    touch_all(running, live).await?;
    let after = settled_bytes().await;
    let each = after.saturating_sub(before) / usize::try_from(live)?;
    page.add(Row::new(
        "heap of a passivated project",
        "<= 1 KiB",
        format!("{each} bytes"),
        each <= PASSIVATED_BYTES_MAX,
    ));
    Ok(())
}

/// Wakes projects that are at rest, and waits until they have left memory; some at a time,
/// because files that are asked for are kept open until then.
async fn touch_all(running: &Running, live: u64) -> anyhow::Result<()> {
    let mut first = live;
    while first < 2 * live {
        let some = first..(2 * live).min(first + AWAKE_MAX);
        first = some.end;
        let touched = stream::iter(some).map(|number| async move {
            let key = key(number)?;
            let opened = running.call(move |tree| async move { tree.files(&key).await.map(drop) });
            anyhow::Ok(opened.await??)
        });
        touched.buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        wait_until(|| running.tree.live_projects() == 0).await?;
    }
    Ok(())
}

async fn create_all(running: &Running, live: u64) -> anyhow::Result<()> {
    let created = stream::iter(0..live).map(|number| async move {
        let request = started(number)?;
        let create =
            running.call(move |tree| async move { tree.create(&asker(), request).await.map(drop) });
        anyhow::Ok(create.await??)
    });
    created.buffer_unordered(AT_ONCE).try_collect().await
}

/// How long it takes until every project that runs has its link.
async fn reconciled(running: &Running, live: u64, began: Instant) -> anyhow::Result<Duration> {
    let linked = stream::iter(0..live).map(|number| async move {
        let key = key(number)?;
        let asked = running.call(move |tree| async move {
            tree.sandbox(&key).await.map(drop).map_err(|failure: Failure| failure)
        });
        anyhow::Ok(asked.await??)
    });
    linked.buffer_unordered(AT_ONCE).try_collect::<()>().await?;
    let time = began.elapsed();
    let some = key(live - 1)?;
    let view = running.call(|tree| async move { tree.get(&some).await }).await??;
    ensure!(view.project.phase == Phase::Running, "a project does not run");
    Ok(time)
}

async fn wait_until(holds: impl Fn() -> bool) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        ensure!(Instant::now() < deadline, "waited in vain");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// Bytes of the heap once nothing changes any more.
async fn settled_bytes() -> usize {
    let mut last = live_bytes();
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = live_bytes();
        if now.abs_diff(last) < 64 * 1024 {
            return now;
        }
        last = now;
    }
}

fn per_second(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}
