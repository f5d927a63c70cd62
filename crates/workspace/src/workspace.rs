//! The workspace: two directories held open, and who owns what is made in them.

use std::ffi::CStr;
use std::fs::DirBuilder;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{
    self, AtFlags, CWD, Gid, Mode, OFlags, Uid, fchmod, fchown, fstat, fsync, openat, syncfs,
};
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::confine::{self, DIRECTORY, Links, Place, TRIES_MAX, component};
use crate::entry::{Kind, MODE_BITS};
use crate::error::WorkspaceError;
use crate::path::{BadPath, WorkspacePath};
use crate::staging::Leftover;

/// Mode of directories that are made on the way.
const DIRECTORY_MODE: u32 = 0o755;

/// What the owner may always do with a directory that a copy or an archive makes, so that a server
/// without privileges can fill it.
pub(crate) const DIRECTORY_MODE_MIN: u32 = 0o700;

/// Who owns everything that is made in a workspace: the ids that the sandbox runs as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The user id, as the host sees it.
    pub uid: u32,
    /// The group id, as the host sees it.
    pub gid: u32,
}

/// What happens to parents that are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parents {
    /// They are made, owned by the [`Owner`], with mode 0755.
    Create,
    /// They must be there.
    Require,
}

/// What happens to something of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// A file, a link, a special file or an empty directory is replaced, in one step; a directory
    /// with content never is.
    Replace,
    /// It stays, and the operation is refused. The kernel decides, so no race gets past this.
    Keep,
}

/// When a change is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Durability {
    /// Before the operation returns.
    Sync,
    /// After the next [`Workspace::sync`].
    Batched,
}

/// The files of one project. Clones are cheap and share the descriptors.
///
/// Every method blocks on the disk: async callers clone the workspace into `spawn_blocking`.
/// Methods take `&self` and may run at the same time; each is atomic for readers, while checks that
/// precede a write (preconditions, kept modes) guard only against other writers of this type that
/// the caller lets run one after another.
#[derive(Clone, Debug)]
pub struct Workspace {
    pub(crate) inner: Arc<Inner>,
    durability: Durability,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) root: OwnedFd,
    /// Beside the workspace, on its file system, and out of the sandbox's reach: everything is made
    /// ready here and appears in the workspace by one rename.
    pub(crate) staging: OwnedFd,
    pub(crate) owner: Owner,
}

impl Workspace {
    /// Opens a workspace and its staging directory.
    ///
    /// The two must be on one file system, in one mount and in one disk quota, so that a rename
    /// leads from one to the other, and `staging` must not be inside `dir`.
    ///
    /// # Errors
    ///
    /// [`WorkspaceError::NotFound`], [`WorkspaceError::NotADirectory`] or [`WorkspaceError::Io`]
    /// when a directory cannot be opened, or when they are on different file systems.
    pub fn open(dir: &Path, staging: &Path, owner: Owner) -> Result<Self, WorkspaceError> {
        let open = |path: &Path| openat(CWD, path, DIRECTORY | OFlags::NOFOLLOW, Mode::empty());
        let (root, staging) = (open(dir)?, open(staging)?);
        if fstat(&root)?.st_dev != fstat(&staging)?.st_dev {
            return Err(WorkspaceError::Io(Errno::XDEV.into()));
        }
        let inner = Arc::new(Inner { root, staging, owner });
        Ok(Self { inner, durability: Durability::Sync })
    }

    /// Makes both directories where they are missing, gives the workspace to its owner, and opens
    /// them.
    ///
    /// Both are mode 0700 when they are made: nobody else on the host has business there, and the
    /// owner may open up its own directory. The staging directory stays the server's.
    ///
    /// # Errors
    ///
    /// Those of [`Workspace::open`], and [`WorkspaceError::Io`] when a directory cannot be made.
    pub fn create(dir: &Path, staging: &Path, owner: Owner) -> Result<Self, WorkspaceError> {
        for path in [dir, staging] {
            DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        }
        let workspace = Self::open(dir, staging, owner)?;
        workspace.chown(&workspace.inner.root)?;
        fsync(&workspace.inner.root)?;
        Ok(workspace)
    }

