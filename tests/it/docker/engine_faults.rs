//! An engine that goes away, and containers that change behind the server's back.

use std::time::Duration;

use hyper::Method;
use sandtree_testkit::docker::{Container, docker};
use sandtree_testkit::{Client, EngineProxy, TestServer, until, within};
use serde_json::{Value, json};

use crate::support::{Project, server};

/// A name that no registry answers to.
const NO_IMAGE: &str = "registry.invalid/nothing:1";

fn container_id(shown: &Value) -> String {
    shown["sandbox"]["container_id"].as_str().unwrap_or_else(|| panic!("{shown}")).to_owned()
}

impl Project {
    /// Does something to the container with the engine's own command; how the project was.
    async fn behind_the_back(&self, command: &[&str]) -> Value {
        let before = self.show().await;
        let id = container_id(&before);
        docker(&[command, &[&id]].concat()).expect("a container that can be touched");
        before
    }

    /// That its events tell of a move since `before` with these words as its reason.
    async fn told_of(&self, reason: &str, before: &Value) {
        let path = self.path(&format!("events?after={}.0", before["generation"]));
        let mut events = self.client.request(Method::GET, &path).events().await;
        let lost = events.find("why it moved", |event| event.data.contains(reason)).await;
        assert_eq!(lost.json()["by"], "lost", "{lost:?}");
    }

    /// Waits until it runs and has moved since `before`; as it is then.
    async fn runs_again_since(&self, before: &Value) -> Value {
        let since = before["generation"].as_u64().expect("a generation");
        until("the project to run again", async || {
            let shown = self.show().await;
            assert_ne!(shown["phase"], "failed", "{shown}");
            shown["phase"] == "running" && shown["generation"].as_u64() > Some(since)
        })
        .await;
        self.wait_for_exec().await;
        self.show().await
    }
}

#[tokio::test]
async fn an_engine_that_is_away_is_waited_for_and_nothing_else_stops() {
    let mut proxy = EngineProxy::start();
    let server = server().env("SANDTREE_DOCKER__HOST", proxy.host()).start().await;
    let client = server.client();
    let up = Project::small(&client, "up").await;
    let killed = Project::small(&client, "killed").await;
    let down = Project::create(&client, &json!({ "id": "down", "profile": "small" })).await;

    proxy.cut();
    refused_for_now(&client, "/v1/projects/down/start", &Value::Null).await;
    let body = json!({ "id": "new", "profile": "small", "start": true });
    refused_for_now(&client, "/v1/projects", &body).await;
    assert_eq!(client.get("/ready").await.expect(503).header("retry-after"), Some("5"));
    assert_eq!(up.show().await["phase"], "running");
    assert_eq!(up.sh("echo still here").await, "still here\n");
    up.write("away.txt", "written while it was away\n").await;
    assert_eq!(down.get("tree").await.status, 200);
    assert_eq!(client.get("/v1/projects").await.expect(200).json()["items"][0]["id"], "down");
    let before = killed.behind_the_back(&["kill"]).await;

    proxy.restore();
    until("the server to be ready", async || client.get("/ready").await.status == 200).await;
    killed.runs_again_since(&before).await;
    assert_eq!(down.operate("start").await["phase"], "running");
    assert_eq!(down.sh("echo up").await, "up\n");
    assert_eq!(up.sh("cat away.txt").await, "written while it was away\n");
    up.operate("stop").await;
    let new = Project::existing(&client, "new");
    assert_eq!(new.get("").await.status, 404, "a create that was refused left nothing");
    Project::create(&client, &body).await;
}

/// That the engine's absence is what is said, and that asking again is worth it.
async fn refused_for_now(client: &Client, path: &str, body: &Value) {
    let answer =
        if body.is_null() { client.post_empty(path).await } else { client.post(path, body).await };
    let answer = answer.expect(503);
    assert_eq!(answer.problem().0, "engine-away", "{path}");
    let after = answer.header("retry-after").and_then(|after| after.parse::<u32>().ok());
    assert!(after.is_some_and(|seconds| (1..=60).contains(&seconds)), "{path}: {after:?}");
}

