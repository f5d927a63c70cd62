//! Requests that are wrong before anything of a project is looked at: methods, upgrades,
//! targets, heads, and messages of a WebSocket.

use std::collections::BTreeSet;

use futures_util::{SinkExt as _, StreamExt as _};
use sandtree_testkit::{LONG, within};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::{
    Frame,
    coding::{Data, OpCode},
};

use super::*;

#[tokio::test]
async fn methods_that_a_path_does_not_know_are_answered_with_those_it_knows() {
    const ALL: [&str; 7] = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"];
    let (_server, client) = start().await;
    let paths = client.get("/openapi.json").await.expect(200).json()["paths"].clone();
    let mut tried = 0;
    for (template, operations) in paths.as_object().expect("paths") {
        if template.contains("/ports/") {
            continue; // Every method is passed on.
        }
        let known: BTreeSet<String> = operations
            .as_object()
            .expect("operations")
            .keys()
            .map(|it| it.to_uppercase())
            .collect();
        let path = template.replace("{id}", "p").replace("{path}", "a");
        for method in ALL.into_iter().filter(|method| !known.contains(*method)) {
            let answer = send(&client, method, &path, "").await.expect(405);
            assert_eq!(answer.problem().0, "method-not-allowed", "{method} {path}");
            let allow =
                answer.header("allow").unwrap_or_else(|| panic!("{method} {path}: no Allow"));
            let allowed: BTreeSet<&str> = allow.split(", ").collect();
            let missing = known.iter().find(|known| !allowed.contains(known.as_str()));
            assert!(missing.is_none(), "{method} {path}: {missing:?} is not in {allow}");
            tried += 1;
        }
    }
    assert!(tried > 80, "{tried} methods were tried");
    still_serves(&client).await;
}

#[tokio::test]
async fn upgrades_that_are_no_websocket_are_refused() {
    let (_server, client) = start().await;
    let path = "/v1/projects/p/terminal";
    let key = "dGhlIHNhbXBsZSBub25jZQ==";
    let rows = [
        ("", "", "", "", 426),
        ("keep-alive", "websocket", "13", key, 426),
        ("upgrade", "h2c", "13", key, 426),
        ("upgrade", "websocket", "12", key, 426),
        ("upgrade", "websocket", "", key, 426),
        ("upgrade", "websocket", "13", "", 400),
        ("upgrade", "websocket", "13", "short", 400),
        ("upgrade", "websocket", "13", "!!!!!!!!!!!!!!!!!!!!!!==", 400),
    ];
    for (connection, upgrade, version, key, status) in rows {
        let mut request = client.request(Method::GET, path);
        for (name, value) in [
            ("connection", connection),
            ("upgrade", upgrade),
            ("sec-websocket-version", version),
            ("sec-websocket-key", key),
        ] {
            if !value.is_empty() {
                request = request.header(name, value);
            }
        }
        let answer = request.send().await;
        let row = format!("{connection:?} {upgrade:?} {version:?} {key:?}");
        assert_eq!(answer.status, status, "{row}: {}", answer.text());
        let kind = if status == 426 { "upgrade-required" } else { "invalid-field" };
        assert_eq!(answer.problem().0, kind, "{row}");
    }
    let posted = client.post_empty(path).await.expect(405);
    assert_eq!(posted.problem().0, "method-not-allowed");
    still_serves(&client).await;
}

