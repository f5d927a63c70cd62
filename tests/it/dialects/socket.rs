//! A WebSocket of a dialect, as tests like it.

use futures_util::{SinkExt as _, StreamExt as _};
use sandtree_testkit::{Client, LONG, within};
use tokio_tungstenite::tungstenite::Message;

/// A connection, and all the output that came on it.
pub(crate) struct Socket {
    inner: sandtree_client::WebSocket,
    seen: Vec<u8>,
}

impl Socket {
    /// Connects.
    pub(crate) async fn open(client: &Client, path: &str) -> Self {
        let inner = client.websocket(path).await;
        let inner = inner.unwrap_or_else(|status| panic!("{path}: {status}"));
        Self { inner, seen: Vec::new() }
    }

    /// Sends one message.
    pub(crate) async fn send(&mut self, message: impl Into<Message>) {
        within(LONG, "a message to be sent", self.inner.send(message.into())).await.expect("sent");
    }

    /// The next message that is not a ping.
    pub(crate) async fn next(&mut self) -> Message {
        within(LONG, "a message", self.next_ever()).await
    }

    /// Waits for a ping of the server.
    pub(crate) async fn pinged(&mut self) {
        let ping = async {
            loop {
                let message = self.inner.next().await;
                let message = message.expect("a connection that goes on").expect("a message");
                if message.is_ping() {
                    return;
                }
            }
        };
        within(LONG, "a ping", ping).await;
    }

    async fn next_ever(&mut self) -> Message {
        loop {
            let message = self.inner.next().await;
            let message = message.expect("a connection that goes on").expect("a message");
            if !message.is_ping() && !message.is_pong() {
                return message;
            }
        }
    }

    /// Reads until what was said as output, by `output`, holds `text`.
    pub(crate) async fn wait_for(&mut self, text: &str, output: fn(&Message) -> Vec<u8>) {
        while !String::from_utf8_lossy(&self.seen).contains(text) {
            let message = self.next().await;
            assert!(!message.is_close(), "closed before {text:?}: {message:?}");
            self.seen.extend(output(&message));
        }
        self.seen.clear();
    }

    /// Reads until what was said as output, by `output`, holds `text`; all of it. `None` when
    /// the server closed before.
    pub(crate) async fn output_until(
        &mut self,
        text: &str,
        output: fn(&Message) -> Vec<u8>,
    ) -> Option<String> {
        let mut seen = String::new();
        while !seen.contains(text) {
            let message = self.next().await;
            if message.is_close() {
                return None;
            }
            seen.push_str(&String::from_utf8_lossy(&output(&message)));
        }
        Some(seen)
    }

    /// Sends what the server refuses; the close code, if it came through.
    pub(crate) async fn send_too_much(&mut self, message: Message) -> Option<u16> {
        let ended = async {
            // It may be refused before it was sent.
            let _ = self.inner.send(message).await;
            loop {
                match self.inner.next().await {
                    Some(Ok(Message::Close(frame))) => return frame.map(|it| it.code.into()),
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return None,
                }
            }
        };
        within(LONG, "the end of the connection", ended).await
    }

    /// Reads to the end; its close code.
    pub(crate) async fn closed(&mut self) -> u16 {
        loop {
            if let Message::Close(frame) = self.next().await {
                return frame.map_or(0, |frame| frame.code.into());
            }
        }
    }
}
