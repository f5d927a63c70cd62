//! A server that answers what the test wants, when the test wants it.

use sandtree_testkit::{LONG, within};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Requests that nobody has looked at; then the next ones wait.
const REQUESTS_MAX: usize = 64;
/// The answer goes on until the connection is closed.
const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n";

/// It hands every request to the test.
pub(super) struct Scripted {
    pub(super) url: String,
    requests: mpsc::Receiver<Asked>,
    task: JoinHandle<()>,
}

/// A request without a whole answer. When it is dropped, its connection is closed.
pub(super) struct Asked {
    line: String,
    connection: TcpStream,
    has_begun: bool,
}

impl Scripted {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (sender, requests) = mpsc::channel(REQUESTS_MAX);
        let task = tokio::spawn(async move {
            loop {
                let (mut connection, _) = listener.accept().await.expect("a connection");
                let mut request = vec![0; 64 * 1024];
                let read = connection.read(&mut request).await.expect("a request");
                let request = String::from_utf8_lossy(&request[..read]);
                let line = request.lines().next().unwrap_or_default().to_owned();
                if sender.send(Asked { line, connection, has_begun: false }).await.is_err() {
                    return;
                }
            }
        });
        Self { url, requests, task }
    }

    /// The next request, which has this in its first line.
    pub(super) async fn asked(&mut self, what: &str) -> Asked {
        let asked = within(LONG, what, self.requests.recv()).await.expect("a server");
        assert!(asked.line.contains(what), "not {what:?} but {:?}", asked.line);
        asked
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Asked {
    /// Answers with a document, and that is all.
    pub(super) async fn answer(mut self, document: &Value) {
        self.say(&[document]).await;
    }

    /// Begins an answer of lines, or goes on with it.
    pub(super) async fn say(&mut self, lines: &[&Value]) {
        let mut text = if self.has_begun { Vec::new() } else { HEAD.to_vec() };
        self.has_begun = true;
        for line in lines {
            text.extend(format!("{line}\n").into_bytes());
        }
        self.connection.write_all(&text).await.expect("a client that listens");
    }
}
