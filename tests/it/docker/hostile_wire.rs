//! Code in the sandbox that talks to the server's socket as if it were init.

use std::time::Duration;

use serde_json::json;

use crate::support::{Project, server};

/// Speaks to the socket in ways that no init does.
const LIAR: &str = include_str!("../../fixtures/liar.py");
/// What the server may grow by, whatever it is sent.
const GROWTH_MAX: u64 = 48 * 1024 * 1024;

#[tokio::test]
async fn lies_on_the_socket_are_without_effect() {
    let server = server().start().await;
    let project = Project::running(&server.client(), "liar").await;
    let neighbour = Project::small(&server.client(), "neighbour").await;
    project.write("liar.py", LIAR).await;
    let before = project.show().await;
    for lie in ["garbage", "huge", "hello", "stream", "slow", "nested", "cut"] {
        let done = project.exec(&format!("python3 liar.py {lie}")).await;
        assert_eq!(done["exit_code"], 0, "{lie}: {done}");
        assert_eq!(neighbour.sh("echo ok").await, "ok\n", "after {lie}");
        project.wait_for_exec().await;
    }
    let after = project.show().await;
    assert_eq!(after["generation"], before["generation"], "the project moved: {after}");
    assert_eq!(after["phase"], "running");
}

#[tokio::test]
async fn a_flood_on_the_socket_does_not_grow_the_server() {
    let mut server = server().start().await;
    let project = Project::running(&server.client(), "liar").await;
    let neighbour = Project::small(&server.client(), "neighbour").await;
    project.write("liar.py", LIAR).await;
    // The first round grows what every server grows once.
    let _ = project.sh("python3 liar.py flood").await;
    project.wait_for_exec().await;
    let before = server.resident_bytes();
    for _ in 0..4 {
        let flood = json!({ "command": "python3 liar.py flood", "timeout": "1m" });
        let (done, calm) = tokio::join!(project.post("exec", &flood), neighbour.sh("echo calm"));
        assert_eq!(calm, "calm\n");
        // The flood may take the very connection that it was asked for on.
        assert!(matches!(done.status, 200 | 502 | 504), "{done:?}");
        project.wait_for_exec().await;
    }
    let after = server.resident_bytes();
    let grown = after.saturating_sub(before);
    assert!(grown <= GROWTH_MAX, "grown by {grown} bytes to {after}");
    assert!(server.is_alive());
}

#[tokio::test]
async fn output_that_nobody_reads_does_not_grow_the_server() {
    let server = server().start().await;
    let project = Project::running(&server.client(), "loud").await;
    let path = project.path("terminal?cols=80&rows=24");
    let socket = project.client.websocket(&path).await;
    let _unread = socket.unwrap_or_else(|status| panic!("{path} answered {status}"));
    let mut terminal = project.client.terminal("loud", "cols=80&rows=24").await;
    let before = server.resident_bytes();
    terminal.type_text("head -c 60000000 /dev/zero | tr '\\0' y; echo; echo th''e end\r").await;
    terminal.wait_for_screen("the end of the flood", |screen| screen.contains("the end")).await;
    let body = json!({ "command": "head -c 100000000 /dev/zero" });
    let done = project.post("exec", &body).await.expect(200).json();
    assert_eq!(done["truncated"], true);
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown <= 2 * GROWTH_MAX, "grown by {grown} bytes");
}

#[tokio::test]
async fn many_connections_that_say_nothing_do_not_stop_others() {
    let server = server().start().await;
    let client = server.client();
    let project = Project::small(&client, "demo").await;
    let silent: Vec<_> = {
        let mut silent = Vec::new();
        for _ in 0..200 {
            let connection = tokio::net::TcpStream::connect(client.address()).await;
            silent.push(connection.expect("a connection"));
        }
        silent
    };
    assert_eq!(project.sh("echo ok").await, "ok\n");
    let garbage = client.raw(&[0xff; 10_000], Duration::from_secs(2)).await;
    assert!(garbage.is_empty() || garbage.starts_with(b"HTTP/1.1 400"), "{garbage:?}");
    assert_eq!(project.sh("echo ok").await, "ok\n");
    drop(silent);
}
