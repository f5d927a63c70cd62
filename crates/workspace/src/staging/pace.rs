//! What makes the writing of a large file cheap: its room is reserved ahead of the bytes, and the
//! disk begins with them before anybody waits for it.
//!
//! Both are advice. What cannot be reserved is told by the write that finds no room, and what the
//! disk has not begun with is waited for by the `fsync` in the end.

use std::fs::File;
use std::io;
use std::num::NonZeroU64;

use rustix::fs::{Advice, FallocateFlags, fadvise, fallocate};

/// Most that is reserved beyond what was written: who announces much and sends little takes no
/// more room than this.
const RESERVED_MAX: u64 = 64 << 20;

/// How much the disk is given at a time. Small files wait for the one `fsync` only.
const GIVEN: u64 = 8 << 20;

/// How far the room and the disk are.
#[derive(Debug, Default)]
pub(super) struct Pace {
    expected: u64,
    reserved: u64,
    given: u64,
}

impl Pace {
    /// So many bytes are said to come.
    pub(super) fn expect(&mut self, bytes: u64) {
        self.expected = bytes;
    }

    /// Called before bytes are written that end at `end`.
    pub(super) fn before(&mut self, file: &File, end: u64) {
        let left = self.expected.saturating_sub(self.reserved);
        if end <= self.reserved || left == 0 || self.expected < GIVEN {
            return;
        }
        let more = left.min(RESERVED_MAX);
        // The size stays what was written, whatever happens.
        if fallocate(file, FallocateFlags::KEEP_SIZE, self.reserved, more).is_ok() {
            self.reserved += more;
        } else {
            self.expected = 0;
        }
    }

    /// Called after bytes were written that end at `end`.
    pub(super) fn after(&mut self, file: &File, end: u64) {
        let Some(waiting) = NonZeroU64::new(end - self.given).filter(|n| n.get() >= GIVEN) else {
            return;
        };
        // What nobody needs in memory any more is written at once, without waiting for it. It
        // stays in memory all the same: only what is on the disk already would be let go.
        let _ = fadvise(file, self.given, Some(waiting), Advice::DontNeed);
        self.given = end;
    }

    /// Called when all `bytes` are written: room that was reserved for more is free again.
    pub(super) fn end(&self, file: &File, bytes: u64) -> io::Result<()> {
        if self.reserved > bytes { file.set_len(bytes) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileExt as _, MetadataExt as _};

    use super::*;

    fn room(file: &File) -> (u64, u64) {
        let meta = file.metadata().unwrap();
        (meta.len(), meta.blocks() * 512)
    }

    #[test]
    fn room_is_reserved_a_step_at_a_time_and_no_more_than_is_expected() {
        let file = tempfile::tempfile_in(".").unwrap();
        let mut pace = Pace::default();
        pace.expect(RESERVED_MAX + GIVEN);
        pace.before(&file, 1);
        assert_eq!(room(&file), (0, RESERVED_MAX), "the size stays");
        pace.before(&file, RESERVED_MAX);
        assert_eq!(room(&file), (0, RESERVED_MAX));
        pace.before(&file, RESERVED_MAX + 1);
        assert_eq!(room(&file), (0, RESERVED_MAX + GIVEN));
        pace.before(&file, RESERVED_MAX + GIVEN + 1);
        assert_eq!(room(&file), (0, RESERVED_MAX + GIVEN));
        file.write_all_at(&[1; 4096], 0).unwrap();
        pace.end(&file, 4096).unwrap();
        assert_eq!(room(&file), (4096, 4096), "what was not used is free again");
    }

    #[test]
    fn nothing_is_reserved_for_a_small_file_or_one_of_unknown_size() {
        for expected in [0, GIVEN - 1] {
            let file = tempfile::tempfile_in(".").unwrap();
            let mut pace = Pace::default();
            pace.expect(expected);
            pace.before(&file, 1);
            assert_eq!(room(&file), (0, 0), "{expected}");
        }
    }

    #[test]
    fn what_the_disk_was_given_reads_as_it_was_written() {
        let file = tempfile::tempfile_in(".").unwrap();
        let mut pace = Pace::default();
        let piece: Vec<u8> = (0..1 << 20).map(|n| (n % 251) as u8).collect();
        for number in 1..=20 {
            file.write_all_at(&piece, (number - 1) << 20).unwrap();
            pace.after(&file, number << 20);
        }
        assert_eq!(pace.given, 2 * GIVEN, "whole steps of it");
        let mut read = vec![0; piece.len()];
        for number in 0..20 {
            file.read_exact_at(&mut read, number << 20).unwrap();
            assert!(read == piece, "piece {number}");
        }
    }
}
