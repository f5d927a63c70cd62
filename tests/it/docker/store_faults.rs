//! A server whose state is in PostgreSQL, and databases that fail under a server.
//!
//! What is the same in each: sandboxes that run go on, what is in memory is read,
//! what has to be written is refused for now, and the database's return is enough.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use sandtree_testkit::{Client, TcpProxy, TestPostgres, until};
use serde_json::{Value, json};

use crate::support::{Project, server};

/// Takes the write lock of a SQLite file until its standard input ends.
const LOCKER: &str = "import sqlite3, sys
database = sqlite3.connect(sys.argv[1], timeout=30)
database.isolation_level = None
database.execute('BEGIN IMMEDIATE')
print('locked', flush=True)
sys.stdin.read()";

/// What must stay the same while the store is away.
pub(super) struct Before {
    pub(super) up: Project,
    shown: Value,
}

impl Before {
    pub(super) async fn running(client: &Client) -> Self {
        let up = Project::small(client, "up").await;
        let shown = up.show().await;
        Self { up, shown }
    }

    /// That the store's absence is what is said, and that everything else goes on.
    pub(super) async fn goes_on_without_the_store(&self) {
        let client = &self.up.client;
        refused_for_now(client, "/v1/projects/up/stop", &Value::Null).await;
        refused_for_now(client, "/v1/projects", &json!({ "id": "new", "profile": "small" })).await;
        self.runs_on().await;
    }

    /// That what needs no store is as always.
    pub(super) async fn runs_on(&self) {
        assert_eq!(self.up.show().await["phase"], "running");
        assert_eq!(self.up.sh("echo still here").await, "still here\n");
        self.up.write("away.txt", "written while it was away\n").await;
        assert_eq!(self.up.client.get("/health").await.status, 200);
    }

    /// That everything works again, and the sandbox is the one it was.
    pub(super) async fn is_as_before(&self) {
        let client = &self.up.client;
        until("the server to be ready", async || client.get("/ready").await.status == 200).await;
        // What was asked for and refused may be under way, because it was refused after
        // its answer was lost. It settles.
        until("a store that takes writes", async || {
            client.post_empty("/v1/projects/up/start").await.status == 200
        })
        .await;
        self.up.wait_for_exec().await;
        assert_eq!(self.up.read("away.txt").await, "written while it was away\n");
        let shown = self.up.show().await;
        assert_eq!(shown["uid"], self.shown["uid"]);
        assert_eq!(shown["sandbox"]["uid"], self.shown["sandbox"]["uid"]);
        let new = json!({ "id": "new", "profile": "small" });
        let made = client.post("/v1/projects", &new).await;
        assert!(matches!(made.status, 201 | 409), "{made:?}");
        assert_eq!(self.up.operate("stop").await["phase"], "stopped");
    }
}

async fn refused_for_now(client: &Client, path: &str, body: &Value) {
    let answer =
        if body.is_null() { client.post_empty(path).await } else { client.post(path, body).await };
    let answer = answer.expect(503);
    assert_eq!(answer.problem().0, "store-away", "{path}");
    assert!(answer.header("retry-after").is_some(), "{path}: {answer:?}");
}

/// The generations in the log of a project, as the database has them.
pub(super) fn generations(postgres: &TestPostgres, uid: &Value) -> String {
    let uid = uid.as_str().expect("a uid");
    postgres.sql(&format!(
        "SELECT string_agg(generation::text, ' ' ORDER BY generation) FROM transitions WHERE uid = '{uid}'"
    ))
}

#[tokio::test]
async fn a_server_on_postgresql_is_killed_and_goes_on() {
    let postgres = TestPostgres::start().await;
    let mut server = server().env("SANDTREE_STORE__URL", postgres.url()).start().await;
    let client = server.client();
    let up = Project::small(&client, "up").await;
    assert_eq!(up.sh("echo here").await, "here\n");
    let process = up.put_process(&json!({ "argv": ["sleep", "1000"] })).await;
    let down = Project::create(&client, &json!({ "id": "down", "profile": "small" })).await;
    let under_way =
        Project::create(&client, &json!({ "id": "under-way", "profile": "small" })).await;
    let (up_before, down_before) = (up.show().await, down.show().await);
    under_way.operate_later("start").await;
    assert!(!server.data_dir().join("sandtree.db").exists(), "nothing is in SQLite");

    server.kill9().await;
    server.restart().await;
    let client = server.client();
    let up = Project::existing(&client, "up");
    up.wait_for_exec().await;
    let shown = up.show().await;
    for same in ["uid", "phase", "generation", "sandbox", "labels", "limits", "created_at"] {
        assert_eq!(shown[same], up_before[same], "{same}");
    }
    assert_eq!(up.process().await["pid"], process["pid"], "the same process");
    let down = Project::existing(&client, "down");
    assert_eq!(down.show().await["generation"], down_before["generation"]);
    let started = Project::existing(&client, "under-way").wait_for("running").await;
    assert_eq!(generations(&postgres, &started["uid"]), "1 2 3 4");
    assert_eq!(down.operate("start").await["phase"], "running");
    let listed = client.get("/v1/projects?limit=2").await.expect(200).json();
    assert_eq!(
        (&listed["items"][0]["id"], &listed["items"][1]["id"]),
        (&json!("down"), &json!("under-way"))
    );
    for project in [&up, &down, &Project::existing(&client, "under-way")] {
        project.delete().await;
    }
    server.assert_no_leftovers();
    assert_eq!(server.terminate().await.code(), Some(0));
}

