//! The terminal actor: exactly one shell of a project, for any number of viewers.
//!
//! ```text
//! project ── Open, Close ──▶ terminal ──▶ one owned task: ask init for the shell
//!                                │
//!    viewers ◀── fan-out ◀── pump ◀── init's ring          screen: follows the fan-out
//!       └──────── input ──────▶ └────▶ the shell
//! ```
//!
//! The shell lives in the sandbox's init and outlives this actor and the server.
//! A viewer has a cursor in one shared ring and no queue of its own. The shell waits for
//! viewers that read, and no longer than a moment for those that do not; one that falls
//! behind is told how much it lost and gets the screen anew. Supervised by the project.

mod pump;
mod viewer;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use sandtree_model::{Answer, Event, ExitStatus, Fault, Refusal};
use sandtree_wire::{Job, JobSpec, JobState, Request, Size};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::context::Context;
use crate::crash::{self, Point};
use crate::fanout::{Fanout, FanoutItem};
use crate::fullness::waiting;
use crate::link::Link;
use crate::live::Live;
use crate::screen::{Saving, Screen};
use crate::tasks::survive;
use crate::view::{Cursor, TerminalView};
use viewer::FIRST_SIZE;
pub use viewer::{TerminalInput, TerminalItem, ViewRequest, Viewer};

/// A screen that changes is saved so often.
const SCREEN_SAVED_EVERY: Duration = Duration::from_secs(2);

type OpenReply = RpcReplyPort<Answer<Viewer>>;

/// Everything a terminal actor can be told.
pub(crate) enum TerminalMsg {
    /// Ask: one more viewer; starts the shell if there is none.
    Open(ViewRequest, OpenReply),
    /// Ask: end the shell.
    Close(RpcReplyPort<Answer<()>>),
    /// Fact: init is linked, and this is the job it has.
    Up(Arc<Link>, Option<JobState>),
    /// Fact: the link is lost; at rest, the sandbox with it.
    Down {
        /// Whether the sandbox has ended.
        is_at_rest: bool,
    },
    /// Fact: the job ended; its last output may still be on its way.
    JobEnded(JobState),
    /// Fact: the shell that was asked for runs, or cannot.
    Opened(Answer<JobState>),
    /// Fact: the last viewer of the shell with this epoch left.
    Left(u64),
    /// Fact: the time is over that the shell had since so many had come.
    Unseen {
        /// Which shell.
        epoch: u64,
        /// How many viewers it had had by then.
        viewers_ever: u64,
    },
    /// Fact: all output of the shell with this epoch has been fanned out.
    Drained(u64, ExitStatus),
}

/// The actor.
pub(crate) struct TerminalActor;

/// What the actor is spawned with.
pub(crate) struct Arguments {
    pub(crate) context: Arc<Context>,
    pub(crate) live: Arc<Live>,
    pub(crate) link: Option<Arc<Link>>,
}

/// What the actor holds.
pub(crate) struct State {
    me: ActorRef<TerminalMsg>,
    context: Arc<Context>,
    live: Arc<Live>,
    link: Option<Arc<Link>>,
    shell: Option<Shell>,
    /// See [`ViewRequest::leave_grace`].
    leave_grace: Option<Duration>,
    /// Counts viewers, so that one who came and left is noticed.
    viewers_ever: u64,
    /// Who waits for the shell that is being started.
    waiting: Vec<(ViewRequest, OpenReply)>,
    tasks: JoinSet<()>,
}

/// A shell that runs.
struct Shell {
    shared: Arc<Shared>,
    _pump: AbortOnDropHandle<()>,
    _following: AbortOnDropHandle<()>,
}

/// What a shell's viewers share.
pub(crate) struct Shared {
    pub(crate) epoch: u64,
    pub(crate) pid: u32,
    pub(crate) fanout: Arc<Fanout>,
    pub(crate) screen: Screen,
    pub(crate) live: Arc<Live>,
    pub(crate) viewers: AtomicUsize,
    /// Where input and sizes go; a new pump puts itself here.
    input: Mutex<mpsc::Sender<Input>>,
    /// Who is told when the last viewer leaves.
    actor: ActorRef<TerminalMsg>,
    /// Cancelled when nothing will come any more, not even an end: the project was
    /// deleted, or the actor died. A viewer may come back then.
    gone: CancellationToken,
}

