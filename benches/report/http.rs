//! One HTTP connection that is kept alive, without anything that would cost time.

use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

/// A connection.
pub(crate) struct Http {
    sender: SendRequest<Full<Bytes>>,
    host: String,
    is_tcp: bool,
}

impl Http {
    /// Connects to an address.
    pub(crate) async fn tcp(address: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { is_tcp: true, ..Self::over(stream, address).await? })
    }

    /// Connects to a socket.
    pub(crate) async fn unix(path: &Path) -> anyhow::Result<Self> {
        Self::over(UnixStream::connect(path).await?, "localhost").await
    }

    async fn over(
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        host: &str,
    ) -> anyhow::Result<Self> {
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        // It ends with the sender, and what it fails with the sender tells.
        tokio::spawn(connection.with_upgrades());
        Ok(Self { sender, host: host.to_owned(), is_tcp: false })
    }

    /// Sends a request and waits for the head of its answer.
    pub(crate) async fn send(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        headers: &[(&str, &str)],
    ) -> anyhow::Result<Response<Incoming>> {
        let mut request = Request::builder().method(method).uri(path).header("host", &self.host);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let body = body.map_or_else(Bytes::new, |body| body.to_string().into());
        if self.sender.ready().await.is_err() && self.is_tcp {
            // The server ends a connection that was idle for long.
            *self = Self::tcp(&self.host.clone()).await?;
        }
        Ok(self.sender.send_request(request.body(Full::new(body))?).await?)
    }

    /// Asks for a document; an empty answer is `null`, one that is no success an error.
    pub(crate) async fn ask(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Value> {
        let what = format!("{method} {path}");
        let response = self.send(method, path, body, &[]).await.with_context(|| what.clone())?;
        let status = response.status();
        let text = response.into_body().collect().await?.to_bytes();
        // Docker says 304 for what is so already.
        if !status.is_success() && status != StatusCode::NOT_MODIFIED {
            bail!("{what}: {status}: {}", String::from_utf8_lossy(&text));
        }
        if text.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&text).with_context(|| format!("{what}: the answer is no JSON"))
    }

    /// Asks for something that is a text.
    pub(crate) async fn text(&mut self, path: &str) -> anyhow::Result<String> {
        let response = self.send(Method::GET, path, None, &[]).await?;
        let status = response.status();
        let text = response.into_body().collect().await?.to_bytes();
        ensure!(status.is_success(), "GET {path}: {status}");
        Ok(String::from_utf8(text.to_vec())?)
    }

    pub(crate) async fn get(&mut self, path: &str) -> anyhow::Result<Value> {
        self.ask(Method::GET, path, None).await
    }

    pub(crate) async fn post(&mut self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.ask(Method::POST, path, Some(body)).await
    }

    pub(crate) async fn put(&mut self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.ask(Method::PUT, path, Some(body)).await
    }

    pub(crate) async fn delete(&mut self, path: &str) -> anyhow::Result<()> {
        self.ask(Method::DELETE, path, None).await.map(drop)
    }
}
