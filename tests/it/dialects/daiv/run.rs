//! `POST /session/{id}/`: what commands see, and what is told of them.

use sandtree_testkit::until;
use serde_json::json;

use super::{GENERAL, Session, server};

/// Command, output, exit code: the same with bash and with a busybox.
const ANYWHERE: &[(&str, &str, i64)] = &[
    ("echo hi", "hi\n", 0),
    ("exit 3", "", 3),
    ("exit 300", "", 44),
    ("cat", "", 0),
    ("pwd", "/workspace/repo\n", 0),
    ("id -u; id -g", "1000\n1000\n", 0),
    ("echo a; echo b >&2; echo c", "a\nb\nc\n", 0),
    ("printf 'a\\377b'", "a\u{fffd}b", 0),
    ("true | true", "", 0),
    ("false | true", "", 1),
    ("echo a\n# b\necho c >&2", "a\nc\n", 0),
    ("# nothing", "", 0),
    ("", "", 0),
    ("kill -9 $$", "", 137),
    ("echo $HOME", "/home/daiv-sandbox\n", 0),
    ("echo $XDG_CACHE_HOME", "/home/daiv-sandbox/.cache\n", 0),
    ("echo $XDG_CONFIG_HOME", "/home/daiv-sandbox/.config\n", 0),
    ("echo $XDG_STATE_HOME", "/home/daiv-sandbox/.local/state\n", 0),
    ("echo $XDG_DATA_HOME", "/home/daiv-sandbox/.local/share\n", 0),
    ("echo $MINE", "of the session\n", 0),
    ("ls /workspace", "repo\nskills\ntmp\n", 0),
    ("for d in / /repo /skills /tmp; do touch /workspace$d/x && rm /workspace$d/x; done", "", 0),
    ("touch $HOME/x && ls $HOME", "x\n", 0),
    ("ls /sys/class/net", "lo\n", 0),
];

#[tokio::test]
async fn a_command_ends_as_the_contract_says_with_bash_and_with_a_busybox() {
    let server = server().start().await;
    for image in [GENERAL, super::SMALL] {
        let body = json!({ "base_image": image, "environment": { "MINE": "of the session" } });
        let session = Session::start(&server.client(), &body).await;
        let commands: Vec<_> = ANYWHERE.iter().map(|(command, _, _)| command).collect();
        let results = session.run(&json!({ "commands": commands })).await;
        assert_eq!(results.len(), ANYWHERE.len());
        for (result, (command, output, exit_code)) in results.iter().zip(ANYWHERE) {
            let expected = json!({ "command": command, "output": output, "exit_code": exit_code });
            assert_eq!(*result, expected, "{image}");
        }
        let (output, code) = session.sh("no-such-program").await;
        assert!(code == 127 && output.contains("no-such-program"), "{image}: {output}");
        let (output, code) = session.sh("echo a; if").await;
        assert!(code == 2 && output.contains("yntax error"), "{image}: {output}");
        let bash = session.sh("[ -n \"$BASH_VERSION\" ] && echo bash").await;
        assert_eq!(bash.0 == "bash\n", image == GENERAL, "bash runs where it is: {bash:?}");
        assert_eq!(session.run(&json!({ "commands": [] })).await, Vec::<serde_json::Value>::new());
    }
}

#[tokio::test]
async fn a_failure_is_the_last_with_fail_fast_alone() {
    let server = server().start().await;
    let session = Session::small(&server.client()).await;
    let codes = async |body| {
        let results = session.run(&body).await;
        results.iter().map(|result| result["exit_code"].as_i64()).collect::<Vec<_>>()
    };
    let commands = json!(["true", "exit 2", "exit 3"]);
    assert_eq!(codes(json!({ "commands": commands })).await, [Some(0), Some(2), Some(3)]);
    let fast = json!({ "commands": commands, "fail_fast": true });
    assert_eq!(codes(fast).await, [Some(0), Some(2)]);
}

#[tokio::test]
async fn a_command_whose_time_is_over_ends_with_all_that_it_started() {
    let server = server().start().await;
    let session = Session::small(&server.client()).await;
    let long = "sleep 1000 & echo $! > /workspace/tmp/pid; (setsid sleep 1000 & echo $! \
                > /workspace/tmp/other); echo shown; wait";
    let results = session.run(&json!({ "commands": [long, "echo no"], "timeout": 1 })).await;
    let output = "Command timed out after 1s";
    assert_eq!(results, [json!({ "command": long, "output": output, "exit_code": 124 })]);
    for pid in ["pid", "other"] {
        let (output, code) = session.sh(&format!("kill -0 $(cat /workspace/tmp/{pid})")).await;
        assert!(code != 0, "{pid} still runs: {output}");
    }
    // No limit is no limit.
    let results = session.run(&json!({ "commands": ["echo hi"], "timeout": 0 })).await;
    assert_eq!(results[0]["output"], "hi\n");
}

#[tokio::test]
async fn the_servers_own_limit_holds_where_a_request_has_none() {
    let limited = server().env("SANDTREE_DIALECTS__DAIV__COMMAND_TIMEOUT", "1s");
    let server = limited.start().await;
    let session = Session::small(&server.client()).await;
    let (output, code) = session.sh("sleep 1000").await;
    assert_eq!((output.as_str(), code), ("Command timed out after 1s", 124));
    let results = session.run(&json!({ "commands": ["sleep 2"], "timeout": 0 })).await;
    assert_eq!(results[0]["exit_code"], 0, "0 is none: {results:?}");
}

#[tokio::test]
async fn a_background_job_does_not_hold_the_reply_and_lives_on() {
    let server = server().start().await;
    let session = Session::small(&server.client()).await;
    let output = session.ok("sleep 1000 & echo $!").await;
    session.ok(&format!("kill -0 {output}")).await;
}

#[tokio::test]
async fn limits_and_network_are_as_asked_for() {
    let server = server().start().await;
    let body = json!({
        "base_image": super::SMALL, "memory_bytes": 67_108_864, "cpus": 0.5,
        "network_enabled": true,
    });
    let session = Session::start(&server.client(), &body).await;
    let shown = session.client.get(&session.project()).await.expect(200).json();
    assert_eq!(
        (&shown["limits"]["memory_bytes"], &shown["limits"]["cpu_millis"]),
        (&json!(67_108_864), &json!(500))
    );
    let interfaces = session.ok("ls /sys/class/net | wc -l").await;
    assert_eq!(interfaces.trim(), "2", "the loopback and one more");
}

#[tokio::test]
async fn an_image_that_cannot_be_had_is_a_failure_of_the_server() {
    let quick = server().env("SANDTREE_DOCKER__PULL_BEGIN_TIMEOUT", "1s");
    let server = quick.start().await;
    let body = json!({ "base_image": "registry.invalid/no/such:image" });
    let answer = server.client().post("/session/", &body).await.expect(500).json();
    assert!(answer["detail"].is_string(), "{answer}");
    // What was begun is cleared up beside the answer.
    until("its directory to be gone", async || {
        let left = std::fs::read_dir(server.data_dir().join("sandboxes"));
        left.map_or(true, |mut left| left.next().is_none())
    })
    .await;
    server.assert_no_leftovers();
}
