//! Files on their way into a workspace.
//!
//! Whatever appears in a workspace is first made in the staging directory, where code in the
//! sandbox cannot reach it, and given its owner and mode there. One rename then shows it, whole or
//! not at all.

mod pace;

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{Mode, OFlags, RenameFlags, fstat, openat, renameat, renameat_with};
use rustix::io::Errno;

use crate::confine::{self, LOOK, Links, Place, stat_child};
use crate::entry::{Entry, Etag, Kind};
use crate::error::{Limit, WorkspaceError};
use crate::path::WorkspacePath;
use crate::remove::dispose;
use crate::walk::read_names;
use crate::workspace::{Existing, Inner, Parents, Workspace};

use pace::Pace;

/// Mode of a file that replaces none.
const FILE_MODE: u32 = 0o644;

/// Most leftovers that one sweep looks at; the next sweep goes on.
const SWEEP_MAX: usize = 100_000;

/// What must hold about a path before it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// Nothing: `PUT` without condition.
    None,
    /// What a read would show has this tag: `If-Match: "..."`.
    IfMatch(Etag),
    /// Something is there: `If-Match: *`.
    IfMatchAny,
    /// Nothing is there: `If-None-Match: *`. The kernel decides, so no race gets past this.
    IfNoneMatchAny,
}

/// A file that is being written and is in no workspace yet. Dropped, it is gone.
#[derive(Debug)]
pub struct Staged {
    file: File,
    leftover: Leftover,
    mode: Option<u32>,
    bytes: u64,
    bytes_max: u64,
    pace: Pace,
}

impl Staged {
    /// The permission bits it shall have, instead of those of the file it replaces.
    #[must_use]
    pub fn with_mode(mut self, mode: u32) -> Self {
        self.mode = Some(mode);
        self
    }

    /// How many bytes were written.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }
}

