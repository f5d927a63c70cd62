//! Files, as texts.
//!
//! Two versions of the contract differ in shapes. A list is an object or an array, by
//! configuration or by `?format=`. A batch is answered as it was sent: an array with a flag,
//! an object with a count, since clients compare that with the number of files.

use std::io::Read as _;

use sandtree_actors::{FileNote, Files};
use sandtree_workspace::{
    Entry, Kind, ListOptions, Precondition, Workspace, WorkspaceError, WorkspacePath,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use warp::http::StatusCode;

use super::project;
use crate::edge::body;
use crate::edge::context::{Call, JSON};
use crate::edge::errors::{Problem, kinds};
use crate::edge::files::{self, Change};
use crate::edge::object::Object;
use crate::edge::reply::{self, Answered};

/// Largest body, in bytes.
const BODY_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Largest file that is read as a text, in bytes.
const READ_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Most files of a batch, and paths of a question.
const FILES_MAX: usize = 1000;
/// Most entries of a list.
const ENTRIES_MAX: usize = 10_000;
/// Where the workspace is in the container; clients may write it in front of a path.
const WORKSPACE: &str = "/workspace";

/// Directories that tools make, which no list shows.
const GENERATED: [&str; 18] = [
    "node_modules",
    ".git",
    ".next",
    ".nuxt",
    ".cache",
    ".vite",
    ".turbo",
    ".gradle",
    ".idea",
    ".venv",
    "venv",
    "__pycache__",
    ".pytest_cache",
    ".mypy_cache",
    "dist",
    "build",
    "target",
    "coverage",
];

#[derive(Debug, Deserialize)]
struct ListQuery {
    #[serde(default)]
    path: String,
    format: Option<Format>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Format {
    Object,
    Array,
}

/// An entry of a list.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Listed {
    /// `directory` sorts before `file`.
    r#type: &'static str,
    name: String,
    path: String,
    size: u64,
}

#[derive(Debug, Deserialize)]
struct WriteBody {
    path: String,
    content: String,
}

/// A batch, in both of its forms.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "must be a list of files, or an object with files in it")]
enum BatchBody {
    Bare(Vec<Object<WriteBody>>),
    Named { files: Vec<Object<WriteBody>> },
}

#[derive(Debug, Deserialize)]
struct VerifyBody {
    paths: Vec<String>,
}

/// What one file of a batch came to.
#[derive(Debug, Serialize)]
struct Outcome {
    path: String,
    success: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Lists a directory: directories first, then names. One that is not there is empty.
///
/// # Errors
///
/// 404 without a container, 400 for a path out of the workspace.
pub(super) async fn list(call: Call) -> Answered {
    let ListQuery { path, format } = call.query()?;
    let path = workspace_path(&path)?;
    let files = open(&call).await?;
    let listed = files::blocking(&files, move |workspace| listed(workspace, &path)).await?;
    let is_bare = match format {
        Some(format) => format == Format::Array,
        None => &*call.context.settings.dialects.bharatbuild.files_format == "array",
    };
    let body = if is_bare { json!(listed) } else { json!({ "files": listed }) };
    Ok(reply::json(StatusCode::OK, &body))
}

/// Reads a file as a text, with U+FFFD for what is not UTF-8.
///
/// # Errors
///
/// 404 for what is no file, 413 for a large one, 400 for a path out of the workspace.
pub(super) async fn read(call: Call) -> Answered {
    let name = call.param("path").map_err(|problem| {
        // Such as a NUL: no file has it in its path, as with any other way to name one.
        Problem::new(kinds::BAD_REQUEST, format!("Invalid file {}", problem.detail()))
    })?;
    let path = workspace_path(&name)?;
    let files = open(&call).await?;
    let content = files::blocking(&files, move |workspace| content(workspace, &path)).await?;
    match content {
        None => Err(Problem::new(kinds::NOT_FOUND, "File not found")),
        Some(content) => {
            Ok(reply::json(StatusCode::OK, &json!({ "path": name, "content": content })))
        }
    }
}

/// Writes a file, making its parents.
///
/// # Errors
///
/// 404 without a container, 400 for a path out of the workspace.
pub(super) async fn write(mut call: Call) -> Answered {
    let WriteBody { path, content } = body::parse_json(&text(&mut call).await?)?;
    let change = change(&path, content)?;
    let files = open_for_writing(&call).await?;
    let written = files.write(move |workspace| change.apply(workspace)).await;
    written.map_err(files::write_problem)?;
    Ok(reply::json(StatusCode::OK, &json!({ "success": true, "path": path })))
}

/// `files/batch` and `files/verify`.
///
/// # Errors
///
/// 404 without a container, 405 for a file.
pub(super) async fn write_or_verify(call: Call) -> Answered {
    match call.raw_param("path") {
        "batch" => write_all(call).await,
        "verify" => verify(call).await,
        _ => Err(Problem::method_not_allowed("POST", "GET, HEAD".to_owned())),
    }
}

async fn write_all(mut call: Call) -> Answered {
    let text = text(&mut call).await?;
    let body: BatchBody = serde_json::from_slice(&text)
        .map_err(|error| Problem::new(kinds::MALFORMED_BODY, format!("files: {error}")))?;
    drop(text);
    let (is_bare, bodies) = match body {
        BatchBody::Bare(files) => (true, files),
        BatchBody::Named { files } => (false, files),
    };
    check_count("files", bodies.len())?;
    let files = open_for_writing(&call).await?;
    let outcomes = files.write(move |workspace| apply(workspace, bodies)).await;
    let outcomes = outcomes.map_err(files::write_problem)?;
    Ok(reply::json(StatusCode::OK, &batch_reply(is_bare, &outcomes)))
}

async fn verify(mut call: Call) -> Answered {
    let VerifyBody { paths } = body::parse_json(&text(&mut call).await?)?;
    check_count("paths", paths.len())?;
    let files = open(&call).await?;
    let total = paths.len();
    let (existing, missing) = files::blocking(&files, |workspace| {
        let is_there =
            |path: &String| workspace_path(path).is_ok_and(|path| workspace.stat(&path).is_ok());
        Ok(paths.into_iter().partition::<Vec<_>, _>(is_there))
    })
    .await?;
    let body = json!({
        "all_exist": missing.is_empty(), "existing": existing, "missing": missing, "total": total,
    });
    Ok(reply::json(StatusCode::OK, &body))
}

async fn open(call: &Call) -> Result<Files, Problem> {
    let view = project::find(call).await?;
    Ok(call.context.tree.files(&view.project.key).await?)
}

async fn open_for_writing(call: &Call) -> Result<Files, Problem> {
    let view = project::find_for_files(call).await?;
    Ok(call.context.tree.files(&view.project.key).await?)
}

async fn text(call: &mut Call) -> Result<bytes::Bytes, Problem> {
    body::require_media(&call.headers, &[JSON])?;
    body::check_length(&call.headers, BODY_BYTES_MAX)?;
    Ok(call.take_body().read(BODY_BYTES_MAX).await?)
}

fn check_count(field: &'static str, count: usize) -> Result<(), Problem> {
    let problem = || Problem::field(field, format!("must have at most {FILES_MAX} of them"));
    if count > FILES_MAX { Err(problem()) } else { Ok(()) }
}

/// A path as this contract writes it: relative, or below `/workspace`, with dots for
/// directories that it stays in.
fn workspace_path(text: &str) -> Result<WorkspacePath, Problem> {
    let below =
        text.strip_prefix(WORKSPACE).filter(|rest| rest.is_empty() || rest.starts_with('/'));
    let relative = below.map_or(text, |rest| rest.trim_start_matches('/'));
    let parts: Vec<_> = match relative.starts_with('/') {
        // It stays absolute, and is refused.
        true => vec![relative],
        false => relative.split('/').filter(|part| !matches!(*part, "" | ".")).collect(),
    };
    if parts.is_empty() {
        return Ok(WorkspacePath::root());
    }
    let wrong = |why| Problem::new(kinds::BAD_REQUEST, format!("Invalid file path: {why}"));
    WorkspacePath::parse(&parts.join("/")).map_err(wrong)
}

fn change(path: &str, content: String) -> Result<Change, Problem> {
    let path = workspace_path(path)?;
    if path.is_root() {
        return Err(Problem::new(kinds::BAD_REQUEST, "Invalid file path: it names no file"));
    }
    let (content, condition) = (content.into_bytes(), Precondition::None);
    Ok(Change::Write { path, content, condition, mode: None })
}

fn listed(workspace: &Workspace, path: &WorkspacePath) -> Result<Vec<Listed>, WorkspaceError> {
    let options = ListOptions { limit: ENTRIES_MAX, after_name: None };
    let entries = match workspace.list(path, &options) {
        Ok(listing) => listing.entries,
        Err(WorkspaceError::NotFound | WorkspaceError::NotADirectory) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let shown = entries.into_iter().filter(|entry| !is_generated(entry));
    let mut listed: Vec<_> = shown.map(|entry| listed_entry(path, entry)).collect();
    listed.sort();
    Ok(listed)
}

fn is_generated(entry: &Entry) -> bool {
    entry.kind == Kind::Directory && GENERATED.contains(&entry.name.as_str())
}

fn listed_entry(parent: &WorkspacePath, entry: Entry) -> Listed {
    let slash = if parent.is_root() { "" } else { "/" };
    let path = format!("{parent}{slash}{}", entry.name);
    let (r#type, size) = match entry.kind {
        Kind::Directory => ("directory", 0),
        Kind::File => ("file", entry.size),
        Kind::Symlink | Kind::Other => ("file", 0),
    };
    Listed { r#type, name: entry.name, path, size }
}

fn content(workspace: &Workspace, path: &WorkspacePath) -> Result<Option<String>, WorkspaceError> {
    let file = match workspace.open_file(path) {
        Ok((file, _)) => file,
        Err(
            WorkspaceError::NotFound
            | WorkspaceError::NotADirectory
            | WorkspaceError::NotAFile { .. },
        ) => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    // It may grow while it is read.
    file.take(READ_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > READ_BYTES_MAX {
        let what = sandtree_workspace::Limit::Bytes;
        return Err(WorkspaceError::OverLimit { what, max: READ_BYTES_MAX });
    }
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Writes every file that can be written, and all of it to the disk at the end.
fn apply(
    workspace: &Workspace,
    bodies: Vec<Object<WriteBody>>,
) -> (Result<Vec<Outcome>, WorkspaceError>, Vec<FileNote>) {
    let batched = workspace.batched();
    let (mut outcomes, mut all_notes) = (Vec::with_capacity(bodies.len()), Vec::new());
    for Object(WriteBody { path, content }) in bodies {
        let written = change(&path, content).and_then(|change| {
            let (outcome, notes) = change.apply(&batched);
            all_notes.extend(notes);
            outcome.map_err(|error| files::problem(&error))
        });
        let error = written.err().map(|problem| problem.detail().to_owned());
        outcomes.push(Outcome { path, success: error.is_none(), error });
    }
    (workspace.sync().map(|()| outcomes), all_notes)
}

fn batch_reply(is_bare: bool, outcomes: &[Outcome]) -> Value {
    let written = outcomes.iter().filter(|outcome| outcome.success).count();
    let total = outcomes.len();
    let success = if is_bare { json!(written == total) } else { json!(written) };
    json!({ "total": total, "success": success, "files_written": written, "results": outcomes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_in_the_workspace_or_is_refused() {
        for (text, expected) in [
            ("", ""),
            (".", ""),
            ("/workspace", ""),
            ("/workspace/", ""),
            ("/workspace/src/a.ts", "src/a.ts"),
            ("./src//a.ts", "src/a.ts"),
            ("src/./a.ts", "src/a.ts"),
            ("workspace/a", "workspace/a"),
        ] {
            assert_eq!(workspace_path(text).unwrap().as_str(), expected, "{text:?}");
        }
        for bad in ["../a", "a/../../b", "/etc/passwd", "/workspace2/a", "/workspace/../a", "a\0"] {
            let problem = workspace_path(bad).unwrap_err();
            assert_eq!(problem.kind().status, 400, "{bad:?}");
            assert_ne!(problem.kind(), kinds::INVALID_FIELD, "{bad:?} would be a 422");
        }
    }

    #[test]
    fn a_batch_is_answered_as_it_was_sent() {
        let outcome = |success| Outcome { path: "a".into(), success, error: None };
        let all = [outcome(true), outcome(true)];
        assert_eq!(batch_reply(true, &all)["success"], true);
        assert_eq!(batch_reply(false, &all)["success"], 2);
        assert_eq!(batch_reply(false, &all)["total"], 2);
        let some = [outcome(true), outcome(false)];
        assert_eq!(batch_reply(true, &some)["success"], false);
        assert_eq!(batch_reply(true, &some)["files_written"], 1);
        assert_eq!(batch_reply(false, &some)["success"], 1);
    }

    #[test]
    fn directories_are_listed_before_files() {
        let listed =
            |r#type, name: &str| Listed { r#type, name: name.into(), path: name.into(), size: 0 };
        let mut all = [listed("file", "a"), listed("directory", "z"), listed("directory", "b")];
        all.sort();
        assert_eq!(all.map(|entry| entry.name), ["b", "z", "a"]);
    }
}
