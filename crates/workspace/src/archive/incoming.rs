//! From an archive into the workspace.

use std::ffi::CString;
use std::io::{self, Cursor, Read, Write};
use std::os::fd::OwnedFd;

use flate2::read::MultiGzDecoder;
use rustix::fs::{Timespec, Timestamps, UTIME_OMIT, futimens, symlinkat};
use tar::{Archive, Entry, EntryType};

use super::gauge::{Gauge, Packed, Unpacked};
use super::{ArchiveError, ArchiveFormat, ArchiveSummary, ExtractOptions, SkipReason};
use crate::confine::{Place, component};
use crate::copy::Limits;
use crate::entry::Kind;
use crate::error::{Limit, WorkspaceError};
use crate::path::{PATH_BYTES_MAX, WorkspacePath};
use crate::staging::{Leftover, Staged};
use crate::workspace::{DIRECTORY_MODE_MIN, Existing, Parents, Workspace};

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

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
            summary: ArchiveSummary::default(),
        };
        let reader =
            unpacked(from, options.format, &gauge).map_err(|error| gauge.explain(error))?;
        let mut archive = Archive::new(Unpacked { reader, gauge: &gauge });
        unpacker.members(&mut archive)?;
        // What follows the end mark counts for nothing, but only after it gzip tells whether all
        // was right.
        gauge.content();
        io::copy(&mut archive.into_inner(), &mut io::sink())
            .map_err(|error| gauge.explain(error))?;
        let summary = unpacker.summary;
        self.settle_all()?;
        Ok(summary)
    }
}

/// The plain tar in what the client sends.
fn unpacked<'a>(
    from: impl Read + 'a,
    format: Option<ArchiveFormat>,
    gauge: &'a Gauge,
) -> io::Result<Box<dyn Read + 'a>> {
    let mut from = Packed { reader: from, gauge };
    let mut magic = Vec::with_capacity(GZIP_MAGIC.len());
    from.by_ref().take(GZIP_MAGIC.len() as u64).read_to_end(&mut magic)?;
    let told = if magic == GZIP_MAGIC { ArchiveFormat::TarGz } else { ArchiveFormat::Tar };
    let from = Cursor::new(magic).chain(from);
    Ok(match format.unwrap_or(told) {
        ArchiveFormat::Tar => Box::new(from),
        // Parallel compressors write many gzip streams one after the other.
        ArchiveFormat::TarGz => Box::new(MultiGzDecoder::new(from)),
    })
}

struct Unpacker<'a> {
    workspace: &'a Workspace,
    /// The directory that everything goes below.
    base: OwnedFd,
    into: &'a WorkspacePath,
    options: &'a ExtractOptions,
    gauge: &'a Gauge,
    summary: ArchiveSummary,
}

/// What became of one member.
enum Outcome {
    Done,
    Skip(SkipReason),
}

impl Unpacker<'_> {
    fn members<R: Read>(&mut self, archive: &mut Archive<R>) -> Result<(), ArchiveError> {
        let mut left = self.options.limits;
        let mut members = archive.entries().map_err(|error| self.gauge.explain(error))?;
        loop {
            self.gauge.header();
            let Some(member) = members.next() else { break };
            let mut member = member.map_err(|error| self.gauge.explain(error))?;
            self.gauge.content();
            self.spend(&mut left, member.size())?;
            if let Outcome::Skip(why) = self.member(&mut member)? {
                self.summary.skip(&member.path_bytes(), why);
            }
            // Here, because what the next call has to skip would count as its header.
            io::copy(&mut member, &mut io::sink()).map_err(|error| self.gauge.explain(error))?;
        }
        Ok(())
    }

    /// Counts a member, before it is known whether it is taken: holes in a sparse file cost work
    /// even where it is skipped.
    fn spend(&self, left: &mut Limits, bytes: u64) -> Result<(), ArchiveError> {
        let Limits { bytes_max, entries_max } = self.options.limits;
        let over = |what, max| ArchiveError::OverLimit { what, max };
        left.entries_max =
            left.entries_max.checked_sub(1).ok_or(over(Limit::Entries, entries_max as u64))?;
        left.bytes_max = left.bytes_max.checked_sub(bytes).ok_or(over(Limit::Bytes, bytes_max))?;
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

    fn directory<R: Read>(
        &mut self,
        member: &Entry<'_, R>,
        path: &WorkspacePath,
    ) -> Result<Outcome, ArchiveError> {
        if path.is_root() {
            return Ok(Outcome::Done);
        }
        let place = self.place(path)?;
        let mode = member.header().mode().map_err(ArchiveError::Unreadable)? | DIRECTORY_MODE_MIN;
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
        let mode = member.header().mode().map_err(ArchiveError::Unreadable)?;
        let mut staged = self.workspace.stage(size)?.with_mode(mode);
        self.fill(member, &mut staged)?;
        set_modified(&staged, member.header().mtime().unwrap_or(0))?;
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
        let full = self.into.join(path).map_err(WorkspaceError::from)?;
        let target = member.link_name_bytes().unwrap_or_default();
        let target = match CString::new(target.into_owned()) {
            Ok(target) if stays_inside(&full, target.to_bytes()) => target,
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
