//! From nothing to the first output of a command, in a sandbox that was ready.
//!
//! The pool is full before each create, as it is where it is large enough; it makes
//! another sandbox while the command runs, and both are on the clock.

use std::time::Duration;

use anyhow::ensure;

use crate::Bench;
use crate::create::{add, created};
use crate::report::{Row, Verdict};
use crate::samples::{Samples, ms, times};
use crate::server::Server;

/// Sandboxes that are kept ready.
const POOL: usize = 4;
/// Creates that are counted.
const ROUNDS: usize = 100;
/// Longest time to the first output, at p50.
const TIME_MAX: Duration = Duration::from_millis(15);

pub(crate) async fn measure(bench: &mut Bench) -> anyhow::Result<()> {
    let mut server = Server::start_pooled(&bench.docker, POOL).await?;
    let measured = rounds(&mut server).await;
    server.end().await?;
    let [total, create, exec] = measured?;
    bench.report.add(Row {
        what: "create to first output, from the pool".into(),
        budget: format!("<= {} at p50", ms(TIME_MAX)),
        ours: times(&total),
        beside: String::new(),
        ratio: String::new(),
        verdict: Verdict::of(total.p50() <= TIME_MAX),
    });
    let text = format!("create {}, exec {}", ms(create.p50()), ms(exec.p50()));
    bench.report.add(Row::told("  of which", text));
    let lines = [("sandtree, from the pool", &total)];
    bench.report.shares("warm", "Create to first output, from the pool", &lines);
    Ok(())
}

async fn rounds(server: &mut Server) -> anyhow::Result<[Samples; 3]> {
    let mut samples = <[Samples; 3]>::default();
    for round in 0..=ROUNDS {
        server.filled(POOL).await?;
        let times = created(server, &format!("warm-{round}")).await?;
        // The first one opens what is opened once.
        if round > 0 {
            add(&mut samples, times);
        }
    }
    let metrics = server.http.text("/metrics").await?;
    ensure!(!metrics.contains("outcome=\"miss\""), "a create was not served from the pool");
    Ok(samples)
}
