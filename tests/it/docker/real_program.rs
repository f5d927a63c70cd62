//! Programs that others wrote: Flask and its test suite, Node, vim and top.

use futures_util::{SinkExt as _, StreamExt as _};
use sandtree_testkit::{LONG, within};
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Project, cache_dir, server};

/// The public source archive of Flask 2.2.2, fetched once, with pip.
///
/// # Panics
///
/// When it cannot be had.
fn flask_source() -> Vec<u8> {
    let dir = cache_dir();
    let path = dir.join("Flask-2.2.2.tar.gz");
    let mut said = String::new();
    for pip in [&["python3", "-m", "pip"][..], &["pip3"], &["pip"]] {
        if path.exists() {
            break;
        }
        let output = std::process::Command::new("timeout")
            .arg("300")
            .args(pip)
            .args(["download", "flask==2.2.2", "--no-binary", "flask", "--no-deps", "--dest"])
            .arg(&dir)
            .output()
            .expect("timeout can be run");
        said += &String::from_utf8_lossy(&output.stderr);
    }
    let source = std::fs::read(&path);
    source.unwrap_or_else(|_| panic!("pip does not fetch {}:\n{said}", path.display()))
}

#[tokio::test]
async fn the_test_suite_of_flask_passes_without_a_network() {
    let server = server().start().await;
    let limits = json!({ "memory_bytes": 1_073_741_824_u64, "cpu_millis": 2000 });
    let body = json!({ "id": "flask", "start": true, "network": "none", "limits": limits });
    let project = Project::create(&server.client(), &body).await;
    let path = project.path("archive?path=src");
    let source = tokio::task::spawn_blocking(flask_source).await.expect("the source of Flask");
    let taken = project.client.put_bytes(&path, "application/gzip", source).await.expect(200);
    let body = json!({
        "command": "python3 -m pytest -q -p no:cacheprovider 2>&1",
        "cwd": "src/Flask-2.2.2",
        "env": { "PYTHONPATH": "src" },
        "timeout": "5m",
    });
    let done = project.post("exec", &body).await.expect(200).json();
    let said = done["stdout"].as_str().expect("a text");
    assert_eq!(done["exit_code"], 0, "{}\n{said}", taken.text());
    assert!(said.contains(" passed"), "{said}");
    assert!(!said.contains(" failed") && !said.contains(" error"), "{said}");
}

#[tokio::test]
async fn a_flask_app_on_loopback_answers_through_the_preview() {
    let server = server().start().await;
    let project = Project::running(&server.client(), "flask").await;
    project.write("app.py", include_str!("../../fixtures/flask_app.py")).await;
    let body = json!({ "argv": ["flask", "--app", "app", "run", "--port", "5000"] });
    project.put_process(&body).await;
    let hello = project.preview(5000, "hello/you?how=well").await.expect(200);
    assert_eq!(hello.json(), json!({ "hello": "you", "how": "well" }));
    assert_eq!(hello.header("x-served-by"), Some("flask"));

    let path = project.path("ports/5000/echo");
    let echoed = project.client.put_bytes(&path, "text/plain", "abc".repeat(100_000)).await;
    assert_eq!(echoed.expect(200).body.len(), 300_000);
    assert_eq!(project.get("ports/5000/teapot").await.status, 418);
    let streamed = project.get("ports/5000/stream").await.expect(200).text();
    assert_eq!(streamed, "0\n1\n2\n");
}

#[tokio::test]
async fn a_node_server_on_loopback_answers_through_the_preview_and_echoes_on_a_websocket() {
    let server = server().start().await;
    let project = Project::running(&server.client(), "node").await;
    project.write("server.js", include_str!("../../fixtures/node_server.js")).await;
    let body =
        json!({ "argv": ["node", "server.js"], "env": { "NODE_PATH": "/usr/share/nodejs" } });
    project.put_process(&body).await;
    let answer = project.preview(3000, "deep/path").await.expect(200);
    assert_eq!(answer.text(), "GET /deep/path\n", "the program sees its own paths");

    let path = project.path("ports/3000/socket");
    let socket = project.client.websocket(&path).await;
    let mut socket = socket.unwrap_or_else(|status| panic!("{path} answered {status}"));
    for message in [Message::text("hello"), Message::binary(vec![0, 255, 7]), big()] {
        socket.send(message.clone()).await.expect("a message that is taken");
        let back = within(LONG, "the echo", socket.next()).await;
        assert_eq!(back.expect("an echo").expect("a message"), message);
    }
    socket.close(None).await.expect("a farewell");
}

