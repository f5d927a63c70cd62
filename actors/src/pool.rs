//! The pool: started sandboxes that wait to be claimed.
//!
//! ```text
//! tree ── Claim ──▶ pool ──▶ owned tasks: make, adopt, discard
//!   ▲                 │
//!   └──── Claimed ◀───┘      the sandbox with its socket and its link to init
//! ```
//!
//! A pooled sandbox has an owner and an empty workspace, and belongs to no project.
//! Whoever claims it makes a project of it with one commit; its environment reaches
//! init after that. What was used never comes back. A file in the data directory
//! names every pooled sandbox from before it is made until it is a project's, so a
//! server that starts knows what an earlier one left, and takes it over. Supervised
//! by the root; while it is gone, creates are cold.

mod made;

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use sandtree_model::project::Container;
use sandtree_model::{Answer, ProfileName, SandboxUid};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::ask::ask;
use crate::context::Context;
use crate::disk::blocking;
use crate::home::OpenHome;
use crate::ports::WhatHappened;
use crate::shape::Shape;
use crate::tasks::survive;
use made::{Note, Warm};

/// Longest time that a create waits to hear whether there is a sandbox for it.
const CLAIM_TIMEOUT: Duration = Duration::from_secs(1);
/// Pause after a sandbox that could not be made; doubles up to the last.
const RETRY_AFTER: Duration = Duration::from_secs(1);
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// Everything the pool can be told.
pub(crate) enum PoolMsg {
    /// Ask: a sandbox of this shape, if one is ready.
    Claim(Shape, RpcReplyPort<Option<Claimed>>),
    /// Ask: the sandboxes that are the pool's business, and so nobody's orphans.
    Known(RpcReplyPort<HashSet<SandboxUid>>),
    /// Ask: how many sandboxes are ready, by profile.
    Ready(RpcReplyPort<BTreeMap<ProfileName, usize>>),
    /// Tell: a claimed sandbox was not used after all.
    GiveBack(Warm),
    /// Tell: nobody claims this sandbox any more: it is a project's, or an orphan.
    Release(Note),
    /// Tell: look whether anything is missing.
    Refill,
    /// Fact: something happened to the container of a sandbox that is no live project's.
    Happened(SandboxUid, WhatHappened),
    /// Fact: a ready sandbox's link is lost.
    Lost(SandboxUid),
    /// Fact: these are the sandboxes that an earlier pool left.
    StockTaken(Answer<Vec<Note>>),
    /// Fact: an attempt to make a sandbox, or to take one over, ended.
    Made(SandboxUid, ProfileName, Answer<Warm>),
    /// Fact: a sandbox that was of no use is removed.
    Discarded(SandboxUid),
}

/// How others reach the pool.
#[derive(Clone)]
pub(crate) struct Pool(ActorRef<PoolMsg>);

/// A sandbox that a create has claimed. Dropped, it goes back unused.
pub(crate) struct Claimed {
    warm: Option<Warm>,
    pool: ActorRef<PoolMsg>,
}

impl Pool {
    pub(crate) fn new(actor: ActorRef<PoolMsg>) -> Self {
        Self(actor)
    }

    /// A ready sandbox of this shape, if there is one.
    pub(crate) async fn claim(&self, shape: Shape) -> Option<Claimed> {
        let asked = ask(&self.0, CLAIM_TIMEOUT, |reply| PoolMsg::Claim(shape, reply)).await;
        // A pool that does not answer only makes the create a cold one.
        asked.ok().flatten()
    }

    /// The sandboxes that are not to be taken for orphans.
    ///
    /// # Errors
    ///
    /// When the pool does not answer.
    pub(crate) async fn known(&self, timeout: Duration) -> Answer<HashSet<SandboxUid>> {
        ask(&self.0, timeout, PoolMsg::Known).await
    }

    /// How many sandboxes are ready, by profile.
    ///
    /// # Errors
    ///
    /// When the pool does not answer.
    pub(crate) async fn ready(&self) -> Answer<BTreeMap<ProfileName, usize>> {
        ask(&self.0, CLAIM_TIMEOUT, PoolMsg::Ready).await
    }

