//! The pool, with real containers.

use std::collections::BTreeSet;

use sandtree_testkit::{Client, TestServer, until};
use serde_json::json;

use crate::support::{Project, run, server};

async fn until_ready(client: &Client, wanted: usize) {
    let line = format!("sandtree_pool_ready{{profile=\"small\"}} {wanted}");
    until(&line, async || client.get("/metrics").await.text().contains(&line)).await;
}

fn containers(server: &TestServer) -> BTreeSet<String> {
    server.containers().into_iter().map(|container| container.id).collect()
}

async fn create(client: &Client, id: &str) -> String {
    let body = json!({ "id": id, "profile": "small", "start": true, "env": { "NAME": id } });
    let made = client.post("/v1/projects", &body).await.expect(201).json();
    assert_eq!(made["phase"], "running");
    made["sandbox"]["container_id"].as_str().expect("a container").to_owned()
}

#[tokio::test]
async fn pooled_sandboxes_are_claimed_refilled_and_taken_over_after_a_kill() {
    let mut server = server().env("SANDTREE_POOL__SIZES__SMALL", "2").start().await;
    let client = server.client();
    until_ready(&client, 2).await;
    let before = containers(&server);
    assert!(before.contains(&create(&client, "a").await), "a cold create");
    let ran = Project::existing(&client, "a").sh("echo $NAME; id -u; ls -a /workspace").await;
    let lines: Vec<&str> = ran.lines().collect();
    assert_eq!((lines[0], &lines[2..]), ("a", &[".", ".."][..]), "{ran}");
    until_ready(&client, 2).await;

    let before = containers(&server);
    assert_eq!(before.len(), 3);
    server.kill9().await;
    server.restart().await;
    let client = server.client();
    until_ready(&client, 2).await;
    Project::existing(&client, "a").wait_for_exec().await;
    assert_eq!(containers(&server), before, "all are taken over");
    assert!(before.contains(&create(&client, "b").await), "a cold create");
    let other = Project::existing(&client, "b").sh("echo $NAME; id -u").await;
    assert_eq!(other.lines().next(), Some("b"));
    assert_ne!(other.lines().nth(1), ran.lines().nth(1), "each has a uid of its own");
    // The pool makes another one meanwhile, which the engine may list and not show yet.
    until_ready(&client, 2).await;
    // The environment never was where the engine shows it.
    for container in server.containers() {
        let shown = run("docker", &["inspect", &container.id]);
        assert!(!String::from_utf8_lossy(&shown).contains("NAME="), "{}", container.id);
    }
}
