//! The container actor: the single authority of a project's life cycle.
//!
//! ```text
//! project ── Operate ──▶ container ──▶ one owned task: intent, then settle
//!                            ▲                     │
//!                            └──── facts ──────────┘   engine, home, repository
//! ```
//!
//! An operation commits its intent and then [settles](work): it goes from phase to
//! phase until the project is where it was asked to be. What a crash interrupted
//! is finished by the same settling, which is therefore the first thing that this
//! actor does for a project that is not at rest. One task at a time; whoever asks
//! meanwhile waits in the queue. Supervised by its project; when it dies, its task
//! ends with it and its successor settles again from the row.

mod boot;
mod work;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use sandtree_model::{Answer, Failure, Fault, Phase, Principal, ProjectPatch, Refusal, Target};
use sandtree_wire::{JobState, Notice};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::home::{Home, OpenHome};
use crate::link::{Link, LinkNews};
use crate::live::Live;
use crate::ports::{WhatHappened, Write};
use crate::project::ProjectMsg;
use crate::tasks::survive;
use crate::tree::Operation;
use work::Work;
pub(crate) use work::engine_fault;

/// Pause before the first attempt to settle again; doubles up to the last.
const RETRY_AFTER: Duration = Duration::from_millis(500);
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);

type LeaseReply = RpcReplyPort<Answer<Arc<Link>>>;

/// Everything a container actor can be told.
pub(crate) enum ContainerMsg {
    /// Ask: bring the project to where the operation leads.
    Operate(Asked),
    /// Ask: change settings.
    Patch(Box<ProjectPatch>, RpcReplyPort<Answer<()>>),
    /// Ask: the link to the init of the running sandbox.
    Lease(LeaseReply),
    /// Tell: take stock, and go on to where the project was asked to be.
    Settle,
    /// Fact: something happened to the container, as the engine says.
    Happened(WhatHappened),
    /// Fact: something happened on the link with this number.
    News(u64, LinkNews),
    /// Fact: the intent of the task in progress is committed.
    IntentCommitted,
    /// Fact: init is linked and configured.
    Up(Up),
    /// Fact: the task in progress ended.
    Ended(Answer<()>),
}

/// A sandbox that runs and is linked.
pub(crate) struct Up {
    pub(crate) link: Arc<Link>,
    /// What runs in it.
    pub(crate) jobs: Vec<JobState>,
    /// Whether it was started just now: nothing was ever asked of it.
    pub(crate) is_fresh: bool,
}

/// An operation that somebody waits for.
pub(crate) struct Asked {
    /// What.
    pub(crate) operation: Operation,
    /// Who.
    pub(crate) by: Principal,
    /// Why, in words for people.
    pub(crate) reason: Box<str>,
    /// Answer as soon as the intent is committed, not when it is done.
    pub(crate) later: bool,
    /// Where the answer goes.
    pub(crate) reply: RpcReplyPort<Answer<()>>,
}

/// The actor.
pub(crate) struct ContainerActor;

/// What the actor is spawned with.
pub(crate) struct Arguments {
    pub(crate) context: Arc<Context>,
    pub(crate) live: Arc<Live>,
    pub(crate) project: ActorRef<ProjectMsg>,
    /// The open socket of a sandbox that comes from the pool.
    pub(crate) home: Option<OpenHome>,
}

/// What the actor holds.
pub(crate) struct State {
    me: ActorRef<ContainerMsg>,
    context: Arc<Context>,
    live: Arc<Live>,
    project: ActorRef<ProjectMsg>,
    home: Option<Arc<Home>>,
    link: Option<Arc<Link>>,
    /// Whether the phase is known to be true.
    is_settled: bool,
    /// Whether the store may hold a newer row: a commit was not answered.
    is_row_in_doubt: bool,
    retry_after: Duration,
    current: Option<Current>,
    queue: VecDeque<Asked>,
    /// The last that the engine told of the container during the task in progress.
    happened_meanwhile: Option<WhatHappened>,
    /// Who waits for a running sandbox's link, which is being made again.
    leases: Vec<LeaseReply>,
    /// Ended with the actor.
    tasks: JoinSet<()>,
}

/// The task in progress.
struct Current {
    /// Absent while it only settles.
    operation: Option<Operation>,
    /// Of the row when it began.
    generation: u64,
    waiting: Vec<Asked>,
    cancel: CancellationToken,
}

impl Actor for ContainerActor {
    type Msg = ContainerMsg;
    type State = State;
    type Arguments = Arguments;

