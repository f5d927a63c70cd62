use std::collections::BTreeSet;

use serde_json::Value;

use super::*;
use crate::edge::errors::{TYPE_BASE, kinds};
use crate::edge::table;
use crate::edge::testing::Edge;

fn document() -> Value {
    serde_json::from_str(TEXT).unwrap()
}

fn keys(value: &Value) -> BTreeSet<String> {
    value.as_object().unwrap().keys().cloned().collect()
}

#[test]
fn the_document_has_the_routes_of_the_table_and_no_others() {
    let document = document();
    let paths = document["paths"].as_object().unwrap();
    let mut left: BTreeSet<String> = keys(&document["paths"]);
    for route in table() {
        let path = route.template.replace("..}", "}");
        assert!(left.remove(&path), "{path} is not described");
        let methods: BTreeSet<String> = route.methods().collect();
        if !methods.is_empty() {
            assert_eq!(keys(&paths[&path]), methods, "{path}");
        }
    }
    assert!(left.is_empty(), "{left:?} are described but not there");
}

#[test]
fn every_path_has_its_parameters_and_every_operation_a_name_of_its_own() {
    let document = document();
    let mut names = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            assert!(names.insert(operation["operationId"].as_str().unwrap()), "{method} {path}");
            let empty = Vec::new();
            let parameters = operation["parameters"].as_array().unwrap_or(&empty).iter();
            let parameters = parameters.map(|parameter| resolved(&document, parameter));
            let described: BTreeSet<&str> = parameters
                .filter(|parameter| parameter["in"] == "path")
                .map(|parameter| parameter["name"].as_str().unwrap())
                .collect();
            let named = path.split(['{', '}']).skip(1).step_by(2).collect::<BTreeSet<_>>();
            assert_eq!(described, named, "{method} {path}");
        }
    }
}

fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        Some(place) => document.pointer(&place[1..]).expect(place),
        None => value,
    }
}

#[test]
fn every_reference_leads_somewhere() {
    fn walk(document: &Value, value: &Value) {
        resolved(document, value);
        match value {
            Value::Object(members) => members.values().for_each(|value| walk(document, value)),
            Value::Array(items) => items.iter().for_each(|value| walk(document, value)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let document = document();
    walk(&document, &document);
}

#[test]
fn every_kind_of_problem_is_described() {
    let document = document();
    let types = &document["components"]["schemas"]["Problem"]["properties"]["type"]["enum"];
    let described: BTreeSet<&str> =
        types.as_array().unwrap().iter().map(|t| t.as_str().unwrap()).collect();
    let known: Vec<String> =
        kinds::ALL.iter().map(|kind| format!("{TYPE_BASE}{}", kind.slug)).collect();
    assert_eq!(described, known.iter().map(String::as_str).collect());
}

/// `docs/API.md` lists them for people.
#[test]
fn every_kind_of_problem_is_explained() {
    let page = include_str!("../../../docs/API.md");
    for kind in kinds::ALL {
        assert!(page.contains(&format!("`{}`", kind.slug)), "{} is not in docs/API.md", kind.slug);
    }
}

#[tokio::test]
async fn what_is_answered_is_what_is_described() {
    let edge = Edge::open().await;
    let project = edge.json("POST", "/v1/projects", r#"{"id": "a", "start": true}"#).await.json();
    let list = edge.json("GET", "/v1/projects", "").await.json();
    let ready = edge.json("GET", "/ready", "").await.json();
    let process = r#"{"argv": ["serve"]}"#;
    let process = edge.json("PUT", "/v1/projects/a/process", process).await.json();
    let exec = edge.json("POST", "/v1/projects/a/exec", r#"{"argv": ["hang"], "timeout": "1ms"}"#);
    let exec = exec.await.json();
    let stats = edge.json("GET", "/v1/projects/a/stats", "").await.json();
    let batch = r#"{"operations": [{"op": "mkdir", "path": "x"}]}"#;
    let batch = edge.json("POST", "/v1/projects/a/files:batch", batch).await.json();
    let document = document();
    for (schema, answer) in [
        ("Process", &process),
        ("ExecResult", &exec),
        ("Stats", &stats),
        ("BatchResult", &batch),
        ("Project", &project),
        ("Sandbox", &project["sandbox"]),
        ("Limits", &project["limits"]),
        ("ProjectList", &list),
        ("Readiness", &ready),
    ] {
        let described = keys(&document["components"]["schemas"][schema]["properties"]);
        assert_eq!(keys(answer), described, "{schema}");
    }
    assert_eq!(edge.json("GET", "/openapi.json", "").await.json(), document);
}

#[tokio::test]
async fn no_path_of_the_document_is_unknown() {
    let edge = Edge::open().await;
    for path in document()["paths"].as_object().unwrap().keys() {
        let path = path.replace("{id}", "a").replace("{port}", "80").replace("{path}", "x");
        let answer = edge.ask("OPTIONS", &path, &[], "").await;
        assert_ne!(answer.problem(), "unknown-route", "{path}");
    }
}
