//! Init: what it weighs, and how fast it is home.
//!
//! The time home is taken in containers like the server's own, with a home of the bench's,
//! in two ways. From exec: their first program is a shell that waits for a line on a pipe and
//! then becomes init; the time is from the writing of that line until init's hello has been
//! read, so it errs on the long side. From the container's start: their first program is init,
//! and the time is from the moment that the engine notes as the container's start.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, ensure};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use sandtree_wire::{Hello, Role};
use serde_json::Value;
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixListener;
use tokio::net::unix::pipe;
use tokio::time::{Instant, sleep, timeout};

use crate::Bench;
use crate::create::{container_like, mount};
use crate::docker::Docker;
use crate::memory::resident_kib;
use crate::report::Row;
use crate::samples::{Samples, times};
use crate::server::{Project, Server};
use crate::terminal::Tty;

/// Largest size on disk: 1.5 MB.
const DISK_BYTES_MAX: u64 = 1_500_000;
/// Largest resident memory: 1.5 MiB.
const RESIDENT_KIB_MAX: u64 = 1536;
/// Longest time until it has dialled home, at p99.
const HOME_MAX: Duration = Duration::from_millis(10);
/// Containers that are started for it.
const STARTS: usize = 50;
/// Longest time of one start.
const START_MAX: Duration = Duration::from_secs(30);
/// Commands that are run before memory is looked at again.
const COMMANDS: usize = 500;
/// The pipe's name in the workspace.
const PIPE: &str = "go";
/// Time that the shell has to come to the pipe; if it takes longer, that counts.
const SHELL_MAX: Duration = Duration::from_millis(100);

pub(crate) async fn measure(bench: &mut Bench, project: &Project) -> anyhow::Result<()> {
    let like = bench.docker.inspect(&project.container).await?;
    let program = source_of(&like, sandtree_wire::INIT)?;
    let bytes = std::fs::metadata(&program)?.len();
    let (size, is_met) = (format!("{bytes} bytes"), bytes <= DISK_BYTES_MAX);
    bench.report.add(Row::alone("init: size on disk", "<= 1.5 MB", size, is_met));
    memory(bench).await?;
    let from_exec = Way { what: "init: exec to hello", word: "exec", command: become_init() };
    let from_start = Way {
        what: "init: container's start to hello",
        word: "the container's start",
        command: vec![sandtree_wire::INIT.to_owned()],
    };
    let mut all = Vec::new();
    for way in [from_start, from_exec] {
        let samples = time_home(&bench.server, &mut bench.docker, &like, &program, &way).await?;
        let is_met = samples.p99() <= HOME_MAX;
        bench.report.add(Row::alone(way.what, "p99 <= 10 ms", times(&samples), is_met));
        all.push((way.word, samples));
    }
    let lines: Vec<_> = all.iter().map(|(word, samples)| (*word, samples)).collect();
    bench.report.shares("init", "Init: share that was home so long after ...", &lines);
    Ok(())
}

/// Resident memory of an init that has only come home, and of one that has worked.
async fn memory(bench: &mut Bench) -> anyhow::Result<()> {
    let project = bench.server.create("memory").await?;
    let pid = bench.docker.pid(&project.container).await?;
    look(bench, pid, "init: resident, fresh")?;
    for _ in 0..COMMANDS {
        bench.server.exec(&project.id, &["true"]).await?;
    }
    look(bench, pid, &format!("init: resident, after {COMMANDS} execs"))?;
    let mut terminal = Tty::of(&bench.server, &project).await?;
    terminal.prompt().await?;
    look(bench, pid, "init: resident, with a terminal as well")?;
    drop(terminal);
    bench.server.delete(&project.id).await
}

fn look(bench: &mut Bench, pid: u64, what: &str) -> anyhow::Result<()> {
    let (resident, own) = resident_kib(pid)?;
    let text = format!("{resident} KiB (its own: {own} KiB)");
    bench.report.add(Row::alone(what, "<= 1.5 MiB", text, resident <= RESIDENT_KIB_MAX));
    Ok(())
}

/// From when on the time counts.
struct Way {
    what: &'static str,
    word: &'static str,
    command: Vec<String>,
}

fn become_init() -> Vec<String> {
    let line = format!("read line < {PIPE}; exec {}", sandtree_wire::INIT);
    vec!["/bin/sh".to_owned(), "-c".to_owned(), line]
}

