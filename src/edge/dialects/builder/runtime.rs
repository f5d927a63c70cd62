//! The runtime of a project: start, look, stop, delete.

use sandtree_actors::{Operation, ProcessState, View};
use sandtree_model::{Phase, Project};
use serde_json::{Value, json};
use warp::http::StatusCode;

use super::rates::{self, Kind};
use super::{key, no_project, no_runtime};
use crate::edge::context::Call;
use crate::edge::errors::{Problem, kinds};
use crate::edge::reply::{self, Answered};

/// Makes the runtime run; one that runs already is left alone.
///
/// # Errors
///
/// 404 for an unknown project, and faults of the engine.
pub(super) async fn start(call: Call) -> Answered {
    rates::count(&call, Kind::Runtime)?;
    let (key, by) = (key(&call)?, call.principal()?);
    let phase = view(&call).await.map_err(no_project(&call))?.project.phase;
    let operation = if phase == Phase::Paused { Operation::Resume } else { Operation::Start };
    let view = call.context.tree.operate(by, &key, operation).await?;
    Ok(reply::json(StatusCode::OK, &document(&view)))
}

/// Shows the runtime.
///
/// # Errors
///
/// 404 when the project is unknown or has none.
pub(super) async fn status(call: Call) -> Answered {
    let view = with_runtime(&call).await?;
    let process = view.process.as_ref();
    let command = process.map(|process| process.record.spec.argv.join(" "));
    let mut shown = document(&view);
    shown["last_command"] = json!(command);
    shown["process_status"] = json!(process.map_or("idle", |process| word(process.state)));
    Ok(reply::json(StatusCode::OK, &shown))
}

/// Stops the runtime, terminal and process with it; one that is stopped is left alone.
///
/// # Errors
///
/// 404 when the project is unknown or has none.
pub(super) async fn stop(call: Call) -> Answered {
    rates::count(&call, Kind::Runtime)?;
    end(&call, Operation::Stop).await?;
    Ok(reply::json(StatusCode::OK, &json!({ "status": "stopped" })))
}

/// Deletes the runtime; the project and its files stay.
///
/// # Errors
///
/// 404 when the project is unknown or has none.
pub(super) async fn remove(call: Call) -> Answered {
    rates::count(&call, Kind::Runtime)?;
    end(&call, Operation::Discard).await?;
    Ok(reply::json(StatusCode::OK, &json!({ "status": "deleted" })))
}

/// Stops a runtime that is there, or removes it.
///
/// # Errors
///
/// 404 when the project is unknown or has none, and faults of the engine.
pub(super) async fn end(call: &Call, operation: Operation) -> Result<(), Problem> {
    with_runtime(call).await?;
    call.context.tree.operate(call.principal()?, &key(call)?, operation).await?;
    Ok(())
}

async fn view(call: &Call) -> Result<View, Problem> {
    Ok(call.context.tree.get(&key(call)?).await?)
}

async fn with_runtime(call: &Call) -> Result<View, Problem> {
    let view = view(call).await.map_err(no_runtime(call))?;
    let none = || no_runtime(call)(Problem::new(kinds::NOT_FOUND, ""));
    if has_runtime(&view.project) { Ok(view) } else { Err(none()) }
}

/// Whether there is a container, or is to be one.
pub(super) fn has_runtime(project: &Project) -> bool {
    project.container.is_some() || !matches!(project.phase, Phase::Stopped | Phase::Creating)
}

/// A runtime with the keys of all versions.
pub(super) fn document(view: &View) -> Value {
    let project = &view.project;
    let is_running = matches!(project.phase, Phase::Running | Phase::Pausing | Phase::Resuming);
    let status = if is_running { "running" } else { "stopped" };
    json!({
        "project_name": name(project),
        "status": status,
        "container_status": status,
        "container_id": project.container.as_ref().map(|container| &container.id),
        "image": project.settings.image,
    })
}

/// What its makers call a project.
pub(super) fn name(project: &Project) -> &str {
    project.settings.name.as_deref().unwrap_or(project.key.id.as_str())
}

fn word(state: ProcessState) -> &'static str {
    match state {
        ProcessState::Starting | ProcessState::Running | ProcessState::Stopping => "running",
        ProcessState::Waiting => "restarting",
        ProcessState::Idle => "idle",
        ProcessState::Ended(_) => "exited",
    }
}
