//! Files and folders, by relative paths; every change is one step for whoever looks.
//!
//! A path is in the query or in the body, under one of two names. What cannot be done is
//! told with the word `ERROR`, which clients look for.

use std::io::Read as _;

use sandtree_actors::{FileNote, WriteError};
use sandtree_workspace::{
    Existing, Kind as What, Parents, Precondition, Recursive, TreeOptions, Workspace,
    WorkspaceError, WorkspacePath,
};
use serde::Deserialize;
use serde_json::json;
use warp::http::{Method, StatusCode};

use super::rates::{self, Kind};
use super::{key, no_project};
use crate::edge::context::Call;
use crate::edge::errors::{Problem, kinds};
use crate::edge::files::{self, Change};
use crate::edge::reply::{self, Answered};

/// Most files of a list, and levels below the project.
const FILES_MAX: usize = 100_000;
const DEPTH_MAX: usize = 64;
/// Largest file that is read as text, in bytes.
const READ_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// What clients call the path of a file, and of a folder.
const FILE_PATH: &str = "file_path";
const FOLDER_PATH: &str = "folder_path";

/// Paths in the query.
#[derive(Debug, Default, Deserialize)]
struct Query {
    #[serde(alias = "folder_path", alias = "path")]
    file_path: Option<String>,
}

/// Paths and content in the body.
#[derive(Debug, Default, Deserialize)]
struct Body {
    #[serde(alias = "folder_path", alias = "path")]
    file_path: Option<String>,
    content: Option<String>,
    /// `file` or `folder`; `directory` is a folder too.
    r#type: Option<String>,
    #[serde(default)]
    is_directory: bool,
}

#[derive(Debug, Deserialize)]
struct RenameBody {
    #[serde(alias = "from", alias = "source", alias = "old_name")]
    old_path: String,
    #[serde(alias = "to", alias = "destination", alias = "new_name")]
    new_path: String,
}

/// Lists all files, by their paths.
///
/// # Errors
///
/// 404 for an unknown project.
pub(super) async fn list(call: Call) -> Answered {
    let files = open(&call).await?;
    let options = TreeOptions { depth_max: DEPTH_MAX, entries_max: FILES_MAX, prune: Vec::new() };
    let tree =
        files::blocking(&files, move |workspace| workspace.tree(&WorkspacePath::root(), &options));
    let tree = tree.await?;
    let paths = tree.entries.into_iter().filter(|entry| entry.kind == What::File);
    let mut paths: Vec<_> = paths.map(|entry| entry.path).collect();
    paths.sort_unstable();
    let mut document = json!({ "project_name": call.param("name")?, "files": paths });
    if tree.truncated {
        document["truncated"] = json!(true);
    }
    Ok(reply::json(StatusCode::OK, &document))
}

/// Reads a file as text; one that is not there is empty.
///
/// # Errors
///
/// 400 for a directory or a path out of the project, 413 for too large a file.
pub(super) async fn read(call: Call) -> Answered {
    let files = open(&call).await?;
    let shown = asked(&call, FILE_PATH, None)?;
    let path = parsed(&shown)?;
    let content = files::blocking(&files, move |workspace| Ok(text(workspace, &path))).await?;
    let content = match content {
        Ok(Some(content)) => content,
        Ok(None) => return Err(Problem::too_large("the file", READ_BYTES_MAX)),
        Err(WorkspaceError::NotFound | WorkspaceError::NotADirectory) => String::new(),
        Err(error) => return Err(said(&error, &shown)),
    };
    let document =
        json!({ "project_name": call.param("name")?, "file_path": shown, "content": content });
    Ok(reply::json(StatusCode::OK, &document))
}

