//! What the suites share.

use std::path::{Path, PathBuf};
use std::process::Command;

use sandtree_testkit::{Client, Response, ServerSetup, TestServer, until};
use serde_json::{Value, json};

/// A server whose sandboxes stop quickly.
pub(crate) fn server() -> ServerSetup {
    TestServer::setup(env!("CARGO_BIN_EXE_sandtree"))
        .env("SANDTREE_PROFILES__DEFAULT__STOP_GRACE", "2s")
}

/// A directory for what tests fetch once.
pub(crate) fn cache_dir() -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../test-cache");
    std::fs::create_dir_all(&dir).expect("a directory below target");
    dir
}

/// Runs a program of this machine and answers its standard output.
pub(crate) fn run(program: &str, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program} cannot be run: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
    output.stdout
}

/// One project, by the routes below it.
#[derive(Clone)]
pub(crate) struct Project {
    pub(crate) client: Client,
    pub(crate) id: String,
}

impl Project {
    /// A project that runs, with the general image.
    pub(crate) async fn running(client: &Client, id: &str) -> Self {
        Self::create(client, &json!({ "id": id, "start": true })).await
    }

    /// A project that runs, with the small image.
    pub(crate) async fn small(client: &Client, id: &str) -> Self {
        Self::create(client, &json!({ "id": id, "profile": "small", "start": true })).await
    }

    pub(crate) async fn create(client: &Client, body: &Value) -> Self {
        let made = client.post("/v1/projects", body).await.expect(201).json();
        let id = made["id"].as_str().expect("an id").to_owned();
        Self { client: client.clone(), id }
    }

    /// A project that exists, with another client.
    pub(crate) fn existing(client: &Client, id: &str) -> Self {
        Self { client: client.clone(), id: id.to_owned() }
    }

    /// The path of a route below the project, such as `exec`; empty for itself.
    pub(crate) fn path(&self, below: &str) -> String {
        let slash = if below.is_empty() || below.starts_with([':', '?']) { "" } else { "/" };
        format!("/v1/projects/{}{slash}{below}", self.id)
    }

    pub(crate) async fn get(&self, below: &str) -> Response {
        self.client.get(&self.path(below)).await
    }

    pub(crate) async fn post(&self, below: &str, body: &Value) -> Response {
        self.client.post(&self.path(below), body).await
    }

    pub(crate) async fn show(&self) -> Value {
        self.get("").await.expect(200).json()
    }

    pub(crate) async fn operate(&self, operation: &str) -> Value {
        self.client.post_empty(&self.path(operation)).await.expect(200).json()
    }

    /// Asks for an operation and does not wait for it.
    pub(crate) async fn operate_later(&self, operation: &str) -> Value {
        let asked = self.client.request(hyper::Method::POST, &self.path(operation));
        asked.header("prefer", "respond-async").send().await.expect(202).json()
    }

    /// Waits for a phase; the project as it is then.
    pub(crate) async fn wait_for(&self, phase: &str) -> Value {
        let shown = self.get(&format!("?wait_for={phase}&timeout=90s")).await.expect(200).json();
        assert_eq!(shown["phase"], phase, "{shown}");
        shown
    }

    /// Runs a shell command; its whole answer.
    pub(crate) async fn exec(&self, command: &str) -> Value {
        let body = json!({ "command": command, "timeout": "2m" });
        self.post("exec", &body).await.expect(200).json()
    }

    /// Runs a shell command that has to succeed; what it wrote.
    pub(crate) async fn sh(&self, command: &str) -> String {
        let done = self.exec(command).await;
        assert_eq!(done["exit_code"], 0, "{command}: {done}");
        done["stdout"].as_str().expect("a text").to_owned()
    }

    pub(crate) async fn write(&self, path: &str, content: &str) {
        let path = self.path(&format!("files/{path}"));
        let media = "application/octet-stream";
        let answer = self.client.put_bytes(&path, media, content.to_owned()).await;
        assert!(matches!(answer.status, 200 | 201 | 204), "{path}: {answer:?}");
    }

    pub(crate) async fn read(&self, path: &str) -> String {
        self.get(&format!("files/{path}")).await.expect(200).text()
    }

    /// Starts the process; as it is then.
    pub(crate) async fn put_process(&self, body: &Value) -> Value {
        let answer = self.client.put(&self.path("process"), body).await;
        assert!(matches!(answer.status, 200 | 201), "{answer:?}");
        answer.json()
    }

    pub(crate) async fn process(&self) -> Value {
        self.get("process").await.expect(200).json()
    }

    /// The process's standard output so far.
    pub(crate) async fn log(&self) -> String {
        let log = self.client.request(hyper::Method::GET, &self.path("process/logs?stream=stdout"));
        log.header("accept", "text/plain").send().await.expect(200).text()
    }

    /// Waits until something answers on a port; its answer to `path`.
    pub(crate) async fn preview(&self, port: u16, path: &str) -> Response {
        let path = format!("ports/{port}/{path}");
        until(&format!("an answer at {path}"), async || self.get(&path).await.status != 502).await;
        self.get(&path).await
    }

    /// Waits until commands work, as they do a moment after a restart of the server.
    pub(crate) async fn wait_for_exec(&self) {
        until("commands to work", async || {
            let body = json!({ "argv": ["true"] });
            self.post("exec", &body).await.status == 200
        })
        .await;
    }

    pub(crate) async fn delete(&self) {
        let _ = self.client.delete(&self.path("")).await.expect(204);
    }
}
