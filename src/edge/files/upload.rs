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
use crate::edge::places::Place;
use crate::edge::reply::{self, Answered};

/// Longest time between two pieces of a body.
pub(in crate::edge) const STALL_MAX: Duration = Duration::from_secs(60);

/// Bytes that are gathered before they are written, while there is a place for fast uploads. To
/// hand a block to a thread costs as much as to copy some hundred KiB, so that a quarter of it
/// takes 1.4 times the CPU time.
const BLOCK_BYTES: usize = 1024 * 1024;
/// The same for all others, and for small files: every upload can hold two blocks.
const SMALL_BLOCK_BYTES: usize = 64 * 1024;
/// The least, however little is announced.
const SMALLEST_BLOCK_BYTES: usize = 4096;

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
    let is_small = expected.is_some_and(|bytes| bytes <= SMALL_BLOCK_BYTES as u64);
    let fast = if is_small { None } else { call.context.places.fast_uploads.take().ok() };
    let mut upload = Upload::new(staged, expected, fast);
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
    /// Bytes of a block: no more than the file is said to need.
    block_bytes: usize,
    _fast: Option<Place>,
}

enum Held {
    Idle(Staged),
    /// A thread writes a block to it, while the next one fills.
    Writing(Begun<io::Result<(Staged, Vec<u8>)>>),
}

impl Upload {
    fn new(staged: Staged, expected: Option<u64>, fast: Option<Place>) -> Self {
        let most = if fast.is_some() { BLOCK_BYTES } else { SMALL_BLOCK_BYTES };
        let expected = expected.and_then(|bytes| usize::try_from(bytes).ok());
        let block_bytes = expected.map_or(most, |bytes| bytes.clamp(SMALLEST_BLOCK_BYTES, most));
        Self { held: Some(Held::Idle(staged)), block_bytes, _fast: fast }
    }

    /// Writes a body to the disk as it comes.
    async fn receive(
        &mut self,
        body: impl Stream<Item = Result<Bytes, BodyError>>,
    ) -> Result<Staged, Problem> {
        let mut body = std::pin::pin!(body);
        let mut block = Vec::with_capacity(self.block_bytes);
        while let Some(piece) = next_piece(&mut body).await? {
            let mut rest = self.fill(&mut block, &piece);
            while !rest.is_empty() {
                block = self.store(block).await?;
                block.reserve_exact(self.block_bytes);
                rest = self.fill(&mut block, rest);
            }
        }
        self.store(block).await?;
        Ok(self.written().await?.0)
    }

    /// Puts into a block what it still has room for, and returns the rest.
    fn fill<'a>(&self, block: &mut Vec<u8>, bytes: &'a [u8]) -> &'a [u8] {
        let (now, rest) = bytes.split_at(bytes.len().min(self.block_bytes - block.len()));
        block.extend_from_slice(now);
        rest
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

impl Drop for Upload {
    fn drop(&mut self) {
        // While a thread writes to the file, it is that thread which drops it; but it may have
        // ended long ago.
        if let Some(held) = self.held.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            // Nobody waits for it: what it leaves is swept.
            runtime.spawn_blocking(move || drop(held));
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
    use sandtree_testkit::until;
    use sandtree_workspace::Owner;

    use super::*;
    use crate::edge::context::EdgeSettings;
    use crate::edge::places::Places;

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
        let (block, small) = (BLOCK_BYTES, SMALL_BLOCK_BYTES);
        let sizes = [block - 1, 1, block, 1, 3 * block, 2000, 0, 5, small - 1, small, small + 1];
        let content: Vec<u8> = (0..sizes.iter().sum()).map(|n: usize| (n % 251) as u8).collect();
        let places = Places::new(&EdgeSettings::default());
        let told = Some(content.len() as u64);
        for (expected, is_fast) in [
            (None, true),
            (None, false),
            (told, true),
            (told, false),
            (Some(1), true),
            (Some(0), false),
        ] {
            let mut left = &content[..];
            let pieces: Vec<_> = sizes
                .iter()
                .map(|size| Ok(Bytes::copy_from_slice(left.split_off(..*size).unwrap())))
                .collect();
            let fast = is_fast.then(|| places.fast_uploads.take().unwrap());
            let mut upload = Upload::new(workspace.stage(8 << 20).unwrap(), expected, fast);
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
            let mut upload = Upload::new(workspace.stage(10).unwrap(), Some(0), None);
            let staged = upload.receive(stream::empty()).await.unwrap();
            let told = commit(&workspace, staged, &path, &Precondition::None).unwrap().0;
            assert_eq!(told, existed);
        }
    }

    #[tokio::test]
    async fn an_upload_that_is_given_up_between_two_blocks_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let staging = dir.path().join("staging");
        let staged = || -> Vec<u64> {
            let entries = std::fs::read_dir(&staging).unwrap();
            entries.map(|entry| entry.unwrap().metadata().unwrap().len()).collect()
        };
        let mut upload = Upload::new(workspace(&dir).stage(1 << 20).unwrap(), None, None);
        let piece = Ok(Bytes::from(vec![1; SMALL_BLOCK_BYTES + 1]));
        let body = stream::iter([piece]).chain(stream::pending());
        let written = until("a block", async || staged() == [SMALL_BLOCK_BYTES as u64]);
        tokio::select! {
            _ = upload.receive(body) => panic!("there is more to come"),
            () = written => {}
        }
        drop(upload);
        until("the file to go", async || staged().is_empty()).await;
    }

    #[tokio::test]
    async fn too_much_is_refused_with_the_limit_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let workspace = workspace(&dir);
        let mut upload = Upload::new(workspace.stage(3).unwrap(), Some(4), None);
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
