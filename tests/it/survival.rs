//! What lives through the death of the server, in the middle of everything.

use std::collections::BTreeSet;

use hyper::Method;
use sandtree_testkit::{Client, Terminal, TestServer, until};
use serde_json::{Value, json};
use tokio::task::{JoinHandle, JoinSet};

use crate::support::{Project, server};

/// Writes a numbered line each millisecond, and catches up when it is late.
const LOGGER: &str = r"
import time
begun, number = time.monotonic(), 0
while True:
    ahead = begun + number / 1000 - time.monotonic()
    if ahead > 0:
        time.sleep(ahead)
    print(number, flush=True)
    number += 1
";

/// Numbers the shell's output; ends by itself, long after the test.
const SHELL_LOOP: &str =
    "stty -echo; n=0; while [ $n -lt 60000 ]; do echo tick $n.; n=$((n+1)); sleep 0.005; done\r";

/// Projects in each of the states of [`STATES`]; with the busy one and the one that is
/// written to they are twenty.
const OF_EACH: usize = 3;

/// What a project is before the kill, what is asked of it right before, and where it has
/// to be in the end.
struct State {
    name: &'static str,
    is_started: bool,
    settled_by: Option<&'static str>,
    asked: Option<&'static str>,
    ends: &'static str,
}

#[rustfmt::skip]
const STATES: &[State] = &[
    State { name: "running",  is_started: true,  settled_by: None,          asked: None,           ends: "running" },
    State { name: "stopped",  is_started: true,  settled_by: Some("stop"),  asked: None,           ends: "stopped" },
    State { name: "paused",   is_started: true,  settled_by: Some("pause"), asked: None,           ends: "paused" },
    State { name: "starting", is_started: false, settled_by: None,          asked: Some("start"),  ends: "running" },
    State { name: "stopping", is_started: true,  settled_by: None,          asked: Some("stop"),   ends: "stopped" },
    State { name: "deleting", is_started: true,  settled_by: None,          asked: Some("delete"), ends: "deleted" },
];

impl State {
    fn ids(&self) -> impl Iterator<Item = String> {
        (0..OF_EACH).map(|n| format!("{}-{n}", self.name))
    }
}

#[tokio::test]
async fn everything_is_as_it_was_asked_to_be_after_a_kill_in_the_middle() {
    let mut server = server().start().await;
    let client = server.client();
    let busy = Project::running(&client, "busy").await;
    let process = busy.put_process(&json!({ "argv": ["python3", "-u", "-c", LOGGER] })).await;
    settle_all(&client).await;
    let (mut terminal, shell) = open_terminal(&busy).await;
    let writer = write_on(&Project::small(&client, "written").await);
    until("lines in the log", async || busy.log().await.lines().count() > 500).await;
    terminal.wait_for_output("output", |seen| ticks(seen).len() > 100).await;
    let before = busy.show().await;

    ask_all(&client).await;
    server.kill9().await;
    let written = writer.await.expect("a writer that ends with the server");
    server.restart().await;

    let client = server.client();
    let busy = Project::existing(&client, "busy");
    busy.wait_for_exec().await;
    let after = busy.show().await;
    assert_eq!(after["generation"], before["generation"], "nothing moved");
    assert_eq!(after["sandbox"], before["sandbox"], "the same container");
    assert_eq!(after["process"]["pid"], process["pid"], "the same process");
    assert_eq!(after["process"]["epoch"], process["epoch"], "the same run of it");
    every_tick_once(&busy, &terminal, &shell).await;
    every_line_once(&busy).await;
    every_file_whole(&client, written).await;
    everyone_arrives(&server, &client).await;
}

/// Opens the terminal, asks the shell who it is, and makes it talk.
async fn open_terminal(busy: &Project) -> (Terminal, Value) {
    let mut terminal = busy.client.terminal(&busy.id, "cols=80&rows=24").await;
    let shell = busy.show().await["terminal"]["pid"].clone();
    terminal.type_text("echo pid=$$.\r").await;
    let says = format!("pid={shell}.");
    terminal.wait_for_screen("the shell's own pid", |screen| screen.contains(&says)).await;
    terminal.type_text(SHELL_LOOP).await;
    (terminal, shell)
}

/// The complete numbers in output of [`SHELL_LOOP`].
fn ticks(output: &[u8]) -> Vec<u64> {
    let text = String::from_utf8_lossy(output);
    let pieces = text.split("tick ").skip(1).filter_map(|rest| rest.split_once('.'));
    pieces.filter_map(|(number, _)| number.parse().ok()).collect()
}