    /// The same workspace, whose writes are on disk only after [`Workspace::sync`]. For many writes
    /// at a time.
    #[must_use]
    pub fn batched(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), durability: Durability::Batched }
    }

    /// Writes everything to disk. This flushes the whole file system, so it ends a batch, not each
    /// write.
    ///
    /// # Errors
    ///
    /// [`WorkspaceError::NoSpace`] or [`WorkspaceError::Io`] when the disk fails.
    pub fn sync(&self) -> Result<(), WorkspaceError> {
        Ok(syncfs(&self.inner.root)?)
    }

    /// Makes a directory. One that is there already is fine with [`Parents::Create`] and refused
    /// otherwise.
    ///
    /// # Errors
    ///
    /// [`WorkspaceError::Exists`], [`WorkspaceError::NotFound`] when a parent is missing,
    /// [`WorkspaceError::NotADirectory`] when a file is in the way, [`WorkspaceError::Escapes`]
    /// when a link is.
    pub fn mkdir(&self, path: &WorkspacePath, parents: Parents) -> Result<(), WorkspaceError> {
        if parents == Parents::Create {
            self.directory(path, Parents::Create)?;
            return Ok(());
        }
        let place = self.place(path, parents)?;
        self.make_directory(&place.dir, &place.name, DIRECTORY_MODE)?;
        Ok(())
    }

    /// Gives a file or directory other permissions. Only the bits of `0o777` count.
    ///
    /// # Errors
    ///
    /// [`WorkspaceError::NotFound`], [`WorkspaceError::NotAFile`] for links and special files.
    pub fn set_mode(&self, path: &WorkspacePath, mode: u32) -> Result<(), WorkspaceError> {
        if path.is_root() {
            return Err(BadPath::Root.into());
        }
        let flags = confine::CONTENT | OFlags::NOFOLLOW;
        let target = match confine::open(&self.inner.root, path.as_str(), flags, Links::Follow) {
            // Without following, a link in the last place ends the lookup like one that leaves the
            // tree.
            Err(Errno::LOOP) => return Err(self.refuse_link(path)),
            outcome => outcome?,
        };
        let found = Kind::of(&fstat(&target)?);
        if !matches!(found, Kind::File | Kind::Directory) {
            return Err(WorkspaceError::NotAFile { found });
        }
        fchmod(&target, Mode::from_raw_mode(mode & MODE_BITS))?;
        self.settle(&target)
    }

    fn refuse_link(&self, path: &WorkspacePath) -> WorkspaceError {
        match self.stat(path) {
            Ok(entry) if entry.kind == Kind::Symlink => {
                WorkspaceError::NotAFile { found: entry.kind }
            }
            _ => WorkspaceError::Escapes,
        }
    }

    /// Where `path` lives: its parent's descriptor and its last component. Links in the parents are
    /// followed inside the workspace.
    pub(crate) fn place(
        &self,
        path: &WorkspacePath,
        parents: Parents,
    ) -> Result<Place, WorkspaceError> {
        let (Some(parent), Some(name)) = (path.parent(), path.name()) else {
            return Err(BadPath::Root.into());
        };
        Ok(Place { dir: self.directory(&parent, parents)?, name: component(name)? })
    }

    /// Opens a directory, making what is missing of it.
    pub(crate) fn directory(
        &self,
        path: &WorkspacePath,
        parents: Parents,
    ) -> Result<OwnedFd, WorkspaceError> {
        let root = &self.inner.root;
        match confine::open(root, path.as_str(), DIRECTORY, Links::Follow) {
            Err(Errno::NOENT) if parents == Parents::Create => {}
            outcome => return Ok(outcome?),
        }
        let mut there = path.clone();
        let base = loop {
            there = there.parent().ok_or(WorkspaceError::NotFound)?;
            match confine::open(root, there.as_str(), DIRECTORY, Links::Follow) {
                Err(Errno::NOENT) => {}
                outcome => break outcome?,
            }
        };
        self.directory_in(base, path.components().skip(there.components().count()))
    }

    /// Opens a directory beneath another, making what is missing of it and following no link.
    pub(crate) fn directory_below(
        &self,
        base: &OwnedFd,
        path: &WorkspacePath,
    ) -> Result<OwnedFd, WorkspaceError> {
        match confine::open(base, path.as_str(), DIRECTORY, Links::Refuse) {
            Err(Errno::NOENT) => {}
            outcome => return Ok(outcome?),
        }
        self.directory_in(confine::open(base, "", DIRECTORY, Links::Refuse)?, path.components())
    }

    /// Goes down from `base`, making what is missing and following no link.
    fn directory_in<'a>(
        &self,
        base: OwnedFd,
        components: impl Iterator<Item = &'a str>,
    ) -> Result<OwnedFd, WorkspaceError> {
        let mut dir = base;
        for name in components {
            dir = self.enter_or_make(&dir, &component(name)?)?;
        }
        Ok(dir)
    }

    fn enter_or_make(&self, dir: &OwnedFd, name: &CStr) -> Result<OwnedFd, WorkspaceError> {
        for _ in 0..TRIES_MAX {
            match confine::open_child(dir, name, DIRECTORY) {
                Err(Errno::NOENT) => {}
                outcome => return Ok(outcome?),
            }
            match self.make_directory(dir, name, DIRECTORY_MODE) {
                // Somebody else made it, or a link that leads nowhere: opening it tells.
                Err(WorkspaceError::Exists) => {}
                outcome => return outcome,
            }
        }
        Err(WorkspaceError::Busy)
    }

    /// Makes a directory that is whole when it appears, and never replaces anything.
    pub(crate) fn make_directory(
        &self,
        dir: &OwnedFd,
        name: &CStr,
        mode: u32,
    ) -> Result<OwnedFd, WorkspaceError> {
        let leftover = Leftover::new(&self.inner);
        fs::mkdirat(&self.inner.staging, leftover.name(), Mode::RWXU)?;
        let made = confine::open_child(&self.inner.staging, leftover.name(), DIRECTORY)?;
        self.give(&made, mode)?;
        leftover.put(dir, name, Existing::Keep)?;
        self.settle(dir)?;
        Ok(made)
    }

    /// Sets owner and mode of something that was made in the staging directory.
    pub(crate) fn give(&self, made: &OwnedFd, mode: u32) -> Result<(), WorkspaceError> {
        self.chown(made)?;
        // Explicitly, because the server's umask and a change of owner both take bits away.
        Ok(fchmod(made, Mode::from_raw_mode(mode & MODE_BITS))?)
    }

    fn chown(&self, made: &OwnedFd) -> Result<(), WorkspaceError> {
        let Owner { uid, gid } = self.inner.owner;
        unprivileged_may_fail(fchown(made, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))))
    }

    /// Like [`Workspace::give`] for a link in the staging directory, which has no descriptor.
    pub(crate) fn give_link(&self, dir: impl AsFd, name: &CStr) -> Result<(), WorkspaceError> {
        let Owner { uid, gid } = self.inner.owner;
        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        unprivileged_may_fail(fs::chownat(dir, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW))
    }

    /// Puts one file's content, or one directory's names, on disk, unless a batch does it later.
    pub(crate) fn settle(&self, changed: impl AsFd) -> Result<(), WorkspaceError> {
        if self.durability == Durability::Sync {
            fsync(changed)?;
        }
        Ok(())
    }

    /// Like [`Workspace::settle`], for more than a descriptor reaches.
    pub(crate) fn settle_all(&self) -> Result<(), WorkspaceError> {
        if self.durability == Durability::Sync {
            self.sync()?;
        }
        Ok(())
    }
}

/// A server without privileges runs its sandboxes as itself, so the owner is right without a
/// change.
fn unprivileged_may_fail(outcome: Result<(), Errno>) -> Result<(), WorkspaceError> {
    match outcome {
        Err(Errno::PERM) if !geteuid().is_root() => Ok(()),
        outcome => Ok(outcome?),
    }
}
