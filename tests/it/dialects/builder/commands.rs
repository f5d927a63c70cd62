//! `runtime/exec`, `runtime/run` and `runtime/stop-process`.

use sandtree_testkit::until;
use serde_json::{Value, json};

use super::{Project, detail, general};

#[tokio::test]
async fn a_command_runs_without_a_shell_and_its_output_is_stripped() {
    let server = general().start().await;
    let project = Project::started(&server.client(), "demo").await;
    let script = "import sys, os; print(' out '); print('err', file=sys.stderr); print(sys.argv[1], os.getcwd()); sys.exit(3)";
    let _ = project
        .put("files/write?file_path=src/app.py", &json!({ "content": script }))
        .await
        .expect(200);
    let body = json!({ "command": "python", "args": ["app.py", "$HOME"], "cwd": "src" });
    let done = project.post("runtime/exec", &body).await.expect(200).json();
    assert_eq!(
        done,
        json!({ "return_code": 3, "stdout": "out \n$HOME /workspace/src", "stderr": "err" })
    );
}

#[tokio::test]
async fn a_command_needs_nothing_but_its_name() {
    let server = general().start().await;
    let project = Project::started(&server.client(), "demo").await;
    let script = "import os, sys; print(os.getcwd(), len(sys.argv), sys.stdin.read() == '')";
    let _ = project
        .put("files/write?file_path=__main__.py", &json!({ "content": script }))
        .await
        .expect(200);
    // Without arguments Python reads its standard input, which is empty.
    let done = project.post("runtime/exec", &json!({ "command": "python" })).await.expect(200);
    assert_eq!(done.json(), json!({ "return_code": 0, "stdout": "", "stderr": "" }));
    let body = json!({ "command": "python", "args": ["."] });
    let done = project.post("runtime/exec", &body).await.expect(200).json();
    assert_eq!(done["stdout"], "/workspace 1 True", "{done}");
    let body = json!({ "command": "python", "args": ["-c", "print('x' * 9_000_000)"] });
    let cut = project.post("runtime/exec", &body).await.expect(200).json();
    assert_eq!((&cut["return_code"], &cut["truncated"]), (&json!(0), &json!(true)));
    assert_eq!(cut["stdout"].as_str().map(str::len), Some(8 * 1024 * 1024));
    let body = json!({ "command": "uvicorn", "args": ["app:app"] });
    let absent = project.post("runtime/exec", &body).await.expect(200).json();
    assert_eq!(absent["return_code"], 127, "{absent}");
    assert!(absent["stderr"].as_str().expect("a text").contains("uvicorn"), "{absent}");
}

#[tokio::test]
async fn a_body_that_is_none_is_told_as_a_list() {
    let server = general().start().await;
    let project = Project::create(&server.client(), "demo").await;
    for (media, text) in [
        ("application/json", ""),
        ("application/json", "nothing"),
        ("application/json", "[]"),
        ("text/plain", "{}"),
    ] {
        let path = project.path("runtime/exec");
        let call = project.client.request(hyper::Method::POST, &path).body(media, text);
        let refused = call.send().await.expect(422).json();
        assert_eq!(refused["detail"][0]["loc"], json!(["body"]), "{media} {text:?}: {refused}");
    }
    let none = project.client.post_empty(&project.path("runtime/exec")).await.expect(422).json();
    assert_eq!(none["detail"][0]["loc"], json!(["body"]), "{none}");
}

#[tokio::test]
async fn what_the_policy_rejects_starts_no_process() {
    let server = general().start().await;
    let project = Project::started(&server.client(), "demo").await;
    let touch = "open('touched', 'w')";
    let _ =
        project.put("files/write?file_path=t.py", &json!({ "content": touch })).await.expect(200);
    for (body, words) in [
        (json!({ "command": "" }), "Command cannot be empty"),
        (json!({ "command": "sh", "args": ["-c", "touch touched"] }), "Command not allowed: sh"),
        (json!({ "command": "python", "args": ["t.py", "&& x"] }), "Blocked pattern detected: &&"),
        (
            json!({ "command": "python", "args": ["t.py"], "cwd": "/workspace" }),
            "Absolute paths are not allowed",
        ),
        (
            json!({ "command": "python", "args": ["t.py"], "cwd": ".." }),
            "Blocked pattern detected: ..",
        ),
        (json!({ "command": "pip", "args": ["--help"] }), "Argument not allowed for 'pip': --help"),
    ] {
        for route in ["runtime/exec", "runtime/run"] {
            let refused = project.post(route, &body).await.expect(422).json();
            assert_eq!(
                refused,
                json!({ "error": "command_rejected", "detail": words }),
                "{route} {body}"
            );
        }
    }
    let files = project.get("files").await.expect(200).json();
    assert_eq!(files["files"], json!(["t.py"]), "nothing ran");
}

