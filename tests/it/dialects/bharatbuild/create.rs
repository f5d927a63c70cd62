//! `POST /create`: both forms of the body, what is answered, and what a container is.

use serde_json::{Value, json};

use super::{Bharat, setup};
use crate::support::Project;

#[tokio::test]
async fn a_flat_body_makes_a_container_and_a_second_create_finds_it() {
    let server = setup().start().await;
    let bharat = Bharat { client: server.client(), server, id: "project-abc".to_owned() };
    let body = json!({ "project_type": "node", "memory_limit": "256m", "cpu_limit": 0.25 });
    let made = bharat.post("create", &body).await.expect(200).json();

    assert_eq!(made["project_id"], "project-abc");
    assert_eq!(made["status"], "running");
    assert_eq!(made["memory_limit"], "256m");
    assert_eq!(made["cpu_limit"], 0.25);
    assert_eq!(made["container_id"].as_str().unwrap().len(), 12);
    assert!(made["created_at"].as_str().unwrap().ends_with('Z'));
    // Both names of the mappings, with the port under which this server is reached.
    let port = bharat.client.address().port();
    for name in ["ports", "port_mappings"] {
        for inside in ["3000", "3001", "5000", "8000", "8080"] {
            assert_eq!(made[name][inside], port, "{name} {inside}: {made}");
        }
    }
    let origin = format!("http://{}", bharat.client.address());
    let urls = &made["preview_urls"];
    assert_eq!(urls["primary"], format!("{origin}/api/v1/preview/project-abc/"));
    assert_eq!(urls["reverse_proxy"], "/api/v1/preview/project-abc/");
    assert_eq!(urls["3000"], format!("{origin}/api/v1/preview/project-abc/_port/3000/"));

    let again = bharat.post("create", &json!({ "memory_limit": "1g" })).await.expect(200).json();
    assert_eq!(again["container_id"], made["container_id"], "it runs, so it is used as it is");
    assert_eq!(again["memory_limit"], "256m");

    // What the engine says of it.
    let containers = bharat.server.containers();
    assert_eq!(containers.len(), 1);
    let inspected = inspect(made["container_id"].as_str().unwrap());
    let host = &inspected["HostConfig"];
    assert_eq!(host["Memory"], 256 << 20);
    assert_eq!(host["MemorySwap"], 256 << 20);
    assert_eq!(host["NanoCpus"], 250_000_000);
    assert_eq!(host["Privileged"], false);
    assert_eq!(host["ReadonlyRootfs"], false);
    assert_eq!(host["CapDrop"], json!(["ALL"]));
    let mut added: Vec<_> =
        host["CapAdd"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    added.sort_unstable();
    let added: Vec<_> = added.iter().map(|name| name.trim_start_matches("CAP_")).collect();
    assert_eq!(added, ["CHOWN", "SETGID", "SETUID"]);
}

fn inspect(container: &str) -> Value {
    let text = crate::support::run("docker", &["inspect", container]);
    serde_json::from_slice::<Value>(&text).expect("what docker says")[0].clone()
}

#[tokio::test]
async fn a_nested_body_says_all_that_the_guide_knows_and_wins() {
    let server = setup().start().await;
    let bharat = Bharat { client: server.client(), server, id: "abc123".to_owned() };
    let body = json!({
        "project_type": "python", "memory_limit": "1g",
        "config": {
            "memory_limit": "512m", "cpu_limit": 0.5, "disk_limit": "1g",
            "idle_timeout": 1800, "max_lifetime": 7200, "command_timeout": 60,
            "network_enabled": false, "exposed_ports": [4000],
            "read_only_root": false, "privileged": false,
            "cap_drop": ["ALL"], "cap_add": ["CHOWN", "SETUID", "SETGID"],
        },
    });
    let made = bharat.post("create", &body).await.expect(200).json();
    assert_eq!(made["memory_limit"], "512m");
    assert_eq!(made["port_mappings"].as_object().unwrap().keys().collect::<Vec<_>>(), ["4000"]);

    // The same project, as the native API shows it.
    let native = Project::existing(&bharat.client, "abc123").show().await;
    assert_eq!(native["profile"], "bharatbuild");
    assert_eq!(native["image"], "python:3.11-slim");
    assert_eq!(native["network"], "none");
    assert_eq!((&native["idle_timeout"], &native["max_lifetime"]), (&json!("30m"), &json!("2h")));
}

#[tokio::test]
async fn a_container_has_the_environment_user_and_directory_of_the_contract() {
    let bharat = Bharat::running("My%20Project").await;
    let events = bharat.exec("pwd; echo $PROJECT_ID $USER_ID $NODE_ENV $TERM; id -u; id -g").await;
    let said = super::data(&events, "stdout");
    let expected = ["/workspace", "My Project anonymous development xterm-256color", "0", "0"];
    assert_eq!(said, expected, "{events:?}");
    let shown = bharat.get("status").await.expect(200).json();
    assert_eq!(shown["project_id"], "My Project");
}

#[tokio::test]
async fn defaults_are_those_of_the_guide_and_an_unknown_type_is_node() {
    let server = setup().start().await;
    let client = server.client();
    let path = "/api/v1/containers/plain/create";
    let made = client.post(path, &json!({ "project_type": "cobol" })).await.expect(200).json();
    assert_eq!((&made["memory_limit"], &made["cpu_limit"]), (&json!("512m"), &json!(0.5)));
    let native = Project::existing(&client, "plain").show().await;
    assert_eq!(native["image"], "node:20-alpine");
    assert_eq!((&native["idle_timeout"], &native["max_lifetime"]), (&json!("1h"), &json!("1day")));
    assert_eq!(native["network"], "bridge");
}

#[tokio::test]
async fn ids_with_the_same_beginning_are_different_containers() {
    let bharat = Bharat::running("project-with-a-long-name-1").await;
    let other = "/api/v1/containers/project-with-a-long-name-2/create";
    let other = bharat.client.post(other, &json!({})).await.expect(200).json();
    let first = bharat.get("status").await.expect(200).json();
    assert_ne!(first["container_id"], other["container_id"]);
    assert_eq!(first["status"], "running", "the second create leaves the first alone");
}

#[tokio::test]
async fn creates_at_the_same_moment_make_one_container() {
    let server = setup().start().await;
    let client = server.client();
    let create = || async {
        let path = "/api/v1/containers/p/create";
        client.post(path, &json!({})).await.expect(200).json()["container_id"].clone()
    };
    let made = futures_util::future::join_all((0..8).map(|_| create())).await;
    assert!(made.iter().all(|id| *id == made[0]), "{made:?}");
    assert_eq!(server.containers().len(), 1);
}

#[tokio::test]
async fn a_body_that_cannot_be_is_told_in_detail() {
    let server = setup().start().await;
    let client = server.client();
    let path = "/api/v1/containers/p/create";
    for (body, word) in [
        (json!({ "memory_limit": "lots" }), "memory_limit: must be a size such as"),
        (json!({ "memory_limit": "1m" }), "memory_limit: must be from 16m to 1024g"),
        (json!({ "cpu_limit": -1 }), "cpu_limit: must be from 0.05 to 256 cores"),
        (json!({ "cpu_limit": 1e300 }), "cpu_limit: must be from 0.05 to 256 cores"),
        (json!({ "config": { "privileged": true } }), "privileged"),
        (json!({ "config": { "idle_timeout": 0 } }), "idle_timeout"),
        (json!({ "project_type": 3 }), "project_type"),
    ] {
        let answer = client.post(path, &body).await.expect(422).json();
        let detail = answer["detail"].as_str().expect("a text");
        assert!(detail.contains(word), "{body}: {answer}");
    }
    let long = format!("/api/v1/containers/{}/create", "x".repeat(256));
    let _ = client.post(&long, &json!({})).await.expect(422);
    // The last leaves its connection unusable, since its body is not read.
    for (media, text, status) in [
        ("application/json", "{".to_owned(), 422),
        ("application/json", "[]".to_owned(), 422),
        ("text/plain", "{}".to_owned(), 415),
        ("application/json", format!("{{\"x\": \"{}\"}}", "x".repeat(2 << 20)), 413),
    ] {
        let call = client.request(hyper::Method::POST, path).body(media, text);
        assert!(call.send().await.expect(status).json()["detail"].is_string(), "{status}");
    }
    assert!(server.containers().is_empty());
}
