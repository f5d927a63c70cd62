//! Networks of all dialects: what each gives its sandboxes by default (`conflicts.md`), and
//! the bound of the whole server.

use sandtree_testkit::docker::docker;
use sandtree_testkit::{Client, TestServer};
use serde_json::json;

use crate::support::server;

/// What Docker says of the network of the one container there is.
fn network(server: &TestServer) -> String {
    let containers = server.containers();
    assert_eq!(containers.len(), 1, "{containers:?}");
    let format = "{{.HostConfig.NetworkMode}}";
    docker(&["inspect", "--format", format, &containers[0].id]).expect("it").trim().to_owned()
}

/// Makes a sandbox by the routes of a dialect.
async fn make(client: &Client, dialect: &str) {
    match dialect {
        "native, with a bridge" => {
            let body = json!({ "id": "p", "profile": "small", "network": "bridge", "start": true });
            let _ = client.post("/v1/projects", &body).await.expect(201);
        }
        "builder" => {
            let body = json!({ "id": "p", "profile": "builder" });
            let _ = client.post("/v1/projects", &body).await.expect(201);
            let _ = client.post_empty("/projects/p/runtime/start").await.expect(200);
        }
        "bharatbuild" => {
            let path = "/api/v1/containers/p/create";
            let _ = client.post(path, &json!({})).await.expect(200);
        }
        "terminal_server" => {
            let _ = client.post_empty("/api/v1/sessions").await.expect(200);
        }
        "daiv" | "daiv, with a network" => {
            let body = json!({
                "base_image": "sandtree/small:latest",
                "network_enabled": dialect != "daiv",
            });
            let _ = client.post("/session/", &body).await.expect(200);
        }
        unknown => panic!("{unknown}"),
    }
}

#[tokio::test]
async fn a_dialect_has_its_default_and_the_server_a_bound() {
    for (dialect, by_default) in [
        ("native, with a bridge", "bridge"),
        ("builder", "bridge"),
        ("bharatbuild", "bridge"),
        ("terminal_server", "none"),
        ("daiv", "none"),
        ("daiv, with a network", "bridge"),
    ] {
        for (bound, wanted) in [("bridge", by_default), ("none", "none")] {
            let server = server().env("SANDTREE_TREE__NETWORK_MAX", bound).start().await;
            make(&server.client(), dialect).await;
            assert_eq!(network(&server), wanted, "{dialect}, at most {bound}");
        }
    }
}

#[tokio::test]
async fn a_project_that_is_older_than_the_bound_loses_its_network_at_its_next_start() {
    let mut server = server().start().await;
    let client = server.client();
    make(&client, "native, with a bridge").await;
    let _ = client.post_empty("/v1/projects/p/stop").await.expect(200);
    server.kill9().await;
    assert!(server.restart_with(&[("SANDTREE_TREE__NETWORK_MAX", "none".to_owned())]).await);
    let _ = server.client().post_empty("/v1/projects/p/start").await.expect(200);
    assert_eq!(network(&server), "none");
}