impl Drop for Shell {
    fn drop(&mut self) {
        self.shared.gone.cancel();
    }
}

/// What a viewer sends to the shell.
pub(crate) enum Input {
    /// Keystrokes.
    Bytes(Bytes),
    /// A new size.
    Resize(Size),
}

impl Shared {
    /// Pieces of input that the shell has not taken yet.
    pub(crate) fn input_waiting(&self) -> usize {
        waiting(&self.input.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn input(&self) -> mpsc::Sender<Input> {
        self.input.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Shows the terminal to readers as it is now.
    pub(crate) fn show(&self, size: Option<Size>) {
        let viewers = self.viewers.load(Ordering::Relaxed);
        self.live.terminal.send_modify(|view| {
            let before = view.map_or(FIRST_SIZE, |view| Size { cols: view.cols, rows: view.rows });
            let Size { cols, rows } = size.unwrap_or(before);
            *view = Some(TerminalView { epoch: self.epoch, pid: self.pid, cols, rows, viewers });
        });
    }
}

impl Actor for TerminalActor {
    type Msg = TerminalMsg;
    type State = State;
    type Arguments = Arguments;

    async fn pre_start(
        &self,
        me: ActorRef<TerminalMsg>,
        Arguments { context, live, link }: Arguments,
    ) -> Result<State, ActorProcessingErr> {
        let (shell, waiting, tasks) = (None, Vec::new(), JoinSet::new());
        let (leave_grace, viewers_ever) = (None, 0);
        Ok(State { me, context, live, link, shell, leave_grace, viewers_ever, waiting, tasks })
    }

    async fn handle(
        &self,
        _me: ActorRef<TerminalMsg>,
        message: TerminalMsg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            TerminalMsg::Open(request, reply) => state.open(request, reply),
            TerminalMsg::Close(reply) => state.close(reply),
            TerminalMsg::Up(link, job) => state.up(link, job),
            TerminalMsg::Down { is_at_rest } => state.down(is_at_rest),
            TerminalMsg::JobEnded(job) => tracing::debug!(?job, "a shell ended"),
            TerminalMsg::Opened(outcome) => state.opened(outcome),
            TerminalMsg::Left(epoch) => state.left(epoch),
            TerminalMsg::Unseen { epoch, viewers_ever } => state.unseen(epoch, viewers_ever),
            TerminalMsg::Drained(epoch, status) => state.drained(epoch, status),
        }
        while state.tasks.try_join_next().is_some() {}
        Ok(())
    }
}

impl State {
    fn open(&mut self, request: ViewRequest, reply: OpenReply) {
        let Some(shell) = &self.shell else {
            let is_first = self.waiting.is_empty();
            self.waiting.push((request, reply));
            if is_first {
                self.start(request);
            }
            return;
        };
        let limit = self.context.settings.terminal_viewers_max;
        let outcome = if shell.shared.viewers.load(Ordering::Relaxed) >= limit {
            Err(Refusal::Busy { what: format!("{limit} viewers of one terminal").into() }.into())
        } else {
            self.leave_grace = request.leave_grace;
            self.viewers_ever += 1;
            Ok(Viewer::new(Arc::clone(&shell.shared), request))
        };
        // Who does not wait any more drops its viewer.
        let _ = reply.send(outcome);
    }

    /// Asks init for a shell.
    fn start(&mut self, request: ViewRequest) {
        let spec = self.spec(request);
        let (me, link) = (self.me.clone(), self.link.clone());
        let phase = self.live.row().phase;
        self.tasks.spawn(async move {
            let outcome = match (link, spec) {
                (Some(link), Ok(spec)) => new_shell(&link, spec).await,
                (None, _) => Err(Refusal::WrongPhase { phase, advice: "start it first" }.into()),
                (_, Err(failure)) => Err(failure),
            };
            // The actor that owns this task outlives it.
            let _ = me.cast(TerminalMsg::Opened(outcome));
        });
    }

    fn spec(&self, request: ViewRequest) -> Answer<JobSpec> {
        let row = self.live.row();
        let profile = self.context.profile(&row.settings.profile)?;
        let shells = profile.shells.iter().map(|shell| vec![shell.to_string()]);
        Ok(JobSpec {
            job: Job::Terminal,
            epoch: self.context.clock.now() / 1000,
            argv_choices: shells.collect(),
            cwd: None,
            env: BTreeMap::from([("TERM".to_owned(), "xterm-256color".to_owned())]),
            size: request.first_size(),
            ring_bytes: self.context.settings.terminal_ring_bytes as u64,
            block_when_full: false,
        })
    }

    fn opened(&mut self, outcome: Answer<JobState>) {
        let waiting = std::mem::take(&mut self.waiting);
        match outcome {
            Ok(job) => {
                let size = waiting.first().map(|(request, _)| request.first_size());
                self.adopt(&job, size);
                self.live.tell(Event::TerminalOpened { pid: job.pid, epoch: job.epoch });
                for (request, reply) in waiting {
                    self.open(request, reply);
                }
            }
            Err(failure) => {
                for (_, reply) in waiting {
                    // Who does not wait any more does not need to know.
                    let _ = reply.send(Err(failure.clone()));
                }
            }
        }
    }

    /// Takes over a shell that runs in the sandbox, new or from before a restart.
    fn adopt(&mut self, job: &JobState, size: Option<Size>) {
        let Some(link) = self.link.clone() else { return };
        let oldest = Cursor { epoch: job.epoch, offset: job.kept_from };
        let fanout = Arc::new(Fanout::new(self.context.settings.terminal_ring_bytes, oldest));
        let path = self.context.sandbox_dir(&self.live.row().sandbox).screen();
        let size = size.unwrap_or(FIRST_SIZE);
        let screen = saved_screen(&path, oldest).unwrap_or_else(|| Screen::new(oldest, size));
        let size = screen.size();
        let saving = Saving { path, every: SCREEN_SAVED_EVERY };
        let following = follow(screen.clone(), Arc::clone(&fanout), saving);
        let following = AbortOnDropHandle::new(tokio::spawn(following));
        let (input, receiver) = mpsc::channel(self.context.settings.terminal_input_max);
        let shared = Arc::new(Shared {
            epoch: job.epoch,
            pid: job.pid,
            fanout,
            screen,
            live: Arc::clone(&self.live),
            viewers: AtomicUsize::new(0),
            input: Mutex::new(input),
            actor: self.me.clone(),
            gone: CancellationToken::new(),
        });
        shared.show(Some(size));
        self.live.lent.shell(&shared);
        let pump = pump::run(Arc::clone(&shared), link, receiver, self.me.clone());
        let pump = AbortOnDropHandle::new(tokio::spawn(pump));
        self.shell = Some(Shell { shared, _pump: pump, _following: following });
    }

    fn up(&mut self, link: Arc<Link>, job: Option<JobState>) {
        self.link = Some(Arc::clone(&link));
        match (&mut self.shell, job) {
            (Some(shell), Some(job)) if shell.shared.epoch == job.epoch => {
                let (input, receiver) = mpsc::channel(self.context.settings.terminal_input_max);
                *shell.shared.input.lock().unwrap_or_else(PoisonError::into_inner) = input;
                let pump = pump::run(Arc::clone(&shell.shared), link, receiver, self.me.clone());
                shell._pump = AbortOnDropHandle::new(tokio::spawn(pump));
            }
            (_, job) => {
                self.lost();
                if let Some(job) = job {
                    self.adopt(&job, None);
                }
            }
        }
    }

    fn down(&mut self, is_at_rest: bool) {
        self.link = None;
        if is_at_rest {
            self.lost();
        }
    }

    /// The shell went away with its sandbox.
    fn lost(&mut self) {
        if let Some(shell) = &self.shell {
            let epoch = shell.shared.epoch;
            self.drained(epoch, ExitStatus::Lost);
        }
    }

    fn drained(&mut self, epoch: u64, status: ExitStatus) {
        let Some(shell) = self.shell.take_if(|shell| shell.shared.epoch == epoch) else {
            return;
        };
        shell.shared.fanout.end(status);
        self.live.terminal.send_replace(None);
        self.live.tell(Event::TerminalClosed { epoch, status });
    }

    fn left(&mut self, epoch: u64) {
        let Some(grace) = self.leave_grace else { return };
        if self.context.is_ending.load(Ordering::Relaxed) {
            return;
        }
        let (me, viewers_ever) = (self.me.clone(), self.viewers_ever);
        self.tasks.spawn(async move {
            tokio::time::sleep(grace).await;
            // The actor that owns this task outlives it.
            let _ = me.cast(TerminalMsg::Unseen { epoch, viewers_ever });
        });
    }

    fn unseen(&mut self, epoch: u64, viewers_ever: u64) {
        let is_the_one = self.shell.as_ref().is_some_and(|shell| shell.shared.epoch == epoch);
        if is_the_one && self.viewers_ever == viewers_ever {
            let end = self.end_shell();
            self.tasks.spawn(async move {
                if let Err(failure) = end.await {
                    tracing::warn!(%failure, "a shell that nobody sees could not be ended");
                }
            });
        }
    }

    fn end_shell(&self) -> impl Future<Output = Answer<()>> + use<> {
        let epoch = self.shell.as_ref().map(|shell| shell.shared.epoch);
        let link = self.link.clone();
        async move {
            let (Some(link), Some(epoch)) = (link, epoch) else { return Ok(()) };
            link.tell(Request::StopJob { job: Job::Terminal, epoch, grace_ms: 2000 }).await
        }
    }

    fn close(&mut self, reply: RpcReplyPort<Answer<()>>) {
        let end = self.end_shell();
        self.tasks.spawn(async move {
            let outcome = end.await;
            // Who does not wait any more does not need to know.
            let _ = reply.send(outcome);
        });
    }
}

/// Has init start a shell; one that we do not get to know is ended, for it would be in
/// the way of the next.
async fn new_shell(link: &Link, spec: JobSpec) -> Answer<JobState> {
    let end = Request::StopJob { job: Job::Terminal, epoch: spec.epoch, grace_ms: 0 };
    let outcome = survive(start_shell(link, spec)).await.unwrap_or_else(|fault| Err(fault.into()));
    // Init takes requests one after another, so this one finds a shell that came late.
    if outcome.is_err()
        && let Err(failure) = link.tell(end).await
    {
        tracing::warn!(%failure, "a shell that may have been started could not be ended");
    }
    outcome
}

async fn start_shell(link: &Link, spec: JobSpec) -> Answer<JobState> {
    let started = link.start_job(spec).await?;
    crash::at(Point::ShellStarted).await;
    Ok(started.map_err(|error| Fault::Sandbox(format!("no shell: {error}").into()))?)
}

/// The screen from before a restart of the server, if it is this shell's. The file
/// is ours and small, and is read once in a shell's life.
fn saved_screen(path: &Path, oldest: Cursor) -> Option<Screen> {
    let loaded = Screen::load(path).unwrap_or_else(|error| {
        tracing::warn!(%error, "a saved screen cannot be read; it is made anew");
        None
    });
    loaded.filter(|screen| screen.cursor().epoch == oldest.epoch)
}

/// Keeps the screen up with the output. A saved screen is ahead of what init still
/// has, which is for viewers that come back; it goes on where it was saved.
async fn follow(screen: Screen, fanout: Arc<Fanout>, saving: Saving) {
    let at = screen.cursor();
    let mut catching_up = fanout.join(fanout.oldest());
    while fanout.cursor() < at {
        match catching_up.next().await {
            Some(FanoutItem::Bytes(_) | FanoutItem::Gap { .. } | FanoutItem::Fresh { .. }) => {}
            Some(FanoutItem::Ended(_)) | None => break,
        }
    }
    drop(catching_up);
    let reader = fanout.join(at);
    drop(fanout);
    screen.follow(reader, Some(saving)).await;
}
