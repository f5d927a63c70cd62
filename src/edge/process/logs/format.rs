//! How one item is written.

use bytes::Bytes;
use sandtree_actors::Cursor;
use sandtree_actors::LogItem;
use serde::Serialize;

use super::reading::Told;
use super::{Stdio, event_of};
use crate::edge::exec::text::Piece;
use crate::edge::process::signals::of_status;
use crate::edge::reply::SseEvent;
use crate::edge::time::rfc3339;

/// A line of the log, or what stands in for one.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Line {
    Record {
        cursor: Option<String>,
        time: String,
        stream: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        text: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        base64: Option<String>,
    },
    Gap {
        cursor: Option<String>,
        gap: Gap,
    },
    Ended {
        cursor: Option<String>,
        ended: Ended,
    },
    Error {
        error: serde_json::Value,
    },
    Alive {
        alive: bool,
    },
}

#[derive(Debug, Serialize)]
struct Gap {
    /// How many, where that is known.
    bytes: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Ended {
    epoch: u64,
    exit_code: i32,
    signal: Option<String>,
}

impl Line {
    fn of(told: &Told) -> Self {
        let text = |cursor: &Option<Cursor>| cursor.map(|cursor| cursor.to_string());
        match told {
            Told::Item { item: LogItem::Record(record), cursor } => {
                let (text_of_it, base64) = match Piece::of(&record.bytes) {
                    Piece::Text(text) => (Some(text), None),
                    Piece::Bytes(base64) => (None, Some(base64)),
                };
                Line::Record {
                    cursor: text(cursor),
                    time: rfc3339(record.time),
                    stream: Stdio::of(record.stream).as_str(),
                    text: text_of_it,
                    base64,
                }
            }
            Told::Item { item: LogItem::Gap { bytes, to }, .. } => {
                Line::Gap { cursor: Some(to.to_string()), gap: Gap { bytes: *bytes } }
            }
            Told::Item { item: LogItem::Ended { epoch, status }, cursor } => Line::Ended {
                cursor: text(cursor),
                ended: Ended {
                    epoch: *epoch,
                    exit_code: status.shell_code(),
                    signal: of_status(*status),
                },
            },
            Told::Failed(problem) => Line::Error { error: problem.document() },
            Told::Alive => Line::Alive { alive: true },
        }
    }

    fn text(&self) -> String {
        // Texts, numbers and booleans: this cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// As a line of JSON.
pub(super) fn in_json(told: Told) -> Bytes {
    let mut line = Line::of(&told).text();
    line.push('\n');
    line.into()
}

/// As an event.
pub(super) fn to_event(told: Told) -> SseEvent {
    event_of(&told, Line::of(&told).text())
}

/// As the bytes that the process wrote; a failure breaks the connection off.
pub(super) fn in_plain(told: Told) -> Result<Bytes, std::io::Error> {
    match told {
        Told::Item { item: LogItem::Record(record), .. } => Ok(record.bytes),
        Told::Item { item: LogItem::Gap { .. } | LogItem::Ended { .. }, .. } | Told::Alive => {
            Ok(Bytes::new())
        }
        Told::Failed(problem) => Err(std::io::Error::other(problem.detail().to_owned())),
    }
}
