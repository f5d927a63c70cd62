//! `POST /exec` and `/exec/batch`: events, their order, time-outs, and what is not run.

use sandtree_testkit::until;
use serde_json::{Value, json};

use super::{Bharat, data, events, kinds, setup};
use crate::support::Project;

#[tokio::test]
async fn a_command_is_told_from_its_start_to_done() {
    let bharat = Bharat::running("p").await;
    let events = bharat.exec("echo one && echo two; echo oops >&2; sleep 0.1; exit 3").await;
    let mut told = kinds(&events);
    assert_eq!(told[..2], ["system", "status"], "{events:?}");
    assert_eq!(told[told.len() - 2..], ["exit", "done"], "{events:?}");
    told.sort_unstable();
    assert_eq!(told, ["done", "exit", "status", "stderr", "stdout", "stdout", "system"]);

    let command = "Executing: echo one && echo two; echo oops >&2; sleep 0.1; exit 3";
    assert_eq!(data(&events, "status"), [command]);
    assert_eq!(data(&events, "stdout"), ["one", "two"], "the shell chains them");
    assert_eq!(data(&events, "stderr"), ["oops"]);
    let exit = &events[events.len() - 2];
    assert_eq!(
        (&exit["data"], &exit["code"], &exit["success"]),
        (&json!(3), &json!(3), &json!(false))
    );
    assert_eq!(events.last().unwrap(), &json!({ "type": "done" }));
    for event in &events[..events.len() - 1] {
        let at = event["timestamp"].as_str().unwrap_or_else(|| panic!("no time: {event}"));
        assert!(at.ends_with('Z'), "{event}");
    }

    let events = bharat.exec("true").await;
    let exit = &events[events.len() - 2];
    assert_eq!(
        (&exit["data"], &exit["code"], &exit["success"]),
        (&json!(0), &json!(0), &json!(true))
    );
}

#[tokio::test]
async fn lines_have_hints_and_times_and_long_beginnings_are_told() {
    let bharat = Bharat::running("p").await;
    let long = "x".repeat(100);
    let events = bharat
        .exec(&format!(
            "printf {long}; sleep 0.5; echo end; echo 'Error: at a.js:7:1'; printf rest"
        ))
        .await;
    assert_eq!(data(&events, "stdout"), [&long, "end", "Error: at a.js:7:1", "rest"]);
    let error = events.iter().find(|event| event["data"] == "Error: at a.js:7:1").unwrap();
    let display = &error["display"];
    for field in ["level", "category", "icon", "label", "color"] {
        assert!(display[field].is_string(), "{field}: {display}");
    }
    assert_eq!(
        (&display["level"], &display["file"], &display["line"]),
        (&json!("error"), &json!("a.js"), &json!(7))
    );
    assert!(error["timestamp"].is_string());
}

#[tokio::test]
async fn a_command_that_takes_too_long_is_told_and_killed_with_all_it_started() {
    let bharat = Bharat::running("p").await;
    let body = json!({ "command": "sleep 3033 & sleep 3033; echo never", "timeout": 1 });
    let events = bharat.events("exec", &body).await;
    assert_eq!(kinds(&events), ["system", "status", "error", "exit", "done"]);
    assert_eq!(data(&events, "error"), ["Command timed out after 1s"]);
    let exit = &events[3];
    assert_eq!((&exit["data"], &exit["success"]), (&Value::Null, &json!(false)));
    until("the command's tree to be gone", async || {
        let events = bharat.exec("ps -ef | grep -c '[s]leep 3033'").await;
        data(&events, "stdout") == ["0"]
    })
    .await;
}

#[tokio::test]
async fn a_time_out_of_nothing_is_the_configured_one() {
    let short = setup().env("SANDTREE_DIALECTS__BHARATBUILD__COMMAND_TIMEOUT", "1s");
    let bharat = Bharat::with(short, "p").await;
    for timeout in [json!(0), Value::Null] {
        let body = json!({ "command": "sleep 60", "timeout": timeout });
        let events = bharat.events("exec", &body).await;
        assert_eq!(data(&events, "error"), ["Command timed out after 1s"], "{timeout}");
    }
}

