//! A home: where the init of one sandbox dials to.
//!
//! ```text
//! <data>/sandboxes/<sandbox uid>/
//!   home/sock     the unix socket, see [`door`]; the directory is mounted read-only in the sandbox
//!   home/token    the one-time token, from before a start until the handshake
//!   init.sha256   hash of the token; what init has to prove
//! ```
//!
//! Every connection comes from hostile ground until its hello has shown the token:
//! the number of unproven connections, their time and their bytes are bounded, and
//! no thread of the server's waits for the end of one, see [`waste`].

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::TryRngCore as _;
use sandtree_model::Fault;
use sandtree_wire::{
    Hello, OLDEST_VERSION, Role, TOKEN_CHARS, TOKEN_NAME, VERSION, Welcome, write_message,
};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

pub(crate) use self::door::Door;
use self::stranger::Stranger;
use crate::link::{Link, LinkNews};

mod door;
mod stranger;
#[cfg(test)]
mod tests;
mod waste;

/// Longest time from a connection until its hello.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections that have not said hello yet: of init, and of whatever else dials.
const UNPROVEN_MAX: usize = 64;
/// Notices of one init that the container actor has not taken yet.
const NEWS_WAITING_MAX: usize = 16;

/// What one home holds at most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HomeBounds {
    /// Requests that wait to be written to init.
    pub(crate) requests_max: usize,
    /// Replies, and streams, that init owes.
    pub(crate) owed_max: usize,
    /// Connections that have no place to be heard and wait to be closed.
    pub(crate) closing_max: usize,
}

/// Where the init of one sandbox is at home as long as this lives.
pub(crate) struct Home {
    shared: Arc<Shared>,
    _tasks: [AbortOnDropHandle<()>; 2],
}

struct Shared {
    root: PathBuf,
    token_sha256: Mutex<Option<[u8; 32]>>,
    link: watch::Sender<Option<Arc<Link>>>,
    door: Arc<Door>,
    bounds: HomeBounds,
    links_made: AtomicU64,
    /// Number of the link whose init is known to be the one that the engine started.
    vouched: AtomicU64,
    /// Process id of init on the host; 0 while unknown or not tellable.
    init_pid: AtomicU32,
    news: mpsc::Sender<(u64, LinkNews)>,
    has_refused: AtomicBool,
}

impl Drop for Home {
    fn drop(&mut self) {
        // Whoever holds the link still must not take the socket's name from the next home.
        self.shared.door.remove();
    }
}

/// What a home tells its container actor: which link, and what of it.
pub(crate) type HomeNews = mpsc::Receiver<(u64, LinkNews)>;

/// A home whose news nobody reads yet.
pub(crate) struct OpenHome {
    pub(crate) home: Arc<Home>,
    pub(crate) news: HomeNews,
}

impl OpenHome {
    /// Opens the home of the sandbox whose directory is `root`, see [`Home::open`].
    ///
    /// # Errors
    ///
    /// As [`Home::open`].
    pub(crate) fn open(root: &Path, bounds: HomeBounds) -> io::Result<Self> {
        let (home, news) = Home::open(root, bounds)?;
        Ok(Self { home: Arc::new(home), news })
    }
}