async fn time_home(
    server: &Server,
    docker: &mut Docker,
    like: &Value,
    program: &Path,
    way: &Way,
) -> anyhow::Result<Samples> {
    let mut samples = Samples::default();
    for start in 0..=STARTS {
        let home = Home::open(server.scratch()?.keep())?;
        let time = timeout(START_MAX, home.time(docker, like, program, way)).await;
        std::fs::remove_dir_all(&home.path)?;
        let time = time.context("init did not come home")??;
        // The first one pays for reading init from the disk.
        if start > 0 {
            samples.add(time);
        }
    }
    Ok(samples)
}

/// What the server would have made for a sandbox: a socket, a token, a workspace.
struct Home {
    path: PathBuf,
    listener: UnixListener,
    go: pipe::Sender,
}

impl Home {
    fn open(path: PathBuf) -> anyhow::Result<Self> {
        for (dir, mode) in [("home", 0o755), ("workspace", 0o777)] {
            std::fs::create_dir(path.join(dir))?;
            std::fs::set_permissions(path.join(dir), Permissions::from_mode(mode))?;
        }
        let token = path.join("home").join(sandtree_wire::TOKEN_NAME);
        std::fs::write(&token, "0".repeat(sandtree_wire::TOKEN_CHARS))?;
        let socket = path.join("home").join(sandtree_wire::SOCKET_NAME);
        let listener = UnixListener::bind(&socket)?;
        std::fs::set_permissions(&socket, Permissions::from_mode(0o666))?;
        let fifo = path.join("workspace").join(PIPE);
        mknodat(CWD, &fifo, FileType::Fifo, Mode::from_raw_mode(0o666), 0)?;
        std::fs::set_permissions(&fifo, Permissions::from_mode(0o666))?;
        // Also open for reading, so that it can be opened before the shell is there.
        let go = pipe::OpenOptions::new().read_write(true).open_sender(&fifo)?;
        Ok(Self { path, listener, go })
    }

    /// Starts a container and takes the time until init's hello.
    async fn time(
        &self,
        docker: &mut Docker,
        like: &Value,
        program: &Path,
        way: &Way,
    ) -> anyhow::Result<Duration> {
        let mounts = [
            mount(program, sandtree_wire::INIT, true),
            mount(&self.path.join("home"), sandtree_wire::HOME, true),
            mount(&self.path.join("workspace"), sandtree_wire::WORKSPACE, false),
        ];
        let command: Vec<_> = way.command.iter().map(String::as_str).collect();
        let id = docker.create(container_like(like, &mounts, &command)).await?;
        let time = if command.len() == 1 {
            // Init may be home before the engine has answered.
            let (started, home) = tokio::join!(docker.start(&id), self.hello());
            started?;
            let (_, home) = home?;
            let inside = docker.inspect(&id).await?;
            let started = inside["State"]["StartedAt"].as_str().context("no time of its start")?;
            home.duration_since(humantime::parse_rfc3339(started)?).unwrap_or_default()
        } else {
            docker.start(&id).await?;
            sleep(SHELL_MAX).await;
            let began = Instant::now();
            self.go.try_write(b"go\n")?;
            self.hello().await?.0.duration_since(began)
        };
        docker.remove(&id).await?;
        Ok(time)
    }

    async fn hello(&self) -> anyhow::Result<(Instant, SystemTime)> {
        let (mut connection, _) = self.listener.accept().await?;
        let mut buffer = Vec::new();
        let hello: Hello = sandtree_wire::read_message(&mut connection, &mut buffer).await?;
        let now = (Instant::now(), SystemTime::now());
        ensure!(hello.role == Role::Control, "init said {hello:?}");
        // It waits for a welcome until the container is removed.
        tokio::spawn(async move { connection.read_u8().await });
        Ok(now)
    }
}

/// Where on this machine a mount comes from.
fn source_of(inspected: &Value, target: &str) -> anyhow::Result<PathBuf> {
    let mounts = inspected["Mounts"].as_array().context("no mounts")?;
    let mount = mounts.iter().find(|mount| mount["Destination"] == target);
    let source = mount.and_then(|mount| mount["Source"].as_str());
    Ok(source.with_context(|| format!("nothing is mounted at {target}"))?.into())
}
