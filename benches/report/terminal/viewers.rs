//! Fifty viewers of one flood, one of which does not read.
//!
//! Two questions: does a viewer that stands still take anything from the others, and what
//! is left for each when there are so many.

use std::sync::Arc;

use anyhow::Context as _;
use futures_util::future::try_join_all;
use tokio::time::Instant;

use super::Tty;
use super::flood::{self, End, Round};
use crate::Bench;
use crate::report::{Row, Verdict};
use crate::samples::median;
use crate::server::Project;

/// Viewers, the one that stands still included.
const VIEWERS: usize = 50;
/// How often each crowd sees it.
const ROUNDS: usize = 3;
/// Least share of the rate that the others keep.
const KEPT_MIN: f64 = 0.9;

pub(super) async fn measure(bench: &mut Bench, project: &Project) -> anyhow::Result<()> {
    let scratch = bench.server.scratch()?;
    let file = flood::make_file(&scratch, flood::FILE_BYTES)?;
    flood::give(bench, project, &file, "viewers").await?;
    let (mut alone, mut all, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        alone.push(crowd(bench, project, 1, 0).await?);
        all.push(crowd(bench, project, VIEWERS - 1, 0).await?);
        others.push(crowd(bench, project, VIEWERS - 1, 1).await?);
    }
    let [alone, all, others] = [alone, all, others].map(|rates| median(&rates));
    for (what, beside, rate) in [
        ("50 viewers, one stalled: each other one", "none stalled", all),
        ("50 viewers, one stalled, beside one viewer", "a single viewer", alone),
    ] {
        bench.report.add(Row {
            what: what.into(),
            budget: format!(">= {KEPT_MIN} of it"),
            ours: format!("{others:.1} MB/s"),
            beside: format!("{beside} {rate:.1} MB/s"),
            ratio: format!("{:.2} of it", others / rate),
            verdict: Verdict::of(others / rate >= KEPT_MIN),
        });
    }
    let in_all = others * f64::from(u8::try_from(VIEWERS - 1).unwrap_or(u8::MAX));
    let text = format!("{in_all:.0} MB/s in all");
    bench.report.add(Row::told("  what the server sends to 49 viewers", text));
    Ok(())
}

/// The middle rate of those who read.
async fn crowd(
    bench: &Bench,
    project: &Project,
    reading: usize,
    stalled: usize,
) -> anyhow::Result<f64> {
    let mut stalls = Vec::new();
    for _ in 0..stalled {
        stalls.push(Tty::of(&bench.server, project).await?);
    }
    let mut readers = Vec::new();
    for _ in 0..reading {
        let mut tty = Tty::of(&bench.server, project).await?;
        tty.prompt().await?;
        readers.push(tty);
    }
    let Some(mut first) = readers.pop() else { return Ok(0.0) };
    let end = Arc::new(End::new());
    let others = readers.into_iter().map(|mut tty| {
        let end = Arc::clone(&end);
        tokio::spawn(async move { flood::see(&mut tty, Instant::now(), &end).await })
    });
    let others: Vec<_> = others.collect();
    let mut rounds = vec![flood::run(&mut first, "viewers", &end).await.context("who types")?];
    let seen: Vec<anyhow::Result<Round>> = try_join_all(others).await?;
    rounds.extend(seen.into_iter().collect::<anyhow::Result<Vec<_>>>()?);
    drop(stalls);
    Ok(median(&rounds.iter().map(Round::rate).collect::<Vec<_>>()))
}
