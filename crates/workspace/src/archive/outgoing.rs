//! From the workspace into an archive.

use std::cell::Cell;
use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;

use flate2::Compression;
use flate2::write::GzEncoder;
use rustix::fs::{Stat, fstat, readlinkat};
use tar::{Builder, EntryType, Header};

use super::{ArchiveError, ArchiveFormat, ArchiveSummary, SkipReason};
use crate::confine::{self, CONTENT, DIRECTORY, Links};
use crate::copy::{Limits, is_change};
use crate::entry::{self, Kind, MODE_BITS};
use crate::error::{Limit, WorkspaceError};
use crate::path::WorkspacePath;
use crate::read::{check_file, open_child_file};
use crate::walk::{Entered, Step, Walk};
use crate::workspace::Workspace;

/// Room for a name in a tar header; longer ones take a member of their own.
const NAME_BYTES_MAX: usize = 100;

impl Workspace {
    /// Writes a directory's content, or one file, as an archive.
    ///
    /// The order is that of the names' bytes, and neither owners nor access times are told, so the
    /// same files give the same bytes. Links are archived as links. Special files are skipped. A
    /// file that changes while it is read is cut or filled with zeros to the size that was told
    /// first.
    ///
    /// # Errors
    ///
    /// [`ArchiveError::OverLimit`] when the tree is larger than `limits`, possibly after much was
    /// written; [`ArchiveError::Unwritable`] when `to` fails; [`ArchiveError::Workspace`] when
    /// `path` cannot be read. What was written by then is no complete archive.
    pub fn archive_out(
        &self,
        path: &WorkspacePath,
        format: ArchiveFormat,
        to: impl Write,
        limits: &Limits,
    ) -> Result<ArchiveSummary, ArchiveError> {
        // Before the first byte, so that a missing directory is an error and no archive.
        let start = confine::open(&self.inner.root, path.as_str(), CONTENT, Links::Follow)
            .map_err(WorkspaceError::from)?;
        write(format, to, limits, Content::Tree { path, start })
    }

    /// Writes some regular files of a directory as an archive, by their paths from it on and in
    /// their order. One that has vanished, is no file any more, or has grown beyond `limits` is
    /// skipped.
    ///
    /// # Errors
    ///
    /// [`ArchiveError::Unwritable`] when `to` fails; [`ArchiveError::Workspace`] when there is no
    /// such directory.
    pub fn archive_files_out(
        &self,
        dir: &WorkspacePath,
        files: &[WorkspacePath],
        format: ArchiveFormat,
        to: impl Write,
        limits: &Limits,
    ) -> Result<ArchiveSummary, ArchiveError> {
        let dir = confine::open(&self.inner.root, dir.as_str(), DIRECTORY, Links::Follow)
            .map_err(WorkspaceError::from)?;
        write(format, to, limits, Content::Files { dir, files })
    }
}

/// What goes into an archive.
enum Content<'a> {
    /// All that is in a directory, or one file.
    Tree { path: &'a WorkspacePath, start: OwnedFd },
    /// These files of a directory.
    Files { dir: OwnedFd, files: &'a [WorkspacePath] },
}

fn write(
    format: ArchiveFormat,
    to: impl Write,
    limits: &Limits,
    content: Content<'_>,
) -> Result<ArchiveSummary, ArchiveError> {
    let is_open = Cell::new(true);
    let to = Valve { to, is_open: &is_open };
    match format {
        ArchiveFormat::Tar => Ok(pack(content, to, limits, &is_open)?.0),
        ArchiveFormat::TarGz => {
            let gzip = GzEncoder::new(to, Compression::fast());
            let (summary, gzip) = pack(content, gzip, limits, &is_open)?;
            gzip.finish().and_then(|mut to| to.flush()).map_err(ArchiveError::Unwritable)?;
            Ok(summary)
        }
    }
}

fn pack<W: Write>(
    content: Content<'_>,
    to: W,
    limits: &Limits,
    is_open: &Cell<bool>,
) -> Result<(ArchiveSummary, W), ArchiveError> {
    let mut packer = Packer { tar: Builder::new(to), limits, summary: ArchiveSummary::default() };
    let packed = match content {
        Content::Tree { path, start } => packer.start(path, start),
        Content::Files { dir, files } => packer.files(&dir, files),
    };
    if let Err(error) = packed {
        // Dropping the writers would end the archive as if it were complete.
        is_open.set(false);
        return Err(error);
    }
    let Packer { tar, summary, .. } = packer;
    let mut to = tar.into_inner().map_err(ArchiveError::Unwritable)?;
    to.flush().map_err(ArchiveError::Unwritable)?;
    Ok((summary, to))
}

/// Lets nothing through after a failure.
struct Valve<'v, W> {
    to: W,
    is_open: &'v Cell<bool>,
}

impl<W: Write> Write for Valve<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_open.get() {
            self.to.write(bytes)
        } else {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.is_open.get() { self.to.flush() } else { Ok(()) }
    }
}

struct Packer<'a, W: Write> {
    tar: Builder<W>,
    limits: &'a Limits,
    summary: ArchiveSummary,
}

