//! The door of a home: the unix socket that listens, there as long as somebody is to come.
//!
//! A sandbox lives for days and is asked for a stream now and then. A socket that listened
//! all the time would be half of the open files that it costs. So the door is open
//!
//! - while there is no link, for init to dial;
//! - while a stream is owed, and for [`LINGER`] after the last was asked for: whoever works
//!   in a sandbox asks again soon;
//!
//! and shut otherwise. A shut door leaves the socket's file behind, whose dialler is
//! refused. Nobody else can listen there: the directory is mounted read-only in the
//! sandbox, and whoever comes in has to prove itself as ever. No stream is lost between
//! shutting and opening, because it is owed first, then the door is looked at, and only
//! then is init asked; and the door is not shut on a stream that is owed.

use std::convert::Infallible;
use std::fs;
use std::future::pending;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sandtree_model::Answer;
use sandtree_wire::SOCKET_NAME;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::HomeBounds;
use super::stranger::Stranger;
use super::waste::Waste;
use crate::disk::on_disk;
use crate::link::{Debt, Link, Owed};

/// How long the door stays open after a stream was asked for.
const LINGER: Duration = Duration::from_secs(5);
/// Pause before the next attempt to open it for init.
const REOPEN_AFTER: Duration = Duration::from_millis(250);

/// The socket of one home, and the streams that are to come by it.
pub(crate) struct Door {
    /// The directory of the socket.
    dir: PathBuf,
    streams: Arc<Owed<UnixStream>>,
    leaf: watch::Sender<Leaf>,
    /// When a stream was last asked for.
    asked_at: Mutex<Option<Instant>>,
    waste: Arc<Waste>,
}

/// A socket that listens. Who has dialled and was not let in goes with it.
struct Listener {
    socket: Option<UnixListener>,
    waste: Arc<Waste>,
}

impl Listener {
    async fn accept(&self) -> io::Result<UnixStream> {
        match &self.socket {
            Some(socket) => Ok(socket.accept().await?.0),
            None => pending().await,
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.waste.close(self.socket.take());
    }
}

/// How a door is.
#[derive(Clone)]
enum Leaf {
    Open(Arc<Listener>),
    Shut,
    /// Its home is gone, and the socket's name may be another's.
    Gone,
}

impl Leaf {
    fn is_open(&self) -> bool {
        matches!(self, Self::Open(_))
    }
}

/// What the door is told of: the link that init has dialled, if there is one.
type Links = watch::Receiver<Option<Arc<Link>>>;

impl Door {
    /// An open door in this directory.
    ///
    /// # Errors
    ///
    /// When the socket cannot be bound.
    pub(super) fn open_in(dir: PathBuf, bounds: HomeBounds) -> io::Result<Self> {
        let waste = Arc::new(Waste::new(bounds.closing_max));
        let streams = Arc::new(Owed::new(bounds.owed_max));
        let leaf = watch::Sender::new(listening(bind(&dir)?, &waste));
        Ok(Self { dir, streams, leaf, asked_at: Mutex::default(), waste })
    }

    /// Notes that a stream is to come, and sees to it that it can.
    pub(crate) async fn expect(self: &Arc<Self>, id: u64) -> Answer<Debt<UnixStream>> {
        let debt = self.streams.expect(id)?;
        *self.lock_asked_at() = Some(Instant::now());
        self.open_aside().await?;
        Ok(debt)
    }

    /// Hands over a stream; false when nobody waits for this number.
    pub(super) fn pay(&self, id: u64, connection: UnixStream) -> bool {
        self.streams.pay(id, connection)
    }

    /// How many streams are to come.
    pub(crate) fn owed(&self) -> usize {
        self.streams.len()
    }

    /// How many have come in that are not closed, and have no place to be heard.
    pub(crate) fn closing(&self) -> usize {
        self.waste.places_taken()
    }

    /// Who comes in by it, from now on.
    pub(super) fn callers(&self) -> Callers {
        Callers { leaf: self.leaf.subscribe(), waste: Arc::clone(&self.waste) }
    }

    /// Opens it unless it is open.
    ///
    /// # Errors
    ///
    /// When the socket cannot be bound, or the home is gone.
    pub(super) fn open(&self) -> io::Result<()> {
        let mut outcome = Ok(());
        self.leaf.send_if_modified(|leaf| {
            match leaf {
                Leaf::Open(_) => return false,
                Leaf::Shut => match bind(&self.dir) {
                    Ok(socket) => *leaf = listening(socket, &self.waste),
                    Err(error) => outcome = Err(error),
                },
                Leaf::Gone => outcome = Err(io::Error::other("the sandbox's socket is closed")),
            }
            leaf.is_open()
        });
        outcome
    }

    /// As [`Door::open`], where files may be touched.
    async fn open_aside(self: &Arc<Self>) -> Answer<()> {
        if self.leaf.borrow().is_open() {
            return Ok(());
        }
        let door = Arc::clone(self);
        on_disk(move || door.open()).await
    }

    /// Shuts it for good.
    pub(super) fn remove(&self) {
        self.leaf.send_replace(Leaf::Gone);
    }

