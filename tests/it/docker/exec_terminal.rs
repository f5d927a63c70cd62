//! A command that writes to a terminal.

use serde_json::json;

use crate::support::{Project, server};

#[tokio::test]
async fn a_command_writes_to_a_terminal_if_it_is_asked_for() {
    let server = server().start().await;
    let project = Project::small(&server.client(), "p").await;
    let script = "test -t 1 && test -t 2 && echo both; stty size <&1; cat; echo oops >&2; exit 3";
    let body = json!({ "command": script, "tty": true });
    let done = project.post("exec", &body).await.expect(200).json();
    assert_eq!(done["stdout"], "both\r\n24 80\r\noops\r\n");
    assert_eq!((&done["stderr"], &done["exit_code"]), (&json!(""), &json!(3)));

    let call = project.client.request(hyper::Method::POST, &project.path("exec"));
    let told = call.header("accept", "text/event-stream").json(&body).send().await.expect(200);
    assert!(told.text().contains("event: stdout"), "{}", told.text());
    assert!(!told.text().contains("event: stderr"), "{}", told.text());

    let plain = json!({ "command": "test -t 1 || echo none" });
    let done = project.post("exec", &plain).await.expect(200).json();
    assert_eq!(done["stdout"], "none\n");
    let typed = json!({ "command": "cat", "tty": true, "stdin": "x" });
    let (kind, document) = project.post("exec", &typed).await.expect(400).problem();
    assert_eq!((kind.as_str(), &document["field"]), ("invalid-field", &json!("stdin")));
}
