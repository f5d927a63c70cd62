//! Answers that come piece by piece.

use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::Value;

use crate::wait::within;

/// Longest silence of a stream that has something to say.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// An answer, line by line.
pub struct Lines {
    body: Incoming,
    buffer: Vec<u8>,
}

impl Lines {
    pub(super) fn new(body: Incoming) -> Self {
        Self { body, buffer: Vec::new() }
    }

    /// The next line without its end; `None` at the end of the answer.
    pub async fn next(&mut self) -> Option<String> {
        within(SILENCE_MAX, "the next line of an answer", self.read_line()).await
    }

    /// The next line as JSON.
    pub async fn next_json(&mut self) -> Option<Value> {
        let line = self.next().await?;
        Some(serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}")))
    }

    async fn read_line(&mut self) -> Option<String> {
        let mut searched = 0;
        loop {
            if let Some(at) = self.buffer[searched..].iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=searched + at).collect();
                return Some(String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned());
            }
            searched = self.buffer.len();
            // An answer that breaks off ends as well as one that is whole.
            let frame = self.body.frame().await?.ok()?;
            if let Ok(data) = frame.into_data() {
                self.buffer.extend_from_slice(&data);
            }
        }
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

/// An answer of server-sent events.
pub struct Sse(Lines);

impl Sse {
    pub(super) fn new(body: Incoming) -> Self {
        Self(Lines::new(body))
    }

    /// The next event; `None` at the end of the answer. Comments are left out.
    pub async fn next(&mut self) -> Option<ServerEvent> {
        within(SILENCE_MAX, "the next event", self.read_event()).await
    }

    /// Reads on until an event is this one.
    pub async fn find(&mut self, what: &str, is_it: impl Fn(&ServerEvent) -> bool) -> ServerEvent {
        within(SILENCE_MAX, what, async {
            loop {
                match self.read_event().await {
                    Some(event) if is_it(&event) => return event,
                    Some(_) => {}
                    None => panic!("the events ended before {what}"),
                }
            }
        })
        .await
    }

    async fn read_event(&mut self) -> Option<ServerEvent> {
        let mut event = ServerEvent::default();
        let mut is_empty = true;
        loop {
            let line = self.0.read_line().await?;
            let (field, value) = line.split_once(':').unwrap_or((&line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "" if line.is_empty() && !is_empty => return Some(event),
                "id" => event.id = Some(value.to_owned()),
                "event" => event.event = value.to_owned(),
                "data" => {
                    if !event.data.is_empty() {
                        event.data.push('\n');
                    }
                    event.data.push_str(value);
                }
                _ => continue,
            }
            is_empty = false;
        }
    }
}
