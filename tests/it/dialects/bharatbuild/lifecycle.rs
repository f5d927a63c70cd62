//! Ports, statistics, status, stop, restart, delete, and who may ask.

use hyper::Method;
use sandtree_testkit::{EngineProxy, until};
use serde_json::{Value, json};

use super::{Bharat, data, setup};
use crate::support::Project;

#[tokio::test]
async fn status_and_statistics_have_the_fields_of_the_contract() {
    let bharat = Bharat::running("p").await;
    let status = bharat.get("status").await.expect(200).json();
    let made = bharat.post("create", &json!({})).await.expect(200).json();
    assert_eq!(status["project_id"], "p");
    assert_eq!(status["container_id"], made["container_id"]);
    assert_eq!((&status["status"], &status["is_expired"]), (&json!("running"), &json!(false)));
    assert_eq!(status["ports"], made["ports"]);
    assert_eq!(status["created_at"], made["created_at"]);
    assert!(status["last_activity"].as_str().unwrap() >= status["created_at"].as_str().unwrap());

    let stats = bharat.get("stats").await.expect(200).json();
    assert_eq!((&stats["memory_limit_mb"], &stats["status"]), (&json!(512.0), &json!("running")));
    for field in ["cpu_percent", "memory_usage_mb", "memory_percent"] {
        let number = stats[field].as_f64().unwrap_or_else(|| panic!("{field}: {stats}"));
        assert!(number >= 0.0);
        assert!(((number * 100.0).round() - number * 100.0).abs() < 1e-6, "{field}: {stats}");
    }
    assert!(stats["memory_usage_mb"].as_f64().unwrap() > 0.0);
}

#[tokio::test]
async fn it_stops_restarts_and_keeps_its_files() {
    let bharat = Bharat::running("p").await;
    bharat.write("a", "kept").await;
    let stopped = bharat.post_empty("stop").await.expect(200).json();
    let expected = json!({ "success": true, "message": "Container stopped", "verified": true });
    assert_eq!(stopped, expected);
    assert_eq!(bharat.get("status").await.expect(200).json()["status"], "stopped");
    let stats = bharat.get("stats").await.expect(200).json();
    assert_eq!((&stats["status"], &stats["memory_usage_mb"]), (&json!("stopped"), &json!(0.0)));

    let restarted = bharat.post_empty("restart").await.expect(200).json();
    assert_eq!((&restarted["success"], &restarted["status"]), (&json!(true), &json!("running")));
    assert_eq!(data(&bharat.exec("cat a").await, "stdout"), ["kept"]);
}

#[tokio::test]
async fn a_delete_keeps_the_files_for_the_next_create_unless_told_otherwise() {
    let bharat = Bharat::running("p").await;
    bharat.write("a", "kept").await;
    bharat.exec("echo listening on port 4173").await;
    assert_eq!(bharat.get("ports").await.expect(200).json()["active_port"], 4173);
    let deleted = bharat.delete("").await.expect(200).json();
    let expected =
        json!({ "success": true, "message": "Container deleted", "files_deleted": false });
    assert_eq!(deleted, expected);
    for below in ["status", "stats", "ports", "preview", "files"] {
        let _ = bharat.get(below).await.expect(404);
    }
    let _ = bharat.delete("").await.expect(404);
    assert_eq!(
        data(&bharat.exec("ls").await, "error"),
        ["Container not found. Create project first."]
    );

    // It gets what the new body says, and finds its files.
    let body = json!({ "project_type": "python", "memory_limit": "256m" });
    let again = bharat.post("create", &body).await.expect(200).json();
    assert_eq!((&again["status"], &again["memory_limit"]), (&json!("running"), &json!("256m")));
    assert_eq!(data(&bharat.exec("cat a").await, "stdout"), ["kept"]);
    assert_eq!(bharat.get("ports").await.expect(200).json()["active_port"], Value::Null);
    let native = Project::existing(&bharat.client, "p").show().await;
    assert_eq!(native["image"], "python:3.11-slim");

    let deleted = bharat.delete("?delete_files=true").await.expect(200).json();
    assert_eq!(deleted["files_deleted"], true);
    let _ = bharat.client.get("/v1/projects/p").await.expect(404);
    let _ = bharat.post("create", &json!({})).await.expect(200);
    assert_eq!(bharat.get("files").await.expect(200).json(), json!({ "files": [] }));
}

