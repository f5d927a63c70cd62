use crate::edge::context::EdgeSettings;
use crate::edge::testing::Edge;

#[tokio::test]
async fn what_is_not_there_is_a_problem_that_says_so() {
    let edge = Edge::open().await;
    for (method, path, body, status, problem) in [
        ("GET", "/", "", 404, "unknown-route"),
        ("GET", "/v1/projects/", "", 400, "invalid-field"),
        ("GET", "/v1/projects/a/b", "", 404, "unknown-route"),
        ("GET", "/v2/projects", "", 404, "unknown-route"),
        ("PUT", "/v1/projects", "{}", 405, "method-not-allowed"),
        ("GET", "/v1/projects/demo", "", 404, "not-found"),
        ("GET", "/v1/projects/De%20mo", "", 400, "invalid-field"),
        ("GET", "/v1/projects/%ff", "", 400, "invalid-field"),
        ("GET", "/v1/projects?odd=1", "", 400, "invalid-field"),
        ("POST", "/v1/projects", "{", 400, "malformed-body"),
        ("POST", "/v1/projects", r#"{"imge": 1}"#, 400, "invalid-field"),
        ("POST", "/v1/projects/demo/start", r#"{"now": true}"#, 400, "bad-request"),
    ] {
        let answer = edge.json(method, path, body).await;
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (status, problem),
            "{method} {path}"
        );
        assert_eq!(answer.headers["content-type"], "application/problem+json", "{path}");
    }
    let wrong = edge.json("PUT", "/v1/projects", "{}").await;
    assert_eq!(wrong.headers["allow"], "GET, HEAD, POST");
    let text = edge.ask("POST", "/v1/projects", &[("content-type", "text/plain")], "{}").await;
    assert_eq!((text.status, text.problem().as_str()), (415, "unsupported-media"));
    let large = format!("{{\"image\": \"{}\"}}", "x".repeat(2 << 20));
    let large = edge.json("POST", "/v1/projects", &large).await;
    assert_eq!((large.status, large.json()["limit"].as_u64()), (413, Some(1 << 20)));
}

#[tokio::test]
async fn the_gate_is_before_every_route() {
    let edge = Edge::with(Some("sesame"), EdgeSettings::default()).await;
    let refused = edge.json("GET", "/nothing/here", "").await;
    assert_eq!((refused.status, refused.problem().as_str()), (401, "unauthorized"));
    assert!(refused.headers.contains_key("www-authenticate"));
    assert_eq!(edge.json("GET", "/health", "").await.status, 200);
    let keyed = edge.ask("GET", "/v1/projects", &[("x-api-key", "sesame")], "").await;
    assert_eq!(keyed.status, 200);
    let target = edge.ask("CONNECT", "localhost:80", &[("x-api-key", "sesame")], "").await;
    assert_eq!((target.status, target.problem().as_str()), (400, "bad-request"));
}

#[tokio::test]
async fn a_page_of_an_allowed_origin_may_ask_and_see() {
    let origin = "https://ide.example";
    let settings = EdgeSettings { allowed_origins: vec![origin.into()], ..EdgeSettings::default() };
    let edge = Edge::with(Some("sesame"), settings).await;
    let asked = [("origin", origin), ("access-control-request-method", "POST")];
    let first = edge.ask("OPTIONS", "/v1/projects", &asked, "").await;
    assert_eq!(
        (first.status, &first.headers["access-control-allow-origin"]),
        (204, &origin.parse().unwrap())
    );
    let then = [("origin", origin), ("x-api-key", "sesame"), ("content-type", "application/json")];
    let then = edge.ask("POST", "/v1/projects", &then, "{}").await;
    assert_eq!(
        (then.status, &then.headers["access-control-allow-origin"]),
        (201, &origin.parse().unwrap())
    );
    let other = [("origin", "https://evil.example"), ("access-control-request-method", "POST")];
    assert_eq!(edge.ask("OPTIONS", "/v1/projects", &other, "").await.status, 403);
}

#[tokio::test]
async fn nothing_that_is_sent_runs_as_a_page_of_this_origin() {
    let edge = Edge::open().await;
    let answer = edge.json("GET", "/v1/projects", "").await;
    assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    assert!(answer.headers["content-security-policy"].to_str().unwrap().starts_with("sandbox"));
}

#[tokio::test]
async fn health_and_readiness_are_told_without_a_key() {
    let edge = Edge::with(Some("sesame"), EdgeSettings::default()).await;
    let ready = edge.json("GET", "/ready", "").await;
    assert_eq!(
        (ready.status, ready.json()["parts"]["engine"].as_str()),
        (200, Some("ok")),
        "{ready:?}"
    );
    edge.engine.go_away();
    let away = edge.json("GET", "/ready", "").await;
    assert_eq!((away.status, away.json()["status"].as_str()), (503, Some("not_ready")));
    assert_eq!(away.json()["parts"]["engine"], "does not answer");
    assert_eq!(edge.json("GET", "/health", "").await.status, 200);
}
