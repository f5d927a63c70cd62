//! The process actor: exactly one long-running command of a project, and its log.
//!
//! ```text
//! project ── Put, Stop, Signal ──▶ process ──▶ one owned task: record, then init
//!                                     │
//!                                     └─▶ pump: init's ring ──▶ log on disk ──▶ ack
//! ```
//!
//! The command lives in the sandbox's init and outlives this actor and the server.
//! What is to run is recorded before init is asked, under a number (the epoch) that
//! rises with every start, so that a start that a crash interrupted is done once
//! and never twice. Supervised by the project; its successor reads the record and
//! finds the job again.

mod change;
mod pump;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use sandtree_model::{
    Answer, Event, ExitStatus, Phase, ProcessRecord, ProcessSpec, Refusal, RestartPolicy,
};
use sandtree_wire::{Job, JobState, Request};
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use crate::context::Context;
use crate::link::Link;
use crate::live::Live;
use crate::sandbox::exit_status;
use crate::tasks::survive;
use crate::view::{ProcessState, ProcessView};
pub(crate) use change::Running;
use change::{Change, Task};

/// Pause before the first restart; doubles up to the last.
const BACKOFF: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// Pause before a change is tried again that the store did not take.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// A process that ran so long has made good its earlier failures.
const FORGIVEN_AFTER_US: u64 = 60_000_000;
/// Longest time that a start's output waits for the rest of the one before.
const DRAIN_MAX: Duration = Duration::from_secs(30);

type PutReply = RpcReplyPort<Answer<(ProcessView, bool)>>;

/// Everything a process actor can be told.
pub(crate) enum ProcessMsg {
    /// Ask: run this, in place of what runs.
    Put(Box<ProcessSpec>, Running, PutReply),
    /// Ask: end it.
    Stop(RpcReplyPort<Answer<ProcessView>>),
    /// Ask: send a signal to its group.
    Signal(i32, RpcReplyPort<Answer<()>>),
    /// Fact: init is linked, and this is the job it has.
    Up {
        /// The link.
        link: Arc<Link>,
        /// The job, if there is one.
        job: Option<JobState>,
        /// Whether the sandbox was started just now.
        is_fresh: bool,
    },
    /// Fact: the link is lost; at rest, the sandbox with it.
    Down {
        /// Whether the sandbox has ended.
        is_at_rest: bool,
    },
    /// Fact: the job ended.
    JobEnded(JobState),
    /// Fact: init has started the job.
    Started(JobState),
    /// Fact: the change in progress ended.
    Changed,
    /// Tell: the store may be back for this change.
    Again(Box<Change>),
    /// Tell: the pause before the restart of this epoch is over.
    RestartDue(u64),
}

/// The actor.
pub(crate) struct ProcessActor;

/// What the actor is spawned with.
pub(crate) struct Arguments {
    pub(crate) context: Arc<Context>,
    pub(crate) live: Arc<Live>,
    pub(crate) link: Option<Arc<Link>>,
}

/// What the actor holds.
pub(crate) struct State {
    me: ActorRef<ProcessMsg>,
    context: Arc<Context>,
    live: Arc<Live>,
    link: Option<Arc<Link>>,
    /// The newest epoch whose end is known.
    ended_epoch: u64,
    is_changing: bool,
    queue: VecDeque<Change>,
    /// Of the start with this epoch.
    pump: Option<(u64, AbortOnDropHandle<()>)>,
    tasks: JoinSet<()>,
}

impl Actor for ProcessActor {
    type Msg = ProcessMsg;
    type State = State;
    type Arguments = Arguments;

    async fn pre_start(
        &self,
        me: ActorRef<ProcessMsg>,
        Arguments { context, live, link }: Arguments,
    ) -> Result<State, ActorProcessingErr> {
        Ok(State {
            me,
            context,
            live,
            link,
            ended_epoch: 0,
            is_changing: false,
            queue: VecDeque::new(),
            pump: None,
            tasks: JoinSet::new(),
        })
    }

    async fn handle(
        &self,
        _me: ActorRef<ProcessMsg>,
        message: ProcessMsg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            ProcessMsg::Put(spec, running, reply) => {
                state.queue.push_back(Change::Put(spec, running, reply));
            }
            ProcessMsg::Stop(reply) => state.queue.push_back(Change::Stop(reply)),
            ProcessMsg::Signal(signal, reply) => state.signal(signal, reply),
            ProcessMsg::Up { link, job, is_fresh } => state.up(link, job, is_fresh),
            ProcessMsg::Down { is_at_rest } => state.down(is_at_rest),
            ProcessMsg::JobEnded(job) => state.job_ended(&job),
            ProcessMsg::Started(job) => state.started(&job),
            ProcessMsg::Changed => state.is_changing = false,
            ProcessMsg::Again(change) => state.queue.push_back(*change),
            ProcessMsg::RestartDue(epoch) => state.restart_due(epoch),
        }
        state.advance();
        while state.tasks.try_join_next().is_some() {}
        Ok(())
    }
}

