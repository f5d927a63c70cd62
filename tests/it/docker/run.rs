//! One-shot runs in real containers.

use std::collections::BTreeMap;
use std::io::Read as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sandtree_testkit::{Client, TestServer, until};
use serde_json::{Value, json};

use crate::support::server;

async fn run(client: &Client, body: &Value) -> Value {
    client.post("/v1/run", body).await.expect(200).json()
}

/// No project and no container is left.
async fn until_gone(server: &TestServer) {
    let client = server.client();
    until("the run to be gone", async || {
        let list = client.get("/v1/projects").await.json();
        list["items"] == json!([]) && server.containers().is_empty()
    })
    .await;
}

/// The files of an answer.
fn unpacked(answer: &Value) -> BTreeMap<String, String> {
    let archive = answer["files"]["archive"].as_str().unwrap_or_else(|| panic!("{answer}"));
    let archive = STANDARD.decode(archive).expect("base64");
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(archive.as_slice()));
    let read = |entry: std::io::Result<tar::Entry<'_, _>>| {
        let mut entry = entry.expect("a member");
        let path = entry.path().expect("a path").display().to_string();
        let mut text = String::new();
        entry.read_to_string(&mut text).expect("a text");
        (path, text)
    };
    archive.entries().expect("an archive").map(read).collect()
}

fn files(rows: &[(&str, &str)]) -> BTreeMap<String, String> {
    rows.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
}

#[tokio::test]
async fn what_the_last_command_changed_comes_back() {
    let server = server().start().await;
    let client = server.client();
    let body = json!({
        "profile": "small",
        "env": {"NAME": "x"},
        "files": [
            {"path": "repo/a", "content": "1\n"}, {"path": "repo/b", "content": "2\n"},
            {"path": "repo/mv", "content": "3\n"}, {"path": "repo/run.sh", "content": "echo $NAME > out", "mode": "0755"},
        ],
        "cwd": "repo",
        "commands": [
            "echo early > early; cat a",
            "./run.sh; echo more >> b; mv mv moved; mkdir -p d .hid; echo d > d/e; echo h > .hid/x; ln -s a link; rm a; exit 3",
        ],
    });
    let answer = run(&client, &body).await;
    assert_eq!(answer["results"][0]["stdout"], "1\n");
    assert_eq!(answer["results"][1]["exit_code"], 3, "{answer}");
    let expected = files(&[("b", "2\nmore\n"), ("d/e", "d\n"), ("moved", "3\n"), ("out", "x\n")]);
    assert_eq!(unpacked(&answer), expected);
    until_gone(&server).await;

    let body = json!({
        "profile": "small", "commands": ["mkdir d; echo 1 > d/a.txt; echo 2 > b.log"],
        "collect": ["**/*.txt"],
    });
    assert_eq!(unpacked(&run(&client, &body).await), files(&[("d/a.txt", "1\n")]));
    let body = json!({"profile": "small", "commands": ["echo x > f"], "collect": "none"});
    assert_eq!(run(&client, &body).await["files"], Value::Null);
    until_gone(&server).await;
}

#[tokio::test]
async fn code_is_run_in_its_language() {
    let server = server().start().await;
    let client = server.client();
    for (language, source) in [
        ("python", "import os; print('hi', 6 * 7); open('out', 'w').write('made')"),
        ("node", "console.log('hi', 6 * 7); require('fs').writeFileSync('out', 'made')"),
        ("bash", "arr=(6 7); echo hi $((arr[0] * arr[1])); printf made > out"),
    ] {
        let answer = run(&client, &json!({"code": {"language": language, "source": source}})).await;
        let result = &answer["results"][0];
        assert_eq!(
            (&result["stdout"], &result["exit_code"]),
            (&json!("hi 42\n"), &json!(0)),
            "{language}: {answer}"
        );
        assert_eq!(unpacked(&answer), files(&[("out", "made")]), "{language}");
    }
    // Without a network nothing can be installed, and the code does not run.
    let code =
        json!({"language": "python", "source": "print(1)", "dependencies": ["no-such-package"]});
    let answer = run(&client, &json!({ "code": code, "timeout": "2m" })).await;
    assert_eq!(answer["results"].as_array().map(Vec::len), Some(1), "{answer}");
    assert_ne!(answer["results"][0]["exit_code"], 0, "{answer}");
    until_gone(&server).await;
}

