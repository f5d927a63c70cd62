//! A connection to a port of a sandbox that counts what it carries.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};

use sandtree_actors::Traffic;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::edge::errors::{Problem, kinds};

/// What a connection's bytes go through.
pub(super) trait Carrier: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<C: AsyncRead + AsyncWrite + Unpin + Send + 'static> Carrier for C {}

/// One of the connections that a sandbox may have at once.
pub(super) struct Place(Arc<Traffic>);

/// Takes a place.
///
/// # Errors
///
/// 429 when there is none.
pub(super) fn place(traffic: &Arc<Traffic>, max: usize) -> Result<Place, Problem> {
    let taken =
        traffic.open.fetch_update(Relaxed, Relaxed, |open| (open < max).then_some(open + 1));
    let full = || format!("{max} connections to one sandbox at once is the limit; try again later");
    taken.map_err(|_| Problem::new(kinds::BUSY, full()))?;
    Ok(Place(Arc::clone(traffic)))
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}

/// A connection that counts.
pub(super) struct Connection<C> {
    carrier: C,
    traffic: Arc<Traffic>,
    _place: Place,
}

impl<C> Connection<C> {
    pub(super) fn new(carrier: C, traffic: Arc<Traffic>, place: Place) -> Self {
        Self { carrier, traffic, _place: place }
    }
}

impl<C: Carrier> AsyncRead for Connection<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.carrier).poll_read(context, buffer))?;
        let count = buffer.filled().len() - before;
        self.traffic.sent.fetch_add(count as u64, Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl<C: Carrier> AsyncWrite for Connection<C> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.carrier).poll_write(context, bytes))?;
        self.traffic.received.fetch_add(count as u64, Relaxed);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.carrier).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.carrier).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_and_come_back() {
        let traffic = Arc::new(Traffic::default());
        let first = place(&traffic, 1).unwrap_or_else(|_| panic!("one is free"));
        assert!(place(&traffic, 1).is_err());
        drop(first);
        assert!(place(&traffic, 1).is_ok());
    }
}
