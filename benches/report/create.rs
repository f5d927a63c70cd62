//! From nothing to the first output of a command.
//!
//! The raw container is created from the very configuration that the server gave its own:
//! the same image, user, limits, seccomp profile, capabilities, read-only root and
//! temporary file systems. It has the mount of a workspace, and none of what only the
//! server needs: init, its socket, the two files with names of users.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::ensure;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::docker::Docker;
use crate::report::{Row, Verdict};
use crate::samples::{Samples, ms, ratio, times};
use crate::server::{Project, Server};
use crate::{Bench, IMAGE};

/// Sandboxes of each kind.
const ROUNDS: usize = 25;
/// How many times Docker's it may take, at p50.
const RATIO_MAX: f64 = 1.1;
/// What is written first.
const WORD: &str = "hello";

/// Times of the steps on both ways.
#[derive(Default)]
struct Steps {
    ours: [Samples; 3],
    docker: [Samples; 4],
}

pub(crate) async fn measure(bench: &mut Bench, project: &Project) -> anyhow::Result<()> {
    let workspace = bench.server.scratch()?;
    let body = raw_body(bench, project, workspace.path()).await?;
    let mut steps = Steps::default();
    for round in 0..=ROUNDS {
        // Whoever is second pays for the other's clean-up, so they take turns.
        for turn in 0..2 {
            let counted = (round > 0).then_some(&mut steps);
            if (round + turn) % 2 == 0 {
                ours(&mut bench.server, &format!("create-{round}"), counted).await?;
            } else {
                theirs(&mut bench.docker, &body, counted).await?;
            }
        }
    }
    report(&steps, bench);
    Ok(())
}

/// A container like the server's own, with a workspace.
pub(crate) async fn raw_body(
    bench: &mut Bench,
    project: &Project,
    workspace: &Path,
) -> anyhow::Result<Value> {
    std::fs::set_permissions(workspace, Permissions::from_mode(0o777))?;
    let like = bench.docker.inspect(&project.container).await?;
    let mounts = [mount(workspace, sandtree_wire::WORKSPACE, false)];
    Ok(container_like(&like, &mounts, &["/bin/sleep", "600"]))
}

async fn ours(server: &mut Server, id: &str, counted: Option<&mut Steps>) -> anyhow::Result<()> {
    let times = created(server, id).await?;
    if let Some(steps) = counted {
        add(&mut steps.ours, times);
    }
    Ok(())
}

/// Creates a project, has it say a word, and deletes it. How long it took until the word
/// was here; of that, the create, and the word.
pub(crate) async fn created(server: &mut Server, id: &str) -> anyhow::Result<[Duration; 3]> {
    let began = Instant::now();
    let project = server.create(id).await?;
    let created = began.elapsed();
    let done = server.exec(&project.id, &["echo", WORD]).await?;
    let total = began.elapsed();
    ensure!(done["stdout"] == format!("{WORD}\n"), "echo said {done}");
    server.delete(&project.id).await?;
    Ok([total, created, total - created])
}

async fn theirs(
    docker: &mut Docker,
    body: &Value,
    counted: Option<&mut Steps>,
) -> anyhow::Result<()> {
    let began = Instant::now();
    let id = docker.create(body.clone()).await?;
    let created = began.elapsed();
    docker.start(&id).await?;
    let started = began.elapsed();
    let (_, output) = docker.exec_output(&id, &["echo", WORD]).await?;
    let total = began.elapsed();
    ensure!(output == format!("{WORD}\n").as_bytes(), "Docker's echo said {output:?}");
    docker.remove(&id).await?;
    if let Some(steps) = counted {
        add(&mut steps.docker, [total, created, started - created, total - started]);
    }
    Ok(())
}

pub(crate) fn add<const N: usize>(samples: &mut [Samples; N], times: [Duration; N]) {
    for (samples, time) in samples.iter_mut().zip(times) {
        samples.add(time);
    }
}

fn report(steps: &Steps, bench: &mut Bench) {
    let [ours, our_create, our_exec] = &steps.ours;
    let [theirs, create, start, exec] = &steps.docker;
    let slower = ratio(ours.p50(), theirs.p50());
    bench.report.add(Row {
        what: "create to first output, cold".into(),
        budget: format!("<= {RATIO_MAX} times Docker's"),
        ours: times(ours),
        beside: format!("Docker {}", times(theirs)),
        ratio: format!("{slower:.2} times as long"),
        verdict: Verdict::of(slower <= RATIO_MAX),
    });
    let p50 = |samples: &Samples| ms(samples.p50());
    bench.report.add(Row {
        beside: format!("create {}, start {}, exec {}", p50(create), p50(start), p50(exec)),
        ..Row::told("  of which", format!("create {}, exec {}", p50(our_create), p50(our_exec)))
    });
    let lines = [("sandtree, cold", ours), ("Docker's API", theirs)];
    bench.report.shares("create", "Create to first output: share done after so long", &lines);
}

/// The configuration of a container like the one that was inspected, but for its mounts
/// and its command.
pub(crate) fn container_like(like: &Value, mounts: &[Value], command: &[&str]) -> Value {
    let (config, mut host) = (&like["Config"], like["HostConfig"].clone());
    host["Mounts"] = json!(mounts);
    json!({
        "Image": IMAGE,
        "User": config["User"],
        "Hostname": config["Hostname"],
        "WorkingDir": config["WorkingDir"],
        "NetworkDisabled": config["NetworkDisabled"],
        "StopSignal": "SIGKILL",
        "Entrypoint": command,
        "Cmd": [],
        "HostConfig": host,
    })
}

/// A mount of a directory or a file of this machine.
pub(crate) fn mount(source: &Path, target: &str, read_only: bool) -> Value {
    json!({ "Type": "bind", "Source": source, "Target": target, "ReadOnly": read_only })
}
