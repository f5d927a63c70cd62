//! The WebSocket of a session.

use sandtree_actors::{Operation, ViewRequest, Viewer};
use sandtree_model::{Failure, Phase, Principal, ProjectKey};
use serde::Deserialize;

use super::NAME;
use super::frames::Frames;
use super::sessions::{key_of, or_unknown, unknown};
use crate::edge::context::{Call, Context};
use crate::edge::dialects::{accept_then, close_at_once, close_code};
use crate::edge::errors::Problem;
use crate::edge::reply::Answered;
use crate::edge::terminal::{serve, size};
use crate::edge::websocket::Handshake;

/// The size of the client's window; others of the query are for proxies and the gate.
#[derive(Debug, Deserialize)]
struct Query {
    cols: Option<u16>,
    rows: Option<u16>,
}

/// Looks at the shell of a session, starting it if there is none.
///
/// # Errors
///
/// 426 without a WebSocket's upgrade; all else is told by the close code.
pub(super) async fn open(mut call: Call) -> Answered {
    let handshake = Handshake::check(&mut call)?;
    let viewer = view(&call).await;
    let shutdown = call.context.shutdown.clone();
    Ok(accept_then(&call.context, handshake, move |socket| async move {
        match viewer {
            Ok(viewer) => serve(socket, viewer, &Frames::default(), &shutdown).await,
            Err(problem) => close_at_once(socket, close_code(&problem), problem.detail()).await,
        }
    }))
}

async fn view(call: &Call) -> Result<Viewer, Problem> {
    let session = call.param("id")?;
    let (by, key) = whose(call, &session).await?;
    let Query { cols, rows } = call.query()?;
    let request = ViewRequest {
        cols: cols.map(|cols| size("cols", cols)).transpose()?,
        rows: rows.map(|rows| size("rows", rows)).transpose()?,
        after: None,
        leave_grace: Some(call.context.settings.dialects.terminal_server.leave_grace),
    };
    wake(&call.context, &by, &key).await.map_err(or_unknown)?;
    Ok(call.context.tree.open_terminal(&key, request).await?)
}

/// The session, with whom it belongs to: whoever knows its id is let in, so it may be
/// another tenant's than the one that asks.
async fn whose(call: &Call, session: &str) -> Result<(Principal, ProjectKey), Problem> {
    for by in [Principal::of_default_tenant("session"), Principal::of_anonymous()] {
        let key = key_of(&by, session)?;
        match call.context.tree.get(&key).await {
            Ok(view) if &*view.project.settings.profile == NAME => return Ok((by, key)),
            Ok(_) | Err(Failure::Refused(_)) => {}
            // A store that is away says nothing about the session.
            Err(fault @ Failure::Faulted(_)) => return Err(fault.into()),
        }
    }
    Err(unknown())
}

/// A session that came to rest is there again for who comes back.
async fn wake(context: &Context, by: &Principal, key: &ProjectKey) -> Result<(), Problem> {
    let phase = context.tree.get(key).await?.project.phase;
    if matches!(phase, Phase::Stopped | Phase::Failed | Phase::Creating | Phase::Starting) {
        context.tree.operate(by, key, Operation::Start).await?;
    }
    Ok(())
}
