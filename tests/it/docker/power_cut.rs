//! What a client was answered is on the disk: a power cut right after it takes none of it,
//! whatever the route.
//!
//! What is left on the disk is looked at after each answer, and not only at the end: what is
//! synced later takes along what was not.

use std::path::{Path, PathBuf};

use hyper::Method;
use sandtree_testkit::{BlockDisk, Client, TestServer};
use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};

use crate::support::{Project, server};

/// A server whose data is on a disk. It ends before its disk goes.
struct Rig {
    server: TestServer,
    disk: BlockDisk,
}

impl Rig {
    async fn start() -> Self {
        let disk = BlockDisk::mount();
        let server = server().start_in(&disk.path()).await;
        Self { server, disk }
    }

    /// Its data as a power cut at this moment would leave it.
    fn left(&self) -> Left {
        let disk = self.disk.after_a_power_cut();
        let below = self.server.data_dir().strip_prefix(self.disk.path()).expect("on the disk");
        Left { data_dir: disk.path().join(below), _disk: disk }
    }
}

/// What is left.
struct Left {
    data_dir: PathBuf,
    _disk: BlockDisk,
}

impl Left {
    /// The workspace of the only project.
    fn workspace(&self) -> PathBuf {
        let dirs = std::fs::read_dir(self.data_dir.join("sandboxes")).expect("the sandboxes");
        let dirs: Vec<_> = dirs.flatten().map(|dir| dir.path().join("workspace")).collect();
        let [dir] = &dirs[..] else { panic!("one sandbox is on the disk: {dirs:?}") };
        dir.clone()
    }

    /// Phase, generation and process of the only project, and how long its log is.
    async fn row(&self) -> (String, i64, Option<String>, i64) {
        let file = self.data_dir.join("sandtree.db");
        let options = SqliteConnectOptions::new().filename(file).disable_statement_logging();
        let mut rows = SqliteConnection::connect_with(&options).await.expect("the database");
        let row = "SELECT phase, generation, process, (SELECT count(*) FROM transitions) \
                   FROM projects";
        sqlx::query_as(row).fetch_one(&mut rows).await.expect("the project's row")
    }
}

/// A request, and whether a workspace has what it was for.
type Change = (&'static str, &'static str, fn() -> (String, Vec<u8>), fn(&Path) -> bool);

/// Each begins where the ones before it have led.
const CHANGES: &[Change] = &[
    ("PUT", "files/file", || bytes("one"), |at| has(at, "file", "one")),
    ("PUT", "files/file", || bytes("two"), |at| has(at, "file", "two")),
    ("PUT", "files/in/new/dirs", || bytes("deep"), |at| has(at, "in/new/dirs", "deep")),
    ("POST", "files:mkdir", || document(&json!({ "path": "made" })), |at| at.join("made").is_dir()),
    (
        "POST",
        "files:copy",
        || document(&json!({ "from": "in", "to": "copied" })),
        |at| has(at, "copied/new/dirs", "deep"),
    ),
    (
        "POST",
        "files:move",
        || document(&json!({ "from": "file", "to": "made/moved" })),
        |at| has(at, "made/moved", "two") && !at.join("file").exists(),
    ),
    (
        "POST",
        "files:batch",
        || {
            let write = |n| json!({ "op": "write", "path": format!("b/{n}"), "content": "many" });
            document(&json!({ "operations": (0..9).map(write).collect::<Vec<_>>() }))
        },
        |at| (0..9).all(|n| has(at, &format!("b/{n}"), "many")),
    ),
    ("PUT", "archive?path=unpacked", archive, |at| has(at, "unpacked/member", "packed")),
    ("DELETE", "files/made/moved", || bytes(""), |at| !at.join("made/moved").exists()),
    ("DELETE", "files/copied?recursive=true", || bytes(""), |at| !at.join("copied").exists()),
];

fn bytes(content: &str) -> (String, Vec<u8>) {
    ("application/octet-stream".to_owned(), content.as_bytes().to_vec())
}

fn document(body: &Value) -> (String, Vec<u8>) {
    ("application/json".to_owned(), body.to_string().into_bytes())
}

fn archive() -> (String, Vec<u8>) {
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(6);
    let mut tar = tar::Builder::new(Vec::new());
    tar.append_data(&mut header, "member", &b"packed"[..]).expect("a member");
    ("application/x-tar".to_owned(), tar.into_inner().expect("a tar"))
}

fn has(dir: &Path, file: &str, content: &str) -> bool {
    std::fs::read_to_string(dir.join(file)).is_ok_and(|there| there == content)
}

async fn change(client: &Client, (method, below, body, _): &Change) {
    let (media, body) = body();
    let method: Method = method.parse().expect("a method");
    let call = client.request(method, &format!("/v1/projects/demo/{below}"));
    let call = if body.is_empty() { call } else { call.body(&media, body) };
    let answer = call.send().await;
    assert!((200..300).contains(&answer.status), "{below}: {answer:?}");
}

#[tokio::test]
async fn every_change_of_files_that_is_answered_is_on_the_disk() {
    let rig = Rig::start().await;
    let client = rig.server.client();
    Project::create(&client, &json!({ "id": "demo", "profile": "small" })).await;
    for of_files in CHANGES {
        change(&client, of_files).await;
        let (method, below, _, is_there) = of_files;
        assert!(is_there(&rig.left().workspace()), "{method} {below}: not on the disk");
    }
}

#[tokio::test]
async fn every_move_of_a_project_that_is_answered_is_on_the_disk() {
    let rig = Rig::start().await;
    let demo = Project::small(&rig.server.client(), "demo").await;
    for (operation, phase) in [
        (None, "running"),
        (Some("pause"), "paused"),
        (Some("resume"), "running"),
        (Some("stop"), "stopped"),
        (Some("start"), "running"),
    ] {
        if let Some(operation) = operation {
            demo.operate(operation).await;
        }
        let answered = demo.show().await["generation"].as_i64().expect("a number");
        let (left, generation, _, log) = rig.left().row().await;
        assert_eq!((left.as_str(), generation, log), (phase, answered, answered));
    }
    demo.put_process(&json!({ "argv": ["sleep", "1000"] })).await;
    let (_, _, process, _) = rig.left().row().await;
    assert!(process.is_some_and(|record| record.contains("sleep")), "the process is not on it");
}

#[tokio::test]
async fn the_folders_of_a_daiv_session_are_on_the_disk_when_it_is_answered() {
    let rig = Rig::start().await;
    let start = json!({ "base_image": "sandtree/small:latest" });
    let _ = rig.server.client().post("/session/", &start).await.expect(200);
    let left = rig.left();
    for folder in ["repo", "skills", "tmp"] {
        assert!(left.workspace().join(folder).is_dir(), "{folder} is not on the disk");
    }
}
