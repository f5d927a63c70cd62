//! A keystroke, until the terminal shows it.
//!
//! The same shell three times: in the project's terminal over a WebSocket, in the same
//! container on a terminal of Docker's, and on a terminal of this machine with nothing
//! in between. Keys come one at a time with a pause between them, as from a person.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::docker::Docker;
use crate::server::{Project, Server};
use crate::table::{Row, Samples, Table, Verdict, ratio, times};

/// Keystrokes in each terminal.
const KEYS: usize = 400;
/// Pause between two keys.
const PAUSE: Duration = Duration::from_millis(5);
/// The shell has finished its prompt after so long a silence.
const QUIET: Duration = Duration::from_millis(300);
/// Longest time until a key is shown.
const ECHO_MAX: Duration = Duration::from_secs(5);
/// The key that is timed, and the one that takes it back.
const KEY: &[u8] = b"x";
const ERASE: &[u8] = b"\x7f";

pub(crate) async fn measure(
    server: &mut Server,
    docker: &mut Docker,
    project: &Project,
    table: &mut Table,
) -> anyhow::Result<()> {
    let mut ours = Tty::Socket(Box::new(open(server, project).await?));
    let mut theirs = Tty::Docker(docker.shell(&project.container, &["/bin/sh"]).await?);
    let mut local = Local::open().map(|local| Tty::Local(Box::new(local))).ok();
    let mut samples: [Samples; 3] = Default::default();
    for tty in [Some(&mut ours), Some(&mut theirs), local.as_mut()].into_iter().flatten() {
        tty.prompt().await?;
    }
    for _ in 0..KEYS {
        let ttys = [Some(&mut ours), Some(&mut theirs), local.as_mut()];
        for (tty, samples) in ttys.into_iter().zip(&mut samples) {
            if let Some(tty) = tty {
                samples.add(tty.keystroke().await?);
            }
            sleep(PAUSE).await;
        }
    }
    report(&samples, local.is_some(), table);
    Ok(())
}

fn report([ours, theirs, local]: &[Samples; 3], has_local: bool, table: &mut Table) {
    let slower = ratio(ours.p50(), theirs.p50());
    table.add(Row {
        what: "terminal echo".into(),
        budget: "not slower than Docker's".into(),
        ours: times(ours),
        docker: times(theirs),
        ratio: format!("{slower:.2} times as long"),
        verdict: Verdict::of(slower <= 1.0),
    });
    let beside = if has_local { times(local) } else { "no busybox here".into() };
    table.add(Row::told("  the same shell on a local terminal", beside));
}

/// The project's terminal.
pub(crate) async fn open(
    server: &Server,
    project: &Project,
) -> anyhow::Result<WebSocketStream<TcpStream>> {
    let url = format!("ws://{}/v1/projects/{}/terminal", server.address, project.id);
    let stream = TcpStream::connect(&server.address).await?;
    stream.set_nodelay(true)?;
    Ok(tokio_tungstenite::client_async(url, stream).await?.0)
}

/// A terminal with a shell, however it is reached.
enum Tty {
    Socket(Box<WebSocketStream<TcpStream>>),
    Docker(TokioIo<Upgraded>),
    Local(Box<Local>),
}

impl Tty {
    /// Waits until the shell has shown its prompt and is silent.
    async fn prompt(&mut self) -> anyhow::Result<()> {
        let first = timeout(ECHO_MAX, self.output()).await.context("the shell says nothing")?;
        drop(first?);
        while let Ok(more) = timeout(QUIET, self.output()).await {
            drop(more?);
        }
        Ok(())
    }

    /// The time of one key, which is taken back afterwards.
    async fn keystroke(&mut self) -> anyhow::Result<Duration> {
        let began = Instant::now();
        self.input(KEY).await?;
        while !self.shown().await?.contains(&KEY[0]) {}
        let echoed = began.elapsed();
        self.input(ERASE).await?;
        self.shown().await?;
        Ok(echoed)
    }

    async fn shown(&mut self) -> anyhow::Result<Bytes> {
        timeout(ECHO_MAX, self.output()).await.context("a key was not shown")?
    }

    async fn input(&mut self, bytes: &'static [u8]) -> anyhow::Result<()> {
        match self {
            Tty::Socket(socket) => socket.send(Message::Binary(Bytes::from_static(bytes))).await?,
            Tty::Docker(stream) => stream.write_all(bytes).await?,
            Tty::Local(local) => local.write(bytes)?,
        }
        Ok(())
    }

    async fn output(&mut self) -> anyhow::Result<Bytes> {
        let mut buffer = vec![0; 4096];
        let count = match self {
            Tty::Socket(socket) => return message(socket).await,
            Tty::Docker(stream) => stream.read(&mut buffer).await?,
            Tty::Local(local) => local.read(&mut buffer).await?,
        };
        if count == 0 {
            bail!("the shell ended");
        }
        buffer.truncate(count);
        Ok(buffer.into())
    }
}

/// The next bytes of output; control messages are passed over.
pub(crate) async fn message(socket: &mut WebSocketStream<TcpStream>) -> anyhow::Result<Bytes> {
    loop {
        match socket.next().await.context("the terminal closed")?? {
            Message::Binary(bytes) => return Ok(bytes),
            Message::Close(why) => bail!("the terminal closed: {why:?}"),
            Message::Text(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
        }
    }
}

/// The image's shell on a terminal of this machine; dropping it ends the shell.
struct Local {
    terminal: AsyncFd<OwnedFd>,
    _shell: Child,
}

impl Local {
    /// The image is made from this machine's busybox, so its shell is the same.
    fn open() -> io::Result<Self> {
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
        grantpt(&terminal)?;
        unlockpt(&terminal)?;
        let name = ptsname(&terminal, Vec::new())?;
        let name = name.to_str().map_err(io::Error::other)?;
        let shell = File::options().read(true).write(true).open(name)?;
        let shell = Command::new("busybox")
            .args(["setsid", "-c", "busybox", "sh"])
            .env("TERM", "xterm-256color")
            .stdin(shell.try_clone()?)
            .stdout(shell.try_clone()?)
            .stderr(shell)
            .kill_on_drop(true)
            .spawn()?;
        fcntl_setfl(&terminal, fcntl_getfl(&terminal)? | OFlags::NONBLOCK)?;
        #[expect(deprecated, reason = "its successor is unsafe; this descriptor stays the same")]
        let terminal = AsyncFd::new(terminal)?;
        Ok(Self { terminal, _shell: shell })
    }

    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        // One byte always fits.
        rustix::io::write(self.terminal.as_fd(), bytes)?;
        Ok(())
    }

    async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut ready = self.terminal.readable().await?;
            let read = ready.try_io(|fd| Ok(rustix::io::read(fd.as_fd(), &mut *buffer)?));
            if let Ok(count) = read {
                return count;
            }
        }
    }
}
