//! Removing: at once for everybody who looks, piece by piece behind the scenes.
//!
//! A directory first leaves the workspace by one rename into the staging directory. What is slow
//! about removing it then happens where no new path leads. Code in the sandbox can still hold
//! descriptors of it and go on making trouble in there, so every loop is bounded, and what
//! withstands is left to the sweep.
//!
//! A process in the sandbox whose working directory was buried that way cannot climb out through
//! `..`: the kernel refuses `..` in a directory that is no longer beneath its bind mount. This holds
//! because the sandbox sees the workspace through a bind mount, never as a whole file system.

use std::ffi::{CStr, CString};
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{AtFlags, Mode, SeekFrom, fchmod, renameat, seek, unlinkat};
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::confine::{DIRECTORY, open_child};
use crate::error::{Limit, WorkspaceError};
use crate::path::WorkspacePath;
use crate::staging::{Leftover, fresh_name};
use crate::walk::for_each_name;
use crate::workspace::{Existing, Inner, Parents, Workspace};

/// Levels held open at a time. What is nested deeper is hoisted into the staging directory and
/// removed from there, so neither descriptors nor the stack grow with the depth of a tree.
const LEVELS_MAX: usize = 32;

/// How often one directory is read again because something was still in it.
const PASSES_MAX: u32 = 16;

/// Most entries that one removal deals with. Code in the sandbox can make files as fast as they are
/// removed.
const ENTRIES_MAX: u64 = 10_000_000;

/// Most names of directories that are noted in one pass over the directory that they are in.
const FULL_MAX: usize = 1024;

/// Whether a directory goes with its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recursive {
    /// A directory goes with everything in it. Links in it go, what they point to stays.
    Yes,
    /// A directory goes only when it is empty.
    No,
}

impl Workspace {
    /// Removes a file, a link, a special file or a directory.
    ///
    /// With [`Recursive::Yes`] a directory disappears in one step, however large it is; this
    /// returns when its space is free again, or is left to [`Workspace::sweep_staging`].
    ///
    /// # Errors
    ///
    /// [`WorkspaceError::NotFound`], [`WorkspaceError::NotADirectory`],
    /// [`WorkspaceError::NotEmpty`], [`WorkspaceError::Escapes`].
    pub fn remove(&self, path: &WorkspacePath, recursive: Recursive) -> Result<(), WorkspaceError> {
        let place = self.place(path, Parents::Require)?;
        match unlinkat(&place.dir, &place.name, AtFlags::empty()) {
            Err(Errno::ISDIR) => {}
            outcome => {
                outcome?;
                return self.settle(&place.dir);
            }
        }
        if recursive == Recursive::No {
            unlinkat(&place.dir, &place.name, AtFlags::REMOVEDIR)?;
            return self.settle(&place.dir);
        }
        let grave = self.bury(&place.dir, &place.name)?;
        self.settle(&place.dir)?;
        // It is gone from the workspace, which is what was asked for. The rest is a matter for the
        // sweep.
        drop(grave);
        Ok(())
    }

    /// Moves something out of the workspace, to be removed when the result is dropped.
    fn bury(&self, dir: &OwnedFd, name: &CStr) -> Result<Leftover, WorkspaceError> {
        make_removable(dir, name);
        let grave = Leftover::new(&self.inner);
        crate::staging::rename(dir, name, &self.inner.staging, grave.name(), Existing::Keep)?;
        Ok(grave)
    }
}

/// Removes one entry of the staging directory with everything in it. Nothing there is fine.
pub(crate) fn dispose(inner: &Arc<Inner>, name: &CStr) -> Result<(), WorkspaceError> {
    let mut removal = Removal {
        staging: &inner.staging,
        graves: vec![name.to_owned()],
        entries_left: ENTRIES_MAX,
    };
    while let Some(grave) = removal.graves.pop() {
        removal.empty(&grave)?;
    }
    Ok(())
}

struct Removal<'a> {
    staging: &'a OwnedFd,
    /// Names in the staging directory that are still to be removed.
    graves: Vec<CString>,
    entries_left: u64,
}

