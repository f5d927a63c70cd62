use serde_json::json;

use super::*;
use crate::edge::testing::Edge;

async fn edge(files: &[(&str, &str)]) -> Edge {
    let edge = Edge::open().await;
    assert_eq!(edge.json("POST", "/v1/projects", r#"{"id": "p"}"#).await.status, 201);
    for (path, text) in files {
        let path = format!("/v1/projects/p/files/{path}");
        assert_eq!(edge.ask("PUT", &path, &[], text).await.status, 201);
    }
    edge
}

async fn search(edge: &Edge, query: &str) -> (u16, Value) {
    let answer = edge.ask("GET", &format!("/v1/projects/p/search?{query}"), &[], "").await;
    (answer.status, answer.json())
}

#[tokio::test]
async fn lines_and_names_are_found_in_a_project_that_does_not_run() {
    let edge = edge(&[("src/a.rs", "fn main() {}\nfn other() {}"), ("b.txt", "fn")]).await;
    let (status, found) = search(&edge, "q=fn+%5Cw%2B&glob=*.rs&max=1").await;
    assert_eq!(status, 200, "{found}");
    let expected = json!([{
        "path": "src/a.rs", "kind": "file", "line": 1, "column": 1, "length": 7,
        "text": "fn main() {}",
    }]);
    assert_eq!((&found["matches"], &found["truncated"]), (&expected, &json!(true)));

    let (_, found) = search(&edge, "glob=src&glob=B.*&case=insensitive").await;
    let names = json!([
        { "path": "b.txt", "kind": "file" },
        { "path": "src", "kind": "directory" },
    ]);
    let skipped = json!({ "binary": 0, "too_large": 0, "unreadable": 0, "too_deep": 0 });
    let all = json!({
        "matches": names, "truncated": false, "timed_out": false, "skipped": skipped,
    });
    assert_eq!(found, all);
}

#[tokio::test]
async fn what_cannot_be_searched_is_named() {
    let edge = edge(&[("a", "x")]).await;
    for (query, status, field) in [
        ("q=(", 400, json!("q")),
        ("glob=%5Bz-a%5D", 400, json!("glob")),
        ("path=none", 404, Value::Null),
        ("path=a", 409, Value::Null),
    ] {
        let (got, problem) = search(&edge, query).await;
        assert_eq!((got, &problem["field"]), (status, &field), "{query}: {problem}");
    }
}

#[tokio::test]
async fn a_search_is_given_up_with_its_future() {
    let cancel = Cancel::default();
    let guard = CancelOnDrop(cancel.clone());
    assert!(!cancel.is_cancelled());
    drop(guard);
    assert!(cancel.is_cancelled());
}
