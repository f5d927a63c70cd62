//! The terminal's and the log's WebSockets.

use sandtree_testkit::until;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use super::super::socket::Socket;
use super::{Project, general, text};

#[tokio::test]
async fn the_terminal_is_raw_text_both_ways_and_shared() {
    let server = general().start().await;
    let client = server.client();
    let project = Project::started(&client, "demo").await;
    let path = project.path("runtime/ws/terminal");
    let mut first = Socket::open(&client, &format!("{path}?cols=100&rows=30")).await;
    first.send(Message::text("stty size; echo \u{20ac}ur''o\r")).await;
    first.wait_for("30 100", text).await;
    let mut second = Socket::open(&client, &format!("{path}?cols=100&rows=30")).await;
    second.send(Message::text("{\"type\":\"resize\"}\r")).await;
    second.wait_for("{\"type\":\"resize\"}", text).await;
    first.send(Message::text("echo bo''th\r")).await;
    first.wait_for("both", text).await;
    second.wait_for("both", text).await;
    let _ = project.post("runtime/stop", &json!({})).await.expect(200);
    let code = first.closed().await;
    assert!(matches!(code, 1000 | 1001), "a stop closes the terminal: {code}");
    for path in [path.as_str(), "/projects/nope/runtime/ws/terminal"] {
        let mut late = Socket::open(&client, path).await;
        assert_eq!(late.next().await, Message::text("Container not running"));
        assert_eq!(late.closed().await, 1000);
    }
}

#[tokio::test]
async fn a_terminal_is_bash_which_no_policy_reads() {
    let server = general().start().await;
    let client = server.client();
    let project = Project::started(&client, "demo").await;
    let mut socket = Socket::open(&client, &project.path("runtime/ws/terminal")).await;
    socket.send(Message::text("echo \"<$0 $PWD>\"\r")).await;
    socket.wait_for("</bin/bash /workspace>", text).await;
    socket.send(Message::text("sleep 1000 & kill $!; wait; cd ..; pwd | cat; echo do''ne\r")).await;
    socket.wait_for("done", text).await;
    socket.send(Message::text("exit\r")).await;
    assert_eq!(socket.closed().await, 1000);
}

#[tokio::test]
async fn a_shell_ends_a_while_after_its_last_viewer() {
    let server = general().env("SANDTREE_DIALECTS__BUILDER__LEAVE_GRACE", "0s").start().await;
    let client = server.client();
    let project = Project::started(&client, "demo").await;
    let path = project.path("runtime/ws/terminal");
    let [mut first, mut second] =
        [Socket::open(&client, &path).await, Socket::open(&client, &path).await];
    first.send(Message::text("MARK=ma''de; echo $MARK\r")).await;
    second.wait_for("made", text).await;
    drop(first);
    second.send(Message::text("echo \"<$MARK>\"\r")).await;
    second.wait_for("<made>", text).await;
    drop(second);
    until("a new shell", async || {
        let mut next = Socket::open(&client, &path).await;
        next.send(Message::text("echo \"[$MARK]\"; echo en''d\r")).await;
        next.output_until("end\r\n", text).await.is_some_and(|seen| seen.contains("[]"))
    })
    .await;
}

#[tokio::test]
async fn what_else_is_wrong_is_told_as_it_is() {
    let server = general().env("SANDTREE_TREE__TERMINAL_VIEWERS_MAX", "1").start().await;
    let client = server.client();
    let project = Project::started(&client, "demo").await;
    let path = project.path("runtime/ws/terminal");
    let _only = Socket::open(&client, &path).await;
    for (query, words, code) in [
        ("?cols=0", "ERROR: cols: ", 1008),
        ("?cols=80&rows=many", "ERROR: rows: ", 1008),
        ("", "ERROR: ", 1013),
    ] {
        let mut socket = Socket::open(&client, &format!("{path}{query}")).await;
        let said = socket.next().await;
        assert!(said.to_text().expect("a text").starts_with(words), "{query}: {said:?}");
        assert_eq!(socket.closed().await, code, "{query}");
    }
}

#[tokio::test]
async fn the_end_of_the_server_is_told() {
    let mut server = general().start().await;
    let client = server.client();
    let project = Project::started(&client, "demo").await;
    let body = json!({ "command": "python", "args": ["-c", "import time\ntime.sleep(1000)"] });
    let _ = project.post("runtime/run", &body).await.expect(200);
    let mut sockets = [
        Socket::open(&client, &project.path("runtime/ws/terminal")).await,
        Socket::open(&client, &project.path("runtime/ws/logs")).await,
    ];
    let (_, codes) = tokio::join!(server.terminate(), async {
        [sockets[0].closed().await, sockets[1].closed().await]
    });
    assert_eq!(codes, [1001, 1001]);
}

#[tokio::test]
async fn the_log_is_a_line_a_message() {
    let server = general().start().await;
    let client = server.client();
    let project = Project::started(&client, "demo").await;
    let path = project.path("runtime/ws/logs");
    let mut none = Socket::open(&client, &path).await;
    assert_eq!(none.next().await, Message::text("ERROR: No running process"));
    assert_eq!(none.closed().await, 1000);
    let mut none = Socket::open(&client, "/projects/nope/runtime/ws/logs").await;
    assert_eq!(none.next().await, Message::text("ERROR: No running process"));
    assert_eq!(none.closed().await, 1000);

    let script = "import sys\nprint('one', flush=True)\nprint('two', file=sys.stderr, flush=True)\nsys.stdin.read()\ninput_ = open('/workspace/go')\nprint('three')";
    let script = script.replace(
        "sys.stdin.read()\n",
        "import time, os\nwhile not os.path.exists('/workspace/go'):\n  time.sleep(0.02)\n",
    );
    let body = json!({ "command": "python", "args": ["-u", "app.py"] });
    let _ = project
        .put("files/write?file_path=app.py", &json!({ "content": script }))
        .await
        .expect(200);
    let _ = project.post("runtime/run", &body).await.expect(200);
    let mut logs = Socket::open(&client, &path).await;
    let mut two =
        [logs.next().await, logs.next().await].map(|it| it.to_text().expect("a text").to_owned());
    two.sort();
    assert_eq!(two, ["[stderr] two", "one"]);
    let _ = project.put("files/write?file_path=go", &json!({ "content": "" })).await.expect(200);
    assert_eq!(logs.next().await, Message::text("three"));
    assert_eq!(logs.next().await, Message::text("[process exited]"));
    assert_eq!(logs.closed().await, 1000);
}

#[tokio::test]
async fn a_log_ends_with_its_process_however_that_ends() {
    let server = general().start().await;
    let client = server.client();
    let project = Project::started(&client, "demo").await;
    let script = "import sys, time\nprint(sys.argv[1], flush=True)\ntime.sleep(1000)";
    for end in ["runtime/stop-process", "runtime/stop"] {
        let body = json!({ "command": "python", "args": ["-c", script, end] });
        let _ = project.post("runtime/run", &body).await.expect(200);
        let path = project.path("runtime/ws/logs");
        let mut both = [Socket::open(&client, &path).await, Socket::open(&client, &path).await];
        for socket in &mut both {
            assert_eq!(socket.next().await, Message::text(end), "and nothing of an earlier one");
        }
        let _ = project.post(end, &json!({})).await.expect(200);
        for socket in &mut both {
            assert_eq!(socket.next().await, Message::text("[process exited]"), "{end}");
            assert_eq!(socket.closed().await, 1000, "{end}");
        }
        let status = project.get("runtime/status").await.expect(200).json();
        assert_eq!(status["process_status"], "exited", "{end}");
    }
}