#[tokio::test]
async fn a_container_can_have_a_time_out_of_its_own() {
    let server = setup().start().await;
    let bharat = Bharat { client: server.client(), server, id: "p".to_owned() };
    let body = json!({ "config": { "command_timeout": 1 } });
    let _ = bharat.post("create", &body).await.expect(200);
    let events = bharat.events("exec", &json!({ "command": "sleep 60" })).await;
    assert_eq!(data(&events, "error"), ["Command timed out after 1s"]);
    let events = bharat.events("exec/batch", &json!({ "commands": ["sleep 60", "true"] })).await;
    assert_eq!(data(&events, "error"), ["Command timed out after 1s"]);
    assert_eq!(events[events.len() - 2], json!({ "type": "batch_stopped", "reason": "error" }));
    let longer = json!({ "command": "sleep 2", "timeout": 60 });
    let events = bharat.events("exec", &longer).await;
    assert_eq!(data(&events, "error"), [""; 0], "a request says more than its container");
}

#[tokio::test]
async fn what_the_validator_refuses_is_told_and_starts_nothing() {
    let bharat = Bharat::running("p").await;
    for (command, message) in [
        ("touch ran; sudo ls", "Blocked: Blocked command pattern: sudo"),
        ("touch ran; echo $(id)", "Blocked: Dangerous pattern detected"),
        ("touch ran; ls /etc/", "Blocked: Path traversal detected"),
        ("  ", "Blocked: Empty command"),
    ] {
        let events = bharat.exec(command).await;
        assert_eq!(kinds(&events), ["error", "done"], "{command}");
        assert_eq!(data(&events, "error"), [message], "{command}");
    }
    let missing =
        bharat.post("files/verify", &json!({ "paths": ["ran"] })).await.expect(200).json();
    assert_eq!(missing["missing"], json!(["ran"]), "none of them ran");
}

#[tokio::test]
async fn the_validator_has_modes() {
    let strict = setup().env("SANDTREE_DIALECTS__BHARATBUILD__VALIDATOR", "strict");
    let bharat = Bharat::with(strict, "p").await;
    let events = bharat.exec("npm publish").await;
    assert_eq!(data(&events, "error"), ["Blocked: Argument 'publish' not allowed for 'npm'"]);
    let events = bharat.exec("ls && bash").await;
    assert_eq!(data(&events, "error"), ["Blocked: Command 'bash' not in whitelist"]);
    assert_eq!(data(&bharat.exec("echo fine").await, "stdout"), ["fine"]);

    let off = setup().env("SANDTREE_DIALECTS__BHARATBUILD__VALIDATOR", "off");
    let bharat = Bharat::with(off, "p").await;
    assert_eq!(data(&bharat.exec("echo $(echo docker)").await, "stdout"), ["docker"]);
}

#[tokio::test]
async fn commands_for_nobody_are_told_in_the_stream() {
    let server = setup().start().await;
    let client = server.client();
    let answer = client.post("/api/v1/containers/none/exec", &json!({ "command": "ls" })).await;
    let told = events(&answer.expect(200));
    assert_eq!(kinds(&told), ["error", "done"]);
    assert_eq!(data(&told, "error"), ["Container not found. Create project first."]);
    let body = json!({ "commands": ["ls", "ls"] });
    let answer = client.post("/api/v1/containers/none/exec/batch", &body).await;
    let told = events(&answer.expect(200));
    assert_eq!(kinds(&told), ["command_start", "error", "batch_stopped", "done"]);

    let path = "/api/v1/containers/none/exec";
    for body in [
        json!({}),
        json!({ "command": 3 }),
        json!({ "command": "ls", "timeout": -1 }),
        json!({ "command": "ls", "timeout": 86_401 }),
        json!({ "command": "ls", "tty": "yes" }),
    ] {
        let answer = client.post(path, &body).await.expect(422).json();
        assert!(answer["detail"].is_string(), "{body}: {answer}");
    }
}

