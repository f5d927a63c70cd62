//! `conflicts.md`, the rows about routes, health and keys, and its map of routes: what the
//! dialects do beside each other on one server.

use hyper::Method;
use serde_json::{Value, json};

use crate::support::server;

const KEY: &str = "sesame";

#[tokio::test]
async fn each_has_its_own_health() {
    let server = server().start().await;
    let client = server.client();
    for (path, status, body) in [
        ("/health", 200, json!({ "status": "ok" })),
        (
            "/api/v1/health",
            200,
            json!({ "status": "healthy", "version": env!("CARGO_PKG_VERSION") }),
        ),
        ("/-/health/", 200, json!({ "status": "ok" })),
        ("/api/v1/-/health/", 200, json!({ "status": "ok" })),
    ] {
        let answer = client.get(path).await.expect(status).json();
        assert_eq!(answer, body, "{path}");
    }
    assert_eq!(client.get("/ready").await.expect(200).json()["status"], "ready");
}

#[tokio::test]
async fn only_daiv_answers_with_and_without_the_prefix_and_redirects() {
    let server = server().start().await;
    let client = server.client();
    let id = "0".repeat(64);
    for (method, path, status) in [
        (Method::GET, format!("/session/{id}/"), 404),
        (Method::GET, format!("/api/v1/session/{id}/"), 404),
        (Method::GET, format!("/session/{id}"), 307),
        (Method::POST, "/run/commands".to_owned(), 307),
        (Method::POST, "/api/v1/session".to_owned(), 307),
        (Method::GET, "/containers/p/status".to_owned(), 404),
        (Method::GET, "/preview/p/".to_owned(), 404),
        (Method::POST, "/sessions".to_owned(), 404),
        (Method::GET, "/api/v1/projects".to_owned(), 404),
        (Method::GET, "/projects/".to_owned(), 404),
        (Method::GET, "/api/v1/containers/p/status/".to_owned(), 404),
        (Method::GET, "/api/v1/health/".to_owned(), 404),
    ] {
        let _ = client.request(method, &path).send().await.expect(status);
    }
}

#[tokio::test]
async fn a_key_comes_by_header_everywhere_and_its_lack_has_the_status_of_the_system() {
    let server = server().env("SANDTREE_AUTH__ADMIN_KEY", KEY).start().await;
    let client = server.client();
    let session = format!("/session/{}/", "0".repeat(64));
    for (path, lack, known) in [
        ("/projects", 401, 200),
        ("/admin/runtimes", 401, 200),
        ("/api/v1/containers/none/status", 401, 404),
        ("/api/v1/preview/none/", 401, 404),
        ("/api/v1/sessions/none", 401, 404),
        (session.as_str(), 403, 404),
    ] {
        let get =
            |name: &str, value: &str| client.request(Method::GET, path).header(name, value).send();
        let bearer = format!("Bearer {KEY}");
        for (name, value, status) in [
            ("accept", "*/*", lack),
            ("x-api-key", "wrong", lack),
            ("authorization", "Bearer wrong", lack),
            ("authorization", "Basic c2VzYW1lOg==", lack),
            ("x-api-key", KEY, known),
            ("authorization", bearer.as_str(), known),
        ] {
            let answer = get(name, value).await.expect(status);
            let detail: Value = answer.json()["detail"].clone();
            assert!(status == 200 || detail.is_string(), "{path} {name} {value}: {detail}");
        }
        for query in ["token", "key", "api_key", "x-api-key"] {
            let _ = client.get(&format!("{path}?{query}={KEY}")).await.expect(lack);
        }
    }
}

#[tokio::test]
async fn names_that_are_words_of_routes_are_names() {
    let server = server().start().await;
    let client = server.client();
    let body = json!({ "id": "generate", "profile": "builder" });
    let _ = client.post("/v1/projects", &body).await.expect(201);
    let listed = client.get("/projects/generate/files").await.expect(200).json();
    assert_eq!(listed, json!({ "project_name": "generate", "files": [] }));

    let files = "/api/v1/containers/p/files";
    let _ = client.post("/api/v1/containers/p/create", &json!({})).await.expect(200);
    for name in ["batch", "verify", "a/b c"] {
        let absent = client.get(&format!("{files}/{}", name.replace(' ', "%20"))).await;
        assert_eq!(absent.expect(404).json(), json!({ "detail": "File not found" }), "{name}");
        let body = json!({ "path": name, "content": name });
        let _ = client.post(files, &body).await.expect(200);
        let path = format!("{files}/{}", name.replace('/', "%2F").replace(' ', "%20"));
        assert_eq!(client.get(&path).await.expect(200).json()["content"], name);
    }
}

#[tokio::test]
async fn a_project_is_one_project_in_every_dialect_that_can_name_it() {
    let server = server().start().await;
    let client = server.client();
    let _ = client.post("/api/v1/containers/shared/create", &json!({})).await.expect(200);
    let body = json!({ "path": "a.txt", "content": "by one" });
    let _ = client.post("/api/v1/containers/shared/files", &body).await.expect(200);
    let read = client.get("/projects/shared/files/read?file_path=a.txt").await.expect(200).json();
    assert_eq!(read["content"], "by one");
    let status = client.get("/projects/shared/runtime/status").await.expect(200).json();
    let other = client.get("/api/v1/containers/shared/status").await.expect(200).json();
    let (whole, short) = (&status["container_id"], &other["container_id"]);
    let is_same = whole.as_str().expect("an id").starts_with(short.as_str().expect("an id"));
    assert!(is_same, "{whole} is {short}");
    // The policy of one is not asked about commands of the other.
    let refused = json!({ "command": "bash", "args": ["-c", "true"] });
    let _ = client.post("/projects/shared/runtime/exec", &refused).await.expect(422);
    let allowed = json!({ "command": "bash -c true" });
    let told = client.post("/api/v1/containers/shared/exec", &allowed).await.expect(200).text();
    assert!(told.contains(r#""success":true"#), "{told}");
}