/// A directory that is being emptied.
struct Level {
    dir: OwnedFd,
    /// What it is called in the directory above.
    name: CString,
    /// Directories in it that are not empty.
    full: Vec<CString>,
    passes_left: u32,
}

impl Removal<'_> {
    /// Removes one grave; what is too deep in it becomes a grave of its own.
    fn empty(&mut self, grave: &CStr) -> Result<(), WorkspaceError> {
        let mut levels = Vec::from_iter(remove_or_open(self.staging, grave)?);
        while let Some(mut level) = levels.pop() {
            if let Some(name) = level.full.pop() {
                if levels.len() + 1 >= LEVELS_MAX {
                    self.hoist(&level.dir, &name)?;
                    levels.push(level);
                } else {
                    let below = remove_or_open(&level.dir, &name)?;
                    levels.push(level);
                    levels.extend(below);
                }
                continue;
            }
            let above = levels.last().map_or(self.staging, |level| &level.dir);
            match unlinkat(above, &level.name, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(Errno::NOTEMPTY | Errno::EXIST) => {
                    self.clear(&mut level)?;
                    levels.push(level);
                }
                // Code in the sandbox has put something else there.
                Err(Errno::NOTDIR) => return Err(WorkspaceError::Busy),
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    /// Removes what it can from one directory, and notes the directories in it that are not empty.
    fn clear(&mut self, level: &mut Level) -> Result<(), WorkspaceError> {
        level.passes_left = level.passes_left.checked_sub(1).ok_or(WorkspaceError::Busy)?;
        seek(&level.dir, SeekFrom::Start(0))?;
        for_each_name(&level.dir, |name| {
            self.entries_left = self
                .entries_left
                .checked_sub(1)
                .ok_or(WorkspaceError::over(Limit::Entries, ENTRIES_MAX))?;
            if is_full_directory(&level.dir, name)? {
                level.full.push(name.to_owned());
            }
            if level.full.len() < FULL_MAX {
                return Ok(ControlFlow::Continue(()));
            }
            // An honest directory can be this large, so the next pass is free; `entries_left`
            // bounds the rest.
            level.passes_left += 1;
            Ok(ControlFlow::Break(()))
        })
    }

    fn hoist(&mut self, dir: &OwnedFd, name: &CStr) -> Result<(), WorkspaceError> {
        make_removable(dir, name);
        let grave = fresh_name();
        match renameat(dir, name, self.staging, &grave) {
            Ok(()) => self.graves.push(grave),
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno.into()),
        }
        Ok(())
    }
}

/// Removes a file or an empty directory; opens a directory with content.
fn remove_or_open(dir: &OwnedFd, name: &CStr) -> Result<Option<Level>, WorkspaceError> {
    if !is_full_directory(dir, name)? {
        return Ok(None);
    }
    make_removable(dir, name);
    match open_child(dir, name, DIRECTORY) {
        Ok(dir) => Ok(Some(Level {
            dir,
            name: name.to_owned(),
            full: Vec::new(),
            passes_left: PASSES_MAX,
        })),
        // It changed since. Whatever it is now, the next pass over its directory meets it.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Removes anything but a directory with content, and tells whether it is one.
fn is_full_directory(dir: &OwnedFd, name: &CStr) -> Result<bool, WorkspaceError> {
    match unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(false),
        Err(Errno::ISDIR) => {}
        Err(errno) => return Err(errno.into()),
    }
    match unlinkat(dir, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(false),
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(true),
        // It was replaced in between; the next pass meets what is there now.
        Err(Errno::NOTDIR) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// A server without privileges needs write permission to empty a directory of its own user, or to
/// move it.
fn make_removable(dir: &OwnedFd, name: &CStr) {
    if geteuid().is_root() {
        return;
    }
    if let Ok(dir) = open_child(dir, name, DIRECTORY) {
        // Where this fails, the removal says so.
        let _ = fchmod(&dir, Mode::RWXU);
    }
}
