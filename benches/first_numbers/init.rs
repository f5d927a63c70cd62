//! Init: what it weighs, and how fast it is home.
//!
//! The time home is taken in containers like the server's own, with a home of the bench's.
//! Their first program is a shell that waits for a line on a pipe and then becomes init;
//! the time is from the writing of that line until init's hello has been read from the
//! socket. So it holds the waking of the shell, the exec of init, all that init does before
//! it dials, and the dialling. The engine's part of a start is left out.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use sandtree_wire::{Hello, Role};
use serde_json::Value;
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixListener;
use tokio::net::unix::pipe;
use tokio::time::{Instant, sleep, timeout};

use crate::create::{container_like, mount};
use crate::docker::Docker;
use crate::server::{Project, Server};
use crate::table::{Row, Samples, Table, Verdict, times};
use crate::terminal;

/// Largest size on disk: 1.5 MB.
const DISK_BYTES_MAX: u64 = 1_500_000;
/// Largest resident memory: 1.5 MiB.
const RESIDENT_KIB_MAX: u64 = 1536;
/// Longest time until it has dialled home, at p50 and at p99.
const HOME_MAX: Duration = Duration::from_millis(10);
/// Containers that are started for it.
const STARTS: usize = 15;
/// Longest time of one start.
const START_MAX: Duration = Duration::from_secs(30);
/// Commands that are run before memory is looked at again.
const COMMANDS: usize = 500;
/// The pipe's name in the workspace.
const PIPE: &str = "go";
/// Time that the shell has to come to the pipe; if it takes longer, that counts.
const SHELL_MAX: Duration = Duration::from_millis(100);

pub(crate) async fn measure(
    server: &mut Server,
    docker: &mut Docker,
    project: &Project,
    table: &mut Table,
) -> anyhow::Result<()> {
    let like = docker.inspect(&project.container).await?;
    let program = source_of(&like, sandtree_wire::INIT)?;
    let bytes = std::fs::metadata(&program)?.len();
    let (size, is_met) = (format!("{bytes} bytes"), bytes <= DISK_BYTES_MAX);
    table.add(Row::alone("init: size on disk", "1.5 MB", size, is_met));
    memory(server, docker, table).await?;
    time_home(server, docker, &like, &program, table).await
}

/// Resident memory of an init that has only come home, and of one that has worked.
async fn memory(server: &mut Server, docker: &mut Docker, table: &mut Table) -> anyhow::Result<()> {
    let project = server.create("memory").await?;
    let inspected = docker.inspect(&project.container).await?;
    let pid = inspected["State"]["Pid"].as_u64().context("no pid")?;
    let mut look = |what: &str| {
        let (resident, own) = resident_kib(pid)?;
        let text = format!("{resident} KiB (its own: {own} KiB)");
        table.add(Row::alone(what, "1.5 MiB", text, resident <= RESIDENT_KIB_MAX));
        anyhow::Ok(())
    };
    look("init: resident, fresh")?;
    for _ in 0..COMMANDS {
        server.exec(&project.id, &["true"]).await?;
    }
    look(&format!("init: resident, after {COMMANDS} execs"))?;
    let mut terminal = terminal::open(server, &project).await?;
    terminal::message(&mut terminal).await?;
    look("init: resident, with a terminal as well")?;
    drop(terminal);
    server.delete(&project.id).await
}

/// `VmRSS`, and what of it is no file's.
fn resident_kib(pid: u64) -> anyhow::Result<(u64, u64)> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|line| line.split_whitespace().next());
        number.and_then(|number| number.parse().ok()).with_context(|| format!("no {name}"))
    };
    Ok((field("VmRSS:")?, field("RssAnon:")?))
}

async fn time_home(
    server: &Server,
    docker: &mut Docker,
    like: &Value,
    program: &Path,
    table: &mut Table,
) -> anyhow::Result<()> {
    let mut samples = Samples::default();
    for start in 0..=STARTS {
        let home = Home::open(server.scratch()?.keep())?;
        let time = timeout(START_MAX, home.time(docker, like, program)).await;
        std::fs::remove_dir_all(&home.path)?;
        let time = time.context("init did not come home")??;
        // The first one pays for reading init from the disk.
        if start > 0 {
            samples.add(time);
        }
    }
    table.add(Row {
        verdict: Verdict::of(samples.p99() <= HOME_MAX),
        ..Row::alone("init: exec to hello", "10 ms", times(&samples), true)
    });
    Ok(())
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

    /// Starts a container and takes the time from its shell's line to init's hello.
    async fn time(
        &self,
        docker: &mut Docker,
        like: &Value,
        program: &Path,
    ) -> anyhow::Result<Duration> {
        let become_init = format!("read line < {PIPE}; exec {}", sandtree_wire::INIT);
        let mounts = [
            mount(program, sandtree_wire::INIT, true),
            mount(&self.path.join("home"), sandtree_wire::HOME, true),
            mount(&self.path.join("workspace"), sandtree_wire::WORKSPACE, false),
        ];
        let body = container_like(like, &mounts, &["/bin/sh", "-c", &become_init]);
        let id = docker.create(body).await?;
        docker.start(&id).await?;
        sleep(SHELL_MAX).await;
        let began = Instant::now();
        self.go.try_write(b"go\n")?;
        let home = self.hello().await?;
        docker.remove(&id).await?;
        Ok(home.duration_since(began))
    }

    async fn hello(&self) -> anyhow::Result<Instant> {
        let (mut connection, _) = self.listener.accept().await?;
        let mut buffer = Vec::new();
        let hello: Hello = sandtree_wire::read_message(&mut connection, &mut buffer).await?;
        let now = Instant::now();
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
