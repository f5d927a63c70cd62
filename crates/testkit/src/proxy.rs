//! Sockets in front of the engine's and the database's, which a test can cut.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

/// Most that is carried at once.
const PIECE_BYTES: usize = 64 * 1024;

/// Forwards connections to the engine's socket, until it is cut.
pub struct EngineProxy {
    dir: TempDir,
    upstream: PathBuf,
    forwarding: Option<AbortHandle>,
}

impl EngineProxy {
    /// A proxy in front of the engine that `DOCKER_HOST` names, or of the usual one.
    #[must_use]
    pub fn start() -> Self {
        let host = std::env::var("DOCKER_HOST").unwrap_or_default();
        let upstream = host.strip_prefix("unix://").unwrap_or("/var/run/docker.sock").into();
        let dir = tempfile::tempdir().expect("a directory for the proxy");
        let mut proxy = Self { dir, upstream, forwarding: None };
        proxy.restore();
        proxy
    }

    /// For `SANDTREE_DOCKER__HOST`.
    #[must_use]
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// Ends all connections and takes no new ones.
    pub fn cut(&mut self) {
        if let Some(forwarding) = self.forwarding.take() {
            forwarding.abort();
            std::fs::remove_file(self.socket()).expect("the proxy's own socket");
        }
    }

    /// Takes connections again.
    pub fn restore(&mut self) {
        let listener = UnixListener::bind(self.socket()).expect("a socket of the proxy's own");
        let upstream = self.upstream.clone();
        self.forwarding = Some(tokio::spawn(forward(listener, upstream)).abort_handle());
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("docker.sock")
    }
}

impl Drop for EngineProxy {
    fn drop(&mut self) {
        if let Some(forwarding) = &self.forwarding {
            forwarding.abort();
        }
    }
}

/// Its connections end with it.
async fn forward(listener: UnixListener, upstream: PathBuf) {
    let mut connections = JoinSet::new();
    while let Ok((mut client, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let upstream = upstream.clone();
        connections.spawn(async move {
            let Ok(mut engine) = UnixStream::connect(upstream).await else { return };
            // Either side may go away at any time.
            let _ = tokio::io::copy_bidirectional(&mut client, &mut engine).await;
        });
    }
}

/// Forwards connections to a TCP port of the loopback, until it is cut.
pub struct TcpProxy {
    upstream: u16,
    address: SocketAddr,
    stranded: watch::Sender<u64>,
    last_words: LastWords,
    forwarding: Option<AbortHandle>,
}

/// What is carried to the server, and is the last that its connection carries.
type LastWords = Arc<Mutex<Option<&'static str>>>;

impl TcpProxy {
    /// A proxy on a free port, in front of a port.
    #[must_use]
    pub fn start(upstream: u16) -> Self {
        let address = (Ipv4Addr::LOCALHOST, 0).into();
        let mut proxy = Self {
            upstream,
            address,
            stranded: watch::channel(0).0,
            last_words: LastWords::default(),
            forwarding: None,
        };
        proxy.restore();
        proxy
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Ends all connections and takes no new ones.
    pub fn cut(&mut self) {
        if let Some(forwarding) = self.forwarding.take() {
            forwarding.abort();
        }
    }

    /// Takes connections again.
    pub fn restore(&mut self) {
        let listener = listen(self.address);
        self.address = listener.local_addr().expect("an address of the proxy's own");
        let (stranded, last_words) = (self.stranded.clone(), Arc::clone(&self.last_words));
        let forwarding = forward_tcp(listener, self.upstream, stranded, last_words);
        self.forwarding = Some(tokio::spawn(forwarding).abort_handle());
    }

    /// The next that a client says with this in it reaches the server, and its connection
    /// ends as soon as the server answers: what it says is done, and the client cannot know.
    pub fn lose_answer_to(&self, words: &'static str) {
        *self.last_words.lock().unwrap_or_else(PoisonError::into_inner) = Some(words);
    }

    /// From now on nothing goes through the connections that there are, and neither
    /// side sees them end: as when a router forgot them. New ones work.
    pub fn strand(&self) {
        self.stranded.send_modify(|times| *times += 1);
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        self.cut();
    }
}

fn listen(address: SocketAddr) -> TcpListener {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("a socket that can be bound again");
    socket.bind(address).expect("the proxy's own port");
    socket.listen(64).expect("a socket that listens")
}

/// Its connections end with it.
async fn forward_tcp(
    listener: TcpListener,
    upstream: u16,
    stranded: watch::Sender<u64>,
    last_words: LastWords,
) {
    let mut connections = JoinSet::new();
    while let Ok((mut client, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let (mut stranded, last_words) = (stranded.subscribe(), Arc::clone(&last_words));
        connections.spawn(async move {
            let address = (Ipv4Addr::LOCALHOST, upstream);
            let Ok(mut server) = TcpStream::connect(address).await else { return };
            tokio::select! {
                () = carry(&mut client, &mut server, &last_words) => {}
                Ok(()) = stranded.changed() => std::future::pending().await,
            }
        });
    }
}

/// Carries bytes both ways until either side goes away, or its last words are answered.
async fn carry(client: &mut TcpStream, server: &mut TcpStream, last_words: &LastWords) {
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let is_over = AtomicBool::new(false);
    let there = async {
        let mut bytes = vec![0; PIECE_BYTES];
        while let Ok(count @ 1..) = from_client.read(&mut bytes).await {
            if are_last(last_words, &bytes[..count]) {
                is_over.store(true, Ordering::Relaxed);
            }
            if to_server.write_all(&bytes[..count]).await.is_err() {
                return;
            }
        }
    };
    let back = async {
        let mut bytes = vec![0; PIECE_BYTES];
        while let Ok(count @ 1..) = from_server.read(&mut bytes).await {
            let is_over = is_over.load(Ordering::Relaxed);
            if is_over || to_client.write_all(&bytes[..count]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = there => {}
        () = back => {}
    }
}

/// Whether the last words are among these; they are said once.
fn are_last(last_words: &LastWords, said: &[u8]) -> bool {
    let mut last = last_words.lock().unwrap_or_else(PoisonError::into_inner);
    let says = |words: &str| said.windows(words.len()).any(|it| it == words.as_bytes());
    last.take_if(|words| says(words)).is_some()
}
