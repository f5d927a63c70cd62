//! A daemon that is stopped, killed, frozen or out of disk. It is the test's own, so
//! nobody else's containers suffer. Each outcome is a row of docs/OPERATIONS.md.

use std::time::Duration;

use sandtree_testkit::{PrivateEngine, TestServer, until};
use serde_json::{Value, json};

use crate::support::{Project, server};

/// How long the daemon is away: a minute in a soak.
fn away() -> Duration {
    let seconds = std::env::var("SANDTREE_SOAK_AWAY_SECONDS").ok();
    Duration::from_secs(seconds.and_then(|text| text.parse().ok()).unwrap_or(3))
}

/// A server on the engine, with a project that runs and has a process, a shell and a file.
async fn server_on(engine: &PrivateEngine) -> (TestServer, Project, Value) {
    let setup = server().env("SANDTREE_DOCKER__HOST", engine.host());
    // Enough for one whose disk is slow; one that is frozen is told from it sooner.
    let server = setup.env("SANDTREE_DOCKER__REQUEST_TIMEOUT", "10s").start().await;
    let project = Project::small(&server.client(), "demo").await;
    project.write("kept.txt", "kept\n").await;
    project.put_process(&json!({ "argv": ["sleep", "1000"], "restart": "on-failure" })).await;
    let mut terminal = project.client.terminal("demo", "cols=80&rows=24").await;
    terminal.type_text("kept=yes; echo re''ady\r").await;
    terminal.wait_for_screen("the shell", |screen| screen.contains("ready")).await;
    let before = project.show().await;
    assert!(before["process"]["pid"].is_u64() && before["terminal"]["pid"].is_u64(), "{before}");
    (server, project, before)
}

/// While the engine is away: what needs it is refused, and all else goes on.
async fn all_else_goes_on(project: &Project) {
    let other = json!({ "id": "other", "profile": "small", "start": true });
    let refused = project.client.post("/v1/projects", &other).await.expect(503);
    assert_eq!(refused.problem().0, "engine-away");
    let began = tokio::time::Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_millis(200));
    while began.elapsed() < away() {
        ticks.tick().await;
        assert_eq!(project.read("kept.txt").await, "kept\n");
        assert_eq!(project.sh("echo here").await, "here\n");
    }
    let _ = project.client.get("/health").await.expect(200);
    let _ = project.client.get("/ready").await.expect(503);
}

async fn ready(server: &TestServer) {
    let client = server.client();
    until("the server to be ready", async || client.get("/ready").await.status == 200).await;
}

/// Nothing has moved: the same process and the same shell run in the same container.
async fn is_as_before(project: &Project, before: &Value) {
    project.wait_for_exec().await;
    let shown = project.show().await;
    for same in ["/generation", "/sandbox", "/process", "/terminal/epoch", "/terminal/pid"] {
        assert_eq!(shown.pointer(same), before.pointer(same), "{same}: {shown}");
    }
    let mut terminal = project.client.terminal("demo", "cols=80&rows=24").await;
    terminal.type_text("echo \"kept: $kept\"\r").await;
    terminal.wait_for_screen("the same shell", |screen| screen.contains("kept: yes")).await;
}

/// The engine's own words for who is PID 1 of the only container that runs, and since when.
fn init_on(engine: &PrivateEngine) -> String {
    let id = engine.docker(&["ps", "--quiet", "--no-trunc"]).expect("a list");
    let format = "{{.Id}} {{.State.Pid}} {{.State.StartedAt}}";
    engine.docker(&["inspect", "--format", format, id.trim()]).expect("one container")
}

/// The sandbox has ended with the engine, and runs again by itself.
async fn was_started_again(project: &Project, before: &Value) {
    let since = before["generation"].as_u64();
    until("the project to run again", async || {
        let shown = project.show().await;
        shown["phase"] == "running" && shown["generation"].as_u64() > since
    })
    .await;
    project.wait_for_exec().await;
    assert_eq!(project.sh("cat kept.txt").await, "kept\n");
    until("the process in a new epoch", async || {
        let process = project.process().await;
        process["state"] == "running" && process["epoch"] != before["process"]["epoch"]
    })
    .await;
}

