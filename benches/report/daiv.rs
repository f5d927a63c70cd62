//! What clients of daiv-sandbox wait for: one-shot commands, sessions, and their files.
//!
//! A server without a pool makes everything cold; a second one has a pool of the two
//! profiles. The raw container is like the server's own, created, started and removed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tokio::process::Command;
use tokio::time::Instant;

use crate::create::raw_body;
use crate::docker::Docker;
use crate::http::Http;
use crate::report::{Row, Verdict};
use crate::samples::{Samples, ms, ratio, times};
use crate::server::{Project, Server};
use crate::{Bench, IMAGE};

/// One-shot requests and sessions of each kind, and sandboxes in the pool: as many as are
/// taken without a pause.
const ROUNDS: usize = 12;
/// Commands and file operations of one session.
const OPERATIONS: usize = 200;
/// Sessions that are used at once, the commands of all of them, and how often.
const SESSIONS: usize = 4;
const COMMANDS: usize = 40;
const THROUGHPUT_ROUNDS: usize = 9;
/// Directories of the tree that is searched, and files in each.
const DIRECTORIES: usize = 500;
const FILES_EACH: usize = 100;
const SEARCHES: usize = 15;

const WARM_MAX: Duration = Duration::from_millis(25);
const COLD_RATIO_MAX: f64 = 1.3;
const COLD_SESSION_MAX: Duration = Duration::from_millis(350);
const DELETE_MAX: Duration = Duration::from_millis(10);
const COMMAND_MAX: Duration = Duration::from_millis(3);
const COMMANDS_PER_SECOND_MIN: f64 = 500.0;
const FILE_MAX: Duration = Duration::from_millis(2);
const GREP_RATIO_MAX: f64 = 1.5;

pub(crate) async fn measure(bench: &mut Bench, project: &Project) -> anyhow::Result<()> {
    let size = (ROUNDS + 1).to_string();
    let mut warm = Server::start_with(
        &bench.docker,
        &[
            ("SANDTREE_PROFILES__DAIV__IMAGE", IMAGE),
            ("SANDTREE_PROFILES__DAIV_RUN__IMAGE", IMAGE),
            ("SANDTREE_PROFILES__DAIV_RUN__NETWORK", "none"),
            ("SANDTREE_POOL__SIZES__DAIV", &size),
            ("SANDTREE_POOL__SIZES__DAIV_RUN", &size),
        ],
    )
    .await?;
    let outcome = sections(bench, &mut warm, project).await;
    warm.end().await?;
    outcome
}

async fn sections(bench: &mut Bench, warm: &mut Server, project: &Project) -> anyhow::Result<()> {
    wait_for_pool(warm, 2 * (ROUNDS + 1)).await?;
    let (warm_runs, warm_creates, warm_deletes) = one_of_each(&mut warm.http, ROUNDS).await?;
    let (cold_runs, cold_creates, _) = one_of_each(&mut bench.server.http, ROUNDS).await?;
    let raw = raw(bench, project).await?;
    one_shots(bench, &warm_runs, &cold_runs, &raw);
    sessions(bench, &warm_creates, &cold_creates, &warm_deletes);

    let session = create(&mut bench.server.http).await?;
    commands(bench, &session).await?;
    throughput(bench).await?;
    files(bench, &session).await?;
    grep(bench, &session).await?;
    delete(&mut bench.server.http, &session).await.map(drop)
}

/// Waits until the pool has so many sandboxes.
async fn wait_for_pool(server: &mut Server, wanted: usize) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let text = server.http.text("/metrics").await?;
        let ready = text.lines().filter(|line| line.starts_with("sandtree_pool_ready{"));
        let ready: f64 = ready.filter_map(|line| line.split(' ').nth(1)?.parse::<f64>().ok()).sum();
        if ready >= wanted as f64 {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "the pool has {ready} of {wanted} sandboxes");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A one-shot command, a session's create and its forced delete, several times.
async fn one_of_each(
    http: &mut Http,
    rounds: usize,
) -> anyhow::Result<(Samples, Samples, Samples)> {
    let [mut runs, mut creates, mut deletes]: [Samples; 3] = Default::default();
    for _ in 0..rounds {
        let body = json!({
            "run_id": uuid4(), "base_image": IMAGE, "commands": ["echo hi"], "archive": archive()?,
        });
        let began = Instant::now();
        let done = http.post("/run/commands/", &body).await?;
        runs.add(began.elapsed());
        ensure!(done["results"][0]["output"] == "hi\n", "the command said {done}");
        let began = Instant::now();
        let session = create(http).await?;
        creates.add(began.elapsed());
        deletes.add(delete(http, &session).await?);
    }
    Ok((runs, creates, deletes))
}

async fn create(http: &mut Http) -> anyhow::Result<String> {
    let made = http.post("/session/", &json!({ "base_image": IMAGE })).await?;
    Ok(made["session_id"].as_str().context("a session without an id")?.to_owned())
}