    /// Something happened to a container that is no live project's.
    pub(crate) fn happened(&self, sandbox: SandboxUid, what: WhatHappened) {
        // A pool that is being restarted takes stock by itself.
        let _ = self.0.cast(PoolMsg::Happened(sandbox, what));
    }
}

impl Claimed {
    /// Whose container it is, who owns its files, and the container.
    pub(crate) fn parts(&self) -> Option<(&SandboxUid, (u32, u32), &Container)> {
        self.warm.as_ref().map(|warm| (&warm.note.sandbox, warm.note.owner, &warm.container))
    }

    /// It is a project's now, whose actors get its socket.
    pub(crate) fn keep(mut self) -> Option<OpenHome> {
        let warm = self.warm.take()?;
        let _ = self.pool.cast(PoolMsg::Release(warm.note));
        Some(warm.home)
    }

    /// Nobody knows whether it is a project's: whoever sweeps will find out.
    pub(crate) fn abandon(self) {
        drop(self.keep());
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        if let Some(warm) = self.warm.take() {
            // Without a pool it is an orphan, and swept as one.
            let _ = self.pool.cast(PoolMsg::GiveBack(warm));
        }
    }
}

/// The actor.
pub(crate) struct PoolActor;

/// What the actor holds.
pub(crate) struct State {
    me: ActorRef<PoolMsg>,
    context: Arc<Context>,
    /// By profile; only those of which some are wanted.
    shelves: BTreeMap<ProfileName, Shelf>,
    /// Being made, taken over, claimed or discarded.
    in_hand: HashSet<SandboxUid>,
    /// Being made or taken over, of all shelves.
    making: usize,
    /// Until then nobody is told what is known.
    has_stock: bool,
    waiting: Vec<RpcReplyPort<HashSet<SandboxUid>>>,
    tasks: JoinSet<()>,
}

/// The sandboxes of one profile.
struct Shelf {
    wanted: usize,
    ready: VecDeque<Warm>,
    /// Claimed, and neither used nor given back yet: a claim that comes to nothing
    /// makes no work for the engine.
    claimed: usize,
    making: usize,
    retry_after: Duration,
    /// No attempt before this moment.
    not_before: Instant,
}

impl Actor for PoolActor {
    type Msg = PoolMsg;
    type State = State;
    type Arguments = Arc<Context>;

    async fn pre_start(
        &self,
        me: ActorRef<PoolMsg>,
        context: Arc<Context>,
    ) -> Result<State, ActorProcessingErr> {
        let sizes = context.settings.pool_sizes.iter().filter(|(_, wanted)| **wanted > 0);
        let shelf = |wanted: usize| Shelf {
            wanted,
            ready: VecDeque::new(),
            claimed: 0,
            making: 0,
            retry_after: RETRY_AFTER,
            not_before: Instant::now(),
        };
        let shelves = sizes.map(|(name, wanted)| (name.clone(), shelf(*wanted))).collect();
        let mut state = State {
            me,
            context,
            shelves,
            in_hand: HashSet::new(),
            making: 0,
            has_stock: false,
            waiting: Vec::new(),
            tasks: JoinSet::new(),
        };
        state.take_stock(Duration::ZERO);
        Ok(state)
    }

    async fn handle(
        &self,
        _me: ActorRef<PoolMsg>,
        message: PoolMsg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            PoolMsg::Claim(shape, reply) => state.claim(&shape, reply),
            PoolMsg::Known(reply) => state.waiting.push(reply),
            PoolMsg::Ready(reply) => state.ready(reply),
            PoolMsg::GiveBack(warm) => state.give_back(warm),
            PoolMsg::Release(note) => state.release(&note),
            PoolMsg::Refill => {}
            PoolMsg::Happened(_, WhatHappened::Started) => {}
            PoolMsg::Happened(sandbox, _) | PoolMsg::Lost(sandbox) => state.lost(&sandbox),
            PoolMsg::StockTaken(outcome) => state.stock_taken(outcome),
            PoolMsg::Made(sandbox, profile, outcome) => state.made(sandbox, &profile, outcome),
            PoolMsg::Discarded(sandbox) => drop(state.in_hand.remove(&sandbox)),
        }
        state.advance();
        while state.tasks.try_join_next().is_some() {}
        Ok(())
    }
}