#[tokio::test]
async fn a_daemon_that_is_stopped_with_live_restore_takes_nothing_along() {
    let mut engine = PrivateEngine::start(true, None).await;
    let (server, project, before) = server_on(&engine).await;
    let init = init_on(&engine);
    engine.stop().await;
    all_else_goes_on(&project).await;
    engine.resume().await;
    ready(&server).await;
    assert_eq!(init_on(&engine), init);
    is_as_before(&project, &before).await;
    assert_eq!(project.operate("stop").await["phase"], "stopped");
}

#[tokio::test]
async fn a_daemon_that_is_killed_with_live_restore_takes_nothing_along() {
    let mut engine = PrivateEngine::start(true, None).await;
    let (server, project, before) = server_on(&engine).await;
    let init = init_on(&engine);
    engine.kill().await;
    all_else_goes_on(&project).await;
    engine.resume().await;
    ready(&server).await;
    assert_eq!(init_on(&engine), init);
    is_as_before(&project, &before).await;
    assert_eq!(project.operate("stop").await["phase"], "stopped");
}

#[tokio::test]
async fn a_daemon_that_is_stopped_without_live_restore_ends_sandboxes_for_a_while() {
    let mut engine = PrivateEngine::start(false, None).await;
    let (server, project, before) = server_on(&engine).await;
    engine.stop().await;
    engine.resume().await;
    ready(&server).await;
    was_started_again(&project, &before).await;
}

#[tokio::test]
async fn a_daemon_that_is_killed_without_live_restore_ends_sandboxes_for_a_while() {
    let mut engine = PrivateEngine::start(false, None).await;
    let (server, project, before) = server_on(&engine).await;
    engine.kill().await;
    assert_eq!(project.sh("echo here").await, "here\n", "its containers end with the next one");
    engine.resume().await;
    ready(&server).await;
    was_started_again(&project, &before).await;
}

#[tokio::test]
async fn a_daemon_that_is_frozen_is_waited_for() {
    let engine = PrivateEngine::start(true, None).await;
    let (server, project, before) = server_on(&engine).await;
    let down =
        Project::create(&server.client(), &json!({ "id": "down", "profile": "small" })).await;
    engine.freeze();
    let client = server.client();
    let (start, ()) = tokio::join!(client.post_empty("/v1/projects/down/start"), async {
        assert_eq!(project.sh("echo here").await, "here\n");
        assert_eq!(project.read("kept.txt").await, "kept\n");
    });
    assert_eq!(start.expect(503).problem().0, "engine-away");
    engine.thaw();
    ready(&server).await;
    is_as_before(&project, &before).await;
    down.operate("start").await;
    assert_eq!(down.sh("echo up").await, "up\n");
}

#[tokio::test]
async fn a_daemon_whose_disk_is_full_fails_starts_and_nothing_else() {
    const DISK: u64 = 48 * 1024 * 1024;
    let engine = PrivateEngine::start(true, Some(DISK)).await;
    let (server, project, before) = server_on(&engine).await;
    let client = server.client();
    let filler = engine.root().join("filler");
    let fill = || std::fs::write(&filler, vec![0_u8; usize::try_from(DISK).expect("small")]);
    assert!(fill().is_err(), "the disk takes no more");

    let body = json!({ "id": "new", "profile": "small", "start": true });
    let refused = client.post("/v1/projects", &body).await;
    assert_eq!(refused.status / 100, 5, "{refused:?}");
    let said = refused.problem().1["detail"].to_string();
    assert!(said.contains("no space left"), "{said}");
    assert_eq!(project.sh("cat kept.txt").await, "kept\n");
    project.write("more.txt", "written meanwhile\n").await;
    is_as_before(&project, &before).await;

    std::fs::remove_file(&filler).expect("the filler");
    until("the failed create to be gone", async || {
        client.get("/v1/projects/new").await.status == 404
    })
    .await;
    let new = Project::small(&client, "new").await;
    assert_eq!(new.sh("echo up").await, "up\n");
}
