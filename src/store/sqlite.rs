//! The store in a file: SQLite with a write-ahead log, one connection that
//! writes and a few that read, so that reads never wait for a write.
//!
//! `synchronous=FULL`: what was answered is on the disk.

mod error;
#[cfg(test)]
mod tests;
mod write;

use std::fs::OpenOptions;
use std::future::Future;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use sandtree_actors::ports::{Filter, Store, StoreError, Write, Written};
use sandtree_model::{
    InstanceId, Phase, Project, ProjectKey, ProjectUid, SandboxUid, TenantId, Transition,
};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

use super::OwnerRange;
use super::row::{self, ProjectRow, TransitionRow, signed};
use super::sql;
use error::{fault, unopened};

/// Most rows of one answer.
const ROWS_MAX: u32 = 1000;
/// Size to which the write-ahead log is cut after a checkpoint, in bytes.
const LOG_BYTES_KEPT: &str = "67108864";
/// The key of the instance in `meta`.
const INSTANCE: &str = "instance";

/// Where the file is and how long to wait for it.
#[derive(Debug, Clone)]
pub struct SqliteConfig {
    /// The file; made if it does not exist, readable by its owner alone.
    pub path: PathBuf,
    /// Where projects without a fixed owner get theirs.
    pub owners: OwnerRange,
    /// Connections that read at once.
    pub readers_max: u32,
    /// Longest wait for another process that uses the file.
    pub busy_timeout: Duration,
    /// Longest time of a read, with the wait for its connection.
    pub read_timeout: Duration,
    /// Longest time of a batch, with the wait for the writer.
    pub write_timeout: Duration,
}

impl SqliteConfig {
    /// The defaults for a file.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            owners: OwnerRange { first: 1_000_000, count: 1_000_000_000 },
            readers_max: 4,
            busy_timeout: Duration::from_secs(5),
            read_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(30),
        }
    }
}

/// The store in a file.
#[derive(Debug)]
pub struct Sqlite {
    writer: SqlitePool,
    readers: SqlitePool,
    config: SqliteConfig,
}

impl Sqlite {
    /// Opens the file and brings its tables up to date.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when it cannot be opened, is damaged, or was written by a
    /// newer server.
    pub async fn open(config: SqliteConfig) -> Result<Self, StoreError> {
        // Environments of projects are in it; its log gets the same mode.
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&config.path);
        file.map_err(|why| unopened(&config.path, &why))?;
        let options = SqliteConnectOptions::new()
            .filename(&config.path)
            .busy_timeout(config.busy_timeout)
            .foreign_keys(true)
            .pragma("temp_store", "MEMORY");
        let writing = options
            .clone()
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .pragma("journal_size_limit", LOG_BYTES_KEPT);
        let pool = |connections| {
            SqlitePoolOptions::new().max_connections(connections).test_before_acquire(false)
        };
        let writer = pool(1).acquire_timeout(config.write_timeout).connect_with(writing).await;
        let writer = writer.map_err(|why| unopened(&config.path, &why))?;
        let migrations = sqlx::migrate!("migrations/sqlite").run(&writer).await;
        migrations.map_err(|why| unopened(&config.path, &why))?;
        let readers = pool(config.readers_max.max(1))
            .acquire_timeout(config.read_timeout)
            .connect_lazy_with(options.read_only(true));
        Ok(Self { writer, readers, config })
    }

    /// Finishes what is under way and closes the file.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    async fn read<T>(
        &self,
        reading: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, StoreError> {
        within(self.config.read_timeout, async { reading.await.map_err(|why| fault(&why)) }).await
    }

    async fn one(&self, query: ProjectQuery) -> Result<Option<Project>, StoreError> {
        let row = self.read(query.fetch_optional(&self.readers)).await?;
        let project = row.map(Project::try_from).transpose()?;
        Ok(project.filter(|project| project.phase != Phase::Deleted))
    }
}

type ProjectQuery =
    sqlx::query::QueryAs<'static, sqlx::Sqlite, ProjectRow, sqlx::sqlite::SqliteArguments>;

