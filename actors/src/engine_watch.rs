//! The engine watch: what the engine says of containers becomes a fact for the
//! project concerned. When the engine goes away it asks until it is back; the
//! change of [`Context::engine_is_here`](crate::context::Context) starts the
//! reconciler, which finds what was missed.

use std::time::Duration;

use futures_util::StreamExt as _;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::task::JoinSet;

use crate::container::ContainerMsg;
use crate::ports::Happening;
use crate::project::ProjectMsg;
use crate::tasks::survive;
use crate::tree::Tree;

const RETRY_AFTER: Duration = Duration::from_millis(200);
const RETRY_AFTER_MAX: Duration = Duration::from_secs(5);

/// The watch is told nothing.
pub(crate) enum EngineWatchMsg {}

/// The actor.
pub(crate) struct EngineWatchActor;

impl Actor for EngineWatchActor {
    type Msg = EngineWatchMsg;
    /// The task that watches; ended with the actor.
    type State = JoinSet<()>;
    type Arguments = Tree;

    async fn pre_start(
        &self,
        _me: ActorRef<EngineWatchMsg>,
        tree: Tree,
    ) -> Result<JoinSet<()>, ActorProcessingErr> {
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { watch(&tree).await });
        Ok(tasks)
    }

    async fn handle(
        &self,
        _me: ActorRef<EngineWatchMsg>,
        message: EngineWatchMsg,
        _tasks: &mut JoinSet<()>,
    ) -> Result<(), ActorProcessingErr> {
        match message {}
    }
}

async fn watch(tree: &Tree) {
    let (mut pause, mut may_have_missed) = (RETRY_AFTER, false);
    loop {
        // A panic of the adapter ends what is followed, and not the watch.
        if survive(follow(tree, may_have_missed)).await.unwrap_or(false) {
            pause = RETRY_AFTER;
        }
        may_have_missed = true;
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RETRY_AFTER_MAX);
    }
}

/// Follows the engine's events until they end; whether there were any to follow.
async fn follow(tree: &Tree, may_have_missed: bool) -> bool {
    let events = tree.context().engine.events().await;
    let was_here = *tree.context().engine_is_here.borrow();
    tree.context().note_engine(&events);
    let mut events = match events {
        Ok(events) => events,
        Err(error) => {
            tracing::warn!(%error, "the container engine's events cannot be followed");
            return false;
        }
    };
    if may_have_missed && was_here {
        // What happened while nothing was followed was not seen.
        tree.context().engine_is_here.send_modify(|is_here| *is_here = true);
    }
    while let Some(happening) = events.next().await {
        tell(tree, &happening);
    }
    tracing::warn!("the container engine's events ended; connecting again");
    true
}

fn tell(tree: &Tree, happening: &Happening) {
    if let Some(entry) = tree.context().directory.find_by_sandbox(&happening.sandbox) {
        // One that ended meanwhile needs no telling.
        let _ = entry.actor.cast(ProjectMsg::Container(ContainerMsg::Happened(happening.what)));
    } else if let Some(pool) = tree.context().pool() {
        pool.happened(happening.sandbox.clone(), happening.what);
    }
}
