//! The contract of daiv-sandbox, section by section.
//!
//! | section | what | where |
//! | --- | --- | --- |
//! | 1.2 | prefixes, slashes, keys, 404 and 405, health and version | `src/edge/dialects/daiv/tests.rs` |
//! | 1.2 | bodies that cannot be read, in the framework's words | `src/edge/dialects/daiv/tests/bodies.rs` |
//! | 1.3 | `/run/commands/`: fields, results, the archive, the container | [`once`] |
//! | 1.3 | `/run/code/`: languages, failures, dependencies | [`languages`] |
//! | 1.4 | the fields of version 0.4 | [`earlier`] |
//! | 1.5 | sessions: start, close, warm, busy, egress refused | [`life`], `bodies.rs` |
//! | 1.5 | commands of a session | [`run`] |
//! | 1.5 | `fs/*` and its codes; `fs/grep`, `fs/glob` | [`fs`], [`search`] |
//! | 1.5, 1.7 | seeds, and what hostile archives come to | [`seed`] |
//! | 1.6 | defaults | `src/config/tests.rs` |
//! | 1.7 | life cycle and retention | [`life`] |
//! | 1.9 | the client's sequence and its rules of trying again | [`client`] |
//! | 1.10 | faults not to copy: `cpus`, processes that outlive a time-out, images without users, turns, sessions that leak, failures of `/run/` | [`run`], [`life`], [`once`] |
//!
//! Not kept, with the reasons in `docs/API.md`: egress proxies, what `/run/` changes outside
//! the workspace, names and labels of containers.

#[path = "daiv/archive.rs"]
mod archive;
#[path = "daiv/client.rs"]
mod client;
#[path = "daiv/earlier.rs"]
mod earlier;
#[path = "daiv/fs.rs"]
mod fs;
#[path = "daiv/languages.rs"]
mod languages;
#[path = "daiv/life.rs"]
mod life;
#[path = "daiv/once.rs"]
mod once;
#[path = "daiv/run.rs"]
mod run;
#[path = "daiv/search.rs"]
mod search;
#[path = "daiv/seed.rs"]
mod seed;

use hyper::Method;
use sandtree_model::ProjectId;
use sandtree_testkit::{Client, Response, ServerSetup, TestServer, until};
use serde_json::{Value, json};

use crate::support::server as any_server;

/// An image with bash, git and Python.
const GENERAL: &str = "sandtree/general:latest";
/// An image with a busybox and nothing else: no passwd entry, no bash.
const SMALL: &str = "sandtree/small:latest";

/// A server on which nobody waits for a session that is in use.
fn server() -> ServerSetup {
    any_server().env("SANDTREE_DIALECTS__DAIV__BUSY_WAIT", "0s")
}

/// A session, by the routes below it.
#[derive(Clone)]
struct Session {
    client: Client,
    id: String,
}

impl Session {
    async fn small(client: &Client) -> Self {
        Self::start(client, &json!({ "base_image": SMALL })).await
    }

    async fn start(client: &Client, body: &Value) -> Self {
        let made = client.post("/session/", body).await.expect(200).json();
        let id = made["session_id"].as_str().expect("an id").to_owned();
        assert!(id.len() == 64 && id.bytes().all(|c| c.is_ascii_hexdigit()), "{id}");
        Self { client: client.clone(), id }
    }

    fn path(&self, below: &str) -> String {
        format!("/session/{}/{below}", self.id)
    }

    /// The project that it is for the core.
    fn project(&self) -> String {
        let id = ProjectId::of_name(&self.id).expect("a name");
        format!("/v1/projects/{id}")
    }

    async fn send(&self, method: Method, below: &str) -> Response {
        self.client.request(method, &self.path(below)).send().await
    }

    /// Sends a request that has to be answered 204, without a body.
    async fn done(&self, method: Method, below: &str) {
        let answer = self.send(method, below).await.expect(204);
        assert!(answer.body.is_empty(), "{}", answer.text());
    }

    async fn post(&self, below: &str, body: &Value) -> Response {
        self.client.post(&self.path(below), body).await
    }

    /// Runs commands; their results.
    async fn run(&self, body: &Value) -> Vec<Value> {
        let answer = self.post("", body).await.expect(200).json();
        answer["results"].as_array().expect("results").clone()
    }

    /// Runs one command; its output and exit code.
    async fn sh(&self, command: &str) -> (String, i64) {
        let results = self.run(&json!({ "commands": [command] })).await;
        assert_eq!((results.len(), &results[0]["command"]), (1, &json!(command)));
        let output = results[0]["output"].as_str().expect("a text").to_owned();
        (output, results[0]["exit_code"].as_i64().expect("a number"))
    }

    /// Runs one command that has to succeed; its output.
    async fn ok(&self, command: &str) -> String {
        let (output, code) = self.sh(command).await;
        assert_eq!(code, 0, "{command}: {output}");
        output
    }

    async fn fs(&self, op: &str, body: &Value) -> Value {
        self.post(&format!("fs/{op}"), body).await.expect(200).json()
    }

    /// Sends a form of files.
    async fn seed(&self, parts: &[(&str, &[u8])]) -> Response {
        let (media, body) = archive::form(parts);
        let call = self.client.request(Method::POST, &self.path("seed/"));
        call.body(&media, body).send().await
    }

    /// Sends a form of files that has to be taken.
    async fn seeded(&self, parts: &[(&str, &[u8])]) {
        let _ = self.seed(parts).await.expect(204);
    }
}

/// Waits until a server has no sandbox any more.
async fn nothing_is_left(server: &TestServer) {
    until("its containers to be gone", async || server.containers().is_empty()).await;
}

/// That an answer has this status and this sentence.
fn assert_detail(answer: &Response, status: u16, detail: &str) {
    assert_eq!((answer.status, answer.json()), (status, json!({ "detail": detail })));
}
