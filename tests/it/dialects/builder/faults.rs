//! 4.2, what is found at start-up, and an engine that is away.

use sandtree_testkit::docker::docker;
use sandtree_testkit::{EngineProxy, until};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::super::socket::Socket;
use super::{Project, detail, general, text};

#[tokio::test]
async fn what_happened_to_a_container_is_found_at_start_up() {
    let mut server = general().start().await;
    let client = server.client();
    let [killed, removed, stopped] = [
        Project::started(&client, "killed").await,
        Project::started(&client, "removed").await,
        Project::started(&client, "stopped").await,
    ];
    let content = json!({ "content": "kept" });
    let _ = removed.put("files/write?file_path=a.txt", &content).await.expect(200);
    let mut containers = Vec::new();
    for project in [&killed, &removed] {
        let status = project.get("runtime/status").await.expect(200).json();
        containers.push(status["container_id"].as_str().expect("a container").to_owned());
    }
    let _ = stopped.post("runtime/stop", &json!({})).await.expect(200);
    server.kill9().await;
    docker(&["kill", &containers[0]]).expect("a kill");
    docker(&["rm", "--force", &containers[1]]).expect("a removal");
    server.restart().await;

    let client = server.client();
    assert_eq!(client.get("/health").await.expect(200).json()["status"], "ok");
    // They are started again, as of every other dialect, and are never said to run before.
    for name in ["killed", "removed"] {
        let project = Project { client: client.clone(), name: name.to_owned() };
        until("the runtime to run again", async || {
            let body = json!({ "command": "python", "args": ["-V"] });
            project.post("runtime/exec", &body).await.status == 200
        })
        .await;
        let status = project.get("runtime/status").await.expect(200).json();
        assert_eq!(status["status"], "running", "{status}");
    }
    let status: Value = client.get("/projects/stopped/runtime/status").await.expect(200).json();
    assert_eq!(status["status"], "stopped");
    let read = client.get("/projects/removed/files/read?file_path=a.txt").await.expect(200).json();
    assert_eq!(read["content"], "kept");
}

#[tokio::test]
async fn an_engine_that_is_away_is_an_error_of_what_needs_it_alone() {
    let mut engine = EngineProxy::start();
    let server = general().env("SANDTREE_DOCKER__HOST", engine.host()).start().await;
    let client = server.client();
    let project = Project::create(&client, "demo").await;
    let runs = Project::started(&client, "runs").await;
    engine.cut();
    for refused in [
        project.post("runtime/start", &json!({})).await,
        runs.post("runtime/stop", &json!({})).await,
        runs.delete("runtime").await,
    ] {
        let refused = refused.expect(500);
        assert!(detail(&refused).contains("engine"), "{}", refused.text());
    }
    let _ = project.put("files/write?file_path=a", &json!({ "content": "" })).await.expect(200);
    let listed = project.get("files").await.expect(200).json();
    assert_eq!(listed["files"], json!(["a"]));
    let _ = runs.get("runtime/status").await.expect(200);
    engine.restore();
    until("the runtime to start", async || {
        project.post("runtime/start", &json!({})).await.status == 200
    })
    .await;
}

#[tokio::test]
async fn a_terminal_and_a_process_are_there_after_the_server_died() {
    let mut server = general().env("SANDTREE_DIALECTS__BUILDER__LEAVE_GRACE", "10m").start().await;
    let client = server.client();
    let project = Project::started(&client, "demo").await;
    let path = project.path("runtime/ws/terminal");
    let mut socket = Socket::open(&client, &path).await;
    socket.send(Message::text("MARK=ma''de; echo $MARK\r")).await;
    socket.wait_for("made", text).await;
    let script = "import os, time\nprint('up', flush=True)\nwhile not os.path.exists('go'):\n  time.sleep(0.02)\nprint('went', flush=True)";
    let content = json!({ "content": script });
    let _ = project.put("files/write?file_path=app.py", &content).await.expect(200);
    let body = json!({ "command": "python", "args": ["app.py"] });
    let _ = project.post("runtime/run", &body).await.expect(200);
    server.kill9().await;
    server.restart().await;

    let project = Project { client: server.client(), name: "demo".to_owned() };
    let mut socket = Socket::open(&project.client, &path).await;
    socket.send(Message::text("echo \"<$MARK>\"\r")).await;
    socket.wait_for("<made>", text).await;
    let mut log = Socket::open(&project.client, &project.path("runtime/ws/logs")).await;
    assert_eq!(log.next().await, Message::text("up"), "from its beginning on");
    let _ = project.put("files/write?file_path=go", &json!({ "content": "" })).await.expect(200);
    for line in ["went", "[process exited]"] {
        assert_eq!(log.next().await, Message::text(line));
    }
}
