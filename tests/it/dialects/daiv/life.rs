//! Sessions from their start to their end, and whose turn it is.

use std::time::Duration;

use hyper::Method;
use sandtree_testkit::until;
use serde_json::json;

use super::{SMALL, Session, archive, assert_detail, server};

const NOT_FOUND: &str = "Session not found or already closed";

#[tokio::test]
async fn a_closed_session_is_stopped_and_warms_up_with_all_that_it_had() {
    let server = server().start().await;
    let session = Session::small(&server.client()).await;
    session.ok("echo 1 > kept; echo 2 > ~/kept; sleep 1000 & echo 3 > /workspace/tmp/kept").await;
    let container = async || {
        let shown = session.client.get(&session.project()).await.expect(200).json();
        shown["sandbox"]["container_id"].clone()
    };
    let first = container().await;
    assert!(first.is_string(), "{first}");
    for query in ["", "?force=false", "?force=0"] {
        session.done(Method::DELETE, query).await;
        let shown = session.client.get(&session.project()).await.expect(200).json();
        assert_eq!(shown["phase"], "stopped", "{query}");
        session.done(Method::GET, "").await;
        let shown = session.client.get(&session.project()).await.expect(200).json();
        assert_eq!(shown["phase"], "running", "{query}");
        assert_eq!(session.ok("cat kept ~/kept /workspace/tmp/kept").await, "1\n2\n3\n");
        assert_eq!(container().await, first, "the same container, with all that is in it");
    }
    session.done(Method::DELETE, "").await;
    let read = session.fs("read", &json!({ "path": "/workspace/repo/kept" })).await;
    assert_eq!(read["content"], "1", "files need no sandbox");
    assert_eq!(session.ok("cat kept").await, "1\n", "a command warms it up as well");
}

#[tokio::test]
async fn a_removed_session_is_gone_at_once_for_every_route() {
    let server = server().start().await;
    let session = Session::small(&server.client()).await;
    session.done(Method::DELETE, "?force=true").await;
    assert_detail(&session.send(Method::GET, "").await, 404, NOT_FOUND);
    assert_detail(&session.post("", &json!({ "commands": [] })).await, 404, NOT_FOUND);
    for op in ["ls", "read", "delete"] {
        let answer = session.post(&format!("fs/{op}"), &json!({ "path": "/workspace/a" })).await;
        assert_detail(&answer, 404, NOT_FOUND);
    }
    let open = json!({ "policy": { "default": "allow" } });
    let put = session.client.put(&session.path("egress/"), &open).await;
    assert_detail(&put, 404, "Session not found");
    session.done(Method::DELETE, "").await;
    session.done(Method::DELETE, "?force=true").await;
    for odd in ["no-such-session", "a%2Fb", "%2e%2e", "%00", "a%ff"] {
        let odd = Session { id: odd.to_owned(), ..session.clone() };
        assert_detail(&odd.send(Method::GET, "").await, 404, NOT_FOUND);
        odd.done(Method::DELETE, "").await;
    }
    until("nothing to be left", async || server.containers().is_empty()).await;
}

#[tokio::test]
async fn egress_is_refused_as_by_a_server_without_an_authority() {
    let server = server().start().await;
    let egress = json!({ "policy": { "rules": [{ "host": "example.com" }] } });
    let start = json!({ "base_image": SMALL, "egress": egress });
    let refused = server.client().post("/session/", &start).await;
    assert_eq!(refused.status, 400, "{}", refused.text());
    assert!(server.containers().is_empty(), "nothing was started");
    let session = Session::small(&server.client()).await;
    let put = session.client.put(&session.path("egress/"), &egress).await;
    assert_detail(&put, 409, "Session has no egress proxy; nothing to refresh");
}

/// Begins a command that runs until it is told to end, and waits until it runs.
async fn begin(session: &Session) -> tokio::task::JoinHandle<(String, i64)> {
    let mine = session.clone();
    let command =
        "touch /workspace/tmp/begun; while [ ! -e /workspace/tmp/end ]; do sleep 0.05; done";
    let running = tokio::spawn(async move { mine.sh(command).await });
    let begun = format!("{}/files/tmp/begun", session.project());
    until("the command to run", async || session.client.get(&begun).await.status == 200).await;
    running
}

async fn end(session: &Session) {
    let path = format!("{}/files/tmp/end", session.project());
    let _ = session.client.put_bytes(&path, "application/octet-stream", "").await.expect(201);
}

