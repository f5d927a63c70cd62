//! Requests that cannot be served as they are: each is told what is wrong with it,
//! and the server goes on.

use std::time::Duration;

use hyper::Method;
use sandtree_testkit::{Client, Response};
use serde_json::{Value, json};

use crate::support::{Project, run, server};

/// A JSON request: method, path, body, and the problem: status, last part of its
/// type, and the field that it names.
type Row = (Method, &'static str, Value, u16, &'static str, &'static str);

fn named(method: &Method, path: &'static str, body: Value, field: &'static str) -> Row {
    (method.clone(), path, body, 400, "invalid-field", field)
}

/// What cannot be created.
fn creates() -> Vec<Row> {
    let create = |body: Value, field| named(&Method::POST, "/v1/projects", body, field);
    vec![
        create(json!({ "id": "Upper" }), "id"),
        create(json!({ "id": "" }), "id"),
        create(json!({ "id": "a".repeat(64) }), "id"),
        create(json!({ "id": "a/b" }), "id"),
        create(json!({ "id": 5 }), "id"),
        create(json!({ "imge": "x" }), "imge"),
        create(json!({ "profile": "no-such-profile" }), "profile"),
        create(json!({ "limits": { "pids": 1 } }), "limits.pids"),
        create(json!({ "limits": { "memory_bytes": 1 } }), "limits.memory_bytes"),
        create(json!({ "limits": { "memory_bytes": "1G" } }), "limits.memory_bytes"),
        create(json!({ "limits": { "cpu_millis": u64::MAX } }), "limits.cpu_millis"),
        create(json!({ "limits": { "gpus": 1 } }), "limits.gpus"),
        create(json!({ "network": "host" }), "network"),
        create(json!({ "privileged": true }), "privileged"),
        create(json!({ "idle_timeout": "10" }), "idle_timeout"),
        create(json!({ "idle_timeout": "11y" }), "idle_timeout"),
        create(json!({ "max_lifetime": "-1s" }), "max_lifetime"),
        create(json!({ "start": "yes" }), "start"),
    ]
}

/// What cannot be asked of a project that is there, and stopped.
fn others() -> Vec<Row> {
    let (post, put, get, patch) = (Method::POST, Method::PUT, Method::GET, Method::PATCH);
    vec![
        named(&patch, "/v1/projects/demo", json!({ "id": "other" }), "id"),
        named(&get, "/v1/projects?limit=0", Value::Null, "limit"),
        named(&get, "/v1/projects?limit=x", Value::Null, "limit"),
        named(&get, "/v1/projects?colour=red", Value::Null, "colour"),
        named(&get, "/v1/projects?phase=up", Value::Null, "phase"),
        named(&get, "/v1/projects/demo?wait_for=up", Value::Null, "wait_for"),
        named(&get, "/v1/projects/demo?wait_for=running&timeout=1000y", Value::Null, "timeout"),
        named(&get, "/v1/projects/Bad_Id", Value::Null, "id"),
        named(&post, "/v1/projects/demo/exec", json!({}), "command"),
        named(&post, "/v1/projects/demo/exec", json!({ "argv": [] }), "argv"),
        named(&post, "/v1/projects/demo/exec", json!({ "command": "x", "tty": true }), "tty"),
        named(
            &post,
            "/v1/projects/demo/exec",
            json!({ "command": "x", "timeout": "2d" }),
            "timeout",
        ),
        named(
            &post,
            "/v1/projects/demo/exec",
            json!({ "command": "x", "env": { "A=B": "" } }),
            "env",
        ),
        named(
            &put,
            "/v1/projects/demo/process",
            json!({ "argv": ["x"], "restart": "always" }),
            "restart",
        ),
        named(&post, "/v1/projects/demo/process/signal", json!({ "signal": "BOOM" }), "signal"),
        named(&get, "/v1/projects/demo/process/logs?after=x", Value::Null, "after"),
        named(&get, "/v1/projects/demo/ports/0/", Value::Null, "port"),
        (get.clone(), "/v1/projects/nobody", Value::Null, 404, "not-found", ""),
        (post.clone(), "/v1/projects/nobody/start", Value::Null, 404, "not-found", ""),
        (get.clone(), "/v1/projects/demo/files/nothing", Value::Null, 404, "not-found", ""),
        (get.clone(), "/v1/project", Value::Null, 404, "unknown-route", ""),
        (get.clone(), "/v1/projects/demo/", Value::Null, 404, "unknown-route", ""),
        (put.clone(), "/v1/projects", json!({}), 405, "method-not-allowed", ""),
        (Method::DELETE, "/health", Value::Null, 405, "method-not-allowed", ""),
        (post.clone(), "/v1/projects", json!({ "id": "demo" }), 409, "exists", ""),
        (post.clone(), "/v1/projects/demo/pause", Value::Null, 409, "wrong-phase", ""),
        (post.clone(), "/v1/projects/demo/exec", json!({ "command": "x" }), 409, "wrong-phase", ""),
        (get, "/v1/projects/demo/terminal", Value::Null, 426, "upgrade-required", ""),
        (
            post,
            "/v1/projects",
            json!({ "id": "none", "image": "sandtree/no-such-image:1", "start": true }),
            422,
            "image-unavailable",
            "",
        ),
    ]
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_named() {
    let server = server().start().await;
    let client = server.client();
    Project::create(&client, &json!({ "id": "demo" })).await;
    for (method, path, body, status, kind, field) in creates().into_iter().chain(others()) {
        let call = client.request(method.clone(), path);
        let call = if body.is_null() { call } else { call.json(&body) };
        let answer = call.send().await;
        let row = format!("{method} {path} {body}: {}", answer.text());
        assert_eq!(answer.status, status, "{row}");
        let (found, problem) = answer.problem();
        assert_eq!(found, kind, "{row}");
        if !field.is_empty() {
            assert_eq!(problem["field"], field, "{row}");
        }
        if status == 405 {
            assert!(answer.header("allow").is_some(), "{row}");
        }
    }
    still_serves(&client).await;
    // What could not be created is taken back.
    sandtree_testkit::until("one project", async || {
        let listed = client.get("/v1/projects").await.expect(200).json();
        listed["items"].as_array().map(Vec::len) == Some(1)
    })
    .await;
}

async fn still_serves(client: &Client) {
    let _ = client.get("/health").await.expect(200);
    assert_eq!(client.get("/v1/projects/demo").await.expect(200).json()["phase"], "stopped");
}

#[tokio::test]
async fn bodies_that_are_not_what_they_say_are_told_so() {
    let server = server().start().await;
    let client = server.client();
    Project::create(&client, &json!({ "id": "demo" })).await;
    let send = async |path: &str, media: &str, body: Vec<u8>| -> Response {
        client.request(Method::POST, path).body(media, body).send().await
    };
    for (media, body, status, kind) in [
        ("application/json", &b"{"[..], 400, "malformed-body"),
        ("application/json", b"{} {}", 400, "malformed-body"),
        ("application/json", b"\xff\xfe", 400, "malformed-body"),
        ("application/json", b"[]", 400, "invalid-field"),
        ("text/plain", b"{}", 415, "unsupported-media"),
        ("application/x-www-form-urlencoded", b"id=x", 415, "unsupported-media"),
        ("application/xml", b"<x/>", 415, "unsupported-media"),
    ] {
        let answer = send("/v1/projects", media, body.to_vec()).await;
        assert_eq!(answer.status, status, "{media} {body:?}: {answer:?}");
        assert_eq!(answer.problem().0, kind, "{media} {body:?}: {answer:?}");
    }
    let large = json!({ "id": "x", "labels": { "a": "x".repeat(2 * 1024 * 1024) } }).to_string();
    let answer = send("/v1/projects", "application/json", large.into_bytes()).await.expect(413);
    assert!(answer.problem().1["limit"].is_u64(), "{answer:?}");
    let nested = "[".repeat(100_000);
    let answer = send("/v1/projects", "application/json", nested.into_bytes()).await;
    assert_eq!(answer.status, 400, "{answer:?}");
    let answer =
        client.put_bytes("/v1/projects/demo/archive", "application/gzip", vec![7_u8; 4096]).await;
    assert_eq!(answer.expect(400).problem().0, "malformed-body");
    still_serves(&client).await;
}

#[tokio::test]
async fn what_is_larger_than_its_limit_is_refused_with_the_limit() {
    let server = server()
        .env("SANDTREE_SERVER__FILE_BYTES_MAX", "65536")
        .env("SANDTREE_SERVER__ARCHIVE_BYTES_MAX", "65536")
        .start()
        .await;
    let client = server.client();
    let project = Project::create(&client, &json!({ "id": "demo" })).await;
    for path in ["files/large.bin", "archive"] {
        // Refused by its length alone: not a byte of it is sent.
        let head = head_of_put(&project.path(path), "Content-Length: 65537");
        refused_as_too_large(&client, head.as_bytes()).await;
        // Without a length it is found out on the way.
        let mut chunked =
            head_of_put(&project.path(path), "Transfer-Encoding: chunked").into_bytes();
        for size in [0x4000, 0x4000, 0x4000, 0x4000, 1] {
            chunked.extend_from_slice(format!("{size:x}\r\n").as_bytes());
            chunked.extend_from_slice(&vec![0; size]);
            chunked.extend_from_slice(b"\r\n");
        }
        refused_as_too_large(&client, &chunked).await;
    }
    assert_eq!(project.get("files/large.bin").await.status, 404);
    project.write("small.bin", &"x".repeat(65536)).await;
    still_serves(&client).await;
}

fn head_of_put(path: &str, length: &str) -> String {
    format!(
        "PUT {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Type: application/x-tar\r\n{length}\r\n\r\n"
    )
}

async fn refused_as_too_large(client: &Client, request: &[u8]) {
    let answer = client.raw(request, Duration::from_secs(5)).await;
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(answer.contains("\"limit\":65536"), "{answer}");
}

#[tokio::test]
async fn what_is_no_http_does_not_harm() {
    let server = server().start().await;
    let client = server.client();
    Project::create(&client, &json!({ "id": "demo" })).await;
    let long = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "a".repeat(200_000));
    let headers = format!(
        "GET /health HTTP/1.1\r\nHost: localhost\r\n{}\r\n",
        (0..5000).map(|n| format!("X-{n}: {n}\r\n")).collect::<String>()
    );
    for (what, bytes) in [
        ("garbage", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".as_slice()),
        ("no host", b"GET /health HTTP/1.1\r\n\r\n"),
        ("two hosts", b"GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
        ("other host", b"GET /v1/projects HTTP/1.1\r\nHost: evil.example\r\n\r\n"),
        ("two lengths", b"PUT /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
        ("bad length", b"PUT /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n"),
        ("long path", long.as_bytes()),
        ("many headers", headers.as_bytes()),
        ("connect", b"CONNECT localhost:1 HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        ("star", b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    ] {
        let answer = client.raw(bytes, Duration::from_secs(1)).await;
        let text = String::from_utf8_lossy(&answer);
        let is_refused = text.is_empty() || text.starts_with("HTTP/1.1 4");
        assert!(is_refused, "{what}: {}", &text[..text.len().min(300)]);
    }
    still_serves(&client).await;
}

#[tokio::test]
async fn pages_of_other_origins_and_false_keys_get_nothing() {
    let server = server().env("SANDTREE_AUTH__ADMIN_KEY", "right-key").start().await;
    let client = server.client();
    let _ = client.get("/health").await.expect(200);
    assert_eq!(client.get("/v1/projects").await.expect(401).problem().0, "unauthorized");
    let wrong = client.with_header("x-api-key", "wrong-key");
    assert_eq!(wrong.get("/v1/projects").await.expect(401).problem().0, "unauthorized");
    let right = client.with_header("x-api-key", "right-key");
    let _ = right.get("/v1/projects").await.expect(200);
    let bearer = client.with_header("authorization", "Bearer right-key");
    let _ = bearer.get("/v1/projects").await.expect(200);
    let other = right.request(Method::GET, "/v1/projects").header("origin", "http://evil.example");
    assert_eq!(other.send().await.expect(403).problem().0, "forbidden-origin");
}

#[tokio::test]
async fn a_wrong_configuration_is_told_with_all_its_faults() {
    for (name, value, said) in [
        ("SANDTREE_SERVER__LISTN", "127.0.0.1:0", "listn"),
        ("SANDTREE_TREE__EXECS_MAX", "0", "execs_max"),
        ("SANDTREE_PROFILES__DEFAULT__LIMITS__PIDS", "1", "pids"),
        ("SANDTREE_PROFILES__DEFAULT__NETWORK", "host", "network"),
    ] {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_sandtree"))
            .args(["config", "check"])
            .env(name, value)
            .output()
            .expect("the program");
        let error = String::from_utf8_lossy(&output.stderr).to_lowercase();
        assert_eq!(output.status.code(), Some(2), "{name}={value}: {error}");
        assert!(error.contains(said), "{name}={value}: {error}");
    }
    let shown = run(env!("CARGO_BIN_EXE_sandtree"), &["config", "check"]);
    assert!(String::from_utf8_lossy(&shown).contains("execs_max"));
}

#[tokio::test]
async fn without_a_key_only_loopback_is_served() {
    let dir = tempfile::tempdir().expect("a directory");
    let output = std::process::Command::new("timeout")
        .args(["20", env!("CARGO_BIN_EXE_sandtree"), "serve", "--listen", "0.0.0.0:0"])
        .arg("--data-dir")
        .arg(dir.path())
        .output()
        .expect("the program");
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
}