impl State {
    fn record(&self) -> Option<ProcessRecord> {
        self.live.row().process.clone()
    }

    fn show(&self, state: ProcessState, pid: Option<u32>) {
        show(&self.live, state, pid);
    }

    /// Begins the next change, if none is in progress.
    fn advance(&mut self) {
        if self.is_changing {
            return;
        }
        let Some(change) = self.queue.pop_front() else {
            return;
        };
        self.is_changing = true;
        let task = Task {
            context: Arc::clone(&self.context),
            live: Arc::clone(&self.live),
            link: self.link.clone(),
            me: self.me.clone(),
        };
        let me = self.me.clone();
        self.tasks.spawn(async move {
            match survive(task.run(change)).await {
                Ok(None) => {}
                Ok(Some(change)) => {
                    me.send_after(AGAIN_AFTER, move || ProcessMsg::Again(Box::new(change)));
                }
                Err(_) => tracing::error!("a change of a process panicked"),
            }
            // The actor that owns this task outlives it.
            let _ = me.cast(ProcessMsg::Changed);
        });
    }

    fn signal(&mut self, signal: i32, reply: RpcReplyPort<Answer<()>>) {
        let is_running = self.live.process.borrow().as_ref().is_some_and(ProcessView::is_running);
        let link = self.link.clone().filter(|_| is_running);
        self.tasks.spawn(async move {
            let outcome = match link {
                Some(link) => link.tell(Request::SignalJob { job: Job::Process, signal }).await,
                None => Err(not_running().into()),
            };
            // Who does not wait any more does not need to know.
            let _ = reply.send(outcome);
        });
    }

    fn up(&mut self, link: Arc<Link>, job: Option<JobState>, is_fresh: bool) {
        self.link = Some(link);
        let Some(record) = self.record() else { return };
        match job {
            Some(job) if job.epoch == record.epoch => {
                self.pump(job.epoch);
                if job.ended.is_some() {
                    self.job_ended(&job);
                } else {
                    self.show(ProcessState::Running, Some(job.pid));
                    if !record.wanted {
                        // It was stopped while nobody could tell init.
                        self.queue.push_back(Change::Settle);
                    }
                }
            }
            Some(_) | None => self.not_found(record, is_fresh),
        }
    }

    /// Init does not know the start that was recorded last.
    fn not_found(&mut self, record: ProcessRecord, is_fresh: bool) {
        if !record.wanted {
            // It was being stopped, and its sandbox went away first.
            if self.is_shown_running() {
                self.note_end(record, ExitStatus::Lost, true);
            }
            return;
        }
        let base = record.epoch;
        if record.ended.is_none() && !is_fresh {
            // Recorded, but a crash came before init was asked.
            self.show(ProcessState::Starting, None);
            self.queue.push_back(Change::Start(Box::new(record), base));
        } else if record.spec.restart == RestartPolicy::OnFailure {
            self.show(ProcessState::Starting, None);
            let restarts = record.restarts + 1;
            let next = Box::new(self.next_start(record, restarts));
            self.queue.push_back(Change::Start(next, base));
        } else {
            let ended = record.ended.or(Some((ExitStatus::Lost, self.context.clock.now())));
            self.show_ended(ended);
            let record = ProcessRecord { wanted: false, ended, ..record };
            self.queue.push_back(Change::Record(Box::new(record)));
        }
    }

    fn next_start(&self, record: ProcessRecord, restarts: u32) -> ProcessRecord {
        let epoch = next_epoch(&self.context, Some(&record));
        ProcessRecord { epoch, restarts, ended: None, ..record }
    }

    fn show_ended(&self, ended: Option<(ExitStatus, u64)>) {
        if let Some((status, _)) = ended {
            self.show(ProcessState::Ended(status), None);
        }
    }

    fn down(&mut self, is_at_rest: bool) {
        self.link = None;
        if !is_at_rest {
            return;
        }
        self.pump = None;
        let Some(record) = self.record() else { return };
        if self.is_shown_running() {
            self.note_end(record, ExitStatus::Lost, true);
        } else {
            // One that waited for its restart waits for its sandbox now.
            self.show_ended(record.ended);
        }
    }

