//! Bodies of requests: whole ones, and ones that come piece by piece.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::sync::mpsc;

/// Pieces that wait for the connection.
const PIECES_MAX: usize = 8;

/// A body that comes piece by piece; at most a few pieces are in memory.
#[derive(Debug)]
pub struct Pieces {
    receiver: mpsc::Receiver<io::Result<Bytes>>,
    /// How many bytes are still to come, if that is known.
    left: Option<u64>,
}

impl Pieces {
    /// A body, and where its pieces go. An error breaks the request off; when the
    /// sender is dropped, the body is whole. With a `length`, exactly so many bytes
    /// have to come.
    #[must_use]
    pub fn new(length: Option<u64>) -> (mpsc::Sender<io::Result<Bytes>>, Self) {
        let (sender, receiver) = mpsc::channel(PIECES_MAX);
        (sender, Self { receiver, left: length })
    }
}

/// What a request carries.
#[derive(Debug)]
pub(crate) enum Body {
    Whole(Bytes),
    Pieces(Pieces),
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Body::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Body::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Body::Pieces(pieces) => {
                let next = std::task::ready!(pieces.receiver.poll_recv(context));
                Poll::Ready(next.map(|piece| piece.map(|bytes| pieces.pass(bytes))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Body::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Body::Pieces(Pieces { left: Some(left), .. }) => SizeHint::with_exact(*left),
            Body::Pieces(Pieces { left: None, .. }) => SizeHint::default(),
        }
    }
}

impl Pieces {
    fn pass(&mut self, bytes: Bytes) -> Frame<Bytes> {
        self.left = self.left.map(|left| left.saturating_sub(bytes.len() as u64));
        Frame::data(bytes)
    }
}