impl Home {
    /// Binds the socket of the sandbox whose directory is `root`. An init that
    /// was started earlier and proves itself is linked at once.
    ///
    /// # Errors
    ///
    /// When the directory cannot be made or the socket not be bound.
    pub(crate) fn open(root: &Path, bounds: HomeBounds) -> io::Result<(Self, HomeNews)> {
        let dir = root.join("home");
        DirBuilder::new().recursive(true).mode(0o700).create(root)?;
        DirBuilder::new().recursive(true).mode(0o755).create(&dir)?;
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755))?;
        let door = Arc::new(Door::open_in(dir, bounds)?);
        let (news, receiver) = mpsc::channel(NEWS_WAITING_MAX);
        let shared = Arc::new(Shared {
            root: root.to_owned(),
            token_sha256: Mutex::new(read_hash(root)),
            link: watch::Sender::new(None),
            door: Arc::clone(&door),
            bounds,
            links_made: AtomicU64::new(0),
            vouched: AtomicU64::new(0),
            init_pid: AtomicU32::new(0),
            news,
            has_refused: AtomicBool::new(false),
        });
        let keeping = tokio::spawn(door.keep(shared.link.subscribe()));
        let accepting = tokio::spawn(accept(Arc::clone(&shared)));
        let tasks = [keeping, accepting].map(AbortOnDropHandle::new);
        Ok((Self { shared, _tasks: tasks }, receiver))
    }

    /// Writes a fresh token for the next start; from now on only an init that
    /// has read it is believed.
    ///
    /// # Errors
    ///
    /// When the files cannot be written or the door not be opened.
    pub(crate) fn renew_token(&self, owner: (u32, u32)) -> io::Result<()> {
        let token = fresh_token()?;
        let hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let root = &self.shared.root;
        replace_file(&root.join("init.sha256"), &hash, 0o600)?;
        let path = root.join("home").join(TOKEN_NAME);
        replace_file(&path, token.as_bytes(), 0o400)?;
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&path, Some(owner.0), Some(owner.1))?;
        }
        *self.shared.token_sha256.lock().unwrap_or_else(PoisonError::into_inner) = Some(hash);
        self.shared.init_pid.store(0, Ordering::Relaxed);
        self.shared.link.send_replace(None);
        // After the link is gone: from now on nobody shuts it.
        self.shared.door.open()
    }

    /// The link to init, once there is one that holds.
    ///
    /// # Cancel safety
    ///
    /// Safe.
    pub(crate) async fn link(&self) -> Result<Arc<Link>, Fault> {
        let mut links = self.shared.link.subscribe();
        let link = links
            .wait_for(|link| link.as_ref().is_some_and(|link| !link.is_closed()))
            .await
            .map_err(|_| Fault::Internal("the sandbox's socket is closed".into()))?;
        link.clone().ok_or_else(|| Fault::Internal("a link vanished".into()))
    }

    /// Notes that the init of this link is the one that the engine started, and that
    /// nothing was ever asked of it.
    pub(crate) fn vouch(&self, link: &Link) {
        self.shared.vouched.store(link.number, Ordering::Relaxed);
    }

    /// The link that was vouched for, as long as it holds; once.
    pub(crate) fn vouched_link(&self) -> Option<Arc<Link>> {
        let number = self.shared.vouched.swap(0, Ordering::Relaxed);
        let link = self.shared.link.borrow().clone()?;
        (link.number == number && !link.is_closed()).then_some(link)
    }

    /// Whether the process that proved itself is the one that the engine started.
    /// Unknown on either side counts as yes.
    pub(crate) fn is_dialled_by(&self, init_pid: Option<u32>) -> bool {
        let seen = self.shared.init_pid.load(Ordering::Relaxed);
        init_pid.is_none_or(|pid| seen == 0 || seen == pid)
    }
}

fn read_hash(root: &Path) -> Option<[u8; 32]> {
    fs::read(root.join("init.sha256")).ok()?.try_into().ok()
}

