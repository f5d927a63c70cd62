//! Commands as clients see them, over a real tree and an init of the tests.

use std::time::Duration;

use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::edge::testing::{Answer, Edge};

async fn edge() -> Edge {
    let edge = Edge::open().await;
    let made = edge.json("POST", "/v1/projects", r#"{"id": "p", "start": true}"#).await;
    assert_eq!(made.status, 201, "{made:?}");
    edge
}

async fn exec(edge: &Edge, body: Value) -> Answer {
    edge.json("POST", "/v1/projects/p/exec", &body.to_string()).await
}

#[tokio::test]
async fn a_command_is_run_to_its_end() {
    let edge = edge().await;
    let echo = exec(&edge, json!({"argv": ["echo", "hi"]})).await;
    assert_eq!(echo.status, 200);
    let mut echo = echo.json();
    assert!(echo["duration_ms"].take().is_u64());
    assert_eq!(
        echo,
        json!({"stdout": "hi\n", "stderr": "", "exit_code": 0, "timed_out": false,
            "truncated": false, "duration_ms": null})
    );
    let cat =
        exec(&edge, json!({"argv": ["cat"], "stdin": {"base64": "AP8="}, "encoding": "base64"}));
    assert_eq!(cat.await.json()["stdout"], "AP8=");
    let input = "x".repeat(600_000);
    let cat = exec(&edge, json!({"argv": ["cat"], "stdin": input})).await.json();
    assert_eq!(cat["stdout"].as_str().unwrap().len(), input.len());
    assert_eq!(exec(&edge, json!({"argv": ["exit", "3"]})).await.json()["exit_code"], 3);
    let missing = exec(&edge, json!({"argv": ["nope"]})).await.json();
    assert_eq!(missing["exit_code"], 127);
    assert!(missing["stderr"].as_str().unwrap().contains("nope"));
}

#[tokio::test]
async fn too_much_output_is_cut_and_too_long_a_command_killed() {
    let edge = edge().await;
    let flood = exec(&edge, json!({"argv": ["flood", "9000000"]})).await.json();
    assert_eq!(flood["truncated"], true);
    assert_eq!(flood["stdout"].as_str().unwrap().len(), super::OUTPUT_BYTES_MAX);
    let hang = exec(&edge, json!({"argv": ["hang"], "timeout": "50ms"})).await.json();
    assert_eq!((&hang["timed_out"], &hang["signal"]), (&json!(true), &json!("KILL")));
}

#[tokio::test]
async fn what_a_command_says_is_told_as_events() {
    let edge = edge().await;
    let headers = [("content-type", "application/json"), ("accept", "text/event-stream")];
    let body = r#"{"argv": ["complain", "no"]}"#;
    let told = edge.ask("POST", "/v1/projects/p/exec", &headers, body).await;
    assert_eq!(told.headers["content-type"], "text/event-stream");
    let text = String::from_utf8(told.body.to_vec()).unwrap();
    let events: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    assert_eq!(events, ["started", "stderr", "exit"], "{text}");
    assert!(text.contains(r#"data: {"data":"no\n"}"#), "{text}");
}

#[tokio::test]
async fn a_client_that_goes_away_takes_its_command_with_it() {
    let edge = edge().await;
    let headers = [("content-type", "application/json"), ("accept", "text/event-stream")];
    let hang = r#"{"argv": ["hang"]}"#;
    let mut told = edge.send("POST", "/v1/projects/p/exec", &headers, hang).await.into_body();
    for _ in 0..2 {
        told.frame().await.unwrap().unwrap();
    }
    assert_eq!(execs(&edge).await, 1);
    drop(told);
    until_none(&edge).await;

    let answer = edge.send("POST", "/v1/projects/p/exec", &headers[..1], hang);
    assert!(timeout(Duration::from_millis(200), answer).await.is_err());
    until_none(&edge).await;
}

async fn execs(edge: &Edge) -> u64 {
    edge.json("GET", "/v1/projects/p/stats", "").await.json()["execs"].as_u64().unwrap()
}

async fn until_none(edge: &Edge) {
    let waiting = async {
        while execs(edge).await > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(10), waiting).await.expect("no command is left");
}

#[tokio::test]
async fn what_cannot_be_run_is_refused() {
    let edge = edge().await;
    let wrong = exec(&edge, json!({"command": "x", "argv": ["x"]})).await;
    assert_eq!((wrong.status, &wrong.json()["field"]), (400, &json!("argv")));
    let text =
        edge.ask("POST", "/v1/projects/p/exec", &[("content-type", "text/plain")], "ls").await;
    assert_eq!(text.status, 415);
    edge.json("POST", "/v1/projects/p/stop", "").await;
    let stopped = exec(&edge, json!({"argv": ["echo"]})).await;
    assert_eq!((stopped.status, stopped.problem().as_str()), (409, "wrong-phase"));
}
