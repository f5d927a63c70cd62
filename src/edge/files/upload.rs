//! `PUT` and `DELETE` of a file.

use std::io::{self, Write as _};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use sandtree_model::event::FileChange;
use sandtree_workspace::{
    Entry, Parents, Precondition, Recursive, Staged, Workspace, WorkspaceError, WorkspacePath,
};
use serde::Deserialize;
use tokio::time::timeout;
use warp::http::header::{CONTENT_ENCODING, CONTENT_RANGE, ETAG};
use warp::http::{HeaderMap, HeaderValue, StatusCode};

use super::conditions::precondition;
use super::{Begun, begin, blocking, note, parse, parse_mode, problem, write_problem};
use crate::edge::body::{self, BodyError};
use crate::edge::context::Call;
use crate::edge::errors::{Problem, kinds};
use crate::edge::reply::{self, Answered};

/// Longest time between two pieces of a body.
pub(in crate::edge) const STALL_MAX: Duration = Duration::from_secs(60);

/// Bytes that are gathered before they are written. To hand a block to a thread costs as much as
/// to copy some hundred KiB, so that a quarter of it takes 1.4 times the CPU time.
const BLOCK_BYTES: usize = 1024 * 1024;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WriteQuery {
    /// Octal permission bits; absent: those of the file it replaces, else 0644.
    mode: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RemoveQuery {
    /// A directory goes with everything in it.
    #[serde(default)]
    recursive: bool,
}

/// Writes a file, making its parents: 201 for a new one, 204 for one replaced. It
/// appears whole or not at all.
///
/// # Errors
///
/// 409 where a directory is, 412 by the request's conditions, 413 for too large a body.
pub async fn write(mut call: Call) -> Answered {
    let path = file_path(&call)?;
    let query: WriteQuery = call.query()?;
    let mode = query.mode.as_deref().map(|text| parse_mode("mode", text)).transpose()?;
    let condition = precondition(&call)?;
    let limit = call.context.settings.file_bytes_max;
    check_headers(&call.headers)?;
    body::check_length(&call.headers, limit)?;
    let files = call.context.tree.files(&call.project()?).await?;
    let expected = body::length(&call.headers);
    let staged = blocking(&files, move |workspace| workspace.stage(limit)).await?;
    let mut upload = Upload::new(staged, expected);
    let staged = upload.receive(call.take_body().limited(limit)).await?;
    let staged = match mode {
        Some(mode) => staged.with_mode(mode),
        None => staged,
    };
    let written = files.write(move |workspace| {
        let outcome = commit(workspace, staged, &path, &condition);
        let notes = outcome.iter().map(|_| note(&path, FileChange::Written)).collect();
        (outcome, notes)
    });
    let (existed, entry) = written.await.map_err(write_problem)?;
    let status = if existed { StatusCode::NO_CONTENT } else { StatusCode::CREATED };
    let mut response = reply::empty(status);
    if let Ok(etag) = HeaderValue::from_str(&format!("\"{}\"", entry.etag)) {
        response.headers_mut().insert(ETAG, etag);
    }
    Ok(response)
}

/// Removes a file, a link or a directory; with `?recursive=true` a directory goes with
/// everything in it.
///
/// # Errors
///
/// 404, 409 for a directory with content, 412 by the request's conditions.
pub async fn remove(call: Call) -> Answered {
    let path = parse("path", &call.param("path")?)?;
    let RemoveQuery { recursive } = call.query()?;
    let recursive = if recursive { Recursive::Yes } else { Recursive::No };
    let condition = precondition(&call)?;
    let files = call.context.tree.files(&call.project()?).await?;
    let removed = files.write(move |workspace| {
        let outcome =
            check(workspace, &path, &condition).and_then(|()| workspace.remove(&path, recursive));
        let notes = outcome.iter().map(|()| note(&path, FileChange::Removed)).collect();
        (outcome, notes)
    });
    removed.await.map_err(write_problem)?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

/// The path of a file to write: never the workspace, and no slash at its end.
fn file_path(call: &Call) -> Result<WorkspacePath, Problem> {
    let text = call.param("path")?;
    let path = parse("path", &text)?;
    if path.is_root() || text.ends_with('/') {
        let problem = "names a directory; make one with POST .../files:mkdir";
        return Err(Problem::field("path", problem));
    }
    Ok(path)
}

/// Refuses what would be written in another form than the client means.
fn check_headers(headers: &HeaderMap) -> Result<(), Problem> {
    if headers.contains_key(CONTENT_RANGE) {
        return Err(Problem::field("Content-Range", "is not known here; send the whole file"));
    }
    match headers.get(CONTENT_ENCODING) {
        Some(coding) if !coding.as_bytes().eq_ignore_ascii_case(b"identity") => {
            let detail = "bodies are stored as they come; send it without Content-Encoding";
            Err(Problem::new(kinds::UNSUPPORTED_MEDIA, detail).at("Content-Encoding"))
        }
        Some(_) | None => Ok(()),
    }
}

/// Whether something was there, and what is there now.
pub(super) fn commit(
    workspace: &Workspace,
    staged: Staged,
    path: &WorkspacePath,
    condition: &Precondition,
) -> Result<(bool, Entry), WorkspaceError> {
    let existed = workspace.stat(path).is_ok();
    let entry = workspace.commit(staged, path, condition, Parents::Create)?;
    Ok((existed, entry))
}

/// Checks a condition of something that is not written but removed.
fn check(
    workspace: &Workspace,
    path: &WorkspacePath,
    condition: &Precondition,
) -> Result<(), WorkspaceError> {
    let actual = match workspace.stat(path) {
        Ok(entry) => Some(entry.etag),
        Err(WorkspaceError::NotFound) => None,
        Err(error) => return Err(error),
    };
    let holds = match condition {
        Precondition::None => true,
        Precondition::IfMatch(etag) => actual.as_ref() == Some(etag),
        Precondition::IfMatchAny => actual.is_some(),
        Precondition::IfNoneMatchAny => actual.is_none(),
    };
    if holds { Ok(()) } else { Err(WorkspaceError::PreconditionFailed { actual }) }
}

/// A file on its way. Dropped with the request, it is removed where blocking is allowed.
struct Upload {
    held: Option<Held>,
    /// Room of a block: no more than the file is said to need.
    room: usize,
}

enum Held {
    Idle(Staged),
    /// A thread writes a block to it, while the next one fills.
    Writing(Begun<io::Result<(Staged, Vec<u8>)>>),
}

impl Upload {
    fn new(staged: Staged, expected: Option<u64>) -> Self {
        let expected = expected.and_then(|bytes| usize::try_from(bytes).ok());
        let room = expected.map_or(BLOCK_BYTES, |bytes| bytes.min(BLOCK_BYTES));
        Self { held: Some(Held::Idle(staged)), room }
    }

    /// Writes a body to the disk as it comes.
    async fn receive(
        &mut self,
        body: impl Stream<Item = Result<Bytes, BodyError>>,
    ) -> Result<Staged, Problem> {
        let mut body = std::pin::pin!(body);
        let mut block = Vec::with_capacity(self.room);
        while let Some(piece) = next_piece(&mut body).await? {
            let mut rest = fill(&mut block, &piece);
            while !rest.is_empty() {
                block = self.store(block).await?;
                block.reserve_exact(self.room);
                rest = fill(&mut block, rest);
            }
        }
        self.store(block).await?;
        Ok(self.written().await?.0)
    }

    /// Begins to write a block, as soon as the one before it is written, which is empty then and
    /// returned.
    async fn store(&mut self, mut block: Vec<u8>) -> Result<Vec<u8>, Problem> {
        let (mut staged, before) = self.written().await?;
        self.held = Some(Held::Writing(begin(move || {
            staged.write_all(&block)?;
            block.clear();
            Ok((staged, block))
        })));
        Ok(before)
    }

    /// The file, once nothing is being written to it, and the empty block; both are the caller's
    /// now.
    async fn written(&mut self) -> Result<(Staged, Vec<u8>), Problem> {
        let written = match self.held.take() {
            Some(Held::Idle(staged)) => Ok((staged, Vec::new())),
            Some(Held::Writing(writing)) => writing.await?,
            None => return Err(lost()),
        };
        written.map_err(|error| problem(&WorkspaceError::from(error)))
    }
}

/// Puts into a block what it still has room for, and returns the rest.
fn fill<'a>(block: &mut Vec<u8>, bytes: &'a [u8]) -> &'a [u8] {
    let (now, rest) = bytes.split_at(bytes.len().min(BLOCK_BYTES - block.len()));
    block.extend_from_slice(now);
    rest
}

