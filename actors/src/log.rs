//! The log of a project's process, on the server's disk.
//!
//! ```text
//! <sandbox>/log/00000007.log    header: position of the first record
//!               00000008.log    records, newest at the end
//! ```
//!
//! One [`LogWriter`] writes; any number of [`LogReader`]s read the files beside it.
//! Both keep positions as `epoch:offset`, which rotation does not change. A record
//! carries its length and a checksum, so that what a crash tore is told from what
//! was written, and a reader never sees half a record.
//!
//! Nothing here is an actor and nothing runs by itself. What must stay true: every
//! byte that the writer was given is read exactly once and in order, or is told as
//! a gap.

mod files;
mod format;
mod reader;
mod writer;

use bytes::Bytes;
use sandtree_model::ExitStatus;

use crate::view::Cursor;

pub use reader::LogReader;
pub use writer::LogWriter;

/// How much of a log is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogSettings {
    /// Size at which a new file is begun, in bytes; at least one record fits.
    pub file_bytes: u64,
    /// Files that are kept, the one being written included; at least 1.
    pub files: u32,
}

impl Default for LogSettings {
    /// Four files of 16 MiB.
    fn default() -> Self {
        Self { file_bytes: 16 * 1024 * 1024, files: 4 }
    }
}

/// One record of a process's log.
#[derive(Debug, Clone)]
pub struct LogRecord {
    /// Where it starts.
    pub at: Cursor,
    /// Microseconds since 1970, by the sandbox's clock.
    pub time: u64,
    /// 1 for standard output, 2 for standard error.
    pub stream: u8,
    /// What was written.
    pub bytes: Bytes,
}

/// What a reader of the log gets.
#[derive(Debug, Clone)]
pub enum LogItem {
    /// A record.
    Record(LogRecord),
    /// Bytes before this cursor are gone: rotated away, or lost while the server was.
    Gap {
        /// How many, where that is known.
        bytes: Option<u64>,
        /// Where it goes on.
        to: Cursor,
    },
    /// The process ended; a restart begins a new epoch after it.
    Ended {
        /// Which start of it.
        epoch: u64,
        /// How.
        status: ExitStatus,
    },
}

#[cfg(test)]
mod tests;
