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
    /// What is wrong, in one text, for clients of the AI Project Builder.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
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
    let is_fine = ready || call.context.settings.dialects.builder.ready_is_always_200;
    let code = if is_fine { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let error = (!ready).then(|| in_one_text(&parts));
    let mut response = reply::json(code, &Readiness { status, error, parts });
    if code != StatusCode::OK {
        response.headers_mut().insert(RETRY_AFTER, 5.into());
    }
    Ok(response)
}

fn in_one_text(parts: &BTreeMap<&'static str, Box<str>>) -> String {
    let wrong = parts.iter().filter(|(_, words)| &***words != "ok");
    let wrong: Vec<_> = wrong.map(|(name, words)| format!("{name}: {words}")).collect();
    if wrong.is_empty() { "the server is ending".to_owned() } else { wrong.join("; ") }
}
