//! Watch: what changes below a directory, by inotify.
//!
//! inotify watches single directories, so each directory that appears is watched, and then
//! looked into: what was made in it before the watch was there is told as well, and what
//! was made in between may be told twice. Events are held back for a moment, in which a
//! rename finds its other half and many writes become one. When the kernel or we have to
//! drop some, everything is watched anew and the server is told that it has to look itself.
//!
//! A server that does not read holds up the reading of events, and the kernel's own queue
//! is bounded. Paths are followed by name: whoever swaps them moves our eyes within their
//! own sandbox.

mod inotify;
mod pending;
mod tree;

use std::time::Duration;

use sandtree_wire::{FrameError, WatchEvent, WatchSpec, write_message};
use tokio::net::UnixStream;
use tokio::net::unix::WriteHalf;
use tokio::time::sleep;

use crate::command::start_error;
use crate::hangup::Hangup;
use pending::Pending;
use tree::{Outcome, Tree};

/// How long events are held back.
const PAUSE: Duration = Duration::from_millis(50);

/// Tells what changes until the server closes or the directory is gone.
///
/// # Errors
///
/// What the connection failed with.
pub(crate) async fn serve(mut server: UnixStream, spec: WatchSpec) -> Result<(), FrameError> {
    let closed = Hangup::of_input(&server)?;
    let (_, mut writer) = server.split();
    tokio::select! {
        result = tell(&mut writer, spec) => result,
        () = closed.happened() => Err(FrameError::Closed),
    }
}

async fn tell(writer: &mut WriteHalf<'_>, spec: WatchSpec) -> Result<(), FrameError> {
    let path = spec.path.clone();
    let mut tree = match Tree::watch(spec).await {
        Ok(tree) => tree,
        Err(error) => return fail(writer, &path, &error).await,
    };
    write_message(writer, &WatchEvent::Ready { directories: tree.directories() }).await?;
    let mut limited = false;
    let mut pending = Pending::default();
    loop {
        if tree.is_limited() && !std::mem::replace(&mut limited, true) {
            write_message(writer, &WatchEvent::Limited { directories: tree.directories() }).await?;
        }
        if let Err(error) = tree.happened().await {
            return fail(writer, &path, &error).await;
        }
        sleep(PAUSE).await;
        match tree.drain(&mut pending).await {
            Ok(Outcome::Told) if !pending.has_overflowed() => {}
            Ok(Outcome::Told | Outcome::Lost) => {
                // First the watches, so that whoever looks after this misses nothing.
                if let Err(error) = tree.watch_anew().await {
                    return fail(writer, &path, &error).await;
                }
                pending = Pending::default();
                write_message(writer, &WatchEvent::Overflow).await?;
                continue;
            }
            Err(error) => return fail(writer, &path, &error).await,
        }
        for unmatched in pending.directories_moved_away() {
            tree.forget_below(&unmatched);
        }
        for changes in pending.take() {
            write_message(writer, &WatchEvent::Changes(changes)).await?;
        }
    }
}

async fn fail(
    writer: &mut WriteHalf<'_>,
    path: &str,
    error: &std::io::Error,
) -> Result<(), FrameError> {
    let failed = WatchEvent::Failed(start_error(&format!("watch {path}"), error));
    write_message(writer, &failed).await
}
