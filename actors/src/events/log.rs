//! The latest events of one project.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sandtree_model::{Event, EventId};
use tokio::sync::watch;

/// The latest events of a project, for followers and for who comes back.
pub(crate) struct EventLog {
    kept: Mutex<Kept>,
    grown: watch::Sender<u64>,
    kept_max: usize,
}

struct Kept {
    events: VecDeque<(EventId, Event)>,
    /// The newest event that is not kept any more.
    floor: EventId,
}

/// Events above an id, as far as they are kept.
pub(crate) struct Above {
    /// Oldest first.
    pub(crate) events: Vec<(EventId, Event)>,
    /// Set when events above the id are not kept any more: up to this one.
    pub(crate) missing_to: Option<EventId>,
}

impl EventLog {
    /// An empty log, before which everything up to `floor` has happened.
    pub(crate) fn new(kept_max: usize, floor: EventId) -> Self {
        Self {
            kept: Mutex::new(Kept { events: VecDeque::new(), floor }),
            grown: watch::Sender::new(0),
            kept_max: kept_max.max(1),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an event; one that comes with an older id gets the next.
    pub(crate) fn push(&self, id: EventId, event: Event) {
        let mut kept = self.lock();
        // Two threads may have read the clock in the other order.
        let newest = kept.events.back().map_or(kept.floor, |(newest, _)| *newest);
        let id = if id > newest { id } else { EventId { number: newest.number + 1, ..newest } };
        kept.events.push_back((id, event));
        while kept.events.len() > self.kept_max {
            if let Some((id, _)) = kept.events.pop_front() {
                kept.floor = id;
            }
        }
        drop(kept);
        self.grown.send_modify(|count| *count += 1);
    }

    /// How many events are kept.
    pub(crate) fn kept(&self) -> usize {
        self.lock().events.len()
    }

    /// The newest event's id: where a follower starts who wants only what comes.
    pub(crate) fn newest(&self) -> EventId {
        let kept = self.lock();
        kept.events.back().map_or(kept.floor, |(id, _)| *id)
    }

    /// What is kept above `id`.
    pub(crate) fn above(&self, id: EventId) -> Above {
        let kept = self.lock();
        Above {
            events: kept.events.iter().filter(|(at, _)| *at > id).cloned().collect(),
            missing_to: (id < kept.floor).then_some(kept.floor),
        }
    }

    /// Changes whenever an event was added.
    pub(crate) fn grown(&self) -> watch::Receiver<u64> {
        self.grown.subscribe()
    }
}
