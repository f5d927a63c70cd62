//! A command that does nothing, from the request to its exit code.

use anyhow::ensure;
use tokio::process::Command;
use tokio::time::Instant;

use crate::docker::Docker;
use crate::server::{Project, Server};
use crate::table::{Row, Samples, Table, Verdict, ratio, times};

/// Rounds; each has one command through Docker and several through the server.
const ROUNDS: usize = 40;
/// Commands through the server in one round.
const OURS_PER_ROUND: usize = 10;
/// How many times faster than Docker's it is to be, at p50.
const TIMES_FASTER_MIN: f64 = 20.0;

pub(crate) async fn measure(
    server: &mut Server,
    docker: &mut Docker,
    project: &Project,
    table: &mut Table,
) -> anyhow::Result<()> {
    let [mut ours, mut theirs, mut floor]: [Samples; 3] = Default::default();
    let has_busybox = Command::new("busybox").arg("true").status().await.is_ok();
    // The first round is not counted: it pays for what is made once.
    for round in 0..=ROUNDS {
        for _ in 0..OURS_PER_ROUND {
            let began = Instant::now();
            server.exec(&project.id, &["true"]).await?;
            if round > 0 {
                ours.add(began.elapsed());
            }
        }
        let began = Instant::now();
        let exit_code = docker.exec(&project.container, &["true"]).await?;
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
    let faster = ratio(theirs.p50(), ours.p50());
    table.add(Row {
        what: "exec of `true`".into(),
        budget: format!("{TIMES_FASTER_MIN} times faster"),
        ours: times(&ours),
        docker: times(&theirs),
        ratio: format!("{faster:.1} times faster"),
        verdict: Verdict::of(faster >= TIMES_FASTER_MIN),
    });
    // The image is made from this machine's busybox, so it is the same program.
    let floor = if has_busybox { times(&floor) } else { "no busybox here".into() };
    table.add(Row::told("  the same program without a sandbox", floor));
    Ok(())
}
