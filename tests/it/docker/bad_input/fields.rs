//! Fields, parameters and headers that cannot be used as they are.

use super::*;

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
