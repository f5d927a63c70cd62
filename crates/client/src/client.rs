//! Requests, and the connections that carry them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Uri};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Error as SocketError;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use crate::address::ServerAddress;
use crate::body::{Body, Pieces};
use crate::encode;
use crate::error::{ClientError, Problem};
use crate::patient::Patient;
use crate::response::{Response, Streaming};
use crate::terminal::{Position, Terminal};

/// Connections that are kept for the next request.
const IDLE_MAX: usize = 64;
/// Largest message of a WebSocket.
const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A WebSocket of the server.
pub type WebSocket = WebSocketStream<TcpStream>;

/// How long a client waits, and how much it takes.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Longest time until there is a connection.
    pub connect_max: Duration,
    /// Longest time until there is an answer; a whole one, where it is read as a whole.
    pub answer_max: Duration,
    /// Longest time between two pieces of an answer that is read as it comes.
    pub silence_max: Duration,
    /// Largest answer that is read as a whole.
    pub body_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect_max: Duration::from_secs(10),
            // Operations of the engine included, such as fetching an image.
            answer_max: Duration::from_secs(600),
            // Streams of the server say something every 15 seconds.
            silence_max: Duration::from_secs(60),
            body_bytes_max: 64 * 1024 * 1024,
        }
    }
}

/// A client of one server; clones share its connections.
#[derive(Debug, Clone)]
pub struct Client {
    server: ServerAddress,
    headers: HeaderMap,
    limits: Limits,
    idle: Arc<Mutex<Vec<SendRequest<Body>>>>,
}

impl Client {
    /// A client of the server at an address. Nothing is sent yet.
    #[must_use]
    pub fn new(server: ServerAddress, limits: Limits) -> Self {
        Self { server, headers: HeaderMap::new(), limits, idle: Arc::default() }
    }

    /// A client that sends this header with every request.
    ///
    /// # Errors
    ///
    /// [`ClientError::Request`] when it cannot be a header.
    pub fn with_header(&self, name: &str, value: &str) -> Result<Self, ClientError> {
        let mut headers = self.headers.clone();
        insert(&mut headers, name, value)?;
        Ok(Self { headers, idle: Arc::default(), ..self.clone() })
    }

    /// Where the server is.
    #[must_use]
    pub fn server(&self) -> &ServerAddress {
        &self.server
    }

    /// Begins a request.
    pub fn request(&self, method: Method, path: &str) -> Request<'_> {
        Request {
            client: self,
            method,
            path: path.to_owned(),
            headers: Ok(self.headers.clone()),
            body: Body::Whole(Bytes::new()),
            answer_max: self.limits.answer_max,
        }
    }

    /// Opens a WebSocket.
    ///
    /// # Errors
    ///
    /// [`ClientError::Refused`] when the server answers something else.
    pub async fn websocket(&self, path: &str) -> Result<WebSocket, ClientError> {
        let url = format!("ws://{}{path}", self.server.authority());
        let bad = |error: SocketError| ClientError::Request(error.to_string());
        let mut request = url.into_client_request().map_err(bad)?;
        for (name, value) in &self.headers {
            request.headers_mut().insert(name, value.clone());
        }
        let connection = self.connect().await?;
        let config = WebSocketConfig::default()
            .max_message_size(Some(MESSAGE_BYTES_MAX))
            .max_frame_size(Some(MESSAGE_BYTES_MAX));
        let opening =
            tokio_tungstenite::client_async_with_config(request, connection, Some(config));
        match within(self.limits.answer_max, opening).await? {
            Ok((socket, _)) => Ok(socket),
            Err(SocketError::Http(answer)) => {
                let body = answer.body().as_deref().unwrap_or_default();
                let problem = Problem::of(answer.status().as_u16(), answer.headers(), body);
                Err(ClientError::Refused(Box::new(problem)))
            }
            Err(error) => Err(ClientError::Broken(error.into())),
        }
    }

    /// Looks at a project's terminal, from a position on or, without one, at its
    /// screen.
    ///
    /// # Errors
    ///
    /// As [`Client::websocket`].
    pub async fn terminal(
        &self,
        project: &str,
        (cols, rows): (u16, u16),
        after: Option<Position>,
    ) -> Result<Terminal, ClientError> {
        let (cols, rows) = (cols.to_string(), rows.to_string());
        let after = after.map(|after| after.to_string());
        let mut pairs = vec![("cols", cols.as_str()), ("rows", rows.as_str())];
        pairs.extend(after.as_deref().map(|after| ("after", after)));
        let project = encode::segment(project);
        let path = format!("/v1/projects/{project}/terminal{}", encode::query(&pairs));
        Ok(Terminal::new(self.websocket(&path).await?))
    }

    /// A connection, and whether it was used before.
    async fn connection(&self, fresh: bool) -> Result<(SendRequest<Body>, bool), ClientError> {
        if !fresh {
            while let Some(mut idle) = self.take_idle() {
                if idle.ready().await.is_ok() {
                    return Ok((idle, true));
                }
            }
        }
        Ok((self.dial().await?, false))
    }

    fn take_idle(&self) -> Option<SendRequest<Body>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    async fn connect(&self) -> Result<TcpStream, ClientError> {
        let limit = self.limits.connect_max;
        let unreachable = |source| ClientError::Unreachable { server: self.server.clone(), source };
        let connecting = TcpStream::connect((self.server.host(), self.server.port()));
        let connected = tokio::time::timeout(limit, connecting).await;
        let stream = connected
            .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
            .map_err(unreachable)?;
        // A connection to a port of this machine on which nobody listens can, by chance,
        // begin at that very port: then it is one with itself.
        if stream.local_addr().ok() == stream.peer_addr().ok() {
            return Err(unreachable(std::io::ErrorKind::ConnectionRefused.into()));
        }
        // One key is one packet; without this its echo would wait.
        stream.set_nodelay(true).map_err(unreachable)?;
        Ok(stream)
    }

    async fn dial(&self) -> Result<SendRequest<Body>, ClientError> {
        let stream = self.connect().await?;
        let shaken = handshake(TokioIo::new(Patient::new(stream))).await;
        let (sender, connection) = shaken.map_err(broken)?;
        tokio::spawn(connection);
        Ok(sender)
    }

    fn keep(&self, sender: SendRequest<Body>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(sender);
        }
    }
}

