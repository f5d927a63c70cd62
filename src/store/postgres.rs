//! The store in PostgreSQL: one connection that writes, under a lock, and a few
//! that read.
//!
//! A server that is away is a normal condition. Nothing here waits for it: who
//! asks is told, and the next one tries to connect again.

mod error;
mod lock;
mod seats;
#[cfg(test)]
mod tests;

use std::time::Duration;

use rand::Rng as _;
use sandtree_actors::Fullness;
use sandtree_actors::ports::StoreError;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgArguments, PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, Executor as _};
use tokio::time::Instant;

use super::adapter::{Bounds, SqlStore};
use super::database::{Arg, Database, Readable, Transaction, bind};
use super::sql::{self, Each};
use error::Trouble;
use seats::{Seat, Seats};

/// What brings the tables up to date.
pub(super) static MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

/// Time between two attempts to connect when the server starts.
const START_PAUSE: Duration = Duration::from_millis(500);
/// Longest wait for connections to end, when the store is closed.
const CLOSE_MAX: Duration = Duration::from_secs(5);
/// What a database or its administrator may have switched off: then an answer
/// would not mean that it lasts.
const DURABLE: &str = "SELECT set_config('synchronous_commit', 'on', false) \
     WHERE current_setting('synchronous_commit') = 'off'";
const FSYNC: &str = "SELECT current_setting('fsync')";

/// Where the server is and how long to wait for it.
#[derive(Debug, Clone)]
pub struct PostgresConfig {
    /// `postgres://user:password@host:port/database`.
    pub url: String,
    /// What holds for every store.
    pub bounds: Bounds,
    /// Connections that read at once.
    pub readers_max: u32,
    /// Longest time to connect.
    pub connect_timeout: Duration,
    /// How long a start waits for a server that is away.
    pub start_timeout: Duration,
}

impl PostgresConfig {
    /// The defaults for a URL.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            bounds: Bounds::default(),
            readers_max: 4,
            connect_timeout: Duration::from_secs(3),
            start_timeout: Duration::from_secs(30),
        }
    }

    /// Whether a text is the URL of a PostgreSQL database.
    #[must_use]
    pub fn is_url(text: &str) -> bool {
        let is_ours = text.starts_with("postgres://") || text.starts_with("postgresql://");
        is_ours && text.parse::<PgConnectOptions>().is_ok()
    }
}

/// The store in PostgreSQL.
pub type Postgres = SqlStore<Server>;

/// The way to the server.
#[derive(Debug)]
pub struct Server {
    writer: Seats,
    readers: Seats,
    readers_max: usize,
    writing: PgConnectOptions,
    reading: PgConnectOptions,
    /// Tells this server's connections from another's.
    name: String,
    connect_timeout: Duration,
}

impl Postgres {
    /// Connects, takes the lock, and brings the tables up to date.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the server stays away for too long, refuses us, is used
    /// by another server, or was written by a newer one.
    pub async fn open(config: PostgresConfig) -> Result<Self, StoreError> {
        let server = Server::new(&config)?;
        let until = Instant::now() + config.start_timeout;
        loop {
            match server.prepare().await {
                Ok(()) => return Ok(Self { database: server, bounds: config.bounds }),
                Err(Trouble::Away(error)) if Instant::now() < until => {
                    tracing::warn!(%error, "waiting for the database");
                    tokio::time::sleep(START_PAUSE).await;
                }
                Err(trouble) => return Err(trouble.into()),
            }
        }
    }
}

impl Server {
    fn new(config: &PostgresConfig) -> Result<Self, StoreError> {
        let options = config.url.parse::<PgConnectOptions>();
        let options = options.map_err(|why| {
            StoreError(format!("the database's URL cannot be understood: {why}").into())
        })?;
        let name = format!("sandtree-{:016x}", rand::rng().random::<u64>());
        let options = options.application_name(&name).options([
            // A host that vanished is noticed, and its lock is free again.
            ("tcp_keepalives_idle", "10"),
            ("tcp_keepalives_interval", "5"),
            ("tcp_keepalives_count", "3"),
            ("tcp_user_timeout", "25000"),
            ("default_transaction_isolation", "read committed"),
        ]);
        let limit = |limit: Duration| limit.as_millis().to_string();
        let (read, write) = (limit(config.bounds.read_timeout), limit(config.bounds.write_timeout));
        let readers_max = config.readers_max.max(1) as usize;
        Ok(Self {
            writer: Seats::new(1),
            readers: Seats::new(readers_max),
            readers_max,
            writing: options.clone().options([
                ("statement_timeout", &*write),
                ("idle_in_transaction_session_timeout", &*write),
            ]),
            reading: options
                .options([("statement_timeout", &*read), ("default_transaction_read_only", "on")]),
            name,
            connect_timeout: config.connect_timeout,
        })
    }

