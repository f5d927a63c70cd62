//! Mixed load with random faults, after which everything is as it was.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use sandtree_testkit::docker::docker;
use sandtree_testkit::{EngineProxy, TestServer, until};
use tokio::time::Instant;

use crate::check::settle;
use crate::ledger::Ledger;
use crate::report::Report;
use crate::support::server;
use crate::used::Used;
use crate::worker::put_to_work;
use crate::{number, seed};

/// Clients work so long between two looks.
const ROUND: Duration = Duration::from_secs(10);
/// Projects that are moved at a time.
const MOVERS: usize = 4;
/// The engine is away for so long at a time.
const AWAY_MS_MAX: u64 = 3000;

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
    let before = Used::when_quiet(&soak.server, None).await;
    let began = Instant::now();
    while began.elapsed() < length {
        soak.round().await;
    }
    soak.clear().await;
    let after = Used::when_quiet(&soak.server, Some(&before)).await;
    soak.report(projects, length, &before, &after);
    assert!(after.is_back_at(&before), "{before:?} before, {after:?} after");
}

impl Soak {
    /// Everybody works for a while, something goes wrong, and all comes to rest.
    async fn round(&mut self) {
        let ledgers = self.ledgers.drain(..);
        let (workers, enough) = put_to_work(&self.server, ledgers, &mut self.rng, MOVERS);
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

    fn report(&self, projects: u64, length: Duration, before: &Used, after: &Used) {
        let mut report = Report::new("Mixed load");
        let answers: u64 = self.ledgers.iter().map(|ledger| ledger.answers).sum();
        report.line("length", format!("{} s", length.as_secs()));
        report.line("projects", projects);
        report.line("requests that were done", answers);
        report.line("requests that were refused, mostly while the engine was away", self.refused);
        report.line("faults", self.faults);
        before.tell(after, &mut report);
        report.write();
    }
}
