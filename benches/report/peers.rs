//! Others that put a shell's terminal on a socket, started for this run.
//!
//! `scripts/ensure-peers` installs them. One that is not there is told in the table.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use crate::terminal::Tty;

const DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peers");
/// Where the Python packages are.
const VENV: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/peers");
/// The image's shell is this machine's busybox, so all of them run the same program.
const SHELL: [&str; 2] = ["busybox", "sh"];
/// Longest time until a peer says where it listens.
const START_MAX: Duration = Duration::from_secs(20);

/// A kind of peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// node-pty and ws.
    Node,
    /// Jupyter's terminado.
    Terminado,
    /// socat, from TCP to a terminal: no protocol at all.
    Socat,
}

impl Kind {
    pub(crate) const ALL: [Kind; 3] = [Kind::Node, Kind::Terminado, Kind::Socat];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Node => "node-pty with ws",
            Kind::Terminado => "terminado",
            Kind::Socat => "socat",
        }
    }
}

/// A peer that runs; dropping it ends it.
pub(crate) struct Peer {
    pub(crate) kind: Kind,
    port: u16,
    process: Child,
}

impl Peer {
    /// Starts one.
    ///
    /// # Errors
    ///
    /// Why it does not run: most likely it is not installed.
    pub(crate) async fn start(kind: Kind) -> anyhow::Result<Self> {
        let started = match kind {
            Kind::Node => Self::announced(kind, Path::new("node"), "terminal.js").await,
            Kind::Terminado => {
                let python = PathBuf::from(VENV).join("bin/python");
                Self::announced(kind, &python, "terminal.py").await
            }
            Kind::Socat => Self::socat().await,
        };
        started.with_context(|| format!("{} does not start; run scripts/ensure-peers", kind.name()))
    }

    async fn announced(kind: Kind, program: &Path, script: &str) -> anyhow::Result<Self> {
        let mut command = Command::new(program);
        command.current_dir(DIR).arg(script).args(SHELL).stdout(Stdio::piped());
        let mut process = command.stderr(Stdio::null()).kill_on_drop(true).spawn()?;
        let mut line = String::new();
        let mut output = BufReader::new(process.stdout.take().context("no output")?);
        timeout(START_MAX, output.read_line(&mut line)).await.context("it is silent")??;
        let port = line.trim().parse().context("it says no port")?;
        Ok(Self { kind, port, process })
    }

    async fn socat() -> anyhow::Result<Self> {
        // socat does not tell a port that it was left to choose.
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let listen = format!("TCP-LISTEN:{port},bind=127.0.0.1,fork,reuseaddr,nodelay");
        let shell = format!("EXEC:{},pty,ctty,setsid,stderr,sane", SHELL.join(" "));
        // Its largest pieces suit it best.
        let mut command = Command::new("socat");
        command.args(["-b", "65536"]).arg(listen).arg(shell).stdin(Stdio::null());
        let mut process = command.stderr(Stdio::null()).kill_on_drop(true).spawn()?;
        let until = Instant::now() + START_MAX;
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            if Instant::now() > until || process.try_wait()?.is_some() {
                bail!("it does not listen");
            }
            sleep(Duration::from_millis(10)).await;
        }
        Ok(Self { kind: Kind::Socat, port, process })
    }

    /// Opens a terminal in it.
    pub(crate) async fn open(&self) -> anyhow::Result<Tty> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        stream.set_nodelay(true)?;
        let url = format!("ws://127.0.0.1:{}/", self.port);
        Ok(match self.kind {
            Kind::Node => Tty::Socket(Box::new(Tty::upgrade(url, stream).await?)),
            Kind::Terminado => Tty::Json(Box::new(Tty::upgrade(url, stream).await?)),
            Kind::Socat => Tty::Plain(stream),
        })
    }

    /// Its process.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.process.id()
    }
}