/// The text of a file; `None` when it is too large.
fn text(workspace: &Workspace, path: &WorkspacePath) -> Result<Option<String>, WorkspaceError> {
    let (file, _) = workspace.open_file(path)?;
    let mut bytes = Vec::new();
    file.take(READ_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    let fits = bytes.len() as u64 <= READ_BYTES_MAX;
    Ok(fits.then(|| String::from_utf8_lossy(&bytes).into_owned()))
}

/// Makes a file or a folder that is not there yet.
///
/// # Errors
///
/// 409 when something is there, 400 for a path out of the project.
pub(super) async fn create(mut call: Call) -> Answered {
    let body: Body = call.json_or_empty().await?;
    let is_folder = match body.r#type.as_deref() {
        None | Some("file") => body.is_directory,
        Some("folder" | "directory") => true,
        Some(other) => {
            let problem = format!("must be file or folder, not {other:?}");
            return Err(Problem::field("type", problem));
        }
    };
    let shown = asked(&call, FILE_PATH, body.file_path)?;
    let path = path(&shown)?;
    let (change, word) = if is_folder {
        (Change::Mkdir { path, parents: Parents::Create }, "CREATED_FOLDER")
    } else {
        let content = body.content.unwrap_or_default().into_bytes();
        let condition = Precondition::IfNoneMatchAny;
        (Change::Write { path, content, condition, mode: None }, "CREATED_FILE")
    };
    done(&call, change, word, &shown).await
}

/// Writes a file, whether it is there or not.
///
/// # Errors
///
/// 400 where a directory is, or for a path out of the project.
pub(super) async fn write(mut call: Call) -> Answered {
    let body: Body = call.json().await?;
    let content = body.content.ok_or_else(|| Problem::field("content", "is missing"))?;
    let shown = asked(&call, FILE_PATH, body.file_path)?;
    let condition = Precondition::None;
    let content = content.into_bytes();
    let change = Change::Write { path: path(&shown)?, content, condition, mode: None };
    done(&call, change, "WROTE", &shown).await
}

/// Deletes a file, or a folder with all that is in it.
///
/// # Errors
///
/// 400 when nothing is there.
pub(super) async fn remove(call: Call) -> Answered {
    delete(&call, Removed::File).await
}

/// Deletes a folder with all that is in it.
///
/// # Errors
///
/// 400 when nothing is there.
pub(super) async fn remove_folder(call: Call) -> Answered {
    delete(&call, Removed::Folder).await
}

async fn delete(call: &Call, removed: Removed) -> Answered {
    let shown = asked(call, removed.parameter(), None)?;
    let path = path(&shown)?;
    let files = open(call).await?;
    let done = files.write(move |workspace| {
        let kind = workspace.stat(&path).map(|entry| entry.kind);
        match kind {
            Ok(What::Directory) => removed_as("DELETED_FOLDER", path, workspace),
            Ok(_) if removed == Removed::Folder => (Err(WorkspaceError::NotADirectory), Vec::new()),
            Ok(_) => removed_as("DELETED_FILE", path, workspace),
            Err(error) => (Err(error), Vec::new()),
        }
    });
    let is_absent =
        |error: &WriteError| matches!(error, WriteError::Workspace(WorkspaceError::NotFound));
    let word = done.await.map_err(|error| match is_absent(&error) {
        true => removed.absent(),
        false => in_words(error, &shown),
    })?;
    Ok(reply::json(StatusCode::OK, &json!({ "result": format!("{word}: {shown}") })))
}

/// What a request wants to be gone. A folder is a file, too, as the plan of this system has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Removed {
    File,
    Folder,
}

impl Removed {
    fn parameter(self) -> &'static str {
        match self {
            Removed::File => FILE_PATH,
            Removed::Folder => FOLDER_PATH,
        }
    }

    fn absent(self) -> Problem {
        match self {
            Removed::File => error("File does not exist"),
            Removed::Folder => error("Folder does not exist"),
        }
    }
}

fn removed_as(
    word: &'static str,
    path: WorkspacePath,
    workspace: &Workspace,
) -> (Result<&'static str, WorkspaceError>, Vec<FileNote>) {
    let change = Change::Delete { path, recursive: Recursive::Yes };
    let (done, notes) = change.apply(workspace);
    (done.map(|_| word), notes)
}

/// Makes a folder and its parents; one that is there is fine.
///
/// # Errors
///
/// 400 where a file is, or for a path out of the project.
pub(super) async fn create_folder(mut call: Call) -> Answered {
    let body: Body = call.json_or_empty().await?;
    let shown = asked(&call, FOLDER_PATH, body.file_path)?;
    let change = Change::Mkdir { path: path(&shown)?, parents: Parents::Create };
    done(&call, change, "CREATED_FOLDER", &shown).await
}

