//! What is read: from what was published, else from the store. Nothing here waits for an
//! actor's answer.

use std::sync::Arc;
use std::time::Duration;

use sandtree_model::{Answer, EventId, Phase, Project, ProjectKey, ProjectUid, Refusal, TenantId};

use super::Tree;
use super::enter::{no_such, store_away};
use crate::events::EventReader;
use crate::ports::Filter;
use crate::view::View;

impl Tree {
    /// One project, from what was published. Spawns nothing.
    ///
    /// # Errors
    ///
    /// [`Refusal::NotFound`].
    pub async fn get(&self, key: &ProjectKey) -> Answer<View> {
        if let Some(entry) = self.context().directory.find(key) {
            let view = entry.live.view();
            return if view.project.phase == Phase::Deleted { Err(no_such(key)) } else { Ok(view) };
        }
        let row = self.stored(key).await?;
        Ok(View::of(Arc::new(row), None, None))
    }

    /// The address of a project, by its identity (for previews by host name).
    ///
    /// # Errors
    ///
    /// [`Refusal::NotFound`].
    pub async fn address(&self, uid: &ProjectUid) -> Answer<ProjectKey> {
        let row = self.context().store.project_by_uid(uid).await.map_err(store_away)?;
        let none = || Refusal::not_found(format!("the project with uid {uid}"));
        Ok(row.ok_or_else(none)?.key)
    }

    /// A tenant's projects, in the order of their ids. Spawns nothing.
    ///
    /// # Errors
    ///
    /// [`Fault::StoreAway`](sandtree_model::Fault::StoreAway).
    pub async fn list(&self, tenant: &TenantId, filter: &Filter) -> Answer<Vec<View>> {
        let rows = self.context().store.list(tenant, filter).await.map_err(store_away)?;
        let view = |row: Project| match self.context().directory.find(&row.key) {
            Some(entry) if entry.live.row().uid == row.uid => entry.live.view(),
            _ => View::of(Arc::new(row), None, None),
        };
        Ok(rows.into_iter().map(view).collect())
    }

    /// Waits until the project is in `phase` or `timeout` has passed, whichever is
    /// first, and answers how it is then.
    ///
    /// # Errors
    ///
    /// [`Refusal::NotFound`].
    pub async fn wait_for(
        &self,
        key: &ProjectKey,
        phase: Phase,
        timeout: Duration,
    ) -> Answer<View> {
        let (_, hold) = self.enter(key).await?;
        let mut rows = hold.live().follow();
        // Past the time, the answer is how it is by then.
        let _ = tokio::time::timeout(timeout, rows.wait_for(|row| row.phase == phase)).await;
        Ok(hold.live().view())
    }

    /// What happens in a project from now on, or from after an event on.
    ///
    /// # Errors
    ///
    /// [`Refusal::NotFound`].
    pub async fn events(&self, key: &ProjectKey, after: Option<EventId>) -> Answer<EventReader> {
        let (_, hold) = self.enter(key).await?;
        Ok(EventReader::new(Arc::clone(self.context()), hold, after))
    }
}
