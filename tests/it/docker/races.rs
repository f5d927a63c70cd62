//! Many requests about one project at the same moment, on real containers.

use hyper::Method;
use sandtree_testkit::{Client, Response};
use serde_json::json;
use tokio::task::JoinSet;

use crate::support::{Project, server};

/// Requests of each kind.
const OF_EACH: usize = 34;

/// Starts, stops and, if wanted, deletions of one project, all at once; their answers.
async fn storm(client: &Client, with_deletions: bool) -> Vec<(&'static str, Response)> {
    let mut asked = JoinSet::new();
    for _ in 0..OF_EACH {
        for what in ["start", "stop", "delete"] {
            let client = client.clone();
            asked.spawn(async move {
                let answer = match what {
                    "delete" if with_deletions => client.delete("/v1/projects/demo").await,
                    "delete" => client.post_empty("/v1/projects/demo/restart").await,
                    operation => {
                        client
                            .request(Method::POST, &format!("/v1/projects/demo/{operation}"))
                            .send()
                            .await
                    }
                };
                (what, answer)
            });
        }
    }
    asked.join_all().await
}

#[tokio::test]
async fn a_hundred_starts_stops_and_deletes_at_once_leave_nothing() {
    let server = server().start().await;
    let client = server.client();
    Project::small(&client, "demo").await;
    for (what, answer) in storm(&client, true).await {
        let is_sound = matches!(answer.status, 200 | 204 | 404 | 409);
        assert!(is_sound, "{what}: {answer:?}");
    }
    assert_eq!(client.get("/v1/projects/demo").await.status, 404, "a delete wins");
    server.assert_no_leftovers();
    Project::small(&client, "demo").await;
}

#[tokio::test]
async fn a_hundred_starts_stops_and_restarts_at_once_leave_one_container() {
    let server = server().start().await;
    let client = server.client();
    let project = Project::small(&client, "demo").await;
    for (what, answer) in storm(&client, false).await {
        assert!(matches!(answer.status, 200 | 409), "{what}: {answer:?}");
    }
    let shown = project.show().await;
    let containers = server.containers();
    assert_eq!(containers.len(), 1, "{containers:?}");
    let is_running = containers[0].state == "running";
    assert_eq!(
        shown["phase"],
        json!(if is_running { "running" } else { "stopped" }),
        "{containers:?}"
    );
    project.operate("start").await;
    assert_eq!(project.sh("echo ok").await, "ok\n");
}
