//! Mixed load with random faults, after which everything is as it was.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use sandtree_testkit::docker::docker;
use sandtree_testkit::{EngineProxy, TestServer, until};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::check::settle;
use crate::ledger::Ledger;
use crate::report::Report;
use crate::support::server;
use crate::worker::Worker;
use crate::{number, seed};

/// Clients work so long between two looks.
const ROUND: Duration = Duration::from_secs(10);
/// Projects that are moved at a time.
const MOVERS: usize = 4;
/// The engine is away for so long at a time.
const AWAY_MS_MAX: u64 = 3000;
/// Until everything that is kept for a while is let go: threads that wait for work on the
/// disk, connections, actors of projects at rest.
const QUIET_WITHIN: Duration = Duration::from_secs(90);
/// Memory that may stay: what the allocator keeps, and the rows in the store's cache.
const MEMORY_MAY_GROW_BYTES: u64 = 24 * 1024 * 1024;
/// Connections and threads that come and go by themselves.
const MAY_DIFFER: usize = 6;

/// What a server uses.
#[derive(Debug, Clone, Copy)]
struct Used {
    memory_bytes: u64,
    descriptors: usize,
    threads: usize,
    containers: usize,
    directories: usize,
    disk_bytes: u64,
}

impl Used {
    fn by(server: &TestServer) -> Self {
        let (descriptors, threads) = server.descriptors_and_threads();
        let dir = server.data_dir();
        let count =
            |dir: &str| std::fs::read_dir(server.data_dir().join(dir)).map_or(0, Iterator::count);
        Self {
            memory_bytes: server.resident_bytes(),
            descriptors,
            threads,
            containers: server.containers().len(),
            directories: count("sandboxes") + count("trash"),
            disk_bytes: bytes_below(&dir.join("sandboxes")) + bytes_below(&dir.join("trash")),
        }
    }

    /// Whether all is as it was before.
    fn is_back_at(&self, before: &Self) -> bool {
        self.memory_bytes <= before.memory_bytes + MEMORY_MAY_GROW_BYTES
            && self.descriptors <= before.descriptors + MAY_DIFFER
            && self.threads <= before.threads + MAY_DIFFER
            && (self.containers, self.directories, self.disk_bytes) == (0, 0, 0)
    }
}

/// Bytes of files below a directory of the test's own projects.
fn bytes_below(dir: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => bytes_below(&entry.path()),
        Ok(_) | Err(_) => entry.metadata().map_or(0, |meta| meta.len()),
    });
    sizes.sum()
}

struct Soak {
    server: TestServer,
    proxy: EngineProxy,
    ledgers: Vec<Ledger>,
    rng: StdRng,
    faults: u64,
    refused: usize,
}

#[tokio::test]
async fn after_a_long_load_with_faults_everything_is_as_it_was() {
    let length = Duration::from_secs(number("SANDTREE_SOAK_SECONDS", 20));
    let projects = number("SANDTREE_SOAK_PROJECTS", 6);
    let proxy = EngineProxy::start();
    let setup = server().env("SANDTREE_DOCKER__HOST", proxy.host());
    let setup = setup.env("SANDTREE_TREE__PASSIVATE_AFTER", "2s");
    // A sandbox that is killed again and again is not what this is about.
    let setup = setup.env("SANDTREE_PROFILES__SMALL__RESTARTS_MAX", "100");
    let setup = setup.env("SANDTREE_TREE__JANITOR_INTERVAL", "1s");
    let mut soak = Soak {
        server: setup.start().await,
        proxy,
        ledgers: (0..projects).map(Ledger::new).collect(),
        rng: StdRng::seed_from_u64(seed()),
        faults: 0,
        refused: 0,
    };
    // The first round fills what is kept for good, such as the store's cache.
    soak.round().await;
    soak.clear().await;
    let before = soak.used_when_quiet(None).await;
    let began = Instant::now();
    while began.elapsed() < length {
        soak.round().await;
    }
    soak.clear().await;
    let after = soak.used_when_quiet(Some(&before)).await;
    soak.report(projects, length, &before, &after);
    assert!(after.is_back_at(&before), "{before:?} before, {after:?} after");
}

