//! A running sandbox, for whoever wants to do something in it. Bytes flow between
//! the caller and init directly; the actors have only handed over the link.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use sandtree_model::{Answer, ExitStatus, Fault, Refusal};
use sandtree_wire::{
    EXEC_VERSION, ExecEvent, ExecSpec, FrameError, Kind, Reply, Request, StartError, Stats, Stream,
    read_frame, write_frame,
};
use tokio::io::BufReader;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::task::AbortOnDropHandle;

use crate::dialled::{self, Dialled};
use crate::link::{Link, unexpected};
use crate::live::{Busy, Hold};

/// Longest time of a connection to a port in the sandbox.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// Output of a command that its reader has not taken yet, in frames.
const OUTPUT_WAITING_MAX: usize = 4;
/// Input of a command that it has not taken yet, in frames.
const INPUT_WAITING_MAX: usize = 4;

/// A running sandbox. While the handle lives, the project counts as active.
pub struct Sandbox {
    pub(crate) link: Arc<Link>,
    pub(crate) busy: Arc<Busy>,
    /// Commands that may run in it at once.
    pub(crate) execs_max: u32,
    /// Watches of its files that may be open at once.
    pub(crate) watches_max: usize,
}

impl Sandbox {
    /// Runs a command. Dropping the answer kills its whole tree.
    ///
    /// # Errors
    ///
    /// [`Refusal::Busy`] when too many run already, [`Refusal::Conflict`] when it wants a
    /// terminal of a sandbox whose init has none for commands yet, and faults of the sandbox.
    pub async fn exec(&self, spec: ExecSpec) -> Answer<Exec> {
        let spec = understood_by(self.link.version, spec)?;
        let places = Arc::clone(&self.busy.live().exec_places);
        let place = places.try_acquire_owned().map_err(|_| Refusal::Busy {
            what: format!("{} commands in one sandbox", self.execs_max).into(),
        })?;
        let wants_input = spec.stdin;
        let connection = self.link.open(Stream::Exec(spec)).await?;
        let (reader, writer) = connection.into_split();
        let (sender, output) = mpsc::channel(OUTPUT_WAITING_MAX);
        let (input, input_receiver) = mpsc::channel(INPUT_WAITING_MAX);
        let reading = tokio::spawn(read_output(reader, sender));
        let writing = tokio::spawn(write_input(writer, input_receiver));
        Ok(Exec {
            output,
            stdin: wants_input.then_some(ExecStdin(input)),
            _tasks: [reading, writing].map(AbortOnDropHandle::new),
            _place: place,
            _busy: Arc::clone(&self.busy),
        })
    }

    /// Connects to a port on the sandbox's loopback interface.
    ///
    /// # Errors
    ///
    /// [`Refusal::Conflict`] when nothing listens there, and faults of the sandbox.
    pub async fn dial(&self, port: u16) -> Answer<Dialled> {
        let stream = self.link.open(Stream::Dial { port, hand_over: true }).await?;
        match tokio::time::timeout(DIAL_TIMEOUT, dialled::answer(stream)).await {
            Ok(Ok(Ok(way))) => Ok(Dialled::new(way, Hold::new(self.busy.live()))),
            Ok(Ok(Err(StartError { what, .. }))) => {
                let why = format!("nothing answers on port {port} in the sandbox: {what}");
                Err(Refusal::Conflict { why: why.into() }.into())
            }
            Ok(Err(error)) => Err(broken(&error).into()),
            Err(_) => {
                Err(Fault::TimedOut { what: "the connection".into(), limit: DIAL_TIMEOUT }.into())
            }
        }
    }

    /// What its connections carry.
    #[must_use]
    pub fn traffic(&self) -> Arc<Traffic> {
        Arc::clone(&self.busy.live().traffic)
    }

    /// What the sandbox uses.
    ///
    /// # Errors
    ///
    /// Faults of the sandbox.
    pub async fn stats(&self) -> Answer<Stats> {
        let reply = self.link.request(Request::Stats).await?;
        if let Reply::Stats(stats) = reply { Ok(stats) } else { Err(unexpected(&reply)) }
    }
}

/// A command as init of that version can run it.
fn understood_by(version: u16, mut spec: ExecSpec) -> Result<ExecSpec, Refusal> {
    if version >= EXEC_VERSION {
        return Ok(spec);
    }
    if spec.tty {
        let why = "the sandbox was started by an older server; restart it for a terminal";
        return Err(Refusal::Conflict { why: why.into() });
    }
    if !spec.argv_otherwise.is_empty() {
        // It is there wherever the other may be.
        spec.argv = std::mem::take(&mut spec.argv_otherwise);
    }
    Ok(spec)
}

fn broken(error: &FrameError) -> Fault {
    Fault::Sandbox(format!("a stream broke: {error}").into())
}

/// What the connections to a sandbox's ports carry, all of them together, since the
/// project's actors were spawned. Whoever carries the bytes counts them.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Bytes from clients to the sandbox.
    pub received: AtomicU64,
    /// Bytes from the sandbox to clients.
    pub sent: AtomicU64,
    /// Connections that are open.
    pub open: AtomicUsize,
}