async fn delete(http: &mut Http, session: &str) -> anyhow::Result<Duration> {
    let began = Instant::now();
    http.delete(&format!("/session/{session}/?force=true")).await?;
    Ok(began.elapsed())
}

/// The same by Docker: a container like the server's own, created, started and removed.
async fn raw(bench: &mut Bench, project: &Project) -> anyhow::Result<Samples> {
    let workspace = bench.server.scratch()?;
    let body = raw_body(bench, project, workspace.path()).await?;
    let mut samples = Samples::default();
    for _ in 0..ROUNDS {
        let began = Instant::now();
        let id = bench.docker.create(body.clone()).await?;
        bench.docker.start(&id).await?;
        bench.docker.remove(&id).await?;
        samples.add(began.elapsed());
    }
    Ok(samples)
}

fn one_shots(bench: &mut Bench, warm: &Samples, cold: &Samples, raw: &Samples) {
    let what = "daiv: `POST /run/commands/` of `echo hi` with an archive, from the pool";
    let budget = format!("<= {} at p50", ms(WARM_MAX));
    bench.report.add(Row::alone(what, &budget, times(warm), warm.p50() <= WARM_MAX));
    let slower = ratio(cold.p50(), raw.p50());
    bench.report.add(Row {
        what: "  the same, cold".into(),
        budget: format!("<= {COLD_RATIO_MAX} times Docker's"),
        ours: times(cold),
        beside: format!("Docker create, start, remove {}", times(raw)),
        ratio: format!("{slower:.2} times as long"),
        verdict: Verdict::of(slower <= COLD_RATIO_MAX),
    });
}

fn sessions(bench: &mut Bench, warm: &Samples, cold: &Samples, deletes: &Samples) {
    for (what, samples, most) in [
        ("daiv: `POST /session/`, from the pool", warm, WARM_MAX),
        ("  the same, cold", cold, COLD_SESSION_MAX),
        ("daiv: `DELETE /session/{id}/?force=true` until answered", deletes, DELETE_MAX),
    ] {
        let budget = format!("<= {} at p50", ms(most));
        bench.report.add(Row::alone(what, &budget, times(samples), samples.p50() <= most));
    }
}

async fn commands(bench: &mut Bench, session: &str) -> anyhow::Result<()> {
    let mut samples = Samples::default();
    for _ in 0..OPERATIONS {
        let began = Instant::now();
        echo(&mut bench.server.http, session).await?;
        samples.add(began.elapsed());
    }
    let budget = format!("<= {} at p50", ms(COMMAND_MAX));
    let is_met = samples.p50() <= COMMAND_MAX;
    let what = "daiv: `POST /session/{id}/` of `echo hi`";
    bench.report.add(Row::alone(what, &budget, times(&samples), is_met));
    Ok(())
}

async fn echo(http: &mut Http, session: &str) -> anyhow::Result<()> {
    let path = format!("/session/{session}/");
    let done = http.post(&path, &json!({ "commands": ["echo hi"] })).await?;
    ensure!(done["results"][0]["output"] == "hi\n", "the command said {done}");
    Ok(())
}

/// Clients with a session each, all at once.
async fn throughput(bench: &mut Bench) -> anyhow::Result<()> {
    let mut sessions = Vec::new();
    for _ in 0..SESSIONS {
        let mut http = Http::tcp(&bench.server.address).await?;
        let session = create(&mut http).await?;
        sessions.push((http, session));
    }
    let mut rates = Vec::new();
    for _ in 0..THROUGHPUT_ROUNDS {
        let began = Instant::now();
        let clients = sessions.iter_mut().map(|(http, session)| async move {
            for _ in 0..COMMANDS / SESSIONS {
                echo(http, session).await?;
            }
            anyhow::Ok(())
        });
        futures_util::future::try_join_all(clients).await?;
        rates.push(COMMANDS as f64 / began.elapsed().as_secs_f64());
    }
    for (mut http, session) in sessions {
        delete(&mut http, &session).await?;
    }
    rates.sort_by(f64::total_cmp);
    let (middle, best) = (rates[rates.len() / 2], rates[rates.len() - 1]);
    let what =
        format!("daiv: {COMMANDS} commands over {SESSIONS} sessions from {SESSIONS} clients");
    let budget = format!(">= {COMMANDS_PER_SECOND_MIN:.0} commands/s");
    let ours = format!("{middle:.0} commands/s, at best {best:.0}");
    bench.report.add(Row::alone(&what, &budget, ours, middle >= COMMANDS_PER_SECOND_MIN));
    Ok(())
}

