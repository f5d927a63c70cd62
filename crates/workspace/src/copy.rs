//! Copying files and trees.
//!
//! The copy grows in the staging directory, where nothing can interfere, and appears by one rename.
//! Only the source is hostile.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags, Stat, fstat, mkdirat, readlinkat, symlinkat};
use rustix::io::Errno;

use crate::confine::{self, CONTENT, DIRECTORY, LOOK, Links, open_child};
use crate::entry::{self, Kind};
use crate::error::{Limit, WorkspaceError};
use crate::path::WorkspacePath;
use crate::read::{check_file, open_child_file};
use crate::staging::{Leftover, new_file};
use crate::walk::{Entered, Step, Walk};
use crate::workspace::{DIRECTORY_MODE_MIN, Existing, Parents, Workspace};

/// How much one operation on many files may handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of content in all.
    pub bytes_max: u64,
    /// Files, directories, links and the rest together.
    pub entries_max: usize,
}

/// What was copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Regular files.
    pub files: u64,
    /// Directories.
    pub directories: u64,
    /// Symbolic links, copied as links with the same target.
    pub links: u64,
    /// Bytes of content.
    pub bytes: u64,
    /// Fifos, sockets and devices, and what vanished or could not be read. They have no copy.
    pub skipped: u64,
}

impl Workspace {
    /// Copies a file, a link or a directory with everything in it. The copy appears in one step.
    ///
    /// # Errors
    ///
    /// [`WorkspaceError::OverLimit`], and then nothing is copied; [`WorkspaceError::NotAFile`] for
    /// a special file; else as [`Workspace::rename`].
    pub fn copy(
        &self,
        from: &WorkspacePath,
        to: &WorkspacePath,
        existing: Existing,
        limits: &Limits,
    ) -> Result<Copied, WorkspaceError> {
        if from.is_root() {
            return Err(crate::BadPath::Root.into());
        }
        let target = self.place(to, Parents::Require)?;
        if existing == Existing::Keep && target.stat()?.is_some() {
            // The rename refuses as well, but only after all the work.
            return Err(WorkspaceError::Exists);
        }
        let copy = Leftover::new(&self.inner);
        let mut copier = Copier { workspace: self, limits, copied: Copied::default() };
        copier.copy(from, copy.name())?;
        let copied = copier.copied;
        if copied.directories > 0 {
            // Many files at a time: one flush instead of one for each.
            self.settle_all()?;
        }
        copy.put(&target.dir, &target.name, existing)?;
        self.settle(&target.dir)?;
        Ok(copied)
    }
}

struct Copier<'a> {
    workspace: &'a Workspace,
    limits: &'a Limits,
    copied: Copied,
}