impl Traffic {
    /// Bytes in both directions.
    pub(crate) fn bytes(&self) -> u64 {
        let (received, sent) = (&self.received, &self.sent);
        received.load(Ordering::Relaxed).wrapping_add(sent.load(Ordering::Relaxed))
    }
}

/// A command in flight. Dropping it kills the command's whole tree.
pub struct Exec {
    output: mpsc::Receiver<Result<ExecOutput, Fault>>,
    stdin: Option<ExecStdin>,
    _tasks: [AbortOnDropHandle<()>; 2],
    _place: OwnedSemaphorePermit,
    _busy: Arc<Busy>,
}

/// What a command in flight says; the last is `Exited` or `Failed`.
#[derive(Debug, Clone)]
pub enum ExecOutput {
    /// It runs.
    Started {
        /// Its id inside the sandbox.
        pid: u32,
    },
    /// Standard output.
    Stdout(Bytes),
    /// Standard error.
    Stderr(Bytes),
    /// It could not be started: the operating system's error and what was tried.
    Failed(StartError),
    /// It ended.
    Exited {
        /// How.
        status: ExitStatus,
        /// Whether its timeout ended it.
        timed_out: bool,
    },
}

impl Exec {
    /// The next thing it says.
    ///
    /// # Errors
    ///
    /// [`Fault::Sandbox`] when the sandbox ended under it.
    ///
    /// # Cancel safety
    ///
    /// Safe: nothing is lost.
    pub async fn next(&mut self) -> Answer<ExecOutput> {
        let ended = || Err(Fault::Sandbox("it ended under the command".into()));
        Ok(self.output.recv().await.unwrap_or_else(ended)?)
    }

    /// Its standard input, once, if the spec asked for it.
    pub fn take_stdin(&mut self) -> Option<ExecStdin> {
        self.stdin.take()
    }
}

async fn read_output(reader: OwnedReadHalf, sender: mpsc::Sender<Result<ExecOutput, Fault>>) {
    let mut reader = BufReader::with_capacity(16 * 1024, reader);
    let mut buffer = Vec::new();
    loop {
        let output = match read_frame(&mut reader, &mut buffer).await {
            Ok(frame) => match frame.kind {
                Kind::Data => Ok(ExecOutput::Stdout(Bytes::copy_from_slice(frame.payload))),
                Kind::Stderr => Ok(ExecOutput::Stderr(Bytes::copy_from_slice(frame.payload))),
                Kind::Message => frame.message().map(said).map_err(|error| broken(&error)),
                Kind::End => continue,
                Kind::Record => Err(broken(&FrameError::Unexpected)),
            },
            Err(error) => Err(broken(&error)),
        };
        let is_last =
            matches!(output, Err(_) | Ok(ExecOutput::Exited { .. } | ExecOutput::Failed(_)));
        if sender.send(output).await.is_err() || is_last {
            return;
        }
    }
}

fn said(event: ExecEvent) -> ExecOutput {
    match event {
        ExecEvent::Started { pid } => ExecOutput::Started { pid },
        ExecEvent::Failed(error) => ExecOutput::Failed(error),
        ExecEvent::Exited { status, timed_out } => {
            ExecOutput::Exited { status: exit_status(status), timed_out }
        }
    }
}

/// A status from the wire.
pub(crate) fn exit_status(status: sandtree_wire::ExitStatus) -> ExitStatus {
    match status {
        sandtree_wire::ExitStatus::Code(code) => ExitStatus::Code(code),
        sandtree_wire::ExitStatus::Signal(signal) => ExitStatus::Signal(signal),
    }
}

/// Standard input of a command in flight. Dropping it ends the input.
pub struct ExecStdin(mpsc::Sender<Bytes>);

impl ExecStdin {
    /// Writes input; waits while the command does not read.
    ///
    /// # Errors
    ///
    /// [`Fault::Sandbox`] when the command does not take input any more.
    pub async fn write(&mut self, bytes: &[u8]) -> Answer<()> {
        for piece in bytes.chunks(sandtree_wire::DATA_BYTES_MAX) {
            let sent = self.0.send(Bytes::copy_from_slice(piece)).await;
            sent.map_err(|_| Fault::Sandbox("the command takes no more input".into()))?;
        }
        Ok(())
    }
}

/// Writes input until there is no more, then keeps the stream open: closing it
/// would kill the command.
async fn write_input(mut writer: OwnedWriteHalf, mut input: mpsc::Receiver<Bytes>) {
    while let Some(bytes) = input.recv().await {
        if write_frame(&mut writer, Kind::Data, [&bytes, &[]]).await.is_err() {
            return;
        }
    }
    // A command that has ended already does not need to know.
    let _ = write_frame(&mut writer, Kind::End, [&[], &[]]).await;
    std::future::pending::<()>().await;
}
