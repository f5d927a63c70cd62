//! What is published of a live project: read by everybody, without a message.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use sandtree_model::{Event, EventId, Project, Transition};
use sandtree_workspace::{Workspace, WorkspaceError};
use tokio::sync::{Semaphore, watch};

use crate::disk::Aside;
use crate::events::EventLog;
use crate::files::open_workspace;
use crate::fullness::Lent;
use crate::layout::SandboxDir;
use crate::log::{LogSettings, LogWriter};
use crate::ports::Clock;
use crate::sandbox::Traffic;
use crate::settings::TreeSettings;
use crate::turn::Turns;
use crate::view::{ProcessView, TerminalView, View};

/// One live project's published state. Its row is set by the repository alone,
/// after the commit; the rest by the actor that it is about.
pub(crate) struct Live {
    row: watch::Sender<Arc<Project>>,
    /// Set by the process actor.
    pub(crate) process: watch::Sender<Option<ProcessView>>,
    /// Set by the terminal actor.
    pub(crate) terminal: watch::Sender<Option<TerminalView>>,
    /// Rises when the process's log has grown.
    pub(crate) log_grown: watch::Sender<u64>,
    /// Bytes of the process's output that are not durable yet, so that init keeps them.
    pub(crate) log_unsynced: AtomicUsize,
    /// What others own, for who looks how full it is.
    pub(crate) lent: Lent,
    /// What happened lately.
    pub(crate) events: EventLog,
    /// Places for commands in the sandbox.
    pub(crate) exec_places: Arc<Semaphore>,
    /// Places for watches of the sandbox's files.
    pub(crate) watch_places: Arc<Semaphore>,
    /// Places for requests in flight.
    pub(crate) request_places: Arc<Semaphore>,
    /// Whose turn it is, for requests that come one after another.
    pub(crate) turns: Turns,
    /// What the connections to the sandbox's ports carry.
    pub(crate) traffic: Arc<Traffic>,
    workspace: OnceLock<Arc<Aside<Workspace>>>,
    log_writer: Mutex<Option<Arc<Mutex<LogWriter>>>>,
    busy: AtomicUsize,
    holds: AtomicUsize,
    /// Bytes through the sandbox's ports when somebody last looked.
    carried: AtomicU64,
    active_at: AtomicU64,
    clock: Arc<dyn Clock>,
}

/// Bounds of one live project.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LiveLimits {
    pub(crate) events_kept: usize,
    pub(crate) execs_max: usize,
    pub(crate) watches_max: usize,
    pub(crate) requests_max: usize,
}

impl Live {
    pub(crate) fn new(project: Project, limits: LiveLimits, clock: Arc<dyn Clock>) -> Arc<Self> {
        let floor = EventId { generation: project.generation, number: clock.now() };
        Arc::new(Self {
            // What is not known of the time before counts as activity now.
            active_at: AtomicU64::new(clock.now()),
            row: watch::Sender::new(Arc::new(project)),
            process: watch::Sender::new(None),
            terminal: watch::Sender::new(None),
            log_grown: watch::Sender::new(0),
            log_unsynced: AtomicUsize::new(0),
            lent: Lent::default(),
            events: EventLog::new(limits.events_kept, floor),
            exec_places: Arc::new(Semaphore::new(limits.execs_max)),
            watch_places: Arc::new(Semaphore::new(limits.watches_max)),
            request_places: Arc::new(Semaphore::new(limits.requests_max)),
            turns: Turns::new(limits.requests_max / 2),
            traffic: Arc::default(),
            carried: AtomicU64::new(0),
            workspace: OnceLock::new(),
            log_writer: Mutex::new(None),
            busy: AtomicUsize::new(0),
            holds: AtomicUsize::new(0),
            clock,
        })
    }

    /// The row as last committed.
    pub(crate) fn row(&self) -> Arc<Project> {
        Arc::clone(&self.row.borrow())
    }

    /// Follows the row.
    pub(crate) fn follow(&self) -> watch::Receiver<Arc<Project>> {
        self.row.subscribe()
    }

    /// Shows a committed row to everybody; an older one than is shown already
    /// comes from a slower path and is left out.
    pub(crate) fn publish(&self, project: Project, transition: Option<Transition>) {
        self.row.send_if_modified(|shown| {
            let newer = project.generation >= shown.generation;
            if newer {
                *shown = Arc::new(project);
            }
            newer
        });
        if let Some(transition) = transition {
            let id = EventId { generation: transition.generation, number: 0 };
            self.events.push(id, Event::Transition(transition));
        }
    }

