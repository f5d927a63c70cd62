//! Bad input: a problem document names the field and the limit, and the server goes on.

#[path = "bad_input/bodies.rs"]
mod bodies;
#[path = "bad_input/config.rs"]
mod config;
#[path = "bad_input/connections.rs"]
mod connections;
#[path = "bad_input/fields.rs"]
mod fields;

use std::time::Duration;

use hyper::Method;
use sandtree_testkit::{Client, Response, ServerSetup, TestServer};
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_sandtree");
/// How long a raw connection may be silent until its answer counts as whole.
const QUIET: Duration = Duration::from_secs(10);

/// Method, path, JSON body ("" for none), status, last part of `type`, and `field`
/// ("" when the document names none).
type Row = (&'static str, &'static str, &'static str, u16, &'static str, &'static str);

fn setup() -> ServerSetup {
    TestServer::setup(BINARY)
        .env("SANDTREE_SERVER__JSON_BYTES_MAX", "4096")
        .env("SANDTREE_SERVER__FILE_BYTES_MAX", "65536")
        .env("SANDTREE_SERVER__ARCHIVE_BYTES_MAX", "65536")
        .env("SANDTREE_SERVER__WEBSOCKET_MESSAGE_BYTES_MAX", "4096")
        .env("SANDTREE_SERVER__HEADER_TIMEOUT", "1s")
}

/// A server with a stopped project `p`.
async fn start() -> (TestServer, Client) {
    let server = setup().start().await;
    let client = server.client();
    let project = json!({ "id": "p", "profile": "small" });
    let _ = client.post("/v1/projects", &project).await.expect(201);
    (server, client)
}

/// That the server still serves: its health, and a command in `p`.
async fn still_serves(client: &Client) {
    let _ = client.get("/health").await.expect(200);
    let _ = client.post_empty("/v1/projects/p/start").await.expect(200);
    let ran = client.post("/v1/projects/p/exec", &json!({ "command": "echo ok" })).await;
    assert_eq!(ran.expect(200).json()["stdout"], "ok\n");
}

async fn send(client: &Client, method: &str, path: &str, body: &str) -> Response {
    let method: Method = method.parse().expect("a method");
    let request = client.request(method, path);
    if body.is_empty() {
        return request.send().await;
    }
    request.body("application/json", body.to_owned()).send().await
}

/// What is wrong with an answer, if anything.
fn wrong(answer: &Response, status: u16, kind: &str, field: &str) -> Option<String> {
    let wrong = |why: &str| Some(format!("{why}; it is {} {}", answer.status, answer.text()));
    if answer.status != status {
        return wrong(&format!("wants {status}"));
    }
    let (found, document) = answer.problem();
    let named = document["field"].as_str().unwrap_or("");
    if (found.as_str(), named) != (kind, field) {
        return wrong(&format!("wants {kind} with the field {field:?}"));
    }
    None
}

/// Sends every row and tells of all that were answered in another way.
async fn refuse_all(client: &Client, rows: &[Row]) {
    let mut failed = Vec::new();
    for &(method, path, body, status, kind, field) in rows {
        let answer = send(client, method, path, body).await;
        if let Some(wrong) = wrong(&answer, status, kind, field) {
            let body: String = body.chars().take(200).collect();
            failed.push(format!("{method} {path} {body}: {wrong}"));
        }
    }
    assert!(failed.is_empty(), "{} of {}:\n{}", failed.len(), rows.len(), failed.join("\n"));
}

/// The status, and the body as a problem document.
pub(crate) fn parse_raw(answer: &[u8]) -> (u16, Value) {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.unwrap_or_else(|| panic!("no answer: {text:?}"));
    let is_problem = head.to_ascii_lowercase().contains("application/problem+json");
    let document = is_problem.then(|| serde_json::from_str(body).ok()).flatten();
    (status, document.unwrap_or(Value::Null))
}
