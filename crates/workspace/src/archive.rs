//! Whole trees as one stream of bytes, in and out.
//!
//! Going out, the files are hostile: they change while they are read. Coming in, the archive is
//! hostile as well, so its names, links and sizes are claims to be checked, and what it writes is
//! confined like any other write.

mod check;
mod gauge;
mod incoming;
mod outgoing;
mod packing;

use std::fmt;
use std::io;

use crate::copy::Limits;
use crate::entry::lossy;
use crate::error::{Limit, WorkspaceError};
use crate::path::BadPath;
use crate::workspace::Existing;

pub use check::check_archive;
pub use incoming::uniform_mode;

/// Most skipped names that a summary tells. All are counted.
pub const SKIPPED_MAX: usize = 100;

/// Longest name that a summary tells, in characters.
const SKIPPED_NAME_CHARS_MAX: usize = 256;

/// How an archive is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArchiveFormat {
    /// Plain tar.
    Tar,
    /// Tar in gzip.
    TarGz,
}

/// How an archive is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtractOptions {
    /// The format, or `None` to tell it from the first bytes.
    pub format: Option<ArchiveFormat>,
    /// Bytes of content and number of members, skipped ones included.
    pub limits: Limits,
    /// How many times larger the tar may be than it is compressed. Archives of source code are at 3 to 20,
    /// zeros at 1000.
    pub ratio_max: u32,
    /// What happens to files and links of the same name; one that is kept is told as skipped.
    /// Directories are merged.
    pub existing: Existing,
    /// How members are taken.
    pub manner: Manner,
}

/// How the members of an archive are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// As they are. What cannot be taken is skipped.
    AsIs,
    /// As a tree that does not tell who packed it, and where, and when:
    ///
    /// - a name that is absolute or has a `..` ends the extraction;
    /// - of two members of one name the first is taken;
    /// - links stay inside of the directory that is extracted into, and lead through no other
    ///   link;
    /// - everybody can read what the owner can, the owner can write it, what one can execute all
    ///   can, and it was last changed in 1970.
    Uniform,
}

/// What went into an archive or came out of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArchiveSummary {
    /// Regular files.
    pub files: u64,
    /// Directories.
    pub directories: u64,
    /// Symbolic links.
    pub links: u64,
    /// Bytes of content.
    pub bytes: u64,
    /// The first [`SKIPPED_MAX`] of what was left out.
    pub skipped: Vec<Skipped>,
    /// How many were left out in all.
    pub skipped_total: u64,
}

/// Something that was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Its name, cut after 256 characters.
    pub name: String,
    /// Why.
    pub why: SkipReason,
}

/// Why something was left out of an archive or of what came out of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SkipReason {
    /// The name is not one that a workspace can have.
    BadName(BadPath),
    /// A symbolic link that is absolute, too long, or points out of the workspace.
    LinkLeaves,
    /// A hard link. It would tie files together that the archive cannot vouch for.
    HardLink,
    /// A fifo, a socket, a device, or a member of a kind that is not known.
    Special,
    /// A sparse file in a form that is not supported.
    Sparse,
    /// The way to it leads through something that is no directory, such as a link.
    Blocked,
    /// Something of that name exists and is to be kept, or is a directory.
    Exists,
    /// It is nested too deep.
    TooDeep,
    /// It vanished, changed its kind or could not be read.
    Changed,
}

impl fmt::Display for SkipReason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SkipReason::BadName(why) => why.fmt(out),
            SkipReason::LinkLeaves => out.write_str("link points out of the workspace"),
            SkipReason::HardLink => out.write_str("hard links are not supported"),
            SkipReason::Special => out.write_str("not a file, a directory or a symbolic link"),
            SkipReason::Sparse => out.write_str("this form of sparse file is not supported"),
            SkipReason::Blocked => out.write_str("a parent is not a directory"),
            SkipReason::Exists => out.write_str("something of that name exists"),
            SkipReason::TooDeep => out.write_str("nested too deep"),
            SkipReason::Changed => out.write_str("vanished, changed or could not be read"),
        }
    }
}

/// Why an archive could not be written or read to its end.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The bytes are no archive, are cut short, or could not be received.
    #[error("archive cannot be read")]
    Unreadable(#[source] io::Error),
    /// The archive could not be sent.
    #[error("archive cannot be written")]
    Unwritable(#[source] io::Error),
    /// There is more in it than allowed.
    #[error("archive has more than {max} {what}")]
    OverLimit {
        /// What there is too much of.
        what: Limit,
        /// How much is allowed.
        max: u64,
    },
    /// It unpacks to more than `max` times its size.
    #[error("archive unpacks to more than {max} times its size")]
    Ratio {
        /// The ratio that is allowed.
        max: u32,
    },
    /// A member's name leads out of the directory, and the archive is to have none like it.
    #[error("member `{name}`: {why}")]
    BadMember {
        /// Its name, cut after 256 characters.
        name: String,
        /// The rule that it breaks.
        why: BadPath,
    },
    /// One member's names and attributes take more than `max` bytes.
    #[error("archive has a member with more than {max} bytes of attributes")]
    Header {
        /// How much is allowed.
        max: u64,
    },
    /// The workspace failed.
    #[error(transparent)]
    Workspace(WorkspaceError),
}

impl From<WorkspaceError> for ArchiveError {
    fn from(error: WorkspaceError) -> Self {
        if let WorkspaceError::OverLimit { what, max } = error {
            return ArchiveError::OverLimit { what, max };
        }
        ArchiveError::Workspace(error)
    }
}

impl ArchiveSummary {
    fn skip(&mut self, name: &[u8], why: SkipReason) {
        self.skipped_total += 1;
        if self.skipped.len() < SKIPPED_MAX {
            let name = cut(name);
            self.skipped.push(Skipped { name, why });
        }
    }
}

/// A name as far as it is told.
fn cut(name: &[u8]) -> String {
    lossy(name).0.chars().take(SKIPPED_NAME_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests;
