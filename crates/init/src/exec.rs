//! Exec: one command on one stream.
//!
//! It ends when its main process ends. What that wrote is sent, whoever else still
//! holds the pipes; what it left running lives on. A stream that the server closes,
//! and a timeout, end the whole tree instead.

use std::io;
use std::os::fd::AsFd;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use sandtree_wire::{ExecEvent, ExecInput, ExecSpec, ExitStatus, FrameError, Kind, StartError};
use sandtree_wire::{read_frame, write_frame, write_message};
use tokio::net::UnixStream;
use tokio::net::unix::{ReadHalf, WriteHalf, pipe};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::clock::running_for;
use crate::command::{Command, Request, start_error};
use crate::hangup::Hangup;
use crate::init::Init;
use crate::pipes::{self, Ours};
use crate::sys;
use crate::tree::Tree;

/// Most bytes of one read of output.
const READ_BYTES: usize = 32 * 1024;
/// How long the end of a killed command may stay unreported.
const KILLED_MAX: Duration = Duration::from_secs(1);

/// Runs a command and tells its story on the stream.
///
/// # Errors
///
/// What the connection failed with; the command is dead then.
pub(crate) async fn serve(
    init: &Rc<Init>,
    mut connection: UnixStream,
    spec: &ExecSpec,
) -> Result<(), FrameError> {
    let max = init.configuration().map_or(0, |configuration| configuration.execs_max);
    let Some(counted) = init.execs.take(max) else {
        let what = format!("run a command: {max} run already");
        let error = StartError { errno: libc::EAGAIN, what };
        return write_message(&mut connection, &ExecEvent::Failed(error)).await;
    };
    let (tree, pipes) = match start(init, spec).await {
        Ok(started) => started,
        Err(error) => return write_message(&mut connection, &ExecEvent::Failed(error)).await,
    };
    let result = follow(connection, &tree, pipes, spec.timeout_ms).await;
    if result.is_err() {
        tree.kill().await;
    }
    drop(counted);
    result
}

async fn start(init: &Init, spec: &ExecSpec) -> Result<(Tree, Ours), StartError> {
    let configuration = init.startable()?;
    let command = Command::prepare(&Request {
        choices: std::slice::from_ref(&spec.argv),
        cwd: spec.cwd.as_deref(),
        base: &configuration.env,
        env: &spec.env,
        terminal: false,
    })?;
    let (ours, theirs) =
        pipes::open(spec.stdin).map_err(|error| start_error("open pipes", &error))?;
    let tree = Tree::start(init, &command, theirs.stdio(&init.null)).await?;
    Ok((tree, ours))
}

/// What ended an exec.
enum End {
    /// Its main process ended.
    Itself(ExitStatus),
    /// Its time is over.
    Timeout,
    /// The server closed, or sent what makes no sense.
    Stream(FrameError),
}

async fn follow(
    mut connection: UnixStream,
    tree: &Tree,
    pipes: Ours,
    timeout_ms: Option<u64>,
) -> Result<(), FrameError> {
    let closed = Hangup::of_input(&connection)?;
    let (mut reader, mut writer) = connection.split();
    let pid = tree.pid();
    write_message(&mut writer, &ExecEvent::Started { pid }).await?;

    let main_ended = Notify::new();
    let output = Output { stdout: pipes.stdout, stderr: pipes.stderr, main_ended: &main_ended };
    let mut output = pin!(output.send(&mut writer));
    let end = tokio::select! {
        status = tree.ended() => End::Itself(status),
        () = deadline(timeout_ms) => End::Timeout,
        () = closed.happened() => End::Stream(FrameError::Closed),
        error = take_input(&mut reader, pipes.stdin, tree) => End::Stream(error),
        result = &mut output => End::Stream(result.err().unwrap_or(FrameError::Closed)),
    };
    let (status, timed_out) = match end {
        End::Itself(status) => (status, false),
        End::Timeout => (killed(tree).await, true),
        End::Stream(error) => return Err(error),
    };
    main_ended.notify_one();
    let writer = tokio::select! {
        result = output => result?,
        () = closed.happened() => return Err(FrameError::Closed),
    };
    write_message(writer, &ExecEvent::Exited { status, timed_out }).await
}