/// A request on its way.
#[must_use]
#[derive(Debug)]
pub struct Request<'a> {
    client: &'a Client,
    method: Method,
    path: String,
    /// What is wrong with a header is told when the request is sent.
    headers: Result<HeaderMap, ClientError>,
    body: Body,
    answer_max: Duration,
}

impl Request<'_> {
    /// Sets a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers = self.headers.and_then(|mut headers| {
            insert(&mut headers, name, value)?;
            Ok(headers)
        });
        self
    }

    /// Sets the body to JSON.
    pub fn json(self, value: &Value) -> Self {
        self.body("application/json", value.to_string())
    }

    /// Sets the body.
    pub fn body(mut self, media: &str, bytes: impl Into<Bytes>) -> Self {
        self.body = Body::Whole(bytes.into());
        self.header(CONTENT_TYPE.as_str(), media)
    }

    /// Sets the body to one that comes piece by piece.
    pub fn pieces(mut self, media: &str, pieces: Pieces) -> Self {
        self.body = Body::Pieces(pieces);
        self.header(CONTENT_TYPE.as_str(), media)
    }

    /// Sets the longest time until there is an answer. That of a body which comes piece
    /// by piece begins with its first piece.
    pub fn answer_within(mut self, limit: Duration) -> Self {
        self.answer_max = limit;
        self
    }

    /// Sends it and reads the whole answer, whatever its status.
    ///
    /// # Errors
    ///
    /// When there is no whole answer.
    pub async fn send(self) -> Result<Response, ClientError> {
        let client = self.client;
        within(self.answer_max, async {
            let (answer, sender) = self.exchange().await?;
            let response = whole(answer, client.limits.body_bytes_max).await?;
            client.keep(sender);
            Ok(response)
        })
        .await?
    }

    /// Sends it and answers a good answer before its body is there.
    ///
    /// # Errors
    ///
    /// [`ClientError::Refused`] for a status from 300 on, and when there is no answer.
    pub async fn stream(self) -> Result<Streaming, ClientError> {
        let limits = self.client.limits;
        let (answer, _) = within(self.answer_max, self.exchange()).await??;
        if answer.status().is_success() {
            let (parts, body) = answer.into_parts();
            return Ok(Streaming::new(parts.headers, body, limits));
        }
        let refused = within(limits.silence_max, whole(answer, limits.body_bytes_max)).await??;
        let status = refused.status;
        refused.accepted()?;
        Err(ClientError::Answer(format!("a body with status {status}")))
    }

    /// As [`Request::stream`], for an answer of server-sent events.
    ///
    /// # Errors
    ///
    /// As [`Request::stream`].
    pub async fn events(self) -> Result<crate::events::Events, ClientError> {
        Ok(self.header(ACCEPT.as_str(), "text/event-stream").stream().await?.events())
    }

    async fn exchange(
        mut self,
    ) -> Result<(hyper::Response<Incoming>, SendRequest<Body>), ClientError> {
        let uri: Uri = self.path.parse().map_err(|_| {
            ClientError::Request(format!("{:?} is no path of an address", self.path))
        })?;
        let mut headers = self.headers?;
        let host = HeaderValue::from_str(&self.client.server.authority());
        let host = host.map_err(|error| ClientError::Request(error.to_string()))?;
        headers.entry(HOST).or_insert(host);
        loop {
            // Pieces are gone once they are sent, so they take no connection that the
            // server may just be closing.
            let again = match &self.body {
                Body::Whole(bytes) => Some(bytes.clone()),
                Body::Pieces(_) => None,
            };
            let (mut sender, was_used) = self.client.connection(again.is_none()).await?;
            let mut request = hyper::Request::new(self.body);
            *request.method_mut() = self.method.clone();
            *request.uri_mut() = uri.clone();
            *request.headers_mut() = headers.clone();
            match (sender.send_request(request).await, again) {
                (Ok(answer), _) => return Ok((answer, sender)),
                // The server closed an idle connection at this very moment.
                (Err(error), Some(bytes))
                    if was_used && (error.is_canceled() || error.is_closed()) =>
                {
                    self.body = Body::Whole(bytes);
                }
                (Err(error), _) => return Err(broken(error)),
            }
        }
    }
}

fn insert(headers: &mut HeaderMap, name: &str, value: &str) -> Result<(), ClientError> {
    let wrong = || ClientError::Request(format!("the header {name} cannot have this value"));
    let header: HeaderName = name.parse().map_err(|_| wrong())?;
    headers.insert(header, HeaderValue::from_str(value).map_err(|_| wrong())?);
    Ok(())
}

async fn whole(
    answer: hyper::Response<Incoming>,
    bytes_max: usize,
) -> Result<Response, ClientError> {
    let (parts, body) = answer.into_parts();
    let body = Limited::new(body, bytes_max).collect().await.map_err(ClientError::Broken)?;
    Ok(Response { status: parts.status.as_u16(), headers: parts.headers, body: body.to_bytes() })
}

async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Result<T, ClientError> {
    tokio::time::timeout(limit, work).await.map_err(|_| ClientError::TimedOut { limit })
}

fn broken(error: hyper::Error) -> ClientError {
    ClientError::Broken(error.into())
}
