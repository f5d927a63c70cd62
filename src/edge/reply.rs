//! Responses: JSON, bytes, streams and server-sent events.
//!
//! Streams are polled by the connection and buffer nothing of their own: a client
//! that does not read makes its stream wait, and nobody else.

use std::fmt::Write as _;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context as Waker, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use warp::Reply as _;
use warp::http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use warp::http::{HeaderValue, StatusCode};

use super::errors::Problem;

/// What every handler answers when it succeeds.
pub type Response = warp::reply::Response;

/// What every handler answers.
pub type Answered = Result<Response, Problem>;

/// Longest silence in a stream of events; then a comment is sent.
pub const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// A status and nothing else.
#[must_use]
pub fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Bytes::new().into());
    *response.status_mut() = status;
    response
}

/// A body that is there as a whole; the caller sets its media type.
#[must_use]
pub fn bytes(status: StatusCode, body: impl Into<Bytes>) -> Response {
    let mut response = Response::new(body.into().into());
    *response.status_mut() = status;
    response
}

/// A JSON document.
#[must_use]
pub fn json<T: Serialize>(status: StatusCode, value: &T) -> Response {
    match serde_json::to_vec(value) {
        Ok(text) => typed(bytes(status, text), "application/json"),
        Err(error) => Problem::internal(&format!("a reply is not JSON: {error}")).into_response(),
    }
}

/// Sets the media type.
#[must_use]
pub fn typed(mut response: Response, media_type: &'static str) -> Response {
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// A body that comes piece by piece. `length`, where it is known, becomes
/// `Content-Length`. An error ends the connection, so that the client can tell a
/// short body from a whole one.
#[must_use]
pub fn streaming<S, E>(status: StatusCode, length: Option<u64>, body: S) -> Response
where
    S: Stream<Item = Result<Bytes, E>> + Send + 'static,
    E: Into<Box<dyn std::error::Error + Send + Sync>> + Send + 'static,
{
    let mut response = warp::reply::stream(Exclusive::new(body)).into_response();
    *response.status_mut() = status;
    if let Some(length) = length {
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    response
}

/// One server-sent event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SseEvent {
    /// What `Last-Event-ID` names when the client comes back.
    pub id: Option<String>,
    /// The kind; without one a browser calls it `message`.
    pub event: Option<&'static str>,
    /// One JSON text, or any other.
    pub data: String,
}

impl SseEvent {
    /// An event with a JSON document.
    #[must_use]
    pub fn json<T: Serialize>(event: &'static str, value: &T) -> Self {
        let data = serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned());
        Self { id: None, event: Some(event), data }
    }

    /// Gives it an id.
    #[must_use]
    pub fn with_id(mut self, id: impl ToString) -> Self {
        self.id = Some(id.to_string());
        self
    }

    fn encode(&self) -> Bytes {
        let mut text = String::with_capacity(self.data.len() + 64);
        if let Some(id) = &self.id {
            let _ = writeln!(text, "id: {id}");
        }
        if let Some(event) = self.event {
            let _ = writeln!(text, "event: {event}");
        }
        // A carriage return ends a line as well, so all three line ends are cut at.
        for line in self.data.replace("\r\n", "\n").split(['\n', '\r']) {
            let _ = writeln!(text, "data: {line}");
        }
        text.push('\n');
        text.into()
    }
}

/// A stream of events, with a comment after each [`KEEP_ALIVE`] of silence. It ends
/// with `events`, or when `shutdown` is cancelled.
#[must_use]
pub fn sse<S>(shutdown: CancellationToken, events: S) -> Response
where
    S: Stream<Item = SseEvent> + Send + 'static,
{
    let events = Box::pin(events);
    let lines = stream::unfold((events, shutdown), |(mut events, shutdown)| async move {
        let line = tokio::select! {
            biased;
            () = shutdown.cancelled() => return None,
            event = events.next() => event?.encode(),
            () = tokio::time::sleep(KEEP_ALIVE) => Bytes::from_static(b": alive\n\n"),
        };
        Some((Ok::<_, std::io::Error>(line), (events, shutdown)))
    });
    // The comment at the start makes the client see the response's head at once.
    let hello = stream::once(async { Ok(Bytes::from_static(b": hello\n\n")) });
    let mut response = streaming(StatusCode::OK, None, hello.chain(lines));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// Makes a stream shareable, which warp asks for although a body has one reader.
/// The lock is never taken: `get_mut` needs none.
struct Exclusive<S>(Mutex<Pin<Box<S>>>);

impl<S> Exclusive<S> {
    fn new(stream: S) -> Self {
        Self(Mutex::new(Box::pin(stream)))
    }
}

impl<S: Stream> Stream for Exclusive<S> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, waker: &mut Waker<'_>) -> Poll<Option<S::Item>> {
        let stream = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        stream.as_mut().poll_next(waker)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[test]
    fn an_event_of_many_lines_is_one_event() {
        let event =
            SseEvent { id: Some("3.1".into()), event: Some("log"), data: "a\r\nb\rc".into() };
        assert_eq!(event.encode(), "id: 3.1\nevent: log\ndata: a\ndata: b\ndata: c\n\n");
    }

    #[tokio::test]
    async fn a_stream_of_events_ends_with_its_source_and_with_the_server() {
        let one = SseEvent { data: "x".into(), ..SseEvent::default() };
        let response = sse(CancellationToken::new(), stream::iter([one.clone()]));
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, ": hello\n\ndata: x\n\n");

        let ending = CancellationToken::new();
        ending.cancel();
        let response = sse(ending, stream::pending());
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, ": hello\n\n");
    }
}