    fn started(&mut self, job: &JobState) {
        self.pump(job.epoch);
        self.live.tell(Event::ProcessStarted { pid: job.pid, epoch: job.epoch });
        match job.ended {
            Some(_) => self.job_ended(job),
            None if job.epoch > self.ended_epoch => {
                self.show(ProcessState::Running, Some(job.pid));
            }
            None => {}
        }
    }

    fn job_ended(&mut self, job: &JobState) {
        let Some(record) = self.record() else { return };
        if job.epoch != record.epoch || self.ended_epoch >= job.epoch {
            return;
        }
        let Some(status) = job.ended else { return };
        self.note_end(record, exit_status(status), false);
    }

    /// Records an end, and decides whether another start follows.
    fn note_end(&mut self, record: ProcessRecord, status: ExitStatus, with_sandbox: bool) {
        // What our own stop of the sandbox ended has neither failed nor finished.
        let with_sandbox = with_sandbox || self.live.row().phase == Phase::Stopping;
        let was_stopping = matches!(
            self.live.process.borrow().as_ref().map(|view| view.state),
            Some(ProcessState::Stopping)
        );
        self.ended_epoch = record.epoch;
        self.live.tell(Event::ProcessEnded { epoch: record.epoch, status });
        let starts_again = record.wanted
            && !was_stopping
            && record.spec.restart == RestartPolicy::OnFailure
            && (with_sandbox || !status.is_success());
        let state = if starts_again && !with_sandbox {
            self.restart_later(&record);
            ProcessState::Waiting
        } else {
            ProcessState::Ended(status)
        };
        self.show(state, None);
        let ended = Some((status, self.context.clock.now()));
        let record = ProcessRecord { wanted: starts_again, ended, ..record };
        self.queue.push_back(Change::Record(Box::new(record)));
    }

    fn restart_later(&self, record: &ProcessRecord) {
        let pause = BACKOFF.saturating_mul(2_u32.saturating_pow(record.restarts.min(10)));
        let epoch = record.epoch;
        self.me.send_after(pause.min(BACKOFF_MAX), move || ProcessMsg::RestartDue(epoch));
    }

    fn restart_due(&mut self, epoch: u64) {
        let Some(record) = self.record() else { return };
        let is_up = self.link.is_some() && self.live.row().phase == Phase::Running;
        if record.epoch != epoch || !record.wanted || !is_up {
            return;
        }
        let lived = record.ended.map_or(0, |(_, at)| at.saturating_sub(epoch.saturating_mul(1000)));
        let restarts = if lived >= FORGIVEN_AFTER_US { 1 } else { record.restarts + 1 };
        self.queue.push_back(Change::Start(Box::new(self.next_start(record, restarts)), epoch));
    }

    /// Starts copying the job's output to the log, from where the log ends: after the
    /// rest of the start before, which no later record may overtake.
    fn pump(&mut self, epoch: u64) {
        let Some(link) = self.link.clone() else { return };
        let (context, live) = (Arc::clone(&self.context), Arc::clone(&self.live));
        let earlier = self.pump.take().filter(|(before, _)| *before != epoch);
        let task = tokio::spawn(async move {
            if let Some((_, earlier)) = earlier {
                // What it has not drained by then is told as lost by its missing end.
                let _ = tokio::time::timeout(DRAIN_MAX, earlier).await;
            }
            pump::run(context, live, link, epoch).await;
        });
        self.pump = Some((epoch, AbortOnDropHandle::new(task)));
    }

    fn is_shown_running(&self) -> bool {
        self.live.process.borrow().as_ref().is_some_and(ProcessView::is_running)
    }
}

impl ProcessView {
    /// Whether it runs or is about to: another start would replace it.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.is_running() || self.state == ProcessState::Waiting
    }

    fn is_running(&self) -> bool {
        matches!(
            self.state,
            ProcessState::Starting | ProcessState::Running | ProcessState::Stopping
        )
    }
}

fn not_running() -> Refusal {
    Refusal::Conflict { why: "the process does not run; start it with PUT".into() }
}

fn show(live: &Live, state: ProcessState, pid: Option<u32>) {
    let Some(record) = live.row().process.clone() else {
        return;
    };
    live.process.send_replace(Some(ProcessView { record, state, pid }));
}

/// Epochs are times in milliseconds: they rise, and tell when the start was asked for.
fn next_epoch(context: &Context, last: Option<&ProcessRecord>) -> u64 {
    let now = context.clock.now() / 1000;
    last.map_or(now, |record| now.max(record.epoch + 1))
}
