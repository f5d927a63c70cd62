//! A connection before it is known whose it is.
//!
//! Nothing is taken from it before its hello is believed: the bytes are looked at and
//! left where they are, so that no descriptor that came along is closed here. A stranger
//! that goes, for whatever reason, goes to the [`Waste`].

use std::io;
use std::sync::Arc;

use rustix::net::{RecvFlags, recv};
use sandtree_wire::{FrameError, Hello, read_frame_within};
use tokio::io::{AsyncRead, Interest};
use tokio::net::UnixStream;
use tokio::sync::OwnedSemaphorePermit;

use super::waste::Waste;

/// Most bytes of a hello.
const HELLO_BYTES_MAX: usize = 512;
/// A hello with what is before it in its frame, and a little more.
const LOOKED_AT_BYTES: usize = HELLO_BYTES_MAX + 64;

/// Somebody who has dialled.
pub(super) struct Stranger {
    /// With the place that it takes until it is closed.
    held: Option<(UnixStream, OwnedSemaphorePermit)>,
    waste: Arc<Waste>,
}

impl Stranger {
    pub(super) fn new(
        connection: UnixStream,
        place: OwnedSemaphorePermit,
        waste: Arc<Waste>,
    ) -> Self {
        Self { held: Some((connection, place)), waste }
    }

    /// Takes another place than it has.
    pub(super) fn take_place(&mut self, place: OwnedSemaphorePermit) {
        if let Some((_, held)) = &mut self.held {
            *held = place;
        }
    }

    /// The process at the other end; 0 when this kernel cannot tell.
    pub(super) fn peer_pid(&self) -> u32 {
        let peer = self.held.as_ref().and_then(|(connection, _)| connection.peer_cred().ok());
        peer.and_then(|peer| u32::try_from(peer.pid()?).ok()).unwrap_or(0)
    }

    /// What it says first. A hello comes in one piece, as init writes it.
    ///
    /// # Errors
    ///
    /// When it says something else, or nothing any more.
    pub(super) async fn hello(&self) -> Result<Hello, FrameError> {
        let (connection, _) = self.held.as_ref().ok_or(FrameError::Closed)?;
        let mut bytes = [0; LOOKED_AT_BYTES];
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        let look = || -> io::Result<usize> { Ok(recv(connection, &mut bytes[..], flags)?.0) };
        let count = connection.async_io(Interest::READABLE, look).await?;
        read_hello(&mut &bytes[..count]).await
    }

    /// The connection, for one whose hello is believed: the hello is taken from it.
    ///
    /// # Errors
    ///
    /// When the hello is there no more.
    pub(super) async fn admit(mut self) -> Result<UnixStream, FrameError> {
        let (mut connection, _place) = self.held.take().ok_or(FrameError::Closed)?;
        read_hello(&mut connection).await?;
        Ok(connection)
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            self.waste.close(held);
        }
    }
}

async fn read_hello<R: AsyncRead + Unpin>(reader: &mut R) -> Result<Hello, FrameError> {
    let mut buffer = Vec::new();
    read_frame_within(reader, &mut buffer, HELLO_BYTES_MAX).await?.message()
}
