//! `conflicts.md`, the rows about containers: what each dialect gives its sandboxes, the floor
//! below all of them, and the bound of the whole server on networks.

use sandtree_testkit::docker::docker;
use sandtree_testkit::{Client, TestServer};
use serde_json::{Value, json};

use crate::support::server;

/// What Docker says of the one container there is.
fn inspected(server: &TestServer) -> Value {
    let containers = server.containers();
    assert_eq!(containers.len(), 1, "{containers:?}");
    let text = docker(&["inspect", &containers[0].id]).expect("the container");
    serde_json::from_str::<Value>(&text).expect("JSON")[0].clone()
}

fn network(server: &TestServer) -> Value {
    inspected(server)["HostConfig"]["NetworkMode"].clone()
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
async fn a_dialect_has_its_user_and_root_on_the_floor_of_all() {
    #[rustfmt::skip]
    let rows = [
        ("builder",         None,                false, &[][..]),
        ("bharatbuild",     Some("0:0"),         false, &["CHOWN", "SETGID", "SETUID"]),
        ("terminal_server", Some("65534:65534"), true,  &[]),
        ("daiv",            Some("1000:1000"),   false, &[]),
    ];
    for (dialect, user, read_only, capabilities) in rows {
        let server = server().start().await;
        make(&server.client(), dialect).await;
        let inspected = inspected(&server);
        let (runs_as, host) = (&inspected["Config"]["User"], &inspected["HostConfig"]);
        let runs_as = runs_as.as_str().expect("a user");
        assert_eq!(runs_as, user.unwrap_or(runs_as), "{dialect}");
        let is_number = |id: &str| id.bytes().all(|c| c.is_ascii_digit()) && !id.is_empty();
        assert!(runs_as.split(':').all(is_number) && runs_as.contains(':'), "{dialect}: {runs_as}");
        assert_eq!(host["ReadonlyRootfs"], read_only, "{dialect}");
        let added = host["CapAdd"].as_array().cloned().unwrap_or_default();
        let mut added: Vec<_> = added.iter().filter_map(Value::as_str).collect();
        added.sort_unstable();
        let added: Vec<_> = added.iter().map(|it| it.trim_start_matches("CAP_")).collect();
        assert_eq!(added, capabilities, "{dialect}");

        let options = host["SecurityOpt"].to_string();
        assert!(options.contains("no-new-privileges"), "{dialect}: {options}");
        assert!(host["PidsLimit"].as_u64().is_some_and(|most| most > 0), "{dialect}");
        assert!(host["Memory"].as_u64().is_some_and(|most| most > 0), "{dialect}");
        assert_eq!(host["Memory"], host["MemorySwap"], "{dialect} has no swap");
        let number = |name: &str| host[name].as_u64().expect("a number");
        let shares = number("NanoCpus") * 1024 / 1_000_000_000;
        assert_eq!(number("CpuShares"), shares, "{dialect}: a weight as well as a limit");
        assert_eq!((&host["CapDrop"], &host["Privileged"]), (&json!(["ALL"]), &json!(false)));
    }
}

#[tokio::test]
async fn a_dialect_has_its_network_and_the_server_a_bound() {
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
            let client = server.client();
            make(&client, dialect).await;
            assert_eq!(network(&server), wanted, "{dialect}, at most {bound}");
            let shown = client.get("/v1/projects").await.expect(200).json();
            assert_eq!(shown["items"][0]["network"], wanted, "{dialect}, at most {bound}");
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

#[tokio::test]
async fn a_run_of_daiv_has_a_network_unless_there_is_the_bound() {
    for (bound, interfaces) in [("bridge", 2), ("none", 1)] {
        let server = server().env("SANDTREE_TREE__NETWORK_MAX", bound).start().await;
        let body = json!({
            "run_id": "f47ac10b-58cc-4372-a567-0e02b2c3d479", "archive": "",
            "base_image": "sandtree/small:latest", "commands": ["ls /sys/class/net"],
        });
        let answer = server.client().post("/run/commands/", &body).await.expect(200).json();
        let output = answer["results"][0]["output"].as_str().expect("a text");
        assert_eq!(output.lines().count(), interfaces, "{bound}: {output}");
    }
}
