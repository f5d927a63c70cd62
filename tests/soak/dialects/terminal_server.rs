//! Clients of the Terminal Server.

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::worker::{Acts, Worker, echoes};
use crate::socket::Socket;

const SESSIONS: &str = "/api/v1/sessions";

/// What they do.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Act {
    Text,
    Binary,
    Life,
}

impl Acts for Act {
    const OFTEN: &'static [Self] = &[Self::Text, Self::Binary];
    const SELDOM: &'static [Self] = &[Self::Life];

    async fn perform(self, worker: &mut Worker) {
        let session = session(worker).await;
        match self {
            Self::Text => text(worker, &session).await,
            Self::Binary => binary(worker, &session).await,
            // The next act makes another one.
            Self::Life => Self::leave(worker).await,
        }
    }

    async fn leave(worker: &mut Worker) {
        let Some(session) = worker.session.take() else { return };
        let path = format!("{SESSIONS}/{session}");
        let shown = worker.client.get(&path).await.expect(200).json();
        assert_eq!((&shown["session_id"], &shown["status"]), (&json!(session), &json!("active")));
        let gone = worker.client.delete(&path).await.expect(200).json();
        assert_eq!(gone, json!({ "status": "terminated" }));
    }
}

/// The session of the client, made when it has none.
async fn session(worker: &mut Worker) -> String {
    if worker.session.is_none() {
        let body = json!({ "userId": worker.name });
        let made = worker.client.post(SESSIONS, &body).await.expect(200).json();
        worker.session = Some(made["session_id"].as_str().expect("an id").to_owned());
    }
    worker.session.clone().expect("just made")
}

async fn text(worker: &mut Worker, session: &str) {
    let token = worker.token(session);
    let mut socket = open(worker, session).await;
    let size = json!({ "type": "resize", "data": { "cols": 120, "rows": 40 } });
    socket.send(Message::text(size.to_string())).await;
    let keys = json!({ "type": "stdin", "data": format!("{}\n", token.echo()) });
    echoes(&mut socket, &token, Message::text(keys.to_string()), text_output).await;
}

async fn binary(worker: &mut Worker, session: &str) {
    let token = worker.token(session);
    let mut socket = open(worker, session).await;
    let keys = [b"\x01", token.echo().as_bytes(), b"\n"].concat();
    echoes(&mut socket, &token, Message::binary(keys), any_output).await;
}

async fn open(worker: &Worker, session: &str) -> Socket {
    let path = format!("/ws/terminal/{session}?cols=120&rows=40");
    Socket::open(&worker.client, &path).await
}

fn text_output(message: &Message) -> Vec<u8> {
    let said: Value = serde_json::from_slice(&message.clone().into_data()).expect("JSON");
    if said["type"] == "stdout" { said["data"].as_str().expect("a text").into() } else { vec![] }
}

/// The screen may come as text, before the first binary frame was heard.
fn any_output(message: &Message) -> Vec<u8> {
    if message.is_text() {
        return text_output(message);
    }
    let frame = message.clone().into_data();
    if frame.first() == Some(&2) { frame[1..].into() } else { vec![] }
}