#[tokio::test]
async fn a_container_that_is_removed_or_killed_is_replaced_and_keeps_its_files() {
    let server = server().start().await;
    let client = server.client();
    for (id, command, keeps_container) in
        [("removed", &["rm", "--force"][..], false), ("killed", &["kill"][..], true)]
    {
        let project = Project::small(&client, id).await;
        project.write("kept.txt", "kept\n").await;
        let before = project.behind_the_back(command).await;
        let after = project.runs_again_since(&before).await;
        let is_same = container_id(&before) == container_id(&after);
        assert_eq!(is_same, keeps_container, "{id}: {before} {after}");
        assert_eq!(project.sh("cat kept.txt").await, "kept\n", "{id}");
        project.told_of("behind our back", &before).await;
    }
    assert_eq!(server.containers().len(), 2, "one for each");
}

#[tokio::test]
async fn a_container_that_is_paused_behind_our_back_is_shown_paused() {
    let server = server().start().await;
    let project = Project::small(&server.client(), "frozen").await;
    project.behind_the_back(&["pause"]).await;
    let shown = project.wait_for("paused").await;
    assert_eq!(shown["reason"], "paused behind our back");
    let refused = project.post("exec", &json!({ "argv": ["true"] })).await.expect(409);
    assert_eq!(refused.problem().0, "wrong-phase");

    project.behind_the_back(&["unpause"]).await;
    project.wait_for("running").await;
    project.wait_for_exec().await;

    project.behind_the_back(&["pause"]).await;
    project.wait_for("paused").await;
    assert_eq!(project.operate("resume").await["phase"], "running");
    assert_eq!(project.sh("echo awake").await, "awake\n");
}

#[tokio::test]
async fn a_sandbox_that_ends_too_often_is_failed_and_says_why() {
    let server = server().env("SANDTREE_PROFILES__DEFAULT__RESTARTS_MAX", "2").start().await;
    let project = Project::small(&server.client(), "frail").await;
    for _ in 0..2 {
        let before = project.behind_the_back(&["kill"]).await;
        project.runs_again_since(&before).await;
    }
    project.behind_the_back(&["kill"]).await;
    let failed = project.wait_for("failed").await;
    let reason = failed["reason"].as_str().expect("a reason");
    assert!(reason.contains("too often"), "{reason}");
    let refused = project.post("exec", &json!({ "argv": ["true"] })).await.expect(409);
    assert_eq!(refused.problem().1["phase"], "failed");
    assert!(server.containers().iter().all(|it| it.state != "running"), "it uses nothing");

    assert_eq!(project.operate("start").await["phase"], "running");
    assert_eq!(project.sh("echo again").await, "again\n");
}

#[tokio::test]
async fn a_server_that_ends_in_order_leaves_its_sandboxes_to_the_next() {
    let mut server = server().start().await;
    let project = Project::small(&server.client(), "left").await;
    let process = project.put_process(&json!({ "argv": ["sleep", "1000"] })).await;
    let before = project.show().await;

    assert!(server.terminate().await.success(), "an end that was asked for is no failure");
    let states: Vec<String> = server.containers().into_iter().map(|it| it.state).collect();
    assert_eq!(states, ["running"]);

    server.restart().await;
    let project = Project::existing(&server.client(), "left");
    project.wait_for_exec().await;
    let after = project.show().await;
    assert_eq!(after["generation"], before["generation"], "nothing moved");
    assert_eq!(after["sandbox"], before["sandbox"]);
    assert_eq!(after["process"]["pid"], process["pid"]);
    assert_eq!(server.containers().len(), 1);
}

#[tokio::test]
async fn a_second_server_on_the_same_data_is_refused_and_told_why() {
    let server = server().start().await;
    let refused = server.second_server().await.expect_err("two servers on one directory");
    assert!(refused.contains("another server uses the data directory"), "{refused}");
    let _ = server.client().get("/health").await.expect(200);
}

/// A container that was made without a server; removed when it is dropped.
struct Stray(String);