/// What both viewers saw, one after the other, is what the shell wrote.
async fn every_tick_once(busy: &Project, before: &Terminal, shell: &Value) {
    let query = format!("cols=80&rows=24&after={}", before.cursor());
    let mut after = busy.client.terminal(&busy.id, &query).await;
    after.wait_for_output("more output of the shell", |more| ticks(more).len() > 200).await;
    assert_eq!(after.gap_bytes(), 0, "the ring is large enough for what was missed");
    let ticks = ticks(&[before.output(), after.output()].concat());
    let expected: Vec<u64> = (0..ticks.len() as u64).collect();
    assert_eq!(ticks, expected, "the bytes of both viewers, one after the other");
    assert_eq!(busy.show().await["terminal"]["pid"], *shell, "the same shell");
    after.type_text("\x03").await;
    after.type_text("echo pid=$$.\r").await;
    let says = format!("pid={shell}.");
    after.wait_for_screen("the same shell", |screen| screen.contains(&says)).await;
}

async fn every_line_once(busy: &Project) {
    let before = busy.log().await.lines().count();
    until("more lines", async || busy.log().await.lines().count() > before + 500).await;
    let _ = busy.client.delete(&busy.path("process")).await.expect(200);
    let log = busy.log().await;
    let numbers: Vec<usize> = log.lines().map(|line| line.parse().expect("a number")).collect();
    let wrong = numbers.iter().enumerate().find(|(at, number)| at != *number);
    assert_eq!(wrong, None, "of {} lines, the first at a wrong place", numbers.len());
}

/// Writes file after file until the server does not answer; how many it acknowledged.
fn write_on(project: &Project) -> JoinHandle<usize> {
    let project = project.clone();
    tokio::spawn(async move {
        for n in 0.. {
            let path = project.path(&format!("files/deep/{n}.txt"));
            let call = project.client.request(Method::PUT, &path);
            match call.body("text/plain", content(n)).try_send().await {
                Ok(answer) => assert!(matches!(answer.status, 200 | 201 | 204), "{answer:?}"),
                Err(_) => return n,
            }
        }
        unreachable!("the numbers do not end")
    })
}

fn content(n: usize) -> String {
    format!("{n}\n").repeat(200)
}

async fn every_file_whole(client: &Client, acknowledged: usize) {
    let project = Project::existing(client, "written");
    assert!(acknowledged > 0, "nothing was written before the kill");
    for n in 0..acknowledged {
        assert_eq!(project.read(&format!("deep/{n}.txt")).await, content(n), "file {n}");
    }
    // The one that was not acknowledged is there as a whole, or not at all.
    let last = project.get(&format!("files/deep/{acknowledged}.txt")).await;
    assert!(last.status == 404 || last.text() == content(acknowledged), "{last:?}");
    let staged = project.sh("find . -type f ! -name '*.txt'").await;
    assert_eq!(staged, "", "no staging file is left in the workspace");
}

/// Brings each project to the state before the kill.
async fn settle_all(client: &Client) {
    let mut tasks = JoinSet::new();
    for state in STATES {
        for id in state.ids() {
            let client = client.clone();
            let body = json!({ "id": id, "profile": "small", "start": state.is_started });
            tasks.spawn(async move {
                let project = Project::create(&client, &body).await;
                if let Some(operation) = state.settled_by {
                    project.operate(operation).await;
                }
            });
        }
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("a project");
    }
}

/// Asks for what is not done yet when the server dies.
async fn ask_all(client: &Client) {
    let mut tasks = JoinSet::new();
    for state in STATES {
        let Some(asked) = state.asked else { continue };
        for id in state.ids() {
            let client = client.clone();
            tasks.spawn(async move {
                let project = Project::existing(&client, &id);
                let (method, below) =
                    if asked == "delete" { (Method::DELETE, "") } else { (Method::POST, asked) };
                let call = client.request(method, &project.path(below));
                let _ = call.header("prefer", "respond-async").send().await.expect(202);
            });
        }
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("an intent that is committed");
    }
}

async fn everyone_arrives(server: &TestServer, client: &Client) {
    let mut owned = BTreeSet::new();
    for state in STATES {
        for id in state.ids() {
            let project = Project::existing(client, &id);
            if state.ends == "deleted" {
                until(&format!("{id} to be gone"), async || project.get("").await.status == 404)
                    .await;
            } else {
                owned.extend(sandbox_of(&project.wait_for(state.ends).await));
            }
        }
    }
    for id in ["busy", "written"] {
        owned.extend(sandbox_of(&Project::existing(client, id).wait_for("running").await));
    }
    assert_eq!(owned.len(), 5 * OF_EACH + 2, "a sandbox for all but the deleted");
    let containers = server.containers();
    let found: BTreeSet<String> = containers.iter().map(|it| it.sandbox.clone()).collect();
    assert_eq!(found, owned, "an orphan, or a container that is missing");
    assert_eq!(containers.len(), owned.len(), "two containers of one sandbox: {containers:?}");
}

fn sandbox_of(shown: &Value) -> Option<String> {
    shown["sandbox"]["uid"].as_str().map(str::to_owned)
}