    async fn pre_start(
        &self,
        me: ActorRef<ContainerMsg>,
        arguments: Arguments,
    ) -> Result<State, ActorProcessingErr> {
        let Arguments { context, live, project, home } = arguments;
        let is_settled = live.row().is_at_rest();
        if !is_settled {
            me.cast(ContainerMsg::Settle)?;
        }
        let mut state = State {
            me,
            context,
            live,
            project,
            home: None,
            link: None,
            is_settled,
            is_row_in_doubt: false,
            retry_after: RETRY_AFTER,
            current: None,
            queue: VecDeque::new(),
            happened_meanwhile: None,
            leases: Vec::new(),
            tasks: JoinSet::new(),
        };
        if let Some(home) = home {
            state.follow(home);
        }
        Ok(state)
    }

    async fn handle(
        &self,
        _me: ActorRef<ContainerMsg>,
        message: ContainerMsg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            ContainerMsg::Operate(asked) => state.operate(asked),
            ContainerMsg::Patch(patch, reply) => state.patch(*patch, reply),
            ContainerMsg::Lease(reply) => state.lease(reply),
            ContainerMsg::Settle => state.settle(),
            ContainerMsg::Happened(what) => state.happened(what),
            ContainerMsg::News(number, news) => state.news(number, news),
            ContainerMsg::IntentCommitted => state.intent_committed(),
            ContainerMsg::Up(up) => state.up(up),
            ContainerMsg::Ended(outcome) => state.ended(outcome),
        }
        state.advance();
        while state.tasks.try_join_next().is_some() {}
        Ok(())
    }
}

fn reply_to(asked: Asked, outcome: Answer<()>) {
    // Who does not wait any more finds out by reading the project.
    let _ = asked.reply.send(outcome);
}

impl State {
    fn operate(&mut self, asked: Asked) {
        if let Some(current) = &mut self.current {
            let is_same = match current.operation {
                Some(operation) => operation == asked.operation,
                None if asked.operation == Operation::Discard => false,
                None => target_of(asked.operation) == self.live.row().target,
            };
            // At rest again, it has all but ended: this request is for what comes after.
            let row = self.live.row();
            let is_over = row.is_at_rest() && row.generation > current.generation;
            if is_same && !is_over {
                current.waiting.push(asked);
                return;
            }
            let is_deletion = self.live.row().target.is_delete()
                || matches!(current.operation, Some(Operation::Delete { .. }));
            if is_deletion && !matches!(asked.operation, Operation::Delete { .. }) {
                return reply_to(asked, Err(being_deleted()));
            }
            // Nobody should wait for a start that is not wanted any more.
            if !is_deletion && is_ending(asked.operation) {
                current.cancel.cancel();
            }
        }
        if let Operation::Delete { .. } = asked.operation {
            // Another deletion is not overtaken: it has the same answer.
            let is_delete = |asked: &Asked| matches!(asked.operation, Operation::Delete { .. });
            let (deletes, others) = self.queue.drain(..).partition(is_delete);
            self.queue = deletes;
            let others: VecDeque<Asked> = others;
            others.into_iter().for_each(|other| reply_to(other, Err(being_deleted())));
        }
        self.queue.push_back(asked);
    }

    /// Begins the next task, if none is in progress and there is something to do.
    fn advance(&mut self) {
        while self.current.is_none() {
            if !self.is_settled {
                return;
            }
            let Some(asked) = self.queue.pop_front() else {
                return;
            };
            match is_there_already(asked.operation, self.live.row().phase) {
                Ok(true) => reply_to(asked, Ok(())),
                Ok(false) => self.begin(Some(asked)),
                Err(refusal) => reply_to(asked, Err(refusal.into())),
            }
        }
    }

    fn settle(&mut self) {
        let is_at_rest = self.live.row().is_at_rest() && !self.is_row_in_doubt;
        if self.current.is_none() && !is_at_rest {
            self.begin(None);
        }
    }

    fn begin(&mut self, asked: Option<Asked>) {
        let home = match self.open_home() {
            Ok(home) => home,
            Err(error) => {
                let failure = Failure::from(Fault::Disk(error.to_string().into()));
                tracing::error!(%error, "cannot open the sandbox's socket");
                return asked.into_iter().for_each(|asked| reply_to(asked, Err(failure.clone())));
            }
        };
        let cancel = CancellationToken::new();
        let (principal, reason) = match &asked {
            Some(asked) => (asked.by.name.clone(), Some(asked.reason.clone())),
            None => ("server".into(), None),
        };
        let work = Work {
            context: Arc::clone(&self.context),
            live: Arc::clone(&self.live),
            home,
            me: self.me.clone(),
            principal,
            reason,
            is_row_in_doubt: self.is_row_in_doubt,
            cancel: cancel.clone(),
        };
        let operation = asked.as_ref().map(|asked| asked.operation);
        let (generation, waiting) = (self.live.row().generation, asked.into_iter().collect());
        self.current = Some(Current { operation, generation, waiting, cancel });
        let me = self.me.clone();
        self.tasks.spawn(async move {
            let outcome = survive(work.run(operation)).await;
            let outcome = outcome.unwrap_or_else(|fault| Err(fault.into()));
            // The actor that owns this task outlives it.
            let _ = me.cast(ContainerMsg::Ended(outcome));
        });
    }

