//! From an archive into the workspace.

use std::collections::HashSet;
use std::ffi::CString;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;

use rustix::fs::{Timespec, Timestamps, UTIME_OMIT, futimens, symlinkat};
use rustix::io::Errno;
use tar::{Archive, Entry, EntryType};

use super::gauge::{Gauge, Unpacked};
use super::packing::unpacked;
use super::{ArchiveError, ArchiveSummary, ExtractOptions, Manner, SkipReason, check};
use crate::confine::{self, DIRECTORY, Links, Place, component};
use crate::entry::{Kind, MODE_BITS};
use crate::error::WorkspaceError;
use crate::path::{COMPONENTS_MAX, PATH_BYTES_MAX, WorkspacePath};
use crate::staging::{Leftover, Staged};
use crate::workspace::{DIRECTORY_MODE_MIN, Existing, Parents, Workspace};

/// Latest time that a member can set: the year 9999.
const MTIME_MAX: u64 = 253_402_300_799;

impl Workspace {
    /// Extracts an archive into a directory, which is made if it is missing.
    ///
    /// Each file appears in one step, and the whole is on disk when this returns. Files,
    /// directories and links that stay in the workspace are taken; everything else is skipped and
    /// told. A parent is never reached through a link, even one from the archive itself. Of the
    /// modes only the bits of `0o777` count.
    ///
    /// # Errors
    ///
    /// [`ArchiveError::Unreadable`], [`ArchiveError::OverLimit`], [`ArchiveError::Ratio`] or
    /// [`ArchiveError::Header`] when the archive is broken or a bomb; [`ArchiveError::Workspace`]
    /// when the workspace fails. What was extracted by then stays.
    pub fn archive_in(
        &self,
        from: impl Read,
        into: &WorkspacePath,
        options: &ExtractOptions,
    ) -> Result<ArchiveSummary, ArchiveError> {
        let batch = self.batched();
        let base = batch.directory(into, Parents::Create)?;
        let gauge = Gauge::new(options);
        let mut unpacker = Unpacker {
            workspace: &batch,
            base,
            into,
            options,
            gauge: &gauge,
            seen: HashSet::new(),
            hasher: RandomState::new(),
            summary: ArchiveSummary::default(),
        };
        let reader =
            unpacked(from, options.format, &gauge).map_err(|error| gauge.explain(error))?;
        let mut archive = Archive::new(Unpacked { reader, gauge: &gauge });
        check::members(&mut archive, options, &gauge, |member| unpacker.take(member))?;
        check::finish(archive, &gauge)?;
        let summary = unpacker.summary;
        self.settle_all()?;
        Ok(summary)
    }
}

struct Unpacker<'a> {
    workspace: &'a Workspace,
    /// The directory that everything goes below.
    base: OwnedFd,
    into: &'a WorkspacePath,
    options: &'a ExtractOptions,
    gauge: &'a Gauge,
    /// Hashes of the names that were taken, where only the first of a name is.
    seen: HashSet<u64>,
    hasher: RandomState,
    summary: ArchiveSummary,
}

/// What became of one member.
enum Outcome {
    Done,
    Skip(SkipReason),
}

