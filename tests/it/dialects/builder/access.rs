//! Keys, rates, and the names of requests.

use std::collections::BTreeSet;

use hyper::Method;
use sandtree_testkit::{TestServer, until};
use serde_json::json;

use super::{Project, detail, general};

#[tokio::test]
async fn every_reply_names_its_request_and_so_does_the_log() {
    let away = TestServer::setup(env!("CARGO_BIN_EXE_sandtree"))
        .env("SANDTREE_DOCKER__HOST", "unix:///nowhere/docker.sock");
    let server = away.start().await;
    let client = server.client();
    let project = Project::create(&client, "demo").await;
    let failed = project.post("runtime/start", &json!({})).await.expect(500);
    let id = failed.header("x-request-id").expect("a name").to_owned();
    until("the log to name it", async || server.log().contains(&id)).await;
    let mut names = BTreeSet::from([id]);
    for path in ["/health", "/ready", "/projects", "/projects", "/admin/runtimes", "/projects/a/b"]
    {
        let answer = client.get(path).await;
        let name = answer.header("x-request-id").unwrap_or_else(|| panic!("{path}: no name"));
        assert!(names.insert(name.to_owned()), "{path}: {name} is another's");
    }
}

#[tokio::test]
async fn a_key_is_needed_unless_the_configuration_says_otherwise() {
    let server = general().env("SANDTREE_AUTH__ADMIN_KEY", "sesame").start().await;
    let client = server.client();
    let refused = client.get("/projects").await.expect(401);
    assert!(!detail(&refused).is_empty() && refused.header("x-request-id").is_some());
    let bearer = client.request(Method::GET, "/projects").header("authorization", "Bearer sesame");
    let _ = bearer.send().await.expect(200);
    for socket in ["terminal", "logs"] {
        let path = format!("/projects/p/runtime/ws/{socket}");
        for query in ["", "?token=", "?token=wrong", "?key=sesame"] {
            let handshake = client.websocket(&format!("{path}{query}")).await;
            assert_eq!(handshake.err(), Some(403), "{path}{query} is refused before it is one");
        }
        drop(client.websocket(&format!("{path}?token=sesame")).await.expect("a socket"));
    }
    let by_query = client.get("/projects?token=sesame").await;
    assert_eq!(by_query.status, 401, "a token in the query is for sockets alone");

    let open = general()
        .env("SANDTREE_AUTH__ADMIN_KEY", "sesame")
        .env("SANDTREE_DIALECTS__BUILDER__ANONYMOUS", "true")
        .start()
        .await;
    let client = open.client();
    let with_key = client.with_header("x-api-key", "sesame");
    let owned = Project::started(&with_key, "owned").await;
    assert_eq!(client.get("/projects").await.expect(200).json(), json!([]));
    for path in ["owned/runtime/status", "owned/files", "owned/files/read?file_path=a"] {
        let _ = client.get(&format!("/projects/{path}")).await.expect(404);
    }
    let body = json!({ "command": "python" });
    let _ = client.post("/projects/owned/runtime/exec", &body).await.expect(404);
    let _ = client.delete("/admin/projects/owned").await.expect(404);
    let _ = client.get("/v1/projects").await.expect(401);
    let _ = owned.get("runtime/status").await.expect(200);
    let wrong = client.request(Method::GET, "/projects").header("authorization", "Bearer wrong");
    let _ = wrong.send().await.expect(401);
}

#[tokio::test]
async fn rates_are_limited_where_the_configuration_says_so() {
    let server = general()
        .env("SANDTREE_DIALECTS__BUILDER__FILE_OPERATIONS_PER_MINUTE", "2")
        .env("SANDTREE_DIALECTS__BUILDER__RUNTIME_OPERATIONS_PER_MINUTE", "1")
        .env("SANDTREE_DIALECTS__BUILDER__GENERATIONS_PER_MINUTE", "1")
        .start()
        .await;
    let client = server.client();
    let project = Project::create(&client, "demo").await;
    for (method, path, statuses) in [
        (Method::GET, "/projects/demo/files", [200, 200, 429]),
        (Method::POST, "/projects/demo/runtime/stop", [404, 429, 429]),
        (Method::POST, "/projects/generate", [501, 429, 429]),
    ] {
        for status in statuses {
            let call = client.request(method.clone(), path).json(&json!({ "prompt": "x" }));
            let answer = call.send().await.expect(status);
            if status == 429 {
                assert_eq!(detail(&answer), "Rate limit exceeded. Please slow down.");
            }
        }
    }
    let _ = project.get("runtime/status").await.expect(404);
}

#[tokio::test]
async fn every_operation_counts_and_an_administrators_does_not() {
    let rates = |most: &str| {
        general()
            .env("SANDTREE_AUTH__ADMIN_KEY", "sesame")
            .env("SANDTREE_DIALECTS__BUILDER__ANONYMOUS", "true")
            .env("SANDTREE_DIALECTS__BUILDER__FILE_OPERATIONS_PER_MINUTE", most)
            .env("SANDTREE_DIALECTS__BUILDER__RUNTIME_OPERATIONS_PER_MINUTE", most)
    };
    let server = rates("1").start().await;
    let client = server.client();
    let admin = client.with_header("x-api-key", "sesame");
    for _ in 0..3 {
        let _ = admin.get("/projects/nope/files").await.expect(404);
        let _ = admin.post_empty("/projects/nope/runtime/stop").await.expect(404);
    }
    let (path, body) = ("file_path=a", json!({ "content": "" }));
    let _ = client.get("/projects/nope/files").await.expect(404);
    let _ = client.post_empty("/projects/nope/runtime/stop").await.expect(404);
    for (method, below) in [
        (Method::GET, "files".to_owned()),
        (Method::GET, format!("files/read?{path}")),
        (Method::PUT, format!("files/write?{path}")),
        (Method::POST, format!("files/write?{path}")),
        (Method::POST, format!("files/create?{path}")),
        (Method::DELETE, format!("files/delete?{path}")),
        (Method::POST, "folders/create?folder_path=a".to_owned()),
        (Method::DELETE, "folders/delete?folder_path=a".to_owned()),
        (Method::POST, "runtime/start".to_owned()),
        (Method::POST, "runtime/stop".to_owned()),
        (Method::POST, "runtime/exec".to_owned()),
        (Method::POST, "runtime/run".to_owned()),
        (Method::POST, "runtime/stop-process".to_owned()),
        (Method::DELETE, "runtime".to_owned()),
    ] {
        let call = client.request(method.clone(), &format!("/projects/nope/{below}")).json(&body);
        let refused = call.send().await.expect(429);
        assert_eq!(detail(&refused), "Rate limit exceeded. Please slow down.", "{method} {below}");
        assert!(refused.header("retry-after").is_some(), "{method} {below}");
    }
}
