//! Restarts of the server, and an engine that goes away or is used by others too.

use std::time::Duration;

use sandtree_testkit::docker::docker;
use sandtree_testkit::{EngineProxy, LONG, until, within};
use serde_json::{Value, json};

use crate::support::{Project, server};

#[tokio::test]
async fn a_server_that_is_told_to_end_leaves_its_sandboxes_running() {
    let mut server = server().start().await;
    let project = Project::running(&server.client(), "demo").await;
    let body =
        json!({ "argv": ["sh", "-c", "trap 'echo got TERM' TERM; while :; do sleep 1; done"] });
    let process = project.put_process(&body).await;
    let mut terminal = project.client.terminal("demo", "cols=80&rows=24").await;
    terminal.type_text("echo re''ady\r").await;
    terminal.wait_for_screen("the shell", |screen| screen.contains("ready")).await;
    let mut events =
        project.client.request(hyper::Method::GET, &project.path("events")).events().await;

    let ended = server.terminate().await;
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    terminal.wait_for_close().await;
    assert_eq!(events.next().await, None, "the events end with the server");
    let containers = server.containers();
    assert_eq!(containers.len(), 1);
    assert_eq!(containers[0].state, "running");

    server.restart().await;
    let project = Project::existing(&server.client(), "demo");
    project.wait_for_exec().await;
    assert_eq!(project.process().await["pid"], process["pid"]);
    assert!(!project.log().await.contains("TERM"), "the process was not told to end");
}

#[tokio::test]
async fn a_second_server_on_the_same_data_directory_is_refused() {
    let server = server().start().await;
    let project = Project::create(&server.client(), &json!({ "id": "demo" })).await;
    let refused = server.second_server().await.expect_err("two servers on one directory");
    assert!(refused.contains("another server uses the data directory"), "{refused}");
    assert_eq!(project.show().await["phase"], "stopped", "the first one serves on");
}

/// The project once it has made further moves and is in a phase.
async fn moved_on(project: &Project, before: &Value, phase: &str) -> Value {
    until(&format!("{phase} again"), async || {
        let now = project.show().await;
        now["generation"].as_u64() > before["generation"].as_u64() && now["phase"] == phase
    })
    .await;
    project.show().await
}

#[tokio::test]
async fn what_is_done_to_a_container_behind_the_servers_back_has_its_outcome() {
    let server = server().start().await;
    let project = Project::small(&server.client(), "demo").await;
    project.write("kept.txt", "kept").await;
    let container =
        |shown: &Value| shown["sandbox"]["container_id"].as_str().expect("a container").to_owned();

    let first = project.show().await;
    docker(&["kill", &container(&first)]).expect("a kill");
    let second = moved_on(&project, &first, "running").await;
    assert_eq!(container(&second), container(&first), "the same container was started again");

    docker(&["rm", "--force", &container(&second)]).expect("a removal");
    let third = moved_on(&project, &second, "running").await;
    assert_ne!(container(&third), container(&second), "a new container was made");

    docker(&["pause", &container(&third)]).expect("a pause");
    let fourth = moved_on(&project, &third, "paused").await;
    docker(&["unpause", &container(&third)]).expect("an unpause");
    moved_on(&project, &fourth, "running").await;
    project.wait_for_exec().await;
    assert_eq!(project.sh("cat kept.txt").await, "kept");
    assert_eq!(server.containers().len(), 1);
}

#[tokio::test]
async fn a_container_that_is_killed_again_and_again_is_given_up_and_can_be_started() {
    let server = server().env("SANDTREE_PROFILES__SMALL__RESTARTS_MAX", "1").start().await;
    let project = Project::small(&server.client(), "demo").await;
    let first = project.show().await;
    let id = first["sandbox"]["container_id"].as_str().expect("a container");
    docker(&["kill", id]).expect("a kill");
    moved_on(&project, &first, "running").await;
    docker(&["kill", id]).expect("a kill");
    let failed = project.wait_for("failed").await;
    assert!(failed["reason"].as_str().is_some_and(|it| it.contains("too often")), "{failed}");
    project.operate("start").await;
    assert_eq!(project.sh("echo ok").await, "ok\n");
}

