//! A terminal's output for any number of viewers, without a queue per viewer.
//!
//! ```text
//!             push                       next
//! terminal ---------> [ one ring ] <---------------- reader (a cursor)
//!                      1 MiB, shared  <------------- reader (a cursor)
//! ```
//!
//! The ring holds the newest chunks; a reader holds a position. A reader that does
//! not read costs nothing, and when the ring has moved on past it, it is told how much
//! it lost. Chunks are shared, not copied, whoever reads them. The writer may wait for
//! readers that are paced, as long as they keep up: see [`Fanout::room`].
//!
//! Not an actor: the lock is held for a few moves of pointers at a time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use sandtree_model::ExitStatus;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout_at};

use crate::view::Cursor;

mod pace;
mod reader;
mod ring;

use pace::Pace;
pub use reader::{FanoutItem, FanoutReader};
use ring::Ring;

/// The writing end: one per terminal. Dropping it ends its readers, after they have
/// read what is there.
#[derive(Debug)]
pub struct Fanout {
    shared: Arc<Shared>,
    /// Counts changes; wakes readers that have read everything.
    changed: watch::Sender<u64>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// A reader that is paced has moved, or is gone.
    moved: Notify,
}

#[derive(Debug)]
struct State {
    ring: Ring,
    pace: Pace,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is whole between any two of its operations.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Fanout {
    /// Bytes of output that are kept unless said otherwise.
    pub const RING_BYTES: usize = 1024 * 1024;

    /// A fan-out that keeps the newest `ring_bytes` and whose next byte is at `at`:
    /// 0 of a shell's epoch, or where a saved screen goes on.
    #[must_use]
    pub fn new(ring_bytes: usize, at: Cursor) -> Self {
        let ring = Ring::new(ring_bytes, at);
        // What is written when there is room, a quarter at most, takes nothing from them.
        let pace = Pace::new(ring_bytes as u64 / 2, Instant::now());
        let shared = Shared { state: Mutex::new(State { ring, pace }), moved: Notify::new() };
        let shared = Arc::new(shared);
        Self { shared, changed: watch::Sender::new(0) }
    }

    /// Waits until readers that are paced have read most of what is there. They may hold
    /// the output up for a second when none of them reads anything, and those of them who
    /// are slow the others for a twentieth of the time; then they are left behind.
    ///
    /// # Cancel safety
    ///
    /// Safe.
    pub async fn room(&self) {
        loop {
            let until = {
                let State { ring, pace } = &mut *self.shared.lock();
                pace.holds_until(ring.end().offset, Instant::now())
            };
            let Some(until) = until else { return };
            // Who moved since the look has left a permit; the time is looked at again.
            let _ = timeout_at(until, self.shared.moved.notified()).await;
        }
    }

    /// Output that follows what was pushed before. Waits for nobody.
    pub fn push(&self, bytes: Bytes) {
        self.change(|ring| ring.push(bytes));
    }

    /// Output at an absolute offset. What is there already is left out, and a jump
    /// forward becomes a gap, so it is safe to be given the same bytes again.
    pub fn push_at(&self, offset: u64, bytes: Bytes) {
        self.change(|ring| {
            ring.skip_to(offset);
            // What of it is known already; at most all of it.
            let known = ring.end().offset.saturating_sub(offset);
            let known = usize::try_from(known).unwrap_or(usize::MAX).min(bytes.len());
            ring.push(bytes.slice(known..));
        });
    }

    /// The bytes before `offset` that were not pushed are lost.
    pub fn skip_to(&self, offset: u64) {
        self.change(|ring| ring.skip_to(offset));
    }

    /// The shell ended; readers are told after its last byte.
    pub fn end(&self, status: ExitStatus) {
        self.change(|ring| ring.set_ended(status));
    }

    /// A new shell: its output starts at 0 of `epoch`, and readers start afresh, even
    /// those that have not read all of the old one.
    pub fn restart(&self, epoch: u64) {
        self.shared.lock().pace.restart();
        self.change(|ring| ring.restart(epoch));
    }

    /// Position of the next byte to be pushed.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        self.shared.lock().ring.end()
    }

    /// Position of the oldest byte that is kept.
    #[must_use]
    pub fn oldest(&self) -> Cursor {
        self.shared.lock().ring.oldest()
    }

    /// Bytes of output that are kept now.
    #[must_use]
    pub fn bytes_kept(&self) -> usize {
        self.shared.lock().ring.bytes()
    }

    /// A reader from `after` on. From a position of another shell, or one that is not
    /// reached yet, it starts afresh at the oldest byte; from one that is no longer
    /// kept, with a gap.
    #[must_use]
    pub fn join(&self, after: Cursor) -> FanoutReader {
        FanoutReader::new(Arc::clone(&self.shared), self.changed.subscribe(), after)
    }

    /// As [`Fanout::join`], and the writer waits for this reader in [`Fanout::room`].
    #[must_use]
    pub fn join_paced(&self, after: Cursor) -> FanoutReader {
        self.join(after).paced()
    }

    fn change(&self, change: impl FnOnce(&mut Ring)) {
        change(&mut self.shared.lock().ring);
        self.changed.send_modify(|changes| *changes = changes.wrapping_add(1));
    }
}

#[cfg(test)]
mod tests;
