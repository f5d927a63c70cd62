//! The terminal of a project: bytes and control messages, both ways.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::client::WebSocket;
use crate::error::ClientError;

/// Longest silence of a server, which pings every 25 seconds.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// Longest time that the server may take to accept one message.
const WRITE_MAX: Duration = Duration::from_secs(30);

/// A byte of a terminal's output: `epoch:offset`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Which shell.
    pub epoch: u64,
    /// Bytes since its start.
    pub offset: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.epoch, self.offset)
    }
}

impl FromStr for Position {
    type Err = ClientError;

    fn from_str(text: &str) -> Result<Self, ClientError> {
        let wrong = || ClientError::Answer(format!("{text:?} is no position"));
        let (epoch, offset) = text.split_once(':').ok_or_else(wrong)?;
        let number = |text: &str| text.parse::<u64>().map_err(|_| wrong());
        Ok(Self { epoch: number(epoch)?, offset: number(offset)? })
    }
}

/// What a terminal says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TerminalItem {
    /// Output that follows starts here.
    Ready {
        /// Where.
        at: Position,
        /// The screen starts anew.
        fresh: bool,
    },
    /// Output.
    Bytes(Bytes),
    /// So many bytes of output are lost.
    Gap(u64),
    /// The shell ended.
    Exit(i32),
    /// The server closed the connection.
    Closed {
        /// Code of the WebSocket; 1000 after the shell's end, 1001 for coming again.
        code: u16,
        /// Why, in its words.
        reason: String,
    },
    /// An answer to a ping.
    Pong,
}

/// A viewer of a terminal.
#[derive(Debug)]
pub struct Terminal {
    /// What it says.
    pub reader: TerminalReader,
    /// Where keystrokes go.
    pub writer: TerminalWriter,
}

/// What a terminal says, in order.
#[derive(Debug)]
pub struct TerminalReader {
    messages: SplitStream<WebSocket>,
    at: Option<Position>,
}

/// Where keystrokes and sizes go.
#[derive(Debug)]
pub struct TerminalWriter(SplitSink<WebSocket, Message>);

impl Terminal {
    pub(crate) fn new(socket: WebSocket) -> Self {
        let (writer, messages) = socket.split();
        let reader = TerminalReader { messages, at: None };
        Self { reader, writer: TerminalWriter(writer) }
    }
}

impl TerminalReader {
    /// The next thing that the terminal says. Cancel safe.
    ///
    /// # Errors
    ///
    /// When the connection breaks or nothing is heard for too long.
    pub async fn next(&mut self) -> Result<TerminalItem, ClientError> {
        let limit = SILENCE_MAX;
        loop {
            let next = tokio::time::timeout(limit, self.messages.next()).await;
            let message = match next.map_err(|_| ClientError::TimedOut { limit })? {
                Some(Ok(message)) => message,
                Some(Err(error)) => return Err(ClientError::Broken(error.into())),
                None => return Err(ClientError::Broken("it was closed".into())),
            };
            match message {
                Message::Binary(bytes) => {
                    self.pass(bytes.len() as u64);
                    return Ok(TerminalItem::Bytes(bytes));
                }
                Message::Text(text) => return self.told(&text),
                Message::Close(frame) => {
                    let (code, reason) = frame.map_or((1005, String::new()), |frame| {
                        (frame.code.into(), frame.reason.to_string())
                    });
                    return Ok(TerminalItem::Closed { code, reason });
                }
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
    }

    /// Where a later viewer goes on; `None` before the terminal was ready.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        self.at
    }

    fn told(&mut self, text: &str) -> Result<TerminalItem, ClientError> {
        let wrong = || ClientError::Answer(format!("an unknown message of the terminal: {text}"));
        let value: Value = serde_json::from_str(text).map_err(|_| wrong())?;
        match value["type"].as_str() {
            Some("ready") => {
                let at: Position = value["offset"].as_str().ok_or_else(wrong)?.parse()?;
                self.at = Some(at);
                Ok(TerminalItem::Ready { at, fresh: value["fresh"] == true })
            }
            Some("gap") => {
                let bytes = value["bytes"].as_u64().ok_or_else(wrong)?;
                self.pass(bytes);
                Ok(TerminalItem::Gap(bytes))
            }
            Some("exit") => {
                let code = value["code"].as_i64().and_then(|code| i32::try_from(code).ok());
                Ok(TerminalItem::Exit(code.ok_or_else(wrong)?))
            }
            Some("pong") => Ok(TerminalItem::Pong),
            Some(_) | None => Err(wrong()),
        }
    }

    fn pass(&mut self, bytes: u64) {
        if let Some(at) = &mut self.at {
            at.offset += bytes;
        }
    }
}

impl TerminalWriter {
    /// Sends keystrokes; a line ends with `\r`.
    ///
    /// # Errors
    ///
    /// When the connection breaks, or the server does not take it.
    pub async fn keys(&mut self, bytes: Bytes) -> Result<(), ClientError> {
        self.send(Message::Binary(bytes)).await
    }

    /// Changes the size.
    ///
    /// # Errors
    ///
    /// As [`TerminalWriter::keys`].
    pub async fn resize(&mut self, cols: u16, rows: u16) -> Result<(), ClientError> {
        self.control(&json!({ "type": "resize", "cols": cols, "rows": rows })).await
    }

    /// Sends a control message.
    ///
    /// # Errors
    ///
    /// As [`TerminalWriter::keys`].
    pub async fn control(&mut self, value: &Value) -> Result<(), ClientError> {
        self.send(Message::text(value.to_string())).await
    }

    /// Says that it was all. What the server answers is not waited for.
    pub async fn close(&mut self) {
        // Whoever leaves need not know whether the server has heard it.
        let _ = tokio::time::timeout(Duration::from_secs(1), self.0.close()).await;
    }

    async fn send(&mut self, message: Message) -> Result<(), ClientError> {
        let limit = WRITE_MAX;
        let sent = tokio::time::timeout(limit, self.0.send(message)).await;
        let sent = sent.map_err(|_| ClientError::TimedOut { limit })?;
        sent.map_err(|error| ClientError::Broken(error.into()))
    }
}
