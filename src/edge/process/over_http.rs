//! The process as clients see it, over a real tree and an init of the tests.

use std::time::Duration;

use serde_json::json;
use tokio::time::timeout;

use crate::edge::testing::{Answer, Edge};

const PROCESS: &str = "/v1/projects/p/process";

async fn edge() -> Edge {
    let edge = Edge::open().await;
    let made = edge.json("POST", "/v1/projects", r#"{"id": "p", "start": true}"#).await;
    assert_eq!(made.status, 201, "{made:?}");
    edge
}

async fn logs(edge: &Edge, query: &str, accept: &str) -> Answer {
    let path = format!("{PROCESS}/logs?{query}");
    edge.ask("GET", &path, &[("accept", accept)], "").await
}

/// Waits until the log has so many lines of output.
async fn until_lines(edge: &Edge, count: usize) {
    let waiting = async {
        loop {
            let text = logs(edge, "", "text/plain").await.body;
            if text.iter().filter(|byte| **byte == b'\n').count() >= count {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(20), waiting).await.expect("lines in the log");
}

#[tokio::test]
async fn the_process_is_started_once_and_its_log_is_read_from_anywhere() {
    let edge = edge().await;
    assert_eq!(edge.json("GET", PROCESS, "").await.status, 404);
    let spec = r#"{"argv": ["count", "3"]}"#;
    let started = edge.json("PUT", PROCESS, spec).await;
    assert_eq!(started.status, 201, "{started:?}");
    assert_eq!(edge.json("PUT", PROCESS, spec).await.status, 200);
    let shown = edge.json("GET", PROCESS, "").await.json();
    assert_eq!((&shown["state"], &shown["argv"]), (&json!("running"), &json!(["count", "3"])));

    until_lines(&edge, 3).await;
    let lines = logs(&edge, "", "*/*").await;
    assert_eq!(lines.headers["content-type"], "application/x-ndjson");
    let lines = String::from_utf8(lines.body.to_vec()).unwrap();
    let records: Vec<serde_json::Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let text: String = records.iter().filter_map(|record| record["text"].as_str()).collect();
    assert_eq!(text.lines().count(), 3, "{lines}");
    assert_eq!(records[0]["stream"], "stdout");

    let cursor = records[0]["cursor"].as_str().unwrap();
    let rest = logs(&edge, &format!("after={cursor}"), "text/plain").await.body;
    let first = records[0]["text"].as_str().unwrap();
    assert_eq!(format!("{first}{}", String::from_utf8_lossy(&rest)), text);
    let last = logs(&edge, "tail=1&stream=stdout", "text/plain").await.body;
    assert!(text.ends_with(std::str::from_utf8(&last).unwrap()), "{last:?}");
    assert!(logs(&edge, "stream=stderr", "text/plain").await.body.is_empty());
}

#[tokio::test]
async fn the_process_gets_signals_and_is_stopped() {
    let edge = edge().await;
    edge.json("PUT", PROCESS, r#"{"command": "serve"}"#).await;
    let signal = format!("{PROCESS}/signal");
    assert_eq!(edge.json("POST", &signal, r#"{"signal": "HUP"}"#).await.status, 204);
    let bad = edge.json("POST", &signal, r#"{"signal": "BOOM"}"#).await;
    assert_eq!((bad.status, &bad.json()["field"]), (400, &json!("signal")));
    let stopped = edge.json("DELETE", PROCESS, "").await;
    assert_eq!(stopped.status, 200, "{stopped:?}");
    assert_ne!(stopped.json()["state"], "running");
}

#[tokio::test]
async fn a_log_that_is_asked_for_wrongly_says_so() {
    let edge = edge().await;
    for (query, field) in
        [("after=x", "after"), ("tail=0", "tail"), ("stream=both", "stream"), ("odd=1", "odd")]
    {
        let answer = logs(&edge, query, "*/*").await;
        assert_eq!((answer.status, &answer.json()["field"]), (400, &json!(field)), "{query}");
    }
}