#[tokio::test]
async fn a_run_ends_with_its_time_and_with_its_client() {
    let server = server().start().await;
    let client = server.client();
    let body = json!({
        "profile": "small", "timeout": "4s",
        "commands": ["echo begun > f; sleep 600 & sleep 600", "echo never"],
    });
    let answer = run(&client, &body).await;
    assert_eq!(
        (&answer["timed_out"], &answer["results"][0]["timed_out"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(answer["results"].as_array().map(Vec::len), Some(1));
    assert_eq!(unpacked(&answer), files(&[("f", "begun\n")]));
    until_gone(&server).await;

    let body = json!({"profile": "small", "commands": ["echo first", "echo second; sleep 600"]});
    let call = client.request(hyper::Method::POST, "/v1/run").json(&body);
    let mut events = call.events().await;
    let mut told = Vec::new();
    while told.iter().filter(|kind| *kind == "stdout").count() < 2 {
        let event = events.next().await.expect("an event");
        told.push(event.event);
    }
    assert_eq!(told, ["command", "started", "stdout", "exit", "command", "started", "stdout"]);
    assert_eq!(server.containers().len(), 1);
    drop(events);
    until_gone(&server).await;
}

#[tokio::test]
async fn a_run_of_a_server_that_was_killed_is_deleted_by_the_next() {
    let mut server = server().start().await;
    let client = server.client();
    let kept = json!({"id": "kept", "profile": "small", "start": true});
    let _ = client.post("/v1/projects", &kept).await.expect(201);
    let body = json!({"profile": "small", "commands": ["echo here; sleep 600"]});
    let call = client.request(hyper::Method::POST, "/v1/run").json(&body);
    let mut events = call.events().await;
    while events.next().await.expect("an event").event != "stdout" {}
    assert_eq!(server.containers().len(), 2);
    server.kill9().await;
    server.restart().await;
    let client = server.client();
    until("only the other project to be left", async || {
        let list = client.get("/v1/projects").await.json();
        let ids: Vec<_> =
            list["items"].as_array().expect("a list").iter().map(|item| &item["id"]).collect();
        ids == ["kept"] && server.containers().len() == 1
    })
    .await;
}

#[tokio::test]
async fn a_hostile_archive_is_taken_only_as_far_as_it_stays_inside() {
    let server = server().start().await;
    let client = server.client();
    let mut builder = tar::Builder::new(Vec::new());
    let mut add = |kind, name: &[u8], target: &[u8], content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header.as_old_mut().linkname[..target.len()].copy_from_slice(target);
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        header.set_cksum();
        builder.append(&header, content).expect("a member");
    };
    use tar::EntryType::{Char, Link, Regular, Symlink};
    add(Regular, b"fine", b"", b"x");
    add(Regular, b"/absolute", b"", b"x");
    add(Regular, b"../up", b"", b"x");
    add(Link, b"hard", b"/etc/passwd", b"");
    add(Char, b"device", b"", b"");
    add(Symlink, b"out", b"/etc", b"");
    add(Symlink, b"up", b"../../x", b"");
    let archive = STANDARD.encode(builder.into_inner().expect("an archive"));
    let body = json!({"profile": "small", "archive": archive, "commands": ["ls -A"]});
    let answer = run(&client, &body).await;
    assert_eq!(answer["results"][0]["stdout"], "fine\n", "{answer}");
    assert_eq!(answer["unpacked"]["skipped_total"], 6, "{answer}");

    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let mut header = tar::Header::new_gnu();
    header.set_path("zeros").expect("a name");
    header.set_mode(0o644);
    header.set_size(64 << 20);
    header.set_cksum();
    std::io::Write::write_all(&mut bomb, header.as_bytes()).expect("a header");
    std::io::copy(&mut std::io::repeat(0).take(64 << 20), &mut bomb).expect("zeros");
    let bomb = STANDARD.encode(bomb.finish().expect("an archive"));
    let body = json!({"profile": "small", "archive": bomb, "commands": ["ls"]});
    assert_eq!(client.post("/v1/run", &body).await.problem().0, "too-large");
    until_gone(&server).await;
}