    async fn prepare(&self) -> Result<(), Trouble> {
        let seat = self.writer.take().await?;
        let mut connection = self.connect_writer().await?;
        // `run` would do the same with a future that is not `Send`.
        let migrations = MIGRATIONS.run_direct(None, &mut connection, false).await;
        if let Err(why) = migrations {
            if let MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) = why {
                return Err(error.into());
            }
            return Err(Trouble::refused(format!("the database cannot be used: {why}")));
        }
        let fsync = sqlx::query_scalar::<_, String>(FSYNC).fetch_one(&mut connection).await?;
        if fsync != "on" {
            tracing::error!("the database runs without fsync: a power cut loses what was answered");
        }
        seat.keep(connection);
        Ok(())
    }

    async fn connect(&self, options: &PgConnectOptions) -> Result<PgConnection, Trouble> {
        let limit = self.connect_timeout;
        let connected = tokio::time::timeout(limit, options.connect()).await;
        let connected = connected.map_err(|_| {
            let limit = humantime::format_duration(limit);
            Trouble::away(format!("the database did not answer within {limit}"))
        })?;
        Ok(connected?)
    }

    async fn connect_writer(&self) -> Result<PgConnection, Trouble> {
        let mut connection = self.connect(&self.writing).await?;
        lock::take(&mut connection, &self.name).await?;
        connection.execute(DURABLE).await?;
        Ok(connection)
    }

    /// Begins on the connection that was used before, if it still works.
    async fn begin_on(&self, seat: &mut Seat) -> Result<PgConnection, Trouble> {
        if let Some(mut connection) = seat.used()
            && connection.execute("BEGIN").await.is_ok()
        {
            return Ok(connection);
        }
        let mut connection = self.connect_writer().await?;
        connection.execute("BEGIN").await?;
        Ok(connection)
    }

    async fn read_rows<R: Readable>(
        &self,
        text: &'static str,
        args: Vec<Arg>,
    ) -> Result<Vec<R>, Trouble> {
        let mut seat = self.readers.take().await?;
        if let Some(mut connection) = seat.used() {
            match fetch(&mut connection, text, args.clone()).await {
                Ok(rows) => {
                    seat.keep(connection);
                    return Ok(rows);
                }
                // All of them are of a server that is no more.
                Err(Trouble::Away(_)) => self.readers.clear().await,
                Err(refused) => return Err(refused),
            }
        }
        let mut connection = self.connect(&self.reading).await?;
        let rows = fetch(&mut connection, text, args).await?;
        seat.keep(connection);
        Ok(rows)
    }
}

impl Database for Server {
    const EACH: &'static Each = &sql::POSTGRES;

    type Transaction = Changes;

    async fn read<R: Readable>(
        &self,
        text: &'static str,
        args: Vec<Arg>,
    ) -> Result<Vec<R>, StoreError> {
        Ok(self.read_rows(text, args).await?)
    }

    async fn begin(&self) -> Result<Changes, StoreError> {
        let mut seat = self.writer.take().await?;
        let connection = self.begin_on(&mut seat).await?;
        Ok(Changes { connection, seat })
    }

    fn fullness(&self) -> [Fullness; 2] {
        [
            self.writer.fullness("store_writers", 1),
            self.readers.fullness("store_readers", self.readers_max),
        ]
    }

    async fn close(&self) {
        let closed = async {
            self.writer.close(1).await;
            self.readers.close(self.readers_max).await;
        };
        if tokio::time::timeout(CLOSE_MAX, closed).await.is_err() {
            tracing::warn!("connections to the database were cut off");
        }
    }
}

/// A transaction. When it is dropped its connection is closed, which undoes it.
pub struct Changes {
    connection: PgConnection,
    seat: Seat,
}

impl Transaction for Changes {
    async fn fetch<R: Readable>(
        &mut self,
        text: &'static str,
        args: Vec<Arg>,
    ) -> Result<Vec<R>, StoreError> {
        Ok(fetch(&mut self.connection, text, args).await?)
    }

    async fn execute(&mut self, text: &'static str, args: Vec<Arg>) -> Result<(), StoreError> {
        let done = async {
            let arguments = bind!(PgArguments::default(), args);
            sqlx::query_with(text, arguments).execute(&mut self.connection).await
        };
        done.await.map_err(Trouble::from)?;
        Ok(())
    }

    async fn commit(mut self) -> Result<(), StoreError> {
        self.connection.execute("COMMIT").await.map_err(Trouble::from)?;
        self.seat.keep(self.connection);
        Ok(())
    }
}

async fn fetch<R: Readable>(
    connection: &mut PgConnection,
    text: &'static str,
    args: Vec<Arg>,
) -> Result<Vec<R>, Trouble> {
    let rows = async {
        let arguments = bind!(PgArguments::default(), args);
        sqlx::query_as_with(text, arguments).fetch_all(connection).await
    };
    Ok(rows.await?)
}
