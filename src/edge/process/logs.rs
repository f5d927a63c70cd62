//! The process's log, from where the client wants it on.
//!
//! One format is chosen by `Accept`:
//!
//! - `application/x-ndjson` (the default): one JSON object in each line.
//!   `{"cursor", "time", "stream", "text" or "base64"}` is a record,
//!   `{"cursor", "gap": {"bytes"}}` says that output before the cursor is lost,
//!   `{"cursor", "ended": {"epoch", "exit_code", "signal"}}` that the process ended.
//!   `{"alive": true}` comes after silence, `{"error": ...}` may come last.
//! - `text/event-stream`: the same objects as events `record`, `gap`, `ended` and
//!   `error`, each with its cursor as id; `Last-Event-ID` resumes.
//! - `text/plain`: the bytes that the process wrote, and nothing else.
//!
//! A `cursor` is the position after its record: `?after=` it goes on with the next one.

mod format;
mod reading;

use futures_util::{Stream, StreamExt, stream};
use sandtree_actors::Cursor;
use sandtree_actors::{LogItem, LogReader};
use sandtree_model::Answer;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;
use warp::http::header::{ACCEPT, CACHE_CONTROL, HeaderName};
use warp::http::{HeaderMap, HeaderValue, StatusCode};

use super::super::context::Call;
use super::super::errors::Problem;
use super::super::reply::{self, Answered, KEEP_ALIVE, Response, SseEvent};
use format::{in_json, in_plain, to_event};
use reading::{Reading, Told};

/// Most lines that `tail` can ask for.
const TAIL_MAX: usize = 10_000;

/// Which part of the log.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    /// A cursor; absent: from the oldest record on.
    after: Option<String>,
    /// Whether to wait for more at the end.
    #[serde(default)]
    follow: bool,
    /// One of the streams; absent: both, in their order.
    stream: Option<Stdio>,
    /// Only the last so many lines of what is there, in whole records.
    tail: Option<usize>,
}

/// A stream of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Stdio {
    Stdout,
    Stderr,
}

impl Stdio {
    /// Its number in the log.
    const fn number(self) -> u8 {
        match self {
            Stdio::Stdout => 1,
            Stdio::Stderr => 2,
        }
    }

    fn of(number: u8) -> Self {
        if number == 2 { Stdio::Stderr } else { Stdio::Stdout }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Stdio::Stdout => "stdout",
            Stdio::Stderr => "stderr",
        }
    }
}

/// How it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Lines,
    Events,
    Plain,
}

/// Reads the log.
///
/// # Errors
///
/// 400 for a cursor that is none, 404 for an unknown project.
pub async fn logs(call: Call) -> Answered {
    let key = call.project()?;
    let query: Query = call.query()?;
    let last = call.header(&HeaderName::from_static("last-event-id"))?;
    let after = after(last, query.after.as_deref())?;
    if query.tail.is_some_and(|tail| tail == 0 || tail > TAIL_MAX) {
        return Err(Problem::field("tail", format!("must be from 1 to {TAIL_MAX}")));
    }
    let reader = call.context.tree.logs(&key, after).await?;
    let mut reading = Reading::new(reader, query.stream, query.follow);
    if let Some(lines) = query.tail {
        reading.skip_to_last(lines).await?;
    }
    let items = reading.into_stream();
    Ok(respond(format(&call.headers), items, call.context.shutdown.clone()))
}

/// Where to begin: an event's id is newer than what was in the address at first.
fn after(last: Option<&str>, after: Option<&str>) -> Result<Option<Cursor>, Problem> {
    let (field, text) = match (last, after) {
        (Some(last), _) => ("Last-Event-ID", last),
        (None, Some(after)) => ("after", after),
        (None, None) => return Ok(None),
    };
    text.parse().map(Some).map_err(|problem| Problem::field(field, problem))
}

fn format(headers: &HeaderMap) -> Format {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let types = values.flat_map(|value| value.split(','));
    for media_type in types.map(|part| part.split(';').next().unwrap_or("").trim()) {
        match media_type.to_ascii_lowercase().as_str() {
            "text/event-stream" => return Format::Events,
            "text/plain" => return Format::Plain,
            _ => {}
        }
    }
    Format::Lines
}

fn respond<S>(format: Format, items: S, shutdown: CancellationToken) -> Response
where
    S: Stream<Item = Told> + Send + 'static,
{
    let (body, media_type) = match format {
        Format::Events => return reply::sse(shutdown, items.map(to_event)),
        Format::Lines => {
            let lines =
                alive(items, shutdown, Some(Told::Alive)).map(in_json).map(Ok::<_, std::io::Error>);
            (reply::streaming(StatusCode::OK, None, lines), "application/x-ndjson")
        }
        Format::Plain => {
            let bytes = alive(items, shutdown, None).map(in_plain);
            (reply::streaming(StatusCode::OK, None, bytes), "text/plain; charset=utf-8")
        }
    };
    let mut response = reply::typed(body, media_type);
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    response
}

/// The items until the server ends, with `comment` after silence.
fn alive<S>(
    items: S,
    shutdown: CancellationToken,
    comment: Option<Told>,
) -> impl Stream<Item = Told> + Send + 'static
where
    S: Stream<Item = Told> + Send + 'static,
{
    stream::unfold((Box::pin(items), shutdown, comment), |(mut items, shutdown, comment)| async {
        let told = tokio::select! {
            biased;
            () = shutdown.cancelled() => return None,
            told = items.next() => told?,
            () = tokio::time::sleep(KEEP_ALIVE), if comment.is_some() => comment.clone()?,
        };
        Some((told, (items, shutdown, comment)))
    })
}

/// Where items come from; a trait, so that tests can be it.
trait Source: Send {
    /// The next item, or `None` at the present end.
    fn next(&mut self) -> impl Future<Output = Answer<Option<LogItem>>> + Send;
    /// Waits until there may be more; false when nothing more will come.
    fn more(&mut self) -> impl Future<Output = bool> + Send;
    /// Where the next item starts.
    fn cursor(&self) -> Option<Cursor>;
}

impl Source for LogReader {
    async fn next(&mut self) -> Answer<Option<LogItem>> {
        LogReader::next(self).await
    }

    async fn more(&mut self) -> bool {
        LogReader::more(self).await
    }

    fn cursor(&self) -> Option<Cursor> {
        LogReader::cursor(self)
    }
}

/// The kind of event that an item is.
fn event_of(told: &Told, data: String) -> SseEvent {
    let (event, cursor) = match told {
        Told::Item { item: LogItem::Record(_), cursor } => ("record", *cursor),
        Told::Item { item: LogItem::Gap { .. }, cursor } => ("gap", *cursor),
        Told::Item { item: LogItem::Ended { .. }, cursor } => ("ended", *cursor),
        Told::Failed(_) => ("error", None),
        Told::Alive => ("alive", None),
    };
    SseEvent { id: cursor.map(|cursor| cursor.to_string()), event: Some(event), data }
}

#[cfg(test)]
mod tests;
