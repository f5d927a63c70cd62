//! A terminal with a shell.

use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use super::local::Local;
use crate::server::{Project, Server};

/// The shell has finished its prompt after so long a silence.
const QUIET: Duration = Duration::from_millis(300);
/// Longest time until a shell says anything.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Most bytes of one read.
const READ_BYTES: usize = 128 * 1024;

/// See the module.
pub(crate) enum Tty {
    /// A WebSocket whose binary messages are bytes.
    Socket(Box<WebSocketStream<TcpStream>>),
    /// A WebSocket with texts such as `["stdout", "..."]`.
    Json(Box<WebSocketStream<TcpStream>>),
    /// A connection that carries the bytes and nothing else.
    Plain(TcpStream),
    /// A terminal of Docker's.
    Docker(TokioIo<Upgraded>),
    /// A terminal of this machine.
    Local(Box<Local>),
}

impl Tty {
    /// The terminal of a project.
    pub(crate) async fn of(server: &Server, project: &Project) -> anyhow::Result<Self> {
        let url = format!("ws://{}/v1/projects/{}/terminal", server.address, project.id);
        let stream = TcpStream::connect(&server.address).await?;
        stream.set_nodelay(true)?;
        Ok(Tty::Socket(Box::new(Self::upgrade(url, stream).await?)))
    }

    /// Makes a WebSocket of a connection.
    pub(crate) async fn upgrade(
        url: String,
        stream: TcpStream,
    ) -> anyhow::Result<WebSocketStream<TcpStream>> {
        let config = WebSocketConfig::default().read_buffer_size(READ_BYTES);
        let opened = tokio_tungstenite::client_async_with_config(url, stream, Some(config));
        Ok(timeout(ANSWER_MAX, opened).await.context("no WebSocket")??.0)
    }

    /// Waits until the shell has shown its prompt and is silent.
    pub(crate) async fn prompt(&mut self) -> anyhow::Result<()> {
        self.shown().await?;
        self.settle().await
    }

    /// Waits until the shell is silent.
    pub(crate) async fn settle(&mut self) -> anyhow::Result<()> {
        while let Ok(more) = timeout(QUIET, self.output()).await {
            drop(more?);
        }
        Ok(())
    }

    /// The next output, within a time that is long for anything but an end.
    pub(crate) async fn shown(&mut self) -> anyhow::Result<Bytes> {
        timeout(ANSWER_MAX, self.output()).await.context("the shell says nothing")?
    }

    /// Types.
    pub(crate) async fn input(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        match self {
            Tty::Socket(socket) => {
                socket.send(Message::Binary(Bytes::copy_from_slice(bytes))).await?;
            }
            Tty::Json(socket) => {
                let text = json!(["stdin", String::from_utf8_lossy(bytes)]).to_string();
                socket.send(Message::text(text)).await?;
            }
            Tty::Plain(stream) => stream.write_all(bytes).await?,
            Tty::Docker(stream) => stream.write_all(bytes).await?,
            Tty::Local(local) => local.write(bytes)?,
        }
        Ok(())
    }

    /// The next output.
    pub(crate) async fn output(&mut self) -> anyhow::Result<Bytes> {
        let mut buffer = match self {
            Tty::Socket(socket) => return binary(socket).await,
            Tty::Json(socket) => return stdout(socket).await,
            Tty::Plain(_) | Tty::Docker(_) | Tty::Local(_) => vec![0; READ_BYTES],
        };
        let count = match self {
            Tty::Plain(stream) => stream.read(&mut buffer).await?,
            Tty::Docker(stream) => stream.read(&mut buffer).await?,
            Tty::Local(local) => local.read(&mut buffer).await?,
            Tty::Socket(_) | Tty::Json(_) => 0,
        };
        if count == 0 {
            bail!("the shell ended");
        }
        buffer.truncate(count);
        Ok(buffer.into())
    }
}

async fn next(socket: &mut WebSocketStream<TcpStream>) -> anyhow::Result<Message> {
    let message = socket.next().await.context("the terminal closed")??;
    if let Message::Close(why) = message {
        bail!("the terminal closed: {why:?}");
    }
    Ok(message)
}

/// The next bytes of output; control messages are passed over.
async fn binary(socket: &mut WebSocketStream<TcpStream>) -> anyhow::Result<Bytes> {
    loop {
        if let Message::Binary(bytes) = next(socket).await? {
            return Ok(bytes);
        }
    }
}

async fn stdout(socket: &mut WebSocketStream<TcpStream>) -> anyhow::Result<Bytes> {
    loop {
        let message = next(socket).await?.into_text()?;
        let said: Value = serde_json::from_str(&message).unwrap_or_default();
        if let ("stdout", Some(text)) = (said[0].as_str().unwrap_or_default(), said[1].as_str()) {
            return Ok(Bytes::copy_from_slice(text.as_bytes()));
        }
    }
}
