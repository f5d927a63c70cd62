//! What is the same for all routes: where they are, who may ask, and what is told of a body
//! that cannot be read. What they do is in `tests/it/dialects/daiv`.

mod bodies;

use serde_json::{Value, json};

use crate::edge::context::EdgeSettings;
use crate::edge::testing::{Answer, Edge};

const KEY: &str = "secret";
/// A session that does not exist.
const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

async fn with_key() -> Edge {
    Edge::with(Some(KEY), EdgeSettings::default()).await
}

async fn post(edge: &Edge, path: &str, body: &Value) -> Answer {
    edge.json("POST", path, &body.to_string()).await
}

#[tokio::test]
async fn a_path_with_the_other_slash_is_redirected_with_its_query_and_without_a_key() {
    let edge = with_key().await;
    for (path, place) in [
        ("/-/health", "/-/health/"),
        ("/-/version", "/-/version/"),
        ("/run/commands", "/run/commands/"),
        ("/run/code", "/run/code/"),
        ("/session", "/session/"),
        ("/session/abc", "/session/abc/"),
        ("/session/abc/seed", "/session/abc/seed/"),
        ("/session/abc/egress", "/session/abc/egress/"),
        ("/session/abc/fs/ls/", "/session/abc/fs/ls"),
        ("/session/abc?force=true", "/session/abc/?force=true"),
    ] {
        for prefix in ["", "/api/v1"] {
            for method in ["GET", "POST", "DELETE", "PUT"] {
                let answer = edge.ask(method, &format!("{prefix}{path}"), &[], "").await;
                let location = format!("{prefix}{place}");
                let told = answer.headers.get("location").map(|it| it.to_str().unwrap());
                let expected = (307, Some(location.as_str()));
                assert_eq!((answer.status, told), expected, "{method} {prefix}{path}");
            }
        }
    }
}

#[tokio::test]
async fn a_key_is_asked_for_before_anything_is_read() {
    let edge = with_key().await;
    let missing = json!({ "detail": "API Key header is missing" });
    let invalid = json!({ "detail": "Invalid API Key" });
    for path in [
        "/session/",
        "/api/v1/session/",
        "/session/abc/",
        "/session/abc/fs/read",
        "/run/commands/",
        "/run/code/",
        "/session/abc/no-such-route",
    ] {
        let answer = edge.json("POST", path, "not json").await;
        assert_eq!((answer.status, answer.json()), (403, missing.clone()), "{path}");
        let wrong = [("x-api-key", "other"), ("content-type", "application/json")];
        let answer = edge.ask("POST", path, &wrong, "not json").await;
        assert_eq!((answer.status, answer.json()), (403, invalid.clone()), "{path}");
    }
    let right = [("X-Api-KEY", KEY), ("content-type", "application/json")];
    assert_eq!(edge.ask("POST", "/session/", &right, "not json").await.status, 422);
}

#[tokio::test]
async fn health_and_version_need_no_key() {
    let edge = with_key().await;
    for prefix in ["", "/api/v1"] {
        let health = edge.ask("GET", &format!("{prefix}/-/health/"), &[], "").await;
        assert_eq!((health.status, health.json()), (200, json!({ "status": "ok" })));
        let version = edge.ask("GET", &format!("{prefix}/-/version/"), &[], "").await;
        assert!(version.status == 200 && version.json()["version"].is_string());
    }
    edge.engine.go_away();
    let health = edge.ask("GET", "/-/health/", &[], "").await;
    let words = json!({ "detail": "Docker client is not responding" });
    assert_eq!((health.status, health.json()), (503, words));
}

#[tokio::test]
async fn what_is_not_served_is_told_as_by_its_own_server() {
    let edge = Edge::open().await;
    for (method, path, status, detail) in [
        ("GET", "/session/a/b/c", 404, "Not Found"),
        ("GET", "/api/v1/nothing", 404, "Not Found"),
        ("POST", "/session/a/fs/chmod", 404, "Not Found"),
        ("PATCH", "/session/", 405, "Method Not Allowed"),
        ("GET", "/session/", 405, "Method Not Allowed"),
        ("POST", "/-/health/", 405, "Method Not Allowed"),
        ("GET", "/session/a/fs/ls", 405, "Method Not Allowed"),
    ] {
        let answer = edge.ask(method, path, &[], "").await;
        let expected = (status, json!({ "detail": detail }));
        assert_eq!((answer.status, answer.json()), expected, "{method} {path}");
    }
}

/// Starts a session on the engine of the tests; its path.
async fn session(edge: &Edge) -> String {
    let made = post(edge, "/session/", &json!({ "base_image": "image" })).await;
    assert_eq!(made.status, 200, "{made:?}");
    format!("/session/{}/", made.json()["session_id"].as_str().unwrap())
}

#[tokio::test]
async fn every_route_answers_at_the_root_and_below_the_prefix() {
    let edge = Edge::open().await;
    let session = format!("/session/{ID}/");
    let no_field = json!([{ "type": "missing", "loc": ["body"], "msg": "Field required",
                            "input": null }]);
    let gone = json!("Session not found or already closed");
    let no_archive = json!("At least one of repo_archive and skills_archive must be provided");
    for (method, path, status, detail) in [
        ("POST", "/run/commands/".to_owned(), 422, &no_field),
        ("POST", "/run/code/".to_owned(), 422, &no_field),
        ("POST", "/session/".to_owned(), 422, &no_field),
        ("POST", session.clone(), 422, &no_field),
        ("GET", session.clone(), 404, &gone),
        ("DELETE", session.clone(), 204, &Value::Null),
        ("POST", format!("{session}seed/"), 422, &no_archive),
        ("PUT", format!("{session}egress/"), 422, &no_field),
        ("POST", format!("{session}fs/ls"), 422, &no_field),
        ("POST", format!("{session}fs/read"), 422, &no_field),
        ("POST", format!("{session}fs/grep"), 422, &no_field),
        ("POST", format!("{session}fs/glob"), 422, &no_field),
        ("POST", format!("{session}fs/write"), 422, &no_field),
        ("POST", format!("{session}fs/edit"), 422, &no_field),
        ("POST", format!("{session}fs/delete"), 422, &no_field),
    ] {
        for prefix in ["", "/api/v1"] {
            let answer = edge.ask(method, &format!("{prefix}{path}"), &[], "").await;
            assert_eq!(answer.status, status, "{method} {prefix}{path}");
            if status != 204 {
                assert_eq!(&answer.json()["detail"], detail, "{method} {prefix}{path}");
            }
        }
    }
}

#[tokio::test]
async fn a_session_that_cannot_be_restarted_or_stopped_is_told_so() {
    let edge = Edge::open().await;
    let path = session(&edge).await;
    let id = path.split('/').nth(2).unwrap();
    assert_eq!(edge.ask("DELETE", &path, &[], "").await.status, 204);
    edge.engine.go_away();
    let words = json!({ "detail": format!("Session '{id}' could not be restarted") });
    let warmed = edge.ask("GET", &path, &[], "").await;
    assert_eq!((warmed.status, warmed.json()), (503, words.clone()));
    let ran = post(&edge, &path, &json!({ "commands": [] })).await;
    assert_eq!((ran.status, ran.json()), (503, words));

    edge.engine.come_back();
    let path = session(&edge).await;
    let id = path.split('/').nth(2).unwrap();
    edge.engine.go_away();
    let closed = edge.ask("DELETE", &path, &[], "").await;
    let words = json!({ "detail": format!("Session '{id}' could not be stopped") });
    assert_eq!((closed.status, closed.json()), (503, words));
}
