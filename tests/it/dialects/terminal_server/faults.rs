//! Time-outs, crashes, an engine that is away, and what the log and the metrics say.

use sandtree_testkit::docker::docker;
use sandtree_testkit::{EngineProxy, TestServer, until};
use serde_json::Value;

use super::{SESSIONS, connect, create, id, small, stdin, stdout};

#[tokio::test]
async fn an_idle_session_and_an_old_one_are_removed() {
    for (timeout, value) in [("IDLE_TIMEOUT", "1s"), ("MAX_LIFETIME", "2s")] {
        let server = small()
            .env(&format!("SANDTREE_PROFILES__TERMINAL_SERVER__{timeout}"), value)
            .env("SANDTREE_TREE__JANITOR_INTERVAL", "1s")
            .start()
            .await;
        let client = server.client();
        let name = id(&create(&client).await);
        until(&format!("the session to be gone by its {timeout}"), async || {
            client.get(&format!("{SESSIONS}/{name}")).await.status == 404
        })
        .await;
        server.assert_no_leftovers();
    }
}

#[tokio::test]
async fn a_container_that_crashes_is_there_again_for_the_next_socket() {
    let server = small().start().await;
    let client = server.client();
    let session = create(&client).await;
    let mut socket = connect(&client, &id(&session)).await;
    docker(&["kill", session["containerId"].as_str().expect("a container")]).expect("a kill");
    assert_eq!(socket.closed().await, 1001);
    until("a shell in the next container", async || {
        let mut socket = connect(&client, &id(&session)).await;
        socket.send(stdin("echo ba''ck\n")).await;
        socket.output_until("back", stdout).await.is_some()
    })
    .await;
}

#[tokio::test]
async fn without_an_engine_a_session_is_refused_with_503() {
    let server = TestServer::setup(env!("CARGO_BIN_EXE_sandtree"))
        .env("SANDTREE_DOCKER__HOST", "unix:///nowhere/docker.sock")
        .start()
        .await;
    let refused = server.client().post_empty(SESSIONS).await.expect(503);
    assert!(refused.json()["detail"].is_string());
    assert!(refused.header("retry-after").is_some());
}

#[tokio::test]
async fn who_looks_at_a_session_whose_time_is_over_is_told() {
    let server = small()
        .env("SANDTREE_PROFILES__TERMINAL_SERVER__MAX_LIFETIME", "2s")
        .env("SANDTREE_TREE__JANITOR_INTERVAL", "1s")
        .start()
        .await;
    let client = server.client();
    let name = id(&create(&client).await);
    assert_eq!(connect(&client, &name).await.closed().await, 1001);
    until("the session to be gone", async || {
        client.get(&format!("{SESSIONS}/{name}")).await.status == 404
    })
    .await;
    assert_eq!(connect(&client, &name).await.closed().await, 1008);
    server.assert_no_leftovers();
}

#[tokio::test]
async fn a_daemon_that_is_away_ends_no_session() {
    let mut engine = EngineProxy::start();
    let server = small().env("SANDTREE_DOCKER__HOST", engine.host()).start().await;
    let client = server.client();
    let session = create(&client).await;
    let name = id(&session);
    engine.cut();
    let mut socket = connect(&client, &name).await;
    socket.send(stdin("echo he''re\n")).await;
    socket.wait_for("here", stdout).await;
    let path = format!("{SESSIONS}/{name}");
    let refused = client.delete(&path).await.expect(503);
    assert!(refused.json()["detail"].is_string() && refused.header("retry-after").is_some());
    engine.restore();
    until("the session to be gone", async || {
        matches!(client.delete(&path).await.status, 200 | 404)
    })
    .await;
    server.assert_no_leftovers();
}

#[tokio::test]
async fn what_happens_to_sessions_is_in_the_log_and_in_the_metrics() {
    let mut engine = EngineProxy::start();
    let server = small()
        .env("SANDTREE_LOG__FORMAT", "json")
        .env("SANDTREE_DOCKER__HOST", engine.host())
        .start()
        .await;
    let client = server.client();
    let body = serde_json::json!({ "userId": "ann" });
    let name = id(&client.post(SESSIONS, &body).await.expect(200).json());
    engine.cut();
    let _ = client.post(SESSIONS, &body).await.expect(503);
    let event = async |event: &str| {
        let mut found = None;
        until(event, async || {
            let log = server.log();
            let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            found = lines.into_iter().find(|line| line["event"] == event);
            found.is_some()
        })
        .await;
        found.expect("just seen")
    };
    let created = event("session.created").await;
    assert_eq!((&created["session_id"], &created["user_id"]), (&name.into(), &"ann".into()));
    let failed = event("container.failed").await;
    assert!(failed["session_id"].as_str().is_some_and(|it| it.starts_with("sess_")), "{failed}");
    assert!(failed["error"].as_str().is_some_and(|it| it.contains("engine")), "{failed}");
    assert_eq!(failed["level"], "ERROR");
    let metrics = client.get("/metrics").await.expect(200).text();
    for status in ["200", "503"] {
        let row = metrics.lines().find(|line| {
            line.starts_with("sandtree_http_requests_total")
                && line.contains("route=\"/api/v1/sessions\"")
                && line.contains(&format!("status=\"{status}\""))
        });
        assert!(row.is_some_and(|row| row.ends_with(" 1")), "{status}: {row:?}");
    }
}
