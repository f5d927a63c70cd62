//! Statistics as clients see them, over a real tree and an init of the tests.

use serde_json::Value;

use crate::edge::testing::Edge;

#[tokio::test]
async fn a_stopped_sandbox_takes_disk_alone() {
    let edge = Edge::open().await;
    edge.json("POST", "/v1/projects", r#"{"id": "p"}"#).await;
    edge.ask("PUT", "/v1/projects/p/files/a", &[], &"x".repeat(10_000)).await;
    let stats = edge.json("GET", "/v1/projects/p/stats", "").await.json();
    assert_eq!((&stats["phase"], &stats["cpu"]), (&"stopped".into(), &Value::Null));
    assert_eq!(stats["disk"]["entries"], 1);
    assert!(stats["disk"]["used_bytes"].as_u64().unwrap() >= 8192, "{stats}");
    let stats = edge.json("GET", "/v1/projects/p/stats?disk=false", "").await.json();
    assert_eq!(stats["disk"], Value::Null, "nobody asked for it");
}

#[tokio::test]
async fn a_running_sandbox_shows_what_it_uses_and_its_limits() {
    let edge = Edge::open().await;
    edge.json("POST", "/v1/projects", r#"{"id": "p", "start": true}"#).await;
    edge.ask("GET", "/v1/projects/p/ports/3000/", &[], "").await;
    let stats = edge.json("GET", "/v1/projects/p/stats", "").await.json();
    assert!(stats["memory"]["limit"].as_u64().unwrap() > 0, "{stats}");
    assert!(stats["network"]["received_bytes"].as_u64().unwrap() > 0, "{stats}");
    assert_eq!(stats["network"]["connections"], 0);
}
