//! `POST /projects/generate`, with generators of the tests.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::{detail, general};

/// An executable script in a directory of its own.
fn script(text: &str) -> (tempfile::TempDir, String) {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("generator");
    let mut file = std::fs::File::create(&path).expect("a script");
    write!(file, "#!/bin/sh\n{text}\n").expect("a script");
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&path, executable).expect("a script");
    (dir, path.to_str().expect("a path").to_owned())
}

fn archive(path: &str) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(2);
    header.set_mode(0o644);
    header.as_ustar_mut().expect("ustar").name[..path.len()].copy_from_slice(path.as_bytes());
    header.set_cksum();
    tar.append(&header, &b"ok"[..]).expect("a member");
    tar.into_inner().expect("a tar")
}

#[tokio::test]
async fn a_program_makes_a_project_of_a_prompt() {
    let (_dir, program) = script(
        r#"read prompt; echo "{\"project_name\": \"My Shop\", \"files\": {\"src/app.py\": \"$(echo "$prompt" | wc -c)\"}}""#,
    );
    let server = general().env("SANDTREE_DIALECTS__BUILDER__GENERATOR", program).start().await;
    let client = server.client();
    let made =
        client.post("/projects/generate", &json!({ "prompt": "a shop" })).await.expect(200).json();
    assert_eq!(made, json!({ "project_name": "My Shop", "project_root": "/workspace" }));
    assert_eq!(client.get("/projects").await.expect(200).json(), json!(["My Shop"]));
    let files = client.get("/projects/My%20Shop/files").await.expect(200).json();
    assert_eq!(
        (&files["project_name"], &files["files"]),
        (&json!("My Shop"), &json!(["src/app.py"]))
    );
    let again = client.post("/projects/generate", &json!({ "prompt": "a shop" })).await.expect(409);
    assert!(!detail(&again).is_empty());
    let started = client.post_empty("/projects/My%20Shop/runtime/start").await.expect(200).json();
    assert_eq!(started["project_name"], "My Shop");
    for body in [json!({}), json!({ "prompt": " " })] {
        let refused = client.post("/projects/generate", &body).await.expect(422).json();
        assert_eq!(refused["detail"][0]["loc"], json!(["body", "prompt"]), "{refused}");
    }
}

#[tokio::test]
async fn a_program_may_complain_at_length_and_sees_nothing_of_the_servers_settings() {
    let (_dir, program) = script(
        r#"head -c 300000 /dev/zero | tr '\0' x >&2
           echo "{\"project_name\": \"env\", \"files\": {\"env\": \"$(env | grep -c SANDTREE_)\"}}""#,
    );
    let server = general().env("SANDTREE_DIALECTS__BUILDER__GENERATOR", program).start().await;
    let client = server.client();
    let _ = client.post("/projects/generate", &json!({ "prompt": "x" })).await.expect(200);
    let read: Value = client.get("/projects/env/files/read?file_path=env").await.expect(200).json();
    assert_eq!(read["content"], "0");
}

#[tokio::test]
async fn what_a_program_started_ends_with_its_time() {
    let (dir, program) = script("cd \"$(dirname \"$0\")\"; sleep 1000 & echo $! > pid; wait");
    let server = general()
        .env("SANDTREE_DIALECTS__BUILDER__GENERATOR", program)
        .env("SANDTREE_DIALECTS__BUILDER__GENERATOR_TIMEOUT", "1s")
        .start()
        .await;
    let client = server.client();
    let _ = client.post("/projects/generate", &json!({ "prompt": "x" })).await.expect(504);
    let pid = std::fs::read_to_string(dir.path().join("pid")).expect("the pid of its child");
    let status = format!("/proc/{}/status", pid.trim());
    sandtree_testkit::until("the end of its child", async || {
        std::fs::read_to_string(&status).is_ok_and(|it| it.contains("Z (zombie)"))
            || std::fs::metadata(&status).is_err()
    })
    .await;
}

#[tokio::test]
async fn an_endpoint_makes_a_project_of_a_prompt() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let answers = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a request");
        let mut request = Vec::new();
        while !request.ends_with(b"}") {
            request.push(stream.read_u8().await.expect("a byte"));
        }
        let archive = STANDARD.encode(archive("app.py"));
        let body = json!({ "project_name": "shop", "archive": archive }).to_string();
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        stream.write_all(answer.as_bytes()).await.expect("an answer");
        String::from_utf8(request).expect("a text")
    });
    let url = format!("http://{address}/make");
    let server = general().env("SANDTREE_DIALECTS__BUILDER__GENERATOR", url).start().await;
    let client = server.client();
    let made =
        client.post("/projects/generate", &json!({ "prompt": "a shop" })).await.expect(200).json();
    assert_eq!(made["project_name"], "shop");
    let read: Value =
        client.get("/projects/shop/files/read?file_path=app.py").await.expect(200).json();
    assert_eq!(read["content"], "ok");
    let request = answers.await.expect("a request");
    assert!(request.starts_with("POST /make HTTP/1.1\r\n"), "{request}");
    assert!(request.ends_with(r#"{"prompt":"a shop"}"#), "{request}");
}

#[tokio::test]
async fn a_generator_that_fails_leaves_no_project() {
    let (_tar, tar) = {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("hostile.tar");
        std::fs::write(&path, archive("../out.py")).expect("an archive");
        let path = path.to_str().expect("a path").to_owned();
        (dir, path)
    };
    for (text, status, words) in [
        ("echo sorry >&2; exit 3".to_owned(), 502, "sorry"),
        ("true".to_owned(), 502, "nothing"),
        ("echo '{'".to_owned(), 502, "not understood"),
        (r#"echo '{"project_name": "a/b", "files": {}}'"#.to_owned(), 502, "project_name"),
        (r#"echo '{"project_name": "x", "files": {"../x": ""}}'"#.to_owned(), 422, ""),
        ("sleep 1000".to_owned(), 504, "in time"),
    ] {
        let (_dir, program) = script(&text);
        let server = general()
            .env("SANDTREE_DIALECTS__BUILDER__GENERATOR", program)
            .env("SANDTREE_DIALECTS__BUILDER__GENERATOR_TIMEOUT", "2s")
            .start()
            .await;
        let client = server.client();
        let failed =
            client.post("/projects/generate", &json!({ "prompt": "x" })).await.expect(status);
        assert!(detail(&failed).contains(words), "{text}: {}", failed.text());
        assert_eq!(client.get("/projects").await.expect(200).json(), json!([]), "{text}");
    }
    let (_dir, program) = script(&format!("cat {tar}"));
    let server = general().env("SANDTREE_DIALECTS__BUILDER__GENERATOR", program).start().await;
    let client = server.client();
    let made =
        client.post("/projects/generate", &json!({ "prompt": "a trap" })).await.expect(200).json();
    let files = client.get("/projects/a-trap/files").await.expect(200).json();
    assert_eq!((&made["project_name"], &files["files"]), (&json!("a-trap"), &json!([])), "skipped");
    let none = general().start().await;
    let refused =
        none.client().post("/projects/generate", &json!({ "prompt": "x" })).await.expect(501);
    assert!(detail(&refused).contains("dialects.builder.generator"));
}
