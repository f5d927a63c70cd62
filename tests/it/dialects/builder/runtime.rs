//! `/projects/{name}/runtime/...`, `/admin/...`, `/projects`, `/health` and `/ready`.

use hyper::Method;
use sandtree_testkit::TestServer;
use serde_json::json;

use super::{Project, detail, general};

#[tokio::test]
async fn a_runtime_goes_round_its_life() {
    let server = general().start().await;
    let client = server.client();
    let project = Project::create(&client, "demo").await;
    let missing = project.get("runtime/status").await.expect(404);
    assert_eq!(detail(&missing), "No runtime found for project: demo");

    let started = project.post("runtime/start", &json!({})).await.expect(200);
    assert!(started.header("x-request-id").is_some_and(|id| id.len() == 32));
    let started = started.json();
    let container = server.containers()[0].id.clone();
    let shown = |status: &str| {
        json!({
            "project_name": "demo", "status": status, "container_status": status,
            "container_id": container, "image": "sandtree/general:latest",
        })
    };
    assert_eq!(started, shown("running"), "the keys of all versions");
    let again = project.post("runtime/start", &json!({})).await.expect(200).json();
    assert_eq!(again["container_id"], started["container_id"], "a start never restarts");

    let status = project.get("runtime/status").await.expect(200).json();
    let with_process = |status: &str| {
        let mut shown = shown(status);
        shown["last_command"] = json!(null);
        shown["process_status"] = json!("idle");
        shown
    };
    assert_eq!(status, with_process("running"));

    let _ = project.put("files/write?file_path=kept.txt", &json!({ "content": "kept" })).await;
    for _ in 0..2 {
        let stopped = project.post("runtime/stop", &json!({})).await.expect(200).json();
        assert_eq!(stopped, json!({ "status": "stopped" }), "stop may be repeated");
        assert_eq!(server.containers()[0].state, "exited", "it is not only said");
    }
    let status = project.get("runtime/status").await.expect(200).json();
    assert_eq!(status, with_process("stopped"));
    let deleted = project.delete("runtime").await.expect(200).json();
    assert_eq!(deleted, json!({ "status": "deleted" }));
    for refused in [
        project.get("runtime/status").await,
        project.post("runtime/stop", &json!({})).await,
        project.delete("runtime").await,
    ] {
        assert_eq!(detail(&refused.expect(404)), "No runtime found for project: demo");
    }
    assert!(server.containers().is_empty());
    let kept = project.get("files/read?file_path=kept.txt").await.expect(200).json();
    assert_eq!(kept["content"], "kept", "files outlive the runtime");
    let _ = project.post("runtime/start", &json!({})).await.expect(200);
}

#[tokio::test]
async fn a_runtime_that_somebody_froze_does_not_run_until_it_is_started() {
    let server = general().start().await;
    let client = server.client();
    let project = Project::started(&client, "demo").await;
    let _ = client.post_empty("/v1/projects/demo/pause").await.expect(200);
    let status = project.get("runtime/status").await.expect(200).json();
    assert_eq!(status["status"], "stopped");
    let body = json!({ "command": "python", "args": ["-V"] });
    let refused = project.post("runtime/exec", &body).await.expect(400);
    assert_eq!(detail(&refused), "Runtime is not running");
    let started = project.post("runtime/start", &json!({})).await.expect(200).json();
    assert_eq!(started["status"], "running");
    let _ = project.post("runtime/exec", &body).await.expect(200);
}