    /// Tells followers what happened beside transitions.
    pub(crate) fn tell(&self, event: Event) {
        let id = EventId { generation: self.row().generation, number: self.clock.now() };
        self.events.push(id, event);
    }

    /// The project's files, opened at the first use. Blocks for a moment.
    pub(crate) fn workspace(
        &self,
        dir: &SandboxDir,
    ) -> Result<Arc<Aside<Workspace>>, WorkspaceError> {
        if let Some(workspace) = self.workspace.get() {
            return Ok(Arc::clone(workspace));
        }
        let opened = Arc::new(Aside::new(open_workspace(dir, self.row().owner)?));
        Ok(Arc::clone(self.workspace.get_or_init(|| opened)))
    }

    /// The one writer of the process's log, opened at the first use. Blocks for a
    /// moment. It belongs to the project, not to a pump: a pump that was ended may
    /// still have a write on its way to the disk.
    pub(crate) fn log_writer(
        &self,
        dir: &Path,
        settings: &TreeSettings,
    ) -> io::Result<Arc<Mutex<LogWriter>>> {
        let mut writer = self.log_writer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(writer) = &*writer {
            return Ok(Arc::clone(writer));
        }
        let settings =
            LogSettings { file_bytes: settings.log_file_bytes, files: settings.log_files };
        let opened = Arc::new(Mutex::new(LogWriter::open(dir, settings)?));
        *writer = Some(Arc::clone(&opened));
        Ok(opened)
    }

    /// Bytes of the newest file of the process's log, and how many files there are;
    /// none while nothing was written, or while the writer is busy.
    pub(crate) fn log_size(&self) -> (usize, usize) {
        let writer = self.log_writer.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // It is held as long as the disk takes.
        writer.and_then(|writer| Some(writer.try_lock().ok()?.size())).unwrap_or_default()
    }

    /// Everything that readers see.
    pub(crate) fn view(&self) -> View {
        View::of(self.row(), self.process.borrow().clone(), *self.terminal.borrow())
    }

    /// Something happened that counts as activity.
    pub(crate) fn touch(&self) {
        self.active_at.fetch_max(self.clock.now(), Ordering::Relaxed);
    }

    /// When something that counts as activity last happened; now, while
    /// something goes on.
    pub(crate) fn active_at(&self) -> u64 {
        let carried = self.traffic.bytes();
        let has_carried = self.carried.swap(carried, Ordering::Relaxed) != carried;
        if has_carried || self.busy.load(Ordering::Relaxed) > 0 {
            self.touch();
        }
        self.active_at.load(Ordering::Relaxed)
    }

    /// The activity that the store knows is in no row that was read since.
    pub(crate) fn note_active_at_written(&self) {
        let at = self.active_at();
        self.row.send_modify(|row| Arc::make_mut(row).active_at = at);
    }

    /// Whether something goes on that counts as activity.
    pub(crate) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed) > 0
    }

    /// How long nothing happened that counts as activity.
    pub(crate) fn idle_for(&self) -> Duration {
        Duration::from_micros(self.clock.now().saturating_sub(self.active_at()))
    }

    /// Whether somebody holds on to this project's actors.
    pub(crate) fn is_held(&self) -> bool {
        self.holds.load(Ordering::Acquire) > 0
    }
}

/// Keeps a project's actors from being passivated.
pub(crate) struct Hold(Arc<Live>);

impl Hold {
    pub(crate) fn new(live: &Arc<Live>) -> Self {
        live.holds.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(live))
    }

    pub(crate) fn live(&self) -> &Arc<Live> {
        &self.0
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.holds.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A hold that counts as activity as long as it lives.
pub(crate) struct Busy(Hold);

impl Busy {
    pub(crate) fn new(live: &Arc<Live>) -> Self {
        live.busy.fetch_add(1, Ordering::Relaxed);
        live.touch();
        Self(Hold::new(live))
    }

    pub(crate) fn live(&self) -> &Arc<Live> {
        self.0.live()
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let live = self.0.live();
        live.touch();
        live.busy.fetch_sub(1, Ordering::Relaxed);
    }
}
