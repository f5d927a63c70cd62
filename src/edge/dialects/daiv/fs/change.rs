//! Files that are made, edited and removed.

mod replace;

use std::io::{Read as _, Write as _};

use sandtree_model::event::FileChange;
use sandtree_workspace::{
    Kind, Parents, Precondition, Recursive, Workspace, WorkspaceError, WorkspacePath, uniform_mode,
};
use serde::Serialize;
use serde_json::Value;

use super::error::written;
use super::{CONTENT_BYTES_MAX, Code, FsError, Root, answer, path, request};
use crate::edge::context::Call;
use crate::edge::dialects::daiv::refused::Refused;
use crate::edge::dialects::daiv::validate::{Fields, SMALL_BYTES_MAX, Spot, types};
use crate::edge::files::note;
use crate::edge::reply::Response;
use replace::replaced;

/// Largest file that is edited, in bytes, before and after.
const TEXT_BYTES_MAX: u64 = CONTENT_BYTES_MAX;
/// The mode of an edited file.
const EDITED_MODE: u32 = 0o644;
/// The mode of a file whose request names none: 0644.
const MODE_DEFAULT: i64 = 0o644;
/// All bits that a request may name.
const MODE_MAX: i64 = 0o7777;

#[derive(Debug, Default, Serialize)]
struct Wrote {
    ok: bool,
}

#[derive(Debug, Default, Serialize)]
struct Edited {
    occurrences: Option<usize>,
}

#[derive(Debug, Default, Serialize)]
struct Deleted {
    removed: bool,
    ok: bool,
}

struct Write {
    path: String,
    content: Vec<u8>,
    mode: i64,
}

impl Write {
    fn read(value: &Value, spot: &mut Spot) -> Option<Self> {
        let fields = Fields::of(value, spot)?;
        let path = fields.required(spot, "path", types::text);
        let content = fields.required(spot, "content", types::bytes);
        let mode = fields.or(spot, "mode", MODE_DEFAULT, types::within(0, MODE_MAX));
        Some(Self { path: path?, content: content?, mode: mode? })
    }
}

/// Makes a file that is not there.
pub(in super::super) async fn write(mut call: Call) -> Result<Response, Refused> {
    let (session, Write { path: text, content, mode }) =
        request(&mut call, CONTENT_BYTES_MAX, Write::read).await?;
    let file = match path(&text, Root::Refused) {
        Ok(file) => file,
        Err(error) => return Ok(answer::<Wrote>(Err(error))),
    };
    let mode = uniform_mode(u32::try_from(mode).unwrap_or_default());
    let files = session.files().await?;
    let made = files.write(move |workspace| {
        let outcome = put(workspace, &file, &content, mode, &Precondition::IfNoneMatchAny);
        let notes = outcome.iter().map(|()| note(&file, FileChange::Written)).collect();
        (outcome, notes)
    });
    let made = written(made.await, &text)?;
    Ok(answer(made.map(|()| Wrote { ok: true })))
}

fn put(
    workspace: &Workspace,
    file: &WorkspacePath,
    content: &[u8],
    mode: u32,
    condition: &Precondition,
) -> Result<(), WorkspaceError> {
    let mut staged = workspace.stage(content.len() as u64)?.with_mode(mode);
    staged.write_all(content)?;
    workspace.commit(staged, file, condition, Parents::Create).map(drop)
}

struct Edit {
    path: String,
    old: String,
    new: String,
    replace_all: bool,
}

impl Edit {
    fn read(value: &Value, spot: &mut Spot) -> Option<Self> {
        let fields = Fields::of(value, spot)?;
        let path = fields.required(spot, "path", types::text);
        let old = fields.required(spot, "old", types::text);
        let new = fields.required(spot, "new", types::text);
        let replace_all = fields.or(spot, "replace_all", false, types::flag);
        Some(Self { path: path?, old: old?, new: new?, replace_all: replace_all? })
    }
}

/// Replaces a text in a file by another.
pub(in super::super) async fn edit(mut call: Call) -> Result<Response, Refused> {
    let (session, wanted) = request(&mut call, CONTENT_BYTES_MAX, Edit::read).await?;
    let file = match path(&wanted.path, Root::Refused) {
        Ok(file) => file,
        Err(error) => return Ok(answer::<Edited>(Err(error))),
    };
    let text = wanted.path.clone();
    let files = session.files().await?;
    let edited = files.write(move |workspace| match apply(workspace, &file, &wanted) {
        Ok(Ok(count)) => (Ok(Ok(count)), vec![note(&file, FileChange::Written)]),
        outcome => (outcome, Vec::new()),
    });
    let edited = written(edited.await, &text)?.and_then(|outcome| outcome);
    Ok(answer(edited.map(|count| Edited { occurrences: Some(count) })))
}

/// How often the text was there; each is replaced now.
fn apply(
    workspace: &Workspace,
    file: &WorkspacePath,
    wanted: &Edit,
) -> Result<Result<usize, FsError>, WorkspaceError> {
    let too_large = |code| {
        let words = format!("{}: is larger than {TEXT_BYTES_MAX} bytes", wanted.path);
        Ok(Err(FsError::new(code, words)))
    };
    let (content, _) = workspace.open_file(file)?;
    let mut bytes = Vec::new();
    content.take(TEXT_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > TEXT_BYTES_MAX {
        return too_large(Code::TooLarge);
    }
    let Ok(text) = String::from_utf8(bytes) else {
        let words = format!("{}: is not a text file", wanted.path);
        return Ok(Err(FsError::new(Code::NotATextFile, words)));
    };
    let Edit { old, new, replace_all, .. } = wanted;
    let limit = usize::try_from(TEXT_BYTES_MAX).unwrap_or(usize::MAX);
    match replaced(&text, old, new, *replace_all, limit) {
        Ok((text, count)) => {
            put(workspace, file, text.as_bytes(), EDITED_MODE, &Precondition::None)?;
            Ok(Ok(count))
        }
        Err((code, words)) => Ok(Err(FsError::new(code, words))),
    }
}

/// Removes a file. One that is not there is as removed as it can be.
pub(in super::super) async fn delete(mut call: Call) -> Result<Response, Refused> {
    let read = |value: &Value, spot: &mut Spot| {
        Fields::of(value, spot)?.required(spot, "path", types::text)
    };
    let (session, text) = request(&mut call, SMALL_BYTES_MAX, read).await?;
    let file = match path(&text, Root::Refused) {
        Ok(file) => file,
        Err(error) => return Ok(answer::<Deleted>(Err(error))),
    };
    let files = session.files().await?;
    let removed = files.write(move |workspace| match remove(workspace, &file) {
        Ok(true) => (Ok(true), vec![note(&file, FileChange::Removed)]),
        outcome => (outcome, Vec::new()),
    });
    let removed = written(removed.await, &text)?;
    Ok(answer(removed.map(|removed| Deleted { removed, ok: true })))
}

/// Whether there was something to remove.
fn remove(workspace: &Workspace, file: &WorkspacePath) -> Result<bool, WorkspaceError> {
    let outcome = workspace.stat(file).and_then(|entry| match entry.kind {
        Kind::Directory => Err(WorkspaceError::NotAFile { found: entry.kind }),
        Kind::File | Kind::Symlink | Kind::Other => workspace.remove(file, Recursive::No),
    });
    match outcome {
        Ok(()) => Ok(true),
        Err(WorkspaceError::NotFound) => Ok(false),
        Err(error) => Err(error),
    }
}