#[tokio::test]
async fn a_batch_stops_at_the_first_failure_or_goes_on() {
    let bharat = Bharat::running("p").await;
    let commands = json!(["echo a", "false", "echo b"]);
    let events = bharat.events("exec/batch", &json!({ "commands": commands })).await;
    let one = ["command_start", "system", "status", "stdout", "exit"];
    let two = ["command_start", "system", "status", "exit", "batch_stopped", "done"];
    assert_eq!(kinds(&events), [&one[..], &two[..]].concat());
    assert_eq!(events[0], json!({ "type": "command_start", "index": 0, "command": "echo a" }));
    assert_eq!(events[9], json!({ "type": "batch_stopped", "reason": "error" }));

    let body = json!({ "commands": ["sudo x", "echo b"], "stop_on_error": false });
    let events = bharat.events("exec/batch", &body).await;
    assert_eq!(kinds(&events)[..2], ["command_start", "error"]);
    assert_eq!(data(&events, "stdout"), ["b"]);
    let none = bharat.events("exec/batch", &json!({ "commands": [] })).await;
    assert_eq!(kinds(&none), ["done"]);
}

#[tokio::test]
async fn a_client_that_goes_away_takes_its_command_along() {
    let bharat = Bharat::running("p").await;
    let path = bharat.path("exec");
    let call = bharat.client.request(hyper::Method::POST, &path);
    let mut lines = call.json(&json!({ "command": "echo up; sleep 3034" })).lines().await;
    loop {
        let line = lines.next().await.expect("the command's output");
        if line.contains("\"up\"") {
            break;
        }
    }
    drop(lines);
    until("the command to be gone", async || {
        let events = bharat.exec("ps -ef | grep -c '[s]leep 3034'").await;
        data(&events, "stdout") == ["0"]
    })
    .await;
}

#[tokio::test]
async fn output_of_any_kind_and_amount_is_told() {
    let bharat = Bharat::running("p").await;
    let events = bharat.exec(r"printf '\377\300 odd\n\r\n\033[31mred\033[0m\n'").await;
    assert_eq!(data(&events, "stdout"), ["\u{fffd}\u{fffd} odd", "", "\u{1b}[31mred\u{1b}[0m"]);
    let events = bharat.exec("seq 1 20000").await;
    let lines = data(&events, "stdout");
    assert_eq!((lines.len(), lines[0], lines[19_999]), (20_000, "1", "20000"));
}

#[tokio::test]
async fn a_command_sees_a_terminal_if_it_is_asked_for() {
    let bharat = Bharat::running("p").await;
    let command = "test -t 1 && echo terminal; echo oops >&2; exit 3";
    let events = bharat.events("exec", &json!({ "command": command, "tty": true })).await;
    assert_eq!(data(&events, "stdout"), ["terminal", "oops"], "{events:?}");
    assert_eq!(events[events.len() - 2]["data"], 3);
    assert_eq!(data(&bharat.exec(command).await, "stdout"), [""; 0]);
    let sleep = json!({ "command": "sleep 3036", "tty": true, "timeout": 1 });
    let events = bharat.events("exec", &sleep).await;
    assert_eq!(data(&events, "error"), ["Command timed out after 1s"]);
    until("the command to be gone", async || {
        let events = bharat.exec("ps -ef | grep -c '[s]leep 3036'").await;
        data(&events, "stdout") == ["0"]
    })
    .await;
}

#[tokio::test]
async fn what_a_command_left_behind_lives_on() {
    let bharat = Bharat::running("p").await;
    let events = bharat.exec("sleep 3035 > log 2>&1 & echo started").await;
    assert_eq!(data(&events, "stdout"), ["started"]);
    let events = bharat.exec("ps -ef | grep -c '[s]leep 3035'").await;
    assert_eq!(data(&events, "stdout"), ["1"]);
}

#[tokio::test]
async fn a_container_that_is_stopped_or_frozen_runs_for_a_command() {
    let bharat = Bharat::running("p").await;
    let _ = bharat.post_empty("stop").await.expect(200);
    assert_eq!(data(&bharat.exec("echo up").await, "stdout"), ["up"]);
    Project::existing(&bharat.client, "p").operate("pause").await;
    assert_eq!(bharat.get("status").await.expect(200).json()["status"], "paused");
    assert_eq!(data(&bharat.exec("echo up").await, "stdout"), ["up"]);
}