impl Unpacker<'_> {
    fn take<R: Read>(&mut self, member: &mut Entry<'_, R>) -> Result<(), ArchiveError> {
        if let Outcome::Skip(why) = self.member(member)? {
            self.summary.skip(&member.path_bytes(), why);
        }
        Ok(())
    }

    fn member<R: Read>(&mut self, member: &mut Entry<'_, R>) -> Result<Outcome, ArchiveError> {
        let kind = member.header().entry_type();
        if kind.is_pax_global_extensions() {
            return Ok(Outcome::Done);
        }
        let bytes = member.path_bytes().into_owned();
        let path = match WorkspacePath::parse_member(&bytes)
            .and_then(|path| Ok((self.into.join(&path)?, path).1))
        {
            Ok(path) => path,
            Err(why) => return Ok(Outcome::Skip(SkipReason::BadName(why))),
        };
        if self.is_repeated(&path, kind) {
            return Ok(Outcome::Skip(SkipReason::Exists));
        }
        let is_directory = kind.is_dir() || (kind.is_file() && bytes.ends_with(b"/"));
        let outcome = if is_directory {
            self.directory(member, &path)
        } else if kind.is_symlink() {
            self.link(member, &path)
        } else if is_content(kind) {
            self.file(member, &path)
        } else {
            let why = if kind.is_hard_link() { SkipReason::HardLink } else { SkipReason::Special };
            return Ok(Outcome::Skip(why));
        };
        match outcome {
            Err(ArchiveError::Workspace(error)) => skip_or_fail(error),
            outcome => outcome,
        }
    }

    /// Whether a member of this name was there already, and is to stay. Directories are merged.
    fn is_repeated(&mut self, path: &WorkspacePath, kind: EntryType) -> bool {
        let is_only_once = self.options.manner == Manner::Uniform && !kind.is_dir();
        is_only_once && !self.seen.insert(self.hasher.hash_one(path))
    }

    fn mode<R: Read>(&self, member: &Entry<'_, R>) -> Result<u32, ArchiveError> {
        let mode = member.header().mode().map_err(ArchiveError::Unreadable)?;
        Ok(match self.options.manner {
            Manner::AsIs => mode,
            Manner::Uniform => uniform_mode(mode),
        })
    }

    fn directory<R: Read>(
        &mut self,
        member: &Entry<'_, R>,
        path: &WorkspacePath,
    ) -> Result<Outcome, ArchiveError> {
        if path.is_root() {
            return Ok(Outcome::Done);
        }
        let place = self.place(path)?;
        let mode = match self.options.manner {
            Manner::AsIs => self.mode(member)? | DIRECTORY_MODE_MIN,
            Manner::Uniform => uniform_mode(self.mode(member)? | DIRECTORY_MODE_MIN),
        };
        match self.workspace.make_directory(&place.dir, &place.name, mode) {
            Ok(_) => self.summary.directories += 1,
            // Merged, if it is a directory.
            Err(WorkspaceError::Exists) => match place.stat().map_err(WorkspaceError::from)? {
                Some(stat) if Kind::of(&stat) == Kind::Directory => self.summary.directories += 1,
                _ => return Ok(Outcome::Skip(SkipReason::Exists)),
            },
            Err(error) => return Err(error.into()),
        }
        Ok(Outcome::Done)
    }

    fn file<R: Read>(
        &mut self,
        member: &mut Entry<'_, R>,
        path: &WorkspacePath,
    ) -> Result<Outcome, ArchiveError> {
        if has_pax_sparse(member).map_err(ArchiveError::Unreadable)? {
            return Ok(Outcome::Skip(SkipReason::Sparse));
        }
        let place = self.place(path)?;
        if self.is_kept(&place)? {
            return Ok(Outcome::Skip(SkipReason::Exists));
        }
        let size = member.size();
        let mode = self.mode(member)?;
        let mut staged = self.workspace.stage(size)?.with_mode(mode);
        self.fill(member, &mut staged)?;
        let modified = match self.options.manner {
            Manner::AsIs => member.header().mtime().unwrap_or(0),
            Manner::Uniform => 0,
        };
        set_modified(&staged, modified)?;
        self.workspace.put(staged, &place, self.options.existing)?;
        self.summary.files += 1;
        self.summary.bytes += size;
        Ok(Outcome::Done)
    }

    /// Copies a member's content. By hand, because a failure to read is the archive's and one to
    /// write the workspace's.
    fn fill<R: Read>(
        &self,
        member: &mut Entry<'_, R>,
        staged: &mut Staged,
    ) -> Result<(), ArchiveError> {
        let mut buffer = [0; 16 * 1024];
        loop {
            let read = match member.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.gauge.explain(error)),
            };
            staged.write_all(&buffer[..read]).map_err(WorkspaceError::from)?;
        }
        if staged.bytes() != member.size() {
            return Err(ArchiveError::Unreadable(io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(())
    }

    fn link<R: Read>(
        &mut self,
        member: &Entry<'_, R>,
        path: &WorkspacePath,
    ) -> Result<Outcome, ArchiveError> {
        let target = member.link_name_bytes().unwrap_or_default();
        let target = match CString::new(target.into_owned()) {
            Ok(target) if self.may_point(path, target.to_bytes())? => target,
            _ => return Ok(Outcome::Skip(SkipReason::LinkLeaves)),
        };
        let place = self.place(path)?;
        if self.is_kept(&place)? {
            return Ok(Outcome::Skip(SkipReason::Exists));
        }
        let inner = &self.workspace.inner;
        let leftover = Leftover::new(inner);
        symlinkat(&target, &inner.staging, leftover.name()).map_err(WorkspaceError::from)?;
        self.workspace.give_link(&inner.staging, leftover.name())?;
        leftover.put(&place.dir, &place.name, self.options.existing)?;
        self.summary.links += 1;
        Ok(Outcome::Done)
    }

    fn may_point(&self, link: &WorkspacePath, target: &[u8]) -> Result<bool, WorkspaceError> {
        match self.options.manner {
            Manner::AsIs => Ok(stays_inside(&self.into.join(link)?, target)),
            Manner::Uniform if stays_inside(link, target) => {
                self.leads_through_no_link(link, target)
            }
            Manner::Uniform => Ok(false),
        }
    }

    /// Whether no directory on the way to a link's target is a link itself.
    fn leads_through_no_link(
        &self,
        link: &WorkspacePath,
        target: &[u8],
    ) -> Result<bool, WorkspaceError> {
        let Ok(target) = std::str::from_utf8(target) else { return Ok(false) };
        let mut here: Vec<&str> = link.components().collect();
        here.pop();
        let steps: Vec<&str> =
            target.split('/').filter(|step| !matches!(*step, "" | ".")).collect();
        if steps.len() > COMPONENTS_MAX {
            return Ok(false);
        }
        let Some((_, ways)) = steps.split_last() else { return Ok(true) };
        for step in ways {
            if *step == ".." {
                here.pop();
                continue;
            }
            here.push(step);
            let way = confine::open(&self.base, &here.join("/"), DIRECTORY, Links::Refuse);
            if matches!(way, Err(Errno::LOOP)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Where a member goes. Its parents are made where they are missing, and never reached through
    /// a link.
    fn place(&self, path: &WorkspacePath) -> Result<Place, WorkspaceError> {
        let (Some(parent), Some(name)) = (path.parent(), path.name()) else {
            return Err(crate::BadPath::Root.into());
        };
        let dir = self.workspace.directory_below(&self.base, &parent)?;
        Ok(Place { dir, name: component(name)? })
    }

    /// Whether something is in the way that stays. The rename decides; this spares the work before
    /// it.
    fn is_kept(&self, place: &Place) -> Result<bool, WorkspaceError> {
        let found = place.stat()?;
        Ok(found.is_some_and(|stat| {
            self.options.existing == Existing::Keep || Kind::of(&stat) == Kind::Directory
        }))
    }
}

fn is_content(kind: EntryType) -> bool {
    kind.is_file() || kind.is_contiguous() || kind.is_gnu_sparse()
}

/// The permission bits of a file whatever its maker's were: everybody can read it and its owner
/// can write it, what one can execute all can, and no bit is special.
#[must_use]
pub fn uniform_mode(mode: u32) -> u32 {
    const READ: u32 = 0o444;
    const OWNER_WRITES: u32 = 0o200;
    const EXECUTE: u32 = 0o111;
    let execute = if mode & EXECUTE == 0 { 0 } else { EXECUTE };
    (mode | READ | OWNER_WRITES | execute) & MODE_BITS
}

/// What the state of the workspace does to one member, without being a reason to end the
/// extraction.
fn skip_or_fail(error: WorkspaceError) -> Result<Outcome, ArchiveError> {
    match error {
        WorkspaceError::BadPath(why) => Ok(Outcome::Skip(SkipReason::BadName(why))),
        WorkspaceError::NotADirectory | WorkspaceError::Escapes => {
            Ok(Outcome::Skip(SkipReason::Blocked))
        }
        WorkspaceError::Exists | WorkspaceError::NotAFile { .. } | WorkspaceError::NotEmpty => {
            Ok(Outcome::Skip(SkipReason::Exists))
        }
        WorkspaceError::NotFound | WorkspaceError::Busy => Ok(Outcome::Skip(SkipReason::Changed)),
        error @ (WorkspaceError::PreconditionFailed { .. }
        | WorkspaceError::OverLimit { .. }
        | WorkspaceError::NoSpace
        | WorkspaceError::Io(_)) => Err(error.into()),
    }
}

/// Sparse files as newer tar programs write them: the map is in the attributes or in the content,
/// which is not the file.
fn has_pax_sparse<R: Read>(member: &mut Entry<'_, R>) -> io::Result<bool> {
    let Some(attributes) = member.pax_extensions()? else {
        return Ok(false);
    };
    for attribute in attributes {
        if attribute?.key_bytes().starts_with(b"GNU.sparse.") {
            return Ok(true);
        }
    }
    Ok(false)
}

fn set_modified(staged: &Staged, seconds: u64) -> Result<(), WorkspaceError> {
    let seconds = i64::try_from(seconds.min(MTIME_MAX)).unwrap_or(0);
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: seconds, tv_nsec: 0 },
    };
    Ok(futimens(staged.file(), &times)?)
}

/// Whether a link at `link` points into the workspace, as far as its text tells.
///
/// A courtesy: it keeps links out that would lead nowhere in another sandbox. No lookup of ours
/// relies on it.
fn stays_inside(link: &WorkspacePath, target: &[u8]) -> bool {
    if target.is_empty() || target.len() > PATH_BYTES_MAX || target.starts_with(b"/") {
        return false;
    }
    let mut depth = link.components().count() - 1;
    for component in target.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => match depth.checked_sub(1) {
                Some(above) => depth = above,
                None => return false,
            },
            _ => depth += 1,
        }
    }
    true
}
