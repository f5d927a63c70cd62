//! Descriptors whose closing takes long, for tests: they stand for all that a sandbox has
//! of that kind.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::mpsc;
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;
use tokio::runtime::{Builder, Runtime};

const LONG: Duration = Duration::from_secs(60);

/// A server with one thread to do everything, and peers that never read: who closes a
/// socket to one of them waits as long as this lives.
pub(crate) struct Lingering {
    peers: Vec<TcpStream>,
    /// After the peers, or it would wait for its thread.
    runtime: Runtime,
}

impl Lingering {
    pub(crate) fn new() -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        Self { peers: Vec::new(), runtime }
    }

    pub(crate) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// A socket that lingers, with bytes that nobody takes.
    pub(crate) fn socket(&mut self) -> OwnedFd {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        self.peers.push(listener.accept().unwrap().0);
        socket.set_nonblocking(true).unwrap();
        while socket.write(&[0; 1 << 16]).is_ok() {}
        set_socket_linger(&socket, Some(Duration::from_secs(3600))).unwrap();
        socket.into()
    }

    /// Does something here while the only thread does nothing.
    pub(crate) fn meanwhile<T>(&self, work: impl FnOnce() -> T) -> T {
        let (begun, has_begun) = mpsc::channel();
        let (done, is_done) = mpsc::channel::<()>();
        self.runtime.spawn(async move {
            begun.send(()).unwrap();
            is_done.recv().unwrap_err();
        });
        has_begun.recv_timeout(LONG).unwrap();
        let outcome = work();
        drop(done);
        outcome
    }

    /// Whether the only thread comes to the end of this.
    pub(crate) fn ends(&self, work: impl Future<Output = ()> + Send + 'static) -> bool {
        let (sender, receiver) = mpsc::channel();
        self.runtime.spawn(async move {
            work.await;
            let _ = sender.send(());
        });
        receiver.recv_timeout(LONG).is_ok()
    }
}