    /// Opens and shuts it as links come and go; ends with the home.
    pub(super) async fn keep(self: Arc<Self>, mut links: Links) {
        loop {
            let Ok(Some(link)) = links.wait_for(|it| holds(it.as_ref())).await.map(|it| it.clone())
            else {
                return;
            };
            tokio::select! {
                biased;
                () = lost(&link, links.clone()) => {}
                never = self.shut_when_quiet(&links) => match never {},
            }
            // Kept no longer than it holds.
            drop(link);
            while let Err(failure) = self.open_aside().await {
                if matches!(*self.leaf.borrow(), Leaf::Gone) {
                    return;
                }
                tracing::warn!(%failure, dir = %self.dir.display(), "cannot open the socket for init");
                sleep(REOPEN_AFTER).await;
            }
        }
    }

    /// Shuts the door whenever nobody has asked for a stream for a while.
    async fn shut_when_quiet(&self, links: &Links) -> Infallible {
        let mut leaf = self.leaf.subscribe();
        while leaf.wait_for(Leaf::is_open).await.is_ok() {
            let quiet_at = self.lock_asked_at().map(|at| at + LINGER);
            match quiet_at.filter(|at| *at > Instant::now()) {
                Some(at) => sleep_until(at).await,
                None if self.shut(links) => {}
                None => break,
            }
        }
        pending().await
    }

    /// Shuts it, or has it stay a while for a stream that is owed, and while not all is
    /// closed that came by it; false when there is no link any more. Whoever takes the link
    /// away opens the door afterwards.
    pub(super) fn shut(&self, links: &Links) -> bool {
        let mut is_linked = false;
        self.leaf.send_if_modified(|leaf| {
            is_linked = holds(links.borrow().as_ref());
            if self.owed() > 0 || self.waste.is_there() {
                *self.lock_asked_at() = Some(Instant::now());
                return false;
            }
            let shuts = is_linked && leaf.is_open();
            if shuts {
                *leaf = Leaf::Shut;
            }
            shuts
        });
        is_linked
    }

    /// Whether something is being closed that came by it.
    #[cfg(test)]
    pub(super) fn has_waste(&self) -> bool {
        self.waste.is_there()
    }

    #[cfg(test)]
    pub(super) fn is_open(&self) -> bool {
        self.leaf.borrow().is_open()
    }

    /// Waits until it is open, or until it is not.
    #[cfg(test)]
    pub(super) async fn until(&self, is_open: bool) {
        let mut leaf = self.leaf.subscribe();
        leaf.wait_for(|leaf| leaf.is_open() == is_open).await.expect("a door that is kept");
    }

    fn lock_asked_at(&self) -> MutexGuard<'_, Option<Instant>> {
        self.asked_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who comes in by a door.
pub(super) struct Callers {
    leaf: watch::Receiver<Leaf>,
    waste: Arc<Waste>,
}

impl Callers {
    /// The next one; while the door is shut there is none.
    ///
    /// # Errors
    ///
    /// When a connection cannot be accepted; the next may be.
    ///
    /// # Cancel safety
    ///
    /// Safe: nobody is lost.
    pub(super) async fn next(&mut self) -> io::Result<Stranger> {
        let Some(place) = self.waste.place().await else { return pending().await };
        loop {
            let leaf = self.leaf.borrow_and_update().clone();
            tokio::select! {
                biased;
                // It was opened or shut. The door does not go before its callers do.
                _ = self.leaf.changed() => {}
                accepted = accept_at(&leaf) => {
                    return Ok(Stranger::new(accepted?, place, Arc::clone(&self.waste)));
                }
            }
        }
    }
}

async fn accept_at(leaf: &Leaf) -> io::Result<UnixStream> {
    match leaf {
        Leaf::Open(listener) => listener.accept().await,
        Leaf::Shut | Leaf::Gone => pending().await,
    }
}

fn listening(socket: UnixListener, waste: &Arc<Waste>) -> Leaf {
    Leaf::Open(Arc::new(Listener { socket: Some(socket), waste: Arc::clone(waste) }))
}

fn holds(link: Option<&Arc<Link>>) -> bool {
    link.is_some_and(|link| !link.is_closed())
}

/// Returns when this link is not the one that holds any more.
async fn lost(link: &Link, mut links: Links) {
    let is_another =
        |now: &Option<Arc<Link>>| now.as_ref().is_none_or(|now| now.number != link.number);
    tokio::select! {
        biased;
        () = link.ended() => {}
        // Whoever tells of links does not go before the door is kept no more.
        _ = links.wait_for(is_another) => {}
    }
}

/// Binds by way of the directory's descriptor: a socket's path has 107 bytes at
/// most, and the data directory may be deeper than that.
fn bind(dir: &Path) -> io::Result<UnixListener> {
    let socket = dir.join(SOCKET_NAME);
    match fs::remove_file(&socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let handle = fs::File::open(dir)?;
    let short = format!("/proc/self/fd/{}/{SOCKET_NAME}", handle.as_raw_fd());
    let listener = UnixListener::bind(&short)?;
    // Whoever can reach the directory may connect; only the sandbox can.
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o666))?;
    Ok(listener)
}
