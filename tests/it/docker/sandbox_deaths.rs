//! A sandbox whose init is killed, by a signal from the host or because memory ran out,
//! and one that has no memory left and lives. Each outcome is a row of docs/OPERATIONS.md.

use rustix::process::{Pid, Signal, kill_process};
use sandtree_testkit::docker::docker;
use sandtree_testkit::{Response, TestServer, until};
use serde_json::{Value, json};

use crate::support::{Project, server};

/// Little memory, so that it is soon used up.
const MEMORY_BYTES: u64 = 64 * 1024 * 1024;
/// Files in `/tmp` are memory, and outlive the program that wrote them.
const FILL: &str = "for n in 1 2 3 4 5 6 7 8; do cat /dev/zero > /tmp/filler-$n; done";

/// A project with little memory, a file, and a process that is to run always.
async fn small_one(server: &TestServer) -> Project {
    let body = json!({ "id": "demo", "profile": "small", "start": true,
        "limits": { "memory_bytes": MEMORY_BYTES } });
    let project = Project::create(&server.client(), &body).await;
    project.write("kept.txt", "kept\n").await;
    project.put_process(&json!({ "argv": ["sleep", "1000"], "restart": "on-failure" })).await;
    project
}

fn number(shown: &Value, of: &str) -> u64 {
    shown[of].as_u64().unwrap_or_else(|| panic!("{of} in {shown}"))
}

/// The sandbox was started again, once, in the same container: its process in a new
/// epoch, its files as they were.
async fn was_started_again(project: &Project, before: &Value, why: &str) {
    let since = number(before, "generation");
    until("the project to run again", async || {
        let shown = project.show().await;
        assert!(matches!(shown["phase"].as_str(), Some("running" | "starting")), "{shown}");
        shown["phase"] == "running" && number(&shown, "generation") > since
    })
    .await;
    project.wait_for_exec().await;
    let shown = project.show().await;
    assert_eq!(shown["reason"], why);
    assert_eq!(number(&shown, "generation"), since + 2, "lost, and started once: {shown}");
    assert_eq!(shown["sandbox"]["container_id"], before["sandbox"]["container_id"]);
    assert_eq!(project.sh("cat kept.txt").await, "kept\n");
    until("the process in a new epoch", async || {
        let process = project.process().await;
        process["state"] == "running" && process["epoch"] != before["process"]["epoch"]
    })
    .await;
}

#[tokio::test]
async fn an_init_that_the_host_kills_is_started_again_with_what_should_run() {
    let server = server().start().await;
    let (client, project) = (server.client(), small_one(&server).await);
    let mut terminal = client.terminal("demo", "cols=80&rows=24").await;
    terminal.type_text("echo fi''rst\r").await;
    terminal.wait_for_screen("the first shell", |screen| screen.contains("first")).await;
    let before = project.show().await;
    assert!(before["terminal"]["pid"].is_u64(), "{before}");

    let container = before["sandbox"]["container_id"].as_str().expect("a container");
    let pid = docker(&["inspect", "--format", "{{.State.Pid}}", container]).expect("its pid");
    let pid = pid.trim().parse().ok().and_then(Pid::from_raw).expect("a pid of this host");
    kill_process(pid, Signal::KILL).expect("a signal to init");

    was_started_again(&project, &before, "the sandbox ended behind our back").await;
    terminal.wait_for_close().await;
    assert!(project.show().await["terminal"].is_null(), "nobody looks, so there is no shell");
    let mut terminal = client.terminal("demo", "cols=80&rows=24").await;
    terminal.type_text("echo se''cond\r").await;
    let screen = terminal.wait_for_screen("a new shell", |it| it.contains("second")).await;
    assert!(!screen.contains("first"), "{screen}");
}

#[tokio::test]
async fn a_program_that_takes_all_memory_is_killed_alone() {
    let server = server().start().await;
    let project = small_one(&server).await;
    let before = project.show().await;
    // It keeps a line that does not end.
    let killed = project.exec("exec tail /dev/zero").await;
    assert_eq!((&killed["exit_code"], &killed["signal"]), (&json!(137), &json!("KILL")));
    assert_eq!(project.sh("cat kept.txt").await, "kept\n");
    let after = project.show().await;
    assert_eq!(after["generation"], before["generation"], "{after}");
    assert_eq!(after["process"], before["process"], "{after}");
}

#[tokio::test]
async fn a_sandbox_that_is_killed_as_a_whole_for_memory_says_so_and_starts_again() {
    // What init keeps for viewers is the sandbox's memory, too. With more than a fifth of
    // it, init is what the kernel takes first.
    const RING_BYTES: u64 = MEMORY_BYTES / 2;
    let setup = server().env("SANDTREE_TREE__TERMINAL_RING_BYTES", RING_BYTES.to_string());
    let server = setup.start().await;
    let (client, project) = (server.client(), small_one(&server).await);
    let mut terminal = client.terminal("demo", "cols=80&rows=24").await;
    terminal.type_text(&format!("head -c {RING_BYTES} /dev/zero; echo fi''lled\r")).await;
    terminal.wait_for_screen("a full ring", |screen| screen.contains("filled")).await;
    let before = project.show().await;

    let body = json!({ "command": FILL });
    let killed = project.post("exec", &body).await.expect(502);
    assert_eq!(killed.problem().0, "sandbox-unreachable");
    let _ = client.get("/health").await.expect(200);
    was_started_again(&project, &before, "the sandbox ran out of memory").await;
    assert_eq!(project.sh("ls /tmp").await, "", "what filled the memory is gone with it");
}

#[tokio::test]
async fn files_that_fill_the_memory_are_gone_with_a_restart() {
    let server = server().env("SANDTREE_PROFILES__SMALL__RESTARTS_MAX", "100").start().await;
    let project = small_one(&server).await;
    until("a command that cannot even begin", async || {
        for command in [FILL, "true"] {
            let answer = project.post("exec", &json!({ "command": command })).await;
            if command == "true" && !(answer.status == 200 && answer.json()["exit_code"] == 0) {
                was_killed(&answer);
                return true;
            }
        }
        false
    })
    .await;
    assert_eq!(project.read("kept.txt").await, "kept\n", "the server reads it, not the sandbox");
    project.operate("restart").await;
    assert_eq!(project.sh("cat kept.txt; ls /tmp").await, "kept\n");
}

/// That a command was ended by the kernel, alone or with its init, and that this is said.
fn was_killed(answer: &Response) {
    match answer.status {
        200 => assert_eq!(answer.json()["signal"], "KILL", "{answer:?}"),
        502 => assert_eq!(answer.problem().0, "sandbox-unreachable", "{answer:?}"),
        409 => assert_eq!(answer.problem().0, "wrong-phase", "{answer:?}"),
        _ => panic!("{answer:?}"),
    }
}
