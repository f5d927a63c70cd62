//! The reconciler: at start, and whenever the engine comes back, it rouses every
//! project that is not at rest, and removes containers that belong to nobody.
//!
//! What has to be done about a project is known to its container actor, which
//! settles as soon as it is spawned; so this actor only has to find the projects. Those that
//! were made for a request of an earlier life of the server are deleted.
//! Serving begins at once: a request about a project that was not roused yet
//! spawns it itself.

use std::collections::HashSet;

use futures_util::StreamExt as _;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use sandtree_model::{Answer, Fault, SandboxUid};
use tokio::task::JoinSet;

use crate::container::ContainerMsg;
use crate::once;
use crate::ports::{EngineError, Seen, StoreError};
use crate::project::ProjectMsg;
use crate::tasks::survive;
use crate::tree::Tree;

/// Rows that are read at once.
const PAGE: u32 = 500;
/// Projects that are roused at once.
const ROUSED_AT_ONCE: usize = 64;
/// Pause after an attempt that could not be finished.
const RETRY_AFTER: std::time::Duration = std::time::Duration::from_secs(2);

/// Everything the reconciler can be told.
pub(crate) enum ReconcilerMsg {
    /// Tell: the engine is here (again).
    Reconcile,
    /// Fact: an attempt ended.
    Ended(Answer<()>),
}

/// The actor.
pub(crate) struct ReconcilerActor;

/// What the actor holds.
pub(crate) struct State {
    tree: Tree,
    is_running: bool,
    is_asked_again: bool,
    tasks: JoinSet<()>,
}

impl Actor for ReconcilerActor {
    type Msg = ReconcilerMsg;
    type State = State;
    type Arguments = Tree;

    async fn pre_start(
        &self,
        me: ActorRef<ReconcilerMsg>,
        tree: Tree,
    ) -> Result<State, ActorProcessingErr> {
        me.cast(ReconcilerMsg::Reconcile)?;
        let mut tasks = JoinSet::new();
        let mut engine = tree.context().engine_is_here.subscribe();
        tasks.spawn(async move {
            while engine.changed().await.is_ok() {
                if *engine.borrow_and_update() && me.cast(ReconcilerMsg::Reconcile).is_err() {
                    return;
                }
            }
        });
        Ok(State { tree, is_running: false, is_asked_again: false, tasks })
    }

    async fn handle(
        &self,
        me: ActorRef<ReconcilerMsg>,
        message: ReconcilerMsg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            ReconcilerMsg::Reconcile if state.is_running => state.is_asked_again = true,
            ReconcilerMsg::Reconcile => state.begin(me),
            ReconcilerMsg::Ended(outcome) => state.ended(&me, outcome)?,
        }
        Ok(())
    }
}

impl State {
    fn begin(&mut self, me: ActorRef<ReconcilerMsg>) {
        self.is_running = true;
        let tree = self.tree.clone();
        self.tasks.spawn(async move {
            let outcome = survive(reconcile(&tree)).await;
            let outcome = outcome.unwrap_or_else(|fault| Err(fault.into()));
            // The actor that owns this task outlives it.
            let _ = me.cast(ReconcilerMsg::Ended(outcome));
        });
    }

    fn ended(
        &mut self,
        me: &ActorRef<ReconcilerMsg>,
        outcome: Answer<()>,
    ) -> Result<(), ActorProcessingErr> {
        self.is_running = false;
        while self.tasks.try_join_next().is_some() {}
        if let Err(failure) = outcome {
            tracing::warn!(%failure, "taking stock could not be finished; trying again");
            me.send_after(RETRY_AFTER, || ReconcilerMsg::Reconcile);
        } else if std::mem::take(&mut self.is_asked_again) {
            me.cast(ReconcilerMsg::Reconcile)?;
        }
        Ok(())
    }
}

async fn reconcile(tree: &Tree) -> Answer<()> {
    if !tree.settings().is_owner {
        return Ok(());
    }
    let began = tokio::time::Instant::now();
    for entry in tree.context().directory.entries() {
        // One that ended meanwhile has nothing to settle.
        let _ = entry.actor.cast(ProjectMsg::Container(ContainerMsg::Settle));
    }
    let roused = rouse_all(tree).await?;
    let left_behind = once::sweep(tree).await?;
    let removed = sweep(tree).await?;
    tracing::info!(roused, left_behind, removed, took = ?began.elapsed(), "took stock");
    Ok(())
}

async fn rouse_all(tree: &Tree) -> Answer<usize> {
    let (mut after, mut roused) = (None, 0);
    loop {
        let page = tree.context().store.unsettled(after.as_ref(), PAGE).await;
        let page = page.map_err(|StoreError(why)| Fault::StoreAway(why))?;
        let Some(last) = page.last() else {
            return Ok(roused);
        };
        after = Some(last.uid.clone());
        roused += page.len();
        futures_util::stream::iter(page)
            .for_each_concurrent(ROUSED_AT_ONCE, |row| async move {
                if tree.rouse(&row.key).await.is_err() {
                    tree.rouse_in_time(row.key);
                }
            })
            .await;
    }
}

/// Removes containers of this instance whose sandbox belongs to no project. An
/// intent is committed before its container is made, so none is too young.
///
/// # Errors
///
/// When the engine or the store does not answer.
pub(crate) async fn sweep(tree: &Tree) -> Answer<usize> {
    let context = tree.context();
    if !context.settings.is_owner {
        return Ok(0);
    }
    let listed = context.engine.list().await;
    context.note_engine(&listed);
    let seen = listed.map_err(engine_away)?;
    // Asked between the two: what leaves the pool is a project's row by then.
    let pooled = pooled(tree).await?;
    let sandboxes: Vec<SandboxUid> = seen.iter().map(|seen| seen.sandbox.clone()).collect();
    let owned = context.store.owned(&sandboxes).await;
    let owned = owned.map_err(|StoreError(why)| Fault::StoreAway(why))?;
    let owned: HashSet<_> = owned.into_iter().collect();
    let mut removed = 0;
    let is_orphan = |seen: &Seen| !owned.contains(&seen.sandbox) && !pooled.contains(&seen.sandbox);
    for orphan in seen.into_iter().filter(is_orphan) {
        tracing::warn!(sandbox = %orphan.sandbox, container = %orphan.container, "removing an orphan");
        context.engine.remove(&orphan.container).await.map_err(engine_away)?;
        removed += 1;
    }
    Ok(removed)
}

async fn pooled(tree: &Tree) -> Answer<HashSet<SandboxUid>> {
    let Some(pool) = tree.context().pool() else {
        return Err(Fault::Internal("the pool is being restarted".into()).into());
    };
    pool.known(tree.settings().operation_timeout).await
}

fn engine_away(error: EngineError) -> Fault {
    Fault::EngineAway(error.to_string().into())
}
