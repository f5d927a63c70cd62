//! The pump of a shell: output from init to the fan-out, input from the viewers
//! to init. Ends with the shell, or with the link.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ractor::ActorRef;
use sandtree_model::ExitStatus;
use sandtree_wire::{AttachEvent, FrameError, Job, Kind, Request, Stream, read_frame, write_frame};
use tokio::io::BufReader;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;

use super::{Input, Shared, TerminalMsg};
use crate::link::Link;
use crate::sandbox::exit_status;

/// Pause before the output is asked for again.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// How a stream of output ended.
enum End {
    Shell(ExitStatus, u64),
    Stream,
}

/// Pumps until the shell's last byte has been fanned out, or the link is gone.
pub(super) async fn run(
    shared: Arc<Shared>,
    link: Arc<Link>,
    mut input: mpsc::Receiver<Input>,
    terminal: ActorRef<TerminalMsg>,
) {
    while !link.is_closed() {
        match attach(&shared, &link, &mut input).await {
            Ok(End::Shell(status, end)) => {
                // Nothing is owed any more: init may forget the shell.
                let forget =
                    Request::Durable { job: Job::Terminal, epoch: shared.epoch, offset: end };
                if let Err(error) = link.tell(forget).await {
                    tracing::debug!(%error, "init was not told to forget a shell");
                }
                let _ = terminal.cast(TerminalMsg::Drained(shared.epoch, status));
                return;
            }
            Ok(End::Stream) => {}
            Err(error) => tracing::debug!(%error, "a terminal's stream ended"),
        }
        tokio::time::sleep(RETRY_AFTER).await;
    }
}

async fn attach(
    shared: &Shared,
    link: &Link,
    input: &mut mpsc::Receiver<Input>,
) -> Result<End, FrameError> {
    let from = shared.fanout.cursor().offset;
    let stream = Stream::Attach { job: Job::Terminal, epoch: shared.epoch, from };
    let connection = link.open(stream).await.map_err(std::io::Error::other)?;
    let (reader, mut writer) = connection.into_split();
    tokio::select! {
        // Keys first: output without end must not keep them from being heard.
        biased;
        end = pass_input(shared, link, input, &mut writer) => end,
        end = fan_out(shared, reader) => end,
    }
}

async fn fan_out(shared: &Shared, reader: OwnedReadHalf) -> Result<End, FrameError> {
    let mut reader = BufReader::with_capacity(64 * 1024, reader);
    let mut buffer = Vec::new();
    loop {
        // What is not read makes the shell wait.
        shared.fanout.room().await;
        let frame = read_frame(&mut reader, &mut buffer).await?;
        match frame.kind {
            Kind::Record => {
                let (head, bytes) = frame.record()?;
                shared.fanout.push_at(head.offset, Bytes::copy_from_slice(bytes));
            }
            Kind::Message => match frame.message()? {
                AttachEvent::Gap { to, .. } => shared.fanout.skip_to(to),
                AttachEvent::Ended { status, end } => {
                    return Ok(End::Shell(exit_status(status), end));
                }
                AttachEvent::Unknown => return Ok(End::Shell(ExitStatus::Lost, u64::MAX)),
            },
            Kind::Data | Kind::Stderr | Kind::End => return Err(FrameError::Unexpected),
        }
    }
}

async fn pass_input(
    shared: &Shared,
    link: &Link,
    input: &mut mpsc::Receiver<Input>,
    writer: &mut OwnedWriteHalf,
) -> Result<End, FrameError> {
    loop {
        match input.recv().await {
            Some(Input::Bytes(bytes)) => {
                for piece in bytes.chunks(sandtree_wire::DATA_BYTES_MAX) {
                    write_frame(writer, Kind::Data, [piece, &[]]).await?;
                }
            }
            Some(Input::Resize(size)) => {
                let size = shared.screen.resize(size);
                shared.show(Some(size));
                if let Err(error) = link.tell(Request::Resize(size)).await {
                    tracing::debug!(%error, "a terminal was not resized");
                }
            }
            // A newer pump has taken over.
            None => return Ok(End::Stream),
        }
    }
}
