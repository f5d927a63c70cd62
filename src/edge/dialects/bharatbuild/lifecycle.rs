//! Status, usage, stop, restart and delete.

use std::time::Duration;

use sandtree_actors::{Operation, View};
use sandtree_model::Phase;
use serde::Deserialize;
use serde_json::json;
use tokio::time::{Instant, sleep};
use warp::http::StatusCode;

use super::ports;
use super::project::{self, ACTIVE_PORT, DELETED};
use crate::edge::context::Call;
use crate::edge::errors::Problem;
use crate::edge::reply::{self, Answered};
use crate::edge::time::rfc3339;

/// How long the use of the processor is watched.
const CPU_WATCHED: Duration = Duration::from_millis(200);

#[derive(Debug, Deserialize)]
struct RemoveQuery {
    #[serde(default)]
    delete_files: Flag,
}

/// A flag as frameworks of this contract read it.
#[derive(Debug, Default, Deserialize)]
enum Flag {
    #[serde(rename = "true", alias = "True", alias = "1", alias = "yes", alias = "on")]
    Yes,
    #[default]
    #[serde(rename = "false", alias = "False", alias = "0", alias = "no", alias = "off")]
    No,
}

/// How the container is. It asks the engine first: clients ask this to learn whether there
/// is one.
///
/// # Errors
///
/// 503 that names Docker when it is away, 404.
pub(super) async fn status(call: Call) -> Answered {
    call.context.tree.check_engine().await?;
    let view = project::find(&call).await?;
    let (name, _) = project::key(&call)?;
    let project = &view.project;
    let body = json!({
        "project_id": name,
        "container_id": project::container_id(&view),
        "status": project::status(project.phase),
        "created_at": rfc3339(project.created_at),
        "last_activity": rfc3339(project.active_at),
        "ports": ports::mappings(&call, &view),
        "is_expired": is_expired(&view, now_micros()),
    });
    Ok(reply::json(StatusCode::OK, &body))
}

/// What the container uses: the processor in hundredths of one core, memory in MiB.
///
/// # Errors
///
/// 404, and faults of the sandbox.
pub(super) async fn stats(call: Call) -> Answered {
    let view = project::find(&call).await?;
    let limit = view.project.settings.limits.memory_bytes;
    let (cpu_percent, memory) = if view.project.phase == Phase::Running {
        let sandbox = call.context.tree.sandbox(&view.project.key).await?;
        let (began, before) = (Instant::now(), sandbox.stats().await?);
        sleep(CPU_WATCHED).await;
        let after = sandbox.stats().await?;
        let used = after.cpu_us.saturating_sub(before.cpu_us);
        (
            percent(used, u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX)),
            after.memory_bytes,
        )
    } else {
        (0.0, 0)
    };
    let body = json!({
        "cpu_percent": cpu_percent,
        "memory_usage_mb": mebibytes(memory),
        "memory_limit_mb": mebibytes(limit),
        "memory_percent": percent(memory, limit),
        "status": project::status(view.project.phase),
    });
    Ok(reply::json(StatusCode::OK, &body))
}

/// Stops it; its files stay.
///
/// # Errors
///
/// 404, and faults of the engine.
pub(super) async fn stop(call: Call) -> Answered {
    let view = operate(&call, Operation::Stop).await?;
    let verified = view.project.phase == Phase::Stopped;
    let body = json!({ "success": true, "message": "Container stopped", "verified": verified });
    Ok(reply::json(StatusCode::OK, &body))
}

/// Stops it, then starts it.
///
/// # Errors
///
/// 404, and faults of the engine.
pub(super) async fn restart(call: Call) -> Answered {
    let view = operate(&call, Operation::Restart).await?;
    let body = json!({
        "success": true,
        "message": "Container restarted",
        "container_id": project::container_id(&view),
        "status": project::status(view.project.phase),
    });
    Ok(reply::json(StatusCode::OK, &body))
}

/// Deletes it, with its files or without: see [`project`].
///
/// # Errors
///
/// 404, and faults of the engine.
pub(super) async fn remove(call: Call) -> Answered {
    let RemoveQuery { delete_files } = call.query()?;
    let delete_files = matches!(delete_files, Flag::Yes);
    if delete_files {
        operate(&call, Operation::Delete { keep_files: false }).await?;
    } else {
        let view = operate(&call, Operation::Discard).await?;
        // No server listens any more: the next container's will say where it does.
        let deleted = [(DELETED, Some("true".to_owned())), (ACTIVE_PORT, None)];
        project::set_labels(&call.context.tree, &view.project.key, deleted).await?;
    }
    let body = json!({
        "success": true, "message": "Container deleted", "files_deleted": delete_files,
    });
    Ok(reply::json(StatusCode::OK, &body))
}

async fn operate(call: &Call, operation: Operation) -> Result<View, Problem> {
    let view = project::find(call).await?;
    Ok(call.context.tree.operate(call.principal()?, &view.project.key, operation).await?)
}

/// Whether its time is over and it is not swept away yet.
fn is_expired(view: &View, now: u64) -> bool {
    let project = &view.project;
    let since = |micros: u64| Duration::from_micros(now.saturating_sub(micros));
    let is_over = |limit: Option<Duration>, began| limit.is_some_and(|limit| since(began) > limit);
    let started = project.container.as_ref().map_or(project.created_at, |it| it.started_at);
    is_over(project.settings.idle_timeout.limit(), project.active_at)
        || is_over(project.settings.max_lifetime.limit(), started)
}

fn now_micros() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_micros()).unwrap_or(u64::MAX)
}

fn mebibytes(bytes: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "it is rounded anyhow")]
    rounded(bytes as f64 / (1024.0 * 1024.0))
}

fn percent(part: u64, whole: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "it is rounded anyhow")]
    rounded(part as f64 * 100.0 / whole.max(1) as f64)
}

/// With two digits after the point.
fn rounded(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_two_digits() {
        assert_eq!((percent(1, 3), percent(5, 0), percent(1, 1)), (33.33, 500.0, 100.0));
        assert_eq!(mebibytes(268_959_744), 256.5);
    }
}
