//! Whether the server works and what it is, for whoever asks.

use serde_json::json;
use warp::http::StatusCode;

use super::refused::Refused;
use crate::edge::context::Call;
use crate::edge::reply::{self, Response};

/// Answers whether the engine does.
pub(super) async fn alive(call: Call) -> Result<Response, Refused> {
    let parts = call.context.tree.readiness().await;
    if parts.iter().any(|(name, state)| *name == "engine" && state.is_err()) {
        let words = "Docker client is not responding";
        return Err(Refused::said(StatusCode::SERVICE_UNAVAILABLE, words));
    }
    Ok(reply::json(StatusCode::OK, &json!({ "status": "ok" })))
}

/// Tells the version of the server.
pub(super) async fn version(_call: Call) -> Result<Response, Refused> {
    Ok(reply::json(StatusCode::OK, &json!({ "version": env!("CARGO_PKG_VERSION") })))
}
