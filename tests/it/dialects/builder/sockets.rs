//! The terminal's and the log's WebSockets.

use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use super::super::socket::Socket;
use super::{Project, general};

/// Raw text is output as it is.
fn text(message: &Message) -> Vec<u8> {
    assert!(message.is_text(), "{message:?}");
    message.clone().into_data().into()
}

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
    let mut late = Socket::open(&client, &path).await;
    assert_eq!(late.next().await, Message::text("Container not running"));
    assert_eq!(late.closed().await, 1000);
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
