//! The contract of the AI Project Builder, of which all versions are served at once.
//!
//! | part of `builder.md` | tests |
//! | --- | --- |
//! | 4.1, runtime, `/admin`, `/health`, `/ready`, `/projects` | `runtime` |
//! | 4.1, keys, rates, `X-Request-ID` | `access` |
//! | 4.1, `exec`, `run`, `stop-process`; 4.2, process manager | `commands` |
//! | 4.1, the two WebSockets; 4.2, terminal | `sockets` |
//! | 4.1, files and folders, with the planned routes of the roadmap | `files` |
//! | 4.1, `/projects/generate` | `generate` |
//! | 4.2, container | `container` |
//! | 4.2, reconciliation, and faults of the engine | `faults` |
//! | 4.2, policy | `policy` |

#[path = "builder/access.rs"]
mod access;
#[path = "builder/commands.rs"]
mod commands;
#[path = "builder/container.rs"]
mod container;
#[path = "builder/faults.rs"]
mod faults;
#[path = "builder/files.rs"]
mod files;
#[path = "builder/generate.rs"]
mod generate;
#[path = "builder/policy.rs"]
mod policy;
#[path = "builder/runtime.rs"]
mod runtime;
#[path = "builder/sockets.rs"]
mod sockets;

use hyper::Method;
use sandtree_testkit::{Client, Response, ServerSetup};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::support::server;

/// A server whose runtimes are of the general image, which has Python.
fn general() -> ServerSetup {
    server()
        .env("SANDTREE_PROFILES__BUILDER__IMAGE", "sandtree/general:latest")
        .env("SANDTREE_PROFILES__BUILDER__NETWORK", "none")
        .env("SANDTREE_PROFILES__BUILDER__STOP_GRACE", "1s")
}

/// One project, by this system's routes.
struct Project {
    client: Client,
    name: String,
}

impl Project {
    /// A project without a runtime.
    async fn create(client: &Client, name: &str) -> Self {
        let body = json!({ "id": name, "profile": "builder" });
        let _ = client.post("/v1/projects", &body).await.expect(201);
        Self { client: client.clone(), name: name.to_owned() }
    }

    async fn started(client: &Client, name: &str) -> Self {
        let project = Self::create(client, name).await;
        let _ = project.post("runtime/start", &json!({})).await.expect(200);
        project
    }

    fn path(&self, below: &str) -> String {
        format!("/projects/{}/{below}", self.name)
    }

    async fn get(&self, below: &str) -> Response {
        self.client.get(&self.path(below)).await
    }

    async fn post(&self, below: &str, body: &Value) -> Response {
        self.client.post(&self.path(below), body).await
    }

    async fn put(&self, below: &str, body: &Value) -> Response {
        self.client.put(&self.path(below), body).await
    }

    async fn delete(&self, below: &str) -> Response {
        self.client.request(Method::DELETE, &self.path(below)).send().await
    }
}

/// What a refusal says.
fn detail(response: &Response) -> String {
    response.json()["detail"].as_str().unwrap_or_default().to_owned()
}

/// Raw text of the terminal is output as it is.
fn text(message: &Message) -> Vec<u8> {
    assert!(message.is_text(), "{message:?}");
    message.clone().into_data().into()
}
