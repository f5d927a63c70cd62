//! Durable transitions per second, through `Store::write` as the repository calls it:
//! batches of moves, each batch one transaction that is on the disk before its answer.
//!
//! ```sh
//! cargo bench --bench store
//! ```
//!
//! SQLite always; PostgreSQL when its programs are installed, on a fresh server with fsync.
//! The budgets are in `docs/SPECIFICATION.md`.

use std::time::{Duration, Instant};

use sandtree::store::postgres::{Postgres, PostgresConfig};
use sandtree::store::sqlite::{Sqlite, SqliteConfig};
use sandtree_actors::ports::{MoveWrite, Store, Write, Written};
use sandtree_model::durations::Timeout;
use sandtree_model::project::{NewProject, Settings};
use sandtree_model::{Limits, Move, Network, Phase, ProjectKey, ProjectUid, Target};
use sandtree_testkit::TestPostgres;

/// Projects in the store.
const PROJECTS: u64 = 20_000;
/// Writes of one transaction; the last is the default of `tree.batch_max`.
const BATCHES: [u64; 3] = [1, 32, 256];
/// How long each size is measured.
const SPAN: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() {
    // `cargo test --benches` passes this and wants no numbers.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory for SQLite");
    let config = SqliteConfig::new(dir.path().join("sandtree.db"));
    let sqlite = Sqlite::open(config).await.expect("a SQLite file");
    measure("SQLite", &sqlite, 10_000).await;
    if !TestPostgres::is_installed() {
        println!("PostgreSQL  is not installed: not measured");
        return;
    }
    let server = TestPostgres::start().await;
    let config = PostgresConfig::new(server.url());
    let postgres = Postgres::open(config).await.expect("a PostgreSQL database");
    measure("PostgreSQL", &postgres, 5_000).await;
}

async fn measure(name: &str, store: &impl Store, budget: u32) {
    let began = Instant::now();
    let all = (0..PROJECTS).map(create).collect::<Vec<_>>();
    for batch in all.chunks(256) {
        write(store, batch).await;
    }
    let rate = rate(PROJECTS, began.elapsed());
    println!("{name:<11} creates      in batches of 256: {rate:>7.0}/s");
    let mut generations = vec![1; usize::try_from(PROJECTS).expect("few")];
    for size in BATCHES {
        transitions(name, store, size, &mut generations, budget).await;
    }
}

async fn transitions(
    name: &str,
    store: &impl Store,
    size: u64,
    generations: &mut [u64],
    budget: u32,
) {
    let (began, used, mut next, mut done) = (Instant::now(), processor_time(), 0, 0);
    let mut slowest = Duration::ZERO;
    while began.elapsed() < SPAN {
        // A stride that meets every project before it meets one again.
        let numbers = (0..size).map(|nth| (next + nth) * 7919 % PROJECTS);
        let batch = numbers.map(|number| {
            let generation = &mut generations[usize::try_from(number).expect("few")];
            *generation += 1;
            step(number, *generation - 1)
        });
        let batch = batch.collect::<Vec<_>>();
        let started = Instant::now();
        write(store, &batch).await;
        slowest = slowest.max(started.elapsed());
        next += size;
        done += size;
    }
    let (rate, used) = (rate(done, began.elapsed()), processor_time() - used);
    let each = used.as_secs_f64() * 1e6 / done as f64;
    let verdict = match size {
        256 if rate >= f64::from(budget) => format!(", budget {budget}/s: met"),
        256 => format!(", budget {budget}/s: MISSED"),
        _ => String::new(),
    };
    println!(
        "{name:<11} transitions  in batches of {size:>3}: {rate:>7.0}/s, slowest batch \
         {slowest:.1?}, {each:.0} µs of our processor time each{verdict}"
    );
}

/// What this process has used of the processor so far; SQLite is in it, PostgreSQL is not.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("our own times");
    let fields = stat.rsplit(") ").next().expect("fields").split(' ');
    let ticks: u64 =
        fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("ticks")).sum();
    // The kernel's unit for it, on every architecture.
    Duration::from_millis(ticks * 10)
}

async fn write(store: &impl Store, batch: &[Write]) {
    let written = store.write(batch).await.expect("a store that writes");
    let is_done = written.iter().all(|written| matches!(written, Written::Row(_)));
    assert!(is_done && written.len() == batch.len(), "a write was refused");
}

fn rate(count: u64, took: Duration) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / took.as_secs_f64()
}

fn uid(number: u64) -> ProjectUid {
    format!("p{number:019}").parse().expect("a uid")
}

fn create(number: u64) -> Write {
    let id = format!("project-{number}").parse().expect("an id");
    Write::Create(Box::new(NewProject {
        container: None,
        uid: uid(number),
        key: ProjectKey { tenant: "default".parse().expect("a tenant"), id },
        target: Target::Stopped,
        settings: Settings {
            name: None,
            profile: "default".into(),
            image: "sandtree/general".into(),
            env: [("LANG".into(), "C.UTF-8".into()), ("NAME".into(), "value".into())].into(),
            labels: [("team".into(), "red".into())].into(),
            limits: Limits {
                memory_bytes: 1 << 28,
                cpu_millis: 1000,
                pids: 100,
                tmp_bytes: 1 << 24,
            },
            network: Network::None,
            idle_timeout: Timeout::Never,
            max_lifetime: Timeout::Never,
        },
        sandbox: format!("s{number:019}").parse().expect("a uid"),
        owner: None,
        idempotency: None,
        principal: "key:admin".into(),
        at: 1_000_000 + number,
    }))
}

/// The way to a running sandbox and back, over and over.
fn step(number: u64, generation: u64) -> Write {
    let (by, to) = match generation % 4 {
        1 => (Move::StartAsked, Phase::Starting),
        2 => (Move::InitReady, Phase::Running),
        3 => (Move::StopAsked, Phase::Stopping),
        _ => (Move::Stopped, Phase::Stopped),
    };
    Write::Move(Box::new(MoveWrite {
        uid: uid(number),
        generation,
        by,
        to,
        target: Some(if matches!(to, Phase::Starting) { Target::Running } else { Target::Stopped }),
        container: None,
        reason: "asked for by key:admin".into(),
        principal: "key:admin".into(),
        at: 2_000_000 + generation,
    }))
}
