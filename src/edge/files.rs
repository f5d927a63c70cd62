//! Files of the workspace: their bytes, and what is done with them.
//!
//! Reads go straight to the disk; writes go through the project's file-writer, one
//! after another. Everything that blocks runs where blocking is allowed, a piece at a
//! time, so that a slow client holds a descriptor and no thread. What confines a path
//! to the workspace is the kernel, in `sandtree-workspace`.
//!
//! Files are served so that a browser neither renders nor runs them: they are hostile,
//! and this is the API's own origin.

mod batch;
mod change;
mod conditions;
mod download;
mod listing;
mod upload;

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use sandtree_actors::{FileNote, Files, WriteError};
use sandtree_model::event::FileChange;
use sandtree_workspace::{BadPath, Etag, Kind, Limit, Workspace, WorkspaceError, WorkspacePath};

use super::errors::{Problem, kinds};

pub use batch::batch;
pub(in crate::edge) use change::Change;
pub use change::{copy, mkdir, rename};
pub use download::read;
pub use listing::tree;
pub(super) use upload::{STALL_MAX, next_piece};
pub use upload::{remove, write};

/// Bytes of a download or of an archive that go at a time.
pub(super) const PIECE_BYTES: usize = 256 * 1024;

/// A path that a client sent; an empty one is the workspace itself.
///
/// # Errors
///
/// 400 naming the field and the rule that the path breaks.
pub(super) fn parse(field: &'static str, text: &str) -> Result<WorkspacePath, Problem> {
    match WorkspacePath::parse(text) {
        Ok(path) => Ok(path),
        Err(BadPath::Empty) => Ok(WorkspacePath::root()),
        Err(why) => Err(Problem::field(field, why)),
    }
}

/// Does something with the workspace where blocking is allowed.
///
/// # Errors
///
/// What the files say.
pub(super) async fn blocking<T, F>(files: &Files, work: F) -> Result<T, Problem>
where
    T: Send + 'static,
    F: FnOnce(&Workspace) -> Result<T, WorkspaceError> + Send + 'static,
{
    let workspace = Arc::clone(files.workspace());
    off_thread(move || work(&workspace)).await?.map_err(|error| problem(&error))
}

/// Does something where blocking is allowed.
///
/// # Errors
///
/// When it panics.
pub(super) async fn off_thread<T, F>(work: F) -> Result<T, Problem>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    begin(work).await
}

/// What [`begin`] has begun.
type Begun<T> = BoxFuture<'static, Result<T, Problem>>;

/// Begins something where blocking is allowed. It goes on meanwhile, and to its end even
/// if nobody waits for it.
fn begin<T, F>(work: F) -> Begun<T>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    let done = tokio::task::spawn_blocking(work);
    let ended = |error| Problem::internal(&format!("work on files did not end: {error}"));
    done.map(move |done| done.map_err(ended)).boxed()
}

/// What the event log shows of one change.
pub(super) fn note(path: &WorkspacePath, change: FileChange) -> FileNote {
    FileNote { path: path.as_str().into(), change }
}

/// What a client is told of an error of the files.
pub(super) fn problem(error: &WorkspaceError) -> Problem {
    let detail = error.to_string();
    match error {
        WorkspaceError::BadPath(why) => Problem::field("path", why),
        WorkspaceError::NotFound => Problem::new(kinds::NOT_FOUND, detail),
        WorkspaceError::NotAFile { found: Kind::Directory } => is_directory(),
        WorkspaceError::NotAFile { .. } | WorkspaceError::NotADirectory => {
            Problem::new(kinds::WRONG_KIND, detail)
        }
        WorkspaceError::Exists => Problem::new(kinds::EXISTS, detail),
        WorkspaceError::NotEmpty => {
            Problem::new(kinds::NOT_EMPTY, "the directory is not empty; add ?recursive=true")
        }
        WorkspaceError::Escapes => Problem::new(kinds::OUTSIDE, detail),
        WorkspaceError::PreconditionFailed { actual } => precondition(actual.as_ref()),
        WorkspaceError::OverLimit { what: Limit::Bytes, max } => {
            Problem::too_large("the content", *max)
        }
        WorkspaceError::OverLimit { max, .. } => Problem::new(kinds::TOO_LARGE, detail).limit(*max),
        WorkspaceError::NoSpace => Problem::new(kinds::NO_SPACE, detail),
        WorkspaceError::Busy => Problem::new(kinds::CONFLICT, detail),
        WorkspaceError::Io(source) => Problem::internal(&format!("{detail}: {source}")),
    }
}

