//! A small client of the API: JSON, streams, WebSockets, and bytes as they are.

mod events;
mod terminal;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

pub use events::{Lines, ServerEvent, Sse};
pub use terminal::Terminal;

use crate::wait::within;

/// Longest time of one request; operations of a real engine included.
const ANSWER_MAX: Duration = Duration::from_secs(180);

/// Why there was no whole answer.
pub type NoAnswer = Box<dyn std::error::Error + Send + Sync>;

/// A client of one server; clones share its connections.
#[derive(Clone)]
pub struct Client {
    address: SocketAddr,
    headers: HeaderMap,
    idle: Arc<Mutex<Vec<SendRequest<Full<Bytes>>>>>,
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, headers: HeaderMap::new(), idle: Arc::default() }
    }

    /// A client that sends this header with every request.
    #[must_use]
    pub fn with_header(&self, name: &'static str, value: &str) -> Self {
        let mut headers = self.headers.clone();
        headers.insert(name, HeaderValue::from_str(value).expect("a header's value"));
        Self { address: self.address, headers, idle: Arc::default() }
    }

    /// Where the server listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Begins a request.
    pub fn request(&self, method: Method, path: &str) -> Call<'_> {
        let mut headers = self.headers.clone();
        let host = HeaderValue::from_str(&self.address.to_string()).expect("a host");
        headers.entry(HOST).or_insert(host);
        Call { client: self, method, path: path.to_owned(), headers, body: Bytes::new() }
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
    pub async fn websocket(&self, path: &str) -> Result<WebSocketStream<TcpStream>, u16> {
        let url = format!("ws://{}{path}", self.address);
        let mut request = url.into_client_request().expect("an address of a WebSocket");
        for (name, value) in &self.headers {
            request.headers_mut().insert(name, value.clone());
        }
        let connection = TcpStream::connect(self.address).await.map_err(|_| 0_u16)?;
        let opening = tokio_tungstenite::client_async(request, connection);
        match within(ANSWER_MAX, path, opening).await {
            Ok((socket, _)) => Ok(socket),
            Err(tokio_tungstenite::tungstenite::Error::Http(answer)) => {
                Err(answer.status().as_u16())
            }
            Err(_) => Err(0),
        }
    }

    /// Looks at a project's terminal; `query` is such as `cols=80&rows=24`.
    pub async fn terminal(&self, project: &str, query: &str) -> Terminal {
        let path = format!("/v1/projects/{project}/terminal?{query}");
        let socket = self.websocket(&path).await;
        Terminal::new(socket.unwrap_or_else(|status| panic!("{path} answered {status}")), query)
    }

    async fn connection(&self) -> Result<(SendRequest<Full<Bytes>>, bool), NoAnswer> {
        loop {
            let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            match idle {
                Some(mut idle) => {
                    if idle.ready().await.is_ok() {
                        return Ok((idle, true));
                    }
                }
                None => return Ok((self.dial().await?, false)),
            }
        }
    }

    async fn dial(&self) -> Result<SendRequest<Full<Bytes>>, NoAnswer> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true).expect("an option of a socket");
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(sender)
    }

    fn keep(&self, sender: SendRequest<Full<Bytes>>) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
    }
}

/// A request on its way.
#[must_use]
pub struct Call<'a> {
    client: &'a Client,
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Call<'_> {
    /// Sets a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().expect("a header's name");
        self.headers.insert(name, HeaderValue::from_str(value).expect("a header's value"));
        self
    }

    /// Sets the body to JSON.
    pub fn json(self, value: &Value) -> Self {
        self.body("application/json", value.to_string())
    }

    /// Sets the body.
    pub fn body(mut self, media: &str, bytes: impl Into<Bytes>) -> Self {
        self.body = bytes.into();
        self.header("content-type", media)
    }

    /// Sends it and reads the whole answer.
    pub async fn send(self) -> Response {
        let what = format!("{} {}", self.method, self.path);
        self.try_send().await.unwrap_or_else(|error| panic!("{what}: {error}"))
    }

    /// As [`Call::send`], for a server that may go away.
    ///
    /// # Errors
    ///
    /// When there was no whole answer.
    pub async fn try_send(self) -> Result<Response, NoAnswer> {
        let what = format!("{} {}", self.method, self.path);
        let client = self.client.clone();
        within(ANSWER_MAX, &format!("the answer to {what}"), async {
            let (answer, sender) = self.exchange().await?;
            let (parts, body) = answer.into_parts();
            let body = body.collect().await?.to_bytes();
            client.keep(sender);
            let (status, headers) = (parts.status.as_u16(), parts.headers);
            Ok(Response { what: what.clone(), status, headers, body })
        })
        .await
    }

    /// Sends it and answers the events of the answer as they come.
    pub async fn events(self) -> Sse {
        Sse::new(self.header(ACCEPT.as_str(), "text/event-stream").streamed().await)
    }

    /// Sends it and answers the lines of the answer as they come.
    pub async fn lines(self) -> Lines {
        Lines::new(self.streamed().await)
    }

    async fn streamed(self) -> Incoming {
        let what = format!("{} {}", self.method, self.path);
        let exchanged = within(ANSWER_MAX, &what, self.exchange()).await;
        let (answer, _) = exchanged.unwrap_or_else(|error| panic!("{what}: {error}"));
        if answer.status() == 200 {
            return answer.into_body();
        }
        let (status, body) = (answer.status(), answer.into_body().collect().await);
        panic!("{what} answered {status}: {body:?}");
    }

    async fn exchange(
        self,
    ) -> Result<(hyper::Response<Incoming>, SendRequest<Full<Bytes>>), NoAnswer> {
        loop {
            let (mut sender, was_used) = self.client.connection().await?;
            match sender.send_request(self.to_request()).await {
                Ok(answer) => return Ok((answer, sender)),
                // The server closed an idle connection at this very moment.
                Err(error) if was_used && (error.is_canceled() || error.is_closed()) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn to_request(&self) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.path.parse().expect("a path");
        *request.headers_mut() = self.headers.clone();
        request
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