impl Write for Staged {
    /// Fails for the byte after `bytes_max` with an error that `WorkspaceError::from` turns into
    /// [`WorkspaceError::OverLimit`].
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() as u64 > self.bytes_max - self.bytes {
            return Err(WorkspaceError::over(Limit::Bytes, self.bytes_max).into());
        }
        let written = self.pace.write(&self.file, self.bytes, bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Workspace {
    /// Starts a file of at most `bytes_max` bytes. It is in no workspace before
    /// [`Workspace::commit`].
    ///
    /// # Errors
    ///
    /// [`WorkspaceError::NoSpace`] or [`WorkspaceError::Io`].
    pub fn stage(&self, bytes_max: u64) -> Result<Staged, WorkspaceError> {
        let leftover = Leftover::new(&self.inner);
        let file = File::from(new_file(&self.inner.staging, leftover.name())?);
        Ok(Staged { file, leftover, mode: None, bytes: 0, bytes_max, pace: Pace::default() })
    }

    /// Makes a staged file appear at `path`, in one step.
    ///
    /// It replaces a file, a link (not what the link points to) or a special file. The mode is that
    /// of the file it replaces, else 0644.
    ///
    /// # Errors
    ///
    /// [`WorkspaceError::PreconditionFailed`]; [`WorkspaceError::NotAFile`] when a directory is
    /// there; [`WorkspaceError::NotFound`], [`WorkspaceError::NotADirectory`] or
    /// [`WorkspaceError::Escapes`] when the parents are not as they should be. The staged file is
    /// gone in any case.
    pub fn commit(
        &self,
        mut staged: Staged,
        path: &WorkspacePath,
        condition: &Precondition,
        parents: Parents,
    ) -> Result<Entry, WorkspaceError> {
        let place = self.place_for(path, condition, parents)?;
        let found = place.stat()?;
        self.check(path, &place, condition)?;
        let kept = found.filter(|stat| Kind::of(stat) == Kind::File).map(|stat| stat.st_mode);
        staged.mode = staged.mode.or(kept);
        let existing = match condition {
            Precondition::IfNoneMatchAny => Existing::Keep,
            Precondition::None | Precondition::IfMatch(_) | Precondition::IfMatchAny => {
                Existing::Replace
            }
        };
        match self.put(staged, &place, existing) {
            Err(WorkspaceError::Exists) => {
                let actual = place.stat()?.map(|stat| Etag::of(&stat));
                Err(WorkspaceError::PreconditionFailed { actual })
            }
            outcome => outcome,
        }
    }

    /// Gives a staged file its owner and mode, and makes it appear.
    pub(crate) fn put(
        &self,
        staged: Staged,
        place: &Place,
        existing: Existing,
    ) -> Result<Entry, WorkspaceError> {
        let file = OwnedFd::from(staged.file);
        self.give(&file, staged.mode.unwrap_or(FILE_MODE))?;
        self.settle(&file)?;
        staged.leftover.put(&place.dir, &place.name, existing)?;
        self.settle(&place.dir)?;
        // After the rename, which changes ctime and so the tag.
        Ok(Entry::new(place.name.to_bytes(), &fstat(&file)?))
    }

    /// Finds the place of a file to write, making no directories for a condition that they would
    /// fail.
    fn place_for(
        &self,
        path: &WorkspacePath,
        condition: &Precondition,
        parents: Parents,
    ) -> Result<Place, WorkspaceError> {
        match condition {
            Precondition::None | Precondition::IfNoneMatchAny => self.place(path, parents),
            Precondition::IfMatch(_) | Precondition::IfMatchAny => {
                match self.place(path, Parents::Require) {
                    Err(WorkspaceError::NotFound) => {
                        Err(WorkspaceError::PreconditionFailed { actual: None })
                    }
                    outcome => outcome,
                }
            }
        }
    }

    fn check(
        &self,
        path: &WorkspacePath,
        place: &Place,
        condition: &Precondition,
    ) -> Result<(), WorkspaceError> {
        if *condition == Precondition::None {
            return Ok(());
        }
        let actual = self.etag_as_read(path, place)?;
        let holds = match condition {
            Precondition::None => true,
            Precondition::IfMatch(expected) => actual.as_ref() == Some(expected),
            Precondition::IfMatchAny => actual.is_some(),
            Precondition::IfNoneMatchAny => actual.is_none(),
        };
        if holds { Ok(()) } else { Err(WorkspaceError::PreconditionFailed { actual }) }
    }

    /// The tag that a read of `path` would show: through a link, because a client has seen no
    /// other.
    fn etag_as_read(
        &self,
        path: &WorkspacePath,
        place: &Place,
    ) -> Result<Option<Etag>, WorkspaceError> {
        let Some(stat) = place.stat()? else {
            return Ok(None);
        };
        if Kind::of(&stat) == Kind::Symlink {
            let through = LOOK.difference(OFlags::NOFOLLOW);
            if let Ok(target) =
                confine::open(&self.inner.root, path.as_str(), through, Links::Follow)
            {
                return Ok(Some(Etag::of(&fstat(&target)?)));
            }
        }
        Ok(Some(Etag::of(&stat)))
    }

    /// Removes what crashes have left in the staging directory, if nothing has touched it for
    /// `older_than`.
    ///
    /// Files that are being uploaded are in there too, so `older_than` is longer than an upload can
    /// pause. Returns how many leftovers are gone. Bounded: what a call does not reach, a later one does.
    ///
    /// # Errors
    ///
    /// [`WorkspaceError::Io`] when the staging directory cannot be read. A leftover that cannot be
    /// removed stays.
    pub fn sweep_staging(&self, older_than: Duration) -> Result<usize, WorkspaceError> {
        let staging = &self.inner.staging;
        let dir = confine::open(staging, "", confine::DIRECTORY, Links::Refuse)?;
        let (names, _) = read_names(&dir, SWEEP_MAX)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut swept = 0;
        for name in names {
            let Some(stat) = stat_child(staging, &name)? else {
                continue;
            };
            // ctime: a rename and every write set it to now, and no program can set it otherwise.
            let changed = u64::try_from(stat.st_ctime).unwrap_or(0);
            let old = now.saturating_sub(changed) >= older_than.as_secs();
            if old && dispose(&self.inner, &name).is_ok() {
                swept += 1;
            }
        }
        Ok(swept)
    }
}

/// Makes a file that only the server can read, and that did not exist.
pub(crate) fn new_file(dir: &OwnedFd, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(dir, name, flags, Mode::RUSR | Mode::WUSR)
}

/// A name in the staging directory, and the promise that nothing stays behind there.
#[derive(Debug)]
pub(crate) struct Leftover {
    inner: Arc<Inner>,
    name: CString,
    moved: bool,
}

impl Leftover {
    pub(crate) fn new(inner: &Arc<Inner>) -> Self {
        Self { inner: Arc::clone(inner), name: fresh_name(), moved: false }
    }

    pub(crate) fn name(&self) -> &CStr {
        &self.name
    }

    /// Moves it to where it belongs.
    pub(crate) fn put(
        mut self,
        dir: &OwnedFd,
        name: &CStr,
        existing: Existing,
    ) -> Result<(), WorkspaceError> {
        rename(&self.inner.staging, &self.name, dir, name, existing)?;
        self.moved = true;
        Ok(())
    }
}

impl Drop for Leftover {
    fn drop(&mut self) {
        if !self.moved {
            // A failure leaves it to the sweep.
            let _ = dispose(&self.inner, &self.name);
        }
    }
}

/// A name that nothing in the staging directory has.
pub(crate) fn fresh_name() -> CString {
    CString::new(format!("{:032x}", rand::random::<u128>()))
        .expect("hexadecimal digits have no NUL")
}

/// Moves one component of a directory to one of another.
pub(crate) fn rename(
    from_dir: &OwnedFd,
    from: &CStr,
    to_dir: &OwnedFd,
    to: &CStr,
    existing: Existing,
) -> Result<(), WorkspaceError> {
    let outcome = match existing {
        Existing::Replace => renameat(from_dir, from, to_dir, to),
        Existing::Keep => renameat_with(from_dir, from, to_dir, to, RenameFlags::NOREPLACE),
    };
    match outcome {
        // Not an escape: source and target are on different file systems or in different quotas.
        Err(Errno::XDEV) => Err(WorkspaceError::Io(Errno::XDEV.into())),
        outcome => Ok(outcome?),
    }
}
