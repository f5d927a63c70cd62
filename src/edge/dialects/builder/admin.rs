//! What administrators see and do, across all projects of the tenant.

use std::collections::BTreeMap;

use sandtree_actors::Operation;
use serde_json::json;
use warp::http::StatusCode;

use super::projects::all;
use super::runtime::{self, document, has_runtime};
use super::{key, no_runtime};
use crate::edge::context::Call;
use crate::edge::reply::{self, Answered};

/// Lists the projects that have a runtime.
///
/// # Errors
///
/// 503 when the store is away.
pub(super) async fn runtimes(call: Call) -> Answered {
    let views = all(&call).await?;
    let with_runtime = views.iter().filter(|view| has_runtime(&view.project));
    let shown: Vec<_> = with_runtime.map(document).collect();
    Ok(reply::json(StatusCode::OK, &shown))
}

/// Counts runtimes by their phase, and tells whether engine and store answer.
///
/// # Errors
///
/// 503 when the store is away.
pub(super) async fn health(call: Call) -> Answered {
    let mut phases: BTreeMap<&str, usize> = BTreeMap::new();
    for view in all(&call).await?.iter().filter(|view| has_runtime(&view.project)) {
        *phases.entry(view.project.phase.as_str()).or_default() += 1;
    }
    let mut parts = BTreeMap::new();
    for (name, state) in call.context.tree.readiness().await {
        parts.insert(name, state.err().unwrap_or_else(|| "ok".into()));
    }
    let is_well = parts.values().all(|state| &**state == "ok");
    let status = if is_well { "ok" } else { "degraded" };
    let document = json!({ "status": status, "runtimes": phases, "parts": parts });
    Ok(reply::json(StatusCode::OK, &document))
}

/// Stops a runtime, whoever uses it.
///
/// # Errors
///
/// 404 when there is none.
pub(super) async fn stop(call: Call) -> Answered {
    runtime::end(&call, Operation::Stop).await?;
    said(&call, "stopped")
}

/// Deletes a runtime; the project stays.
///
/// # Errors
///
/// 404 when there is none.
pub(super) async fn remove(call: Call) -> Answered {
    runtime::end(&call, Operation::Discard).await?;
    said(&call, "deleted")
}

/// Deletes a project with its runtime and its files.
///
/// # Errors
///
/// 404 when there is none.
pub(super) async fn remove_project(call: Call) -> Answered {
    let (key, by) = (key(&call)?, call.principal()?);
    let delete = Operation::Delete { keep_files: false };
    let deleted = call.context.tree.operate(by, &key, delete).await;
    deleted.map_err(|failure| no_runtime(&call)(failure.into()))?;
    said(&call, "project_deleted")
}

fn said(call: &Call, status: &str) -> Answered {
    let document = json!({ "status": status, "project": call.param("name")? });
    Ok(reply::json(StatusCode::OK, &document))
}