/// What a client is told of a write that was not done.
pub(super) fn write_problem(error: WriteError) -> Problem {
    match error {
        WriteError::Workspace(error) => problem(&error),
        WriteError::Failure(failure) => failure.into(),
    }
}

fn is_directory() -> Problem {
    Problem::new(kinds::WRONG_KIND, "a directory is there; list it with GET .../tree?path=")
}

fn precondition(actual: Option<&Etag>) -> Problem {
    let detail = match actual {
        Some(etag) => format!("the entity tag of what is there is \"{etag}\""),
        None => "nothing is there".to_owned(),
    };
    Problem::new(kinds::PRECONDITION_FAILED, detail)
}

/// The word for a kind of entry.
pub(super) const fn kind_word(kind: Kind) -> &'static str {
    match kind {
        Kind::File => "file",
        Kind::Directory => "directory",
        Kind::Symlink => "symlink",
        Kind::Other => "other",
    }
}

/// Permission bits as text, such as `0644`.
pub(super) fn mode_text(mode: u32) -> String {
    format!("{mode:04o}")
}

/// Permission bits from such a text.
///
/// # Errors
///
/// 400 naming the field.
pub(super) fn parse_mode(field: &'static str, text: &str) -> Result<u32, Problem> {
    let is_octal =
        (3..=4).contains(&text.len()) && text.bytes().all(|c| (b'0'..=b'7').contains(&c));
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| is_octal && *mode <= 0o777);
    mode.ok_or_else(|| Problem::field(field, "must be octal permission bits from 0000 to 0777"))
}

#[cfg(test)]
mod over_http;
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_in_the_workspace_or_refused_with_its_field() {
        assert!(parse("path", "").unwrap().is_root());
        assert_eq!(parse("path", "a//b/").unwrap().as_str(), "a/b");
        for bad in ["/etc/passwd", "../x", "a/./b", "a\0"] {
            assert_eq!(parse("from", bad).unwrap_err().document()["field"], "from", "{bad}");
        }
    }

    #[test]
    fn every_error_of_the_files_has_its_status() {
        let rows = [
            (WorkspaceError::BadPath(BadPath::Root), 400),
            (WorkspaceError::NotFound, 404),
            (WorkspaceError::NotAFile { found: Kind::Directory }, 409),
            (WorkspaceError::NotADirectory, 409),
            (WorkspaceError::Exists, 409),
            (WorkspaceError::NotEmpty, 409),
            (WorkspaceError::Escapes, 403),
            (WorkspaceError::PreconditionFailed { actual: None }, 412),
            (WorkspaceError::OverLimit { what: Limit::Entries, max: 3 }, 413),
            (WorkspaceError::NoSpace, 507),
            (WorkspaceError::Busy, 409),
            (WorkspaceError::Io(std::io::ErrorKind::Other.into()), 500),
        ];
        for (error, status) in rows {
            assert_eq!(problem(&error).document()["status"], status, "{error:?}");
        }
    }

    #[test]
    fn modes_are_octal_text() {
        assert_eq!(mode_text(0o755), "0755");
        assert_eq!(parse_mode("mode", "0755").unwrap(), 0o755);
        assert_eq!(parse_mode("mode", "644").unwrap(), 0o644);
        for bad in ["", "7", "1777", "9", "0o7", "+755", "07777"] {
            assert!(parse_mode("mode", bad).is_err(), "{bad}");
        }
    }
}
