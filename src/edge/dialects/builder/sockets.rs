//! The two WebSockets: the terminal, as raw text both ways, and the process's log, a line
//! a message. Both are accepted first; what is wrong is told as text, and then they close.

use bytes::Bytes;
use futures_util::StreamExt as _;
use sandtree_actors::{Cursor, LogItem, LogReader, ProcessView, ViewRequest, Viewer};
use serde::Deserialize;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_util::sync::CancellationToken;

use super::super::{accept_then, close_code};
use super::commands::check_served;
use super::key;
use crate::edge::context::Call;
use crate::edge::errors::{Problem, kinds};
use crate::edge::reply::Answered;
use crate::edge::terminal::language::{Heard, Language, RESET, Text, Told};
use crate::edge::terminal::{serve, size};
use crate::edge::websocket::{self, Ending, Handshake, PING_EVERY, Socket, send};

/// Standard error in the log of a process.
const STDERR: u8 = 2;
/// Longest line of a log that is sent as one, in bytes.
const LINE_BYTES_MAX: usize = 64 * 1024;
/// What a log says when there is none.
const NO_PROCESS: &str = "ERROR: No running process";

/// The size of the client's window; the token is the gate's.
#[derive(Debug, Deserialize)]
struct Query {
    cols: Option<u16>,
    rows: Option<u16>,
}

/// Looks at the terminal.
///
/// # Errors
///
/// 426 without a WebSocket's upgrade.
pub(super) async fn terminal(mut call: Call) -> Answered {
    let handshake = Handshake::check(&mut call)?;
    let viewer = view(&call).await;
    let shutdown = call.context.shutdown.clone();
    Ok(accept_then(&call.context, handshake, move |socket| async move {
        match viewer {
            Ok(viewer) => serve(socket, viewer, &Raw::default(), &shutdown).await,
            Err(problem) => refuse(socket, &problem, "Container not running").await,
        }
    }))
}

async fn view(call: &Call) -> Result<Viewer, Problem> {
    let Query { cols, rows } = call.query()?;
    let request = ViewRequest {
        cols: cols.map(|cols| size("cols", cols)).transpose()?,
        rows: rows.map(|rows| size("rows", rows)).transpose()?,
        after: None,
        leave_grace: Some(call.context.settings.dialects.builder.leave_grace),
    };
    Ok(call.context.tree.open_terminal(&key(call)?, request).await?)
}

/// Follows the log of the process that runs.
///
/// # Errors
///
/// 426 without a WebSocket's upgrade, 404 when commands by REST are not served.
pub(super) async fn logs(mut call: Call) -> Answered {
    check_served(&call)?;
    let handshake = Handshake::check(&mut call)?;
    let reader = log(&call).await;
    let shutdown = call.context.shutdown.clone();
    Ok(accept_then(&call.context, handshake, move |socket| async move {
        match reader {
            Ok(Some(reader)) => follow(socket, reader, shutdown).await,
            Ok(None) => say_and_close(socket, CloseCode::Normal, NO_PROCESS).await,
            Err(problem) => refuse(socket, &problem, NO_PROCESS).await,
        }
    }))
}

/// The log of the process from its beginning on, if it runs.
async fn log(call: &Call) -> Result<Option<LogReader>, Problem> {
    let key = key(call)?;
    let process = call.context.tree.get(&key).await?.process;
    let Some(process) = process.filter(ProcessView::is_alive) else { return Ok(None) };
    let begin = Cursor { epoch: process.record.epoch, offset: 0 };
    Ok(Some(call.context.tree.logs(&key, Some(begin)).await?))
}

/// Says that nothing is there to look at, or what else went wrong.
async fn refuse(socket: Socket, problem: &Problem, nothing_there: &str) {
    if matches!(problem.kind(), kinds::NOT_FOUND | kinds::WRONG_PHASE) {
        return say_and_close(socket, CloseCode::Normal, nothing_there).await;
    }
    let text = format!("ERROR: {}", problem.detail());
    say_and_close(socket, close_code(problem), &text).await;
}

async fn say_and_close(mut socket: Socket, code: CloseCode, text: &str) {
    // A client that is gone already needs no telling.
    let _ = send(&mut socket, Message::text(text)).await;
    let (sink, stream) = socket.split();
    websocket::finish(sink, stream, Ending::close(code, text)).await;
}

