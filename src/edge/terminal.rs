//! The one terminal, over a WebSocket.
//!
//! Binary messages are bytes: output of the shell one way, keystrokes the other. Text
//! messages are JSON objects with a `type`. The server sends
//!
//! - `{"type": "ready", "offset": "3:1024", "fresh": true}`: first, and again when the
//!   shell is a new one. Output that follows starts at this offset; add the length of
//!   each binary message to know where to resume with `?after=`. With `fresh` the
//!   screen starts anew, so clear it. If it is then repainted, another `ready` without
//!   `fresh` follows the repaint and sets the offset again, since that was no output.
//! - `{"type": "gap", "bytes": 4096}`: so much output is lost for this viewer.
//! - `{"type": "exit", "code": 0}`, with `"signal": "KILL"` after a signal: the shell
//!   ended; close code 1000 follows.
//! - `{"type": "pong"}`.
//!
//! and understands `{"type": "resize", "cols": 80, "rows": 24}` and `{"type": "ping"}`;
//! anything else closes the connection with 1003. The close codes are listed at
//! [`super::websocket`]. The shell waits for its viewers, as a program does
//! on any terminal; one that is slower than others loses output, and one that takes
//! nothing its connection.

pub(in crate::edge) mod language;
mod native;
mod pump;

use futures_util::StreamExt;
use sandtree_actors::Cursor;
use sandtree_actors::{TerminalInput, ViewRequest, Viewer};
use sandtree_model::Answer;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;
use warp::http::StatusCode;

use super::context::Call;
use super::errors::Problem;
use super::reply::{self, Answered};
use super::websocket::{self, Handshake, Socket};
use language::Language;
use native::Native;
use pump::Keys;

/// The least and the most of columns and of rows.
const SIZES: std::ops::RangeInclusive<u16> = 2..=500;

/// What a client wants to see.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    /// Characters in a line; 80.
    cols: Option<u16>,
    /// Lines; 24.
    rows: Option<u16>,
    /// Continue after this byte; absent: the whole screen first.
    after: Option<String>,
}

/// Looks at the terminal, starting its shell if there is none.
///
/// # Errors
///
/// 426 without a WebSocket's upgrade, 400 for a bad size or offset, 409 when the
/// project does not run, 429 when too many look at it.
pub async fn open(mut call: Call) -> Answered {
    let key = call.project()?;
    let request = view_request(&call.query()?)?;
    let handshake = Handshake::check(&mut call)?;
    let viewer = call.context.tree.open_terminal(&key, request).await?;
    let (response, upgrading) = handshake.accept();
    let shutdown = call.context.shutdown.clone();
    call.context.tasks.spawn(async move {
        if let Some(socket) = upgrading.socket().await {
            serve(socket, viewer, &Native, &shutdown).await;
        }
    });
    Ok(response)
}

/// Ends the terminal's shell; its viewers are told.
///
/// # Errors
///
/// 404 for an unknown project, and faults of the sandbox.
pub async fn close(call: Call) -> Answered {
    call.context.tree.close_terminal(&call.project()?).await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

fn view_request(query: &Query) -> Result<ViewRequest, Problem> {
    let after = query.after.as_deref().map(str::parse::<Cursor>).transpose();
    Ok(ViewRequest {
        cols: query.cols.map(|cols| size("cols", cols)).transpose()?,
        rows: query.rows.map(|rows| size("rows", rows)).transpose()?,
        after: after.map_err(|problem| Problem::field("after", problem))?,
        leave_grace: None,
    })
}

/// A side of a terminal.
///
/// # Errors
///
/// 400 when it is out of range.
pub(in crate::edge) fn size(field: &'static str, value: u16) -> Result<u16, Problem> {
    let (least, most) = (SIZES.start(), SIZES.end());
    let wrong = || Problem::field(field, format!("must be from {least} to {most}, not {value}"));
    SIZES.contains(&value).then_some(value).ok_or_else(wrong)
}

/// Carries what a viewer sees and types, in this language, until something ends it.
pub(in crate::edge) async fn serve<L: Language>(
    socket: Socket,
    viewer: Viewer,
    language: &L,
    shutdown: &CancellationToken,
) {
    let keys = viewer.input();
    let items = futures_util::stream::unfold(viewer, |mut viewer| async {
        let item = viewer.next().await?;
        Some((item, viewer))
    });
    let (mut sink, mut stream) = socket.split();
    let ending =
        pump::run((&mut sink, &mut stream), Box::pin(items), &keys, language, shutdown).await;
    websocket::finish(sink, stream, ending).await;
}

impl Keys for TerminalInput {
    async fn write(&self, bytes: bytes::Bytes) -> Answer<()> {
        TerminalInput::write(self, bytes).await
    }

    async fn resize(&self, cols: u16, rows: u16) -> Answer<()> {
        TerminalInput::resize(self, cols, rows).await
    }
}

#[cfg(test)]
mod over_http;
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_out_of_range_is_named() {
        let request = |cols, rows, after: Option<&str>| {
            view_request(&Query { cols, rows, after: after.map(str::to_owned) })
        };
        let request_default = request(None, None, Some("3:17")).unwrap();
        assert_eq!((request_default.cols, request_default.rows), (None, None));
        assert_eq!(request_default.after, Some(Cursor { epoch: 3, offset: 17 }));
        for (bad, field) in [
            (request(Some(1), None, None), "cols"),
            (request(None, Some(501), None), "rows"),
            (request(None, None, Some("17")), "after"),
        ] {
            assert_eq!(bad.unwrap_err().document()["field"], field);
        }
    }
}