fn fresh_token() -> io::Result<String> {
    let mut bytes = [0_u8; TOKEN_CHARS / 2];
    rand::rngs::OsRng.try_fill_bytes(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn replace_file(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?.write_all(content)
}

async fn accept(shared: Arc<Shared>) {
    let unproven = || Arc::new(tokio::sync::Semaphore::new(UNPROVEN_MAX));
    // Init has places of its own, so that whatever else runs in the sandbox cannot keep
    // it from dialling by holding connections open.
    let (of_init, of_others) = (unproven(), unproven());
    let mut connections = JoinSet::new();
    let mut callers = shared.door.callers();
    loop {
        tokio::select! {
            // The ended first: however many dial, their number stays bounded.
            biased;
            Some(_) = connections.join_next() => {}
            caller = callers.next() => match caller {
                Ok(mut caller) => {
                    // Beyond the limit a connection is dropped; init dials again.
                    let is_init = shared.is_init(caller.peer_pid());
                    let places = if is_init { &of_init } else { &of_others };
                    if let Ok(place) = Arc::clone(places).try_acquire_owned() {
                        caller.take_place(place);
                        connections.spawn(greet(caller, Arc::clone(&shared)));
                    }
                }
                Err(error) => {
                    // Out of descriptors, most likely: others may be freed meanwhile.
                    tracing::warn!(%error, "cannot accept a connection from a sandbox");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
        }
    }
}

async fn greet(caller: Stranger, shared: Arc<Shared>) {
    let hello = tokio::time::timeout(HELLO_TIMEOUT, caller.hello()).await;
    match hello {
        Ok(Ok(hello)) if shared.believes(&hello, caller.peer_pid()) => {
            // What was seen is there to be read.
            let Ok(connection) = caller.admit().await else { return };
            match hello.role {
                Role::Control => serve_control(connection, shared, hello.version).await,
                Role::Stream(id) => {
                    // Nobody waits any more: dropping it tells init so.
                    let _ = shared.door.pay(id, connection);
                }
            }
        }
        // Told once: whoever runs in the sandbox can do this as often as they like.
        Ok(Ok(_)) if !shared.has_refused.swap(true, Ordering::Relaxed) => {
            tracing::warn!(home = %shared.root.display(), "refused a false hello");
        }
        Ok(Ok(_)) => tracing::debug!("refused a false hello"),
        Ok(Err(error)) => tracing::debug!(%error, "a connection without a hello"),
        Err(_) => tracing::debug!("a connection that said nothing"),
    }
}

impl Shared {
    fn believes(&self, hello: &Hello, pid: u32) -> bool {
        let expected = *self.token_sha256.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(expected) = expected else {
            return false;
        };
        let shown: [u8; 32] = Sha256::digest(hello.token.as_bytes()).into();
        let proven: bool = shown.ct_eq(&expected).into();
        proven && hello.version >= OLDEST_VERSION && self.is_same_process(hello.role, pid)
    }

    /// Whether it comes from the process that has proven to be init.
    fn is_init(&self, pid: u32) -> bool {
        pid != 0 && pid == self.init_pid.load(Ordering::Relaxed)
    }

    /// Streams have to come from the process that the control connection came
    /// from. A pid of 0 means that this kernel cannot tell.
    fn is_same_process(&self, role: Role, pid: u32) -> bool {
        match role {
            Role::Control => {
                self.init_pid.store(pid, Ordering::Relaxed);
                true
            }
            Role::Stream(_) => pid == self.init_pid.load(Ordering::Relaxed),
        }
    }
}

async fn serve_control(mut connection: UnixStream, shared: Arc<Shared>, version: u16) {
    let welcome = Welcome { version: version.min(VERSION) };
    if write_message(&mut connection, &welcome).await.is_err() {
        return;
    }
    // The token was for one handshake; what init knows now, nobody can read again.
    let _ = fs::remove_file(shared.root.join("home").join(TOKEN_NAME));
    let number = shared.links_made.fetch_add(1, Ordering::Relaxed) + 1;
    let (link, ends) = Link::new(number, welcome.version, Arc::clone(&shared.door), shared.bounds);
    let (sender, mut receiver) = mpsc::channel(NEWS_WAITING_MAX);
    shared.link.send_replace(Some(link));
    let news = shared.news.clone();
    let forward = async move {
        while let Some(item) = receiver.recv().await {
            // The container actor may be gone; its home goes with it.
            let _ = news.send((number, item)).await;
        }
    };
    tokio::join!(ends.serve(connection, sender), forward);
}
