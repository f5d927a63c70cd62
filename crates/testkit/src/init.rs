//! An init that is a task of the test: it dials home over the real wire, and what
//! it is asked to run is canned.
//!
//! Commands: `echo …`, `complain …` (on standard error), `cat`, `env`, `true`,
//! `false`, `exit <code>`, `flood <bytes>`, `hang`; any other does not exist.
//! Processes: `count <lines>` writes numbered lines and goes on running, `exit
//! <code>` ends at once, and any other runs and writes nothing. The terminal's
//! shell greets with `$ `, echoes what is typed, and ends at `exit`.

mod control;
mod exec;
mod jobs;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sandtree_wire::{
    Configuration, ExitStatus, FrameError, Hello, Job, JobState, Notice, OLDEST_VERSION,
    REDIAL_MS_MAX, Role, SOCKET_NAME, Size, TOKEN_NAME, VERSION, write_message,
};
use tokio::net::UnixStream;
use tokio::runtime::Handle;
use tokio::sync::{broadcast, watch};
use tokio::task::AbortHandle;

use crate::wait::{LONG, within};
use jobs::Jobs;

/// Time between two attempts to dial, where tests should not wait for it.
const REDIAL: Duration = Duration::from_millis(20);
/// Time between the first attempts of an init that has all the time in the world.
const PATIENT_REDIAL: Duration = Duration::from_millis(5);

/// How an init misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InitTrouble {
    /// It never dials.
    NeverDials,
    /// It dials with a false token.
    FalseToken,
    /// It speaks a version that is older than any.
    Ancient,
    /// It speaks the oldest version that is still spoken; harmless.
    Old,
    /// It speaks a version that is not written yet; harmless.
    FromTheFuture,
    /// It says random bytes instead of a hello.
    Garbage,
    /// It announces a hello of four gigabytes.
    HugeHello,
    /// It shakes hands and then never answers.
    Silent,
    /// It answers with bytes that are no frame.
    BadReplies,
}

/// A handle on an init; it runs until its container ends.
#[derive(Clone)]
pub struct FakeInit {
    shared: Arc<Shared>,
    task: AbortHandle,
}

struct Shared {
    home: PathBuf,
    trouble: Option<InitTrouble>,
    /// Shortest and longest time between two attempts to dial.
    redial: (Duration, Duration),
    state: Mutex<InitState>,
    /// Rises with every change that somebody may wait for.
    changed: watch::Sender<u64>,
    frozen: watch::Sender<bool>,
    /// Rises when all connections are to be cut.
    cut: watch::Sender<u64>,
    notices: broadcast::Sender<Notice>,
}

#[derive(Default)]
struct InitState {
    /// What it read when it was started; the file is gone by now.
    token: Option<String>,
    configuration: Option<Configuration>,
    handshakes: u32,
    execs: u64,
    size: Option<Size>,
    signals: Vec<(Job, i32)>,
    jobs: Jobs,
}

impl FakeInit {
    pub(crate) fn spawn(runtime: &Handle, home: PathBuf, trouble: Option<InitTrouble>) -> Self {
        Self::with(runtime, home, trouble, (REDIAL, REDIAL))
    }

    /// An init without an engine, which dials as patiently as a real one. Has to be
    /// called inside a runtime, which runs it.
    #[must_use]
    pub fn alone(home: PathBuf) -> Self {
        let redial = (PATIENT_REDIAL, Duration::from_millis(REDIAL_MS_MAX));
        Self::with(&Handle::current(), home, None, redial)
    }

    fn with(
        runtime: &Handle,
        home: PathBuf,
        trouble: Option<InitTrouble>,
        redial: (Duration, Duration),
    ) -> Self {
        let shared = Arc::new(Shared {
            home,
            trouble,
            redial,
            state: Mutex::default(),
            changed: watch::Sender::new(0),
            frozen: watch::Sender::new(false),
            cut: watch::Sender::new(0),
            notices: broadcast::Sender::new(64),
        });
        let task = runtime.spawn(control::live(Arc::clone(&shared))).abort_handle();
        Self { shared, task }
    }

