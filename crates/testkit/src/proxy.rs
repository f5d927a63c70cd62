//! A socket in front of the engine's, which a test can cut.

use std::path::PathBuf;

use tempfile::TempDir;
use tokio::net::{UnixListener, UnixStream};
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