    fn open_home(&mut self) -> std::io::Result<Arc<Home>> {
        if let Some(home) = &self.home {
            return Ok(Arc::clone(home));
        }
        let dir = self.context.sandbox_dir(&self.live.row().sandbox);
        Ok(self.follow(OpenHome::open(dir.root())?))
    }

    /// From now on the news of this home are told to this actor.
    fn follow(&mut self, OpenHome { home, mut news }: OpenHome) -> Arc<Home> {
        self.home = Some(Arc::clone(&home));
        let me = self.me.clone();
        self.tasks.spawn(async move {
            while let Some((number, item)) = news.recv().await {
                if me.cast(ContainerMsg::News(number, item)).is_err() {
                    return;
                }
            }
        });
        home
    }

    fn intent_committed(&mut self) {
        let Some(current) = &mut self.current else {
            return;
        };
        for asked in current.waiting.extract_if(.., |asked| asked.later) {
            reply_to(asked, Ok(()));
        }
    }

    fn up(&mut self, up: Up) {
        self.link = Some(Arc::clone(&up.link));
        // The project supervises this actor and outlives it.
        let _ = self.project.cast(ProjectMsg::Up(up));
        self.answer_leases();
    }

    fn ended(&mut self, outcome: Answer<()>) {
        let Some(current) = self.current.take() else {
            return;
        };
        let phase = self.live.row().phase;
        let is_transient = matches!(
            &outcome,
            Err(Failure::Faulted(Fault::EngineAway(_) | Fault::StoreAway(_) | Fault::Internal(_)))
        );
        self.is_row_in_doubt =
            matches!(&outcome, Err(Failure::Faulted(Fault::StoreAway(_) | Fault::TimedOut { .. })));
        let is_at_rest = self.live.row().is_at_rest() && !self.is_row_in_doubt;
        // A cancelled task has left the phase where it was; its canceller goes on from there.
        self.is_settled = is_at_rest || !(is_transient || self.is_row_in_doubt);
        if !self.is_settled {
            self.retry_later();
            if current.operation.is_none() {
                // Who waited for the stock-taking is told why it cannot be done now.
                for asked in self.queue.drain(..) {
                    reply_to(asked, outcome.clone());
                }
            }
        } else {
            self.retry_after = RETRY_AFTER;
        }
        for asked in current.waiting {
            reply_to(asked, outcome.clone());
        }
        self.after(phase);
        self.answer_leases();
        // The task's own doings are what it has led to; anything else came after its last look.
        if let (Some(what), true) = (self.happened_meanwhile.take(), self.is_settled) {
            self.happened(what);
        }
    }

    /// Lets go of what the phase does not need.
    fn after(&mut self, phase: Phase) {
        if phase.is_at_rest() {
            self.home = None;
            self.link = None;
            // Also when the link was lost before: only now is it lost for good.
            let _ = self.project.cast(ProjectMsg::Down);
        }
        let has_no_link = self.link.as_ref().is_none_or(|link| link.is_closed());
        if phase == Phase::Running && has_no_link && self.is_settled {
            // It was lost while the task was about to end.
            self.settle();
        }
        if phase == Phase::Deleted {
            for asked in self.queue.drain(..) {
                let is_delete = matches!(asked.operation, Operation::Delete { .. });
                let gone = || Err(Refusal::not_found("the project").into());
                reply_to(asked, if is_delete { Ok(()) } else { gone() });
            }
            let _ = self.project.cast(ProjectMsg::Deleted);
        }
    }

    fn retry_later(&mut self) {
        let (me, after) = (self.me.clone(), self.retry_after);
        self.retry_after = (after * 2).min(RETRY_AFTER_MAX);
        self.tasks.spawn(async move {
            tokio::time::sleep(after).await;
            let _ = me.cast(ContainerMsg::Settle);
        });
    }

    fn happened(&mut self, what: WhatHappened) {
        let row = self.live.row();
        if self.current.is_some() {
            self.happened_meanwhile = Some(what);
            return;
        }
        if row.is_at_rest() {
            return;
        }
        let is_expected = match what {
            WhatHappened::Paused => row.phase == Phase::Paused,
            WhatHappened::Resumed | WhatHappened::Started => row.phase == Phase::Running,
            WhatHappened::OutOfMemory => true,
            WhatHappened::Died | WhatHappened::Removed => false,
        };
        if !is_expected {
            self.begin(None);
        }
    }

