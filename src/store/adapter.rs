//! [`Store`] over any database: which statement answers which question, and how
//! long it may take.

use std::future::Future;
use std::time::Duration;

use async_trait::async_trait;
use sandtree_actors::Fullness;
use sandtree_actors::ports::{Filter, Store, StoreError, Write, Written};
use sandtree_model::{
    InstanceId, Phase, Project, ProjectKey, ProjectUid, SandboxUid, TenantId, Transition,
};

use super::database::{Arg, Database, Transaction as _, args};
use super::row::{self, ProjectRow, TransitionRow, signed};
use super::sql;
use super::write::Writer;
use super::{OwnerRange, Persistent};

/// Most rows of one answer.
const ROWS_MAX: u32 = 1000;
/// The key of the instance in `meta`.
const INSTANCE: &str = "instance";

/// What holds for a store whatever its database.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// Where projects without a fixed owner get theirs.
    pub owners: OwnerRange,
    /// Longest time of a read, with the wait for its connection.
    pub read_timeout: Duration,
    /// Longest time of a batch, with the wait for the writer.
    pub write_timeout: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            owners: OwnerRange { first: 1_000_000, count: 1_000_000_000 },
            read_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(30),
        }
    }
}

/// The store over a database.
#[derive(Debug)]
pub struct SqlStore<D> {
    pub(super) database: D,
    pub(super) bounds: Bounds,
}

#[expect(private_bounds, reason = "which databases there are is the store's own business")]
impl<D: Database> SqlStore<D> {
    async fn rows<R: super::database::Readable, T: TryFrom<R, Error = StoreError>>(
        &self,
        text: &'static str,
        args: Vec<Arg>,
    ) -> Result<Vec<T>, StoreError> {
        row::all(within(self.bounds.read_timeout, self.database.read::<R>(text, args)).await?)
    }

    async fn projects(
        &self,
        text: &'static str,
        args: Vec<Arg>,
    ) -> Result<Vec<Project>, StoreError> {
        self.rows::<ProjectRow, _>(text, args).await
    }

    async fn one(&self, text: &'static str, args: Vec<Arg>) -> Result<Option<Project>, StoreError> {
        let project = self.projects(text, args).await?.pop();
        Ok(project.filter(|project| project.phase != Phase::Deleted))
    }
}

#[async_trait]
impl<D: Database> Persistent for SqlStore<D> {
    async fn close(&self) {
        self.database.close().await;
    }
}

#[async_trait]
impl<D: Database> Store for SqlStore<D> {
    async fn write(&self, batch: &[Write]) -> Result<Vec<Written>, StoreError> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        within(self.bounds.write_timeout, async {
            let mut transaction = self.database.begin().await?;
            let owners = self.bounds.owners;
            let mut writer = Writer { transaction: &mut transaction, each: D::EACH, owners };
            let written = writer.all(batch).await?;
            transaction.commit().await?;
            Ok(written)
        })
        .await
    }

    async fn project(&self, key: &ProjectKey) -> Result<Option<Project>, StoreError> {
        self.one(sql::PROJECT_BY_KEY, args![key.tenant.as_str(), key.id.as_str()]).await
    }

    async fn project_by_uid(&self, uid: &ProjectUid) -> Result<Option<Project>, StoreError> {
        self.one(sql::PROJECT_BY_UID, args![uid.as_str()]).await
    }

    async fn list(&self, tenant: &TenantId, filter: &Filter) -> Result<Vec<Project>, StoreError> {
        let text = match (&filter.label, filter.phase) {
            (None, None) => sql::LIST,
            (None, Some(Phase::Stopped | Phase::Failed)) => sql::LIST_AT_REST,
            (None, Some(_)) => sql::LIST_UNSETTLED,
            (Some(_), None) => sql::LIST_BY_LABEL,
            (Some(_), Some(_)) => sql::LIST_BY_LABEL_AND_PHASE,
        };
        let after = filter.after.as_deref().unwrap_or_default();
        let mut args = args![tenant.as_str(), after, i64::from(filter.limit.min(ROWS_MAX))];
        if let Some((name, value)) = &filter.label {
            // No label has a NUL, and not every database takes a text with one.
            if name.contains('\0') || value.contains('\0') {
                return Ok(Vec::new());
            }
            args.extend(args![&**name, &**value]);
        }
        if let Some(phase) = filter.phase {
            args.extend(args![phase.as_str()]);
        }
        self.projects(text, args).await
    }

    async fn unsettled(
        &self,
        after: Option<&ProjectUid>,
        limit: u32,
    ) -> Result<Vec<Project>, StoreError> {
        // A row and its address stay, whatever became of the project meanwhile.
        let after = match after {
            Some(uid) => self.projects(sql::PROJECT_BY_UID, args![uid.as_str()]).await?.pop(),
            None => None,
        };
        let (tenant, id) = after
            .as_ref()
            .map_or(("", ""), |project| (project.key.tenant.as_str(), project.key.id.as_str()));
        self.projects(sql::UNSETTLED, args![tenant, id, i64::from(limit.min(ROWS_MAX))]).await
    }

    async fn resting(&self, profile: &str, limit: u32) -> Result<Vec<Project>, StoreError> {
        self.projects(sql::RESTING, args![profile, i64::from(limit.min(ROWS_MAX))]).await
    }

    async fn resting_count(&self, profile: &str) -> Result<u64, StoreError> {
        let read = self.database.read::<(i64,)>(sql::RESTING_COUNT, args![profile]);
        let count = within(self.bounds.read_timeout, read).await?.pop();
        Ok(count.map_or(0, |(count,)| u64::try_from(count).unwrap_or(0)))
    }

    async fn owned(&self, sandboxes: &[SandboxUid]) -> Result<Vec<SandboxUid>, StoreError> {
        let sandboxes = args![row::singles(sandboxes)?];
        let read = self.database.read::<(String,)>(D::EACH.owned, sandboxes);
        let owned = within(self.bounds.read_timeout, read).await?;
        let unreadable = |_| StoreError("a project's sandbox has a bad uid".into());
        owned.into_iter().map(|(uid,)| uid.parse().map_err(unreadable)).collect()
    }

    async fn transitions(
        &self,
        uid: &ProjectUid,
        above: u64,
        limit: u32,
    ) -> Result<Vec<Transition>, StoreError> {
        let args = args![uid.as_str(), signed(above), i64::from(limit.min(ROWS_MAX))];
        self.rows::<TransitionRow, _>(sql::TRANSITIONS, args).await
    }

    async fn instance(&self, fresh: &InstanceId) -> Result<InstanceId, StoreError> {
        within(self.bounds.write_timeout, async {
            let mut transaction = self.database.begin().await?;
            transaction.execute(sql::META_ADD, args![INSTANCE, fresh.as_str()]).await?;
            let kept = transaction.fetch(sql::META, args![INSTANCE]).await?.pop();
            transaction.commit().await?;
            let instance = kept.and_then(|(text,): (String,)| text.parse().ok());
            instance.ok_or_else(|| StoreError("the database's instance id is bad".into()))
        })
        .await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        let read = self.database.read::<(String,)>(sql::META, args![INSTANCE]);
        within(self.bounds.read_timeout, read).await.map(drop)
    }

    fn fullness(&self) -> Vec<Fullness> {
        self.database.fullness().into()
    }
}

/// What `work` answers, if it does so in time. A batch that was cut off may
/// still be done: its generation or its uid tells whoever repeats it.
pub(super) async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
        let limit = humantime::format_duration(limit);
        Err(StoreError(format!("the database did not answer within {limit}").into()))
    })
}