    /// Goes on in another runtime, as it was, and dials again.
    pub(crate) fn move_to(self, runtime: &Handle) -> Self {
        self.task.abort();
        let task = runtime.spawn(control::live(Arc::clone(&self.shared))).abort_handle();
        Self { shared: self.shared, task }
    }

    /// Ends it, and all its connections.
    pub fn kill(&self) {
        self.task.abort();
    }

    pub(crate) fn freeze(&self, is_frozen: bool) {
        self.shared.frozen.send_replace(is_frozen);
    }

    /// Cuts all its connections; it dials again.
    pub fn disconnect(&self) {
        self.shared.cut.send_modify(|count| *count += 1);
    }

    /// How often it has shaken hands so far.
    #[must_use]
    pub fn handshakes(&self) -> u32 {
        self.shared.lock().handshakes
    }

    /// What it was last told.
    #[must_use]
    pub fn configuration(&self) -> Option<Configuration> {
        self.shared.lock().configuration.clone()
    }

    /// Its jobs as they are.
    #[must_use]
    pub fn jobs(&self) -> Vec<JobState> {
        self.shared.lock().jobs.states()
    }

    /// The size that the terminal was last given.
    #[must_use]
    pub fn size(&self) -> Option<Size> {
        self.shared.lock().size
    }

    /// The signals that jobs were sent, in order.
    #[must_use]
    pub fn signals(&self) -> Vec<(Job, i32)> {
        self.shared.lock().signals.clone()
    }

    /// Commands in flight.
    #[must_use]
    pub fn execs(&self) -> u64 {
        self.shared.lock().execs
    }

    /// A job writes something.
    pub fn say(&self, job: Job, bytes: &[u8]) {
        self.shared.say(job, 1, bytes);
    }

    /// A job ends by itself.
    pub fn end(&self, job: Job, status: ExitStatus) {
        self.shared.end(job, status);
    }

    /// Waits until something holds of this init.
    pub async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let mut changed = self.shared.changed.subscribe();
        within(LONG, what, async {
            while !holds(self) {
                changed.changed().await.expect("this init's state lives");
            }
        })
        .await;
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, InitState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    fn say(&self, job: Job, stream: u8, bytes: &[u8]) {
        self.lock().jobs.say(job, stream, bytes);
        self.note();
    }

    fn end(&self, job: Job, status: ExitStatus) {
        let ended = self.lock().jobs.end(job, status);
        if let Some(state) = ended {
            // The server may be away; it sees the end when it comes back.
            let _ = self.notices.send(Notice::JobEnded(state));
        }
        self.note();
    }

    /// Returns when it is not frozen.
    async fn thawed(&self) {
        // The sender is in `self`.
        let _ = self.frozen.subscribe().wait_for(|is_frozen| !is_frozen).await;
    }

    fn token(&self) -> Option<String> {
        let mut state = self.lock();
        if state.token.is_none() {
            state.token = std::fs::read_to_string(self.home.join(TOKEN_NAME)).ok();
        }
        state.token.clone()
    }

    async fn dial(&self, token: &str, role: Role) -> Result<UnixStream, FrameError> {
        self.thawed().await;
        let mut connection = UnixStream::connect(self.home.join(SOCKET_NAME)).await?;
        let version = match self.trouble {
            Some(InitTrouble::Ancient) => 0,
            Some(InitTrouble::Old) => OLDEST_VERSION,
            Some(InitTrouble::FromTheFuture) => VERSION + 1,
            _ => VERSION,
        };
        let is_false = self.trouble == Some(InitTrouble::FalseToken);
        let token = if is_false { "0".repeat(token.len()) } else { token.to_owned() };
        write_message(&mut connection, &Hello { version, token, role }).await?;
        Ok(connection)
    }
}

#[cfg(test)]
mod tests;
