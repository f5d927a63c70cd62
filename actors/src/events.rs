//! Following a project's events, across restarts of the follower and the server.

mod log;

use std::collections::VecDeque;
use std::sync::Arc;

use sandtree_model::{Event, EventId, Phase, Transition};
use tokio::sync::watch;

use crate::context::Context;
use crate::live::Hold;
pub(crate) use log::EventLog;

/// Transitions that are read from the store at once.
const PAGE: u32 = 256;

/// Follows a project's events.
pub struct EventReader {
    context: Arc<Context>,
    hold: Hold,
    grown: watch::Receiver<u64>,
    after: EventId,
    pending: VecDeque<(EventId, Event)>,
}

impl EventReader {
    pub(crate) fn new(context: Arc<Context>, hold: Hold, after: Option<EventId>) -> Self {
        let log = &hold.live().events;
        let (grown, newest) = (log.grown(), log.newest());
        Self { context, hold, grown, after: after.unwrap_or(newest), pending: VecDeque::new() }
    }

    /// The next event; `None` after the project's last one, or when the server
    /// ends.
    ///
    /// # Cancel safety
    ///
    /// Safe: no event is lost.
    pub async fn next(&mut self) -> Option<(EventId, Event)> {
        loop {
            if let Some((id, event)) = self.pending.pop_front() {
                self.after = self.after.max(id);
                return Some((id, event));
            }
            if self.fill().await {
                continue;
            }
            if self.hold.live().row().phase == Phase::Deleted {
                return None;
            }
            self.grown.changed().await.ok()?;
        }
    }

    /// Takes what is there above the last event; false when there is nothing.
    async fn fill(&mut self) -> bool {
        self.grown.mark_unchanged();
        let above = self.hold.live().events.above(self.after);
        if let Some(floor) = above.missing_to {
            self.catch_up(floor).await;
            return true;
        }
        self.pending.extend(above.events);
        !self.pending.is_empty()
    }

    /// Events up to `floor` are not in memory any more: the transitions among
    /// them are in the store, the others are gone.
    async fn catch_up(&mut self, floor: EventId) {
        let uid = self.hold.live().row().uid.clone();
        let log = self.context.store.transitions(&uid, self.after.generation, PAGE).await;
        let log = log.unwrap_or_else(|error| {
            tracing::warn!(%error, "events cannot be read from the store");
            Vec::new()
        });
        let is_above = |last: &Transition| last.generation > floor.generation;
        let is_whole = log.len() < PAGE as usize || log.last().is_some_and(is_above);
        let gap = EventId { number: self.after.number.saturating_add(1), ..self.after };
        self.pending.push_back((gap, Event::Gap));
        for transition in log {
            let id = EventId { generation: transition.generation, number: 0 };
            if id <= floor {
                self.pending.push_back((id, Event::Transition(transition)));
            }
        }
        if is_whole {
            self.after = floor;
        }
    }
}