impl Soak {
    /// Everybody works for a while, something goes wrong, and all comes to rest.
    async fn round(&mut self) {
        let (movers, enough) = (Arc::new(Semaphore::new(MOVERS)), CancellationToken::new());
        let mut workers = JoinSet::new();
        for ledger in self.ledgers.drain(..) {
            let worker = Worker {
                client: self.server.client(),
                ledger,
                rng: StdRng::from_rng(&mut self.rng),
                movers: Arc::clone(&movers),
                enough: enough.clone(),
            };
            workers.spawn(worker.run());
        }
        let ends = Instant::now() + ROUND;
        while Instant::now() < ends {
            let pause = Duration::from_millis(self.rng.random_range(500..3000));
            tokio::time::sleep(pause).await;
            self.something_goes_wrong().await;
        }
        enough.cancel();
        self.ledgers = workers.join_all().await;
        let client = self.server.client();
        for ledger in &mut self.ledgers {
            // What was refused while something was wrong is no loss.
            self.refused += ledger.odd.drain(..).count();
            settle(&client, ledger).await;
        }
    }

    async fn something_goes_wrong(&mut self) {
        self.faults += 1;
        let containers = self.server.containers();
        let container = containers.choose(&mut self.rng).map(|it| it.id.clone());
        let command: &[&str] = match (self.rng.random_range(0..5), &container) {
            (0, _) | (_, None) => {
                let away = Duration::from_millis(self.rng.random_range(1..AWAY_MS_MAX));
                self.proxy.cut();
                tokio::time::sleep(away).await;
                return self.proxy.restore();
            }
            (1, Some(_)) => &["kill"],
            (2, Some(_)) => &["rm", "--force"],
            (3, Some(_)) => &["pause"],
            (_, Some(_)) => &["unpause"],
        };
        let container = container.unwrap_or_default();
        // It may have ended, or be as it is to be, already.
        let _ = docker(&[command, &[&container]].concat());
    }

    async fn clear(&mut self) {
        let client = self.server.client();
        for ledger in &mut self.ledgers {
            let path = format!("/v1/projects/{}", ledger.id);
            until(&format!("{path} to be gone"), async || {
                matches!(client.delete(&path).await.status, 204 | 404)
            })
            .await;
            ledger.found(None);
        }
    }

    /// What is used once it is at least as little as before, or does not fall any more.
    async fn used_when_quiet(&self, before: Option<&Used>) -> Used {
        let (ends, mut ticks) =
            (Instant::now() + QUIET_WITHIN, tokio::time::interval(Duration::from_secs(1)));
        // Threads for the disk end after ten quiet seconds.
        let first = Instant::now() + Duration::from_secs(15);
        loop {
            ticks.tick().await;
            let used = Used::by(&self.server);
            let is_back = before.is_none_or(|before| used.is_back_at(before));
            let is_enough = Instant::now() >= first && is_back;
            if is_enough || Instant::now() >= ends {
                return used;
            }
        }
    }

    fn report(&self, projects: u64, length: Duration, before: &Used, after: &Used) {
        let mut report = Report::new("Mixed load");
        let answers: u64 = self.ledgers.iter().map(|ledger| ledger.answers).sum();
        report.line("length", format!("{} s", length.as_secs()));
        report.line("projects", projects);
        report.line("requests that were done", answers);
        report.line("requests that were refused, mostly while the engine was away", self.refused);
        report.line("faults", self.faults);
        let kib = |used: &Used| used.memory_bytes / 1024;
        let both = |before: String, after: String| format!("{before} before, {after} after");
        report.line("memory", both(format!("{} KiB", kib(before)), format!("{} KiB", kib(after))));
        for (what, before, after) in [
            ("descriptors", before.descriptors, after.descriptors),
            ("threads", before.threads, after.threads),
            ("containers", before.containers, after.containers),
            ("directories of sandboxes", before.directories, after.directories),
        ] {
            report.line(what, both(before.to_string(), after.to_string()));
        }
        report.line(
            "bytes in them",
            both(before.disk_bytes.to_string(), after.disk_bytes.to_string()),
        );
        report.write();
    }
}
