//! The tree's front door: what the edge, the dialects and the tests call.
//!
//! Every call here becomes a message to a project's actor, or a read of what was
//! published. Admission is bounded here, before any mailbox.

mod create;
mod enter;
mod inside;
mod operate;
mod read;
mod readiness;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use dashmap::DashMap;
use ractor::{Actor, ActorRef, SpawnErr};
use sandtree_model::{Answer, ProfileName, TenantId};
use tokio::sync::Semaphore;

use crate::context::Context;
use crate::fullness::{self, Fullness};
use crate::ports::{Clock, Engine, Store};
use crate::root::{RootActor, RootMsg};
use crate::settings::TreeSettings;

pub(crate) use create::{fresh_uid, opaque};
pub(crate) use enter::Places;

/// A handle on the whole tree; cheap to clone.
#[derive(Clone)]
pub struct Tree(Arc<Inner>);

struct Inner {
    context: Arc<Context>,
    tenants: DashMap<TenantId, Arc<Semaphore>>,
    root: std::sync::OnceLock<ActorRef<RootMsg>>,
    readiness: readiness::Readiness,
}

/// What can be asked of a project's life cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Be running.
    Start,
    /// Be stopped.
    Stop,
    /// Stop, then start.
    Restart,
    /// Be frozen.
    Pause,
    /// Be thawed.
    Resume,
    /// Be stopped and without a container: what was written outside the workspace goes
    /// with it, and the next start makes a new one.
    Discard,
    /// Be gone.
    Delete {
        /// Leave the files on disk.
        keep_files: bool,
    },
}

impl Tree {
    /// Spawns the root and all that serves every project.
    ///
    /// # Errors
    ///
    /// When an actor cannot be spawned.
    pub async fn spawn(
        settings: TreeSettings,
        engine: Arc<dyn Engine>,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, SpawnErr> {
        let context = Context::new(settings, engine, store, clock);
        let inner = Inner {
            context,
            tenants: DashMap::new(),
            root: std::sync::OnceLock::new(),
            readiness: readiness::Readiness::default(),
        };
        let tree = Self(Arc::new(inner));
        let (root, _) = Actor::spawn(None, RootActor, tree.clone()).await?;
        // Set once, here.
        let _ = tree.0.root.set(root);
        Ok(tree)
    }

    pub(crate) fn context(&self) -> &Arc<Context> {
        &self.0.context
    }

    /// What the tree was told at its start.
    #[must_use]
    pub fn settings(&self) -> &TreeSettings {
        &self.0.context.settings
    }

    /// Asks whether the engine answers.
    ///
    /// # Errors
    ///
    /// [`Fault::EngineAway`](sandtree_model::Fault::EngineAway).
    pub async fn check_engine(&self) -> Answer<()> {
        self.context().check_engine().await
    }

    /// How many projects have actors.
    #[must_use]
    pub fn live_projects(&self) -> usize {
        self.context().directory.entries().len()
    }

    /// How full everything of the tree, the engine and the store is that has a bound.
    #[must_use]
    pub fn fullness(&self) -> Vec<Fullness> {
        let mut tenants = Fullness::of_many("tenant_requests", self.settings().tenant_requests_max);
        for places in &self.0.tenants {
            tenants.add(fullness::taken(&places, tenants.max));
        }
        let mut all = fullness::of_tree(self.context());
        all.push(tenants);
        all
    }

    /// How many connections to the ports of one sandbox are open, of `max` at most.
    #[must_use]
    pub fn connections(&self, max: usize) -> Fullness {
        let mut connections = Fullness::of_many("preview_connections", max);
        for entry in self.context().directory.entries() {
            connections.add(entry.live.traffic.open.load(Ordering::Relaxed));
        }
        connections
    }

    /// How many operations of the engine wait for a place.
    #[must_use]
    pub fn engine_operations_waiting(&self) -> usize {
        self.context().engine_places.waiting()
    }

    /// How many started sandboxes wait for a project, by profile. Nothing while the pool
    /// is being restarted.
    pub async fn pooled(&self) -> BTreeMap<ProfileName, usize> {
        match self.context().pool() {
            Some(pool) => pool.ready().await.unwrap_or_default(),
            None => BTreeMap::new(),
        }
    }

    /// Says that the server is ending, before its connections are closed: no shell ends
    /// because its viewers are sent away.
    pub fn end_soon(&self) {
        self.context().is_ending.store(true, Ordering::Relaxed);
    }

    /// Ends all actors, bottom up; sandboxes run on.
    pub async fn shut_down(&self, deadline: Duration) {
        self.context().tasks.close();
        let ended = async {
            if let Some(root) = self.0.root.get() {
                let cell = root.get_cell();
                cell.stop_children_and_wait(None, Some(deadline / 2)).await;
                // It may have ended by itself.
                let _ = root.stop_and_wait(None, Some(deadline / 2)).await;
            }
            self.context().tasks.wait().await;
        };
        if tokio::time::timeout(deadline, ended).await.is_err() {
            tracing::warn!("some work was cut off at the deadline; the next start settles it");
        }
    }
}
