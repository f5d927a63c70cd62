//! The root: supervises all, routes nothing.
//!
//! ```text
//! root ─┬─▶ repository     ─┐
//!       ├─▶ reconciler      │ spawned with the root, and again when they fail
//!       ├─▶ janitor         │
//!       ├─▶ pool            │
//!       ├─▶ engine watch   ─┘
//!       └─▶ project × N      spawned by requests, and again when one fails
//! ```

use std::sync::Arc;

use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, SpawnErr, SupervisionEvent};
use sandtree_model::ProjectKey;
use tokio::time::Instant;

use crate::engine_watch::EngineWatchActor;
use crate::janitor::JanitorActor;
use crate::pool::{Pool, PoolActor};
use crate::reconciler::ReconcilerActor;
use crate::repository::{Repository, RepositoryActor};
use crate::supervise::{ChildEnd, FOR_EVER, Verdict};
use crate::tree::Tree;

/// Everything the root can be told.
pub(crate) enum RootMsg {
    /// Tell: spawn a failed part again.
    Respawn(Part),
    /// Tell: spawn a failed project again.
    Revive(ProjectKey),
}

/// The parts that serve all projects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Part {
    Repository,
    Reconciler,
    Janitor,
    Pool,
    EngineWatch,
}

/// The pool comes before who asks it what is no orphan.
const PARTS: [Part; 5] =
    [Part::Repository, Part::Pool, Part::Reconciler, Part::Janitor, Part::EngineWatch];

/// The actor.
pub(crate) struct RootActor;

/// What the actor holds.
pub(crate) struct State {
    me: ActorRef<RootMsg>,
    tree: Tree,
    parts: Vec<Running>,
    /// Projects that failed lately: how often in a row, and when last.
    failures: std::collections::HashMap<ProjectKey, (u32, Instant)>,
}

struct Running {
    part: Part,
    actor: Option<ActorId>,
    restarts: u32,
    since: Instant,
}

impl Actor for RootActor {
    type Msg = RootMsg;
    type State = State;
    type Arguments = Tree;

    async fn pre_start(
        &self,
        me: ActorRef<RootMsg>,
        tree: Tree,
    ) -> Result<State, ActorProcessingErr> {
        tree.context().set_root(me.get_cell());
        let mut state =
            State { me, tree, parts: Vec::new(), failures: std::collections::HashMap::new() };
        for part in PARTS {
            state.parts.push(Running { part, actor: None, restarts: 0, since: Instant::now() });
            state.spawn(part).await?;
        }
        Ok(state)
    }

    async fn handle(
        &self,
        _me: ActorRef<RootMsg>,
        message: RootMsg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            RootMsg::Respawn(part) => state.respawn(part).await,
            RootMsg::Revive(key) => state.tree.rouse_in_time(key),
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _me: ActorRef<RootMsg>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorTerminated(cell, _, _) => state.ended(&cell, ChildEnd::Finished),
            SupervisionEvent::ActorFailed(cell, error) => {
                tracing::error!(%error, actor = %cell.get_id(), "an actor failed");
                state.ended(&cell, ChildEnd::Failed);
            }
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => {}
        }
        Ok(())
    }
}

impl State {
    async fn spawn(&mut self, part: Part) -> Result<(), SpawnErr> {
        let context = Arc::clone(self.tree.context());
        let (tree, above) = (self.tree.clone(), self.me.get_cell());
        let id = match part {
            Part::Repository => {
                let waiting_max = context.settings.writes_waiting_max;
                let arguments = Arc::clone(&context);
                let spawned = Actor::spawn_linked(None, RepositoryActor, arguments, above).await?;
                let id = spawned.0.get_id();
                context.set_repository(Repository::new(spawned.0, waiting_max));
                id
            }
            Part::Reconciler => {
                Actor::spawn_linked(None, ReconcilerActor, tree, above).await?.0.get_id()
            }
            Part::Janitor => Actor::spawn_linked(None, JanitorActor, tree, above).await?.0.get_id(),
            Part::Pool => {
                let spawned = Actor::spawn_linked(None, PoolActor, context.clone(), above).await?;
                let id = spawned.0.get_id();
                context.set_pool(Pool::new(spawned.0));
                id
            }
            Part::EngineWatch => {
                Actor::spawn_linked(None, EngineWatchActor, tree, above).await?.0.get_id()
            }
        };
        if let Some(running) = self.parts.iter_mut().find(|running| running.part == part) {
            (running.actor, running.since) = (Some(id), Instant::now());
        }
        Ok(())
    }

    async fn respawn(&mut self, part: Part) {
        if let Err(error) = self.spawn(part).await {
            tracing::error!(?part, %error, "a part of the tree cannot be spawned");
            self.me.send_after(FOR_EVER.backoff_max, move || RootMsg::Respawn(part));
        }
    }

    fn ended(&mut self, cell: &ActorCell, end: ChildEnd) {
        let id = cell.get_id();
        if let Some(running) = self.parts.iter_mut().find(|running| running.actor == Some(id)) {
            running.actor = None;
            running.restarts = FOR_EVER.restarts_after(running.restarts, running.since.elapsed());
            // These parts never finish by themselves.
            if let Verdict::Restart { after } = FOR_EVER.decide(ChildEnd::Failed, running.restarts)
            {
                running.restarts += 1;
                let part = running.part;
                self.me.send_after(after, move || RootMsg::Respawn(part));
            }
            return;
        }
        self.project_ended(id, end);
    }

    fn project_ended(&mut self, id: ActorId, end: ChildEnd) {
        let context = self.tree.context();
        let Some(key) = context.directory.key_of(id) else {
            return;
        };
        context.directory.remove(&key, id);
        let (failures, since) = self.failures.get(&key).copied().unwrap_or((0, Instant::now()));
        let failures = FOR_EVER.restarts_after(failures, since.elapsed());
        if let Verdict::Restart { after } = FOR_EVER.decide(end, failures) {
            self.failures.insert(key.clone(), (failures + 1, Instant::now()));
            self.me.send_after(after, move || RootMsg::Revive(key));
        }
        self.failures.retain(|_, (_, since)| since.elapsed() < FOR_EVER.forgiven_after);
    }
}
