//! What an incoming archive has cost so far, and when that is too much.
//!
//! The readers of gzip and tar sit on top of each other and know nothing of limits. Two gauged
//! readers below them count what goes in and what comes out, and end the reading when a limit is
//! passed.

use std::cell::Cell;
use std::io::{self, Read};

use super::{ArchiveError, ExtractOptions};
use crate::error::Limit;

/// Most bytes of one member that are not its content: names, attributes, maps of holes. The tar
/// reader holds them in memory.
const HEADER_BYTES_MAX: u64 = 1024 * 1024;

/// What a member may take besides its content on average: header, padding, a long name or
/// attributes.
const MEMBER_BYTES: u64 = 8 * 1024;

/// Below this many bytes no ratio is a bomb: a small archive of a few empty files compresses well.
const RATIO_FREE_BYTES: u64 = 4 * 1024 * 1024;

/// Counts both sides of the decompression.
pub(super) struct Gauge {
    packed: Cell<u64>,
    unpacked: Cell<u64>,
    unpacked_max: u64,
    bytes_max: u64,
    ratio_max: u32,
    /// What may still be read before the next member's content begins; `None` while content is
    /// read.
    header_left: Cell<Option<u64>>,
    fault: Cell<Option<ArchiveError>>,
}

impl Gauge {
    pub(super) fn new(options: &ExtractOptions) -> Self {
        let members = (options.limits.entries_max as u64).saturating_mul(MEMBER_BYTES);
        let unpacked_max =
            options.limits.bytes_max.saturating_add(members).saturating_add(HEADER_BYTES_MAX);
        Self {
            packed: Cell::new(0),
            unpacked: Cell::new(0),
            unpacked_max,
            bytes_max: options.limits.bytes_max,
            ratio_max: options.ratio_max,
            header_left: Cell::new(None),
            fault: Cell::new(None),
        }
    }

    /// What follows is a header, up to [`Gauge::content`].
    pub(super) fn header(&self) {
        self.header_left.set(Some(HEADER_BYTES_MAX));
    }

    /// What follows is content.
    pub(super) fn content(&self) {
        self.header_left.set(None);
    }

    /// What a failure of the readers on top really was.
    pub(super) fn explain(&self, error: io::Error) -> ArchiveError {
        self.fault.take().unwrap_or(ArchiveError::Unreadable(error))
    }

    fn add_unpacked(&self, bytes: u64) -> Result<(), ArchiveError> {
        let unpacked = self.unpacked.get().saturating_add(bytes);
        self.unpacked.set(unpacked);
        if let Some(left) = self.header_left.get() {
            let left =
                left.checked_sub(bytes).ok_or(ArchiveError::Header { max: HEADER_BYTES_MAX })?;
            self.header_left.set(Some(left));
        }
        if unpacked > self.unpacked_max {
            return Err(ArchiveError::OverLimit { what: Limit::Bytes, max: self.bytes_max });
        }
        let fair = self.packed.get().saturating_mul(u64::from(self.ratio_max));
        if unpacked > fair.max(RATIO_FREE_BYTES) {
            return Err(ArchiveError::Ratio { max: self.ratio_max });
        }
        Ok(())
    }
}

/// Counts what comes from the client.
pub(super) struct Packed<'g, R> {
    pub(super) reader: R,
    pub(super) gauge: &'g Gauge,
}

impl<R: Read> Read for Packed<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(into)?;
        self.gauge.packed.set(self.gauge.packed.get().saturating_add(read as u64));
        Ok(read)
    }
}

/// Counts what goes to the tar reader, and stops it.
pub(super) struct Unpacked<'g, R> {
    pub(super) reader: R,
    pub(super) gauge: &'g Gauge,
}

impl<R: Read> Read for Unpacked<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(into)?;
        if let Err(fault) = self.gauge.add_unpacked(read as u64) {
            self.gauge.fault.set(Some(fault));
            return Err(io::Error::other("archive passes a limit"));
        }
        Ok(read)
    }
}
