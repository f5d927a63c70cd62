//! The store in a file: SQLite with a write-ahead log, one connection that
//! writes and a few that read, so that reads never wait for a write.
//!
//! `synchronous=FULL`: what was answered is on the disk.

mod error;
#[cfg(test)]
mod tests;

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use sandtree_actors::Fullness;
use sandtree_actors::ports::StoreError;
use sqlx::Executor as _;
use sqlx::migrate::Migrator;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};

use super::adapter::{Bounds, SqlStore};
use super::database::{Arg, Database, Readable, Transaction, bind};
use super::sql::{self, Each};
use error::{fault, unopened};

/// What brings the tables up to date.
pub(super) static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// Size of a page of a new file. A move touches pages all over the file, and each
/// is written to the log as a whole; the usual row still fits in one.
const PAGE_BYTES: u32 = 2048;
/// Pages in the log that are moved to the file together: 16 MiB. Seldom, because
/// it costs two syncs more; often enough for a quick start after a crash.
const CHECKPOINT_PAGES: &str = "8192";
/// What the writer keeps in memory, negative for kibibytes: a batch fits in it, so
/// that no page of it is written twice.
const CACHE_KIB: &str = "-16384";
/// What each reader keeps in memory: the upper pages of the indexes fit in it. What is
/// below them would not fit anyway once there are many projects, and the operating system
/// has it in memory too.
const READER_CACHE_KIB: &str = "-256";
/// Rows of an answer between SQLite's thread and ours. With fewer, the two wait for
/// each other at every one of a large batch.
const ROWS_BUFFERED: usize = 1024;
/// Size to which the write-ahead log is cut after a checkpoint, in bytes.
const LOG_BYTES_KEPT: &str = "67108864";

/// Where the file is and how long to wait for it.
#[derive(Debug, Clone)]
pub struct SqliteConfig {
    /// The file; made if it does not exist, readable by its owner alone.
    pub path: PathBuf,
    /// What holds for every store.
    pub bounds: Bounds,
    /// Connections that read at once.
    pub readers_max: u32,
    /// Longest wait for another process that uses the file.
    pub busy_timeout: Duration,
}

impl SqliteConfig {
    /// The defaults for a file.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            bounds: Bounds::default(),
            readers_max: 4,
            busy_timeout: Duration::from_secs(5),
        }
    }
}

/// The store in a file.
pub type Sqlite = SqlStore<File>;

/// The open file.
#[derive(Debug)]
pub struct File {
    writer: SqlitePool,
    readers: SqlitePool,
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
            .row_buffer_size(ROWS_BUFFERED)
            .pragma("temp_store", "MEMORY");
        let writing = options
            .clone()
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .page_size(PAGE_BYTES)
            .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
            .pragma("cache_size", CACHE_KIB)
            .pragma("journal_size_limit", LOG_BYTES_KEPT);
        let pool = |connections| {
            SqlitePoolOptions::new().max_connections(connections).test_before_acquire(false)
        };
        let bounds = config.bounds;
        let writer = pool(1).acquire_timeout(bounds.write_timeout).connect_with(writing).await;
        let writer = writer.map_err(|why| unopened(&config.path, &why))?;
        let migrations = MIGRATIONS.run(&writer).await;
        migrations.map_err(|why| unopened(&config.path, &why))?;
        let readers = pool(config.readers_max.max(1))
            .acquire_timeout(bounds.read_timeout)
            .connect_lazy_with(options.read_only(true).pragma("cache_size", READER_CACHE_KIB));
        Ok(Self { database: File { writer, readers }, bounds })
    }
}

impl Database for File {
    const EACH: &'static Each = &sql::SQLITE;

    type Transaction = Changes;

    async fn read<R: Readable>(
        &self,
        text: &'static str,
        args: Vec<Arg>,
    ) -> Result<Vec<R>, StoreError> {
        let rows = async {
            let arguments = bind!(SqliteArguments::default(), args);
            sqlx::query_as_with(text, arguments).fetch_all(&self.readers).await
        };
        rows.await.map_err(|why| fault(&why))
    }

    async fn begin(&self) -> Result<Changes, StoreError> {
        let connection = self.writer.acquire().await.map_err(|why| fault(&why))?;
        let mut changes = Changes { connection, is_done: false };
        let began = changes.connection.execute("BEGIN IMMEDIATE").await;
        began.map_err(|why| fault(&why))?;
        Ok(changes)
    }

    fn fullness(&self) -> [Fullness; 2] {
        let used = |bound, pool: &SqlitePool| {
            let open = usize::try_from(pool.size()).unwrap_or(usize::MAX);
            let max = usize::try_from(pool.options().get_max_connections()).unwrap_or(usize::MAX);
            Fullness::of_one(bound, open.saturating_sub(pool.num_idle()), max)
        };
        [used("store_writers", &self.writer), used("store_readers", &self.readers)]
    }

    async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// A transaction. When it is dropped its connection is closed, which undoes it:
/// after an error SQLite may have ended it already, or not.
pub struct Changes {
    connection: PoolConnection<sqlx::Sqlite>,
    is_done: bool,
}

impl Transaction for Changes {
    async fn fetch<R: Readable>(
        &mut self,
        text: &'static str,
        args: Vec<Arg>,
    ) -> Result<Vec<R>, StoreError> {
        let rows = async {
            let arguments = bind!(SqliteArguments::default(), args);
            sqlx::query_as_with(text, arguments).fetch_all(&mut *self.connection).await
        };
        rows.await.map_err(|why| fault(&why))
    }

    async fn execute(&mut self, text: &'static str, args: Vec<Arg>) -> Result<(), StoreError> {
        let done = async {
            let arguments = bind!(SqliteArguments::default(), args);
            sqlx::query_with(text, arguments).execute(&mut *self.connection).await
        };
        done.await.map(drop).map_err(|why| fault(&why))
    }

    async fn commit(mut self) -> Result<(), StoreError> {
        self.connection.execute("COMMIT").await.map_err(|why| fault(&why))?;
        self.is_done = true;
        Ok(())
    }
}

impl Drop for Changes {
    fn drop(&mut self) {
        if !self.is_done {
            self.connection.close_on_drop();
        }
    }
}
