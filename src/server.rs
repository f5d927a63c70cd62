//! The connections: accepted, bounded, and ended in time.
//!
//! warp answers requests, but its own server has no time-out for a head that never comes,
//! no bound on connections and no end to a graceful shutdown. So the loop is here.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use warp::http::Request;

use crate::edge::context::Peer;
use crate::edge::front::Front;
use crate::edge::metrics::Connected;
use progress::Progress;

mod progress;

/// Largest head of a request, in bytes.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Most requests at once on one HTTP/2 connection.
const STREAMS_MAX: u32 = 128;
/// Time between two signs of life on an HTTP/2 connection, and the longest wait for an answer.
const HTTP2_KEEP_ALIVE: Duration = Duration::from_secs(20);
/// Pause after an accept that did not work, most likely for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Bounds of connections.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// Most connections at once; more wait until one of them ends.
    pub connections_max: usize,
    /// Longest time in which a request's head has to arrive.
    pub header_timeout: Duration,
    /// Most headers of one request.
    pub headers_max: usize,
    /// Time that connections have left when the server is told to end.
    pub shutdown_deadline: Duration,
}

/// How the server is told to end.
#[derive(Debug, Clone, Default)]
pub struct Ending {
    /// No new connections; those that are there finish their requests, streams end.
    pub soon: CancellationToken,
    /// What is left is dropped.
    pub now: CancellationToken,
}

/// Answers connections until it is told to end, then waits for `tasks` and for its own
/// connections, but not longer than the deadline.
pub async fn serve(
    listener: TcpListener,
    front: Front,
    bounds: Bounds,
    ending: Ending,
    tasks: TaskTracker,
) {
    let places = Arc::new(Semaphore::new(bounds.connections_max));
    let server = Server { front, http: Arc::new(http(&bounds)), bounds, ending };
    let ending = &server.ending;
    loop {
        let place = tokio::select! {
            biased;
            () = ending.soon.cancelled() => break,
            place = Arc::clone(&places).acquire_owned() => place,
        };
        // The semaphore is never closed.
        let Ok(place) = place else { break };
        let accepted = tokio::select! {
            biased;
            () = ending.soon.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                tasks.spawn(server.clone().connection(stream, peer, place));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection cannot be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    server.finish(&tasks).await;
}

fn http(bounds: &Bounds) -> Builder<TokioExecutor> {
    let mut http = Builder::new(TokioExecutor::new());
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.header_timeout)
        .max_headers(bounds.headers_max)
        .max_buf_size(HEAD_BYTES_MAX);
    http.http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(HTTP2_KEEP_ALIVE)
        .keep_alive_timeout(HTTP2_KEEP_ALIVE)
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX));
    http
}

#[derive(Clone)]
struct Server {
    front: Front,
    http: Arc<Builder<TokioExecutor>>,
    bounds: Bounds,
    ending: Ending,
}

impl Server {
    async fn connection(self, stream: TcpStream, peer: SocketAddr, place: OwnedSemaphorePermit) {
        let _counted = (place, Connected::begin());
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, %peer, "the connection is gone already");
            return;
        }
        let progress = Progress::new();
        let (front, watched) = (self.front.clone(), Arc::clone(&progress));
        let service = service_fn(move |mut request: Request<Incoming>| {
            let using = watched.begin(request.version());
            request.extensions_mut().insert(Peer(peer));
            let front = front.clone();
            async move {
                let answer = front.answer(request).await;
                Ok::<_, Infallible>(answer.map(|body| using.answered(body)))
            }
        });
        let io = TokioIo::new(stream);
        let mut served = std::pin::pin!(self.http.serve_connection_with_upgrades(io, service));
        let mut is_ending = false;
        // Hyper's own time-out is for heads of HTTP/1.
        let idle_max = self.bounds.header_timeout;
        let mut given_up = std::pin::pin!(progress.given_up(idle_max));
        let mut is_warned = false;
        let outcome = loop {
            tokio::select! {
                outcome = served.as_mut() => break outcome,
                () = self.ending.soon.cancelled(), if !is_ending => {
                    is_ending = true;
                    served.as_mut().graceful_shutdown();
                }
                () = self.ending.now.cancelled() => return,
                () = given_up.as_mut() => {
                    if is_warned || !progress.has_begun() {
                        return;
                    }
                    // Told once, it has as long again to go by itself.
                    is_warned = true;
                    served.as_mut().graceful_shutdown();
                    progress.touch();
                    given_up.set(progress.given_up(idle_max));
                }
            }
        };
        if let Err(error) = outcome {
            tracing::debug!(%error, %peer, "a connection ended early");
        }
    }

    /// Waits for what is under way, until the deadline.
    async fn finish(self, tasks: &TaskTracker) {
        tasks.close();
        tokio::select! {
            () = tasks.wait() => return,
            () = tokio::time::sleep(self.bounds.shutdown_deadline) => {}
            () = self.ending.now.cancelled() => {}
        }
        tracing::warn!(left = tasks.len(), "requests are dropped, because the server ends");
        self.ending.now.cancel();
    }
}

#[cfg(test)]
mod tests;