/// Renames or moves a file or a folder; the target's parents are made.
///
/// # Errors
///
/// 400 when nothing is there, 409 when something is at the target.
pub(super) async fn rename(mut call: Call) -> Answered {
    let RenameBody { old_path, new_path } = call.json().await?;
    let (from, to) = (path(&old_path)?, path(&new_path)?);
    let files = open(&call).await?;
    let moved = files.write(move |workspace| {
        // What is not there must not leave folders behind.
        let made = workspace.stat(&from).and_then(|_| match to.parent() {
            Some(parent) if !parent.is_root() => workspace.mkdir(&parent, Parents::Create),
            Some(_) | None => Ok(()),
        });
        match made {
            Ok(()) => Change::Move { from, to, existing: Existing::Keep }.apply(workspace),
            Err(error) => (Err(error), Vec::new()),
        }
    });
    moved.await.map_err(|error| in_words(error, &old_path))?;
    let result = format!("RENAMED: {old_path} -> {new_path}");
    Ok(reply::json(StatusCode::OK, &json!({ "result": result })))
}

async fn done(call: &Call, change: Change, word: &str, shown: &str) -> Answered {
    let files = open(call).await?;
    let done = files.write(move |workspace| change.apply(workspace)).await;
    done.map_err(|error| in_words(error, shown))?;
    Ok(reply::json(StatusCode::OK, &json!({ "result": format!("{word}: {shown}") })))
}

async fn open(call: &Call) -> Result<sandtree_actors::Files, Problem> {
    rates::count(call, Kind::File)?;
    let files = call.context.tree.files(&key(call)?).await;
    files.map_err(|failure| no_project(call)(failure.into()))
}

/// The path that a request names, as it is written.
fn asked(call: &Call, name: &str, in_body: Option<String>) -> Result<String, Problem> {
    let Query { file_path } = call.query().map_err(|problem| {
        let field = format!("query.{}", problem.at_field().unwrap_or_default());
        problem.at(field)
    })?;
    let in_query = call.method == Method::GET || call.method == Method::DELETE;
    let field = if in_query { format!("query.{name}") } else { name.to_owned() };
    let missing = || Problem::new(kinds::INVALID_FIELD, format!("{name} is missing")).at(field);
    file_path.or(in_body).ok_or_else(missing)
}

/// The path of something in the project, and not of the project itself.
fn path(shown: &str) -> Result<WorkspacePath, Problem> {
    let path = parsed(shown)?;
    match path.is_root() {
        true => Err(error(&format!("{shown} is the project itself"))),
        false => Ok(path),
    }
}

/// A path as its clients write it: `./a` is `a`.
fn parsed(shown: &str) -> Result<WorkspacePath, Problem> {
    WorkspacePath::parse_dotted(shown).map_err(|why| error(&format!("{shown}: {why}")))
}

fn in_words(failed: WriteError, shown: &str) -> Problem {
    match failed {
        WriteError::Workspace(error) => said(&error, shown),
        WriteError::Failure(failure) => failure.into(),
    }
}

/// What went wrong with a path, in this system's words.
fn said(failed: &WorkspaceError, shown: &str) -> Problem {
    match failed {
        WorkspaceError::NotFound => error("it does not exist"),
        WorkspaceError::NotAFile { .. } => error(&format!("{shown} is not a file")),
        WorkspaceError::NotADirectory => error(&format!("{shown} is not a folder")),
        WorkspaceError::Escapes => error(&format!("{shown} leads out of the project")),
        WorkspaceError::PreconditionFailed { .. } | WorkspaceError::Exists => {
            Problem::new(kinds::EXISTS, format!("ERROR: {shown} exists already"))
        }
        WorkspaceError::BadPath(why) => error(&format!("{shown}: {why}")),
        WorkspaceError::NotEmpty
        | WorkspaceError::OverLimit { .. }
        | WorkspaceError::NoSpace
        | WorkspaceError::Busy
        | WorkspaceError::Io(_) => files::problem(failed),
    }
}

fn error(what: &str) -> Problem {
    Problem::new(kinds::BAD_REQUEST, format!("ERROR: {what}"))
}
