//! What can go wrong with a file, in the words of the client.

use std::io;

use rustix::io::Errno;

use crate::entry::{Etag, Kind};
use crate::path::BadPath;

/// Why an operation on a workspace was refused or failed.
///
/// Every variant but [`WorkspaceError::NoSpace`], [`WorkspaceError::Busy`] and
/// [`WorkspaceError::Io`] is the client's.
#[derive(Debug, thiserror::Error)]
pub enum WorkspaceError {
    /// The path is malformed, or does not fit the operation.
    #[error(transparent)]
    BadPath(#[from] BadPath),
    /// Nothing is there, or one of the parents is missing.
    #[error("no such file or directory")]
    NotFound,
    /// Something else than a regular file is there.
    #[error("not a regular file but a {found}")]
    NotAFile {
        /// What is there.
        found: Kind,
    },
    /// A file is where a directory is needed.
    #[error("not a directory")]
    NotADirectory,
    /// Something is there already and must not be replaced.
    #[error("something of that name exists")]
    Exists,
    /// The directory has content.
    #[error("directory is not empty")]
    NotEmpty,
    /// The kernel refused to resolve the path inside the workspace.
    #[error("path leaves the workspace or crosses a link it must not cross")]
    Escapes,
    /// What is there is not what the client expected.
    #[error("file is not in the expected state")]
    PreconditionFailed {
        /// The entity tag of what is there; `None` when nothing is.
        actual: Option<Etag>,
    },
    /// The operation would handle more than it may.
    #[error("more than {max} {what}")]
    OverLimit {
        /// What there is too much of.
        what: Limit,
        /// How much is allowed.
        max: u64,
    },
    /// The disk or the quota is full.
    #[error("no space left")]
    NoSpace,
    /// Code in the sandbox kept changing the path, or holds a lease on the file. Trying again may
    /// help.
    #[error("path kept changing while it was used")]
    Busy,
    /// The operating system failed in another way.
    #[error("file system failed")]
    Io(#[source] io::Error),
}

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Bytes of content.
    Bytes,
    /// Files, directories, links and the rest together.
    Entries,
    /// Levels of nested directories.
    Depth,
}

impl std::fmt::Display for Limit {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Limit::Bytes => "bytes",
            Limit::Entries => "entries",
            Limit::Depth => "levels of directories",
        })
    }
}

impl WorkspaceError {
    pub(crate) fn over(what: Limit, max: u64) -> Self {
        WorkspaceError::OverLimit { what, max }
    }
}

impl From<Errno> for WorkspaceError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::NOENT => WorkspaceError::NotFound,
            Errno::NOTDIR => WorkspaceError::NotADirectory,
            Errno::ISDIR => WorkspaceError::NotAFile { found: Kind::Directory },
            // A socket, or a device without a driver.
            Errno::NXIO | Errno::NODEV => WorkspaceError::NotAFile { found: Kind::Other },
            Errno::EXIST => WorkspaceError::Exists,
            Errno::NOTEMPTY => WorkspaceError::NotEmpty,
            Errno::LOOP | Errno::XDEV => WorkspaceError::Escapes,
            Errno::NAMETOOLONG => WorkspaceError::BadPath(BadPath::ComponentTooLong),
            Errno::NOSPC | Errno::DQUOT => WorkspaceError::NoSpace,
            Errno::AGAIN | Errno::BUSY => WorkspaceError::Busy,
            _ => WorkspaceError::Io(errno.into()),
        }
    }
}

impl From<io::Error> for WorkspaceError {
    /// Finds again what went through [`io::Write`] or [`io::Read`] in disguise.
    fn from(error: io::Error) -> Self {
        if let Some(errno) = Errno::from_io_error(&error) {
            return errno.into();
        }
        match error.downcast::<WorkspaceError>() {
            Ok(disguised) => disguised,
            Err(error) => WorkspaceError::Io(error),
        }
    }
}

impl From<WorkspaceError> for io::Error {
    fn from(error: WorkspaceError) -> Self {
        if let WorkspaceError::Io(error) = error {
            return error;
        }
        io::Error::other(error)
    }
}
