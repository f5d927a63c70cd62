//! Reading: what is there, and its bytes.

use std::collections::BinaryHeap;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;

use rustix::fs::{Stat, fstat};

use crate::confine::{self, CONTENT, DIRECTORY, LOOK, Links, stat_child};
use crate::entry::{Entry, Kind, lossy};
use crate::error::{Limit, WorkspaceError};
use crate::path::WorkspacePath;
use crate::walk::for_each_name;
use crate::workspace::Workspace;

/// Most names that listing one directory looks at, however few it returns.
const NAMES_MAX: u64 = 1_000_000;

/// Which part of a directory to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListOptions {
    /// At most so many entries.
    pub limit: usize,
    /// Only names after this one, in the order of their bytes.
    pub after_name: Option<String>,
}

/// A part of a directory, ordered by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The entries. Links are listed, not followed.
    pub entries: Vec<Entry>,
    /// There are names after the last one.
    pub more: bool,
}

impl Workspace {
    /// Tells what is at `path`. A link in the last place is told as a link.
    ///
    /// # Errors
    ///
    /// [`WorkspaceError::NotFound`], [`WorkspaceError::NotADirectory`],
    /// [`WorkspaceError::Escapes`].
    pub fn stat(&self, path: &WorkspacePath) -> Result<Entry, WorkspaceError> {
        let found = confine::open(&self.inner.root, path.as_str(), LOOK, Links::Follow)?;
        let entry = Entry::new(path.name().unwrap_or("").as_bytes(), &fstat(&found)?);
        // The descriptor is the link's own, so its target belongs to what was just told.
        Ok(entry.with_target(&found, c""))
    }

    /// Whether a directory is at `path`; a link is followed as long as it stays inside.
    #[must_use]
    pub fn is_directory(&self, path: &WorkspacePath) -> bool {
        confine::open(&self.inner.root, path.as_str(), DIRECTORY, Links::Follow).is_ok()
    }

    /// Opens a regular file to read it. Links are followed as long as they stay in the workspace.
    ///
    /// The file can shrink or grow while it is read: `size` is a promise of nobody.
    ///
    /// # Errors
    ///
    /// [`WorkspaceError::NotFound`], [`WorkspaceError::NotAFile`], [`WorkspaceError::Escapes`];
    /// [`WorkspaceError::Busy`] when code in the sandbox holds a lease on the file.
    pub fn open_file(&self, path: &WorkspacePath) -> Result<(File, Entry), WorkspaceError> {
        let opened = confine::open(&self.inner.root, path.as_str(), CONTENT, Links::Follow)?;
        let stat = check_file(&opened)?;
        Ok((File::from(opened), Entry::new(path.name().unwrap_or("").as_bytes(), &stat)))
    }

    /// As [`Workspace::open_file`], but what the workspace's owner has closed to itself is
    /// refused, as it is in the sandbox.
    ///
    /// # Errors
    ///
    /// As [`Workspace::open_file`], and [`WorkspaceError::Io`] for what is closed.
    pub fn open_file_as_owner(
        &self,
        path: &WorkspacePath,
    ) -> Result<(File, Entry), WorkspaceError> {
        const READ: u32 = 0o400;
        let opened = confine::open(&self.inner.root, path.as_str(), CONTENT, Links::Follow)?;
        let stat = check_file(&opened)?;
        if stat.st_uid == self.inner.owner.uid && stat.st_mode & READ == 0 {
            return Err(WorkspaceError::Io(std::io::ErrorKind::PermissionDenied.into()));
        }
        Ok((File::from(opened), Entry::new(path.name().unwrap_or("").as_bytes(), &stat)))
    }

    /// Lists a directory, ordered by name.
    ///
    /// Names that are not UTF-8 are ordered by their lossy form.
    ///
    /// # Errors
    ///
    /// [`WorkspaceError::NotFound`], [`WorkspaceError::NotADirectory`],
    /// [`WorkspaceError::Escapes`]; [`WorkspaceError::OverLimit`] for a directory of more than a
    /// million names.
    pub fn list(
        &self,
        path: &WorkspacePath,
        options: &ListOptions,
    ) -> Result<Listing, WorkspaceError> {
        let dir = confine::open(&self.inner.root, path.as_str(), DIRECTORY, Links::Follow)?;
        let (names, more) = first_names(&dir, options)?;
        let mut entries = Vec::with_capacity(names.len());
        for name in names {
            // What has vanished since is not there.
            if let Some(stat) = stat_child(&dir, &name)? {
                entries.push(Entry::new(name.to_bytes(), &stat).with_target(&dir, &name));
            }
        }
        Ok(Listing { entries, more })
    }
}

/// Opens one entry of a directory as a regular file, never through a link.
pub(crate) fn open_child_file(
    dir: &OwnedFd,
    name: &CStr,
) -> Result<(OwnedFd, Stat), WorkspaceError> {
    let file = confine::open_child(dir, name, CONTENT)?;
    let stat = check_file(&file)?;
    Ok((file, stat))
}

/// What an open descriptor is, provided it is a regular file.
pub(crate) fn check_file(opened: &OwnedFd) -> Result<Stat, WorkspaceError> {
    let stat = fstat(opened)?;
    let found = Kind::of(&stat);
    if found != Kind::File {
        return Err(WorkspaceError::NotAFile { found });
    }
    Ok(stat)
}

/// The names to list in order, and whether there are more. Memory is bounded by the limit, not by
/// the directory.
fn first_names(
    dir: &OwnedFd,
    options: &ListOptions,
) -> Result<(Vec<CString>, bool), WorkspaceError> {
    let mut first: BinaryHeap<(String, CString)> = BinaryHeap::new();
    let mut more = false;
    let mut seen = 0;
    for_each_name(dir, |name| {
        seen += 1;
        if seen > NAMES_MAX {
            return Err(WorkspaceError::over(Limit::Entries, NAMES_MAX));
        }
        let (text, _) = lossy(name.to_bytes());
        if options.after_name.as_ref().is_some_and(|after| text <= *after) {
            return Ok(ControlFlow::Continue(()));
        }
        first.push((text, name.to_owned()));
        if first.len() > options.limit {
            first.pop();
            more = true;
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok((first.into_sorted_vec().into_iter().map(|(_, name)| name).collect(), more))
}
