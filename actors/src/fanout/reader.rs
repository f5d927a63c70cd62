//! One viewer's position in the output.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use sandtree_model::ExitStatus;
use tokio::sync::watch;
use tokio::time::Instant;

use super::ring::At;
use super::{Shared, State};
use crate::view::Cursor;

/// Most bytes that a reader takes from the ring at once.
const TAKEN_BYTES_MAX: usize = 64 * 1024;

/// What a reader gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FanoutItem {
    /// Output, at most 64 KiB; shared with all other readers.
    Bytes(Bytes),
    /// This reader was overtaken or came too late, or the bytes never arrived.
    Gap {
        /// How many bytes are lost.
        bytes: u64,
    },
    /// The reader's position means nothing here, because of a new shell: it goes on
    /// at this one.
    Fresh {
        /// Position of the next byte.
        at: Cursor,
    },
    /// The shell ended. What follows, if anything, is another shell.
    Ended(ExitStatus),
}

/// Reads output from a position on. Costs a position, and up to 64 KiB of chunks that
/// it has taken and not returned.
#[derive(Debug)]
pub struct FanoutReader {
    shared: Arc<Shared>,
    changed: watch::Receiver<u64>,
    /// Position of the next item.
    cursor: Cursor,
    /// Taken from the ring, from the cursor on.
    taken: VecDeque<Bytes>,
    /// The epoch whose end was told.
    told_end_of: Option<u64>,
    /// Its name among those who are waited for.
    place: Option<u64>,
}

impl FanoutReader {
    pub(super) fn new(shared: Arc<Shared>, changed: watch::Receiver<u64>, cursor: Cursor) -> Self {
        Self { shared, changed, cursor, taken: VecDeque::new(), told_end_of: None, place: None }
    }

    /// Makes the writer wait for it.
    pub(super) fn paced(mut self) -> Self {
        let mut shared = self.shared.lock();
        let State { ring, pace } = &mut *shared;
        let place = pace.join();
        // Who begins elsewhere is waited for from its first read on.
        if ring.has(self.cursor) {
            pace.reads(place, self.cursor.offset, Instant::now());
        }
        drop(shared);
        self.place = Some(place);
        self
    }

    /// The next item; `None` when the fan-out is gone and all of it has been read.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a cancelled call has consumed nothing.
    pub async fn next(&mut self) -> Option<FanoutItem> {
        loop {
            // Seen before the look: what is pushed from here on ends the wait below.
            self.changed.mark_unchanged();
            if let Some(item) = self.try_next() {
                return Some(item);
            }
            if self.changed.changed().await.is_err() {
                return self.try_next();
            }
        }
    }

    /// The next item that is there already.
    pub fn try_next(&mut self) -> Option<FanoutItem> {
        if self.taken.is_empty() {
            match self.read() {
                At::Bytes => {}
                At::Gap { to } => {
                    let bytes = to - self.cursor.offset;
                    self.cursor.offset = to;
                    return Some(FanoutItem::Gap { bytes });
                }
                At::Elsewhere { oldest } => {
                    self.cursor = oldest;
                    return Some(FanoutItem::Fresh { at: oldest });
                }
                At::Ended(status) => {
                    let epoch = self.cursor.epoch;
                    let told = self.told_end_of.replace(epoch) == Some(epoch);
                    return (!told).then_some(FanoutItem::Ended(status));
                }
                At::End => return None,
            }
        }
        let bytes = self.taken.pop_front()?;
        self.cursor.offset += bytes.len() as u64;
        Some(FanoutItem::Bytes(bytes))
    }

    /// Takes what comes next from the ring; everything before has been read.
    fn read(&mut self) -> At {
        let mut shared = self.shared.lock();
        let State { ring, pace } = &mut *shared;
        let at = ring.read(self.cursor, TAKEN_BYTES_MAX, &mut self.taken);
        if let (Some(place), At::Bytes | At::End) = (self.place, &at) {
            pace.reads(place, self.cursor.offset, Instant::now());
            drop(shared);
            self.shared.moved.notify_one();
        }
        at
    }

    /// Position of the next item.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }
}

impl Drop for FanoutReader {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.shared.lock().pace.leave(place);
            self.shared.moved.notify_one();
        }
    }
}
