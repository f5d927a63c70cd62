//! What makes the writing of a large file cheap: it goes to the page cache in pieces of the right
//! size, and on to the disk before anybody waits for it.

use std::fs::File;
use std::io::{self, Write as _};
use std::num::NonZeroU64;

use rustix::fs::{Advice, fadvise};

/// Most that is written at once. The kernel takes memory for it in blocks as large as the write.
/// Those up to this size it has at hand; larger ones are, in a virtual machine, often such as the
/// host has taken back and has to find anew. Writes of 1 MiB were three times slower there.
const WRITE_MAX: usize = 128 << 10;

/// How much the disk is given at a time. Small files wait for the one `fsync` only.
const GIVEN: u64 = 8 << 20;

/// How far the disk is.
#[derive(Debug, Default)]
pub(super) struct Pace {
    given: u64,
}

impl Pace {
    /// Writes the first of these bytes, where `at` were written before, and says how many they were.
    pub(super) fn write(&mut self, mut file: &File, at: u64, bytes: &[u8]) -> io::Result<usize> {
        let written = file.write(&bytes[..bytes.len().min(WRITE_MAX)])?;
        self.give(file, at + written as u64);
        Ok(written)
    }

    /// Lets the disk begin with what was written up to `end`. This is advice: what the disk has
    /// not begun with is waited for by the `fsync` in the end.
    fn give(&mut self, file: &File, end: u64) {
        let Some(waiting) = NonZeroU64::new(end - self.given).filter(|n| n.get() >= GIVEN) else {
            return;
        };
        // What nobody needs in memory any more is written at once, without waiting for it. It
        // stays in memory all the same: only what is on the disk already would be let go.
        let _ = fadvise(file, self.given, Some(waiting), Advice::DontNeed);
        self.given = end;
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;

    use super::*;

    #[test]
    fn a_large_piece_is_written_in_small_ones_and_given_in_whole_steps() {
        let file = tempfile::tempfile_in(".").unwrap();
        let mut pace = Pace::default();
        let content: Vec<u8> = (0..20 << 20).map(|n: u32| (n % 251) as u8).collect();
        let mut at = 0;
        while at < content.len() {
            let written = pace.write(&file, at as u64, &content[at..]).unwrap();
            assert!((1..=WRITE_MAX).contains(&written), "{written}");
            at += written;
        }
        assert_eq!(pace.given, 2 * GIVEN, "whole steps of it");
        let mut read = vec![0; content.len()];
        file.read_exact_at(&mut read, 0).unwrap();
        assert!(read == content, "what the disk was given reads as it was written");
    }
}
