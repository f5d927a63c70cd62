//! Attach: a job's output from an offset, and its input.
//!
//! A reader that is slower than a process holds nothing up and queues nothing: what
//! it has not read when the ring needs the place is gone, and it is told so. A
//! terminal waits for its quickest reader, see [`crate::pace`].

use std::rc::Rc;
use std::time::Duration;

use sandtree_wire::{AttachEvent, FrameError, Kind, read_frame, write_message};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::net::unix::{ReadHalf, WriteHalf};
use tokio::time::sleep;

use crate::hangup::Hangup;
use crate::job::RunningJob;

/// Records go out in writes of at least this many bytes, when there are as many.
const WRITE_BYTES: usize = 64 * 1024;

/// A write of so many bytes is a part of a flood. What follows gets a moment to come
/// together in the ring, since a write for each piece costs both sides far more.
const FLOOD_BYTES: usize = 4 * 1024;
const FLOOD_PAUSE: Duration = Duration::from_millis(1);

/// Follows the job until it has ended and all of it is sent, or the server closes.
///
/// # Errors
///
/// What the connection failed with.
pub(crate) async fn serve(
    mut connection: UnixStream,
    job: Option<Rc<RunningJob>>,
    from: u64,
) -> Result<(), FrameError> {
    let Some(job) = job else {
        return write_message(&mut connection, &AttachEvent::Unknown).await;
    };
    let closed = Hangup::of_input(&connection)?;
    let (mut reader, mut writer) = connection.split();
    tokio::select! {
        result = send_output(&mut writer, &job, from) => result,
        error = take_input(&mut reader, &job) => Err(error),
        () = closed.happened() => Err(FrameError::Closed),
    }
}

async fn send_output(
    writer: &mut WriteHalf<'_>,
    job: &Rc<RunningJob>,
    mut next: u64,
) -> Result<(), FrameError> {
    let reading = job.read_from(next);
    let mut changes = job.changes();
    let mut frames = Vec::new();
    loop {
        changes.mark_unchanged();
        let kept_from = job.ring().borrow().kept_from();
        if next < kept_from {
            write_message(writer, &AttachEvent::Gap { from: next, to: kept_from }).await?;
            next = kept_from;
            reading.take(next);
            continue;
        }
        // The end comes after the last byte, so it is looked at first.
        let ended = job.ended();
        next = job.ring().borrow().frames(next, &mut frames, WRITE_BYTES);
        if !frames.is_empty() {
            writer.write_all(&frames).await?;
            reading.take(next);
            if (FLOOD_BYTES..WRITE_BYTES).contains(&frames.len()) {
                sleep(FLOOD_PAUSE).await;
            }
            frames.clear();
        } else if let Some(status) = ended {
            let end = job.ring().borrow().end();
            return write_message(writer, &AttachEvent::Ended { status, end }).await;
        } else {
            frames = Vec::new();
            let _ = changes.changed().await;
        }
    }
}

/// Hands input to the job, until a frame makes no sense. What a job no longer reads
/// is dropped: its output may still be wanted.
async fn take_input(reader: &mut ReadHalf<'_>, job: &RunningJob) -> FrameError {
    let mut buffer = Vec::new();
    loop {
        let frame = match read_frame(reader, &mut buffer).await {
            Ok(frame) => frame,
            Err(error) => return error,
        };
        match frame.kind {
            Kind::Data => drop(job.write_input(frame.payload).await),
            Kind::End => {}
            Kind::Message | Kind::Stderr | Kind::Record => return FrameError::Unexpected,
        }
    }
}
