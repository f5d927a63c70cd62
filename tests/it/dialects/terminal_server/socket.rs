//! The WebSocket: both forms of frames, sizes, pings, close codes, and who shares a shell.

use sandtree_testkit::until;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::{SESSIONS, binary, connect, create, id, small, stdin, stdout};

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
    // A terminal has one stream, so nothing comes as `stderr`.
    socket.send(stdin("echo oo''ps >&2\n")).await;
    socket.wait_for("oops", stdout).await;
    socket.send(Message::text(r#"{"type":"resize","data":{"rows":40,"cols":100}}"#)).await;
    socket.send(stdin("stty size\n")).await;
    socket.wait_for("40 100", stdout).await;
    socket.send(Message::text(r#"{"type":"resize","rows":41,"cols":101}"#)).await;
    socket.send(stdin("stty size\n")).await;
    socket.wait_for("41 101", stdout).await;
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
        ("JSON that is no message", name.clone(), Some(Message::text("[1]")), 1003),
        ("input without data", name.clone(), Some(Message::text(r#"{"type":"stdin"}"#)), 1003),
        ("half a size", name.clone(), Some(Message::text(r#"{"type":"resize","cols":9}"#)), 1003),
        ("an unknown frame", name.clone(), Some(Message::binary(&b"\x09"[..])), 1003),
        ("output of the client", name.clone(), Some(Message::binary(&b"\x02x"[..])), 1003),
        ("its errors", name.clone(), Some(Message::binary(&b"\x03x"[..])), 1003),
        ("a frame of nothing", name.clone(), Some(Message::binary(&b""[..])), 1003),
        ("no size of a window", format!("{name}?cols=0&rows=24"), None, 1008),
        ("a size in words", format!("{name}?cols=many"), None, 1008),
    ] {
        let mut socket = connect(&client, &path).await;
        if let Some(message) = message {
            socket.send(message).await;
        }
        assert_eq!(socket.closed().await, code, "{what}");
    }
    let largest = |padding: usize| {
        let ping = r#"{"type":"ping"}"#;
        Message::text(format!("{ping}{}", " ".repeat(padding - ping.len())))
    };
    let mut socket = connect(&client, &name).await;
    socket.send(largest(1024 * 1024)).await;
    while socket.next().await != Message::text(r#"{"type":"pong"}"#) {}
    // The server closes before it has read all, so the client may see a reset instead.
    let code = socket.send_too_much(largest(1024 * 1024 + 1)).await;
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
        third.output_until("end\r\n", stdout).await.is_some_and(|seen| seen.contains("[]"))
    })
    .await;
}

#[tokio::test]
async fn a_window_has_its_size_from_the_start_and_the_server_pings() {
    let server = small().start().await;
    let client = server.client();
    let name = id(&create(&client).await);
    let mut socket = connect(&client, &format!("{name}?cols=132&rows=43")).await;
    socket.send(stdin("stty size\n")).await;
    socket.wait_for("43 132", stdout).await;
    let mut quiet = connect(&client, &name).await;
    quiet.pinged().await;
}

#[tokio::test]
async fn more_than_may_look_are_told_to_come_again() {
    let server = small().env("SANDTREE_TREE__TERMINAL_VIEWERS_MAX", "1").start().await;
    let client = server.client();
    let name = id(&create(&client).await);
    let mut only = connect(&client, &name).await;
    only.send(stdin("echo he''re\n")).await;
    only.wait_for("here", stdout).await;
    assert_eq!(connect(&client, &name).await.closed().await, 1013);
}

#[tokio::test]
async fn a_shell_goes_on_while_the_server_ends_or_dies_and_starts_again() {
    let setup = small().env("SANDTREE_DIALECTS__TERMINAL_SERVER__LEAVE_GRACE", "0s");
    let mut server = setup.start().await;
    let client = server.client();
    let session = create(&client).await;
    let name = id(&session);
    let mut socket = connect(&client, &name).await;
    socket.send(stdin("MARK=ma''de; echo $MARK\n")).await;
    socket.wait_for("made", stdout).await;
    let (_, code) = tokio::join!(server.terminate(), socket.closed());
    assert_eq!(code, 1001, "the end of the server");
    server.restart().await;
    for _ in 0..2 {
        let client = server.client();
        let shown = client.get(&format!("{SESSIONS}/{name}")).await.expect(200).json();
        assert_eq!(shown["containerId"], session["containerId"]);
        let mut socket = connect(&client, &name).await;
        socket.send(stdin("echo \"<$MARK>\"\n")).await;
        socket.wait_for("<made>", stdout).await;
        server.kill9().await;
        server.restart().await;
    }
}