impl State {
    fn advance(&mut self) {
        self.answer_and_make();
        self.context.pool_making.store(self.making, Ordering::Relaxed);
    }

    /// Answers who waits for it, and makes what is missing.
    fn answer_and_make(&mut self) {
        if !self.has_stock {
            return;
        }
        for reply in std::mem::take(&mut self.waiting) {
            let ready = self.shelves.values().flat_map(|shelf| &shelf.ready);
            let known = ready.map(|warm| warm.note.sandbox.clone());
            // Who does not wait any more has no use for it.
            let _ = reply.send(known.chain(self.in_hand.iter().cloned()).collect());
        }
        if !self.context.settings.is_owner {
            return;
        }
        let names: Vec<ProfileName> = self.shelves.keys().cloned().collect();
        for name in names {
            while self.making < self.context.settings.pool_refills_max && self.lacks(&name) {
                self.make(&name);
            }
        }
    }

    fn ready(&self, reply: RpcReplyPort<BTreeMap<ProfileName, usize>>) {
        let ready = self.shelves.iter().map(|(name, shelf)| (name.clone(), shelf.ready.len()));
        // Who does not wait any more has no use for it.
        let _ = reply.send(ready.collect());
    }

    fn lacks(&self, name: &str) -> bool {
        self.shelves.get(name).is_some_and(|shelf| {
            let there = shelf.ready.len() + shelf.claimed + shelf.making;
            there < shelf.wanted && shelf.not_before <= Instant::now()
        })
    }

    fn claim(&mut self, shape: &Shape, reply: RpcReplyPort<Option<Claimed>>) {
        let Some(shelf) = self.shelves.get_mut(&shape.profile) else {
            let _ = reply.send(None);
            return;
        };
        // One whose link was lost is on its way out: the fact of it is in the mailbox.
        let ready = &mut shelf.ready;
        let fits = ready.iter().position(|warm| warm.note.shape == *shape && warm.is_linked());
        let warm = fits.and_then(|place| ready.remove(place));
        let outcome = if warm.is_some() { "hit" } else { "miss" };
        metrics::counter!("sandtree_pool_claims_total", "outcome" => outcome).increment(1);
        if let Some(warm) = &warm {
            shelf.claimed += 1;
            self.in_hand.insert(warm.note.sandbox.clone());
        }
        self.show(&shape.profile);
        let claimed = warm.map(|warm| Claimed { warm: Some(warm), pool: self.me.clone() });
        // Who does not wait any more drops it, and it comes back.
        let _ = reply.send(claimed);
    }

    fn give_back(&mut self, warm: Warm) {
        self.unclaim(&warm.note);
        let name = warm.note.shape.profile.clone();
        match self.shelves.get_mut(&name) {
            Some(shelf) if warm.is_linked() => shelf.ready.push_front(warm),
            _ => self.discard(warm.note),
        }
        self.show(&name);
    }

    fn release(&mut self, note: &Note) {
        self.unclaim(note);
        let path = self.context.pool_note(&note.sandbox);
        self.tasks.spawn(async move { drop(blocking(move || made::forget(&path)).await) });
    }

    fn unclaim(&mut self, note: &Note) {
        // One that a pool before this one gave out is on no shelf of ours.
        if self.in_hand.remove(&note.sandbox)
            && let Some(shelf) = self.shelves.get_mut(&note.shape.profile)
        {
            shelf.claimed -= 1;
        }
    }

    fn lost(&mut self, sandbox: &SandboxUid) {
        for shelf in self.shelves.values_mut() {
            if let Some(place) = shelf.ready.iter().position(|warm| warm.note.sandbox == *sandbox) {
                if let Some(warm) = shelf.ready.remove(place) {
                    tracing::warn!(%sandbox, "a sandbox of the pool is lost");
                    let name = warm.note.shape.profile.clone();
                    self.discard(warm.note);
                    self.show(&name);
                }
                return;
            }
        }
    }