#[async_trait]
impl Store for Sqlite {
    async fn write(&self, batch: &[Write]) -> Result<Vec<Written>, StoreError> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        within(self.config.write_timeout, async {
            let began = self.writer.begin_with("BEGIN IMMEDIATE").await;
            let mut transaction = began.map_err(|why| fault(&why))?;
            let written = write::all(&mut transaction, batch, self.config.owners).await?;
            transaction.commit().await.map_err(|why| fault(&why))?;
            Ok(written)
        })
        .await
    }

    async fn project(&self, key: &ProjectKey) -> Result<Option<Project>, StoreError> {
        let query = sqlx::query_as(sql::PROJECT_BY_KEY);
        self.one(query.bind(key.tenant.to_string()).bind(key.id.to_string())).await
    }

    async fn project_by_uid(&self, uid: &ProjectUid) -> Result<Option<Project>, StoreError> {
        self.one(sqlx::query_as(sql::PROJECT_BY_UID).bind(uid.to_string())).await
    }

    async fn list(&self, tenant: &TenantId, filter: &Filter) -> Result<Vec<Project>, StoreError> {
        let text = match (&filter.label, filter.phase) {
            (None, None) => sql::LIST,
            (None, Some(_)) => sql::LIST_BY_PHASE,
            (Some(_), None) => sql::LIST_BY_LABEL,
            (Some(_), Some(_)) => sql::LIST_BY_LABEL_AND_PHASE,
        };
        let mut query: ProjectQuery = sqlx::query_as(text)
            .bind(tenant.to_string())
            .bind(filter.after.as_deref().unwrap_or_default().to_owned())
            .bind(i64::from(filter.limit.min(ROWS_MAX)));
        if let Some((name, value)) = &filter.label {
            query = query.bind(name.to_string()).bind(value.to_string());
        }
        if let Some(phase) = filter.phase {
            query = query.bind(phase.as_str());
        }
        row::all(self.read(query.fetch_all(&self.readers)).await?)
    }

    async fn unsettled(
        &self,
        after: Option<&ProjectUid>,
        limit: u32,
    ) -> Result<Vec<Project>, StoreError> {
        let query: ProjectQuery = sqlx::query_as(sql::UNSETTLED)
            .bind(after.map_or_else(String::new, ToString::to_string))
            .bind(i64::from(limit.min(ROWS_MAX)));
        row::all(self.read(query.fetch_all(&self.readers)).await?)
    }

    async fn owned(&self, sandboxes: &[SandboxUid]) -> Result<Vec<SandboxUid>, StoreError> {
        let query = sqlx::query_scalar::<_, String>(sql::OWNED).bind(row::json(sandboxes)?);
        let owned = self.read(query.fetch_all(&self.readers)).await?;
        let unreadable = |_| StoreError("a project's sandbox has a bad uid".into());
        owned.into_iter().map(|uid| uid.parse().map_err(unreadable)).collect()
    }

    async fn transitions(
        &self,
        uid: &ProjectUid,
        above: u64,
        limit: u32,
    ) -> Result<Vec<Transition>, StoreError> {
        let query = sqlx::query_as::<_, TransitionRow>(sql::TRANSITIONS)
            .bind(uid.to_string())
            .bind(signed(above))
            .bind(i64::from(limit.min(ROWS_MAX)));
        row::all(self.read(query.fetch_all(&self.readers)).await?)
    }

    async fn instance(&self, fresh: &InstanceId) -> Result<InstanceId, StoreError> {
        let add = sqlx::query(sql::META_ADD).bind(INSTANCE).bind(fresh.to_string());
        let ask = sqlx::query_scalar::<_, String>(sql::META).bind(INSTANCE);
        within(self.config.write_timeout, async {
            add.execute(&self.writer).await.map_err(|why| fault(&why))?;
            let instance = ask.fetch_one(&self.writer).await.map_err(|why| fault(&why))?;
            instance.parse().map_err(|_| StoreError("the database's instance id is bad".into()))
        })
        .await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        let query = sqlx::query_scalar::<_, String>(sql::META).bind(INSTANCE);
        self.read(query.fetch_optional(&self.readers)).await.map(drop)
    }
}

/// What `work` answers, if it does so in time. A batch that was cut off may
/// still be done: its generation or its uid tells whoever repeats it.
async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
        let limit = humantime::format_duration(limit);
        Err(StoreError(format!("the database did not answer within {limit}").into()))
    })
}
