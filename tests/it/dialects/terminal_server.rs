//! The contract of the Terminal Server.

use hyper::Method;
use sandtree_testkit::docker::docker;
use sandtree_testkit::{Client, ServerSetup, TestServer, until};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::socket::Socket;
use crate::support::server;

const SESSIONS: &str = "/api/v1/sessions";

fn small() -> ServerSetup {
    server().env("SANDTREE_PROFILES__TERMINAL_SERVER__IMAGE", "sandtree/small:latest")
}

async fn create(client: &Client) -> Value {
    client.post_empty(SESSIONS).await.expect(200).json()
}

fn id(session: &Value) -> String {
    session["session_id"].as_str().expect("an id").to_owned()
}

async fn connect(client: &Client, session: &str) -> Socket {
    Socket::open(client, &format!("/ws/terminal/{session}")).await
}

fn stdin(text: &str) -> Message {
    Message::text(json!({ "type": "stdin", "data": text }).to_string())
}

/// What a JSON frame says as output.
fn stdout(message: &Message) -> Vec<u8> {
    let said: Value = serde_json::from_slice(&message.clone().into_data()).expect("JSON");
    if said["type"] == "stdout" {
        said["data"].as_str().expect("a text").into()
    } else {
        Vec::new()
    }
}

/// What a binary frame says as output.
fn binary(message: &Message) -> Vec<u8> {
    let frame = message.clone().into_data();
    if message.is_binary() && frame.first() == Some(&2) { frame[1..].into() } else { Vec::new() }
}

