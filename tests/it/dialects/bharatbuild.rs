//! The contract of BharatBuild, row by row.
//!
//! | section | what | where |
//! | --- | --- | --- |
//! | 2.1 | `create`: both bodies, both replies, what a container is | [`create`] |
//! | 2.1 | `exec` and `exec/batch`: events, order, time-outs, refusals | [`exec`] |
//! | 2.1 | `files`, `files/batch`, `files/verify`: both shapes, 400 and 404 | [`files`] |
//! | 2.1 | `ports`, `stats`, `status`, `stop`, `restart`, `DELETE`, keys, Docker away | [`lifecycle`] |
//! | 2.1 | `preview` and the proxy: headers, rewriting, statuses, close codes | [`preview`] |
//! | 2.1 | what the clients read of each answer | [`hook`] |
//! | 2.2 | defaults and images by name | `src/config/tests.rs` |
//! | 2.2 | a program of every type of project | [`images`] |
//! | 2.2 | the words by which a server announces its port | `crates/model/src/announced.rs` |
//! | 2.2 | expiry, with the files | [`lifecycle`] |
//! | 2.3 | the validator: lists, patterns, paths, modes, risks, sanitiser | `crates/model/src/command_policy/validator/tests.rs` |
//! | 2.3 | faults not to copy: no shell, time-outs that kill nothing, ids of equal beginnings | [`exec`], [`create`] |
//!
//! Not kept, with the reasons in `docs/API.md`: names and labels of containers, ports on the
//! host, owners of projects below the key.

#[path = "bharatbuild/create.rs"]
mod create;
#[path = "bharatbuild/exec.rs"]
mod exec;
#[path = "bharatbuild/files.rs"]
mod files;
#[path = "bharatbuild/hook.rs"]
mod hook;
#[path = "bharatbuild/images.rs"]
mod images;
#[path = "bharatbuild/lifecycle.rs"]
mod lifecycle;
#[path = "bharatbuild/preview.rs"]
mod preview;

use sandtree_testkit::{Client, Response, ServerSetup, TestServer};
use serde_json::{Value, json};

use crate::support::server;

/// A server with this dialect, whose sandboxes stop quickly.
fn setup() -> ServerSetup {
    server().env("SANDTREE_PROFILES__BHARATBUILD__STOP_GRACE", "1s")
}

/// A server and one container of it.
struct Bharat {
    server: TestServer,
    client: Client,
    id: String,
}

impl Bharat {
    /// A server and a container that runs.
    async fn running(id: &str) -> Self {
        Self::with(setup(), id).await
    }

    async fn with(setup: ServerSetup, id: &str) -> Self {
        let server = setup.start().await;
        let bharat = Self { client: server.client(), server, id: id.to_owned() };
        let _ = bharat.post("create", &json!({ "project_type": "node" })).await.expect(200);
        bharat
    }

    /// A path of the container.
    fn path(&self, below: &str) -> String {
        format!("/api/v1/containers/{}/{below}", self.id)
    }

    async fn get(&self, below: &str) -> Response {
        self.client.get(&self.path(below)).await
    }

    async fn post(&self, below: &str, body: &Value) -> Response {
        self.client.post(&self.path(below), body).await
    }

    async fn post_empty(&self, below: &str) -> Response {
        self.client.post_empty(&self.path(below)).await
    }

    async fn delete(&self, query: &str) -> Response {
        self.client.delete(&format!("/api/v1/containers/{}{query}", self.id)).await
    }

    /// Runs a command; its events.
    async fn exec(&self, command: &str) -> Vec<Value> {
        self.events("exec", &json!({ "command": command, "timeout": 60 })).await
    }

    async fn events(&self, below: &str, body: &Value) -> Vec<Value> {
        events(&self.post(below, body).await.expect(200))
    }

    async fn write(&self, path: &str, content: &str) {
        let body = json!({ "path": path, "content": content });
        let _ = self.post("files", &body).await.expect(200);
    }
}

/// What a client of this contract makes of a stream: the lines that begin with `data: `.
fn events(response: &Response) -> Vec<Value> {
    assert_eq!(response.header("content-type"), Some("text/event-stream"));
    assert_eq!(response.header("cache-control"), Some("no-cache"));
    assert_eq!(response.header("x-accel-buffering"), Some("no"));
    let text = response.text();
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(|data| serde_json::from_str(data).expect("an event of JSON")).collect()
}

/// The kinds of events, in their order.
fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().expect("a type")).collect()
}

/// What the events of a kind say.
fn data<'a>(events: &'a [Value], kind: &str) -> Vec<&'a str> {
    let of_kind = events.iter().filter(|event| event["type"] == kind);
    of_kind.map(|event| event["data"].as_str().expect("a text")).collect()
}
