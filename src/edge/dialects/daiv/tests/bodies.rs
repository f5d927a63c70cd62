//! Bodies that cannot be read, fault by fault, in the words of the other system's framework.

use serde_json::{Value, json};

use super::{ID, post};
use crate::edge::testing::Edge;

/// The id of a run.
const RUN_ID: &str = "f47ac10b-58cc-4372-a567-0e02b2c3d479";

/// Where a body is sent to, the body, and the whole detail that it is answered with.
#[rustfmt::skip]
const FAULTS: &[(&str, &str, &str)] = &[
    ("/session/", r#"{}"#,
     r#"[{"type": "missing", "loc": ["body", "base_image"], "msg": "Field required", "input": {}}]"#),
    ("/session/", r#"[1]"#,
     r#"[{"type": "model_attributes_type", "loc": ["body"], "msg": "Input should be a valid dictionary or object to extract fields from", "input": [1]}]"#),
    ("/session/", r#"{"base_image": 1}"#,
     r#"[{"type": "string_type", "loc": ["body", "base_image"], "msg": "Input should be a valid string", "input": 1}]"#),
    ("/session/", r#"{"base_image": null}"#,
     r#"[{"type": "string_type", "loc": ["body", "base_image"], "msg": "Input should be a valid string", "input": null}]"#),
    ("/session/", r#"{"base_image": "a", "environment": []}"#,
     r#"[{"type": "dict_type", "loc": ["body", "environment"], "msg": "Input should be a valid dictionary", "input": []}]"#),
    ("/session/", r#"{"base_image": "a", "environment": {"A": 1}}"#,
     r#"[{"type": "string_type", "loc": ["body", "environment", "A"], "msg": "Input should be a valid string", "input": 1}]"#),
    ("/session/", r#"{"base_image": "a", "memory_bytes": 1.5}"#,
     r#"[{"type": "int_from_float", "loc": ["body", "memory_bytes"], "msg": "Input should be a valid integer, got a number with a fractional part", "input": 1.5}]"#),
    ("/session/", r#"{"base_image": "a", "memory_bytes": "x"}"#,
     r#"[{"type": "int_parsing", "loc": ["body", "memory_bytes"], "msg": "Input should be a valid integer, unable to parse string as an integer", "input": "x"}]"#),
    ("/session/", r#"{"base_image": "a", "memory_bytes": {}}"#,
     r#"[{"type": "int_type", "loc": ["body", "memory_bytes"], "msg": "Input should be a valid integer", "input": {}}]"#),
    ("/session/", r#"{"base_image": "a", "cpus": "x"}"#,
     r#"[{"type": "float_parsing", "loc": ["body", "cpus"], "msg": "Input should be a valid number, unable to parse string as a number", "input": "x"}]"#),
    ("/session/", r#"{"base_image": "a", "cpus": []}"#,
     r#"[{"type": "float_type", "loc": ["body", "cpus"], "msg": "Input should be a valid number", "input": []}]"#),
    ("/session/", r#"{"base_image": "a", "cpus": "inf"}"#,
     r#"[{"type": "finite_number", "loc": ["body", "cpus"], "msg": "Input should be a finite number", "input": "inf"}]"#),
    ("/session/x/", r#"{"commands": "ls"}"#,
     r#"[{"type": "list_type", "loc": ["body", "commands"], "msg": "Input should be a valid list", "input": "ls"}]"#),
    ("/session/x/", r#"{"commands": ["a", 1, null]}"#,
     r#"[{"type": "string_type", "loc": ["body", "commands", 1], "msg": "Input should be a valid string", "input": 1},
         {"type": "string_type", "loc": ["body", "commands", 2], "msg": "Input should be a valid string", "input": null}]"#),
    ("/session/x/", r#"{"fail_fast": []}"#,
     r#"[{"type": "missing", "loc": ["body", "commands"], "msg": "Field required", "input": {"fail_fast": []}},
         {"type": "bool_type", "loc": ["body", "fail_fast"], "msg": "Input should be a valid boolean", "input": []}]"#),
    ("/session/x/", r#"{"commands": [], "fail_fast": "maybe"}"#,
     r#"[{"type": "bool_parsing", "loc": ["body", "fail_fast"], "msg": "Input should be a valid boolean, unable to interpret input", "input": "maybe"}]"#),
    ("/session/x/", r#"{"commands": [], "fail_fast": 2}"#,
     r#"[{"type": "bool_parsing", "loc": ["body", "fail_fast"], "msg": "Input should be a valid boolean, unable to interpret input", "input": 2}]"#),
    ("/session/x/", r#"{"commands": [], "timeout": -1}"#,
     r#"[{"type": "greater_than_equal", "loc": ["body", "timeout"], "msg": "Input should be greater than or equal to 0", "input": -1, "ctx": {"ge": 0}}]"#),
    ("/session/x/fs/read", r#"{"path": "/workspace/a", "limit": 0}"#,
     r#"[{"type": "greater_than_equal", "loc": ["body", "limit"], "msg": "Input should be greater than or equal to 1", "input": 0, "ctx": {"ge": 1}}]"#),
    ("/session/x/fs/write", r#"{"path": "/workspace/a", "content": "", "mode": 4096}"#,
     r#"[{"type": "less_than_equal", "loc": ["body", "mode"], "msg": "Input should be less than or equal to 4095", "input": 4096, "ctx": {"le": 4095}}]"#),
    ("/session/x/fs/write", r#"{"path": "/workspace/a", "content": "aGk"}"#,
     r#"[{"type": "base64_decode", "loc": ["body", "content"], "msg": "Base64 decoding error: 'Incorrect padding'", "input": "aGk", "ctx": {"error": "Incorrect padding"}}]"#),
    ("/session/x/fs/read", r#"{"path": "/workspace/a", "offset": -1}"#,
     r#"[{"type": "greater_than_equal", "loc": ["body", "offset"], "msg": "Input should be greater than or equal to 0", "input": -1, "ctx": {"ge": 0}}]"#),
    ("/session/x/fs/write", r#"{"path": "/workspace/a", "content": "", "mode": -1}"#,
     r#"[{"type": "greater_than_equal", "loc": ["body", "mode"], "msg": "Input should be greater than or equal to 0", "input": -1, "ctx": {"ge": 0}}]"#),
    ("/session/x/fs/edit", r#"{}"#,
     r#"[{"type": "missing", "loc": ["body", "path"], "msg": "Field required", "input": {}},
         {"type": "missing", "loc": ["body", "old"], "msg": "Field required", "input": {}},
         {"type": "missing", "loc": ["body", "new"], "msg": "Field required", "input": {}}]"#),
    ("/session/x/fs/grep", r#"{}"#,
     r#"[{"type": "missing", "loc": ["body", "pattern"], "msg": "Field required", "input": {}},
         {"type": "missing", "loc": ["body", "path"], "msg": "Field required", "input": {}}]"#),
    ("/run/commands/", r#"{}"#,
     r#"[{"type": "missing", "loc": ["body", "run_id"], "msg": "Field required", "input": {}},
         {"type": "missing", "loc": ["body", "base_image"], "msg": "Field required", "input": {}},
         {"type": "missing", "loc": ["body", "commands"], "msg": "Field required", "input": {}},
         {"type": "missing", "loc": ["body", "archive"], "msg": "Field required", "input": {}}]"#),
    ("/run/code/", r#"{}"#,
     r#"[{"type": "missing", "loc": ["body", "run_id"], "msg": "Field required", "input": {}},
         {"type": "missing", "loc": ["body", "language"], "msg": "Field required", "input": {}},
         {"type": "missing", "loc": ["body", "code"], "msg": "Field required", "input": {}}]"#),
    ("/run/code/", r#"{"run_id": "f47ac10b-58cc-4372-a567-0e02b2c3d479", "language": "python", "code": "", "dependencies": "x"}"#,
     r#"[{"type": "list_type", "loc": ["body", "dependencies"], "msg": "Input should be a valid list", "input": "x"}]"#),
    ("/run/commands/", r#"{"run_id": "f47ac10b-58cc-4372-a567-0e02b2c3d479", "base_image": "a", "commands": [], "archive": null}"#,
     r#"[{"type": "bytes_type", "loc": ["body", "archive"], "msg": "Input should be a valid bytes", "input": null}]"#),
    ("/run/code/", r#"{"run_id": 1, "language": "python", "code": ""}"#,
     r#"[{"type": "uuid_type", "loc": ["body", "run_id"], "msg": "UUID input should be a string, bytes or UUID object", "input": 1}]"#),
    ("/run/code/", r#"{"run_id": "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "language": "python", "code": ""}"#,
     r#"[{"type": "uuid_version", "loc": ["body", "run_id"], "msg": "UUID version 4 expected", "input": "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "ctx": {"expected_version": 4}}]"#),
];

#[tokio::test]
async fn every_fault_of_a_body_is_told_in_the_frameworks_words() {
    let edge = Edge::open().await;
    for (path, body, detail) in FAULTS {
        let answer = edge.json("POST", path, body).await;
        let detail: Value = serde_json::from_str(detail).unwrap();
        assert_eq!((answer.status, &answer.json()["detail"]), (422, &detail), "{path} {body}");
    }
}

#[tokio::test]
async fn words_that_depend_on_the_server_are_told_with_their_context() {
    let edge = Edge::open().await;
    let code = json!({ "run_id": "x", "language": "cobol", "code": "1" });
    let detail = post(&edge, "/run/code/", &code).await.json()["detail"].clone();
    let [id, language] = &detail.as_array().unwrap()[..] else { panic!("{detail}") };
    for (fault, kind, field) in
        [(id, "uuid_parsing", "run_id"), (language, "literal_error", "language")]
    {
        assert_eq!((&fault["type"], &fault["loc"]), (&json!(kind), &json!(["body", field])));
    }
    let words = |fault: &Value, name: &str| fault["ctx"][name].as_str().unwrap().to_owned();
    let error = words(id, "error");
    assert_eq!(id["msg"], format!("Input should be a valid UUID, {error}"));
    let expected = words(language, "expected");
    assert!(expected.contains("'python'") && expected.contains(" or '"), "{expected}");
    assert_eq!(language["msg"], format!("Input should be {expected}"));
}

#[tokio::test]
async fn a_body_that_is_no_json_is_told_with_its_place() {
    let edge = Edge::open().await;
    for (body, loc, detail) in [
        ("{", json!(["body", 1]), "Expecting property name enclosed in double quotes"),
        (r#"{"base_image": }"#, json!(["body", 15]), "Expecting value"),
        ("[1 2]", json!(["body", 3]), "Expecting ',' delimiter"),
    ] {
        let answer = edge.json("POST", "/session/", body).await;
        let expected = json!([{ "type": "json_invalid", "loc": loc, "msg": "JSON decode error",
                                "input": {}, "ctx": { "error": detail } }]);
        assert_eq!((answer.status, &answer.json()["detail"]), (422, &expected), "{body}");
    }
    let nothing = edge.ask("POST", "/session/", &[("content-type", "application/json")], "").await;
    let missing =
        json!([{ "type": "missing", "loc": ["body"], "msg": "Field required", "input": null }]);
    assert_eq!((nothing.status, &nothing.json()["detail"]), (422, &missing));
    let plain = [("content-type", "text/plain")];
    let plain = edge.ask("POST", "/session/", &plain, r#"{"base_image": "a"}"#).await;
    assert_eq!(
        (plain.status, &plain.json()["detail"][0]["type"]),
        (422, &json!("model_attributes_type"))
    );
}

#[tokio::test]
async fn values_are_read_as_leniently_as_by_its_own_server() {
    let edge = Edge::open().await;
    let session = format!("/session/{ID}/");
    for body in [
        json!({"commands": [], "fail_fast": "Yes", "timeout": "5", "more": 1}),
        json!({"commands": [], "fail_fast": 0, "timeout": 5.0}),
        json!({"commands": [], "fail_fast": true, "timeout": null, "archive": null}),
    ] {
        let answer = post(&edge, &session, &body).await;
        assert_eq!(answer.status, 404, "{body}: it is read, and the session is not there");
    }
    for (query, status) in
        [("true", 204), ("0", 204), ("Off", 204), ("maybe", 422), ("", 422), ("2", 422)]
    {
        let answer = edge.ask("DELETE", &format!("{session}?force={query}"), &[], "").await;
        assert_eq!(answer.status, status, "{query}");
        if status == 422 {
            let fault = &answer.json()["detail"][0];
            assert_eq!(
                (&fault["type"], &fault["loc"]),
                (&json!("bool_parsing"), &json!(["query", "force"]))
            );
        }
    }
}

#[tokio::test]
async fn what_the_core_does_not_take_is_a_fault_of_the_body() {
    let edge = Edge::open().await;
    for (field, value) in [
        ("base_image", json!("no image!")),
        ("base_image", json!("")),
        ("memory_bytes", json!(1)),
        ("memory_bytes", json!(-1)),
        ("cpus", json!(0)),
        ("cpus", json!(1e300)),
        ("environment", json!({"A=B": "1"})),
    ] {
        let mut body = json!({ "base_image": "image" });
        body[field] = value;
        let answer = post(&edge, "/session/", &body).await;
        let fault = answer.json()["detail"][0].clone();
        assert_eq!((answer.status, &fault["type"]), (422, &json!("value_error")), "{body}");
        assert_eq!(fault["loc"], json!(["body", field]), "{body}: {fault}");
        assert_eq!(fault["input"], body[field], "{body}: {fault}");
    }
    let started = post(&edge, "/session/", &json!({ "base_image": "image" })).await.json();
    let session = format!("/session/{}/", started["session_id"].as_str().unwrap());
    let run = json!({ "run_id": RUN_ID, "base_image": "image", "archive": "", "commands": [],
                      "language": "bash", "code": "" });
    for (path, field, value) in [
        (session.as_str(), "commands", json!(["true", "a\0"])),
        ("/run/commands/", "base_image", json!("no image!")),
        ("/run/commands/", "commands", json!(["true", "a\0"])),
        ("/run/commands/", "workdir", json!("a\0")),
        ("/run/code/", "dependencies", json!(["a"])),
    ] {
        let mut body = run.clone();
        body[field] = value;
        if field == "workdir" {
            body["commands"] = json!(["true"]);
        }
        let answer = post(&edge, path, &body).await;
        let fault = answer.json()["detail"][0].clone();
        assert_eq!((answer.status, &fault["type"]), (422, &json!("value_error")), "{body}");
        let told = (&fault["loc"], &fault["input"]);
        assert_eq!(told, (&json!(["body", field]), &body[field]), "{path} {field}");
    }
}

#[tokio::test]
async fn an_egress_object_is_read_and_then_refused() {
    let edge = Edge::open().await;
    let rule = json!({ "host": "*.example.com" });
    let policy = |rules: Value| json!({ "policy": { "rules": rules } });
    let good = policy(json!([rule]));
    let open = json!({ "policy": { "default": "allow" } });
    let wrong = |kind, egress| (egress, Some(kind));
    let rows = vec![
        (good.clone(), None),
        (open, None),
        wrong("value_error", policy(json!([]))),
        wrong("missing", json!({})),
        wrong("missing", policy(json!([{}]))),
        wrong("value_error", policy(json!([{ "host": "" }]))),
        wrong("value_error", policy(json!([{ "host": "a b" }]))),
        wrong("value_error", policy(json!([{ "host": "a", "methods": [] }]))),
        wrong("value_error", policy(json!([{ "host": "a", "inject": "nobody" }]))),
        wrong("literal_error", json!({ "policy": { "default": "maybe", "rules": [rule] } })),
        wrong("literal_error", json!({ "policy": { "intercept": "some", "rules": [rule] } })),
        wrong(
            "value_error",
            json!({ "policy": { "rules": [rule] }, "secrets": { "s": { "header": "a b", "value": "v" } } }),
        ),
        wrong(
            "value_error",
            json!({ "policy": { "rules": [rule] }, "secrets": { "s": { "header": "a", "value": "v\n" } } }),
        ),
    ];
    for (egress, fault) in rows {
        let start =
            post(&edge, "/session/", &json!({ "base_image": "image", "egress": egress })).await;
        let put = edge.json("PUT", &format!("/session/{ID}/egress/"), &egress.to_string()).await;
        match fault {
            None => {
                assert_eq!(start.status, 400, "{egress}");
                assert_eq!(
                    (put.status, put.json()),
                    (404, json!({ "detail": "Session not found" }))
                );
            }
            Some(kind) => {
                for answer in [start, put] {
                    let told = &answer.json()["detail"][0];
                    assert_eq!(
                        (answer.status, &told["type"]),
                        (422, &json!(kind)),
                        "{egress}: {told}"
                    );
                    assert!(!told.to_string().contains("v\\n"), "a secret is told: {told}");
                }
            }
        }
    }
}
