//! The way to a project's actors: admission before any mailbox, the entry with a hold on
//! it, and what is asked of it.

use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, RpcReplyPort};
use sandtree_model::{Answer, Failure, Fault, Project, ProjectKey, Refusal, TenantId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Tree;
use crate::ask::ask;
use crate::container::ContainerMsg;
use crate::directory::Entry;
use crate::home::OpenHome;
use crate::link::Link;
use crate::live::{Hold, Live, LiveLimits};
use crate::ports::StoreError;
use crate::project::{self, ProjectActor, ProjectMsg};

/// Attempts to enter a project whose actors come and go at that moment.
const ENTER_ATTEMPTS: usize = 8;
/// Pause before a project is roused again that could not be read.
const ROUSE_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Proof that a request was let in; holds its places until it is answered.
pub(super) struct Admitted {
    pub(super) entry: Entry,
    pub(super) hold: Hold,
    pub(super) places: Places,
}

/// Places of a request: its tenant's and its project's.
pub(crate) type Places = [OwnedSemaphorePermit; 2];

impl Tree {
    /// Spawns the project's actors if it has none.
    pub(crate) async fn rouse(&self, key: &ProjectKey) -> Answer<()> {
        self.enter(key).await.map(|_| ())
    }

    /// As [`Tree::rouse`], in the background, and again and again as long as the store does
    /// not answer.
    pub(crate) fn rouse_in_time(&self, key: ProjectKey) {
        let tree = self.clone();
        self.context().tasks.spawn(async move {
            while let Err(failure) = tree.rouse(&key).await {
                if matches!(failure, Failure::Refused(_)) || tree.context().tasks.is_closed() {
                    return;
                }
                tracing::warn!(project = %key, %failure, "could not be roused yet");
                tokio::time::sleep(ROUSE_AGAIN_AFTER).await;
            }
        });
    }

    /// As [`Tree::rouse`], for a row that was read just now.
    pub(crate) async fn rouse_row(&self, row: Project) -> Answer<()> {
        self.enter_with(&row.key.clone(), Some((row, None))).await.map(|_| ())
    }

    pub(super) async fn stored(&self, key: &ProjectKey) -> Answer<Project> {
        let row = self.context().store.project(key).await.map_err(store_away)?;
        row.ok_or_else(|| no_such(key))
    }

    pub(super) async fn enter(&self, key: &ProjectKey) -> Answer<(Entry, Hold)> {
        self.enter_with(key, None).await
    }

    /// The project's entry with a hold on it; spawns its actors if need be.
    pub(super) async fn enter_with(
        &self,
        key: &ProjectKey,
        mut fresh: Option<(Project, Option<OpenHome>)>,
    ) -> Answer<(Entry, Hold)> {
        self.check_owner()?;
        for _ in 0..ENTER_ATTEMPTS {
            if let Some((entry, hold)) = self.context().directory.enter(key) {
                let is_other = |row: &Project| row.uid != entry.live.row().uid;
                if !fresh.as_ref().is_some_and(|(row, _)| is_other(row)) {
                    return Ok((entry, hold));
                }
                // Its id is free again, so it is deleted, and only does not know it yet.
                self.context().directory.remove(key, entry.actor.get_id());
                entry.actor.stop(None);
                continue;
            }
            let place = self.context().directory.place(key);
            let spawned = place.get_or_try_init(|| self.spawn_project(key, fresh.take())).await;
            match spawned {
                Ok(entry) => self.context().directory.filled(entry),
                Err(failure) => {
                    self.context().directory.discard(key, Arc::clone(&place));
                    return Err(failure);
                }
            }
        }
        Err(Fault::Internal("the project's actors come and go; try again".into()).into())
    }

    async fn spawn_project(
        &self,
        key: &ProjectKey,
        fresh: Option<(Project, Option<OpenHome>)>,
    ) -> Answer<Entry> {
        let context = Arc::clone(self.context());
        let (row, home) = match fresh {
            Some(fresh) => fresh,
            None => (self.stored(key).await?, None),
        };
        let limits = LiveLimits {
            events_kept: context.settings.events_kept,
            execs_max: context.settings.execs_max as usize,
            watches_max: context.settings.watches_max,
            requests_max: context.settings.project_requests_max,
        };
        let live = Live::new(row, limits, Arc::clone(&context.clock));
        let root = context.root().ok_or_else(|| Fault::Internal("the tree is not up".into()))?;
        let (live, key) = (Arc::clone(&live), key.clone());
        let arguments =
            project::Arguments { context, live: Arc::clone(&live), key: key.clone(), home };
        let spawned = Actor::spawn_linked(None, ProjectActor, arguments, root).await;
        let (actor, _) = spawned.map_err(|error| Fault::Internal(error.to_string().into()))?;
        Ok(Entry { key, actor, live })
    }

    pub(super) fn tenant_place(&self, tenant: &TenantId) -> Answer<OwnedSemaphorePermit> {
        let limit = self.settings().tenant_requests_max;
        let places = match self.0.tenants.get(tenant) {
            Some(places) => Arc::clone(&places),
            None => {
                let fresh = || Arc::new(Semaphore::new(limit));
                Arc::clone(&self.0.tenants.entry(tenant.clone()).or_insert_with(fresh))
            }
        };
        let busy = |_| Refusal::Busy { what: format!("{limit} requests of one tenant").into() };
        Ok(places.try_acquire_owned().map_err(busy)?)
    }

    pub(super) async fn admit(&self, key: &ProjectKey) -> Answer<Admitted> {
        let tenant_place = self.tenant_place(&key.tenant)?;
        let (entry, hold) = self.enter(key).await?;
        let limit = self.settings().project_requests_max;
        let busy = |_| Refusal::Busy { what: format!("{limit} requests for one project").into() };
        let place = Arc::clone(&entry.live.request_places).try_acquire_owned().map_err(busy)?;
        Ok(Admitted { entry, hold, places: [tenant_place, place] })
    }

    /// The link of a running sandbox; waits while it is being made again after a
    /// restart of the server.
    pub(super) async fn lease(&self, admitted: &Admitted) -> Answer<Arc<Link>> {
        self.ask_project(admitted, |reply| ProjectMsg::Container(ContainerMsg::Lease(reply))).await
    }

    pub(super) async fn ask_project<T: Send + 'static>(
        &self,
        admitted: &Admitted,
        message: impl FnOnce(RpcReplyPort<Answer<T>>) -> ProjectMsg,
    ) -> Answer<T> {
        ask(&admitted.entry.actor, self.settings().operation_timeout, message).await?
    }

    pub(super) fn check_owner(&self) -> Answer<()> {
        if self.settings().is_owner {
            return Ok(());
        }
        let why = "it belongs to another data directory, so nothing is touched; \
                   start the server with the data directory that the store was made with";
        Err(Fault::StoreAway(why.into()).into())
    }
}

pub(super) fn no_such(key: &ProjectKey) -> Failure {
    Refusal::not_found(format!("project \"{}\"", key.id)).into()
}

pub(super) fn store_away(StoreError(why): StoreError) -> Fault {
    Fault::StoreAway(why)
}
