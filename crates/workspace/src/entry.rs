//! What is known about one thing in a workspace.

use std::ffi::CStr;
use std::fmt;
use std::os::fd::AsFd;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{FileType, Stat, readlinkat};

/// 9999-12-31T23:59:59Z. Code in the sandbox can set any time; later ones have no RFC 3339 form.
const SECONDS_MAX: u64 = 253_402_300_799;

/// The bits of a mode that are ever set or told. No set-user-id, no set-group-id, no sticky bit.
pub(crate) const MODE_BITS: u32 = 0o777;

/// What something is. Links are links, wherever they point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A fifo, a socket or a device.
    Other,
}

impl Kind {
    pub(crate) fn of(stat: &Stat) -> Kind {
        Self::from_type(FileType::from_raw_mode(stat.st_mode))
    }

    pub(crate) fn from_type(file_type: FileType) -> Kind {
        match file_type {
            FileType::RegularFile => Kind::File,
            FileType::Directory => Kind::Directory,
            FileType::Symlink => Kind::Symlink,
            FileType::Fifo
            | FileType::Socket
            | FileType::CharacterDevice
            | FileType::BlockDevice
            | FileType::Unknown => Kind::Other,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Kind::File => "file",
            Kind::Directory => "directory",
            Kind::Symlink => "symbolic link",
            Kind::Other => "special file",
        })
    }
}

/// An entity tag without its quotes. It changes whenever the file does, and guards one client
/// against another.
///
/// Against code in the sandbox it is advisory: that can write after any check.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Etag(String);

impl Etag {
    /// An entity tag as a client sent it, without quotes. Any text is fine: a wrong one merely
    /// never matches.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text between the quotes: lower-case hexadecimal digits and `-`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn of(stat: &Stat) -> Self {
        // ctime is in it because code in the sandbox can set mtime back; the inode because a rename
        // keeps both.
        Self(format!(
            "{:x}-{:x}-{:x}.{:x}-{:x}.{:x}",
            stat.st_ino,
            stat.st_size,
            stat.st_mtime,
            stat.st_mtime_nsec,
            stat.st_ctime,
            stat.st_ctime_nsec
        ))
    }
}

impl fmt::Display for Etag {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// One file, directory, link or special file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The last component; empty for the workspace itself.
    pub name: String,
    /// The name on disk is not UTF-8, and `name` only resembles it. Such an entry cannot be
    /// addressed.
    pub name_is_lossy: bool,
    /// What it is.
    pub kind: Kind,
    /// Bytes of content; for a link the length of its target.
    pub size: u64,
    /// Permission bits, at most `0o777`.
    pub mode: u32,
    /// When the content last changed, as the sandbox tells it; between 1970 and 9999.
    pub modified: SystemTime,
    /// The entity tag.
    pub etag: Etag,
    /// Where a link points, word for word but for bytes that are not UTF-8. Never resolved.
    pub link_target: Option<String>,
}

impl Entry {
    pub(crate) fn new(name: &[u8], stat: &Stat) -> Self {
        let (name, name_is_lossy) = lossy(name);
        Self {
            name,
            name_is_lossy,
            kind: Kind::of(stat),
            size: size(stat),
            mode: stat.st_mode & MODE_BITS,
            modified: modified(stat),
            etag: Etag::of(stat),
            link_target: None,
        }
    }

    /// Fills in where a link points, if it is still a link.
    pub(crate) fn with_target(mut self, dir: impl AsFd, name: &CStr) -> Self {
        if self.kind == Kind::Symlink {
            self.link_target =
                readlinkat(dir, name, Vec::new()).ok().map(|target| lossy(target.to_bytes()).0);
        }
        self
    }
}

/// The text of a name on disk, and whether it lost something.
pub(crate) fn lossy(name: &[u8]) -> (String, bool) {
    match String::from_utf8_lossy(name) {
        std::borrow::Cow::Borrowed(name) => (name.to_owned(), false),
        std::borrow::Cow::Owned(name) => (name, true),
    }
}

pub(crate) fn size(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

pub(crate) fn modified(stat: &Stat) -> SystemTime {
    let nanos = u32::try_from(stat.st_mtime_nsec).unwrap_or(0).min(999_999_999);
    UNIX_EPOCH + Duration::new(modified_seconds(stat), nanos)
}

/// Whole seconds since 1970, clamped so that every date can be written down.
pub(crate) fn modified_seconds(stat: &Stat) -> u64 {
    u64::try_from(stat.st_mtime).unwrap_or(0).min(SECONDS_MAX)
}
