//! Which project a request is about, and how it is shown.
//!
//! `DELETE` keeps the files unless it is told otherwise, and who creates the container again
//! finds them. So a project that was deleted with its files kept is stopped and carries a
//! label; until it is created again, no route here knows it.

use sandtree_actors::{Operation, PatchRequest, Tree, View};
use sandtree_model::project::TextsPatch;
use sandtree_model::{Failure, Phase, Principal, ProjectId, ProjectKey, Refusal};

use crate::edge::context::Call;
use crate::edge::errors::{Problem, kinds};

/// The project is deleted as far as this dialect goes; its files are kept.
pub(super) const DELETED: &str = "bharatbuild.deleted";
/// What the client said it is: `node`, `python` and so on.
pub(super) const TYPE: &str = "bharatbuild.type";
/// Seconds that a command may take whose request names none.
pub(super) const COMMAND_TIMEOUT: &str = "bharatbuild.command_timeout";
/// Ports that the client asked for, with spaces between.
pub(super) const PORTS: &str = "bharatbuild.ports";
/// The port that its server last said it listens on; the preview leads there.
pub(super) const ACTIVE_PORT: &str = "bharatbuild.active_port";

/// Characters of a container's id that are shown.
const CONTAINER_ID_CHARS: usize = 12;

/// The name in the path, and the project that has it, there or not.
///
/// # Errors
///
/// 422 for what can be no name, 401.
pub(super) fn key(call: &Call) -> Result<(String, ProjectKey), Problem> {
    let tenant = call.principal()?.tenant.clone();
    let name = call.param("id")?;
    let id = ProjectId::of_name(&name).map_err(|error| Problem::field("project_id", error))?;
    Ok((name, ProjectKey { tenant, id }))
}

/// The project that the path names.
///
/// # Errors
///
/// 404 when there is none, or when it was deleted here.
pub(super) async fn find(call: &Call) -> Result<View, Problem> {
    let (_, key) = key(call)?;
    look_up(&call.context.tree, &key).await?.ok_or_else(unknown)
}

/// As [`find`], and says what to do first where there is none.
///
/// # Errors
///
/// 404 when there is none, or when it was deleted here.
pub(super) async fn find_for_files(call: &Call) -> Result<View, Problem> {
    let (_, key) = key(call)?;
    let first = || Problem::new(kinds::NOT_FOUND, UNKNOWN_TO_COMMANDS);
    look_up(&call.context.tree, &key).await?.ok_or_else(first)
}

/// What is said of a container that is not there.
pub(super) const UNKNOWN_TO_COMMANDS: &str = "Container not found. Create project first.";

/// A container that is not there.
pub(super) fn unknown() -> Problem {
    Problem::new(kinds::NOT_FOUND, "Container not found")
}

/// A project, unless it is deleted as far as this dialect goes.
///
/// # Errors
///
/// Faults of the store.
pub(super) async fn look_up(tree: &Tree, key: &ProjectKey) -> Result<Option<View>, Problem> {
    let view = if_found(tree.get(key).await)?;
    Ok(view.filter(|view| !is_deleted(view)))
}

/// A project, even one that is deleted as far as this dialect goes.
///
/// # Errors
///
/// Faults of the store.
pub(super) async fn look_below(tree: &Tree, key: &ProjectKey) -> Result<Option<View>, Problem> {
    if_found(tree.get(key).await)
}

fn if_found(found: Result<View, Failure>) -> Result<Option<View>, Problem> {
    match found {
        Ok(view) => Ok(Some(view)),
        Err(Failure::Refused(Refusal::NotFound { .. })) => Ok(None),
        Err(failure) => Err(failure.into()),
    }
}

fn is_deleted(view: &View) -> bool {
    let is_going = matches!(view.project.phase, Phase::Deleting | Phase::Deleted);
    is_going || label(view, DELETED).is_some()
}

/// A label of a project.
pub(super) fn label<'a>(view: &'a View, name: &str) -> Option<&'a str> {
    view.project.settings.labels.get(name).map(|value| &**value)
}

/// Sets labels, or removes them, and leaves the others.
///
/// # Errors
///
/// Faults of the store.
pub(super) async fn set_labels(
    tree: &Tree,
    key: &ProjectKey,
    changes: impl IntoIterator<Item = (&str, Option<String>)>,
) -> Result<View, Problem> {
    let patch = PatchRequest { labels: labels(changes), ..PatchRequest::default() };
    Ok(tree.patch(key, patch).await?)
}

/// A change of labels, as the tree takes it.
pub(super) fn labels<'a>(
    changes: impl IntoIterator<Item = (&'a str, Option<String>)>,
) -> TextsPatch {
    changes.into_iter().map(|(name, value)| (name.into(), value.map(Into::into))).collect()
}

/// Makes it run, whatever it did before.
///
/// # Errors
///
/// Faults of the engine.
pub(super) async fn ensure_running(
    tree: &Tree,
    by: &Principal,
    view: View,
) -> Result<View, Problem> {
    let operation = match view.project.phase {
        Phase::Running => return Ok(view),
        Phase::Pausing | Phase::Paused | Phase::Resuming => Operation::Resume,
        Phase::Creating
        | Phase::Starting
        | Phase::Stopping
        | Phase::Stopped
        | Phase::Failed
        | Phase::Deleting
        | Phase::Deleted => Operation::Start,
    };
    Ok(tree.operate(by, &view.project.key, operation).await?)
}

/// The word for what it does.
pub(super) const fn status(phase: Phase) -> &'static str {
    match phase {
        Phase::Creating | Phase::Starting => "creating",
        Phase::Running => "running",
        Phase::Pausing | Phase::Paused | Phase::Resuming => "paused",
        Phase::Stopping | Phase::Stopped => "stopped",
        Phase::Deleting | Phase::Deleted => "deleted",
        Phase::Failed => "error",
    }
}

/// The short id of its container; empty without one.
pub(super) fn container_id(view: &View) -> String {
    let id = view.project.container.as_ref().map_or("", |container| &*container.id);
    id.chars().take(CONTAINER_ID_CHARS).collect()
}
