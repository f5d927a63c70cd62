//! A hundred thousand projects in the store: the start, the status, the memory.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use sandtree::store::Persistent as _;
use sandtree::store::sqlite::{Sqlite, SqliteConfig};
use sandtree_actors::ports::{MoveWrite, Store as _, Write};
use sandtree_model::durations::Timeout;
use sandtree_model::project::{NewProject, Settings};
use sandtree_model::{Limits, Move, Network, Phase, ProjectKey, ProjectUid, Target};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::Bench;
use crate::memory::resident_kib;
use crate::report::Row;
use crate::samples::{Samples, ms, times};
use crate::server::Server;

/// Projects in the store.
const PROJECTS: u64 = 100_000;
/// Writes in one transaction.
const BATCH: u64 = 1000;
/// Starts of a server on it.
const STARTS: usize = 10;
/// Longest time until it serves.
const START_MAX: Duration = Duration::from_millis(300);
/// Connections that ask for a status without a pause.
const CONNECTIONS: u64 = 16;
/// Time that they ask.
const ASKING: Duration = Duration::from_secs(10);
/// Fewest answers in a second, and the longest time of one at p99.
const RATE_MIN: f64 = 10_000.0;
const STATUS_MAX: Duration = Duration::from_millis(10);
/// Most memory of a server that has nothing to do.
const IDLE_KIB_MAX: u64 = 30 * 1024;
/// Time in which a server that was just started comes to rest.
const REST: Duration = Duration::from_secs(3);

pub(crate) async fn measure(bench: &mut Bench) -> anyhow::Result<()> {
    let server = Server::start(&bench.docker).await?;
    sleep(REST).await;
    idle(bench, &server, "server: memory, idle, no projects")?;
    let mut data = server.stop().await?;
    fill(&data).await?;
    let mut starts = Samples::default();
    for start in 0..=STARTS {
        let (server, time) = start_once(bench, data).await?;
        // The first start reads from the disk.
        if start > 0 {
            starts.add(time);
        }
        data = server.stop().await?;
    }
    let is_met = starts.p99() <= START_MAX;
    let what = "start-up with 100,000 projects, until served";
    bench.report.add(Row::alone(what, "<= 300 ms", times(&starts), is_met));
    let server = Server::start_on(data, &bench.docker).await?;
    sleep(REST).await;
    idle(bench, &server, "server: memory, idle, 100,000 projects")?;
    let (samples, time) = ask(&server.address).await?;
    let rate = f64::from(u32::try_from(samples.count())?) / time.as_secs_f64();
    let text = format!("{rate:.0} requests/s");
    let what = "status GET, 16 connections";
    bench.report.add(Row::alone(what, ">= 10,000 requests/s", text, rate >= RATE_MIN));
    let (what, text) = ("status GET, time of an answer", times(&samples));
    let budget = format!("p99 <= {}", ms(STATUS_MAX));
    bench.report.add(Row::alone(what, &budget, text, samples.p99() <= STATUS_MAX));
    idle(bench, &server, "server: memory, after that")?;
    let lines = [("GET of one project", &samples)];
    bench.report.shares("status", "Status GET with 100,000 projects", &lines);
    server.end().await
}

fn idle(bench: &mut Bench, server: &Server, what: &str) -> anyhow::Result<()> {
    let (resident, own) = resident_kib(server.pid())?;
    let text = format!("{:.1} MiB (its own: {:.1} MiB)", mib(resident), mib(own));
    bench.report.add(Row::alone(what, "<= 30 MB", text, resident <= IDLE_KIB_MAX));
    Ok(())
}

fn mib(kib: u64) -> f64 {
    f64::from(u32::try_from(kib).unwrap_or(u32::MAX)) / 1024.0
}

/// From the start of the process until it has answered for one project.
async fn start_once(bench: &Bench, data: TempDir) -> anyhow::Result<(Server, Duration)> {
    let began = Instant::now();
    let mut server = Server::start_on(data, &bench.docker).await?;
    let one = server.http.get(&format!("/v1/projects/{}", id(PROJECTS / 2))).await?;
    let time = began.elapsed();
    ensure!(one["phase"] == "stopped", "a project that was not stopped: {one}");
    Ok((server, time))
}