async fn deadline(timeout_ms: Option<u64>) {
    match timeout_ms {
        Some(timeout_ms) => running_for(Duration::from_millis(timeout_ms)).await,
        None => std::future::pending().await,
    }
}

async fn killed(tree: &Tree) -> ExitStatus {
    tree.kill().await;
    let ended = timeout(KILLED_MAX, tree.ended()).await;
    ended.unwrap_or(ExitStatus::Signal(libc::SIGKILL))
}

/// Hands the server's frames to the command, until one makes no sense. A command
/// that reads nothing holds up what comes after, never its output.
async fn take_input(
    reader: &mut ReadHalf<'_>,
    mut stdin: Option<pipe::Sender>,
    tree: &Tree,
) -> FrameError {
    let mut buffer = Vec::new();
    loop {
        let frame = match read_frame(reader, &mut buffer).await {
            Ok(frame) => frame,
            Err(error) => return error,
        };
        match frame.kind {
            Kind::Data => {
                if let Some(pipe) = &stdin
                    && pipes::write_all(pipe, frame.payload).await.is_err()
                {
                    stdin = None;
                }
            }
            Kind::End => stdin = None,
            Kind::Message => match frame.message() {
                // A command that has just ended needs no signal.
                Ok(ExecInput::Signal(signal)) => drop(tree.signal(signal)),
                Err(error) => return error,
            },
            Kind::Stderr | Kind::Record => return FrameError::Unexpected,
        }
    }
}

/// The output of a command on its way to the server.
struct Output<'a> {
    stdout: pipe::Receiver,
    stderr: pipe::Receiver,
    /// From then on only what is already in the pipes is sent.
    main_ended: &'a Notify,
}

impl Output<'_> {
    /// Sends until the main process has ended, and gives the writer back.
    async fn send<'a, 'b>(
        self,
        writer: &'a mut WriteHalf<'b>,
    ) -> Result<&'a mut WriteHalf<'b>, FrameError> {
        let pipes = [(&self.stdout, Kind::Data), (&self.stderr, Kind::Stderr)];
        let mut open = [true, true];
        let mut buffer = Vec::new();
        loop {
            let ready = tokio::select! {
                () = self.main_ended.notified() => break,
                _ = self.stdout.readable(), if open[0] => 0,
                _ = self.stderr.readable(), if open[1] => 1,
            };
            let (pipe, kind) = pipes[ready];
            buffer.resize(READ_BYTES, 0);
            match pipe.try_read(&mut buffer) {
                Ok(0) => open[ready] = false,
                Ok(count) => write_frame(writer, kind, [&buffer[..count], &[]]).await?,
                Err(error) => open[ready] = error.kind() == io::ErrorKind::WouldBlock,
            }
        }
        for (pipe, kind) in pipes {
            send_rest(pipe, kind, writer, &mut buffer).await?;
        }
        Ok(writer)
    }
}

/// Sends what is in a pipe now, whoever may go on writing to it.
async fn send_rest(
    pipe: &pipe::Receiver,
    kind: Kind,
    writer: &mut WriteHalf<'_>,
    buffer: &mut Vec<u8>,
) -> Result<(), FrameError> {
    let mut left = sys::readable_bytes(pipe.as_fd());
    while left > 0 {
        buffer.resize(left.min(READ_BYTES), 0);
        match sys::read(pipe.as_fd(), buffer) {
            Ok(count) if count > 0 => {
                write_frame(writer, kind, [&buffer[..count], &[]]).await?;
                left = left.saturating_sub(count);
            }
            Ok(_) | Err(_) => break,
        }
    }
    Ok(())
}
