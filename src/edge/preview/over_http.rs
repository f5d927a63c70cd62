//! Previews as clients see them, over a real tree and an init of the tests, on whose
//! ports every byte is said back: an answer that is no HTTP.

use serde_json::json;

use crate::edge::context::EdgeSettings;
use crate::edge::testing::Edge;

/// The one port on which the tests' init refuses connections.
const CLOSED_PORT: u16 = 1;

#[tokio::test]
async fn ports_are_checked_and_redirected() {
    let edge = Edge::open().await;
    let without = edge.ask("GET", "/v1/projects/p/ports/3000?a=b", &[], "").await;
    assert_eq!(
        (without.status, &without.headers["location"]),
        (308, &"/v1/projects/p/ports/3000/?a=b".parse().unwrap())
    );
    for port in ["0", "65536", "x", "-1", ""] {
        let answer = edge.ask("GET", &format!("/v1/projects/p/ports/{port}/"), &[], "").await;
        assert_eq!((answer.status, &answer.json()["field"]), (400, &json!("port")), "{port}");
    }
    assert_eq!(edge.ask("GET", "/v1/projects/p/ports/80/", &[], "").await.status, 404);
}

#[tokio::test]
async fn what_stands_in_the_way_of_a_preview_is_told() {
    let settings =
        EdgeSettings { preview_domain: Some("preview.test".into()), ..EdgeSettings::default() };
    let edge = Edge::with(None, settings).await;
    let made = edge.json("POST", "/v1/projects", r#"{"id": "p", "start": true}"#).await.json();
    let port = |port: u16| format!("/v1/projects/p/ports/{port}/x");
    let closed = edge.ask("GET", &port(CLOSED_PORT), &[], "").await;
    assert_eq!((closed.status, closed.problem().as_str()), (502, "nothing-listens"));
    let odd = edge.ask("GET", &port(3000), &[], "").await;
    assert_eq!((odd.status, odd.problem().as_str()), (502, "sandbox-unreachable"));

    let uid = made["uid"].as_str().unwrap();
    let host = format!("3000-{uid}.preview.test");
    let by_host = edge.ask("POST", "/x", &[("host", &host)], "y").await;
    assert_eq!((by_host.status, by_host.problem().as_str()), (502, "sandbox-unreachable"));
    let nobody = "3000-00000000000000000000.preview.test";
    assert_eq!(edge.ask("GET", "/", &[("host", nobody)], "").await.status, 404);

    edge.json("POST", "/v1/projects/p/stop", "").await;
    let stopped = edge.ask("GET", &port(3000), &[], "").await;
    assert_eq!((stopped.status, stopped.problem().as_str()), (409, "wrong-phase"));
}
