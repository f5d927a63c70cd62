//! How far a terminal's output may be ahead of the server that reads it.
//!
//! A server that keeps up makes the terminal wait, as a slow screen would, so that
//! the ring loses nothing of a flood. One that has gone away holds nothing up, and
//! one that has stopped reading no longer than [`PATIENCE`].

use std::cell::Cell;
use std::time::Duration;

/// How long output waits for a reader that takes nothing. The server leaves its slow
/// viewers sooner, so only one that hangs is waited for so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);

/// What the quickest reader of a job has taken.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    readers: Cell<u32>,
    taken: Cell<u64>,
    /// Nobody took anything for too long.
    is_left: Cell<bool>,
}

impl Pace {
    /// One more reader, which has everything before `offset`.
    pub(crate) fn join(&self, offset: u64) {
        // What an earlier one took says nothing once it is gone.
        let others = if self.readers.get() == 0 { 0 } else { self.taken.get() };
        self.taken.set(others.max(offset));
        self.readers.set(self.readers.get() + 1);
        self.is_left.set(false);
    }

    /// One less.
    pub(crate) fn leave(&self) {
        self.readers.set(self.readers.get().saturating_sub(1));
    }

    /// A reader has everything before `offset` now.
    pub(crate) fn take(&self, offset: u64) {
        self.taken.set(self.taken.get().max(offset));
        self.is_left.set(false);
    }

    /// Stops waiting, until a reader takes something.
    pub(crate) fn give_up(&self) {
        self.is_left.set(true);
    }

    /// Whether output that ends at `end` should wait, since it is so much ahead.
    pub(crate) fn is_ahead(&self, end: u64, ahead_max: u64) -> bool {
        let is_waited_for = self.readers.get() > 0 && !self.is_left.get();
        is_waited_for && end.saturating_sub(self.taken.get()) >= ahead_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_waits_for_the_quickest_reader_and_for_nobody_else() {
        let pace = Pace::default();
        assert!(!pace.is_ahead(1000, 10), "nobody reads");
        pace.join(100);
        assert!(!pace.is_ahead(109, 10) && pace.is_ahead(110, 10));
        pace.join(105);
        assert!(!pace.is_ahead(114, 10) && pace.is_ahead(115, 10));
        pace.take(102);
        assert!(pace.is_ahead(115, 10), "the slower one is not waited for");
        pace.give_up();
        assert!(!pace.is_ahead(1000, 10));
        pace.take(990);
        assert!(pace.is_ahead(1000, 10), "it reads again");
        pace.leave();
        pace.leave();
        assert!(!pace.is_ahead(5000, 10), "both are gone");
        pace.join(7);
        assert!(pace.is_ahead(17, 10), "what others took is forgotten");
    }
}