#[tokio::test]
async fn a_second_server_on_the_same_postgresql_database_is_refused() {
    let postgres = TestPostgres::start().await;
    let setup = server().env("SANDTREE_STORE__URL", postgres.url());
    let first = setup.start().await;
    let client = first.client();
    Project::create(&client, &json!({ "id": "p", "profile": "small" })).await;

    let dir = tempfile::tempdir().expect("a directory of its own");
    let second = Command::new(env!("CARGO_BIN_EXE_sandtree"))
        .args(["serve", "--listen", "127.0.0.1:0", "--database-url", &postgres.url()])
        .arg("--data-dir")
        .arg(dir.path())
        .stdin(Stdio::null())
        .output()
        .expect("a second server");
    let said = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(5), "{said}");
    assert!(said.contains("another server uses the schema"), "{said}");
    assert_eq!(client.get("/v1/projects/p").await.status, 200);
    assert_eq!(client.delete("/v1/projects/p").await.status, 204, "the first still writes");
}

#[tokio::test]
async fn postgresql_that_is_away_is_waited_for_and_nothing_else_stops() {
    let mut postgres = TestPostgres::start().await;
    let server = server().env("SANDTREE_STORE__URL", postgres.url()).start().await;
    let before = Before::running(&server.client()).await;
    postgres.stop();
    assert_eq!(server.client().get("/ready").await.status, 503);
    before.goes_on_without_the_store().await;
    postgres.restart().await;
    before.is_as_before().await;
}

#[tokio::test]
async fn a_connection_to_postgresql_that_is_cut_is_made_again() {
    let postgres = TestPostgres::start().await;
    let mut proxy = TcpProxy::start(postgres.port());
    let server = server().env("SANDTREE_STORE__URL", postgres.url_at(proxy.port())).start().await;
    let before = Before::running(&server.client()).await;
    proxy.cut();
    before.goes_on_without_the_store().await;
    proxy.restore();
    before.is_as_before().await;
}

#[tokio::test]
async fn postgresql_that_stands_still_is_as_good_as_away() {
    let postgres = TestPostgres::start().await;
    let server = server().env("SANDTREE_STORE__URL", postgres.url()).start().await;
    let client = server.client();
    let before = Before::running(&client).await;
    let process = before.up.put_process(&json!({ "argv": ["sleep", "1000"] })).await;
    postgres.freeze();
    let new = json!({ "id": "new", "profile": "small" });
    // All at once, because each is told only when the time of a write is over.
    tokio::join!(
        refused_for_now(&client, "/v1/projects/up/pause", &Value::Null),
        refused_for_now(&client, "/v1/projects", &new),
        before.runs_on(),
    );
    postgres.thaw();
    // What was asked for and not answered may be under way.
    until("the sandbox to run", async || {
        client.post_empty("/v1/projects/up/resume").await.status == 200
    })
    .await;
    assert_eq!(before.up.process().await["pid"], process["pid"], "nothing was ended for it");
    before.is_as_before().await;
}

#[tokio::test]
async fn a_start_waits_for_postgresql_and_the_sandbox_is_found_again() {
    let mut postgres = TestPostgres::start().await;
    let mut server = server().env("SANDTREE_STORE__URL", postgres.url()).start().await;
    let up = Project::small(&server.client(), "up").await;
    let before = up.show().await;
    server.kill9().await;
    postgres.kill9().await;
    tokio::join!(server.restart(), postgres.restart());
    let up = Project::existing(&server.client(), "up");
    up.wait_for_exec().await;
    let after = up.show().await;
    assert_eq!(
        (&after["sandbox"], &after["generation"]),
        (&before["sandbox"], &before["generation"])
    );
}

/// Another process that has the write lock of a SQLite file.
struct Locker(Child);

impl Locker {
    fn hold(file: &Path) -> Self {
        let mut locker = Command::new("python3")
            .args(["-c", LOCKER])
            .arg(file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3");
        let mut said = String::new();
        let out = locker.stdout.take().expect("piped");
        BufReader::new(out).read_line(&mut said).expect("the lock");
        assert_eq!(said, "locked\n");
        Self(locker)
    }
}

impl Drop for Locker {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        // It ends with its input.
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_sqlite_file_that_another_process_locks_is_waited_for() {
    let server = server().start().await;
    let before = Before::running(&server.client()).await;
    let locker = Locker::hold(&server.data_dir().join("sandtree.db"));
    before.goes_on_without_the_store().await;
    drop(locker);
    before.is_as_before().await;
}