#[tokio::test]
async fn a_session_in_use_is_busy_for_every_other_request() {
    let server = server().start().await;
    let session = Session::small(&server.client()).await;
    let running = begin(&session).await;
    let busy = "Session is busy";
    assert_detail(&session.post("", &json!({ "commands": [] })).await, 409, busy);
    assert_detail(&session.send(Method::GET, "").await, 409, busy);
    assert_detail(&session.send(Method::DELETE, "").await, 409, busy);
    assert_detail(&session.send(Method::DELETE, "?force=true").await, 409, busy);
    assert_detail(&session.post("fs/ls", &json!({ "path": "/workspace" })).await, 409, busy);
    let archive = archive::tar(&[archive::file("a", "1")]);
    assert_detail(&session.seed(&[("repo_archive", &archive)]).await, 409, busy);
    let open = json!({ "policy": { "default": "allow" } });
    let put = session.client.put(&session.path("egress/"), &open).await;
    assert_detail(&put, 409, busy);
    end(&session).await;
    assert_eq!(running.await.expect("an answer").1, 0);
    session.done(Method::DELETE, "?force=true").await;
}

#[tokio::test]
async fn requests_that_can_wait_have_their_turn_one_after_another() {
    let patient = super::any_server().env("SANDTREE_DIALECTS__DAIV__BUSY_WAIT", "1m");
    let server = patient.start().await;
    let session = Session::small(&server.client()).await;
    let one = |n: u32| {
        let session = session.clone();
        let command = format!("echo {n} >> log; sleep 0.1; echo {n} >> log");
        tokio::spawn(async move { session.ok(&command).await })
    };
    let all: Vec<_> = (0..6).map(one).collect();
    for one in all {
        one.await.expect("an answer");
    }
    let log = session.ok("cat log").await;
    let lines: Vec<_> = log.lines().collect();
    assert_eq!(lines.len(), 12);
    assert!(lines.chunks(2).all(|pair| pair[0] == pair[1]), "two ran at once: {lines:?}");
}

#[tokio::test]
async fn a_client_that_goes_away_takes_its_command_with_it() {
    let server = server().start().await;
    let session = Session::small(&server.client()).await;
    let body = json!({ "commands": ["touch /workspace/tmp/begun; sleep 1000"] }).to_string();
    let request = format!(
        "POST {} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        session.path(""),
        body.len()
    );
    // The connection is closed when nothing has come for a second.
    let said = session.client.raw(request.as_bytes(), Duration::from_secs(1)).await;
    assert_eq!(String::from_utf8_lossy(&said), "");
    until("the session to be free again", async || {
        session.post("", &json!({ "commands": [] })).await.status == 200
    })
    .await;
    assert_eq!(session.ok("ls /workspace/tmp").await, "begun\n");
    let (_, code) = session.sh("ps | grep '[s]leep 1000'").await;
    assert_eq!(code, 1, "it still runs");
}

#[tokio::test]
async fn a_session_outlives_the_server() {
    let mut server = server().start().await;
    let session = Session::small(&server.client()).await;
    session.ok("echo 1 > kept; sleep 1000 & echo $! > pid").await;
    server.kill9().await;
    server.restart().await;
    let session = Session { client: server.client(), ..session };
    session.done(Method::GET, "").await;
    session.ok("kill -0 $(cat pid)").await;
}

#[tokio::test]
async fn a_session_that_nobody_uses_is_removed() {
    let short = server()
        .env("SANDTREE_PROFILES__DAIV__IDLE_TIMEOUT", "1s")
        .env("SANDTREE_TREE__JANITOR_INTERVAL", "1s");
    let server = short.start().await;
    let session = Session::small(&server.client()).await;
    until("the session to be gone", async || {
        session.client.get(&session.project()).await.status == 404
    })
    .await;
    assert_detail(&session.send(Method::GET, "").await, 404, NOT_FOUND);
    until("nothing to be left", async || server.containers().is_empty()).await;
}

#[tokio::test]
async fn stopped_sessions_are_kept_up_to_a_number_and_a_time() {
    let few = server()
        .env("SANDTREE_PROFILES__DAIV__STOPPED_MAX", "1")
        .env("SANDTREE_TREE__JANITOR_INTERVAL", "1s");
    let server = few.start().await;
    let first = Session::small(&server.client()).await;
    let second = Session::small(&server.client()).await;
    let third = Session::small(&server.client()).await;
    for session in [&first, &second] {
        session.done(Method::DELETE, "").await;
    }
    until("the first to be gone", async || {
        first.send(Method::DELETE, "").await.status == 204
            && first.client.get(&first.project()).await.status == 404
    })
    .await;
    second.ok("true").await;
    third.ok("true").await;
}