    /// Removes a sandbox of which nobody has made a project.
    fn discard(&mut self, note: Note) {
        let sandbox = note.sandbox.clone();
        self.in_hand.insert(sandbox.clone());
        let (context, me) = (Arc::clone(&self.context), self.me.clone());
        self.tasks.spawn(async move {
            if let Err(failure) = made::discard(&context, &note).await {
                tracing::warn!(%sandbox, %failure, "a pooled sandbox is left to be swept");
            }
            // The actor that owns this task outlives it.
            let _ = me.cast(PoolMsg::Discarded(sandbox));
        });
    }

    fn take_stock(&mut self, pause: Duration) {
        let (context, me) = (Arc::clone(&self.context), self.me.clone());
        self.tasks.spawn(async move {
            tokio::time::sleep(pause).await;
            let outcome = survive(made::left_behind(&context)).await;
            let outcome = outcome.unwrap_or_else(|fault| Err(fault.into()));
            let _ = me.cast(PoolMsg::StockTaken(outcome));
        });
    }

    fn stock_taken(&mut self, outcome: Answer<Vec<Note>>) {
        let notes = match outcome {
            Ok(notes) => notes,
            Err(failure) => {
                tracing::warn!(%failure, "what is left of the pool cannot be told yet");
                return self.take_stock(RETRY_AFTER);
            }
        };
        self.has_stock = true;
        for note in notes {
            let shelf = self.shelves.get_mut(&note.shape.profile);
            match shelf.filter(|shelf| shelf.making < shelf.wanted) {
                Some(_) => self.begin(note, true),
                None => self.discard(note),
            }
        }
    }

    fn make(&mut self, name: &str) {
        let Ok(profile) = self.context.profile(name) else { return };
        match made::fresh(Shape::of_profile(name, profile)) {
            Ok(note) => self.begin(note, false),
            Err(failure) => tracing::error!(%failure, "a sandbox for the pool has no name"),
        }
    }

    fn begin(&mut self, note: Note, is_there: bool) {
        let (sandbox, name) = (note.sandbox.clone(), note.shape.profile.clone());
        self.in_hand.insert(sandbox.clone());
        self.making += 1;
        if let Some(shelf) = self.shelves.get_mut(&name) {
            shelf.making += 1;
        }
        let (context, me) = (Arc::clone(&self.context), self.me.clone());
        self.tasks.spawn(async move {
            let outcome = if is_there {
                survive(made::take_over(&context, note)).await
            } else {
                survive(made::make(&context, note)).await
            };
            let outcome = outcome.unwrap_or_else(|fault| Err(fault.into()));
            // The actor that owns this task outlives it.
            let _ = me.cast(PoolMsg::Made(sandbox, name, outcome));
        });
    }

    fn made(&mut self, sandbox: SandboxUid, name: &str, outcome: Answer<Warm>) {
        self.in_hand.remove(&sandbox);
        self.making -= 1;
        let Some(shelf) = self.shelves.get_mut(name) else { return };
        shelf.making -= 1;
        match outcome {
            Ok(warm) => {
                shelf.retry_after = RETRY_AFTER;
                let (me, link) = (self.me.clone(), Arc::clone(&warm.link));
                shelf.ready.push_back(warm);
                // Ends when the sandbox does, whoever has it then.
                self.tasks.spawn(async move {
                    link.ended().await;
                    let _ = me.cast(PoolMsg::Lost(sandbox));
                });
            }
            Err(failure) => {
                tracing::warn!(profile = name, %failure, "a sandbox for the pool could not be made");
                shelf.not_before = Instant::now() + shelf.retry_after;
                self.me.send_after(shelf.retry_after, || PoolMsg::Refill);
                shelf.retry_after = (shelf.retry_after * 2).min(RETRY_AFTER_MAX);
            }
        }
        self.show(name);
    }

    fn show(&self, name: &str) {
        let ready = self.shelves.get(name).map_or(0, |shelf| shelf.ready.len());
        let ready = u32::try_from(ready).unwrap_or(u32::MAX);
        metrics::gauge!("sandtree_pool_ready", "profile" => name.to_owned()).set(ready);
    }
}