#[tokio::test]
async fn nothing_is_known_of_a_container_that_was_never_created() {
    let server = setup().start().await;
    let client = server.client();
    let path = |below: &str| format!("/api/v1/containers/test-docker{below}");
    for below in ["/status", "/stats", "/ports"] {
        let answer = client.get(&path(below)).await.expect(404).json();
        assert_eq!(answer, json!({ "detail": "Container not found" }), "{below}");
    }
    let answer = client.get(&path("/preview")).await.expect(404).json();
    assert_eq!(answer["detail"], "Preview not available - container not found");
    for below in ["/stop", "/restart"] {
        let _ = client.post_empty(&path(below)).await.expect(404);
    }
    let _ = client.delete(&path("")).await.expect(404);
    let odd = client.get(&path("/unheard-of")).await.expect(404).json();
    assert!(odd["detail"].is_string(), "{odd}");
}

#[tokio::test]
async fn without_docker_the_answer_is_503_and_names_it() {
    let mut engine = EngineProxy::start();
    let server = setup().env("SANDTREE_DOCKER__HOST", engine.host()).start().await;
    let client = server.client();
    let _ = client.get("/api/v1/containers/test-docker/status").await.expect(404);
    engine.cut();
    for answer in [
        client.get("/api/v1/containers/test-docker/status").await,
        client.post("/api/v1/containers/p/create", &json!({})).await,
    ] {
        let answer = answer.expect(503).json();
        assert!(answer["detail"].as_str().unwrap().contains("Docker"), "{answer}");
    }
}

#[tokio::test]
async fn a_container_whose_time_is_over_says_so_until_it_is_swept_away() {
    let server = setup().start().await;
    let bharat = Bharat { client: server.client(), server, id: "p".to_owned() };
    let body = json!({ "config": { "max_lifetime": 1 } });
    let _ = bharat.post("create", &body).await.expect(200);
    until("the container to be expired", async || {
        let status = bharat.get("status").await;
        status.status == 404 || status.expect(200).json()["is_expired"] == true
    })
    .await;
}

#[tokio::test]
async fn what_is_expired_is_deleted_with_its_files() {
    for limit in ["idle_timeout", "max_lifetime"] {
        let server = setup().env("SANDTREE_TREE__JANITOR_INTERVAL", "1s").start().await;
        let bharat = Bharat { client: server.client(), server, id: "p".to_owned() };
        let _ = bharat.post("create", &json!({ "config": { limit: 2 } })).await.expect(200);
        bharat.write("a", "").await;
        until("the container to be gone", async || {
            bharat.server.containers().is_empty()
                && bharat.client.get("/v1/projects/p").await.status == 404
        })
        .await;
        let _ = bharat.get("status").await.expect(404);
        let _ = bharat.post("create", &json!({})).await.expect(200);
        let files = bharat.get("files").await.expect(200).json();
        assert_eq!(files, json!({ "files": [] }), "{limit}");
    }
}

#[tokio::test]
async fn a_container_is_the_project_of_the_same_name() {
    let bharat = Bharat::running("shared").await;
    let native = Project::existing(&bharat.client, "shared");
    native.write("a", "native").await;
    assert_eq!(bharat.get("files/a").await.expect(200).json()["content"], "native");
    native.delete().await;
    let _ = bharat.get("status").await.expect(404);
}

#[tokio::test]
async fn a_key_is_needed_where_there_is_one_unless_anonymous_is_allowed() {
    let keyed = || setup().env("SANDTREE_AUTH__ADMIN_KEY", "0123456789abcdef0123456789abcdef");
    let server = keyed().start().await;
    let path = "/api/v1/containers/p/status";
    let client = server.client();
    let refused = client.get(path).await.expect(401).json();
    assert!(refused["detail"].is_string(), "{refused}");
    let bearer = "Bearer 0123456789abcdef0123456789abcdef";
    let with_key = client.request(Method::GET, path).header("authorization", bearer);
    let _ = with_key.send().await.expect(404);

    let server = keyed().env("SANDTREE_DIALECTS__BHARATBUILD__ANONYMOUS", "true").start().await;
    let _ = server.client().get(path).await.expect(404);
    let _ = server.client().get("/v1/projects").await.expect(401);
}
