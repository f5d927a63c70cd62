//! Bad input: a problem document names the field and the limit, and the server goes on.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use hyper::Method;
use sandtree_testkit::{Client, LONG, Response, ServerSetup, TestServer, within};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::{
    Frame,
    coding::{Data, OpCode},
};

const BINARY: &str = env!("CARGO_BIN_EXE_sandtree");
/// How long a raw connection may be silent until its answer counts as whole.
const QUIET: Duration = Duration::from_secs(10);

/// Method, path, JSON body ("" for none), status, last part of `type`, and `field`
/// ("" when the document names none).
type Row = (&'static str, &'static str, &'static str, u16, &'static str, &'static str);

fn setup() -> ServerSetup {
    TestServer::setup(BINARY)
        .env("SANDTREE_SERVER__JSON_BYTES_MAX", "4096")
        .env("SANDTREE_SERVER__FILE_BYTES_MAX", "65536")
        .env("SANDTREE_SERVER__ARCHIVE_BYTES_MAX", "65536")
        .env("SANDTREE_SERVER__WEBSOCKET_MESSAGE_BYTES_MAX", "4096")
        .env("SANDTREE_SERVER__HEADER_TIMEOUT", "1s")
}

/// A server with a stopped project `p`.
async fn start() -> (TestServer, Client) {
    let server = setup().start().await;
    let client = server.client();
    let project = json!({ "id": "p", "profile": "small" });
    let _ = client.post("/v1/projects", &project).await.expect(201);
    (server, client)
}

/// That the server still serves: its health, and a command in `p`.
async fn still_serves(client: &Client) {
    let _ = client.get("/health").await.expect(200);
    let _ = client.post_empty("/v1/projects/p/start").await.expect(200);
    let ran = client.post("/v1/projects/p/exec", &json!({ "command": "echo ok" })).await;
    assert_eq!(ran.expect(200).json()["stdout"], "ok\n");
}

async fn send(client: &Client, method: &str, path: &str, body: &str) -> Response {
    let method: Method = method.parse().expect("a method");
    let request = client.request(method, path);
    if body.is_empty() {
        return request.send().await;
    }
    request.body("application/json", body.to_owned()).send().await
}

/// What is wrong with an answer, if anything.
fn wrong(answer: &Response, status: u16, kind: &str, field: &str) -> Option<String> {
    let wrong = |why: &str| Some(format!("{why}; it is {} {}", answer.status, answer.text()));
    if answer.status != status {
        return wrong(&format!("wants {status}"));
    }
    let (found, document) = answer.problem();
    let named = document["field"].as_str().unwrap_or("");
    if (found.as_str(), named) != (kind, field) {
        return wrong(&format!("wants {kind} with the field {field:?}"));
    }
    None
}

/// Sends every row and tells of all that were answered in another way.
async fn refuse_all(client: &Client, rows: &[Row]) {
    let mut failed = Vec::new();
    for &(method, path, body, status, kind, field) in rows {
        let answer = send(client, method, path, body).await;
        if let Some(wrong) = wrong(&answer, status, kind, field) {
            let body: String = body.chars().take(200).collect();
            failed.push(format!("{method} {path} {body}: {wrong}"));
        }
    }
    assert!(failed.is_empty(), "{} of {}:\n{}", failed.len(), rows.len(), failed.join("\n"));
}

#[tokio::test]
async fn fields_of_a_new_project_are_refused_by_name() {
    const TO: &str = "/v1/projects";
    let (_server, client) = start().await;
    let fields = [
        (r#"{"odd": 1}"#, "odd"),
        (r#"{"limits": {"odd": 1}}"#, "limits.odd"),
        (r#"{"id": ""}"#, "id"),
        (r#"{"id": "Upper"}"#, "id"),
        (r#"{"id": "-a"}"#, "id"),
        (r#"{"id": "../x"}"#, "id"),
        (r#"{"id": "a\u0000"}"#, "id"),
        (r#"{"id": 7}"#, "id"),
        (r#"{"id": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}"#, "id"),
        (r#"{"id": "a", "id": "b"}"#, "id"),
        (r#"{"limits": {"pids": 0}}"#, "limits.pids"),
        (r#"{"limits": {"pids": -1}}"#, "limits.pids"),
        (r#"{"limits": {"pids": 7}}"#, "limits.pids"),
        (r#"{"limits": {"pids": 65537}}"#, "limits.pids"),
        (r#"{"limits": {"pids": 8.5}}"#, "limits.pids"),
        (r#"{"limits": {"pids": "8"}}"#, "limits.pids"),
        (r#"{"limits": {"memory_bytes": 0}}"#, "limits.memory_bytes"),
        (r#"{"limits": {"memory_bytes": 16777215}}"#, "limits.memory_bytes"),
        (r#"{"limits": {"memory_bytes": 18446744073709551615}}"#, "limits.memory_bytes"),
        (r#"{"limits": {"memory_bytes": 18446744073709551616}}"#, "limits.memory_bytes"),
        (r#"{"limits": {"cpu_millis": 49}}"#, "limits.cpu_millis"),
        (r#"{"limits": {"cpu_millis": 256001}}"#, "limits.cpu_millis"),
        (r#"{"limits": {"tmp_bytes": 1}}"#, "limits.tmp_bytes"),
        (r#"{"limits": {"tmp_bytes": 68719476737}}"#, "limits.tmp_bytes"),
        (r#"{"limits": 5}"#, "limits"),
        (r#"{"idle_timeout": "10"}"#, "idle_timeout"),
        (r#"{"idle_timeout": "-1s"}"#, "idle_timeout"),
        (r#"{"idle_timeout": "1000y"}"#, "idle_timeout"),
        (r#"{"idle_timeout": ""}"#, "idle_timeout"),
        (r#"{"idle_timeout": 10}"#, "idle_timeout"),
        (r#"{"max_lifetime": "forever"}"#, "max_lifetime"),
        (r#"{"max_lifetime": "99999999999999999999s"}"#, "max_lifetime"),
        (r#"{"network": "host"}"#, "network"),
        (r#"{"network": "container:other"}"#, "network"),
        (r#"{"profile": "nope"}"#, "profile"),
        (r#"{"image": ""}"#, "image"),
        (r#"{"image": "../etc"}"#, "image"),
        (r#"{"image": "a b"}"#, "image"),
        (r#"{"image": "--privileged"}"#, "image"),
        (r#"{"env": {"A=B": "c"}}"#, "env.A=B"),
        (r#"{"env": {"A": "\u0000"}}"#, "env.A"),
        (r#"{"env": {"A": 1}}"#, "env.A"),
        (r#"{"labels": {"": "x"}}"#, "labels"),
        (r#"{"labels": {"a": null}}"#, "labels.a"),
        (r#"{"start": "yes"}"#, "start"),
        (r#"{"privileged": true}"#, "privileged"),
    ];
    let rows = fields.map(|(body, field)| ("POST", TO, body, 400, "invalid-field", field));
    refuse_all(&client, &rows).await;
    let listed = client.get(TO).await.expect(200).json();
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(1), "nothing was made: {listed}");
}

#[tokio::test]
async fn fields_of_changes_and_commands_are_refused_by_name() {
    const PROJECT: &str = "/v1/projects/p";
    const EXEC: &str = "/v1/projects/p/exec";
    const PROCESS: &str = "/v1/projects/p/process";
    const SIGNAL: &str = "/v1/projects/p/process/signal";
    let (_server, client) = start().await;
    let fields = [
        ("PATCH", PROJECT, r#"{"odd": 1}"#, "odd"),
        ("PATCH", PROJECT, r#"{"image": "../x"}"#, "image"),
        ("PATCH", PROJECT, r#"{"profile": "x"}"#, "profile"),
        ("PATCH", PROJECT, r#"{"limits": {"pids": 0}}"#, "limits.pids"),
        ("PATCH", PROJECT, r#"{"limits": {"memory_bytes": -1}}"#, "limits.memory_bytes"),
        ("PATCH", PROJECT, r#"{"limits": {"odd": 1}}"#, "limits.odd"),
        ("PATCH", PROJECT, r#"{"idle_timeout": "10"}"#, "idle_timeout"),
        ("PATCH", PROJECT, r#"{"max_lifetime": "-1s"}"#, "max_lifetime"),
        ("PATCH", PROJECT, r#"{"env": {"A=B": "c"}}"#, "env.A=B"),
        ("PATCH", PROJECT, r#"{"labels": {"": "x"}}"#, "labels"),
        ("POST", EXEC, r#"{"command": "true", "odd": 1}"#, "odd"),
        ("POST", EXEC, r"{}", "command"),
        ("POST", EXEC, r#"{"argv": []}"#, "argv"),
        ("POST", EXEC, r#"{"argv": [""]}"#, "argv"),
        ("POST", EXEC, r#"{"argv": ["a\u0000"]}"#, "argv"),
        ("POST", EXEC, r#"{"argv": "true"}"#, "argv"),
        ("POST", EXEC, r#"{"argv": ["true", 1]}"#, "argv[1]"),
        ("POST", EXEC, r#"{"argv": ["a"], "command": "b"}"#, "argv"),
        ("POST", EXEC, r#"{"command": "true", "timeout": "10"}"#, "timeout"),
        ("POST", EXEC, r#"{"command": "true", "timeout": "-1s"}"#, "timeout"),
        ("POST", EXEC, r#"{"command": "true", "timeout": "1000y"}"#, "timeout"),
        ("POST", EXEC, r#"{"command": "true", "timeout": "0s"}"#, "timeout"),
        ("POST", EXEC, r#"{"command": "true", "timeout": "25h"}"#, "timeout"),
        ("POST", EXEC, r#"{"command": "true", "cwd": ""}"#, "cwd"),
        ("POST", EXEC, r#"{"command": "true", "env": {"A=B": "c"}}"#, "env"),
        ("POST", EXEC, r#"{"command": "true", "stdin": {"base64": "!"}}"#, "stdin.base64"),
        ("POST", EXEC, r#"{"command": "true", "stdin": {"odd": ""}}"#, "stdin"),
        ("POST", EXEC, r#"{"command": "true", "encoding": "latin"}"#, "encoding"),
        ("PUT", PROCESS, r#"{"command": "true", "name": "web"}"#, "name"),
        ("PUT", PROCESS, r"{}", "command"),
        ("PUT", PROCESS, r#"{"argv": []}"#, "argv"),
        ("PUT", PROCESS, r#"{"command": "true", "restart": "always"}"#, "restart"),
        ("PUT", PROCESS, r#"{"command": "true", "stop_grace": "1h"}"#, "stop_grace"),
        ("PUT", PROCESS, r#"{"command": "true", "stop_grace": "10"}"#, "stop_grace"),
        ("PUT", PROCESS, r#"{"command": "true", "when_full": "drop"}"#, "when_full"),
        ("PUT", PROCESS, r#"{"command": "true", "cwd": "a\u0000"}"#, "cwd"),
        ("POST", SIGNAL, r#"{"signal": "BOOM"}"#, "signal"),
        ("POST", SIGNAL, r#"{"signal": 0}"#, "signal"),
        ("POST", SIGNAL, r#"{"signal": -9}"#, "signal"),
        ("POST", SIGNAL, r#"{"signal": 4294967305}"#, "signal"),
        ("POST", SIGNAL, r"{}", "signal"),
        ("POST", SIGNAL, r#"{"signal": "TERM", "odd": 1}"#, "odd"),
    ];
    let rows = fields.map(|(how, to, body, field)| (how, to, body, 400, "invalid-field", field));
    refuse_all(&client, &rows).await;
    still_serves(&client).await;
}

#[tokio::test]
async fn fields_of_file_operations_are_refused_by_name() {
    const MKDIR: &str = "/v1/projects/p/files:mkdir";
    const MOVE: &str = "/v1/projects/p/files:move";
    const COPY: &str = "/v1/projects/p/files:copy";
    const BATCH: &str = "/v1/projects/p/files:batch";
    let (_server, client) = start().await;
    let fields = [
        (MKDIR, r#"{"path": "a", "odd": 1}"#, "odd"),
        (MKDIR, r"{}", "path"),
        (MKDIR, r#"{"path": "../a"}"#, "path"),
        (MKDIR, r#"{"path": "/a"}"#, "path"),
        (MKDIR, r#"{"path": ""}"#, "path"),
        (MKDIR, r#"{"path": "a\u0000b"}"#, "path"),
        (MKDIR, r#"{"path": "a", "parents": "no"}"#, "parents"),
        (MOVE, r#"{"from": "a", "to": "b", "odd": 1}"#, "odd"),
        (MOVE, r#"{"from": "a"}"#, "to"),
        (MOVE, r#"{"from": "/a", "to": "b"}"#, "from"),
        (MOVE, r#"{"from": "a", "to": "b/../../c"}"#, "to"),
        (COPY, r#"{"to": "a"}"#, "from"),
        (COPY, r#"{"from": "a", "to": "b", "odd": 1}"#, "odd"),
        (COPY, r#"{"from": "./a", "to": "b"}"#, "from"),
        (COPY, r#"{"from": "a", "to": "b", "overwrite": 1}"#, "overwrite"),
        (BATCH, r"{}", "operations"),
        (BATCH, r#"{"operations": []}"#, "operations"),
        (BATCH, r#"{"operations": {}}"#, "operations"),
        (BATCH, r#"{"operations": [], "odd": 1}"#, "odd"),
        (BATCH, r#"{"operations": [{"op": "odd"}]}"#, "operations[0].op"),
        (BATCH, r#"{"operations": [{"path": "a"}]}"#, "operations[0].op"),
        (BATCH, r#"{"operations": [{"op": "mkdir", "path": "a", "odd": 1}]}"#, "operations[0].odd"),
        (BATCH, r#"{"operations": [{"op": "delete", "path": "../x"}]}"#, "operations[0].path"),
        (
            BATCH,
            r#"{"operations": [{"op": "mkdir", "path": "a"}, {"op": "move", "from": "b"}]}"#,
            "operations[1].to",
        ),
        (
            BATCH,
            r#"{"operations": [{"op": "write", "path": "a", "content": "x", "mode": "9"}]}"#,
            "operations[0].mode",
        ),
        (
            BATCH,
            r#"{"operations": [{"op": "write", "path": "a", "base64": "!"}]}"#,
            "operations[0].base64",
        ),
        (BATCH, r#"{"operations": [{"op": "write", "path": "a"}]}"#, "operations[0].content"),
    ];
    let rows = fields.map(|(to, body, field)| ("POST", to, body, 400, "invalid-field", field));
    refuse_all(&client, &rows).await;
    let tree = client.get("/v1/projects/p/tree").await.expect(200).json();
    assert_eq!(tree["entries"], json!([]), "nothing was done");
}

#[tokio::test]
async fn parameters_of_paths_and_queries_are_refused_by_name() {
    let (_server, client) = start().await;
    let fields = [
        ("GET", "/v1/projects?odd=1", "odd"),
        ("GET", "/v1/projects?limit=0", "limit"),
        ("GET", "/v1/projects?limit=1001", "limit"),
        ("GET", "/v1/projects?limit=-1", "limit"),
        ("GET", "/v1/projects?limit=many", "limit"),
        ("GET", "/v1/projects?limit=1&limit=2", "limit"),
        ("GET", "/v1/projects?cursor=..%2F", "cursor"),
        ("GET", "/v1/projects?phase=happy", "phase"),
        ("GET", "/v1/projects/UPPER", "id"),
        ("GET", "/v1/projects/%00", "id"),
        ("GET", "/v1/projects/%ff", "id"),
        ("GET", "/v1/projects/a%2Fb", "id"),
        ("GET", "/v1/projects/", "id"),
        ("POST", "/v1/projects/UPPER/start", "id"),
        ("GET", "/v1/projects/p?wait_for=happy", "wait_for"),
        ("GET", "/v1/projects/p?timeout=10s", "timeout"),
        ("GET", "/v1/projects/p?wait_for=running&timeout=10", "timeout"),
        ("GET", "/v1/projects/p?wait_for=running&timeout=-1s", "timeout"),
        ("GET", "/v1/projects/p?wait_for=running&timeout=1h", "timeout"),
        ("GET", "/v1/projects/p?odd=1", "odd"),
        ("DELETE", "/v1/projects/p?keep_files=maybe", "keep_files"),
        ("DELETE", "/v1/projects/p?odd=1", "odd"),
        ("GET", "/v1/projects/p/tree?depth=0", "depth"),
        ("GET", "/v1/projects/p/tree?depth=65", "depth"),
        ("GET", "/v1/projects/p/tree?limit=0", "limit"),
        ("GET", "/v1/projects/p/tree?limit=10001", "limit"),
        ("GET", "/v1/projects/p/tree?depth=2&after=a", "after"),
        ("GET", "/v1/projects/p/tree?path=..", "path"),
        ("GET", "/v1/projects/p/tree?path=%2Fetc", "path"),
        ("GET", "/v1/projects/p/tree?odd=1", "odd"),
        ("GET", "/v1/projects/p/archive?format=zip", "format"),
        ("GET", "/v1/projects/p/archive?path=a%2F..%2F..", "path"),
        ("PUT", "/v1/projects/p/archive?overwrite=maybe", "overwrite"),
        ("PUT", "/v1/projects/p/archive?path=%2Fetc", "path"),
        ("GET", "/v1/projects/p/process/logs?after=x", "after"),
        ("GET", "/v1/projects/p/process/logs?after=1:x", "after"),
        ("GET", "/v1/projects/p/process/logs?tail=0", "tail"),
        ("GET", "/v1/projects/p/process/logs?tail=10001", "tail"),
        ("GET", "/v1/projects/p/process/logs?stream=both", "stream"),
        ("GET", "/v1/projects/p/process/logs?follow=maybe", "follow"),
        ("GET", "/v1/projects/p/process/logs?odd=1", "odd"),
        ("GET", "/v1/projects/p/events?after=x", "after"),
        ("GET", "/v1/projects/p/events?odd=1", "odd"),
        ("GET", "/v1/projects/p/terminal?cols=1", "cols"),
        ("GET", "/v1/projects/p/terminal?rows=501", "rows"),
        ("GET", "/v1/projects/p/terminal?cols=-1", "cols"),
        ("GET", "/v1/projects/p/terminal?after=17", "after"),
        ("GET", "/v1/projects/p/terminal?odd=1", "odd"),
        ("PUT", "/v1/projects/p/files/a?mode=9", "mode"),
        ("PUT", "/v1/projects/p/files/a?mode=4755", "mode"),
        ("PUT", "/v1/projects/p/files/a?odd=1", "odd"),
        ("PUT", "/v1/projects/p/files/", "path"),
        ("PUT", "/v1/projects/p/files/a/", "path"),
        ("DELETE", "/v1/projects/p/files/a?recursive=maybe", "recursive"),
        ("DELETE", "/v1/projects/p/files/", "path"),
        ("GET", "/v1/projects/p/ports/0/", "port"),
        ("GET", "/v1/projects/p/ports/65536/", "port"),
        ("GET", "/v1/projects/p/ports/-1/", "port"),
        ("GET", "/v1/projects/p/ports/http/", "port"),
    ];
    let rows = fields.map(|(how, to, field)| (how, to, "", 400, "invalid-field", field));
    refuse_all(&client, &rows).await;
    still_serves(&client).await;
}

#[tokio::test]
async fn what_does_not_exist_is_said_not_to() {
    let (_server, client) = start().await;
    let rows: [Row; 7] = [
        ("GET", "/v1/projects/none", "", 404, "not-found", ""),
        ("GET", "/v1/projects/none/stats", "", 404, "not-found", ""),
        ("GET", "/v1/projects/p/files/none", "", 404, "not-found", ""),
        ("GET", "/v1/projects/p/process", "", 404, "not-found", ""),
        ("GET", "/v2/projects", "", 404, "unknown-route", ""),
        ("GET", "/v1/projects/p/odd", "", 404, "unknown-route", ""),
        ("POST", "/v1/projects/p/start", r#"{"odd": 1}"#, 400, "bad-request", ""),
    ];
    refuse_all(&client, &rows).await;
    still_serves(&client).await;
}

#[tokio::test]
async fn headers_are_refused_by_name() {
    let (_server, client) = start().await;
    let file = "/v1/projects/p/files/a";
    let _ = client.put_bytes(file, "text/plain", "abc").await.expect(201);
    let long = "x".repeat(256);
    let rows = [
        ("POST", "/v1/projects", "idempotency-key", "", 400, "invalid-field", "Idempotency-Key"),
        ("POST", "/v1/projects", "idempotency-key", &long, 400, "invalid-field", "Idempotency-Key"),
        ("PUT", file, "if-match", "abc", 400, "invalid-field", "If-Match"),
        ("PUT", file, "if-match", "\"a\", \"b\"", 400, "invalid-field", "If-Match"),
        ("PUT", file, "if-match", "\"other\"", 412, "precondition-failed", ""),
        ("PUT", file, "if-none-match", "\"a\"", 400, "invalid-field", "If-None-Match"),
        ("PUT", file, "if-none-match", "*", 412, "precondition-failed", ""),
        ("PUT", file, "content-range", "bytes 0-1/2", 400, "invalid-field", "Content-Range"),
        ("PUT", file, "content-encoding", "gzip", 415, "unsupported-media", "Content-Encoding"),
        ("DELETE", file, "if-match", "\"other\"", 412, "precondition-failed", ""),
        ("GET", file, "if-none-match", "abc", 400, "invalid-field", "if-none-match"),
        ("GET", file, "range", "bytes=3-", 416, "range-not-satisfiable", ""),
        ("GET", file, "range", "bytes=-0", 416, "range-not-satisfiable", ""),
        ("GET", file, "range", "bytes=99999999999999999999-", 416, "range-not-satisfiable", ""),
        (
            "GET",
            "/v1/projects/p/events",
            "last-event-id",
            "x",
            400,
            "invalid-field",
            "Last-Event-ID",
        ),
        ("GET", "/v1/projects/p/events", "accept", "application/json", 406, "not-acceptable", ""),
        ("GET", "/v1/projects", "host", "evil.example", 421, "unknown-host", ""),
        ("GET", "/v1/projects", "origin", "https://evil.example", 403, "forbidden-origin", ""),
        (
            "PUT",
            "/v1/projects/p/archive",
            "content-type",
            "application/zip",
            415,
            "unsupported-media",
            "Content-Type",
        ),
    ];
    for (method, path, name, value, status, kind, field) in rows {
        let method: Method = method.parse().expect("a method");
        let answer = client.request(method, path).header(name, value).send().await;
        let wrong = wrong(&answer, status, kind, field);
        assert!(wrong.is_none(), "{path} with {name}: {value}: {wrong:?}");
    }
    let past = client.request(Method::GET, file).header("range", "bytes=3-").send().await;
    assert_eq!(past.header("content-range"), Some("bytes */3"));
    assert_eq!(past.problem().1["limit"], 3);
    assert_eq!(client.get(file).await.expect(200).text(), "abc", "the file is as it was");
    still_serves(&client).await;
}

/// Routes that read JSON.
const JSON_ROUTES: [(&str, &str); 9] = [
    ("POST", "/v1/projects"),
    ("PATCH", "/v1/projects/p"),
    ("POST", "/v1/projects/p/exec"),
    ("PUT", "/v1/projects/p/process"),
    ("POST", "/v1/projects/p/process/signal"),
    ("POST", "/v1/projects/p/files:mkdir"),
    ("POST", "/v1/projects/p/files:move"),
    ("POST", "/v1/projects/p/files:copy"),
    ("POST", "/v1/projects/p/files:batch"),
];

#[tokio::test]
async fn bodies_that_are_not_json_objects_are_refused_on_every_route() {
    let (_server, client) = start().await;
    let deep = format!("{}1{}", "[".repeat(500), "]".repeat(500));
    let broken: [&[u8]; 9] = [
        b"{",
        b"nope",
        b"{} {}",
        b"\xff\xfe",
        b"{\"a\": \"\xff\"}",
        b"[]",
        b"null",
        b"7",
        deep.as_bytes(),
    ];
    for (method, path) in JSON_ROUTES {
        let request = || client.request(method.parse().expect("a method"), path);
        for media in ["text/plain", "application/xml", "application/jsonp"] {
            let answer = request().body(media, "{}").send().await;
            let wrong = wrong(&answer, 415, "unsupported-media", "Content-Type");
            assert!(wrong.is_none(), "{method} {path} as {media}: {wrong:?}");
        }
        for text in broken {
            let answer = request().body("application/json", text.to_vec()).send().await;
            let shown = String::from_utf8_lossy(&text[..text.len().min(20)]);
            assert_eq!(answer.status, 400, "{method} {path} {shown}: {}", answer.text());
            let (kind, document) = answer.problem();
            let is_expected = ["malformed-body", "invalid-field"].contains(&kind.as_str());
            assert!(is_expected, "{method} {path} {shown}: {document}");
        }
    }
    let listed = client.get("/v1/projects").await.expect(200).json();
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(1), "nothing was made: {listed}");
    still_serves(&client).await;
}

/// A request whose body comes in chunks, so that nothing tells its length.
fn chunked(method: &str, path: &str, media: &str, bytes: usize) -> Vec<u8> {
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {media}\r\n\
         connection: close\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    let chunk = format!("400\r\n{}\r\n", " ".repeat(1024)).repeat(bytes / 1024);
    format!("{head}{chunk}0\r\n\r\n").into_bytes()
}

/// The status, and the body as a problem document.
pub(crate) fn parse_raw(answer: &[u8]) -> (u16, Value) {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.unwrap_or_else(|| panic!("no answer: {text:?}"));
    let is_problem = head.to_ascii_lowercase().contains("application/problem+json");
    let document = is_problem.then(|| serde_json::from_str(body).ok()).flatten();
    (status, document.unwrap_or(Value::Null))
}

#[tokio::test]
async fn bodies_that_are_too_large_are_refused_with_their_limit() {
    let (_server, client) = start().await;
    let (file, archive) = ("/v1/projects/p/files/a", "/v1/projects/p/archive");
    let mut rows = vec![
        ("PUT", file, "application/octet-stream", 65536),
        ("PUT", archive, "application/x-tar", 65536),
    ];
    for (method, path) in JSON_ROUTES {
        let limit =
            if path.ends_with("/exec") || path.ends_with("batch") { 16 << 20 } else { 4096 };
        rows.push((method, path, "application/json", limit));
    }
    for (method, path, media, limit) in rows {
        let announced = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {media}\r\n\
             connection: close\r\ncontent-length: {}\r\n\r\n",
            limit + 1
        );
        let streamed = chunked(method, path, media, limit + 4096);
        for (how, request) in [("announced", announced.into_bytes()), ("in chunks", streamed)] {
            if path == archive && how == "in chunks" {
                continue; // Blanks are no archive, which is told first.
            }
            let (status, document) = parse_raw(&client.raw(&request, QUIET).await);
            assert_eq!(status, 413, "{method} {path} {how}: {document}");
            assert_eq!(document["limit"], limit, "{method} {path} {how}: {document}");
            assert_eq!(document["type"], "https://sandtree.dev/problems/too-large");
        }
    }
    let none = client.get(file).await.expect(404);
    assert_eq!(none.problem().0, "not-found");
    still_serves(&client).await;
}

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

/// What a server says that is started with this configuration file, and has to refuse.
async fn refused_config(text: &str) -> String {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("config.toml");
    std::fs::write(&file, text).expect("a file");
    let mut command = tokio::process::Command::new(BINARY);
    command.args(["serve", "--listen", "127.0.0.1:0", "--config"]).arg(&file);
    command.arg("--data-dir").arg(dir.path().join("data")).kill_on_drop(true);
    let output = within(LONG, "a refusal of the configuration", command.output()).await;
    let output = output.expect("a program that runs");
    assert!(!output.status.success(), "it started with {text}");
    assert!(output.stdout.is_empty(), "it told an address");
    assert!(!dir.path().join("data").exists(), "it made its directory");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn a_configuration_with_faults_is_refused_and_all_of_them_are_named() {
    let said = refused_config(
        "[server]\nodd_key = 1\nheaders_max = 5\nheader_timeout = \"10\"\n\
         [tree]\nboot_timeout = \"1000y\"\nexecs_max = -1\n\
         [profiles.default]\nnetwork = \"host\"\ncapabilities = [\"SYS_ADMIN\"]\nprivileged = true\n\
         [profiles.default.limits]\npids = 1\n\
         [odd_section]\nx = 1\n",
    )
    .await;
    for name in [
        "server.odd_key",
        "server.headers_max",
        "server.header_timeout",
        "tree.boot_timeout",
        "tree.execs_max",
        "profiles.default.network",
        "profiles.default.capabilities",
        "profiles.default.privileged",
        "profiles.default.limits.pids",
        "odd_section",
    ] {
        assert!(said.contains(name), "{name} is not named:\n{said}");
    }
    let broken = refused_config("[server\n").await;
    assert!(broken.contains("config.toml"), "{broken}");
}