fn id(number: u64) -> String {
    format!("p-{number}")
}

/// Writes the projects as the server would have: created, and stopped.
async fn fill(data: &TempDir) -> anyhow::Result<()> {
    let store = Sqlite::open(SqliteConfig::new(data.path().join("sandtree.db"))).await?;
    for batch in 0..PROJECTS / BATCH {
        let numbers = batch * BATCH..(batch + 1) * BATCH;
        let writes = numbers.map(writes_of).collect::<anyhow::Result<Vec<_>>>()?;
        let writes: Vec<_> = writes.into_iter().flatten().collect();
        store.write(&writes).await?;
    }
    store.close().await;
    Ok(())
}

fn writes_of(number: u64) -> anyhow::Result<[Write; 2]> {
    let uid: ProjectUid = format!("p{number:019}").parse()?;
    let made = NewProject {
        uid: uid.clone(),
        container: None,
        key: ProjectKey { tenant: "default".parse()?, id: id(number).parse()? },
        target: Target::Stopped,
        settings: Settings {
            name: None,
            profile: "small".into(),
            image: crate::IMAGE.into(),
            env: [("LANG".into(), "C.UTF-8".into())].into(),
            labels: [("team".into(), "red".into())].into(),
            limits: Limits {
                memory_bytes: 1 << 29,
                cpu_millis: 1000,
                pids: 256,
                tmp_bytes: 1 << 28,
            },
            network: Network::None,
            idle_timeout: Timeout::Never,
            max_lifetime: Timeout::Never,
        },
        sandbox: format!("s{number:019}").parse()?,
        owner: None,
        idempotency: None,
        principal: "bench".into(),
        at: 1_000_000 + number,
    };
    let rest = MoveWrite {
        uid,
        generation: 1,
        by: Move::Created,
        to: Phase::Stopped,
        target: None,
        container: None,
        reason: "".into(),
        principal: "bench".into(),
        at: 2_000_000 + number,
    };
    Ok([Write::Create(Box::new(made)), Write::Move(Box::new(rest))])
}

/// Asks on all connections at once, on threads that do nothing else.
async fn ask(address: &str) -> anyhow::Result<(Samples, Duration)> {
    let began = Instant::now();
    let threads = (0..CONNECTIONS).map(|seed| {
        let address = address.to_owned();
        tokio::task::spawn_blocking(move || ask_until(&address, seed, began + ASKING))
    });
    let mut all = Samples::default();
    for thread in threads.collect::<Vec<_>>() {
        all.extend(thread.await??);
    }
    Ok((all, began.elapsed()))
}

/// Asks for projects here and there in the store, one answer after the other.
fn ask_until(address: &str, seed: u64, until: Instant) -> anyhow::Result<Samples> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let (mut samples, mut buffer) = (Samples::default(), vec![0; 16 * 1024]);
    let mut number = seed;
    while Instant::now() < until {
        // A step without a common divisor visits all of them in no order.
        number = (number + 61_803) % PROJECTS;
        let path = id(number);
        let request = format!("GET /v1/projects/{path} HTTP/1.1\r\nHost: {address}\r\n\r\n");
        let began = Instant::now();
        stream.write_all(request.as_bytes())?;
        let answer = answer(&mut stream, &mut buffer)?;
        samples.add(began.elapsed());
        ensure!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(answer));
    }
    Ok(samples)
}

/// Reads one whole answer.
fn answer<'a>(stream: &mut TcpStream, buffer: &'a mut [u8]) -> anyhow::Result<&'a [u8]> {
    let mut filled = 0;
    loop {
        let count = stream.read(&mut buffer[filled..])?;
        ensure!(count > 0, "the server closed, or its answer is too long");
        filled += count;
        let Some(end) = buffer[..filled].windows(4).position(|window| window == b"\r\n\r\n") else {
            continue;
        };
        let head = std::str::from_utf8(&buffer[..end])?.to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length: usize = length.context("no length")?.trim().parse()?;
        if filled >= end + 4 + length {
            return Ok(&buffer[..filled]);
        }
    }
}
