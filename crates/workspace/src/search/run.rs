//! The walk of a search, on several threads.

use std::ffi::{CStr, CString};
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use grep_regex::RegexMatcher;
use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

use super::content::{self, Reader};
use super::found::Found;
use super::queue::Queue;
use super::{Cancel, Globs, MatchedLine, SearchError, SearchLimits, SearchOutcome, SearchRequest};
use crate::confine::{self, DIRECTORY, Links, open_child, stat_child};
use crate::entry::{self, Kind};
use crate::error::WorkspaceError;
use crate::read::{check_file, open_child_file};
use crate::walk::{DEPTH_MAX, for_each_entry};
use crate::workspace::{Owner, Workspace};

/// Files that one thread takes at a time: a directory of many is shared out.
const FILES_AT_ONCE: usize = 64;
/// The owner's rights to read a file or a directory, and to enter a directory.
const READ: u32 = 0o400;
const ENTER: u32 = 0o100;

/// One search under way.
pub(super) struct Search<'a> {
    owner: Owner,
    request: &'a SearchRequest,
    cancel: &'a Cancel,
    include: Globs,
    exclude: Globs,
    prune: Globs,
    found: Found<'a>,
    queue: Queue<Work>,
    entries_left: AtomicUsize,
    deadline: Instant,
}

/// What a thread takes at a time.
enum Work {
    /// A directory, to see what is in it.
    Directory { dir: Arc<OwnedFd>, below: Vec<u8>, depth: usize },
    /// One entry of a directory, which is a directory.
    Enter { parent: Arc<OwnedFd>, name: CString, below: Vec<u8>, depth: usize },
    /// Files of a directory, to read them.
    Files { dir: Arc<OwnedFd>, below: Arc<[u8]>, names: Vec<CString> },
    /// The file that the search starts at.
    File(OwnedFd),
}

/// Where the search starts.
enum Start {
    Directory(OwnedFd),
    File(OwnedFd),
}

/// Runs a search to its end.
pub(super) fn run(
    workspace: &Workspace,
    request: &SearchRequest,
    cancel: &Cancel,
) -> Result<SearchOutcome, SearchError> {
    let matcher = request.pattern.as_ref().map(content::compile).transpose()?;
    let case = request.globs_case;
    let first = match start(workspace, request)? {
        Start::Directory(dir) => {
            Work::Directory { dir: Arc::new(dir), below: Vec::new(), depth: 1 }
        }
        Start::File(file) => Work::File(file),
    };
    let search = Search {
        owner: workspace.inner.owner,
        request,
        cancel,
        include: Globs::compile(&request.include, case)?,
        exclude: Globs::compile(&request.exclude, case)?,
        prune: Globs::compile(&request.prune, case)?,
        found: Found::new(&request.path, request.limits.matches_max),
        queue: Queue::new(first),
        entries_left: AtomicUsize::new(request.limits.entries_max),
        deadline: Instant::now() + request.limits.time_max,
    };
    std::thread::scope(|scope| {
        for _ in 1..request.limits.threads {
            scope.spawn(|| search.work(matcher.as_ref()));
        }
        search.work(matcher.as_ref());
    });
    Ok(search.found.into_outcome())
}

fn start(workspace: &Workspace, request: &SearchRequest) -> Result<Start, WorkspaceError> {
    let (root, path) = (&workspace.inner.root, request.path.as_str());
    match confine::open(root, path, DIRECTORY, Links::Follow) {
        Ok(dir) => Ok(Start::Directory(dir)),
        Err(Errno::NOTDIR) if request.pattern.is_some() => {
            let file = confine::open(root, path, confine::CONTENT, Links::Follow)?;
            check_file(&file)?;
            Ok(Start::File(file))
        }
        Err(errno) => Err(errno.into()),
    }
}

