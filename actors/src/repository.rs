//! The repository: the only writer of runtime state.
//!
//! ```text
//! any actor ── Write ──▶ repository ──▶ one durable transaction ──▶ publish ──▶ answer
//! ```
//!
//! Writes that arrive while a transaction runs wait for the next one and go
//! together (group commit). A row is published after its commit and before its
//! writer is answered, so nobody ever sees what could still be lost. Supervised
//! by the root. When it dies, waiting writers get an error and ask the store what
//! became of their write; the next repository starts empty.

use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use sandtree_model::durations::Span;
use sandtree_model::{Answer, Failure, Fault, Project, Refusal, Transition};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::ask::ask;
use crate::context::Context;
use crate::fullness::Fullness;
use crate::live::Live;
use crate::ports::{StoreError, Write, Written};
use crate::tasks::survive;

/// Longest time that a writer waits for its commit.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// Everything the repository can be told.
pub(crate) enum RepositoryMsg {
    /// Ask: write this durably.
    Write(Box<Pending>),
    /// Fact: the transaction in progress ended.
    Ended(Batch, Result<Vec<Written>, StoreError>),
}

/// A write that waits for its transaction.
pub(crate) struct Pending {
    write: Write,
    writer: Writer,
}

/// Writes that go together, and who waits for each.
#[derive(Default)]
pub(crate) struct Batch {
    writes: Vec<Write>,
    writers: Vec<Writer>,
}

/// Where the row is shown, and who waits for the outcome.
struct Writer {
    live: Option<Arc<Live>>,
    reply: RpcReplyPort<Answer<Written>>,
    /// Taken until the write is decided, also when nobody waits for it any more.
    _place: OwnedSemaphorePermit,
}

/// How others reach the repository.
#[derive(Clone)]
pub(crate) struct Repository {
    actor: ActorRef<RepositoryMsg>,
    places: Arc<Semaphore>,
    waiting_max: usize,
}

impl Repository {
    pub(crate) fn new(actor: ActorRef<RepositoryMsg>, waiting_max: usize) -> Self {
        Self { actor, places: Arc::new(Semaphore::new(waiting_max)), waiting_max }
    }

    /// How many writes wait, of those that may.
    pub(crate) fn fullness(&self) -> Fullness {
        Fullness::of_places("writes", &self.places, self.waiting_max)
    }

    /// Writes, and answers after the commit. The row is shown in `live` by then. A write
    /// that is answered with [`Fault::StoreAway`] may be done all the same, also later.
    pub(crate) async fn write(&self, live: Option<Arc<Live>>, write: Write) -> Answer<Written> {
        let Ok(_place) = Arc::clone(&self.places).try_acquire_owned() else {
            let what = format!("{} writes", self.waiting_max);
            return Err(Refusal::Busy { what: what.into() }.into());
        };
        let asked = ask(&self.actor, WRITE_TIMEOUT, |reply| {
            let writer = Writer { live, reply, _place };
            RepositoryMsg::Write(Box::new(Pending { write, writer }))
        })
        .await;
        match asked {
            // The repository itself always answers at once, so it is the store that is silent.
            Err(Failure::Faulted(Fault::TimedOut { limit, .. })) => {
                let why = format!("it did not answer within {}", Span(limit));
                Err(Fault::StoreAway(why.into()).into())
            }
            answered => answered?,
        }
    }
}

/// The actor.
pub(crate) struct RepositoryActor;

/// What it holds: the writes that wait.
pub(crate) struct State {
    context: Arc<Context>,
    waiting: Vec<Pending>,
    is_writing: bool,
}

impl Actor for RepositoryActor {
    type Msg = RepositoryMsg;
    type State = State;
    type Arguments = Arc<Context>;

    async fn pre_start(
        &self,
        _me: ActorRef<RepositoryMsg>,
        context: Arc<Context>,
    ) -> Result<State, ActorProcessingErr> {
        Ok(State { context, waiting: Vec::new(), is_writing: false })
    }

    async fn handle(
        &self,
        me: ActorRef<RepositoryMsg>,
        message: RepositoryMsg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            RepositoryMsg::Write(pending) => state.waiting.push(*pending),
            RepositoryMsg::Ended(batch, outcome) => state.ended(batch, outcome),
        }
        state.begin(&me);
        Ok(())
    }
}

impl State {
    fn begin(&mut self, me: &ActorRef<RepositoryMsg>) {
        if self.is_writing || self.waiting.is_empty() {
            return;
        }
        let size = self.waiting.len().min(self.context.settings.batch_max.max(1));
        let mut batch = Batch::default();
        for Pending { write, writer } in self.waiting.drain(..size) {
            batch.writes.push(write);
            batch.writers.push(writer);
        }
        self.is_writing = true;
        metrics::histogram!("sandtree_commit_writes").record(u32::try_from(size).unwrap_or(0));
        let (me, store) = (me.clone(), Arc::clone(&self.context.store));
        self.context.tasks.spawn(async move {
            let began = tokio::time::Instant::now();
            let outcome = survive(store.write(&batch.writes)).await;
            let outcome = outcome.unwrap_or_else(|fault| Err(StoreError(fault.to_string().into())));
            metrics::histogram!("sandtree_commit_seconds").record(began.elapsed());
            // A repository that was replaced meanwhile has no use for it, and
            // dropping the batch tells the writers.
            let _ = me.cast(RepositoryMsg::Ended(batch, outcome));
        });
    }

    fn ended(&mut self, batch: Batch, outcome: Result<Vec<Written>, StoreError>) {
        self.is_writing = false;
        match outcome {
            Ok(outcomes) => {
                let writers = batch.writes.iter().zip(batch.writers);
                for ((write, writer), written) in writers.zip(outcomes) {
                    if let (Some(live), Written::Row(row)) = (&writer.live, &written) {
                        publish(live, write, row);
                    }
                    answer(writer.reply, Ok(written));
                }
            }
            Err(StoreError(why)) => {
                tracing::error!(%why, writes = batch.writes.len(), "the store did not take a batch");
                for writer in batch.writers {
                    answer(writer.reply, Err(Fault::StoreAway(why.clone()).into()));
                }
            }
        }
    }
}

fn publish(live: &Live, write: &Write, row: &Project) {
    let transition = match write {
        Write::Move(moved) => Some(Transition {
            generation: row.generation,
            from: Some(live.row().phase),
            by: Some(moved.by),
            to: moved.to,
            reason: moved.reason.clone(),
            principal: moved.principal.clone(),
            at: moved.at,
        }),
        Write::Create(_)
        | Write::Patch(..)
        | Write::Process(..)
        | Write::Activity(_)
        | Write::ReserveOwner => None,
    };
    live.publish(row.clone(), transition);
}

fn answer<T>(reply: RpcReplyPort<T>, value: T) {
    // A writer that gave up reads the row when it comes back.
    let _ = reply.send(value);
}
