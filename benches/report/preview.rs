//! A preview, beside a direct connection to the very same server.
//!
//! The sandbox has a network for once, so that its server can be reached without a
//! preview: over the engine's bridge. Both ways end in the same process. Where the engine has
//! no bridge that works, the same program runs on this machine for the direct way.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use http_body_util::BodyExt as _;
use hyper::Method;
use serde_json::json;
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use crate::Bench;
use crate::http::Http;
use crate::report::{Row, Verdict};
use crate::samples::{Samples, median, ms, rate, times};
use crate::server::Project;

/// Size of the large file.
const FILE_BYTES: usize = 256 * 1024 * 1024;
/// How often each way fetches the large file.
const ROUNDS: usize = 5;
/// How often each way fetches the small file.
const REQUESTS: usize = 300;
/// Least share of the direct rate.
const RATE_MIN: f64 = 0.7;
/// Most that a preview adds, at p50.
const ADDED_MAX: Duration = Duration::from_micros(500);
/// Longest time until the server in the sandbox listens.
const LISTEN_MAX: Duration = Duration::from_secs(20);
/// Where it listens.
const PORT: u16 = 8000;

/// One way to the server.
struct Way {
    address: String,
    prefix: String,
    rates: Vec<f64>,
    times: Samples,
}

impl Way {
    fn new(address: String, prefix: String) -> Self {
        Self { address, prefix, rates: Vec::new(), times: Samples::default() }
    }

    /// Fetches a file, on a connection of its own, since the server keeps none.
    async fn fetch(&self, name: &str) -> anyhow::Result<(u64, Duration)> {
        let began = Instant::now();
        let mut http = Http::tcp(&self.address).await?;
        let path = format!("{}/{name}", self.prefix);
        let response = http.send(Method::GET, &path, None, &[]).await?;
        ensure!(response.status() == 200, "{path} answered {}", response.status());
        let (mut body, mut bytes) = (response.into_body(), 0);
        while let Some(frame) = body.frame().await {
            bytes += frame?.data_ref().map_or(0, bytes::Bytes::len) as u64;
        }
        Ok((bytes, began.elapsed()))
    }
}

pub(crate) async fn measure(bench: &mut Bench) -> anyhow::Result<()> {
    let (project, has_bridge) = match create(bench, "bridge").await {
        Ok(project) => (project, true),
        Err(_) => (create(bench, "none").await?, false),
    };
    let scratch = bench.server.scratch()?;
    for (name, bytes) in [("large", FILE_BYTES), ("little", 64)] {
        let file = scratch.path().join(name);
        std::fs::write(&file, vec![b'x'; bytes])?;
        bench.server.upload(&format!("/v1/projects/preview/files/{name}"), &file).await?;
    }
    let port = PORT.to_string();
    let argv = ["python3", "-m", "http.server", &port];
    bench.server.http.put("/v1/projects/preview/process", &json!({ "argv": argv })).await?;
    let (address, _local) = if has_bridge {
        let inside = bench.docker.inspect(&project.container).await?;
        let address = inside["NetworkSettings"]["IPAddress"].as_str().context("no address")?;
        (format!("{address}:{PORT}"), None)
    } else {
        let free = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let mut server = Command::new(argv[0]);
        server.args(&argv[1..3]).args([&free.port().to_string(), "--bind", "127.0.0.1"]);
        server.current_dir(scratch.path()).stdout(Stdio::null()).stderr(Stdio::null());
        (free.to_string(), Some(server.kill_on_drop(true).spawn()?))
    };
    let prefix = format!("/v1/projects/preview/ports/{PORT}");
    let ours = Way::new(bench.server.address.clone(), prefix);
    let direct = Way::new(address, String::new());
    let ways = in_turns([ours, direct]).await?;
    report(bench, &ways, if has_bridge { "direct" } else { "direct, no sandbox" });
    bench.server.delete("preview").await
}

async fn create(bench: &mut Bench, network: &str) -> anyhow::Result<Project> {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let limits = json!({ "cpu_millis": cores * 1000 });
    let settings = json!({ "profile": "default", "network": network, "limits": limits });
    bench.server.create_with("preview", settings).await
}

async fn in_turns(mut ways: [Way; 2]) -> anyhow::Result<[Way; 2]> {
    let until = Instant::now() + LISTEN_MAX;
    for way in &ways {
        while let Err(why) = way.fetch("little").await {
            ensure!(Instant::now() < until, "the server does not listen: {why:#}");
            sleep(Duration::from_millis(50)).await;
        }
    }
    for round in 0..=ROUNDS {
        for way in &mut ways {
            let (bytes, time) = way.fetch("large").await?;
            ensure!(bytes == FILE_BYTES as u64, "only {bytes} bytes came");
            if round > 0 {
                way.rates.push(rate(bytes, time));
            }
        }
    }
    for _ in 0..REQUESTS {
        for way in &mut ways {
            let (_, time) = way.fetch("little").await?;
            way.times.add(time);
        }
    }
    Ok(ways)
}

fn report(bench: &mut Bench, [ours, direct]: &[Way; 2], name: &str) {
    let rates = [median(&ours.rates), median(&direct.rates)];
    let share = rates[0] / rates[1];
    bench.report.add(Row {
        what: "preview, bytes per second".into(),
        budget: format!(">= {RATE_MIN} of direct"),
        ours: format!("{:.0} MB/s", rates[0]),
        beside: format!("{name} {:.0} MB/s", rates[1]),
        ratio: format!("{share:.2} of it"),
        verdict: Verdict::of(share >= RATE_MIN),
    });
    let added = ours.times.p50().saturating_sub(direct.times.p50());
    let late = ours.times.p99().saturating_sub(direct.times.p99());
    bench.report.add(Row {
        what: "preview, latency".into(),
        budget: "<= 0.5 ms added".into(),
        ours: times(&ours.times),
        beside: format!("{name} {}", times(&direct.times)),
        ratio: format!("{} / {} added", ms(added), ms(late)),
        verdict: Verdict::of(added <= ADDED_MAX),
    });
    let bars = vec![("preview".to_owned(), rates[0]), ("direct".to_owned(), rates[1])];
    bench.report.bars("preview", "Preview of a 256 MiB file", "MB/s", bars);
    let lines = [("preview", &ours.times), ("direct", &direct.times)];
    bench.report.shares("preview-latency", "Preview: share answered after so long", &lines);
}
