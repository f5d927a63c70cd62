//! The only place that turns a name into a descriptor.
//!
//! Code in the sandbox can replace any directory by a link at any moment, so no check of a path
//! says anything about the next use of that path. Instead every lookup is one `openat2` that the
//! kernel keeps beneath the directory it starts from, and everything after the lookup works on the
//! descriptor, or on the descriptor and one component.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, Stat, openat2, statat};
use rustix::io::Errno;

use crate::path::BadPath;

/// How often a lookup is repeated that the kernel could not finish because the tree changed under
/// it.
pub(crate) const TRIES_MAX: u32 = 128;

/// A directory, to read it, work in it and fsync it.
pub(crate) const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// A file's content. A fifo does not block and a terminal is not acquired; the caller checks that
/// it is a file.
pub(crate) const CONTENT: OFlags =
    OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// Whatever is there, a link included, without opening it.
pub(crate) const LOOK: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// What a lookup does with symbolic links. None leads out of the directory that the lookup starts
/// from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Links {
    /// Relative links are followed as long as they stay inside.
    Follow,
    /// Any link on the way ends the lookup.
    Refuse,
}

/// Opens `path` beneath `dir`; an empty path is `dir` itself.
///
/// Mounts are never crossed either: what is mounted inside a workspace is not the workspace.
pub(crate) fn open(
    dir: impl AsFd,
    path: &str,
    flags: OFlags,
    links: Links,
) -> Result<OwnedFd, Errno> {
    let path = if path.is_empty() { "." } else { path };
    let path = CString::new(path).map_err(|_| Errno::INVAL)?;
    open_raw(dir, &path, flags, links)
}

/// Opens one entry of `dir`, never through a link.
pub(crate) fn open_child(dir: impl AsFd, name: &CStr, flags: OFlags) -> Result<OwnedFd, Errno> {
    open_raw(dir, name, flags.union(OFlags::NOFOLLOW), Links::Refuse)
}

fn open_raw(dir: impl AsFd, path: &CStr, flags: OFlags, links: Links) -> Result<OwnedFd, Errno> {
    let mut resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    if links == Links::Refuse {
        resolve |= ResolveFlags::NO_SYMLINKS;
    }
    for _ in 0..TRIES_MAX {
        match openat2(&dir, path, flags, Mode::empty(), resolve) {
            // A rename raced with a `..` in a link, or somebody holds a lease on the file.
            Err(Errno::AGAIN) => std::thread::yield_now(),
            Err(Errno::INTR) => {}
            outcome => return outcome,
        }
    }
    Err(Errno::AGAIN)
}

/// Where one name lives: the descriptor of a directory and a single component.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) dir: OwnedFd,
    pub(crate) name: CString,
}

impl Place {
    /// What is there, links not followed; `None` when nothing is.
    pub(crate) fn stat(&self) -> Result<Option<Stat>, Errno> {
        stat_child(&self.dir, &self.name)
    }
}

/// What `name` in `dir` is, links not followed; `None` when nothing is there.
pub(crate) fn stat_child(dir: impl AsFd, name: &CStr) -> Result<Option<Stat>, Errno> {
    match statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// One component as the kernel takes it.
pub(crate) fn component(name: &str) -> Result<CString, BadPath> {
    CString::new(name).map_err(|_| BadPath::Nul)
}