    fn news(&mut self, number: u64, news: LinkNews) {
        if self.link.as_ref().is_none_or(|link| link.number != number) {
            return;
        }
        match news {
            LinkNews::Notice(Notice::JobEnded(job)) => {
                let _ = self.project.cast(ProjectMsg::JobEnded(job));
            }
            LinkNews::Lost => {
                self.lost_link();
                self.settle();
            }
        }
    }

    fn lost_link(&mut self) {
        if self.link.take().is_some() {
            let _ = self.project.cast(ProjectMsg::Down);
        }
    }

    fn lease(&mut self, reply: LeaseReply) {
        let phase = self.live.row().phase;
        let link = self.link.clone().filter(|link| !link.is_closed());
        let answer = match link {
            _ if phase != Phase::Running => {
                Err(Refusal::WrongPhase { phase, advice: advice_to_run(phase) }.into())
            }
            Some(link) => Ok(link),
            // Not reconciled yet, or init is dialling again: that takes a moment.
            None if self.is_being_linked() => return self.leases.push(reply),
            None => {
                Err(Fault::Sandbox("its init does not answer; it is being restarted".into()).into())
            }
        };
        // Who does not wait any more has no use for it.
        let _ = reply.send(answer);
    }

    /// Whether a task looks after the link that is gone. One that has just ended is
    /// looked after now, and not only when its end has been told.
    fn is_being_linked(&mut self) -> bool {
        if self.is_settled {
            self.settle();
        }
        self.current.is_some()
    }

    fn answer_leases(&mut self) {
        for reply in std::mem::take(&mut self.leases) {
            self.lease(reply);
        }
    }

    fn patch(&mut self, patch: ProjectPatch, reply: RpcReplyPort<Answer<()>>) {
        let (context, live) = (Arc::clone(&self.context), Arc::clone(&self.live));
        let link = self.link.clone();
        self.tasks.spawn(async move {
            let env_changed = patch.env.is_some();
            let write = Write::Patch(live.row().uid.clone(), Box::new(patch));
            let mut outcome = context.write(Some(&live), write).await.map(|_| ());
            if let (Ok(()), true, Some(link)) = (&outcome, env_changed, link) {
                let configuration = boot::configuration(&context, &live.row());
                outcome = link.configure(configuration).await.map(|_| ());
            }
            let _ = reply.send(outcome);
        });
    }
}

/// Whether nothing runs any more where the operation leads.
fn is_ending(operation: Operation) -> bool {
    matches!(operation, Operation::Stop | Operation::Discard | Operation::Delete { .. })
}

fn being_deleted() -> Failure {
    Refusal::Conflict { why: "the project is being deleted".into() }.into()
}

fn advice_to_run(phase: Phase) -> &'static str {
    match phase {
        Phase::Paused | Phase::Pausing => "resume it first",
        Phase::Stopped | Phase::Stopping | Phase::Failed => "start it first",
        Phase::Creating | Phase::Starting | Phase::Resuming | Phase::Running => {
            "wait until it is running (`?wait_for=running`)"
        }
        Phase::Deleting | Phase::Deleted => "create a new one",
    }
}

/// Whether a project in this phase is where the operation leads.
///
/// # Errors
///
/// When the operation makes no sense from here.
fn is_there_already(operation: Operation, phase: Phase) -> Result<bool, Refusal> {
    let refuse = |advice| Err(Refusal::WrongPhase { phase, advice });
    if matches!(phase, Phase::Deleting | Phase::Deleted) {
        let is_delete = matches!(operation, Operation::Delete { .. });
        return if is_delete { Ok(phase == Phase::Deleted) } else { refuse("create a new one") };
    }
    match (operation, phase) {
        (Operation::Start | Operation::Resume, Phase::Running) => Ok(true),
        (Operation::Stop, Phase::Stopped | Phase::Failed) => Ok(true),
        (Operation::Pause, Phase::Paused) => Ok(true),
        (Operation::Start, Phase::Paused) => refuse("resume it instead"),
        (Operation::Pause, phase) if phase != Phase::Running => {
            refuse("only a running one can be paused")
        }
        (Operation::Resume, phase) if phase != Phase::Paused => {
            refuse("only a paused one can be resumed")
        }
        _ => Ok(false),
    }
}

/// Where an operation leads in the end.
pub(crate) fn target_of(operation: Operation) -> Target {
    match operation {
        Operation::Start | Operation::Restart | Operation::Resume => Target::Running,
        Operation::Stop | Operation::Discard => Target::Stopped,
        Operation::Pause => Target::Paused,
        Operation::Delete { keep_files: true } => Target::DeletedKeepingFiles,
        Operation::Delete { keep_files: false } => Target::Deleted,
    }
}
