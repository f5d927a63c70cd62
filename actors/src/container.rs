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
mod facts;
mod lease;
mod meaning;
mod patch;
mod queue;
mod work;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use sandtree_model::{Answer, Principal};
use sandtree_wire::JobState;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::home::{Home, OpenHome};
use crate::link::{Link, LinkNews};
use crate::live::Live;
use crate::ports::WhatHappened;
use crate::project::ProjectMsg;
use crate::request::PatchRequest;
use crate::tree::Operation;
pub(crate) use meaning::target_of;
use queue::RETRY_AFTER;
pub(crate) use work::engine_fault;

type LeaseReply = RpcReplyPort<Answer<Arc<Link>>>;

/// Everything a container actor can be told.
pub(crate) enum ContainerMsg {
    /// Ask: bring the project to where the operation leads.
    Operate(Asked),
    /// Ask: change settings.
    Patch(Box<PatchRequest>, RpcReplyPort<Answer<()>>),
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
    /// What. Absent, only to be made: it undoes nothing that others ask for meanwhile.
    pub(crate) operation: Option<Operation>,
    /// Who.
    pub(crate) by: Principal,
    /// Why, in words for people.
    pub(crate) reason: Box<str>,
    /// Answer as soon as the intent is committed, not when it is done.
    pub(crate) later: bool,
    /// Where the answer goes.
    pub(crate) reply: RpcReplyPort<Answer<()>>,
}

impl Asked {
    fn is_delete(&self) -> bool {
        matches!(self.operation, Some(Operation::Delete { .. }))
    }
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
    /// One place: for the change of settings that is made.
    patching: Arc<Semaphore>,
    /// One place: for who tells init what the row says.
    telling: Arc<Semaphore>,
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
            patching: Arc::new(Semaphore::new(1)),
            telling: Arc::new(Semaphore::new(1)),
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