impl<'a> Search<'a> {
    pub(super) fn limits(&self) -> &'a SearchLimits {
        &self.request.limits
    }

    pub(super) fn found(&self) -> &Found<'a> {
        &self.found
    }

    /// Whether everybody is to end: enough is found, time is over, or nobody waits for it.
    pub(super) fn is_over(&self) -> bool {
        if self.queue.is_over() {
            return true;
        }
        let is_late = Instant::now() >= self.deadline;
        if is_late || self.cancel.is_cancelled() {
            self.found.truncate(is_late);
            self.queue.end();
            return true;
        }
        false
    }

    pub(super) fn add_lines(&self, below: &[u8], lines: Vec<MatchedLine>) {
        if !self.found.add_lines(below, lines) {
            self.queue.end();
        }
    }

    pub(super) fn skip_unreadable_file(&self, below: &[u8]) {
        let (path, _) = self.found.told_path(below);
        self.found.skip(|skipped| {
            skipped.unreadable += 1;
            skipped.unreadable_file.get_or_insert(path);
        });
    }

    fn work(&self, matcher: Option<&RegexMatcher>) {
        let mut reader = matcher.map(|matcher| Reader::new(self, matcher));
        while !self.is_over()
            && let Some((work, _turn)) = self.queue.take()
        {
            match work {
                Work::Directory { dir, below, depth } => self.list(&dir, &below, depth),
                Work::Enter { parent, name, below, depth } => {
                    self.enter(&parent, &name, &below, depth);
                }
                Work::Files { dir, below, names } => {
                    self.read_files(reader.as_mut(), &dir, &below, &names);
                }
                Work::File(file) => self.read_start(reader.as_mut(), file),
            }
        }
    }

    fn enter(&self, parent: &OwnedFd, name: &CStr, below: &[u8], depth: usize) {
        if depth > DEPTH_MAX {
            self.found.skip(|skipped| skipped.too_deep += 1);
            return;
        }
        match open_child(parent, name, DIRECTORY) {
            Ok(dir) if self.request.as_owner && self.is_closed_directory(&dir) => {
                self.found.skip(|skipped| skipped.unreadable += 1);
            }
            Ok(dir) => self.list(&Arc::new(dir), below, depth),
            // It vanished, or is something else by now.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => {}
            Err(_) => self.found.skip(|skipped| skipped.unreadable += 1),
        }
    }

    /// Whether the owner has taken a right to its own entry away from itself.
    fn is_closed(&self, stat: &Stat, right: u32) -> bool {
        self.request.as_owner && stat.st_uid == self.owner.uid && stat.st_mode & right != right
    }

    fn is_closed_directory(&self, dir: &OwnedFd) -> bool {
        rustix::fs::fstat(dir).is_ok_and(|stat| self.is_closed(&stat, READ | ENTER))
    }

    /// Tells the names of a directory, or takes note of what is to be read and entered.
    fn list(&self, dir: &Arc<OwnedFd>, below: &[u8], depth: usize) {
        let mut met = Met::default();
        let read = for_each_entry(dir, |name, told| {
            let left =
                self.entries_left
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
            if left.is_err() {
                self.found.truncate(false);
                self.queue.end();
            }
            if self.is_over() {
                return Ok(ControlFlow::Break(()));
            }
            if let Some(kind) = kind_of(dir, name, told)? {
                self.meet(&mut met, below, name, kind);
            }
            Ok(ControlFlow::Continue(()))
        });
        if read.is_err() {
            self.found.skip(|skipped| skipped.unreadable += 1);
        }
        self.queue.add(met.into_work(dir, below, depth));
    }

    fn meet(&self, met: &mut Met, below: &[u8], name: &CStr, kind: Kind) {
        let bytes = name.to_bytes();
        let path = joined(below, bytes);
        let is_directory = kind == Kind::Directory;
        if (!self.request.hidden && bytes.starts_with(b"."))
            || self.exclude.matches(bytes, &path)
            || (is_directory && self.prune.matches(bytes, &path))
        {
            return;
        }
        if is_directory {
            met.directories.push(name.to_owned());
        }
        if !self.include.is_empty() && !self.include.matches(bytes, &path) {
            return;
        }
        if self.request.pattern.is_some() {
            if kind == Kind::File {
                met.files.push(name.to_owned());
            }
        } else if self.request.kind.is_none_or(|wanted| wanted == kind)
            && !self.found.add_name(&path, kind)
        {
            self.queue.end();
        }
    }

    fn read_files(
        &self,
        reader: Option<&mut Reader<'_>>,
        dir: &OwnedFd,
        below: &[u8],
        names: &[CString],
    ) {
        let Some(reader) = reader else { return };
        for name in names {
            if self.is_over() {
                return;
            }
            let path = joined(below, name.to_bytes());
            match open_child_file(dir, name) {
                Ok((_, stat)) if entry::size(&stat) > self.limits().file_bytes_max => {
                    self.found.skip(|skipped| skipped.too_large += 1);
                }
                Ok((_, stat)) if self.is_closed(&stat, READ) => self.skip_unreadable_file(&path),
                // Nothing is in it, so nothing matches.
                Ok((_, stat)) if stat.st_size == 0 => {}
                Ok((file, _)) => reader.read(file, &path),
                // It vanished, or is something else by now.
                Err(
                    WorkspaceError::NotFound
                    | WorkspaceError::NotADirectory
                    | WorkspaceError::NotAFile { .. }
                    | WorkspaceError::Escapes,
                ) => {}
                Err(_) => self.skip_unreadable_file(&path),
            }
        }
    }

    fn read_start(&self, reader: Option<&mut Reader<'_>>, file: OwnedFd) {
        let name = self.request.path.name().unwrap_or("").as_bytes();
        let is_wanted = self.include.is_empty() || self.include.matches(name, name);
        let stat = check_file(&file).ok();
        let size = stat.as_ref().map_or(0, entry::size);
        if size > self.limits().file_bytes_max {
            self.found.skip(|skipped| skipped.too_large += 1);
        } else if stat.is_some_and(|stat| self.is_closed(&stat, READ)) {
            self.skip_unreadable_file(b"");
        } else if let Some(reader) = reader
            && is_wanted
        {
            reader.read(file, b"");
        }
    }
}

/// What is to be done in one directory.
#[derive(Default)]
struct Met {
    directories: Vec<CString>,
    files: Vec<CString>,
}

impl Met {
    /// In the reverse order of names, since the last is taken first.
    fn into_work(mut self, dir: &Arc<OwnedFd>, below: &[u8], depth: usize) -> Vec<Work> {
        self.directories.sort_unstable_by(|one, other| other.cmp(one));
        self.files.sort_unstable();
        let below_all: Arc<[u8]> = below.into();
        let entered = self.directories.into_iter().map(|name| Work::Enter {
            parent: Arc::clone(dir),
            below: joined(below, name.to_bytes()),
            name,
            depth: depth + 1,
        });
        let read = self.files.chunks(FILES_AT_ONCE).rev().map(|names| Work::Files {
            dir: Arc::clone(dir),
            below: Arc::clone(&below_all),
            names: names.to_vec(),
        });
        entered.chain(read).collect()
    }
}

fn joined(below: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = Vec::with_capacity(below.len() + 1 + name.len());
    path.extend_from_slice(below);
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}

/// What an entry is; `None` when it has vanished. Few file systems do not tell it with the name.
fn kind_of(dir: &OwnedFd, name: &CStr, told: FileType) -> Result<Option<Kind>, WorkspaceError> {
    if told != FileType::Unknown {
        return Ok(Some(Kind::from_type(told)));
    }
    Ok(stat_child(dir, name)?.map(|stat| Kind::of(&stat)))
}