#[tokio::test]
async fn a_command_has_its_time_and_a_runtime_to_run_in() {
    let server = general().start().await;
    let project = Project::create(&server.client(), "demo").await;
    let sleep = json!({ "command": "python", "args": ["-c", "import time\ntime.sleep(1000)"], "timeout": 1 });
    let refused = project.post("runtime/exec", &sleep).await.expect(400);
    assert_eq!(detail(&refused), "Runtime is not running");
    let _ = project.post("runtime/start", &json!({})).await.expect(200);
    let late = project.post("runtime/exec", &sleep).await.expect(400);
    assert_eq!(detail(&late), "Command execution timed out");
    let count = "import os\nprint(sum(b'time.sleep' in open(f'/proc/{p}/cmdline','rb').read() for p in os.listdir('/proc') if p.isdigit() and int(p) != os.getpid()))";
    let left = json!({ "command": "python", "args": ["-c", count] });
    let left = project.post("runtime/exec", &left).await.expect(200).json();
    assert_eq!(left["stdout"], "0", "the whole tree is killed: {left}");
    for (body, field) in [
        (json!({ "command": "python", "timeout": 0 }), "timeout"),
        (json!({ "args": [] }), "command"),
        (json!({ "command": 1 }), "command"),
        (json!({ "command": "python", "args": ["a\0b"] }), "args"),
        (json!({ "command": "python", "args": vec!["a"; 5000] }), "args"),
        (json!({ "command": "python", "timeout": 86_401 }), "timeout"),
    ] {
        let refused = project.post("runtime/exec", &body).await.expect(422).json();
        assert_eq!(refused["detail"][0]["loc"], json!(["body", field]), "{body}: {refused}");
    }
}

#[tokio::test]
async fn there_is_one_process_and_it_can_be_stopped() {
    let server = general().start().await;
    let client = server.client();
    let project = Project::create(&client, "demo").await;
    let body = json!({ "command": "python", "args": ["-c", "import time\ntime.sleep(1000)"], "env": { "A": "1" } });
    let refused = project.post("runtime/run", &body).await.expect(400);
    assert_eq!(detail(&refused), "Runtime is not running");
    let none = project.post("runtime/stop-process", &json!({})).await.expect(404);
    assert_eq!(detail(&none), "No running process found");
    let _ = project.post("runtime/start", &json!({})).await.expect(200);

    let (first, second) =
        tokio::join!(project.post("runtime/run", &body), project.post("runtime/run", &body));
    let mut statuses = [first.status, second.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409], "one of two at once");
    let started = if first.status == 200 { first } else { second };
    let expected = json!({ "status": "started", "project_name": "demo", "command": "python" });
    assert_eq!(started.json(), expected);
    let status = project.get("runtime/status").await.expect(200).json();
    assert_eq!(status["process_status"], "running");
    assert!(status["last_command"].as_str().expect("a text").starts_with("python -c"), "{status}");

    let stopped = project.post("runtime/stop-process", &json!({})).await.expect(200).json();
    assert_eq!(stopped, json!({ "status": "process_stopped", "project_name": "demo" }));
    let _ = project.post("runtime/stop-process", &json!({})).await.expect(404);
    until("the process to be shown as ended", async || {
        let status: Value = project.get("runtime/status").await.expect(200).json();
        status["process_status"] == "exited"
    })
    .await;
    let _ = project.post("runtime/run", &body).await.expect(200);
}

#[tokio::test]
async fn a_process_has_its_directory_and_environment_and_ends_gracefully() {
    let server = general().start().await;
    let project = Project::started(&server.client(), "demo").await;
    let script = "import os, signal, sys, time\ndef end(*_):\n  time.sleep(0.5)\n  open('ended', 'w').write('gracefully')\n  sys.exit(0)\nsignal.signal(signal.SIGTERM, end)\nopen('seen', 'w').write(os.getcwd() + ' ' + os.environ['A'] + ' ' + sys.argv[1])\ntime.sleep(1000)";
    let _ = project
        .put("files/write?file_path=src/app.py", &json!({ "content": script }))
        .await
        .expect(200);
    let body =
        json!({ "command": "python", "args": ["app.py", "$A"], "cwd": "src", "env": { "A": "1" } });
    let _ = project.post("runtime/run", &body).await.expect(200);
    let read = async |path: &str| {
        let path = format!("files/read?file_path=src/{path}");
        project.get(&path).await.expect(200).json()["content"].clone()
    };
    until("the process to say what it sees", async || read("seen").await == "/workspace/src 1 $A")
        .await;
    // A start of what runs leaves the process alone.
    let _ = project.post("runtime/start", &json!({})).await.expect(200);
    let status = project.get("runtime/status").await.expect(200).json();
    assert_eq!(status["process_status"], "running");
    let again = project.post("runtime/run", &body).await.expect(409);
    assert_eq!(detail(&again), "A process is already running");
    let _ = project.post("runtime/stop-process", &json!({})).await.expect(200);
    assert_eq!(read("ended").await, "gracefully");
}

#[tokio::test]
async fn a_process_that_cannot_be_started_is_told_with_its_reason() {
    let server = general().start().await;
    let project = Project::started(&server.client(), "demo").await;
    for (body, words) in [
        (json!({ "command": "uvicorn", "args": ["a:b"] }), "`uvicorn`: No such file"),
        (json!({ "command": "python", "cwd": "absent" }), "`/workspace/absent`: No such file"),
    ] {
        let refused = project.post("runtime/run", &body).await.expect(400);
        assert!(detail(&refused).contains(words), "{body}: {}", refused.text());
        let _ = project.post("runtime/stop-process", &json!({})).await.expect(404);
    }
}

#[tokio::test]
async fn without_rest_exec_commands_are_the_terminals() {
    let server = general().env("SANDTREE_DIALECTS__BUILDER__REST_EXEC", "false").start().await;
    let project = Project::create(&server.client(), "demo").await;
    for route in ["runtime/exec", "runtime/run", "runtime/stop-process"] {
        let refused = project.post(route, &json!({ "command": "python" })).await.expect(404);
        assert_eq!(detail(&refused), "Not Found", "{route}");
    }
    let logs = project.client.websocket(&project.path("runtime/ws/logs")).await;
    assert_eq!(logs.err(), Some(404));
    let _ = project.post("runtime/start", &json!({})).await.expect(200);
    drop(project.client.websocket(&project.path("runtime/ws/terminal")).await.expect("a socket"));
}
