//! Clients of all dialects and of the native API at once, on one server and partly on the
//! same projects. Each hears what it said itself and nothing that was said elsewhere, and
//! when all have gone, nothing of them is left.

#[path = "dialects/bharatbuild.rs"]
mod bharatbuild;
#[path = "dialects/builder.rs"]
mod builder;
#[path = "dialects/daiv.rs"]
mod daiv;
#[path = "dialects/native.rs"]
mod native;
#[path = "dialects/shared.rs"]
mod shared;
#[path = "dialects/terminal_server.rs"]
mod terminal_server;
#[path = "dialects/token.rs"]
mod token;
#[path = "dialects/worker.rs"]
mod worker;

use std::collections::BTreeMap;
use std::time::Duration;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use sandtree_testkit::TestServer;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::report::Report;
use crate::support::server;
use crate::used::Used;
use crate::{number, seed};
use worker::{Done, Worker, work};

const SMALL: &str = "sandtree/small:latest";
const GENERAL: &str = "sandtree/general:latest";

/// How often each thing was done, by who did it.
type Counts = BTreeMap<String, u64>;

#[tokio::test]
async fn four_dialects_at_once_hear_only_themselves_and_leave_nothing() {
    let length = Duration::from_secs(number("SANDTREE_SOAK_DIALECTS_SECONDS", 60));
    let mut rng = StdRng::seed_from_u64(seed());
    let server = setup().start().await;
    // The first round fills what is kept for good, such as the store's cache.
    round(&server, &mut rng, Duration::ZERO).await;
    let before = Used::when_quiet(&server, None).await;
    let counts = round(&server, &mut rng, length).await;
    let after = Used::when_quiet(&server, Some(&before)).await;
    let mut report = Report::new("Four dialects at once");
    report.line("length", format!("{} s", length.as_secs()));
    report.line("clients", WORKERS);
    for (what, times) in &counts {
        report.line(what, times);
    }
    before.tell(&after, &mut report);
    report.write();
    assert!(after.is_back_at(&before), "{before:?} before, {after:?} after");
}

fn setup() -> sandtree_testkit::ServerSetup {
    let images = [("BUILDER", GENERAL), ("TERMINAL_SERVER", SMALL)];
    let mut setup = server().env("SANDTREE_TREE__PASSIVATE_AFTER", "2s");
    setup = setup.env("SANDTREE_TREE__JANITOR_INTERVAL", "1s");
    for (profile, image) in images {
        setup = setup.env(&format!("SANDTREE_PROFILES__{profile}__IMAGE"), image);
    }
    // What is said here needs no network, and sets one up for each container where there is.
    for profile in ["BUILDER", "BHARATBUILD", "DAIV_RUN"] {
        setup = setup.env(&format!("SANDTREE_PROFILES__{profile}__NETWORK"), "none");
    }
    for profile in ["BUILDER", "BHARATBUILD", "SMALL", "TERMINAL_SERVER"] {
        setup = setup.env(&format!("SANDTREE_PROFILES__{profile}__STOP_GRACE"), "1s");
    }
    setup
}

/// Clients in a round. Each has at most one container of its own, those of daiv two; with
/// the shared ones there are at most twelve.
const WORKERS: usize = 9;

/// Everybody works for so long, and at least until everything was done once.
async fn round(server: &TestServer, rng: &mut StdRng, length: Duration) -> Counts {
    let client = server.client();
    shared::create(&client).await;
    let ends = Instant::now() + length;
    let mut workers = JoinSet::new();
    for nth in 0..WORKERS {
        let mut worker = |dialect| Worker::new(&client, dialect, nth, StdRng::from_rng(rng));
        match nth {
            0 | 1 => workers.spawn(work::<builder::Act>(worker("builder"), ends)),
            2 | 3 => workers.spawn(work::<bharatbuild::Act>(worker("bharatbuild"), ends)),
            4 | 5 => workers.spawn(work::<terminal_server::Act>(worker("terminal"), ends)),
            6 | 7 => workers.spawn(work::<daiv::Act>(worker("daiv"), ends)),
            _ => workers.spawn(work::<native::Act>(worker("native"), ends)),
        };
    }
    let mut counts = Counts::new();
    for Done { dialect, acts } in workers.join_all().await {
        for (act, times) in acts {
            *counts.entry(format!("{dialect}: {act}")).or_default() += times;
        }
    }
    shared::check(&client).await;
    shared::delete(&client).await;
    nothing_is_listed(server).await;
    counts
}

/// No project is known in any dialect.
async fn nothing_is_listed(server: &TestServer) {
    let client = server.client();
    for (path, nothing) in [("/projects", json!([])), ("/admin/runtimes", json!([]))] {
        assert_eq!(client.get(path).await.expect(200).json(), nothing, "{path}");
    }
    // One-shot sandboxes and closed sessions go after the answer.
    sandtree_testkit::until("all projects to be gone", async || {
        client.get("/v1/projects").await.expect(200).json()["items"] == json!([])
    })
    .await;
}
