//! Runs as clients see them, over a real tree and an init of the tests.

use std::io::Read as _;

use serde_json::{Value, json};

use super::*;
use crate::edge::testing::{Answer, Edge};

async fn post(edge: &Edge, body: &Value) -> Answer {
    edge.json("POST", "/v1/run", &body.to_string()).await
}

async fn until_gone(edge: &Edge) {
    sandtree_testkit::until("the project to be gone", async || {
        let list = edge.json("GET", "/v1/projects", "").await.json();
        edge.engine.containers().is_empty() && list["items"] == json!([])
    })
    .await;
}

/// The files of an answer, by their paths.
fn unpacked(files: &Value) -> Vec<(String, String)> {
    let archive = STANDARD.decode(files["archive"].as_str().unwrap()).unwrap();
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(archive.as_slice()));
    let read = |entry: std::io::Result<tar::Entry<'_, _>>| {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().display().to_string();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        (path, text)
    };
    archive.entries().unwrap().map(read).collect()
}

#[tokio::test]
async fn commands_run_in_their_order_and_nothing_is_left() {
    let edge = Edge::open().await;
    let body = json!({"commands": ["echo hi", "complain no", "exit 3", "echo more"]});
    let answer = post(&edge, &body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let mut document = answer.json();
    for result in document["results"].as_array_mut().unwrap() {
        assert!(result["duration_ms"].take().is_u64());
    }
    let result = |command: &str, stdout: &str, stderr: &str, exit_code: i32| {
        json!({
            "command": command, "stdout": stdout, "stderr": stderr, "exit_code": exit_code,
            "timed_out": false, "truncated": false, "duration_ms": null,
        })
    };
    let results = [
        result("echo hi", "hi\n", "", 0),
        result("complain no", "", "no\n", 0),
        result("exit 3", "", "", 3),
        result("echo more", "more\n", "", 0),
    ];
    assert_eq!(document, json!({"results": results, "files": null, "timed_out": false}));
    until_gone(&edge).await;

    let body = json!({"commands": ["exit 3", "echo more"], "fail_fast": true});
    assert_eq!(post(&edge, &body).await.json()["results"].as_array().unwrap().len(), 1);
    until_gone(&edge).await;
}

#[tokio::test]
async fn files_go_in_and_those_that_are_asked_for_come_back() {
    let edge = Edge::open().await;
    let body = json!({
        "files": [
            {"path": "d/a.txt", "content": "1"}, {"path": "d/b", "content": "2"},
            {"path": "c.txt", "content": "3"},
        ],
        "commands": ["true"], "cwd": "d", "collect": ["*.txt"],
    });
    let document = post(&edge, &body).await.json();
    assert_eq!(unpacked(&document["files"]), [("a.txt".to_owned(), "1".to_owned())]);
    assert_eq!(document["files"]["paths"], json!(["a.txt"]));
    // What was there before the last command has not changed.
    let mut body = body;
    body["collect"] = "changed".into();
    assert_eq!(post(&edge, &body).await.json()["files"], Value::Null);
    until_gone(&edge).await;
}

#[tokio::test]
async fn an_archive_is_unpacked_and_a_broken_one_refused() {
    let edge = Edge::open().await;
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(2);
    header.set_mode(0o644);
    builder.append_data(&mut header, "x/y", &b"hi"[..]).unwrap();
    let archive = STANDARD.encode(builder.into_inner().unwrap());
    let body = json!({"archive": archive, "commands": ["true"], "collect": ["**"]});
    let document = post(&edge, &body).await.json();
    assert_eq!(unpacked(&document["files"]), [("x/y".to_owned(), "hi".to_owned())]);
    assert_eq!(
        (&document["unpacked"]["files"], &document["unpacked"]["bytes"]),
        (&json!(1), &json!(2))
    );

    let broken = STANDARD.encode([7; 700]);
    let answer = post(&edge, &json!({"archive": broken, "commands": ["true"]})).await;
    assert_eq!((answer.status, answer.problem().as_str()), (400, "malformed-body"));
    until_gone(&edge).await;
}

#[tokio::test]
async fn the_time_of_a_run_is_that_of_all_its_commands() {
    let edge = Edge::open().await;
    let body = json!({"commands": ["echo hi", "hang", "echo more"], "timeout": "2s"});
    let document = post(&edge, &body).await.json();
    assert_eq!(document["timed_out"], true);
    let results = document["results"].as_array().unwrap();
    assert_eq!(results.len(), 2, "{document}");
    assert_eq!((&results[1]["timed_out"], &results[1]["exit_code"]), (&json!(true), &json!(137)));
    until_gone(&edge).await;
}

#[tokio::test]
async fn what_commands_say_is_told_as_events() {
    let edge = Edge::open().await;
    let headers = [("content-type", "application/json"), ("accept", "text/event-stream")];
    let body = json!({"commands": ["echo hi", "exit 3"], "fail_fast": true, "collect": "none"});
    let answer = edge.ask("POST", "/v1/run", &headers, &body.to_string()).await;
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    let events: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    let expected = ["command", "started", "stdout", "exit", "command", "started", "exit", "done"];
    assert_eq!(events, expected, "{text}");
    assert!(text.contains(r#"data: {"command":"exit 3","index":1}"#), "{text}");
    assert!(text.contains(r#"data: {"files":null,"timed_out":false}"#), "{text}");
    until_gone(&edge).await;

    let body = json!({"commands": ["true"], "profile": "none"});
    let answer = edge.ask("POST", "/v1/run", &headers, &body.to_string()).await;
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    assert!(text.contains("event: error") && text.contains(r#""field":"profile""#), "{text}");
}

#[tokio::test]
async fn a_client_that_goes_away_takes_its_run_with_it() {
    let edge = Edge::open().await;
    let headers = [("content-type", "application/json"), ("accept", "text/event-stream")];
    let body = json!({"commands": ["hang"]}).to_string();
    let response = edge.send("POST", "/v1/run", &headers, &body).await;
    let mut body = Box::pin(response.into_body());
    // Polled until the command runs.
    let mut text = String::new();
    while !text.contains("event: started") {
        let frame = http_body_util::BodyExt::frame(&mut body).await.unwrap().unwrap();
        text.push_str(&String::from_utf8_lossy(&frame.into_data().unwrap()));
    }
    assert_eq!(edge.engine.containers().len(), 1);
    drop(body);
    until_gone(&edge).await;
}
