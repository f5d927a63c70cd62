//! Notices that the server closed a connection, even while bytes from it lie unread.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::UnixStream;

use crate::sys;

/// Watches a connection through a descriptor of its own, so that its readiness is
/// nobody else's. Should be made once; it is one more registration with the kernel.
pub(crate) struct Hangup {
    connection: AsyncFd<OwnedFd>,
    interest: Interest,
    events: libc::c_short,
}

impl Hangup {
    /// Happens when the server will send nothing more.
    ///
    /// # Errors
    ///
    /// When descriptors are exhausted.
    pub(crate) fn of_input(connection: &UnixStream) -> io::Result<Self> {
        let events = libc::POLLRDHUP | libc::POLLHUP | libc::POLLERR;
        Self::new(connection, Interest::READABLE, events)
    }

    /// Happens when the server has closed: it neither sends nor reads.
    ///
    /// # Errors
    ///
    /// When descriptors are exhausted.
    pub(crate) fn of_both_directions(connection: &UnixStream) -> io::Result<Self> {
        // A half-closed connection counts as readable for ever, but not as writable.
        Self::new(connection, Interest::WRITABLE, libc::POLLHUP | libc::POLLERR)
    }

    fn new(connection: &UnixStream, interest: Interest, events: libc::c_short) -> io::Result<Self> {
        let own = connection.as_fd().try_clone_to_owned()?;
        Ok(Self { connection: sys::watch(own, interest)?, interest, events })
    }

    /// Waits for it.
    ///
    /// # Cancel safety
    ///
    /// Safe.
    pub(crate) async fn happened(&self) {
        loop {
            let ready = self.connection.ready(self.interest).await;
            if sys::polls(self.connection.as_fd(), self.events) {
                return;
            }
            // Only bytes: the kernel tells of the next change again.
            match ready {
                Ok(mut ready) => ready.clear_ready(),
                Err(_) => return,
            }
        }
    }
}