impl Copier<'_> {
    fn copy(&mut self, from: &WorkspacePath, name: &CStr) -> Result<(), WorkspaceError> {
        let root = &self.workspace.inner.root;
        let staging = &self.workspace.inner.staging;
        let source = confine::open(root, from.as_str(), LOOK, Links::Follow)?;
        let stat = fstat(&source)?;
        match Kind::of(&stat) {
            Kind::Symlink => self.link(&source, c"", staging, name),
            Kind::Directory => {
                let source = confine::open(
                    root,
                    from.as_str(),
                    DIRECTORY | OFlags::NOFOLLOW,
                    Links::Follow,
                )?;
                self.tree(source, name)
            }
            Kind::File => {
                let source =
                    confine::open(root, from.as_str(), CONTENT | OFlags::NOFOLLOW, Links::Follow)?;
                let stat = check_file(&source)?;
                self.file(source, &stat, staging, name)
            }
            found @ Kind::Other => Err(WorkspaceError::NotAFile { found }),
        }
    }

    fn tree(&mut self, source: OwnedFd, name: &CStr) -> Result<(), WorkspaceError> {
        // The directories of the copy that are being filled, one for each level.
        let mut filling =
            vec![self.directory(&fstat(&source)?, &self.workspace.inner.staging, name)?];
        let mut walk = Walk::new(source, self.limits.entries_max)?;
        while let Some(step) = walk.next()? {
            if walk.is_cut() {
                return Err(WorkspaceError::over(Limit::Entries, self.limits.entries_max as u64));
            }
            filling.truncate(step.depth);
            let Some(above) = filling.last() else { break };
            if let Some(below) = self.step(&mut walk, &step, above)? {
                filling.push(below);
            }
        }
        if walk.is_cut() {
            return Err(WorkspaceError::over(Limit::Entries, self.limits.entries_max as u64));
        }
        Ok(())
    }

    /// Copies one entry; returns the directory that its content goes to.
    fn step(
        &mut self,
        walk: &mut Walk,
        step: &Step,
        above: &OwnedFd,
    ) -> Result<Option<OwnedFd>, WorkspaceError> {
        let outcome = match step.kind() {
            Kind::Directory => return self.enter(walk, step, above),
            Kind::File => open_child_file(walk.dir()?, &step.name)
                .and_then(|(file, stat)| self.file(file, &stat, above, &step.name)),
            Kind::Symlink => self.link(walk.dir()?, &step.name, above, &step.name),
            found @ Kind::Other => Err(WorkspaceError::NotAFile { found }),
        };
        match outcome {
            Err(error) if is_change(&error) => self.copied.skipped += 1,
            outcome => outcome?,
        }
        Ok(None)
    }

    fn enter(
        &mut self,
        walk: &mut Walk,
        step: &Step,
        above: &OwnedFd,
    ) -> Result<Option<OwnedFd>, WorkspaceError> {
        match walk.enter(step)? {
            Entered::Yes => self.directory(&step.stat, above, &step.name).map(Some),
            Entered::TooDeep => {
                Err(WorkspaceError::over(Limit::Depth, crate::walk::DEPTH_MAX as u64))
            }
            Entered::Gone | Entered::Unreadable => {
                self.copied.skipped += 1;
                Ok(None)
            }
        }
    }

    fn directory(
        &mut self,
        stat: &Stat,
        above: &OwnedFd,
        name: &CStr,
    ) -> Result<OwnedFd, WorkspaceError> {
        mkdirat(above, name, Mode::RWXU)?;
        self.copied.directories += 1;
        let made = open_child(above, name, DIRECTORY)?;
        self.workspace.give(&made, stat.st_mode | DIRECTORY_MODE_MIN)?;
        Ok(made)
    }

    fn file(
        &mut self,
        source: OwnedFd,
        stat: &Stat,
        above: &OwnedFd,
        name: &CStr,
    ) -> Result<(), WorkspaceError> {
        let left = self.limits.bytes_max - self.copied.bytes;
        if entry::size(stat) > left {
            return Err(WorkspaceError::over(Limit::Bytes, self.limits.bytes_max));
        }
        let mut target = File::from(new_file(above, name)?);
        // One byte more than allowed tells a file that grew from one that fits.
        let bytes = io::copy(&mut File::from(source).take(left.saturating_add(1)), &mut target)?;
        if bytes > left {
            return Err(WorkspaceError::over(Limit::Bytes, self.limits.bytes_max));
        }
        let target = OwnedFd::from(target);
        self.workspace.give(&target, stat.st_mode)?;
        self.copied.bytes += bytes;
        self.copied.files += 1;
        if self.copied.directories == 0 {
            self.workspace.settle(&target)?;
        }
        Ok(())
    }

    fn link(
        &mut self,
        dir: &OwnedFd,
        from: &CStr,
        above: &OwnedFd,
        name: &CStr,
    ) -> Result<(), WorkspaceError> {
        let target = match readlinkat(dir, from, Vec::new()) {
            // It is no link any more.
            Err(Errno::INVAL) => return Err(WorkspaceError::NotFound),
            outcome => outcome?,
        };
        symlinkat(&target, above, name)?;
        self.workspace.give_link(above, name)?;
        self.copied.links += 1;
        Ok(())
    }
}

/// The source is not, or no longer, what can be copied: it changed during the walk, is special, or
/// cannot be read.
pub(crate) fn is_change(error: &WorkspaceError) -> bool {
    match error {
        WorkspaceError::NotFound
        | WorkspaceError::NotAFile { .. }
        | WorkspaceError::NotADirectory
        | WorkspaceError::Escapes
        | WorkspaceError::Busy => true,
        WorkspaceError::Io(error) => error.kind() == io::ErrorKind::PermissionDenied,
        WorkspaceError::BadPath(_)
        | WorkspaceError::Exists
        | WorkspaceError::NotEmpty
        | WorkspaceError::PreconditionFailed { .. }
        | WorkspaceError::OverLimit { .. }
        | WorkspaceError::NoSpace => false,
    }
}
