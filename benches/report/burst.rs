//! A hundred sandboxes that are asked for at the same moment.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures_util::future::join_all;
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::Bench;
use crate::create::raw_body;
use crate::docker::Docker;
use crate::http::Http;
use crate::report::{Row, Verdict};
use crate::samples::{Samples, ratio};
use crate::server::{Project, Server};

/// Sandboxes in one burst.
const CREATES: usize = 100;
/// How many times Docker's p95 it may take.
const RATIO_MAX: f64 = 1.2;
/// Sandboxes that are ready before the burst of a server with a pool.
const POOL: usize = 20;
/// Requests at once: as many as the server lets through to the engine, so that the
/// daemon is asked the same way by both.
const AT_ONCE: usize = 16;

pub(crate) async fn measure(bench: &mut Bench, project: &Project) -> anyhow::Result<()> {
    let workspace = bench.server.scratch()?;
    let body = raw_body(bench, project, workspace.path()).await?;
    let address = bench.server.address.clone();
    let cold = side_by_side(bench, &body, &address).await?;
    for number in 0..CREATES {
        // One that failed has left nothing.
        let _ = bench.server.delete(&id(number)).await;
    }
    let mut server = Server::start_pooled(&bench.docker, POOL).await?;
    server.filled(POOL).await?;
    let pooled = side_by_side(bench, &body, &server.address).await;
    server.end().await?;
    let pooled = pooled?;
    report(bench, "no pool", &cold);
    report(bench, &format!("pool of {POOL}"), &pooled);
    let mut theirs = cold.theirs.clone();
    theirs.extend(pooled.theirs.clone());
    let lines = [
        ("sandtree, no pool", &cold.ours),
        ("sandtree, pool of 20", &pooled.ours),
        ("Docker's API", &theirs),
    ];
    bench.report.shares("burst", "Burst of 100 creates: share done after so long", &lines);
    Ok(())
}

/// A burst through Docker's API and one through a server, right after it.
struct Bursts {
    ours: Samples,
    our_failures: Vec<anyhow::Error>,
    theirs: Samples,
    their_failures: Vec<anyhow::Error>,
}

async fn side_by_side(bench: &mut Bench, body: &Value, address: &str) -> anyhow::Result<Bursts> {
    let (theirs, their_failures) = collect(theirs(body).await);
    bench.docker.remove_ours().await?;
    let (ours, our_failures) = collect(ours(address).await);
    Ok(Bursts { ours, our_failures, theirs, their_failures })
}

fn report(bench: &mut Bench, pool: &str, bursts: &Bursts) {
    let Bursts { ours, our_failures, theirs, their_failures } = bursts;
    let (what, is_met) = (format!("burst of 100 creates, {pool}"), our_failures.is_empty());
    let failures = format!("{} of {CREATES} failed", our_failures.len());
    bench.report.add(Row::alone(&what, "no failure", failures, is_met));
    if let Some(why) = our_failures.first() {
        bench.report.add(Row::told("  the first failure", format!("{why:#}")));
    }
    let slower = ratio(ours.p95(), theirs.p95());
    let seconds = |samples: &Samples| {
        let [p50, p95] = [samples.p50(), samples.p95()].map(|time| time.as_secs_f64());
        format!("p50 {p50:.2} s, p95 {p95:.2} s")
    };
    bench.report.add(Row {
        what: format!("{what}: time"),
        budget: format!("p95 <= {RATIO_MAX} times Docker's"),
        ours: seconds(ours),
        beside: format!("Docker {}, {} failed", seconds(theirs), their_failures.len()),
        ratio: format!("{slower:.2} times as long"),
        verdict: Verdict::of(slower <= RATIO_MAX),
    });
}

type Outcome = anyhow::Result<Duration>;

fn collect(outcomes: Vec<Outcome>) -> (Samples, Vec<anyhow::Error>) {
    let (mut samples, mut failures) = (Samples::default(), Vec::new());
    for outcome in outcomes {
        match outcome {
            Ok(time) => samples.add(time),
            Err(why) => failures.push(why),
        }
    }
    (samples, failures)
}

fn id(number: usize) -> String {
    format!("burst-{number}")
}

/// Creates through the server, each on a connection of its own.
async fn ours(address: &str) -> Vec<Outcome> {
    let began = Instant::now();
    let creates = (0..CREATES).map(|number| async move {
        let mut http = Http::tcp(address).await?;
        let body = serde_json::json!({ "id": id(number), "profile": "small", "start": true });
        http.post("/v1/projects", &body).await?;
        Ok(began.elapsed())
    });
    join_all(creates).await
}

/// Creates and starts through Docker's API; the wait for a turn counts.
async fn theirs(body: &Value) -> Vec<Outcome> {
    let began = Instant::now();
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let creates = (0..CREATES).map(|_| {
        let (turns, body) = (Arc::clone(&turns), body.clone());
        async move {
            let _turn = turns.acquire().await.context("no more turns")?;
            let mut docker = Docker::connect().await?;
            let id = docker.create(body).await?;
            docker.start(&id).await?;
            Ok(began.elapsed())
        }
    });
    join_all(creates).await
}
