//! What live and passivated projects cost, and how long a server takes to find ten
//! thousand of them that were running.

use std::time::{Duration, Instant};

use anyhow::ensure;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use sandtree_model::{Failure, Phase};

use crate::memory::live_bytes;
use crate::page::{Page, Row};
use crate::world::{AT_ONCE, Running, World, asker, key, started};

/// Projects in the store.
const ROWS: u64 = 100_000;
/// Of these, projects that run, if so many files may be open.
const LIVE_MAX: u64 = 10_000;
/// Files of a live project: its socket, and both ends of its link, for the other end is
/// in this process as well. And what else is open.
const FILES_EACH: u64 = 3;
const FILES_ELSE: u64 = 500;
/// Most bytes of the heap for each.
const LIVE_BYTES_MAX: usize = 40 * 1024;
const PASSIVATED_BYTES_MAX: usize = 1024;
/// Longest time until it serves, and until all that run are linked again.
const SERVING_MAX: Duration = Duration::from_millis(300);
const RECONCILED_MAX: Duration = Duration::from_secs(5);
/// Longest wait for anything here.
const PATIENCE: Duration = Duration::from_secs(300);

pub(crate) async fn measure(page: &mut Page) -> anyhow::Result<()> {
    let files = sandtree::open_files::raise_limit().unwrap_or(u64::MAX);
    let live = LIVE_MAX.min(files.saturating_sub(FILES_ELSE) / FILES_EACH);
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
    let without = settled_bytes().await;

    let began = Instant::now();
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
    page.add(Row::new(
        &format!("{live} that were running, until all are linked again"),
        "<= 5 s for 10,000, in proportion",
        format!("{reconciled:.2?}"),
        reconciled <= RECONCILED_MAX.mul_f64(live as f64 / LIVE_MAX as f64),
    ));
    let each = settled_bytes().await.saturating_sub(without) / usize::try_from(live)?;
    page.add(Row::new(
        "heap of a live idle project",
        "<= 40 KiB",
        format!("{:.1} KiB", each as f64 / 1024.0),
        each <= LIVE_BYTES_MAX,
    ));
    running.crash().await
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

/// Wakes projects that are at rest, and waits until they have left memory.
async fn touch_all(running: &Running, live: u64) -> anyhow::Result<()> {
    let touched = stream::iter(live..2 * live).map(|number| async move {
        let key = key(number)?;
        let opened = running.call(move |tree| async move { tree.files(&key).await.map(drop) });
        anyhow::Ok(opened.await??)
    });
    touched.buffer_unordered(AT_ONCE).try_collect::<()>().await?;
    wait_until(|| running.tree.live_projects() == 0).await
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