#[tokio::test]
async fn memory_that_runs_out_ends_the_command_and_not_the_project() {
    let server = server().start().await;
    let limits = json!({ "memory_bytes": 100 * 1024 * 1024 });
    let body = json!({ "id": "demo", "start": true, "limits": limits });
    let project = Project::create(&server.client(), &body).await;
    let hungry = json!({ "argv": ["python3", "-c", "x = bytearray(400_000_000)"] });
    let answer = project.post("exec", &hungry).await;
    if answer.status == 200 {
        assert_eq!(answer.json()["exit_code"], 137, "{answer:?}");
    }
    project.wait_for("running").await;
    project.wait_for_exec().await;
}

#[tokio::test]
async fn an_engine_that_is_away_is_told_and_then_all_goes_on() {
    let mut proxy = EngineProxy::start();
    let server = server().env("SANDTREE_DOCKER__HOST", proxy.host()).start().await;
    let client = server.client();
    let running = Project::small(&client, "running").await;
    let stopped = Project::create(&client, &json!({ "id": "stopped", "profile": "small" })).await;

    proxy.cut();
    let start = stopped.path("start");
    let asking = client.post_empty(&start);
    let refused = within(LONG, "an answer without an engine", asking).await.expect(503);
    assert_eq!(refused.problem().0, "engine-away");
    let after: u64 = refused.header("retry-after").and_then(|it| it.parse().ok()).expect("seconds");
    assert!((1..=60).contains(&after), "{after}");
    assert_eq!(client.get("/ready").await.status, 503);
    let _ = client.get("/health").await.expect(200);
    assert_eq!(running.sh("echo without the engine").await, "without the engine\n");
    stopped.write("file.txt", "written without the engine").await;

    proxy.restore();
    until("the server to be ready again", async || client.get("/ready").await.status == 200).await;
    let _ = stopped.operate("start").await;
    assert_eq!(stopped.sh("cat file.txt").await, "written without the engine");
    running.delete().await;
    stopped.delete().await;
    server.assert_no_leftovers();
}

#[tokio::test]
async fn what_happened_while_the_engine_was_away_is_found() {
    let mut proxy = EngineProxy::start();
    let server = server().env("SANDTREE_DOCKER__HOST", proxy.host()).start().await;
    let project = Project::small(&server.client(), "demo").await;
    let before = project.show().await;
    proxy.cut();
    let id = before["sandbox"]["container_id"].as_str().expect("a container");
    docker(&["kill", id]).expect("a kill");
    proxy.restore();
    moved_on(&project, &before, "running").await;
    project.wait_for_exec().await;
}

#[tokio::test]
async fn a_server_that_starts_without_an_engine_serves_what_needs_none() {
    let mut proxy = EngineProxy::start();
    let mut server = server().env("SANDTREE_DOCKER__HOST", proxy.host()).start().await;
    let project = Project::small(&server.client(), "demo").await;
    project.write("file.txt", "still here").await;
    server.kill9().await;
    proxy.cut();
    server.restart().await;
    let project = Project::existing(&server.client(), "demo");
    assert_eq!(project.show().await["phase"], "running");
    assert_eq!(project.read("file.txt").await, "still here");
    proxy.restore();
    project.wait_for_exec().await;
}

#[tokio::test]
async fn events_are_resumed_over_a_restart_without_a_loss() {
    let mut server = server().start().await;
    let project = Project::small(&server.client(), "demo").await;
    let path = project.path("events?after=1.0");
    let mut events = project.client.request(hyper::Method::GET, &path).events().await;
    let running = events
        .find("the transition to running", |event| {
            event.event == "transition" && event.json()["to"] == "running"
        })
        .await;
    project.operate("stop").await;
    server.kill9().await;
    server.restart().await;
    let client = server.client();
    let last = running.id.expect("an id");
    let call = client.request(hyper::Method::GET, &project.path("events"));
    let mut events = call.header("last-event-id", &last).events().await;
    let mut phases = Vec::new();
    while phases.last().map(String::as_str) != Some("stopped") {
        let event = within(Duration::from_secs(30), "an event", events.next()).await;
        let event = event.expect("events that go on");
        if event.event == "transition" {
            phases.push(event.json()["to"].as_str().expect("a phase").to_owned());
        }
    }
    assert_eq!(phases, ["stopping", "stopped"]);
}
