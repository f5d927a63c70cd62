//! What lives through the death of the server, in the middle of everything.

use std::collections::BTreeSet;

use sandtree_testkit::{Client, TestServer, until};
use serde_json::{Value, json};

use crate::support::{Project, server};

/// Writes a numbered line each millisecond.
const TICKER: &str = include_str!("../../fixtures/ticker.py");
/// Projects of each kind, and five kinds.
const OF_EACH: usize = 4;

#[tokio::test]
async fn everything_is_as_it_was_asked_to_be_after_a_kill() {
    let mut server = server().start().await;
    let client = server.client();
    let busy = Project::running(&client, "busy").await;
    busy.write("ticker.py", TICKER).await;
    let process = busy.put_process(&json!({ "argv": ["python3", "-u", "ticker.py"] })).await;
    settle_projects(&client).await;
    let mut terminal = client.terminal("busy", "cols=80&rows=24").await;
    terminal.type_text(SHELL_TICKER).await;
    terminal.wait_for_output("output of the shell", |seen| ticks(seen).len() > 100).await;
    until("lines in the log", async || busy.log().await.lines().count() > 500).await;
    let (cursor, seen) = (terminal.cursor(), terminal.output().to_vec());
    let shell = busy.show().await["terminal"]["pid"].clone();

    begin_the_rest(&client).await;
    server.kill9().await;
    server.restart().await;

    let client = server.client();
    let busy = Project::existing(&client, "busy");
    busy.wait_for_exec().await;
    let found = busy.show().await;
    assert_eq!(found["process"]["pid"], process["pid"], "the same process");
    let after = client.terminal("busy", &format!("cols=80&rows=24&after={cursor}")).await;
    every_tick_once(seen, after).await;
    assert_eq!(busy.show().await["terminal"]["pid"], shell, "the same shell");
    every_line_once(&busy).await;
    everyone_arrives(&server, &client).await;
}

/// Numbers the shell's output; ends by itself, long after the test.
const SHELL_TICKER: &str =
    "stty -echo; n=0; while [ $n -lt 60000 ]; do echo tick $n.; n=$((n+1)); sleep 0.002; done\r";

/// The complete numbers in output of [`SHELL_TICKER`].
fn ticks(output: &[u8]) -> Vec<u64> {
    let text = String::from_utf8_lossy(output);
    let pieces = text.split("tick ").skip(1).filter_map(|rest| rest.split_once('.'));
    pieces.filter_map(|(number, _)| number.parse().ok()).collect()
}

async fn every_tick_once(mut seen: Vec<u8>, mut after: sandtree_testkit::Terminal) {
    after.wait_for_output("more output of the shell", |more| ticks(more).len() > 200).await;
    assert_eq!(after.gap_bytes(), 0, "the ring is large enough for this");
    seen.extend_from_slice(after.output());
    let ticks = ticks(&seen);
    let expected: Vec<u64> = (0..ticks.len() as u64).collect();
    assert_eq!(ticks, expected, "the bytes of both viewers, one after the other");
}

async fn every_line_once(busy: &Project) {
    let before = busy.log().await.lines().count();
    until("more lines", async || busy.log().await.lines().count() > before + 500).await;
    let _ = busy.client.delete(&busy.path("process")).await.expect(200);
    let log = busy.log().await;
    let numbers: Vec<u64> = log.lines().map(|line| line.parse().expect("a number")).collect();
    let expected: Vec<u64> = (0..numbers.len() as u64).collect();
    assert!(numbers == expected, "lines are missing or doubled: {}", first_break(&numbers));
}

fn first_break(numbers: &[u64]) -> String {
    let pairs = numbers.windows(2).find(|pair| pair[1] != pair[0] + 1);
    format!("{} lines, broken at {pairs:?}", numbers.len())
}

fn id(kind: &str, n: usize) -> String {
    format!("{kind}-{n}")
}

/// Twenty projects, before the kill.
async fn settle_projects(client: &Client) {
    let mut made = tokio::task::JoinSet::new();
    for n in 0..OF_EACH {
        for kind in ["running", "paused", "deleting", "stopped", "starting"] {
            let client = client.clone();
            let start = matches!(kind, "running" | "paused" | "deleting");
            let body = json!({ "id": id(kind, n), "profile": "small", "start": start });
            made.spawn(async move {
                let project = Project::create(&client, &body).await;
                if kind == "paused" {
                    project.operate("pause").await;
                }
            });
        }
    }
    while let Some(done) = made.join_next().await {
        done.expect("a project");
    }
}

/// Asked for, and not done when the server dies.
async fn begin_the_rest(client: &Client) {
    for n in 0..OF_EACH {
        Project::existing(client, &id("starting", n)).operate_later("start").await;
        let path = format!("/v1/projects/{}", id("deleting", n));
        let delete = client.request(hyper::Method::DELETE, &path);
        let _ = delete.header("prefer", "respond-async").send().await.expect(202);
    }
}

async fn everyone_arrives(server: &TestServer, client: &Client) {
    let mut owned = BTreeSet::new();
    for n in 0..OF_EACH {
        for (kind, phase) in [
            ("running", "running"),
            ("paused", "paused"),
            ("stopped", "stopped"),
            ("starting", "running"),
        ] {
            let shown = Project::existing(client, &id(kind, n)).wait_for(phase).await;
            owned.extend(sandbox_of(&shown));
        }
        let path = format!("/v1/projects/{}", id("deleting", n));
        until("a deletion", async || client.get(&path).await.status == 404).await;
    }
    owned.extend(sandbox_of(&Project::existing(client, "busy").show().await));
    assert_eq!(owned.len(), 3 * OF_EACH + 1, "all but the stopped and the deleted");
    let containers = server.containers();
    let found: BTreeSet<String> = containers.iter().map(|it| it.sandbox.clone()).collect();
    assert_eq!(found, owned, "an orphan, or a container that is missing");
    assert_eq!(containers.len(), owned.len(), "two containers of one sandbox: {containers:?}");
}

fn sandbox_of(shown: &Value) -> Option<String> {
    shown["sandbox"]["uid"].as_str().map(str::to_owned)
}
