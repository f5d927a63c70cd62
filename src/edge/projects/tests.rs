use http_body_util::BodyExt as _;
use serde_json::json;

use crate::edge::testing::Edge;

#[tokio::test]
async fn a_project_lives_from_create_to_delete() {
    let edge = Edge::open().await;
    let body =
        r#"{"id": "demo", "labels": {"team": "a:b"}, "idle_timeout": "never", "start": true}"#;
    let made = edge.json("POST", "/v1/projects", body).await;
    assert_eq!(
        (made.status, &made.headers["location"]),
        (201, &"/v1/projects/demo".parse().unwrap())
    );
    let made = made.json();
    assert_eq!((&made["phase"], &made["idle_timeout"]), (&json!("running"), &json!("never")));
    assert!(made["sandbox"]["started_at"].as_str().unwrap().ends_with('Z'), "{made}");
    for (operation, phase) in [
        ("pause", "paused"),
        ("resume", "running"),
        ("restart", "running"),
        ("stop", "stopped"),
        ("start", "running"),
    ] {
        let done = edge.json("POST", &format!("/v1/projects/demo/{operation}"), "").await;
        assert_eq!((done.status, &done.json()["phase"]), (200, &json!(phase)), "{operation}");
    }
    let again = edge.json("POST", "/v1/projects", r#"{"id": "demo"}"#).await;
    assert_eq!((again.status, again.problem().as_str()), (409, "exists"));
    assert_eq!(edge.json("DELETE", "/v1/projects/demo?keep_files=true", "").await.status, 204);
    assert_eq!(edge.json("GET", "/v1/projects/demo", "").await.status, 404);
}

#[tokio::test]
async fn a_project_that_is_not_started_has_no_sandbox() {
    let edge = Edge::open().await;
    let made = edge.json("POST", "/v1/projects", "").await;
    assert_eq!((made.status, &made.json()["phase"]), (201, &json!("stopped")));
    assert_eq!((&made.json()["sandbox"], &made.json()["process"]), (&json!(null), &json!(null)));
}

#[tokio::test]
async fn the_same_key_makes_one_project() {
    let edge = Edge::open().await;
    let headers = [("content-type", "application/json"), ("idempotency-key", "k1")];
    let ask = |body: &'static str| edge.ask("POST", "/v1/projects", &headers, body);
    let first = ask(r#"{"labels": {"a": "1", "b": "2"}}"#).await;
    let second = ask(r#"{ "labels": {"b": "2", "a": "1"}, "start": false }"#).await;
    assert_eq!((first.status, second.status), (201, 200));
    assert_eq!(first.json()["uid"], second.json()["uid"]);
    assert_eq!(second.headers["idempotency-replayed"], "true");
    let other = ask(r#"{"labels": {}}"#).await;
    assert_eq!((other.status, other.problem().as_str()), (409, "conflict"));
    let long = "k".repeat(256);
    let long = [("content-type", "application/json"), ("idempotency-key", long.as_str())];
    let long = edge.ask("POST", "/v1/projects", &long, "{}").await;
    assert_eq!((long.status, long.json()["limit"].as_u64()), (400, Some(255)));
}

#[tokio::test]
async fn an_answer_can_come_before_the_work_is_done() {
    let edge = Edge::open().await;
    let headers = [("content-type", "application/json"), ("prefer", "wait=5, respond-async")];
    let made = edge.ask("POST", "/v1/projects", &headers, r#"{"id": "a", "start": true}"#).await;
    assert_eq!(
        (made.status, &made.headers["preference-applied"]),
        (202, &"respond-async".parse().unwrap())
    );
    let ran = edge.json("GET", "/v1/projects/a?wait_for=running&timeout=20s", "").await;
    assert_eq!((ran.status, &ran.json()["phase"]), (200, &json!("running")));
    let gone = edge.ask("DELETE", "/v1/projects/a", &headers[1..], "").await;
    assert_eq!(gone.status, 202);
}

#[tokio::test]
async fn waiting_has_a_limit_and_answers_how_it_is_then() {
    let edge = Edge::open().await;
    edge.json("POST", "/v1/projects", r#"{"id": "a"}"#).await;
    let waited = edge.json("GET", "/v1/projects/a?wait_for=running&timeout=10ms", "").await;
    assert_eq!((waited.status, &waited.json()["phase"]), (200, &json!("stopped")));
    for query in
        ["wait_for=up", "wait_for=running&timeout=11m", "wait_for=running&timeout=3", "timeout=1s"]
    {
        let wrong = edge.json("GET", &format!("/v1/projects/a?{query}"), "").await;
        assert_eq!((wrong.status, wrong.problem().as_str()), (400, "invalid-field"), "{query}");
    }
}

#[tokio::test]
async fn a_list_has_pages_and_filters() {
    let edge = Edge::open().await;
    for id in ["a", "b", "c"] {
        let body = format!(r#"{{"id": "{id}", "labels": {{"is-b": "{}"}}}}"#, id == "b");
        edge.json("POST", "/v1/projects", &body).await;
    }
    let ids = |answer: &serde_json::Value| -> Vec<String> {
        let items = answer["items"].as_array().unwrap().iter();
        items.map(|item| item["id"].as_str().unwrap().to_owned()).collect()
    };
    let first = edge.json("GET", "/v1/projects?limit=2", "").await.json();
    assert_eq!(
        (ids(&first), &first["next_cursor"]),
        (vec!["a".to_owned(), "b".to_owned()], &json!("b"))
    );
    let rest = edge.json("GET", "/v1/projects?limit=2&cursor=b", "").await.json();
    assert_eq!((ids(&rest), &rest["next_cursor"]), (vec!["c".to_owned()], &json!(null)));
    let labelled = edge.json("GET", "/v1/projects?label=is-b:true&phase=stopped", "").await.json();
    assert_eq!(ids(&labelled), ["b"]);
}

#[tokio::test]
async fn a_patch_merges() {
    let edge = Edge::open().await;
    edge.json("POST", "/v1/projects", r#"{"id": "a", "labels": {"x": "1", "y": "2"}}"#).await;
    let patch =
        r#"{"labels": {"x": null, "z": "3"}, "limits": {"pids": 99}, "max_lifetime": "2h"}"#;
    let media = [("content-type", "application/merge-patch+json")];
    let patched = edge.ask("PATCH", "/v1/projects/a", &media, patch).await.json();
    assert_eq!(patched["labels"], json!({"y": "2", "z": "3"}));
    assert_eq!(
        (&patched["limits"]["pids"], &patched["limits"]["cpu_millis"]),
        (&json!(99), &json!(1000))
    );
    assert_eq!(patched["max_lifetime"], "2h");
    let wrong = edge.json("PATCH", "/v1/projects/a", r#"{"limits": {"pids": 1}}"#).await;
    assert_eq!(wrong.json()["field"], "limits.pids");
}

#[tokio::test]
async fn an_engine_that_is_away_is_said_to_be_away() {
    let edge = Edge::open().await;
    edge.engine.go_away();
    let made = edge.json("POST", "/v1/projects", r#"{"id": "a", "start": true}"#).await;
    assert_eq!((made.status, made.problem().as_str()), (503, "engine-away"), "{made:?}");
    assert!(made.headers.contains_key("retry-after"));
}

#[tokio::test]
async fn events_follow_a_project_to_its_end() {
    let edge = Edge::open().await;
    edge.json("POST", "/v1/projects", r#"{"id": "a"}"#).await;
    let resumed = [("accept", "text/event-stream"), ("last-event-id", "0.0")];
    let response = edge.send("GET", "/v1/projects/a/events", &resumed, "").await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let reading = tokio::spawn(response.into_body().collect());
    edge.json("POST", "/v1/projects/a/start", "").await;
    edge.json("DELETE", "/v1/projects/a", "").await;
    let text = reading.await.unwrap().unwrap().to_bytes();
    let text = String::from_utf8(text.to_vec()).unwrap();
    for part in ["event: transition\n", r#""to":"running""#, r#""to":"deleted""#] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let html = edge.ask("GET", "/v1/projects/a/events", &[("accept", "text/html")], "").await;
    assert_eq!(html.status, 406);
}