#[tokio::test]
async fn an_unknown_project_is_told_in_this_systems_words() {
    let server = general().start().await;
    let client = server.client();
    let (project, runtime) = ("Project not found: nope", "No runtime found for project: nope");
    for (method, path, words) in [
        (Method::POST, "/projects/nope/runtime/start", project),
        (Method::GET, "/projects/nope/runtime/status", runtime),
        (Method::POST, "/projects/nope/runtime/stop", runtime),
        (Method::DELETE, "/projects/nope/runtime", runtime),
        (Method::POST, "/projects/nope/runtime/stop-process", project),
        (Method::GET, "/projects/nope/files", project),
        (Method::GET, "/projects/nope/files/read?file_path=a", project),
        (Method::DELETE, "/projects/nope/files/delete?file_path=a", project),
        (Method::POST, "/projects/nope/folders/create?folder_path=a", project),
        (Method::POST, "/admin/runtimes/nope/stop", runtime),
        (Method::DELETE, "/admin/runtimes/nope", runtime),
        (Method::DELETE, "/admin/projects/nope", runtime),
        (Method::GET, "/projects/nope/unknown", "Not Found"),
        (Method::GET, "/projects/no%2Fname/files", "Project not found: no/name"),
        (Method::GET, "/projects/../runtime/status", "No runtime found for project: .."),
        (Method::GET, "/projects/nope/files/", "Not Found"),
        (Method::GET, "/projects/", "Not Found"),
        (Method::GET, "/projects/nope", "Not Found"),
        (Method::PUT, "/projects/nope/runtime/start", ""),
        (Method::GET, "/projects/generate", ""),
    ] {
        let answer = client.request(method.clone(), path).send().await;
        let status = if words.is_empty() { 405 } else { 404 };
        let answer = answer.expect(status);
        let words = if words.is_empty() { "Method Not Allowed" } else { words };
        assert_eq!(detail(&answer), words, "{method} {path}");
        assert!(answer.header("x-request-id").is_some(), "{method} {path}");
    }
    let body = json!({ "command": "python" });
    for route in ["exec", "run"] {
        let unknown = client.post(&format!("/projects/nope/runtime/{route}"), &body).await;
        assert_eq!(detail(&unknown.expect(404)), project, "{route}");
    }
}

#[tokio::test]
async fn what_later_versions_added_is_not_served() {
    let server = general().start().await;
    let client = server.client();
    for path in ["/auth/login", "/auth/signup", "/manage/projects", "/stats"] {
        let _ = client.get(path).await.expect(404);
    }
}

#[tokio::test]
async fn administrators_see_and_end_runtimes() {
    let server = general().start().await;
    let client = server.client();
    let one = Project::started(&client, "one").await;
    Project::create(&client, "two").await;
    Project::create(&client, "a-third").await;
    let names = client.get("/projects").await.expect(200).json();
    assert_eq!(names, json!(["a-third", "one", "two"]), "sorted");
    let runtimes = client.get("/admin/runtimes").await.expect(200).json();
    let started = one.post("runtime/start", &json!({})).await.expect(200).json();
    assert_eq!(runtimes, json!([started]), "those that are, as they show themselves");
    let health = client.get("/admin/health").await.expect(200).json();
    assert_eq!(
        (&health["status"], &health["runtimes"]),
        (&json!("ok"), &json!({ "running": 1 })),
        "a project without a runtime is none"
    );
    assert_eq!(health["parts"], json!({ "engine": "ok", "store": "ok" }));

    for (method, path, status) in [
        (Method::POST, "/admin/runtimes/one/stop", "stopped"),
        (Method::DELETE, "/admin/runtimes/one", "deleted"),
        (Method::DELETE, "/admin/projects/one", "project_deleted"),
    ] {
        let said = client.request(method, path).send().await.expect(200).json();
        assert_eq!(said, json!({ "status": status, "project": "one" }), "{path}");
    }
    let _ = one.get("files").await.expect(404);
    assert_eq!(client.get("/projects").await.expect(200).json(), json!(["a-third", "two"]));
}

#[tokio::test]
async fn health_and_readiness_are_told() {
    let setup = TestServer::setup(env!("CARGO_BIN_EXE_sandtree"));
    let away = setup.env("SANDTREE_DOCKER__HOST", "unix:///nowhere/docker.sock");
    for (always, status) in [("false", 503), ("true", 200)] {
        let server = away
            .clone()
            .env("SANDTREE_DIALECTS__BUILDER__READY_IS_ALWAYS_200", always)
            .start()
            .await;
        let client = server.client();
        assert_eq!(client.get("/health").await.expect(200).json(), json!({ "status": "ok" }));
        let ready = client.get("/ready").await.expect(status).json();
        assert_eq!(ready["status"], "not_ready");
        assert!(ready["error"].as_str().expect("a text").contains("engine"), "{ready}");
    }
    let server = general().start().await;
    let ready = server.client().get("/ready").await.expect(200).json();
    assert_eq!((&ready["status"], &ready["error"]), (&json!("ready"), &json!(null)));
}
