//! Answers that come piece by piece.

use std::time::Duration;

use sandtree_client::Events;
use serde_json::Value;

use crate::wait::within;

/// Longest silence of a stream that has something to say.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// An answer, line by line. One that breaks off ends as well as one that is whole.
pub struct Lines(sandtree_client::Lines);

impl Lines {
    pub(super) fn new(lines: sandtree_client::Lines) -> Self {
        Self(lines)
    }

    /// The next line without its end; `None` at the end of the answer.
    pub async fn next(&mut self) -> Option<String> {
        let line = within(SILENCE_MAX, "the next line of an answer", self.0.next()).await;
        Some(String::from_utf8_lossy(&line.ok()??).into_owned())
    }
}

/// One server-sent event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerEvent {
    /// Where to go on.
    pub id: Option<String>,
    /// Its kind.
    pub event: String,
    /// What it tells.
    pub data: String,
}

impl ServerEvent {
    /// What it tells, as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl From<sandtree_client::ServerEvent> for ServerEvent {
    fn from(told: sandtree_client::ServerEvent) -> Self {
        let sandtree_client::ServerEvent { id, event, data } = told;
        Self { id, event, data }
    }
}

/// An answer of server-sent events. One that breaks off ends as well as one that is
/// whole.
pub struct Sse(Events);

impl Sse {
    pub(super) fn new(events: Events) -> Self {
        Self(events)
    }

    /// The next event; `None` at the end of the answer. Comments are left out.
    pub async fn next(&mut self) -> Option<ServerEvent> {
        let event = within(SILENCE_MAX, "the next event", self.0.next()).await;
        event.ok()?.map(Into::into)
    }

    /// Reads on until an event is this one.
    pub async fn find(&mut self, what: &str, is_it: impl Fn(&ServerEvent) -> bool) -> ServerEvent {
        within(SILENCE_MAX, what, async {
            loop {
                let event = self.0.next().await.ok().flatten().map(ServerEvent::from);
                match event {
                    Some(event) if is_it(&event) => return event,
                    Some(_) => {}
                    None => panic!("the events ended before {what}"),
                }
            }
        })
        .await
    }
}
