//! SIGKILL at random moments and at every crash point.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use sandtree_actors::crash::{DIE, Point};
use sandtree_testkit::TestServer;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::check::losses;
use crate::ledger::Ledger;
use crate::report::Report;
use crate::support::server;
use crate::worker::put_to_work;
use crate::{number, seed};

/// The server lives at most so long from a restart to a kill.
const LIFE_MS_MAX: u64 = 1500;
/// A crash point is come by within this time.
const VISIT_WITHIN: Duration = Duration::from_secs(120);
/// Projects that are moved at a time.
const MOVERS: usize = 6;

struct Soak {
    server: TestServer,
    ledgers: Vec<Ledger>,
    rng: StdRng,
    losses: Vec<String>,
}

#[tokio::test]
async fn nothing_is_lost_however_often_and_wherever_the_server_is_killed() {
    let (kills, projects) =
        (number("SANDTREE_SOAK_KILLS", 30), number("SANDTREE_SOAK_PROJECTS", 6));
    let mut soak = Soak {
        server: server().start().await,
        ledgers: (0..projects).map(Ledger::new).collect(),
        rng: StdRng::seed_from_u64(seed()),
        losses: Vec::new(),
    };
    for kill in 1..=kills {
        soak.kill_at_a_random_moment().await;
        soak.look(&format!("kill {kill}")).await;
    }
    for point in Point::ALL {
        soak.kill_at(*point).await;
        soak.look(point.name()).await;
    }
    let answers: u64 = soak.ledgers.iter().map(|ledger| ledger.answers).sum();
    let mut report = Report::new("Crash injection");
    report.line("projects", projects);
    report.line("kills at random moments", kills);
    report.line("crash points, each visited and killed at", Point::ALL.len());
    report.line("requests that were answered", answers);
    report.line("losses", soak.losses.len());
    report.write();
    assert!(soak.losses.is_empty(), "{:#?}", soak.losses);
    soak.clear().await;
}

impl Soak {
    /// Puts all clients to work.
    fn work(&mut self) -> (JoinSet<Ledger>, CancellationToken) {
        put_to_work(&self.server, self.ledgers.drain(..), &mut self.rng, MOVERS)
    }

    async fn kill_at_a_random_moment(&mut self) {
        let life = Duration::from_millis(self.rng.random_range(1..LIFE_MS_MAX));
        let (workers, _) = self.work();
        tokio::time::sleep(life).await;
        self.server.kill9().await;
        self.ledgers = workers.join_all().await;
        self.server.restart().await;
    }

    /// The server kills itself at a point, the first, second or third time it comes by.
    async fn kill_at(&mut self, point: Point) {
        self.server.kill9().await;
        let after = self.rng.random_range(0..3);
        let armed = format!("{}={after}*off->1*{DIE}->off", point.name());
        let lives = self.server.restart_with(&[("FAILPOINTS", armed)]).await;
        if lives {
            let (workers, enough) = self.work();
            let has_died = self.server.ends_within(VISIT_WITHIN).await;
            enough.cancel();
            self.ledgers = workers.join_all().await;
            if !has_died {
                self.losses.push(format!("{} was not visited", point.name()));
                self.server.kill9().await;
            }
        }
        self.server.restart().await;
    }

    async fn look(&mut self, when: &str) {
        let found = losses(&self.server, &mut self.ledgers).await;
        for loss in found {
            println!("{when}: {loss}");
            self.losses.push(format!("{when}: {loss}"));
        }
    }

    /// Deletes all that is left: then nothing is.
    async fn clear(&mut self) {
        let client = self.server.client();
        for ledger in &self.ledgers {
            let answer = client.delete(&format!("/v1/projects/{}", ledger.id)).await;
            assert!(matches!(answer.status, 204 | 404), "{answer:?}");
        }
        self.server.assert_no_leftovers();
    }
}
