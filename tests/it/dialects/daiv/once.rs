//! `/run/commands/` and `/run/code/`: the contract of the first version.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sandtree_testkit::{Client, Response, TestServer, until};
use serde_json::{Value, json};

use super::archive::{file, packed, tar, unpacked};
use super::{GENERAL, SMALL, server};

const RUN_ID: &str = "f47ac10b-58cc-4372-a567-0e02b2c3d479";

async fn commands(client: &Client, body: &Value) -> Response {
    let mut whole = json!({ "run_id": RUN_ID, "base_image": SMALL, "archive": "" });
    for (name, value) in body.as_object().into_iter().flatten() {
        whole[name] = value.clone();
    }
    client.post("/run/commands/", &whole).await
}

async fn nothing_is_left(server: &TestServer) {
    until("its containers to be gone", async || server.containers().is_empty()).await;
}

#[tokio::test]
async fn all_commands_run_and_what_the_last_one_changed_comes_back() {
    let server = server().start().await;
    let client = server.client();
    let archive = tar(&[file("top/old", "old"), file("top/sub/a", "a"), file("top/.dot/b", "b")]);
    for (form, archive) in packed(&archive) {
        let body = json!({
            "archive": STANDARD.encode(archive), "workdir": "top",
            "commands": [
                "echo first > earlier",
                "cat old; echo err >&2; echo new > new; echo x > sub/a; echo y > .dot/b; rm old; exit 7",
            ],
        });
        let answer = commands(&client, &body).await.expect(200).json();
        let last = &answer["results"][1];
        assert_eq!(
            (&last["output"], &last["exit_code"]),
            (&json!("olderr\n"), &json!(7)),
            "{form}"
        );
        assert_eq!(answer["results"][0]["exit_code"], 0);
        let changed = unpacked(answer["archive"].as_str().expect("an archive"));
        let expected = [("new", "new\n"), ("sub/a", "x\n")];
        assert_eq!(
            changed,
            expected.map(|(name, text)| (name.to_owned(), text.to_owned())),
            "{form}"
        );
    }
    nothing_is_left(&server).await;
}

#[tokio::test]
async fn a_run_without_an_archive_a_change_or_a_command_is_a_run() {
    let server = server().start().await;
    let client = server.client();
    for (body, results) in [
        (
            json!({ "commands": ["exit 3", "pwd"] }),
            vec![("exit 3", "", 3), ("pwd", "/workspace\n", 0)],
        ),
        (json!({ "commands": [] }), vec![]),
        (json!({ "commands": ["pwd"], "workdir": "/tmp" }), vec![("pwd", "/tmp\n", 0)]),
        (json!({ "commands": ["false | true"], "workdir": null }), vec![("false | true", "", 1)]),
    ] {
        let answer = commands(&client, &body).await.expect(200).json();
        let results: Vec<_> = results
            .into_iter()
            .map(|(command, output, code)| {
                json!({ "command": command, "output": output, "exit_code": code })
            })
            .collect();
        assert_eq!(answer, json!({ "results": results, "archive": null }), "{body}");
    }
    let body = json!({ "commands": ["true"], "workdir": "no/such" });
    let answer = commands(&client, &body).await.expect(200).json();
    assert_eq!(answer["results"][0]["exit_code"], 127, "{answer}");
    nothing_is_left(&server).await;
}

#[tokio::test]
async fn what_is_no_archive_is_told_and_runs_nothing() {
    let server = server().start().await;
    let body = json!({ "commands": ["true"], "archive": STANDARD.encode("no tar".repeat(200)) });
    let refused = commands(&server.client(), &body).await;
    assert!(refused.status == 400 && refused.json()["detail"].is_string(), "{}", refused.text());
    for (field, value, kind) in [
        ("archive", Value::Null, "bytes_type"),
        ("archive", json!("a"), "base64_decode"),
        ("run_id", json!("6ba7b810-9dad-11d1-80b4-00c04fd430c8"), "uuid_version"),
        ("run_id", json!("x"), "uuid_parsing"),
        ("commands", Value::Null, "list_type"),
        ("base_image", Value::Null, "string_type"),
    ] {
        let mut body = json!({ "commands": ["true"] });
        body[field] = value;
        let refused = commands(&server.client(), &body).await.expect(422).json();
        assert_eq!(refused["detail"][0]["type"], kind, "{field}");
    }
    nothing_is_left(&server).await;
}

#[tokio::test]
async fn a_run_that_takes_too_long_ends() {
    let short = server().env("SANDTREE_DIALECTS__DAIV__RUN_TIMEOUT", "3s");
    let server = short.start().await;
    let body = json!({ "commands": ["sleep 1000"] });
    let refused = commands(&server.client(), &body).await.expect(500).json();
    assert_eq!(refused, json!({ "detail": "Execution timed out after 3s" }));
    nothing_is_left(&server).await;
}

#[tokio::test]
async fn runs_go_on_side_by_side() {
    let server = server().start().await;
    let run = |n: u32| {
        let client = server.client();
        tokio::spawn(async move {
            let body = json!({ "commands": [format!("echo {n} > x; cat x")] });
            commands(&client, &body).await.expect(200).json()
        })
    };
    for (n, run) in (0..4).map(run).collect::<Vec<_>>().into_iter().enumerate() {
        let answer = run.await.expect("an answer");
        assert_eq!(answer["results"][0]["output"], format!("{n}\n"));
        let changed = unpacked(answer["archive"].as_str().expect("an archive"));
        assert_eq!(changed, [("x".to_owned(), format!("{n}\n"))]);
    }
    nothing_is_left(&server).await;
}

#[tokio::test]
async fn code_is_run_and_its_failure_is_told_with_its_output() {
    let server = server().env("SANDTREE_PROFILES__DAIV_RUN__IMAGE", GENERAL).start().await;
    let client = server.client();
    let run = async |language: &str, code: &str| {
        let body = json!({ "run_id": RUN_ID, "language": language, "code": code });
        client.post("/run/code/", &body).await
    };
    for (language, code, output) in [
        ("python", "import os\nprint('hi', os.getcwd())", "hi /workspace\n"),
        ("node", "console.log('hi')", "hi\n"),
        ("bash", "echo out; echo err >&2", "out\nerr\n"),
    ] {
        let answer = run(language, code).await.expect(200).json();
        assert_eq!(answer, json!({ "output": output }), "{language}");
    }
    let failed = run("python", "print('out', flush=True)\nraise SystemExit(3)").await;
    super::assert_detail(&failed, 400, "out\n");
    let unknown = run("cobol", "").await.expect(422).json();
    assert_eq!(unknown["detail"][0]["type"], "literal_error");
    nothing_is_left(&server).await;
}
