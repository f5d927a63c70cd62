//! A command that does nothing, from the request to its exit code.

use anyhow::ensure;
use std::time::Duration;
use tokio::process::Command;
use tokio::time::Instant;

use crate::Bench;
use crate::report::{Row, Verdict};
use crate::samples::{Samples, ms, ratio, times};
use crate::server::Project;

/// Rounds; each has one command through Docker and several through the server.
const ROUNDS: usize = 50;
/// Commands through the server in one round.
const OURS_PER_ROUND: usize = 20;
/// Longest time at p50 and at p99.
const P50_MAX: Duration = Duration::from_micros(1500);
const P99_MAX: Duration = Duration::from_millis(5);
/// How many times faster than Docker's it is to be, at p50.
const TIMES_FASTER_MIN: f64 = 25.0;

pub(crate) async fn measure(bench: &mut Bench, project: &Project) -> anyhow::Result<()> {
    let [mut ours, mut theirs, mut floor]: [Samples; 3] = Default::default();
    let has_busybox = Command::new("busybox").arg("true").status().await.is_ok();
    // The first round is not counted: it pays for what is made once.
    for round in 0..=ROUNDS {
        for _ in 0..OURS_PER_ROUND {
            let began = Instant::now();
            bench.server.exec(&project.id, &["true"]).await?;
            if round > 0 {
                ours.add(began.elapsed());
            }
        }
        let began = Instant::now();
        let exit_code = bench.docker.exec(&project.container, &["true"]).await?;
        ensure!(exit_code == 0, "Docker's `true` ended with {exit_code}");
        if round > 0 {
            theirs.add(began.elapsed());
        }
        if has_busybox {
            let began = Instant::now();
            Command::new("busybox").arg("true").status().await?;
            floor.add(began.elapsed());
        }
    }
    report(bench, &ours, &theirs);
    // The image is made from this machine's busybox, so it is the same program.
    let text = if has_busybox { times(&floor) } else { "no busybox here".into() };
    bench.report.add(Row::told("  the same program as a child of the bench", text));
    let lines = [("sandtree", &ours), ("Docker's API", &theirs), ("no sandbox", &floor)];
    bench.report.shares("exec", "exec of `true`: share done after so long", &lines);
    Ok(())
}

fn report(bench: &mut Bench, ours: &Samples, theirs: &Samples) {
    let is_met = ours.p50() <= P50_MAX && ours.p99() <= P99_MAX;
    let what = "exec of `true`";
    let budget = format!("<= {} / <= {}", ms(P50_MAX), ms(P99_MAX));
    bench.report.add(Row::alone(what, &budget, times(ours), is_met));
    let faster = ratio(theirs.p50(), ours.p50());
    bench.report.add(Row {
        what: "exec of `true`, beside Docker's".into(),
        budget: format!(">= {TIMES_FASTER_MIN} times faster"),
        ours: times(ours),
        beside: format!("Docker {}", times(theirs)),
        ratio: format!("{faster:.1} times faster"),
        verdict: Verdict::of(faster >= TIMES_FASTER_MIN),
    });
}
