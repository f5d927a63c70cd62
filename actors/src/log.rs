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
mod tail;
mod writer;

pub use reader::LogReader;
pub use tail::Tail;
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

#[cfg(test)]
mod tests;
