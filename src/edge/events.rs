//! What happens in a project, as server-sent events.
//!
//! Each has the id `<generation>.<number>`. A client that comes back with
//! `Last-Event-ID` gets what it missed: transitions always, the rest as far as it is
//! still in memory, and a `gap` where it is not.

use futures_util::stream;
use sandtree_actors::EventReader;
use sandtree_model::{Event, EventId};
use serde::Deserialize;
use serde_json::Value;
use warp::http::HeaderName;

use super::context::{Call, EVENT_STREAM};
use super::errors::{Problem, kinds};
use super::reply::{self, Answered, SseEvent};
use super::time::rfc3339;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    /// As `Last-Event-ID`, for a first request: a browser sends the header only later.
    after: Option<Box<str>>,
}

/// Follows the events from now on, or from after one that the client names, until the
/// project is deleted.
///
/// # Errors
///
/// 404, 406 for a client that does not take events, 400 for an id that is none.
pub async fn follow(call: Call) -> Answered {
    let key = call.project()?;
    if !accepts_events(&call) {
        let detail = format!("this is sent as {EVENT_STREAM}");
        return Err(Problem::new(kinds::NOT_ACCEPTABLE, detail));
    }
    let query: Query = call.query()?;
    let after = match call.header(&LAST_EVENT_ID)? {
        Some(id) => Some(event_id("Last-Event-ID", id)?),
        None => query.after.map(|id| event_id("after", &id)).transpose()?,
    };
    let reader = call.context.tree.events(&key, after).await?;
    let events = stream::unfold(reader, |mut reader: EventReader| async move {
        let (id, event) = reader.next().await?;
        Some((written(id, &event), reader))
    });
    Ok(reply::sse(call.context.shutdown.clone(), events))
}

/// A client that does not say what it takes, takes all.
pub(super) fn accepts_events(call: &Call) -> bool {
    let all = |value: &str| value.contains("*/*") || value.contains("text/*");
    let accept = call.headers.get(warp::http::header::ACCEPT);
    let takes_all = accept.is_none_or(|value| value.to_str().is_ok_and(all));
    takes_all || call.wants_event_stream()
}

fn event_id(field: &'static str, text: &str) -> Result<EventId, Problem> {
    text.parse().map_err(|wrong: String| Problem::field(field, wrong))
}

fn written(id: EventId, event: &Event) -> SseEvent {
    let mut value = serde_json::to_value(event).unwrap_or(Value::Null);
    if let Some(at) = value.get_mut("at") {
        *at = at.as_u64().map_or(Value::Null, |micros| rfc3339(micros).into());
    }
    SseEvent::json(event.kind(), &value).with_id(id)
}

#[cfg(test)]
mod tests {
    use sandtree_model::{Phase, Transition};

    use super::*;

    #[test]
    fn an_event_has_its_id_its_kind_and_times_for_people() {
        let transition = Transition {
            generation: 2,
            from: Some(Phase::Stopped),
            by: None,
            to: Phase::Starting,
            reason: "asked for".into(),
            principal: "anonymous".into(),
            at: 1_700_000_000_000_000,
        };
        let id = EventId { generation: 2, number: 0 };
        let event = written(id, &Event::Transition(transition));
        assert_eq!((event.id.as_deref(), event.event), (Some("2.0"), Some("transition")));
        assert!(event.data.contains(r#""at":"2023-11-14T22:13:20.000000Z""#), "{}", event.data);
        assert!(event.data.contains(r#""type":"transition""#), "{}", event.data);
    }

    #[test]
    fn an_id_that_is_none_is_refused() {
        assert!(event_id("after", "3.1").is_ok());
        assert_eq!(event_id("after", "x").unwrap_err().document()["field"], "after");
    }
}
