use std::collections::VecDeque;

use bytes::Bytes;
use http_body_util::BodyExt;
use sandtree_actors::LogRecord;
use sandtree_model::{ExitStatus, Fault};

use super::*;

/// A log of so many items, at whose end the process stands still.
struct Written {
    items: VecDeque<Answer<LogItem>>,
    offset: u64,
}

impl Source for Written {
    async fn next(&mut self) -> Answer<Option<LogItem>> {
        self.offset += 10;
        self.items.pop_front().transpose()
    }

    async fn more(&mut self) -> bool {
        std::future::pending().await
    }

    fn cursor(&self) -> Option<Cursor> {
        Some(Cursor { epoch: 1, offset: self.offset })
    }
}

fn record(stream: u8, bytes: &'static [u8]) -> Answer<LogItem> {
    let at = Cursor { epoch: 1, offset: 0 };
    Ok(LogItem::Record(LogRecord { at, time: 0, stream, bytes: Bytes::from_static(bytes) }))
}

fn log(items: impl IntoIterator<Item = Answer<LogItem>>) -> Written {
    Written { items: items.into_iter().collect(), offset: 0 }
}

async fn text(format: Format, reading: Reading<Written>) -> String {
    let response = respond(format, reading.into_stream(), CancellationToken::new());
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

#[tokio::test]
async fn every_item_is_a_line_with_where_to_go_on() {
    let items = [
        record(1, b"a\n"),
        record(2, b"\xff"),
        Ok(LogItem::Gap { bytes: Some(5), to: Cursor { epoch: 1, offset: 25 } }),
        Ok(LogItem::Ended { epoch: 1, status: ExitStatus::Signal(15) }),
    ];
    let reading = Reading::new(log(items), None, false);
    let time = "1970-01-01T00:00:00.000000Z";
    assert_eq!(
        text(Format::Lines, reading).await,
        [
            &format!(r#"{{"cursor":"1:10","time":"{time}","stream":"stdout","text":"a\n"}}"#),
            &format!(r#"{{"cursor":"1:20","time":"{time}","stream":"stderr","base64":"/w=="}}"#),
            r#"{"cursor":"1:25","gap":{"bytes":5}}"#,
            r#"{"cursor":"1:40","ended":{"epoch":1,"exit_code":143,"signal":"TERM"}}"#,
            "",
        ]
        .join("\n")
    );
}

#[tokio::test]
async fn events_carry_their_cursor_and_a_failure_ends_them() {
    let fault = Fault::Disk("gone".into());
    let reading = Reading::new(log([record(1, b"a"), Err(fault.into())]), None, true);
    let text = text(Format::Events, reading).await;
    assert!(text.contains("id: 1:10\nevent: record\ndata: {"), "{text}");
    assert!(text.contains("event: error\ndata: {"), "{text}");
}

#[tokio::test]
async fn plain_text_is_what_one_stream_wrote() {
    let items = [record(1, b"a"), record(2, b"x"), record(1, b"b\xff")];
    let items = items.into_iter().take(2).chain([record(1, b"b")]);
    let reading = Reading::new(log(items), Some(Stdio::Stdout), false);
    assert_eq!(text(Format::Plain, reading).await, "ab");
}

#[tokio::test]
async fn the_last_lines_are_whole_records() {
    for (lines, expected) in
        [(1, "e\n"), (2, "c\nd\ne\n"), (3, "c\nd\ne\n"), (9, "a\nb\nc\nd\ne\n")]
    {
        let items = [record(1, b"a\n"), record(1, b"b\n"), record(1, b"c\nd\n"), record(1, b"e\n")];
        let mut reading = Reading::new(log(items), None, false);
        reading.skip_to_last(lines).await.unwrap();
        assert_eq!(text(Format::Plain, reading).await, expected, "{lines}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_follows_is_told_that_the_connection_lives() {
    let reading = Reading::new(log([record(1, b"a")]), None, true);
    let shutdown = CancellationToken::new();
    let mut body = respond(Format::Lines, reading.into_stream(), shutdown.clone()).into_body();
    body.frame().await.unwrap().unwrap();
    let alive = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(alive, "{\"alive\":true}\n");
    shutdown.cancel();
    assert!(body.frame().await.is_none());
}

#[test]
fn where_to_begin_and_what_to_send() {
    let cursor = Cursor { epoch: 2, offset: 3 };
    assert_eq!(after(Some("2:3"), Some("1:1")).unwrap(), Some(cursor));
    assert_eq!(after(None, Some("2:3")).unwrap(), Some(cursor));
    assert_eq!(after(None, Some("x")).unwrap_err().document()["field"], "after");
    assert_eq!(after(Some("x"), None).unwrap_err().document()["field"], "Last-Event-ID");
    let accept = |value: &'static str| {
        format(&HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(value))]))
    };
    assert_eq!(accept("*/*"), Format::Lines);
    assert_eq!(accept("application/json, Text/Plain;q=0.5"), Format::Plain);
    assert_eq!(accept("text/event-stream"), Format::Events);
}