/// Sends lines until the process ends, the client leaves or the server does.
async fn follow(socket: Socket, mut reader: LogReader, shutdown: CancellationToken) {
    let (mut sink, mut stream) = socket.split();
    let mut lines = Lines::default();
    let tell = async {
        loop {
            let item = match reader.next().await {
                Ok(Some(item)) => item,
                Ok(None) => {
                    wait_or_ping(&mut reader, &mut sink).await?;
                    continue;
                }
                Err(failure) => return Err(Ending::close(CloseCode::Error, failure.to_string())),
            };
            let is_end = matches!(item, LogItem::Ended { .. });
            for line in lines.of(item) {
                send(&mut sink, Message::text(line)).await?;
            }
            if is_end {
                return Err::<(), _>(Ending::close(CloseCode::Normal, "process exited"));
            }
        }
    };
    let listen = async { while let Some(Ok(_)) = stream.next().await {} };
    let ending = tokio::select! {
        told = tell => told.err().unwrap_or(Ending::Gone),
        () = listen => Ending::Gone,
        () = shutdown.cancelled() => Ending::close(CloseCode::Away, "the server is ending"),
    };
    websocket::finish(sink, stream, ending).await;
}

/// Waits for more of the log; a client that is gone is noticed by the pings.
async fn wait_or_ping<S>(reader: &mut LogReader, sink: &mut S) -> Result<(), Ending>
where
    S: futures_util::Sink<Message, Error = tokio_tungstenite::tungstenite::Error> + Unpin,
{
    match tokio::time::timeout(PING_EVERY, reader.more()).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(Ending::close(CloseCode::Normal, "the log has ended")),
        Err(_) => send(sink, Message::Ping(Bytes::new())).await,
    }
}

/// Records of a log as lines, each stream for itself.
#[derive(Debug, Default)]
struct Lines {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Lines {
    fn of(&mut self, item: LogItem) -> Vec<String> {
        match item {
            LogItem::Record(record) => {
                let (begun, prefix) = match record.stream {
                    STDERR => (&mut self.stderr, "[stderr] "),
                    _ => (&mut self.stdout, ""),
                };
                begun.extend_from_slice(&record.bytes);
                whole_lines(begun, prefix)
            }
            LogItem::Gap { .. } => vec!["[output lost]".to_owned()],
            LogItem::Ended { .. } => {
                let mut lines = Vec::new();
                for (rest, prefix) in [(&self.stdout, ""), (&self.stderr, "[stderr] ")] {
                    if !rest.is_empty() {
                        lines.push(format!("{prefix}{}", String::from_utf8_lossy(rest)));
                    }
                }
                lines.push("[process exited]".to_owned());
                lines
            }
        }
    }
}

/// Takes the lines that are whole, or too long to wait for their end.
fn whole_lines(begun: &mut Vec<u8>, prefix: &str) -> Vec<String> {
    let end = match begun.iter().rposition(|byte| *byte == b'\n') {
        Some(last) => last + 1,
        None if begun.len() > LINE_BYTES_MAX => begun.len(),
        None => return Vec::new(),
    };
    let whole: Vec<u8> = begun.drain(..end).collect();
    let text = String::from_utf8_lossy(&whole);
    text.lines().map(|line| format!("{prefix}{line}")).collect()
}

/// Text and nothing else: keystrokes one way, output the other.
#[derive(Debug, Default)]
struct Raw {
    has_begun: std::sync::atomic::AtomicBool,
    text: Text,
}

impl Language for Raw {
    fn hear(&self, message: Message) -> Result<Heard, Ending> {
        Ok(Heard::Keys(message.into_data()))
    }

    fn output(&self, bytes: Bytes) -> Option<Message> {
        let text = self.text.of(&bytes);
        (!text.is_empty()).then(|| Message::text(text))
    }

    fn tell(&self, told: Told) -> Option<Message> {
        use std::sync::atomic::Ordering::Relaxed;
        match told {
            // The first screen is painted on an empty one.
            Told::Ready { fresh: true, .. } if self.has_begun.swap(true, Relaxed) => {
                self.output(Bytes::from_static(RESET))
            }
            Told::Ready { .. } | Told::Gap { .. } | Told::Exited(_) | Told::Pong => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use sandtree_actors::LogRecord;
    use sandtree_model::ExitStatus;

    use super::*;

    #[test]
    fn records_become_lines_of_their_stream() {
        let mut lines = Lines::default();
        let at = Cursor { epoch: 1, offset: 0 };
        let record = |stream, bytes: &'static str| {
            LogItem::Record(LogRecord { at, time: 0, stream, bytes: bytes.into() })
        };
        assert_eq!(lines.of(record(1, "a\nb")), ["a"]);
        assert_eq!(lines.of(record(2, "oops\n")), ["[stderr] oops"]);
        assert_eq!(lines.of(record(1, "c\r\nrest")), ["bc"]);
        let ended = LogItem::Ended { epoch: 1, status: ExitStatus::Code(0) };
        assert_eq!(lines.of(ended), ["rest", "[process exited]"]);
    }
}
