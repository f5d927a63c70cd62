//! Walking a tree by descriptors.
//!
//! A step opens one component of a directory that is already open, so nothing that code in the
//! sandbox does to the tree leads a walk out of it. Links are met, never followed.

use std::ffi::{CStr, CString};
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;

use rustix::fs::{FileType, RawDir, Stat};
use rustix::io::Errno;

use crate::confine::{DIRECTORY, open_child, stat_child};
use crate::entry::Kind;
use crate::error::WorkspaceError;
use crate::path::COMPONENTS_MAX;

/// Deepest level of any walk: what no path can name need not be walked, and a level costs a
/// descriptor.
pub(crate) const DEPTH_MAX: usize = COMPONENTS_MAX;

/// Room for the names of one `getdents64`; the longest takes 280 bytes.
const NAMES_BUFFER_BYTES: usize = 32 * 1024;

/// What a walk meets: one entry, as it was a moment ago.
pub(crate) struct Step {
    pub(crate) name: CString,
    /// Names from the start on, joined by slashes.
    pub(crate) path: Vec<u8>,
    pub(crate) stat: Stat,
    /// 1 for the start's own entries.
    pub(crate) depth: usize,
}

impl Step {
    pub(crate) fn kind(&self) -> Kind {
        Kind::of(&self.stat)
    }
}

/// What became of the wish to enter a directory.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entered {
    Yes,
    /// It vanished, or was replaced by something that is no directory of this tree.
    Gone,
    /// It is at [`DEPTH_MAX`].
    TooDeep,
    /// A server without privileges cannot read every directory of its own user.
    Unreadable,
}

/// A depth-first walk in the order of the names' bytes. It meets a directory before its content,
/// and meets the content only if the directory is entered.
pub(crate) struct Walk {
    levels: Vec<Level>,
    path: Vec<u8>,
    entries_left: usize,
    is_cut: bool,
}

struct Level {
    dir: OwnedFd,
    names: std::vec::IntoIter<CString>,
    path_bytes: usize,
}

impl Walk {
    /// A walk that meets at most `entries_max` entries, which also bounds the names held in memory.
    pub(crate) fn new(start: OwnedFd, entries_max: usize) -> Result<Self, WorkspaceError> {
        let mut walk =
            Self { levels: Vec::new(), path: Vec::new(), entries_left: entries_max, is_cut: false };
        walk.push(start)?;
        Ok(walk)
    }

    /// The next entry, or `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Step>, WorkspaceError> {
        while let Some(level) = self.levels.last_mut() {
            let Some(name) = level.names.next() else {
                self.levels.pop();
                continue;
            };
            if let Some(stat) = stat_child(&level.dir, &name)? {
                return Ok(Some(self.step(name, stat)));
            }
        }
        Ok(None)
    }

    /// The directory that the latest step is an entry of, until that step is entered.
    pub(crate) fn dir(&self) -> Result<&OwnedFd, WorkspaceError> {
        self.levels.last().map(|level| &level.dir).ok_or(WorkspaceError::NotFound)
    }

    /// Meets the content of the directory that was just met.
    pub(crate) fn enter(&mut self, step: &Step) -> Result<Entered, WorkspaceError> {
        if step.depth >= DEPTH_MAX {
            return Ok(Entered::TooDeep);
        }
        match open_child(self.dir()?, &step.name, DIRECTORY) {
            Ok(dir) => self.push(dir).map(|()| Entered::Yes),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => Ok(Entered::Gone),
            Err(Errno::ACCESS) => Ok(Entered::Unreadable),
            Err(errno) => Err(errno.into()),
        }
    }

    /// There were more entries than the limit.
    pub(crate) fn is_cut(&self) -> bool {
        self.is_cut
    }

    fn step(&mut self, name: CString, stat: Stat) -> Step {
        let path_bytes = self.levels.last().map_or(0, |level| level.path_bytes);
        self.path.truncate(path_bytes);
        if !self.path.is_empty() {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(name.to_bytes());
        Step { name, path: self.path.clone(), stat, depth: self.levels.len() }
    }

    fn push(&mut self, dir: OwnedFd) -> Result<(), WorkspaceError> {
        let (mut names, is_cut) = read_names(&dir, self.entries_left)?;
        names.sort_unstable();
        self.entries_left -= names.len();
        self.is_cut |= is_cut;
        let path_bytes = self.path.len();
        self.levels.push(Level { dir, names: names.into_iter(), path_bytes });
        Ok(())
    }
}

/// The first `max` names of a directory in no order, and whether there are more.
pub(crate) fn read_names(
    dir: &OwnedFd,
    max: usize,
) -> Result<(Vec<CString>, bool), WorkspaceError> {
    let mut names = Vec::new();
    let mut is_cut = false;
    for_each_name(dir, |name| {
        if names.len() == max {
            is_cut = true;
            return Ok(ControlFlow::Break(()));
        }
        names.push(name.to_owned());
        Ok(ControlFlow::Continue(()))
    })?;
    Ok((names, is_cut))
}

/// Calls `each` with the names of a directory, from where its descriptor stands, in no order.
pub(crate) fn for_each_name(
    dir: &OwnedFd,
    mut each: impl FnMut(&CStr) -> Result<ControlFlow<()>, WorkspaceError>,
) -> Result<(), WorkspaceError> {
    for_each_entry(dir, |name, _| each(name))
}

/// As [`for_each_name`], with what the directory says each entry is; some file systems do not say.
pub(crate) fn for_each_entry(
    dir: &OwnedFd,
    mut each: impl FnMut(&CStr, FileType) -> Result<ControlFlow<()>, WorkspaceError>,
) -> Result<(), WorkspaceError> {
    let mut buffer = Vec::with_capacity(NAMES_BUFFER_BYTES);
    let mut entries = RawDir::new(dir, buffer.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        let entry = match entry {
            Ok(entry) => entry,
            // The directory itself was removed while it was read.
            Err(Errno::NOENT) => break,
            Err(errno) => return Err(errno.into()),
        };
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        if each(name, entry.file_type())?.is_break() {
            break;
        }
    }
    Ok(())
}