#[tokio::test]
async fn connect_execute_disconnect() {
    let server = small().start().await;
    let client = server.client();
    let session = create(&client).await;
    let name = id(&session);
    assert!(name.starts_with("sess_") && name.len() == 37, "{name}");
    let url = format!("ws://{}/ws/terminal/{name}", client.address());
    assert_eq!(session["websocket_url"], url.as_str());
    assert_eq!(session["sessionId"], session["session_id"]);
    assert!(session["containerId"].is_string() && session["created_at"].is_string(), "{session}");

    let mut socket = connect(&client, &name).await;
    socket.send(stdin("echo he''llo\n")).await;
    socket.wait_for("hello", stdout).await;
    socket.send(Message::text(r#"{"type":"resize","data":{"rows":40,"cols":100}}"#)).await;
    socket.send(stdin("stty size\n")).await;
    socket.wait_for("40 100", stdout).await;
    socket.send(Message::text(r#"{"type":"ping"}"#)).await;
    while socket.next().await != Message::text(r#"{"type":"pong"}"#) {}

    let shown = client.get(&format!("{SESSIONS}/{name}")).await.expect(200).json();
    assert_eq!((&shown["status"], &shown["viewers"]), (&json!("active"), &json!(1)));
    let path = format!("{SESSIONS}/{name}");
    assert_eq!(client.delete(&path).await.expect(200).json(), json!({ "status": "terminated" }));
    assert_eq!(socket.closed().await, 1001);
    let gone = client.delete(&path).await.expect(404).json();
    assert_eq!(gone, json!({ "detail": "Session not found" }));
    server.assert_no_leftovers();
}

#[tokio::test]
async fn binary_frames_are_answered_in_binary_and_text_in_text() {
    let server = small().start().await;
    let client = server.client();
    let name = id(&create(&client).await);
    let mut socket = connect(&client, &name).await;
    socket.send(Message::binary(&b"\x01echo bi''nary\n"[..])).await;
    socket.wait_for("binary", binary).await;
    socket.send(stdin("echo te''xt\n")).await;
    socket
        .wait_for("text", |message| if message.is_text() { stdout(message) } else { Vec::new() })
        .await;
    socket.send(stdin("exit 3\n")).await;
    let exit = loop {
        let message = socket.next().await;
        if message.is_text() && message.to_text().expect("a text").contains("exit") {
            let said: Value =
                serde_json::from_str(message.to_text().expect("a text")).expect("JSON");
            if said["type"] == "exit" {
                break said;
            }
        }
    };
    assert_eq!(exit, json!({ "type": "exit", "data": 3, "code": 3 }));
    assert_eq!(socket.closed().await, 1000);
}

#[tokio::test]
async fn what_is_wrong_with_a_socket_is_its_close_code() {
    let server = small().start().await;
    let client = server.client();
    let name = id(&create(&client).await);
    for (what, path, message, code) in [
        ("an unknown session", format!("sess_{}", "0".repeat(32)), None, 1008),
        ("no id of a session", "..".to_owned(), None, 1008),
        ("a project that is no session", "demo".to_owned(), None, 1008),
        ("an unknown type", name.clone(), Some(Message::text(r#"{"type":"kill"}"#)), 1003),
        ("no JSON", name.clone(), Some(Message::text("ls")), 1003),
        ("an unknown frame", name.clone(), Some(Message::binary(&b"\x09"[..])), 1003),
    ] {
        let mut socket = connect(&client, &path).await;
        if let Some(message) = message {
            socket.send(message).await;
        }
        assert_eq!(socket.closed().await, code, "{what}");
    }
    let mut socket = connect(&client, &name).await;
    // The server closes before it has read all, so the client may see a reset instead.
    let code = socket.send_too_much(Message::text("x".repeat(1024 * 1024 + 1))).await;
    assert!(matches!(code, None | Some(1009)), "{code:?}");
    let plain = client.get(&format!("/ws/terminal/{name}")).await;
    assert_eq!(plain.status, 426, "{plain:?}");
}

#[tokio::test]
async fn a_second_socket_sees_the_same_shell_and_the_shell_goes_with_the_last() {
    let server = small().env("SANDTREE_DIALECTS__TERMINAL_SERVER__LEAVE_GRACE", "0s").start().await;
    let client = server.client();
    let name = id(&create(&client).await);
    let mut first = connect(&client, &name).await;
    first.send(stdin("MARK=fi''rst; echo $MARK\n")).await;
    first.wait_for("first", stdout).await;
    let mut second = connect(&client, &name).await;
    second.send(stdin("echo \"<$MARK>\"\n")).await;
    second.wait_for("<first>", stdout).await;
    first.wait_for("<first>", stdout).await;
    drop(first);
    second.send(stdin("echo st''ill\n")).await;
    second.wait_for("still", stdout).await;
    drop(second);
    until("a new shell", async || {
        let mut third = connect(&client, &name).await;
        third.send(stdin("echo \"[$MARK]\"; echo en''d\n")).await;
        let mut seen = String::new();
        while !seen.contains("end\r\n") {
            let message = third.next().await;
            if message.is_close() {
                return false;
            }
            seen.push_str(&String::from_utf8_lossy(&stdout(&message)));
        }
        seen.contains("[]")
    })
    .await;
}

#[tokio::test]
async fn a_token_is_needed_and_the_socket_needs_its_session() {
    let server = small().env("SANDTREE_AUTH__ADMIN_KEY", "sesame").start().await;
    let client = server.client();
    for (header, value) in [("authorization", ""), ("authorization", "Bearer wrong")] {
        let call = client.request(Method::POST, SESSIONS);
        let call = if value.is_empty() { call } else { call.header(header, value) };
        let refused = call.send().await.expect(401).json();
        assert!(refused["detail"].is_string(), "{refused}");
    }
    let call = client.request(Method::POST, SESSIONS).header("authorization", "Bearer sesame");
    let name = id(&call.send().await.expect(200).json());
    let mut socket = connect(&client, &name).await;
    socket.send(stdin("echo o''k\n")).await;
    socket.wait_for("ok", stdout).await;
    let wrong = client.websocket(&format!("/ws/terminal/{name}?token=wrong")).await;
    assert_eq!(wrong.err(), Some(403), "a wrong key is worse than none");
    let health = client.get("/api/v1/health").await.expect(200).json();
    assert_eq!(health, json!({ "status": "healthy", "version": env!("CARGO_PKG_VERSION") }));
}

#[tokio::test]
async fn without_a_token_sessions_are_apart_where_the_configuration_lets_them_be() {
    let server = small()
        .env("SANDTREE_AUTH__ADMIN_KEY", "sesame")
        .env("SANDTREE_DIALECTS__TERMINAL_SERVER__ANONYMOUS", "true")
        .start()
        .await;
    let client = server.client();
    let with_key = client.with_header("x-api-key", "sesame");
    let (theirs, ours) = (id(&create(&client).await), id(&create(&with_key).await));
    for (client, session, status) in [
        (&client, &theirs, 200),
        (&client, &ours, 404),
        (&with_key, &ours, 200),
        (&with_key, &theirs, 404),
    ] {
        let shown = client.get(&format!("{SESSIONS}/{session}")).await;
        assert_eq!(shown.status, status, "{session}: {shown:?}");
    }
    for session in [theirs, ours] {
        let mut socket = connect(&client, &session).await;
        socket.send(stdin("echo o''k\n")).await;
        socket.wait_for("ok", stdout).await;
    }
}

#[tokio::test]
async fn a_user_has_so_many_sessions_and_makes_so_many_in_an_hour() {
    let server = small()
        .env("SANDTREE_DIALECTS__TERMINAL_SERVER__SESSIONS_PER_USER_MAX", "2")
        .env("SANDTREE_DIALECTS__TERMINAL_SERVER__SESSIONS_PER_HOUR_MAX", "3")
        .start()
        .await;
    let client = server.client();
    let ask = |user: &'static str| {
        let client = client.clone();
        async move { client.post(SESSIONS, &json!({ "userId": user })).await }
    };
    let at_once = tokio::join!(ask("ann"), ask("ann"), ask("ann"));
    let mut statuses = [at_once.0.status, at_once.1.status, at_once.2.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 429], "two of three at once");
    let refused = ask("ann").await.expect(429);
    assert!(refused.header("retry-after").is_some());
    assert!(refused.json()["detail"].as_str().expect("a text").contains("2 per user"));
    let bob = ask("bob").await.expect(200).json();
    let gone = client.delete(&format!("{SESSIONS}/{}", id(&bob))).await;
    assert_eq!(gone.status, 200, "another user has sessions of his own");
    // What was refused does not count: she has made two, and makes her third.
    for made in [at_once.0, at_once.1, at_once.2].into_iter().filter(|made| made.status == 200) {
        let ended = client.delete(&format!("{SESSIONS}/{}", id(&made.json()))).await;
        assert_eq!(ended.status, 200);
    }
    let third = ask("ann").await.expect(200).json();
    let _ = client.delete(&format!("{SESSIONS}/{}", id(&third))).await.expect(200);
    let fourth = ask("ann").await.expect(429).json();
    assert!(fourth["detail"].as_str().expect("a text").contains("within an hour"), "{fourth}");
    for user in ["", "a\nb"] {
        let refused = client.post(SESSIONS, &json!({ "userId": user })).await.expect(422).json();
        assert_eq!(refused["detail"][0]["loc"], json!(["body", "userId"]), "{user:?}");
    }
}

#[tokio::test]
async fn the_container_is_hardened_as_listed() {
    let server = small().start().await;
    let client = server.client();
    let session = create(&client).await;
    let container = session["containerId"].as_str().expect("a container");
    let inspected = docker(&["inspect", container]).expect("the container");
    let inspected: Value = serde_json::from_str(&inspected).expect("JSON");
    let (config, host) = (&inspected[0]["Config"], &inspected[0]["HostConfig"]);
    let mib = 1024 * 1024;
    for (what, found, wanted) in [
        ("network none", &host["NetworkMode"], json!("none")),
        ("read-only root", &host["ReadonlyRootfs"], json!(true)),
        ("memory", &host["Memory"], json!(512 * mib)),
        ("no swap", &host["MemorySwap"], json!(512 * mib)),
        ("CPU weight", &host["CpuShares"], json!(512)),
        ("CPU limit", &host["NanoCpus"], json!(500_000_000)),
        ("processes", &host["PidsLimit"], json!(100)),
        ("user nobody:nogroup", &config["User"], json!("65534:65534")),
        ("no capabilities", &host["CapDrop"], json!(["ALL"])),
        ("not privileged", &host["Privileged"], json!(false)),
    ] {
        assert_eq!(*found, wanted, "{what}");
    }
    let options = host["SecurityOpt"].to_string();
    assert!(options.contains("no-new-privileges"), "{options}");
    let tmp = host["Tmpfs"]["/tmp"].as_str().expect("a tmpfs at /tmp");
    assert!(tmp.contains(&format!("size={}", 100 * mib)), "{tmp}");
}

#[tokio::test]
async fn an_idle_session_and_an_old_one_are_removed() {
    for (timeout, value) in [("IDLE_TIMEOUT", "1s"), ("MAX_LIFETIME", "2s")] {
        let server = small()
            .env(&format!("SANDTREE_PROFILES__TERMINAL_SERVER__{timeout}"), value)
            .env("SANDTREE_TREE__JANITOR_INTERVAL", "1s")
            .start()
            .await;
        let client = server.client();
        let name = id(&create(&client).await);
        until(&format!("the session to be gone by its {timeout}"), async || {
            client.get(&format!("{SESSIONS}/{name}")).await.status == 404
        })
        .await;
        server.assert_no_leftovers();
    }
}

#[tokio::test]
async fn a_container_that_crashes_is_there_again_for_the_next_socket() {
    let server = small().start().await;
    let client = server.client();
    let session = create(&client).await;
    let mut socket = connect(&client, &id(&session)).await;
    docker(&["kill", session["containerId"].as_str().expect("a container")]).expect("a kill");
    assert_eq!(socket.closed().await, 1001);
    until("a shell in the next container", async || {
        let mut socket = connect(&client, &id(&session)).await;
        socket.send(stdin("echo ba''ck\n")).await;
        let mut seen = String::new();
        while !seen.contains("back") {
            let message = socket.next().await;
            if message.is_close() {
                return false;
            }
            seen.push_str(&String::from_utf8_lossy(&stdout(&message)));
        }
        true
    })
    .await;
}

#[tokio::test]
async fn without_an_engine_a_session_is_refused_with_503() {
    let server = TestServer::setup(env!("CARGO_BIN_EXE_sandtree"))
        .env("SANDTREE_DOCKER__HOST", "unix:///nowhere/docker.sock")
        .start()
        .await;
    let refused = server.client().post_empty(SESSIONS).await.expect(503);
    assert!(refused.json()["detail"].is_string());
    assert!(refused.header("retry-after").is_some());
}