impl<W: Write> Packer<'_, W> {
    fn start(&mut self, path: &WorkspacePath, start: OwnedFd) -> Result<(), ArchiveError> {
        let stat = fstat(&start).map_err(WorkspaceError::from)?;
        if Kind::of(&stat) == Kind::Directory {
            return self.tree(start);
        }
        let stat = check_file(&start)?;
        self.file(path.name().unwrap_or("").as_bytes(), start, &stat)
    }

    fn files(&mut self, dir: &OwnedFd, files: &[WorkspacePath]) -> Result<(), ArchiveError> {
        for path in files {
            let opened = confine::open(dir, path.as_str(), CONTENT, Links::Refuse);
            let checked = opened.map_err(WorkspaceError::from).and_then(|file| {
                let stat = check_file(&file)?;
                Ok((file, stat))
            });
            match checked.map(|(file, stat)| self.file(path.as_str().as_bytes(), file, &stat)) {
                Ok(Err(ArchiveError::OverLimit { .. })) | Err(_) => {
                    self.summary.skip(path.as_str().as_bytes(), SkipReason::Changed);
                }
                Ok(written) => written?,
            }
        }
        Ok(())
    }

    fn tree(&mut self, start: OwnedFd) -> Result<(), ArchiveError> {
        let mut walk = Walk::new(start, self.limits.entries_max)?;
        loop {
            if walk.is_cut() {
                return Err(over(Limit::Entries, self.limits.entries_max as u64));
            }
            let Some(step) = walk.next()? else { break };
            match self.step(&mut walk, &step) {
                Err(ArchiveError::Workspace(error)) if is_change(&error) => {
                    self.summary.skip(&step.path, SkipReason::Changed);
                }
                outcome => outcome?,
            }
        }
        Ok(())
    }

    fn step(&mut self, walk: &mut Walk, step: &Step) -> Result<(), ArchiveError> {
        match step.kind() {
            Kind::Directory => self.directory(walk, step),
            Kind::File => {
                let (file, stat) = open_child_file(walk.dir()?, &step.name)?;
                self.file(&step.path, file, &stat)
            }
            Kind::Symlink => self.link(walk.dir()?, &step.name, step),
            Kind::Other => {
                self.summary.skip(&step.path, SkipReason::Special);
                Ok(())
            }
        }
    }

    fn directory(&mut self, walk: &mut Walk, step: &Step) -> Result<(), ArchiveError> {
        match walk.enter(step)? {
            Entered::Yes => {}
            Entered::TooDeep => self.summary.skip(&step.path, SkipReason::TooDeep),
            Entered::Gone | Entered::Unreadable => {
                self.summary.skip(&step.path, SkipReason::Changed);
                return Ok(());
            }
        }
        let name = [step.path.as_slice(), b"/"].concat();
        self.member(&name, b"", header(&step.stat, EntryType::Directory, 0), io::empty())?;
        self.summary.directories += 1;
        Ok(())
    }

    fn file(&mut self, path: &[u8], file: OwnedFd, stat: &Stat) -> Result<(), ArchiveError> {
        let size = entry::size(stat);
        if size > self.limits.bytes_max - self.summary.bytes {
            return Err(over(Limit::Bytes, self.limits.bytes_max));
        }
        let content = Exactly { file: File::from(file), left: size };
        self.member(path, b"", header(stat, EntryType::Regular, size), content)?;
        self.summary.files += 1;
        self.summary.bytes += size;
        Ok(())
    }

    fn link(&mut self, dir: &OwnedFd, name: &CStr, step: &Step) -> Result<(), ArchiveError> {
        // `EINVAL`: it is no link any more.
        let Ok(target) = readlinkat(dir, name, Vec::new()) else {
            self.summary.skip(&step.path, SkipReason::Changed);
            return Ok(());
        };
        self.member(
            &step.path,
            target.to_bytes(),
            header(&step.stat, EntryType::Symlink, 0),
            io::empty(),
        )?;
        self.summary.links += 1;
        Ok(())
    }

    /// Writes one member, its name and link target byte for byte. `Builder::append_link` would
    /// normalise the target, and `Builder::append_data` refuses names that a hostile tree can have.
    fn member(
        &mut self,
        name: &[u8],
        target: &[u8],
        mut header: Header,
        content: impl Read,
    ) -> Result<(), ArchiveError> {
        let name_start = self.long(name, EntryType::GNULongName)?;
        let target_start = self.long(target, EntryType::GNULongLink)?;
        let fields = header.as_old_mut();
        fields.name[..name_start.len()].copy_from_slice(name_start);
        fields.linkname[..target_start.len()].copy_from_slice(target_start);
        header.set_cksum();
        self.tar.append(&header, content).map_err(ArchiveError::Unwritable)
    }

    /// Returns what of `text` fits into a header, after it wrote all of it as a member of its own
    /// where that is too little.
    fn long<'t>(&mut self, text: &'t [u8], kind: EntryType) -> Result<&'t [u8], ArchiveError> {
        if text.len() <= NAME_BYTES_MAX {
            return Ok(text);
        }
        let mut header = Header::new_gnu();
        let name = b"././@LongLink";
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header.set_entry_type(kind);
        header.set_mode(0);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        // The text and a zero.
        header.set_size(text.len() as u64 + 1);
        header.set_cksum();
        self.tar.append(&header, text.chain(&b"\0"[..])).map_err(ArchiveError::Unwritable)?;
        Ok(&text[..NAME_BYTES_MAX])
    }
}

fn header(stat: &Stat, kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(stat.st_mode & MODE_BITS);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(entry::modified_seconds(stat));
    header.set_size(size);
    header
}

fn over(what: Limit, max: u64) -> ArchiveError {
    ArchiveError::OverLimit { what, max }
}

/// Gives as many bytes as the header has promised, whatever becomes of the file.
struct Exactly {
    file: File,
    left: u64,
}

impl Read for Exactly {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let wanted = into.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let into = &mut into[..wanted];
        let mut read = self.file.read(into)?;
        if read == 0 {
            // It shrank.
            into.fill(0);
            read = wanted;
        }
        self.left -= read as u64;
        Ok(read)
    }
}
