//! Changes other than writing one file: make, move, copy, remove. Each is one step for
//! whoever looks, and each has one form, alone and in a batch.

use std::io::Write as _;

use sandtree_actors::FileNote;
use sandtree_model::event::FileChange;
use sandtree_workspace::{
    Existing, Limits, Parents, Precondition, Recursive, Workspace, WorkspaceError, WorkspacePath,
};
use serde::Deserialize;
use serde_json::json;
use warp::http::StatusCode;

use super::{note, parse, upload, write_problem};
use crate::edge::context::Call;
use crate::edge::errors::Problem;
use crate::edge::reply::{self, Answered};

/// What one copy may handle.
const COPY_LIMITS: Limits = Limits { bytes_max: 8 * 1024 * 1024 * 1024, entries_max: 200_000 };

/// A change that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::edge) enum Change {
    /// Write a whole file, making its parents.
    Write { path: WorkspacePath, content: Vec<u8>, condition: Precondition, mode: Option<u32> },
    /// Make a directory.
    Mkdir { path: WorkspacePath, parents: Parents },
    /// Move a file, link or directory.
    Move { from: WorkspacePath, to: WorkspacePath, existing: Existing },
    /// Copy a file, link or directory.
    Copy { from: WorkspacePath, to: WorkspacePath, existing: Existing },
    /// Remove a file, link or directory.
    Delete { path: WorkspacePath, recursive: Recursive },
}

/// What a change came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::edge) struct Done {
    /// Nothing was there before; where that is known.
    pub(in crate::edge) created: Option<bool>,
    /// The new entity tag of a file.
    pub(in crate::edge) etag: Option<String>,
    /// Bytes of a copy.
    pub(in crate::edge) bytes: Option<u64>,
}

/// The body of `files:mkdir`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mkdir {
    path: String,
    /// Whether missing parents are made, and a directory that is there is fine.
    #[serde(default = "yes")]
    parents: bool,
}

/// The body of `files:move` and `files:copy`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FromTo {
    from: String,
    /// Its parent must be there.
    to: String,
    /// Whether a file or an empty directory is replaced.
    #[serde(default)]
    overwrite: bool,
}

const fn yes() -> bool {
    true
}

/// Makes a directory: 201, or 204 when it was there.
///
/// # Errors
///
/// 409 when something is in the way, 404 without `parents` when its parent is missing.
pub async fn mkdir(mut call: Call) -> Answered {
    let body: Mkdir = call.json().await?;
    let done = change(call, body.check()?).await?;
    let is_new = done.created.unwrap_or(true);
    Ok(reply::empty(if is_new { StatusCode::CREATED } else { StatusCode::NO_CONTENT }))
}

/// Moves a file, a link or a directory.
///
/// # Errors
///
/// 404, 409 when something is there already or in the way.
pub async fn rename(mut call: Call) -> Answered {
    let body: FromTo = call.json().await?;
    let (from, to, existing) = body.check()?;
    change(call, Change::Move { from, to, existing }).await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

/// Copies a file, a link or a directory with everything in it.
///
/// # Errors
///
/// 404, 409 when something is there already or in the way, 413 for too much at once.
pub async fn copy(mut call: Call) -> Answered {
    let body: FromTo = call.json().await?;
    let (from, to, existing) = body.check()?;
    let done = change(call, Change::Copy { from, to, existing }).await?;
    Ok(reply::json(StatusCode::OK, &json!({ "bytes": done.bytes })))
}

async fn change(call: Call, change: Change) -> Result<Done, Problem> {
    let files = call.context.tree.files(&call.project()?).await?;
    files.write(move |workspace| change.apply(workspace)).await.map_err(write_problem)
}

impl Mkdir {
    pub(super) fn check(self) -> Result<Change, Problem> {
        let parents = if self.parents { Parents::Create } else { Parents::Require };
        Ok(Change::Mkdir { path: named("path", &self.path)?, parents })
    }
}

impl FromTo {
    pub(super) fn check(self) -> Result<(WorkspacePath, WorkspacePath, Existing), Problem> {
        let existing = if self.overwrite { Existing::Replace } else { Existing::Keep };
        Ok((named("from", &self.from)?, named("to", &self.to)?, existing))
    }
}

/// A path of something in the workspace, not the workspace itself.
pub(super) fn named(field: &'static str, text: &str) -> Result<WorkspacePath, Problem> {
    let path = parse(field, text)?;
    if path.is_root() {
        return Err(Problem::field(field, "names the workspace itself"));
    }
    Ok(path)
}

impl Change {
    /// Does it; and what the event log shows of it.
    pub(in crate::edge) fn apply(
        self,
        workspace: &Workspace,
    ) -> (Result<Done, WorkspaceError>, Vec<FileNote>) {
        let notes = self.notes();
        let outcome = self.done(workspace);
        let notes = if outcome.is_ok() { notes } else { Vec::new() };
        (outcome, notes)
    }

    fn notes(&self) -> Vec<FileNote> {
        match self {
            Change::Write { path, .. } | Change::Mkdir { path, .. } => {
                vec![note(path, FileChange::Written)]
            }
            Change::Copy { to, .. } => vec![note(to, FileChange::Written)],
            Change::Move { from, to, .. } => {
                vec![note(from, FileChange::Removed), note(to, FileChange::Moved)]
            }
            Change::Delete { path, .. } => vec![note(path, FileChange::Removed)],
        }
    }

    fn done(self, workspace: &Workspace) -> Result<Done, WorkspaceError> {
        match self {
            Change::Write { path, content, condition, mode } => {
                let mut staged = workspace.stage(content.len() as u64)?;
                staged.write_all(&content)?;
                let staged = match mode {
                    Some(mode) => staged.with_mode(mode),
                    None => staged,
                };
                let (existed, entry) = upload::commit(workspace, staged, &path, &condition)?;
                let etag = Some(entry.etag.to_string());
                Ok(Done { created: Some(!existed), etag, bytes: None })
            }
            Change::Mkdir { path, parents } => {
                let existed = workspace.stat(&path).is_ok();
                workspace.mkdir(&path, parents)?;
                Ok(Done { created: Some(!existed), ..Done::default() })
            }
            Change::Move { from, to, existing } => {
                workspace.rename(&from, &to, existing)?;
                Ok(Done::default())
            }
            Change::Copy { from, to, existing } => {
                let copied = workspace.copy(&from, &to, existing, &COPY_LIMITS)?;
                Ok(Done { bytes: Some(copied.bytes), ..Done::default() })
            }
            Change::Delete { path, recursive } => {
                workspace.remove(&path, recursive)?;
                Ok(Done::default())
            }
        }
    }
}