#[tokio::test]
async fn websocket_clients_that_break_the_protocol_are_told_why() {
    let (_server, client) = start().await;
    let _ = client.post_empty("/v1/projects/p/start").await.expect(200);
    let not_utf8 = Frame::message(vec![0xff, 0xfe], OpCode::Data(Data::Text), true);
    let rows = [
        ("no JSON", Message::text("hello"), 1003),
        ("an unknown type", Message::text(r#"{"type": "odd"}"#), 1003),
        ("an unknown field", Message::text(r#"{"type": "ping", "odd": 1}"#), 1003),
        ("a negative size", Message::text(r#"{"type": "resize", "cols": -1, "rows": 9}"#), 1003),
        ("a huge size", Message::text(r#"{"type": "resize", "cols": 65536, "rows": 9}"#), 1003),
        ("a large message", Message::binary(vec![b'x'; 5000]), 1009),
        ("text that is not UTF-8", Message::Frame(not_utf8), 1007),
    ];
    for (name, message, code) in rows {
        let socket = client.websocket("/v1/projects/p/terminal").await;
        let mut socket = socket.unwrap_or_else(|status| panic!("{name}: {status}"));
        socket.send(message).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        let closed = within(LONG, name, async {
            loop {
                match socket.next().await {
                    Some(Ok(Message::Close(frame))) => return frame,
                    Some(Ok(_)) => {}
                    Some(Err(error)) => panic!("{name}: {error}"),
                    None => panic!("{name}: the connection ended without a word"),
                }
            }
        });
        let frame = closed.await.unwrap_or_else(|| panic!("{name}: closed without a code"));
        assert_eq!(u16::from(frame.code), code, "{name}: {frame}");
        assert!(!frame.reason.is_empty(), "{name}");
    }
    still_serves(&client).await;
}

#[tokio::test]
async fn targets_that_are_no_path_here_are_refused() {
    let (_server, client) = start().await;
    let rows = [
        ("CONNECT evil.example:443 HTTP/1.1\r\nhost: evil.example:443", 400, "bad-request"),
        ("GET http://evil.example/health HTTP/1.1\r\nhost: localhost", 421, "unknown-host"),
        ("GET http://localhost/health HTTP/1.1\r\nhost: localhost", 200, ""),
        ("OPTIONS * HTTP/1.1\r\nhost: localhost", 400, "bad-request"),
        ("GET /health HTTP/1.1", 400, "bad-request"),
        ("GET /health HTTP/1.1\r\nhost: localhost\r\nhost: evil.example", 400, "bad-request"),
        ("GET /health HTTP/1.1\r\nhost: 127.0.0.1.evil.example", 421, "unknown-host"),
        ("GET //health HTTP/1.1\r\nhost: localhost", 404, "unknown-route"),
        ("GET /v1/../health HTTP/1.1\r\nhost: localhost", 404, "unknown-route"),
        ("BREW /health HTTP/1.1\r\nhost: localhost", 405, "method-not-allowed"),
    ];
    for (head, status, kind) in rows {
        let request = format!("{head}\r\nconnection: close\r\n\r\n");
        let (found, document) = parse_raw(&client.raw(request.as_bytes(), QUIET).await);
        assert_eq!(found, status, "{head:?}: {document}");
        let slug = document["type"].as_str().and_then(|kind| kind.rsplit('/').next());
        assert_eq!(slug.unwrap_or(""), kind, "{head:?}: {document}");
    }
    still_serves(&client).await;
}

#[tokio::test]
async fn heads_that_are_too_large_or_no_http_end_their_connection() {
    let (_server, client) = start().await;
    let line = |count: usize, size: usize| {
        let value = "x".repeat(size);
        let lines: String = (0..count).map(|n| format!("x-{n}: {value}\r\n")).collect();
        format!("GET /health HTTP/1.1\r\nhost: localhost\r\n{lines}\r\n").into_bytes()
    };
    let long_target = format!("GET /{} HTTP/1.1\r\nhost: localhost\r\n\r\n", "a".repeat(200_000));
    let rows: [(&str, Vec<u8>, &[u16]); 9] = [
        ("200 headers", line(200, 1), &[431]),
        ("a header of 100 kB", line(1, 100_000), &[431]),
        ("90 headers of 1 kB", line(90, 1000), &[431]),
        ("a target of 200 kB", long_target.into_bytes(), &[414, 431]),
        ("a bad version", b"GET /health HTTP/9.9\r\n\r\n".to_vec(), &[0, 400]),
        ("binary", (0..=255_u8).cycle().take(4096).collect(), &[0, 400]),
        ("a bad header", b"GET /health HTTP/1.1\r\nho st: x\r\n\r\n".to_vec(), &[0, 400]),
        ("a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(), &[0, 400]),
        (
            "two lengths",
            b"POST /v1/projects HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n"
                .to_vec(),
            &[0, 400],
        ),
    ];
    for (name, request, statuses) in rows {
        let answer = within(LONG, name, client.raw(&request, QUIET)).await;
        let status = if answer.is_empty() { 0 } else { parse_raw(&answer).0 };
        assert!(statuses.contains(&status), "{name}: {status}");
    }
    still_serves(&client).await;
}

#[tokio::test]
async fn requests_that_stop_half_way_are_closed_in_time() {
    let (_server, client) = start().await;
    let rows: [(&str, &[u8]); 5] = [
        ("nothing", b""),
        ("half a method", b"GE"),
        ("half a target", b"GET /hea"),
        ("half a header", b"GET /health HTTP/1.1\r\nhost: loc"),
        ("no end of the head", b"GET /health HTTP/1.1\r\nhost: localhost\r\n"),
    ];
    for (name, bytes) in rows {
        // Much longer than the time-out: an open connection is a failure of its own.
        let heard = tokio::time::timeout(QUIET, client.raw(bytes, LONG)).await;
        let answer = heard.unwrap_or_else(|_| panic!("{name}: the connection is still open"));
        let status = if answer.is_empty() { 0 } else { parse_raw(&answer).0 };
        assert!([0, 400, 408].contains(&status), "{name}: {status}");
    }
    still_serves(&client).await;
}
