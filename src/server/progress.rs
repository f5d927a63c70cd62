//! Whether a connection is of use to anybody: a client that does not take what it asked
//! for, or asks for nothing any more, must not keep its place for ever.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Frame, SizeHint};
use warp::http::Version;

use crate::edge::idle::LastSeen;

/// Longest time in which a client takes nothing of what it asked for.
pub(super) const STALL_MAX: Duration = Duration::from_secs(120);

/// What happens on one connection.
#[derive(Debug)]
pub(super) struct Progress {
    /// Requests whose next bytes are the server's to make: nobody waits for the client.
    at_work: AtomicUsize,
    /// Requests that are not answered to the end.
    open: AtomicUsize,
    has_begun: AtomicBool,
    is_http2: AtomicBool,
    seen: LastSeen,
}

impl Progress {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            at_work: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            has_begun: AtomicBool::new(false),
            is_http2: AtomicBool::new(false),
            seen: LastSeen::now(),
        })
    }

    /// A request has come.
    pub(super) fn begin(self: &Arc<Self>, version: Version) -> Using {
        self.has_begun.store(true, Relaxed);
        self.is_http2.store(version == Version::HTTP_2, Relaxed);
        self.open.fetch_add(1, Relaxed);
        self.at_work.fetch_add(1, Relaxed);
        Using { progress: Arc::clone(self), is_at_work: true }
    }

    pub(super) fn has_begun(&self) -> bool {
        self.has_begun.load(Relaxed)
    }

    /// Says that something has happened.
    pub(super) fn touch(&self) {
        self.seen.touch();
    }

    /// Returns when the client has not done its part for too long: asked for anything
    /// within `idle_max`, or taken anything within [`STALL_MAX`].
    pub(super) async fn given_up(&self, idle_max: Duration) {
        loop {
            if self.at_work.load(Relaxed) > 0 {
                // The server's silence is not the client's.
                self.touch();
            }
            let left = self.limit(idle_max).saturating_sub(self.seen.silence());
            if left.is_zero() {
                return;
            }
            // What is waited for may change meanwhile, and with it how long. A millisecond
            // more, because that is what the silence is exact to.
            tokio::time::sleep(left.min(idle_max) + Duration::from_millis(1)).await;
        }
    }

    fn limit(&self, idle_max: Duration) -> Duration {
        // Between the requests of HTTP/1, hyper looks after that itself.
        let is_idle = self.open.load(Relaxed) == 0;
        let is_ours = self.is_http2.load(Relaxed) || !self.has_begun();
        if is_idle && is_ours { idle_max } else { STALL_MAX }
    }
}

/// One request, until it is answered to the end or given up.
pub(super) struct Using {
    progress: Arc<Progress>,
    is_at_work: bool,
}

impl Using {
    fn set_at_work(&mut self, is_at_work: bool) {
        if is_at_work && !self.is_at_work {
            self.progress.at_work.fetch_add(1, Relaxed);
        } else if !is_at_work && self.is_at_work {
            self.progress.at_work.fetch_sub(1, Relaxed);
        }
        self.is_at_work = is_at_work;
        self.progress.touch();
    }

    /// The answer's head is there; its body is taken by the client.
    pub(super) fn answered<B>(mut self, body: B) -> Taken<B> {
        self.set_at_work(false);
        Taken { body, using: self }
    }
}

impl Drop for Using {
    fn drop(&mut self) {
        self.set_at_work(false);
        self.progress.open.fetch_sub(1, Relaxed);
    }
}

/// A body of which it is known who waits for whom.
pub(super) struct Taken<B> {
    body: B,
    using: Using,
}

impl<B: Body + Unpin> Body for Taken<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        self.using.set_at_work(polled.is_pending());
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::stream;
    use http_body_util::{BodyExt as _, StreamBody};
    use tokio::time::Instant;

    use super::*;

    const IDLE_MAX: Duration = Duration::from_secs(30);

    /// In whole seconds, when it is given up.
    async fn given_up(progress: &Progress) -> u64 {
        let begun = Instant::now();
        progress.given_up(IDLE_MAX).await;
        begun.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_asks_for_nothing_is_given_up_soon() {
        assert_eq!(given_up(&Progress::new()).await, IDLE_MAX.as_secs());
        let progress = Progress::new();
        let using = progress.begin(Version::HTTP_2);
        let waiting = tokio::time::timeout(IDLE_MAX / 2, progress.given_up(IDLE_MAX));
        assert!(waiting.await.is_err());
        let ended = async { drop(using) };
        let (seconds, ()) = tokio::join!(given_up(&progress), ended);
        assert_eq!(seconds, IDLE_MAX.as_secs(), "it is idle from the end of the request on");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_given_up_and_one_that_waits_is_not() {
        for version in [Version::HTTP_11, Version::HTTP_2] {
            let progress = Progress::new();
            let using = progress.begin(version);
            let hour = Duration::from_secs(3600);
            let waiting = tokio::time::timeout(hour, progress.given_up(IDLE_MAX)).await;
            assert!(waiting.is_err(), "it waits for the server");
            let pieces = [Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(b"x")))];
            let body = StreamBody::new(Box::pin(futures_util::StreamExt::chain(
                stream::iter(pieces),
                stream::pending(),
            )));
            let mut body = using.answered(body);
            assert_eq!(given_up(&progress).await, STALL_MAX.as_secs(), "nothing was taken");
            body.frame().await.expect("a frame").expect("a piece");
            assert_eq!(given_up(&progress).await, STALL_MAX.as_secs(), "no more was taken");
            let next = tokio::time::timeout(Duration::from_millis(1), body.frame()).await;
            assert!(next.is_err());
            let waiting = tokio::time::timeout(hour, progress.given_up(IDLE_MAX)).await;
            assert!(waiting.is_err(), "it waits for the next piece");
        }
    }
}
