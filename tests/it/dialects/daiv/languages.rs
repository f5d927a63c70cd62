//! `POST /run/code/` (contract 1.3): a program of every language, its failure, and what it
//! depends on. Languages whose images take long to build are run by a soak.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sandtree_testkit::{Client, Response};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::super::HAS_ALL;
use super::{assert_detail, nothing_is_left, server};
use crate::support::run as run_here;

const RUN_ID: &str = "f47ac10b-58cc-4372-a567-0e02b2c3d479";

/// A language: a program that says hello, and one that says something and fails with 3.
struct Language {
    name: &'static str,
    /// What its source is written into.
    file: &'static str,
    hello: &'static str,
    fails: &'static str,
    /// Its image is built with the others; else only for a soak.
    is_at_hand: bool,
}

#[rustfmt::skip]
const LANGUAGES: [Language; 6] = [
    Language { name: "python", file: "main.py",  is_at_hand: true,
               hello: "import os\nprint('hello from', os.path.basename(__file__))",
               fails: "print('out', flush=True)\nraise SystemExit(3)" },
    Language { name: "node",   file: "main.js",  is_at_hand: true,
               hello: "console.log('hello from', require('path').basename(__filename))",
               fails: "console.log('out'); process.exit(3)" },
    Language { name: "bash",   file: "main.sh",  is_at_hand: true,
               hello: "echo hello from ${BASH_SOURCE[0]}",
               fails: "echo out; exit 3" },
    Language { name: "ruby",   file: "main.rb",  is_at_hand: false,
               hello: "puts \"hello from #{File.basename(__FILE__)}\"",
               fails: "puts 'out'; exit 3" },
    Language { name: "php",    file: "main.php", is_at_hand: false,
               hello: "<?php echo 'hello from ', basename(__FILE__), \"\\n\";",
               fails: "<?php echo \"out\\n\"; exit(3);" },
    Language { name: "go",     file: "main.go",  is_at_hand: false,
               hello: "package main\nimport \"fmt\"\nfunc main() { fmt.Println(\"hello from main.go\") }",
               fails: "package main\nimport (\"fmt\"; \"os\")\nfunc main() { fmt.Println(\"out\"); os.Exit(3) }" },
];

async fn run(client: &Client, more: &Value) -> Response {
    let mut body = json!({ "run_id": RUN_ID });
    for (name, value) in more.as_object().into_iter().flatten() {
        body[name] = value.clone();
    }
    client.post("/run/code/", &body).await
}

#[tokio::test]
async fn a_program_of_every_language_runs_and_its_failure_is_told_with_its_output() {
    let server = server().start().await;
    let client = server.client();
    for Language { name, file, hello, fails, .. } in
        LANGUAGES.iter().filter(|language| language.is_at_hand || *HAS_ALL)
    {
        let ran = run(&client, &json!({ "language": name, "code": hello })).await;
        let output = format!("hello from {file}\n");
        assert_eq!(ran.expect(200).json(), json!({ "output": output }), "{name}");
        let failed = run(&client, &json!({ "language": name, "code": fails })).await;
        assert_eq!(failed.status, 400, "{name}: {}", failed.text());
        let detail = failed.json()["detail"].as_str().expect("what it said").to_owned();
        // `go run` adds how its program ended.
        assert!(detail.starts_with("out\n"), "{name}: {detail}");
    }
    nothing_is_left(&server).await;
}

#[tokio::test]
async fn both_outputs_are_one_and_a_language_has_to_be_known() {
    let server = server().start().await;
    let client = server.client();
    let code = json!({ "language": "bash", "code": "echo out; echo err >&2; pwd" });
    let ran = run(&client, &code).await.expect(200).json();
    assert_eq!(ran, json!({ "output": "out\nerr\n/workspace\n" }));
    let failed = run(&client, &json!({ "language": "bash", "code": "echo e >&2; exit 3" })).await;
    assert_detail(&failed, 400, "e\n");
    let unknown = run(&client, &json!({ "language": "cobol", "code": "" })).await;
    assert_eq!(unknown.expect(422).json()["detail"][0]["type"], "literal_error");
    nothing_is_left(&server).await;
}

/// A program that prints a wheel in base64.
const MAKES_WHEEL: &str = r#"
import base64, io, zipfile
wheel = io.BytesIO()
with zipfile.ZipFile(wheel, "w") as archive:
    info = "greeting-1.0.dist-info/"
    archive.writestr("greeting.py", "def greet(): return 'hello from a wheel'\n")
    archive.writestr(info + "METADATA", "Metadata-Version: 2.1\nName: greeting\nVersion: 1.0\n")
    archive.writestr(info + "WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    archive.writestr(info + "RECORD", "")
print(base64.b64encode(wheel.getvalue()).decode(), end="")
"#;

#[tokio::test]
async fn what_a_program_depends_on_comes_from_a_package_index() {
    let gateway = run_here(
        "docker",
        &["network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}"],
    );
    let gateway = String::from_utf8(gateway).expect("an address").trim().to_owned();
    let listener = TcpListener::bind("0.0.0.0:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let server = server()
        .env(
            "SANDTREE_PROFILES__DAIV_RUN__ENV__PIP_INDEX_URL",
            format!("http://{gateway}:{port}/simple/"),
        )
        .env("SANDTREE_PROFILES__DAIV_RUN__ENV__PIP_TRUSTED_HOST", &gateway)
        .start()
        .await;
    let client = server.client();
    let made = run(&client, &json!({ "language": "python", "code": MAKES_WHEEL })).await;
    let made = made.expect(200).json()["output"].as_str().expect("base64").to_owned();
    let serving = tokio::spawn(serve(listener, STANDARD.decode(made).expect("base64")));

    let code = "import greeting\nprint(greeting.greet())";
    let python =
        |names: Value| json!({ "language": "python", "code": code, "dependencies": names });
    let ran = run(&client, &python(json!(["greeting>=1"]))).await.expect(200).json();
    assert_eq!(ran, json!({ "output": "hello from a wheel\n" }));
    let without = run(&client, &python(json!([]))).await.expect(400).json();
    assert!(without["detail"].as_str().unwrap().contains("ModuleNotFoundError"), "{without}");
    let unknown = run(&client, &python(json!(["greeting", "no-such-package"]))).await;
    let unknown = unknown.expect(400).json();
    assert!(unknown["detail"].as_str().unwrap().contains("no-such-package"), "{unknown}");
    serving.abort();
    nothing_is_left(&server).await;
}

/// A package index of one project with one wheel.
async fn serve(listener: TcpListener, wheel: Vec<u8>) {
    let wheel = Arc::new(wheel);
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(answer(stream, Arc::clone(&wheel)));
    }
}

async fn answer(stream: TcpStream, wheel: Arc<Vec<u8>>) -> std::io::Result<()> {
    const FILE: &str = "greeting-1.0-py3-none-any.whl";
    let mut stream = BufReader::new(stream);
    let (mut first, mut line) = (String::new(), String::new());
    stream.read_line(&mut first).await?;
    while line != "\r\n" {
        line.clear();
        stream.read_line(&mut line).await?;
    }
    let page = format!("<!doctype html><a href=\"/files/{FILE}\">{FILE}</a>").into_bytes();
    let path = first.split(' ').nth(1).unwrap_or_default();
    let (status, media, body) = match path.strip_prefix('/').unwrap_or_default() {
        "simple/greeting/" => ("200 OK", "text/html", &page),
        it if it.strip_prefix("files/") == Some(FILE) => ("200 OK", "application/zip", &*wheel),
        _ => ("404 Not Found", "text/html", &page),
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {media}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body).await?;
    stream.flush().await
}