impl Drop for Upload {
    fn drop(&mut self) {
        // A file that is being written is dropped by the thread that writes.
        if let Some(Held::Idle(staged)) = self.held.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            // Nobody waits for it: what it leaves is swept.
            runtime.spawn_blocking(move || drop(staged));
        }
    }
}

/// The next piece of a body that has to go on coming.
///
/// # Errors
///
/// 413 past its limit, 400 when it breaks off or stops.
pub(in crate::edge) async fn next_piece<S>(body: &mut S) -> Result<Option<Bytes>, Problem>
where
    S: Stream<Item = Result<Bytes, BodyError>> + Unpin,
{
    match timeout(STALL_MAX, body.next()).await {
        Ok(piece) => Ok(piece.transpose()?),
        Err(_) => {
            let seconds = STALL_MAX.as_secs();
            let detail = format!("nothing of the body has come for {seconds} seconds");
            Err(Problem::new(kinds::BAD_REQUEST, detail))
        }
    }
}

fn lost() -> Problem {
    Problem::internal("an upload lost its file")
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use sandtree_workspace::Owner;

    use super::*;

    fn workspace(dir: &tempfile::TempDir) -> Workspace {
        let me = std::fs::metadata(dir.path()).unwrap();
        let (uid, gid) = {
            use std::os::unix::fs::MetadataExt as _;
            (me.uid(), me.gid())
        };
        let (files, staging) = (dir.path().join("files"), dir.path().join("staging"));
        Workspace::create(&files, &staging, Owner { uid, gid }).unwrap()
    }

    #[tokio::test]
    async fn a_body_is_written_block_by_block_and_shown_as_a_whole() {
        let dir = tempfile::tempdir().unwrap();
        let workspace = workspace(&dir);
        // Pieces that end before, at and after the end of a block, and one of several blocks.
        let block = BLOCK_BYTES;
        let sizes = [block - 1, 1, block, 1, 3 * block, 2000, 0, 5];
        let content: Vec<u8> = (0..sizes.iter().sum()).map(|n: usize| (n % 251) as u8).collect();
        for expected in [None, Some(content.len() as u64), Some(1)] {
            let mut left = &content[..];
            let pieces: Vec<_> = sizes
                .iter()
                .map(|size| Ok(Bytes::copy_from_slice(left.split_off(..*size).unwrap())))
                .collect();
            let mut upload = Upload::new(workspace.stage(8 << 20).unwrap(), expected);
            let staged = upload.receive(stream::iter(pieces)).await.unwrap();
            let path = WorkspacePath::parse("a/b.bin").unwrap();
            let (_, entry) = commit(&workspace, staged, &path, &Precondition::None).unwrap();
            assert_eq!(entry.size, content.len() as u64);
            assert!(std::fs::read(dir.path().join("files/a/b.bin")).unwrap() == content);
        }
    }

    #[tokio::test]
    async fn whether_a_file_was_there_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let workspace = workspace(&dir);
        let path = WorkspacePath::parse("a/b.bin").unwrap();
        for existed in [false, true] {
            let mut upload = Upload::new(workspace.stage(10).unwrap(), Some(0));
            let staged = upload.receive(stream::empty()).await.unwrap();
            let told = commit(&workspace, staged, &path, &Precondition::None).unwrap().0;
            assert_eq!(told, existed);
        }
    }

    #[tokio::test]
    async fn too_much_is_refused_with_the_limit_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let workspace = workspace(&dir);
        let mut upload = Upload::new(workspace.stage(3).unwrap(), Some(4));
        let pieces = stream::iter([Ok(Bytes::from_static(b"1234"))]);
        let problem = upload.receive(pieces).await.unwrap_err();
        assert_eq!(problem.document()["limit"], 3);
        assert_eq!(std::fs::read_dir(dir.path().join("staging")).unwrap().count(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stops_coming_is_given_up() {
        let problem = next_piece(&mut stream::pending()).await.unwrap_err();
        assert_eq!(problem.kind(), kinds::BAD_REQUEST);
    }

    #[test]
    fn what_would_be_stored_in_another_form_is_refused() {
        let with = |name, value| HeaderMap::from_iter([(name, HeaderValue::from_static(value))]);
        assert!(check_headers(&HeaderMap::new()).is_ok());
        assert!(check_headers(&with(CONTENT_ENCODING, "Identity")).is_ok());
        assert!(check_headers(&with(CONTENT_ENCODING, "gzip")).is_err());
        assert!(check_headers(&with(CONTENT_RANGE, "bytes 0-1/2")).is_err());
    }

    #[test]
    fn a_removal_keeps_to_its_condition() {
        let dir = tempfile::tempdir().unwrap();
        let workspace = workspace(&dir);
        let path = WorkspacePath::parse("a").unwrap();
        assert!(check(&workspace, &path, &Precondition::IfMatchAny).is_err());
        let staged = workspace.stage(1).unwrap();
        let (_, entry) = commit(&workspace, staged, &path, &Precondition::None).unwrap();
        assert!(check(&workspace, &path, &Precondition::IfMatch(entry.etag)).is_ok());
        assert!(check(&workspace, &path, &Precondition::IfNoneMatchAny).is_err());
    }
}
