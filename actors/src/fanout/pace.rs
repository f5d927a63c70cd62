//! Which readers the writer waits for, and how long.
//!
//! The output goes as fast as the quickest of them reads, and for a while no faster
//! than the slowest. What the slower ones may hold back the others who have read
//! everything is one small budget for all of them together, so that neither one that
//! has stopped nor many that read a little can slow the rest. Who is left behind is
//! told of a gap, and is waited for again from its next read on.
//!
//! No clock in here: whoever asks says what time it is.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

/// How long readers who have read everything wait for others at once, and which part
/// of the time they do in the long run.
const HELD_MAX: Duration = Duration::from_millis(100);
const HELD_PART: u32 = 20;
/// How long the output waits when no reader at all takes anything.
const STALL_MAX: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(super) struct Pace {
    /// A reader so many bytes behind is waited for.
    behind_max: u64,
    /// Those who are waited for, and what they read next.
    places: BTreeMap<u64, u64>,
    /// Readers that there ever were.
    readers_ever: u64,
    /// What is left of [`HELD_MAX`].
    budget: Duration,
    /// Whether somebody who has read everything waits for others.
    is_held: bool,
    judged_at: Instant,
    /// When a reader took something, or nobody had to be waited for.
    moved_at: Instant,
}

impl Pace {
    pub(super) fn new(behind_max: u64, now: Instant) -> Self {
        let (places, readers_ever) = (BTreeMap::new(), 0);
        let (budget, is_held) = (HELD_MAX, false);
        let (judged_at, moved_at) = (now, now);
        Self { behind_max, places, readers_ever, budget, is_held, judged_at, moved_at }
    }

    /// One more reader; answers its name.
    pub(super) fn join(&mut self) -> u64 {
        self.readers_ever += 1;
        self.readers_ever
    }

    /// A reader has everything before `offset`.
    pub(super) fn reads(&mut self, reader: u64, offset: u64, now: Instant) {
        if self.places.insert(reader, offset) != Some(offset) {
            self.moved_at = now;
        }
    }

    /// A reader is gone.
    pub(super) fn leave(&mut self, reader: u64) {
        self.places.remove(&reader);
    }

    /// Nobody has to be waited for in a new shell's output.
    pub(super) fn restart(&mut self) {
        self.places.clear();
    }

    /// Until when the writer of the bytes from `end` on should wait, unless somebody
    /// reads; `None`: not at all. Leaves those behind who have held it for too long.
    pub(super) fn holds_until(&mut self, end: u64, now: Instant) -> Option<Instant> {
        self.account(now);
        let slowest = self.places.values().min().copied().unwrap_or(end);
        let quickest = self.places.values().max().copied().unwrap_or(end);
        if end.saturating_sub(slowest) < self.behind_max {
            (self.is_held, self.moved_at) = (false, now);
            return None;
        }
        self.is_held = quickest >= end;
        let until = if self.is_held { now + self.budget } else { self.moved_at + STALL_MAX };
        if until > now {
            return Some(until);
        }
        self.is_held = false;
        self.places.retain(|_, offset| end.saturating_sub(*offset) < self.behind_max);
        None
    }

    /// Takes what was held from the budget, or fills it.
    fn account(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.judged_at);
        self.judged_at = now;
        self.budget = if self.is_held {
            self.budget.saturating_sub(passed)
        } else {
            HELD_MAX.min(self.budget + passed / HELD_PART)
        };
    }
}

#[cfg(test)]
mod tests;
