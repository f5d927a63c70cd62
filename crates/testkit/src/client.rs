//! The client of the API as tests like it: it panics where a test cannot go on, and
//! says what it was about. What it does is [`sandtree_client`]'s.

mod events;
mod terminal;

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Method, header};
use sandtree_client::{ClientError, Limits, Position, Request, WebSocket};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

pub use events::{Lines, ServerEvent, Sse};
pub use terminal::Terminal;

/// Tests wait for streams themselves, and some read large files as a whole.
const LIMITS: Limits = Limits {
    connect_max: Duration::from_secs(60),
    answer_max: Duration::from_secs(180),
    silence_max: Duration::from_secs(180),
    body_bytes_max: 4 * 1024 * 1024 * 1024,
};

/// A client of one server; clones share its connections.
#[derive(Clone)]
pub struct Client {
    inner: sandtree_client::Client,
    address: SocketAddr,
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { inner: sandtree_client::Client::new(address.into(), LIMITS), address }
    }

    /// A client that sends this header with every request.
    #[must_use]
    pub fn with_header(&self, name: &'static str, value: &str) -> Self {
        let inner = self.inner.with_header(name, value).expect("a header");
        Self { inner, address: self.address }
    }

    /// Where the server listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Begins a request.
    pub fn request(&self, method: Method, path: &str) -> Call<'_> {
        let what = format!("{method} {path}");
        Call { request: self.inner.request(method, path), what }
    }

    /// Gets what is at a path.
    pub async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await
    }

    /// Posts JSON.
    pub async fn post(&self, path: &str, json: &Value) -> Response {
        self.request(Method::POST, path).json(json).send().await
    }

    /// Posts nothing.
    pub async fn post_empty(&self, path: &str) -> Response {
        self.request(Method::POST, path).send().await
    }

    /// Puts JSON.
    pub async fn put(&self, path: &str, json: &Value) -> Response {
        self.request(Method::PUT, path).json(json).send().await
    }

    /// Puts bytes.
    pub async fn put_bytes(&self, path: &str, media: &str, bytes: impl Into<Bytes>) -> Response {
        self.request(Method::PUT, path).body(media, bytes).send().await
    }

    /// Deletes what is at a path.
    pub async fn delete(&self, path: &str) -> Response {
        self.request(Method::DELETE, path).send().await
    }

    /// Sends bytes on a connection of their own and answers all that comes back
    /// until the server closes, or until it has said nothing for `quiet`.
    pub async fn raw(&self, bytes: &[u8], quiet: Duration) -> Vec<u8> {
        let mut connection = TcpStream::connect(self.address).await.expect("a connection");
        // A server that has heard enough may close before it has read all.
        let _ = connection.write_all(bytes).await;
        let (mut answer, mut piece) = (Vec::new(), vec![0; 64 * 1024]);
        while let Ok(Ok(read)) = tokio::time::timeout(quiet, connection.read(&mut piece)).await {
            if read == 0 {
                break;
            }
            answer.extend_from_slice(&piece[..read]);
        }
        answer
    }

    /// Opens a WebSocket.
    ///
    /// # Errors
    ///
    /// The status that the server answered instead, or 0 when it is not there.
    pub async fn websocket(&self, path: &str) -> Result<WebSocket, u16> {
        match self.inner.websocket(path).await {
            Ok(socket) => Ok(socket),
            Err(ClientError::Refused(problem)) => Err(problem.status),
            Err(_) => Err(0),
        }
    }

    /// Looks at a project's terminal; `query` is such as `cols=80&rows=24`.
    pub async fn terminal(&self, project: &str, query: &str) -> Terminal {
        let value = |name: &str| {
            let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
        };
        let number = |name: &str| value(name).and_then(|value| value.parse::<u16>().ok());
        let size = (number("cols").unwrap_or(80), number("rows").unwrap_or(24));
        let after = value("after").map(|after| after.parse::<Position>().expect("a position"));
        let terminal = self.inner.terminal(project, size, after).await;
        let terminal = terminal.unwrap_or_else(|error| panic!("{project}?{query}: {error:?}"));
        Terminal::new(terminal, size)
    }
}

/// A request on its way.
#[must_use]
pub struct Call<'a> {
    request: Request<'a>,
    what: String,
}

impl Call<'_> {
    /// Sets a header.
    pub fn header(self, name: &str, value: &str) -> Self {
        Self { request: self.request.header(name, value), ..self }
    }

    /// Sets the body to JSON.
    pub fn json(self, value: &Value) -> Self {
        Self { request: self.request.json(value), ..self }
    }

    /// Sets the body.
    pub fn body(self, media: &str, bytes: impl Into<Bytes>) -> Self {
        Self { request: self.request.body(media, bytes), ..self }
    }

    /// Sends it and reads the whole answer.
    pub async fn send(self) -> Response {
        let what = self.what.clone();
        self.try_send().await.unwrap_or_else(|error| panic!("{what}: {error:?}"))
    }

    /// As [`Call::send`], for a server that may go away.
    ///
    /// # Errors
    ///
    /// When there was no whole answer.
    pub async fn try_send(self) -> Result<Response, ClientError> {
        let what = self.what;
        let sandtree_client::Response { status, headers, body } = self.request.send().await?;
        Ok(Response { what, status, headers, body })
    }

    /// Sends it and answers the events of the answer as they come.
    pub async fn events(self) -> Sse {
        let call = self.header(header::ACCEPT.as_str(), "text/event-stream");
        Sse::new(call.streamed().await.events())
    }

    /// Sends it and answers the lines of the answer as they come.
    pub async fn lines(self) -> Lines {
        Lines::new(self.streamed().await.lines())
    }

    async fn streamed(self) -> sandtree_client::Streaming {
        let what = self.what;
        self.request.stream().await.unwrap_or_else(|error| panic!("{what}: {error:?}"))
    }
}

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Response {
    what: String,
    /// HTTP status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Response {
    /// That it has this status; the answer itself.
    #[must_use]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}: {}", self.what, self.text());
        self
    }

    /// Its body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Its body as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        let value = serde_json::from_slice(&self.body);
        value.unwrap_or_else(|error| panic!("{}: {error}: {}", self.what, self.text()))
    }

    /// A header's text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The problem document that it has to be, with the last part of its `type`.
    #[must_use]
    pub fn problem(&self) -> (String, Value) {
        let media = self.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
        assert_eq!(media, Some(&b"application/problem+json"[..]), "{}: {}", self.what, self.text());
        let document = self.json();
        assert_eq!(document["status"], self.status, "{}: {document}", self.what);
        for field in ["title", "detail"] {
            assert!(document[field].is_string(), "{}: no {field} in {document}", self.what);
        }
        let kind = document["type"].as_str().and_then(|kind| kind.rsplit('/').next());
        (kind.unwrap_or_else(|| panic!("no type in {document}")).to_owned(), document)
    }
}
