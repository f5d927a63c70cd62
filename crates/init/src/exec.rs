//! Exec: one command on one stream.
//!
//! It ends when its main process ends. What that wrote is sent, whoever else still
//! holds the pipes; what it left running lives on. A stream that the server closes,
//! and a timeout, end the whole tree instead.

mod output;

use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use sandtree_wire::{EXEC_SIZE, ExecEvent, ExecInput, ExecSpec, ExitStatus};
use sandtree_wire::{FrameError, Kind, StartError, read_frame, write_message};
use tokio::net::UnixStream;
use tokio::net::unix::{ReadHalf, pipe};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::clock::running_for;
use crate::command::{Command, Request, start_error};
use crate::hangup::Hangup;
use crate::init::Init;
use crate::pipes;
use crate::pty::Pty;
use crate::tree::Tree;
use output::Output;

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
    let (tree, ends) = match start(init, spec).await {
        Ok(started) => started,
        Err(error) => return write_message(&mut connection, &ExecEvent::Failed(error)).await,
    };
    let result = follow(init, connection, &tree, ends, spec.timeout_ms).await;
    if result.is_err() {
        tree.kill().await;
    }
    drop(counted);
    result
}

/// What init holds of a command's input and output.
struct Ends {
    stdin: Option<pipe::Sender>,
    output: Output,
}

async fn start(init: &Init, spec: &ExecSpec) -> Result<(Tree, Ends), StartError> {
    let configuration = init.startable()?;
    let choices = [&spec.argv, &spec.argv_otherwise].map(Clone::clone);
    let count = if spec.argv_otherwise.is_empty() { 1 } else { 2 };
    let command = Command::prepare(&Request {
        choices: &choices[..count],
        cwd: spec.cwd.as_deref(),
        base: &configuration.env,
        env: &spec.env,
        terminal: spec.tty,
    })?;
    if spec.tty {
        let pty = Pty::open(EXEC_SIZE).map_err(|error| start_error("open a terminal", &error))?;
        let tree = Tree::start(init, &command, pty.stdio_without_input(&init.null)).await?;
        return Ok((tree, Ends { stdin: None, output: Output::Terminal(pty) }));
    }
    let (ours, theirs) =
        pipes::open(spec.stdin).map_err(|error| start_error("open pipes", &error))?;
    let tree = Tree::start(init, &command, theirs.stdio(&init.null)).await?;
    let output = Output::Pipes([ours.stdout, ours.stderr]);
    Ok((tree, Ends { stdin: ours.stdin, output }))
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
    init: &Init,
    mut connection: UnixStream,
    tree: &Tree,
    Ends { stdin, output }: Ends,
    timeout_ms: Option<u64>,
) -> Result<(), FrameError> {
    let closed = Hangup::of_input(&connection)?;
    let (mut reader, mut writer) = connection.split();
    let pid = tree.pid();
    write_message(&mut writer, &ExecEvent::Started { pid }).await?;

    let main_ended = Notify::new();
    let mut output = pin!(output.send(&init.scratch, &main_ended, &mut writer));
    let end = tokio::select! {
        status = tree.ended() => End::Itself(status),
        () = deadline(timeout_ms) => End::Timeout,
        () = closed.happened() => End::Stream(FrameError::Closed),
        error = take_input(&mut reader, stdin, tree) => End::Stream(error),
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
