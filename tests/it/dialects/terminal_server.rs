//! The contract of the Terminal Server.
//!
//! | row of `terminal-server.md` | tests |
//! | --- | --- |
//! | create, delete, health, limits, and what is not served | `sessions` |
//! | WebSocket, its settings, and what the contract left to be decided | `socket` |
//! | hardening, environment | `container` |
//! | time-outs, crashes, trouble with the daemon, log events, metrics | `faults` |

#[path = "terminal_server/container.rs"]
mod container;
#[path = "terminal_server/faults.rs"]
mod faults;
#[path = "terminal_server/sessions.rs"]
mod sessions;
#[path = "terminal_server/socket.rs"]
mod socket;

use sandtree_testkit::{Client, ServerSetup};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::socket::Socket;
use crate::support::server;

const SESSIONS: &str = "/api/v1/sessions";

fn small() -> ServerSetup {
    server().env("SANDTREE_PROFILES__TERMINAL_SERVER__IMAGE", "sandtree/small:latest")
}

async fn create(client: &Client) -> Value {
    client.post_empty(SESSIONS).await.expect(200).json()
}

fn id(session: &Value) -> String {
    session["session_id"].as_str().expect("an id").to_owned()
}

async fn connect(client: &Client, session: &str) -> Socket {
    Socket::open(client, &format!("/ws/terminal/{session}")).await
}

fn stdin(text: &str) -> Message {
    Message::text(json!({ "type": "stdin", "data": text }).to_string())
}

/// What a JSON frame says as output.
fn stdout(message: &Message) -> Vec<u8> {
    let said: Value = serde_json::from_slice(&message.clone().into_data()).expect("JSON");
    if said["type"] == "stdout" {
        said["data"].as_str().expect("a text").into()
    } else {
        Vec::new()
    }
}

/// What a binary frame says as output.
fn binary(message: &Message) -> Vec<u8> {
    let frame = message.clone().into_data();
    if message.is_binary() && frame.first() == Some(&2) { frame[1..].into() } else { Vec::new() }
}
