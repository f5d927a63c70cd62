//! The command line, as a user types it: the real program against a real server.

#[path = "cli/cp.rs"]
mod cp;
#[path = "cli/exec.rs"]
mod exec;
#[path = "cli/logs.rs"]
mod logs;
#[path = "cli/project.rs"]
mod project;
#[path = "cli/scripted.rs"]
mod scripted;
#[path = "cli/shell.rs"]
mod shell;
#[path = "cli/top_and_bench.rs"]
mod top_and_bench;

use std::process::Stdio;

use sandtree_testkit::{LONG, TestServer, within};
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};

const PROGRAM: &str = env!("CARGO_BIN_EXE_sandtree");

/// How a command ended and what it said.
#[derive(Debug)]
struct Ran {
    code: i32,
    stdout: Vec<u8>,
    stderr: String,
}

impl Ran {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Every line of standard output, as JSON.
    fn json(&self) -> Vec<Value> {
        let lines = self.text();
        let parse = |line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{self:?}"));
        lines.lines().map(parse).collect()
    }

    /// That it did what it was told.
    fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }

    /// That it failed with this code, and said this.
    fn failed(self, code: i32, said: &str) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        assert!(self.stderr.contains(said), "not said: {said:?}: {self:?}");
        self
    }
}

/// Where a server is, for `--server` and `SANDTREE_URL`.
fn url(server: &TestServer) -> String {
    format!("http://{}", server.client().address())
}

/// The program, with a server to ask and nothing else of our environment that it knows.
fn command(server: &TestServer, arguments: &[&str]) -> Command {
    command_at(&url(server), arguments)
}

/// The same for the address of a server.
fn command_at(url: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command
        .args(arguments)
        .env("SANDTREE_URL", url)
        .env_remove("SANDTREE_API_KEY")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

async fn run(server: &TestServer, arguments: &[&str]) -> Ran {
    finish(command(server, arguments).spawn().expect("the program")).await
}

/// Runs it with this standard input.
async fn run_with(server: &TestServer, arguments: &[&str], stdin: &[u8]) -> Ran {
    let mut child = command(server, arguments).stdin(Stdio::piped()).spawn().expect("the program");
    let mut to = child.stdin.take().expect("piped");
    let stdin = stdin.to_vec();
    let feeding = tokio::spawn(async move {
        // A program that has heard enough is no error here.
        let _ = to.write_all(&stdin).await;
    });
    let ran = finish(child).await;
    within(LONG, "standard input to be taken", feeding).await.expect("a task");
    ran
}

async fn finish(child: Child) -> Ran {
    let output = within(LONG, "the program to end", child.wait_with_output()).await;
    let output = output.expect("its output");
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: output.stdout,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Sends a signal to a program of ours.
fn interrupt(child: &Child) {
    let pid = child.id().and_then(|pid| rustix::process::Pid::from_raw(i32::try_from(pid).ok()?));
    let pid = pid.expect("a program that runs");
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("a signal");
}
