//! Sockets in front of the engine's and the database's, which a test can cut.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use tempfile::TempDir;
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

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
    forwarding: Option<AbortHandle>,
}

impl TcpProxy {
    /// A proxy on a free port, in front of a port.
    #[must_use]
    pub fn start(upstream: u16) -> Self {
        let address = (Ipv4Addr::LOCALHOST, 0).into();
        let mut proxy = Self { upstream, address, stranded: watch::channel(0).0, forwarding: None };
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
        let (upstream, stranded) = (self.upstream, self.stranded.clone());
        let forwarding = forward_tcp(listener, upstream, stranded);
        self.forwarding = Some(tokio::spawn(forwarding).abort_handle());
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
async fn forward_tcp(listener: TcpListener, upstream: u16, stranded: watch::Sender<u64>) {
    let mut connections = JoinSet::new();
    while let Ok((mut client, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let mut stranded = stranded.subscribe();
        connections.spawn(async move {
            let address = (Ipv4Addr::LOCALHOST, upstream);
            let Ok(mut server) = TcpStream::connect(address).await else { return };
            tokio::select! {
                // Either side may go away at any time.
                _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                Ok(()) = stranded.changed() => std::future::pending().await,
            }
        });
    }
}
