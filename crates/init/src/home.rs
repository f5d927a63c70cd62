//! The way to the server.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use sandtree_wire::{FrameError, REDIAL_MS_MAX, Role, write_message};
use std::rc::Rc;
use tokio::net::UnixStream;
use tokio::time::sleep;

use crate::control;
use crate::init::Init;

const REDIAL_MIN: Duration = Duration::from_millis(5);
const REDIAL_MAX: Duration = Duration::from_millis(REDIAL_MS_MAX);
/// How often a stream is dialled while the server's queue is full.
const STREAM_DIALS_MAX: u32 = 20;

/// Keeps a control connection to the server, for ever.
pub(crate) async fn stay_connected(init: &Rc<Init>) -> Infallible {
    let mut pause = REDIAL_MIN;
    loop {
        if let Ok(connection) = dial(init, Role::Control).await
            && control::serve(init, connection).await.was_welcome
        {
            pause = REDIAL_MIN;
        }
        sleep(pause).await;
        pause = (pause * 2).min(REDIAL_MAX);
    }
}

/// Dials for a stream. A full queue is worth waiting for; a server that is gone has
/// forgotten the stream.
///
/// # Errors
///
/// What the last attempt failed with.
pub(crate) async fn dial_stream(init: &Init, id: u64) -> Result<UnixStream, FrameError> {
    let mut dials = 1;
    loop {
        match dial(init, Role::Stream(id)).await {
            Err(FrameError::Io(error))
                if error.kind() == io::ErrorKind::WouldBlock && dials < STREAM_DIALS_MAX =>
            {
                sleep(REDIAL_MIN * dials).await;
                dials += 1;
            }
            result => return result,
        }
    }
}

async fn dial(init: &Init, role: Role) -> Result<UnixStream, FrameError> {
    let mut connection = UnixStream::connect(init.socket()).await?;
    write_message(&mut connection, &init.hello(role)).await?;
    Ok(connection)
}
