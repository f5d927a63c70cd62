//! One request through one connection.

use std::future::{pending, poll_fn};
use std::net::IpAddr;
use std::pin::pin;
use std::task::Context;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, Stream, StreamExt, TryStreamExt, stream};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyDataStream, BodyExt, Empty, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http1;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use warp::http::header::{CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use warp::http::{HeaderMap, HeaderValue, Method, Request, StatusCode};

use super::connection::{Carrier, Connection};
use super::headers::{Mount, from_sandbox, into_sandbox, upgrade_of};
use super::tunnel;
use crate::edge::body::{Body, BodyError};
use crate::edge::context::EVENT_STREAM;
use crate::edge::errors::{Problem, kinds};
use crate::edge::idle::LastSeen;
use crate::edge::reply::{self, Answered, Response};

/// Longest time from the last byte of a request that came until the head of its answer.
pub(super) const HEAD_MAX: Duration = Duration::from_secs(60);
/// Longest time from the head of an answer until the connection is upgraded.
const UPGRADE_MAX: Duration = Duration::from_secs(10);
/// Largest head of an answer, in bytes.
const HEAD_BYTES_MAX: usize = 64 * 1024;

type RequestBody = UnsyncBoxBody<Bytes, BodyError>;
/// Drives the connection; dropped, it closes it.
enum Driver {
    /// Beside everything else: a body that goes in must not wait for one that comes out, and an
    /// upgrade is followed by both.
    Beside { _task: AbortOnDropHandle<()> },
    /// By whoever waits for the answer and reads its body, which saves a change of tasks for
    /// every piece.
    Within(BoxFuture<'static, ()>),
}

impl Driver {
    /// Waits for something while the connection is driven.
    async fn during<T>(&mut self, waited: impl Future<Output = T>) -> T {
        let mut waited = pin!(waited);
        poll_fn(|context| {
            self.poll(context);
            waited.as_mut().poll(context)
        })
        .await
    }

    /// What breaks the connection is told to whoever waits for the answer or reads its body.
    fn poll(&mut self, context: &mut Context<'_>) {
        if let Driver::Within(driving) = self
            && driving.as_mut().poll(context).is_ready()
        {
            *driving = pending().boxed();
        }
    }
}

/// A request on its way into a sandbox.
pub(super) struct Forward {
    pub(super) method: Method,
    /// Path and query, as the client sent them.
    pub(super) target: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
    /// The client's connection, if it asked for an upgrade.
    pub(super) upgrade: Option<OnUpgrade>,
    pub(super) peer: Option<IpAddr>,
    pub(super) mount: Mount,
    pub(super) port: u16,
    pub(super) tasks: TaskTracker,
    pub(super) shutdown: CancellationToken,
}

impl Forward {
    /// Sends it through a connection and answers what comes back.
    ///
    /// # Errors
    ///
    /// 502 when the server breaks the connection off, 504 when it does not answer.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it closes the connection, and the server in the sandbox sees that. So
    /// does the answer's body.
    pub(super) async fn through<C: Carrier>(mut self, connection: Connection<C>) -> Answered {
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(HEAD_BYTES_MAX)
            .handshake::<_, RequestBody>(TokioIo::new(connection))
            .await
            .map_err(|error| self.broken(&error))?;
        let seen = std::sync::Arc::new(LastSeen::now());
        let wanted = upgrade_of(&self.headers).filter(|_| self.upgrade.is_some());
        let is_simple = wanted.is_none() && !self.has_body();
        let request = self.request(wanted.as_ref(), &seen)?;
        let driving = connection.with_upgrades().map(drop);
        let mut driver = if is_simple {
            Driver::Within(driving.boxed())
        } else {
            Driver::Beside { _task: AbortOnDropHandle::new(self.tasks.spawn(driving)) }
        };
        let answer = driver.during(self.answer(sender, request, &seen)).await?;
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            return self.switch(wanted, answer, driver);
        }
        let (mut head, body) = answer.into_parts();
        from_sandbox(&mut head.headers, None, self.port, &self.mount);
        let mut response =
            reply::streaming(head.status, None, self.body(&head.headers, body, driver));
        *response.headers_mut() = head.headers;
        Ok(response)
    }

    fn has_body(&self) -> bool {
        self.headers.contains_key(TRANSFER_ENCODING)
            || self.headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0")
            // HTTP/2 needs neither to have one.
            || !matches!(self.method, Method::GET | Method::HEAD) && !self.headers.contains_key(CONTENT_LENGTH)
    }

    fn request(
        &mut self,
        upgrade: Option<&HeaderValue>,
        seen: &std::sync::Arc<LastSeen>,
    ) -> Result<Request<RequestBody>, Problem> {
        let has_body = self.has_body();
        let body = std::mem::replace(&mut self.body, Body::empty());
        let body = if has_body && upgrade.is_none() {
            let seen = std::sync::Arc::clone(seen);
            let frames = body.limited(u64::MAX).map_ok(Frame::data);
            StreamBody::new(frames.inspect(move |_| seen.touch())).boxed_unsync()
        } else {
            Empty::new().map_err(|never| match never {}).boxed_unsync()
        };
        let mut headers = std::mem::take(&mut self.headers);
        into_sandbox(&mut headers, upgrade, self.port, self.peer, &self.mount);
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.target.parse().map_err(|error| {
            Problem::new(kinds::BAD_REQUEST, format!("the path cannot be passed on: {error}"))
        })?;
        *request.headers_mut() = headers;
        Ok(request)
    }

    async fn answer(
        &self,
        mut sender: http1::SendRequest<RequestBody>,
        request: Request<RequestBody>,
        seen: &LastSeen,
    ) -> Result<warp::http::Response<Incoming>, Problem> {
        tokio::select! {
            answer = sender.send_request(request) => answer.map_err(|error| self.broken(&error)),
            () = seen.silent_for(HEAD_MAX) => {
                let seconds = HEAD_MAX.as_secs();
                let detail = format!("the server on port {} has not answered for {seconds} seconds", self.port);
                Err(Problem::new(kinds::TIMED_OUT, detail))
            }
        }
    }

    /// The answer's body; whoever drops it closes the connection. Events end with the
    /// server, since they have no other end; everything else may finish.
    fn body(
        &self,
        headers: &HeaderMap,
        body: Incoming,
        driver: Driver,
    ) -> impl Stream<Item = Result<Bytes, hyper::Error>> + Send + 'static {
        let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let is_endless = media_type.is_some_and(|media_type| media_type.starts_with(EVENT_STREAM));
        let end = if is_endless { self.shutdown.clone() } else { CancellationToken::new() };
        let pieces = BodyDataStream::new(body).take_until(end.cancelled_owned());
        let (mut pieces, mut driver) = (Box::pin(pieces), driver);
        stream::poll_fn(move |context| {
            driver.poll(context);
            pieces.as_mut().poll_next(context)
        })
    }

    /// Answers an upgrade and carries what follows.
    fn switch(
        self,
        wanted: Option<HeaderValue>,
        mut answer: warp::http::Response<Incoming>,
        driver: Driver,
    ) -> Answered {
        let (Some(_), Some(client)) = (wanted, self.upgrade) else {
            let detail = format!("the server on port {} changed the protocol unasked", self.port);
            return Err(Problem::new(kinds::SANDBOX, detail));
        };
        let protocol = upgrade_of(answer.headers());
        let sandbox = hyper::upgrade::on(&mut answer);
        let mut headers = std::mem::take(answer.headers_mut());
        from_sandbox(&mut headers, protocol.as_ref(), self.port, &self.mount);
        let mut response: Response = reply::empty(StatusCode::SWITCHING_PROTOCOLS);
        *response.headers_mut() = headers;
        let shutdown = self.shutdown;
        self.tasks.spawn(async move {
            let both = async { tokio::try_join!(client, sandbox) };
            if let Ok(Ok((client, sandbox))) = timeout(UPGRADE_MAX, both).await {
                tunnel::carry(TokioIo::new(client), TokioIo::new(sandbox), &shutdown).await;
            }
            drop(driver);
        });
        Ok(response)
    }

    fn broken(&self, error: &hyper::Error) -> Problem {
        let port = self.port;
        let detail = format!("the server on port {port} gave no whole answer: {error}");
        Problem::new(kinds::SANDBOX, detail)
    }
}

#[cfg(test)]
mod tests;