async fn files(bench: &mut Bench, session: &str) -> anyhow::Result<()> {
    let [mut writes, mut reads, mut lists]: [Samples; 3] = Default::default();
    let content = STANDARD.encode("a line of text\n".repeat(40));
    for number in 0..OPERATIONS {
        let path = format!("/workspace/repo/file-{number}.txt");
        let body = json!({ "path": path, "content": content });
        let http = &mut bench.server.http;
        for (samples, operation, body) in [
            (&mut writes, "write", body),
            (&mut reads, "read", json!({ "path": path })),
            (&mut lists, "ls", json!({ "path": "/workspace" })),
        ] {
            let began = Instant::now();
            let done = http.post(&format!("/session/{session}/fs/{operation}"), &body).await?;
            samples.add(began.elapsed());
            ensure!(done["error"].is_null(), "fs/{operation} said {done}");
        }
    }
    for (what, samples) in [("read", reads), ("write", writes), ("ls", lists)] {
        let budget = format!("<= {} at p50", ms(FILE_MAX));
        let is_met = samples.p50() <= FILE_MAX;
        bench.report.add(Row::alone(
            &format!("daiv: `fs/{what}`"),
            &budget,
            times(&samples),
            is_met,
        ));
    }
    Ok(())
}

/// A search of a large tree, beside ripgrep's own command on the same directory.
async fn grep(bench: &mut Bench, session: &str) -> anyhow::Result<()> {
    let make = format!(
        "for d in $(seq {DIRECTORIES}); do mkdir -p tree/$d; for f in $(seq {FILES_EACH}); do \
         echo \"some text $d of $f\" > tree/$d/$f.txt; done; done; echo needle-in-hay > tree/7/7.txt"
    );
    let path = format!("/session/{session}/");
    let made = bench.server.http.post(&path, &json!({ "commands": [make] })).await?;
    ensure!(made["results"][0]["exit_code"] == 0, "the tree was not made: {made}");
    let tree = host_path(&mut bench.docker, &mut bench.server, session).await?.join("repo/tree");
    let [mut ours, mut theirs]: [Samples; 2] = Default::default();
    let body = json!({ "pattern": "needle-[a-z]+", "path": "/workspace/repo/tree" });
    // The first round is not counted: it reads the tree from the disk.
    for round in 0..=SEARCHES {
        let began = Instant::now();
        let found = bench.server.http.post(&format!("{path}fs/grep"), &body).await?;
        let our_time = began.elapsed();
        ensure!(found["matches"].as_array().is_some_and(|all| all.len() == 1), "found {found}");
        let began = Instant::now();
        ripgrep(&tree).await?;
        if round > 0 {
            ours.add(our_time);
            theirs.add(began.elapsed());
        }
    }
    let slower = ratio(ours.p50(), theirs.p50());
    bench.report.add(Row {
        what: format!("daiv: `fs/grep` of {} files", DIRECTORIES * FILES_EACH),
        budget: format!("<= {GREP_RATIO_MAX} times ripgrep's"),
        ours: times(&ours),
        beside: format!("rg {}", times(&theirs)),
        ratio: format!("{slower:.2} times as long"),
        verdict: Verdict::of(slower <= GREP_RATIO_MAX),
    });
    Ok(())
}

async fn ripgrep(tree: &Path) -> anyhow::Result<()> {
    let arguments = ["--no-config", "--no-ignore", "--hidden", "--line-number", "needle-[a-z]+"];
    let output = Command::new("rg").args(arguments).arg(tree).output().await;
    let output = output.context("rg cannot be run; scripts/ensure-peers installs it")?;
    ensure!(output.stdout.ends_with(b"needle-in-hay\n"), "rg found nothing");
    Ok(())
}

/// The workspace of a session on this machine.
async fn host_path(
    docker: &mut Docker,
    server: &mut Server,
    session: &str,
) -> anyhow::Result<PathBuf> {
    let projects = server.http.get("/v1/projects?limit=1000").await?;
    let prefix = &session[..16];
    let mut projects = projects["items"].as_array().into_iter().flatten();
    let project = projects.find(|one| one["id"].as_str().is_some_and(|id| id.starts_with(prefix)));
    let container = project.and_then(|one| one["sandbox"]["container_id"].as_str());
    let inspected = docker.inspect(container.context("the session's container")?).await?;
    let mounts = inspected["Mounts"].as_array().cloned().unwrap_or_default();
    let workspace = mounts.iter().find(|mount| mount["Destination"] == "/workspace");
    let source = workspace.and_then(|mount| mount["Source"].as_str());
    Ok(source.context("the workspace's mount")?.into())
}

/// A small archive in base64, as clients send it.
fn archive() -> anyhow::Result<String> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    let content = b"print('hi')\n";
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    tar.append_data(&mut header, "repo/app.py", &content[..])?;
    Ok(STANDARD.encode(tar.into_inner()?))
}

/// A random UUID of version 4.
fn uuid4() -> String {
    let hex: String = (0..32).map(|_| format!("{:x}", rand::random::<u8>() % 16)).collect();
    format!("{}-{}-4{}-8{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..])
}