impl Stray {
    fn start(instance: &str, sandbox: &str) -> Self {
        let labels =
            [format!("sandtree.instance={instance}"), format!("sandtree.sandbox={sandbox}")];
        let started = docker(&[
            "run",
            "--detach",
            "--label",
            &labels[0],
            "--label",
            &labels[1],
            "--entrypoint",
            "/bin/sleep",
            "sandtree/small:latest",
            "1000",
        ]);
        Self(started.expect("a container").trim().to_owned())
    }

    /// Such as `running`; `None` when it is gone.
    fn state(&self) -> Option<String> {
        let state = docker(&["inspect", "--format", "{{.State.Status}}", &self.0]);
        state.ok().map(|state| state.trim().to_owned())
    }
}

impl Drop for Stray {
    fn drop(&mut self) {
        // The server may have removed it.
        let _ = docker(&["rm", "--force", &self.0]);
    }
}

#[tokio::test]
async fn orphans_of_this_instance_are_swept_and_those_of_others_are_not_touched() {
    let mut server = server().start().await;
    let instance = std::fs::read_to_string(server.data_dir().join("instance")).expect("its id");
    let project = Project::small(&server.client(), "owned").await;
    let foreign = Stray::start("other", "aaaaaaaaaaaaaaaaaaaa");
    let orphan = Stray::start(instance.trim(), "bbbbbbbbbbbbbbbbbbbb");

    server.kill9().await;
    server.restart().await;
    until("the orphan to be gone", async || orphan.state().is_none()).await;
    assert_eq!(foreign.state().as_deref(), Some("running"));
    let project = Project::existing(&server.client(), &project.id);
    project.wait_for_exec().await;
    let sandboxes: Vec<String> =
        server.containers().into_iter().map(|Container { sandbox, .. }| sandbox).collect();
    assert_eq!(json!(sandboxes), json!([project.show().await["sandbox"]["uid"]]));
}

#[tokio::test]
async fn an_image_that_cannot_be_had_is_said_at_once_and_leaves_no_project() {
    let server = server().start().await;
    let client = server.client();
    let body = json!({ "id": "imageless", "image": NO_IMAGE, "start": true });
    let limit = Duration::from_secs(45);
    let answer = within(limit, "an answer", client.post("/v1/projects", &body)).await.expect(422);
    let (kind, problem) = answer.problem();
    assert_eq!(kind, "image-unavailable");
    assert!(problem["detail"].as_str().is_some_and(|it| it.contains(NO_IMAGE)), "{problem}");
    until("the project to be gone", async || {
        client.get("/v1/projects/imageless").await.status == 404
    })
    .await;
    server.assert_no_leftovers();
    // Its id is free again.
    let body = json!({ "id": "imageless", "profile": "small", "start": true });
    Project::create(&client, &body).await;
}

#[tokio::test]
async fn a_sandbox_stops_when_it_idles_and_when_its_time_is_over() {
    let server = server().env("SANDTREE_TREE__JANITOR_INTERVAL", "1s").start().await;
    let client = server.client();
    let create = async |id: &str, idle: &str, lifetime: &str| {
        let times = json!({ "idle_timeout": idle, "max_lifetime": lifetime });
        let mut body = json!({ "id": id, "profile": "small", "start": true });
        body.as_object_mut().expect("an object").extend(times.as_object().expect("one").clone());
        Project::create(&client, &body).await
    };
    let patient = create("patient", "never", "never").await;
    let idle = create("idle", "2s", "never").await;
    let old = create("old", "never", "2s").await;
    let busy = old.put_process(&json!({ "argv": ["sleep", "1000"] })).await;
    assert_eq!(busy["state"], "running");

    let reason = |shown: Value| shown["reason"].as_str().unwrap_or_default().to_owned();
    assert_eq!(reason(idle.wait_for("stopped").await), "idle for 2s");
    assert_eq!(reason(old.wait_for("stopped").await), "reached its maximum lifetime of 2s");
    assert_eq!(patient.show().await["phase"], "running");
    assert_eq!(running(&server), 1, "the patient one");
    assert_eq!(idle.operate("start").await["phase"], "running");
}

fn running(server: &TestServer) -> usize {
    server.containers().iter().filter(|it| it.state == "running").count()
}
