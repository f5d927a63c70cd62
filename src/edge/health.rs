//! Whether the server works, for those who watch over it. Both answer without a key.

use std::collections::BTreeMap;

use serde::Serialize;
use warp::http::StatusCode;
use warp::http::header::RETRY_AFTER;

use super::context::Call;
use super::reply::{self, Answered};

/// Whether the server can do its work.
#[derive(Debug, Serialize)]
pub struct Readiness {
    /// `ready` or `not_ready`.
    status: &'static str,
    /// Each thing the server stands on, with `ok` or what is wrong with it.
    parts: BTreeMap<&'static str, Box<str>>,
}

/// Answers as long as the server runs.
///
/// # Errors
///
/// None.
pub async fn alive(_call: Call) -> Answered {
    Ok(reply::json(StatusCode::OK, &serde_json::json!({ "status": "ok" })))
}

/// Asks engine and store whether they answer. Somebody without a key is told which part
/// does not, but not why.
///
/// # Errors
///
/// None: what is wrong is in the answer.
pub async fn ready(call: Call) -> Answered {
    let mut ready = !call.context.shutdown.is_cancelled();
    let mut parts = BTreeMap::new();
    for (name, state) in call.context.tree.readiness().await {
        ready &= state.is_ok();
        let words = match state {
            Ok(()) => "ok".into(),
            Err(why) if call.principal().is_ok() => why,
            Err(_) => "does not answer".into(),
        };
        parts.insert(name, words);
    }
    let status = if ready { "ready" } else { "not_ready" };
    let code = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut response = reply::json(code, &Readiness { status, parts });
    if !ready {
        response.headers_mut().insert(RETRY_AFTER, 5.into());
    }
    Ok(response)
}