fn big() -> Message {
    Message::binary(vec![b'x'; 500_000])
}

#[tokio::test]
async fn nothing_that_listens_is_told_as_such() {
    let server = server().start().await;
    let project = Project::small(&server.client(), "quiet").await;
    let (kind, _) = project.get("ports/9/").await.expect(502).problem();
    assert_eq!(kind, "nothing-listens");
    let (_, problem) = project.get("ports/70000/").await.expect(400).problem();
    assert_eq!(problem["field"], "port");
}

#[tokio::test]
async fn full_screen_programs_and_resize_work_in_the_terminal() {
    let server = server().start().await;
    let project = Project::running(&server.client(), "screen").await;
    let mut terminal = project.client.terminal("screen", "cols=80&rows=24").await;
    terminal.type_text("vim -u NONE -N -i NONE poem.txt\r").await;
    terminal
        .wait_for_screen("vim's tildes", |s| s.lines().filter(|l| *l == "~").count() > 15)
        .await;
    terminal.type_text("iroses are red\rviolets are blue").await;
    terminal
        .wait_for_screen("what was typed", |screen| {
            let mut lines = screen.lines();
            lines.next() == Some("roses are red")
                && lines.next() == Some("violets are blue")
                && screen.contains("-- INSERT --")
        })
        .await;
    terminal.type_text("\x1b:wq\r").await;
    let is_shell = |screen: &str| screen.contains("vim -u NONE") && is_at_prompt(screen);
    terminal.wait_for_screen("the shell again", is_shell).await;
    assert_eq!(project.read("poem.txt").await, "roses are red\nviolets are blue\n");

    terminal.type_text("clear; stty size\r").await;
    terminal.wait_for_screen("the first size", |screen| screen.contains("24 80")).await;
    terminal.resize(100, 30).await;
    terminal.type_text("clear; stty size\r").await;
    terminal.wait_for_screen("the new size", |screen| screen.contains("30 100")).await;

    terminal.type_text("clear; top -d 0.5\r").await;
    terminal.wait_for_screen("top's table", is_top).await;
    terminal.type_text("q").await;
    terminal.wait_for_screen("the shell after top", is_at_prompt).await;
    terminal.type_text("clear; echo do''ne\r").await;
    terminal.wait_for_screen("a clear screen", |s| s.contains("done") && !is_top(s)).await;
    terminal.type_text("exit 7\r").await;
    assert_eq!(terminal.wait_for_exit().await, 7);
}

/// Whether the last line is bash's, waiting for a command.
fn is_at_prompt(screen: &str) -> bool {
    screen.lines().rfind(|line| !line.is_empty()).is_some_and(|line| line.ends_with('$'))
}

fn is_top(screen: &str) -> bool {
    screen.contains("load average") && screen.contains("PID") && screen.contains("%CPU")
}

#[tokio::test]
async fn vim_is_redrawn_for_a_viewer_who_comes_later() {
    let server = server().start().await;
    let project = Project::running(&server.client(), "screen").await;
    let mut first = project.client.terminal("screen", "cols=80&rows=24").await;
    first.type_text("vim -u NONE -N -i NONE\r").await;
    first.type_text("iseen by both").await;
    let shows = |screen: &str| screen.contains("seen by both") && screen.contains("-- INSERT --");
    let left = first.wait_for_screen("what was typed", shows).await;
    let mut second = project.client.terminal("screen", "cols=80&rows=24").await;
    let right = second.wait_for_screen("the same screen", shows).await;
    assert_eq!(left, right);
    second.type_text(", typed by the second").await;
    first.wait_for_screen("the other's keys", |s| s.contains("both, typed by the second")).await;
}
