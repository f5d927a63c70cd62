//! A terminal as a person sees it: keystrokes in, a screen out.

use std::num::NonZero;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::wait::within;

/// Longest time until a screen shows what it has to.
const SCREEN_MAX: Duration = Duration::from_secs(60);

fn size(number: u16) -> NonZero<u16> {
    NonZero::new(number).expect("a size that is not zero")
}

/// A viewer of a terminal.
pub struct Terminal {
    socket: WebSocketStream<TcpStream>,
    parser: vt100::Parser,
    /// Epoch, and offset of the next byte.
    at: Option<(u64, u64)>,
    output: Vec<u8>,
    gap_bytes: u64,
    exit_code: Option<i64>,
    is_over: bool,
}

impl Terminal {
    pub(super) fn new(socket: WebSocketStream<TcpStream>, query: &str) -> Self {
        let number = |name: &str| {
            let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.find(|(key, _)| *key == name).and_then(|(_, value)| value.parse::<u16>().ok())
        };
        let (rows, cols) = (number("rows").unwrap_or(24), number("cols").unwrap_or(80));
        Self {
            socket,
            parser: vt100::Parser::new(size(rows), size(cols), 0),
            at: None,
            output: Vec::new(),
            gap_bytes: 0,
            exit_code: None,
            is_over: false,
        }
    }

    /// Types; a line ends with `\r`.
    pub async fn type_text(&mut self, text: &str) {
        self.send(Message::Binary(Bytes::copy_from_slice(text.as_bytes()))).await;
    }

    /// Sends a text message, such as a control message.
    pub async fn control(&mut self, value: &Value) {
        self.send(Message::text(value.to_string())).await;
    }

    /// Changes the size, here and there.
    pub async fn resize(&mut self, cols: u16, rows: u16) {
        self.parser.screen_mut().set_size(size(rows), size(cols));
        self.control(&json!({ "type": "resize", "cols": cols, "rows": rows })).await;
    }

    /// Waits until the screen shows it; the screen's text.
    ///
    /// # Panics
    ///
    /// When it does not in time, with the screen as it is then.
    pub async fn wait_for_screen(&mut self, what: &str, shows: impl Fn(&str) -> bool) -> String {
        let deadline = tokio::time::Instant::now() + SCREEN_MAX;
        loop {
            let screen = self.screen();
            if shows(&screen) {
                return screen;
            }
            let came = tokio::time::timeout_at(deadline, self.take()).await;
            let why = match came {
                Ok(true) => continue,
                Ok(false) => "the terminal ended",
                Err(_) => "time is up",
            };
            panic!("no {what} on the screen, and {why}:\n{}", self.screen());
        }
    }

    /// Waits until so much output has come since this viewer came.
    pub async fn wait_for_output(&mut self, what: &str, has: impl Fn(&[u8]) -> bool) {
        within(SCREEN_MAX, what, async {
            while !has(&self.output) {
                assert!(self.take().await, "the terminal ended before {what}");
            }
        })
        .await;
    }

    /// Waits until the shell has ended; its exit code.
    pub async fn wait_for_exit(&mut self) -> i64 {
        within(SCREEN_MAX, "the shell's end", async {
            while self.exit_code.is_none() {
                assert!(self.take().await, "the terminal ended without an exit code");
            }
        })
        .await;
        self.exit_code.expect("just seen")
    }

    /// Waits until the server has closed the connection.
    pub async fn wait_for_close(&mut self) {
        within(SCREEN_MAX, "the terminal to be closed", async { while self.take().await {} }).await;
    }

    /// The screen's text.
    #[must_use]
    pub fn screen(&self) -> String {
        self.parser.screen().contents()
    }

    /// Everything that came, byte for byte.
    #[must_use]
    pub fn output(&self) -> &[u8] {
        &self.output
    }

    /// Bytes that the server said were lost.
    #[must_use]
    pub fn gap_bytes(&self) -> u64 {
        self.gap_bytes
    }

    /// Where a later viewer goes on, for `?after=`.
    #[must_use]
    pub fn cursor(&self) -> String {
        let (epoch, offset) = self.at.expect("a terminal that was ready");
        format!("{epoch}:{offset}")
    }

    async fn send(&mut self, message: Message) {
        let sent = within(SCREEN_MAX, "the server to take a message", self.socket.send(message));
        sent.await.expect("a terminal that takes messages");
    }

    /// Takes one message; false when there are no more.
    async fn take(&mut self) -> bool {
        if self.is_over {
            return false;
        }
        match self.socket.next().await {
            Some(Ok(Message::Binary(bytes))) => self.took(&bytes),
            Some(Ok(Message::Text(text))) => self.told(&text),
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
            Some(Ok(Message::Close(_)) | Err(_)) | None => self.is_over = true,
        }
        !self.is_over
    }

    fn took(&mut self, bytes: &[u8]) {
        self.parser.process(bytes);
        self.output.extend_from_slice(bytes);
        if let Some((_, offset)) = &mut self.at {
            *offset += bytes.len() as u64;
        }
    }

    fn told(&mut self, text: &str) {
        let value: Value = serde_json::from_str(text).expect("a control message is JSON");
        match value["type"].as_str() {
            Some("ready") => self.ready(&value),
            Some("gap") => self.lost(value["bytes"].as_u64().expect("a number of bytes")),
            Some("exit") => self.exit_code = value["code"].as_i64(),
            Some("pong") => {}
            _ => panic!("an unknown control message: {text}"),
        }
    }

    fn ready(&mut self, value: &Value) {
        let offset = value["offset"].as_str().and_then(|text| text.split_once(':'));
        let (epoch, offset) = offset.unwrap_or_else(|| panic!("no offset in {value}"));
        let number = |text: &str| text.parse::<u64>().expect("a number");
        self.at = Some((number(epoch), number(offset)));
        if value["fresh"] == true {
            self.parser.process(b"\x1bc");
        }
    }

    fn lost(&mut self, bytes: u64) {
        self.gap_bytes += bytes;
        if let Some((_, offset)) = &mut self.at {
            *offset += bytes;
        }
    }
}
