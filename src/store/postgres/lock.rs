//! The lock that makes a server the only one of its database.
//!
//! It belongs to the connection that writes, so whoever writes has it: a server
//! that lost its connection and its lock with it cannot write beside the next one.

use std::time::Duration;

use sha2::{Digest as _, Sha256};
use sqlx::postgres::PgConnection;
use tokio::time::Instant;

use super::error::Trouble;

/// Longest wait for who has the lock: a server that was killed has it until
/// PostgreSQL has seen its connection end.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// Time between two attempts.
const PAUSE: Duration = Duration::from_millis(50);

const SCHEMA: &str = "SELECT current_schema()";
const TRY: &str = "SELECT pg_try_advisory_lock($1)";
/// `$1` the key, `$2` the name of this server's connections: ends a connection of
/// ours that the server has not yet seen end. What it was doing is then undone or
/// done, and cannot come later.
const END_OUR_OWN: &str = "SELECT pg_terminate_backend(a.pid) \
     FROM pg_locks AS l JOIN pg_stat_activity AS a ON a.pid = l.pid \
     WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 \
     AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
     AND CAST(l.classid AS BIGINT) = ($1 >> 32) & 4294967295 \
     AND CAST(l.objid AS BIGINT) = $1 & 4294967295 \
     AND a.application_name = $2 AND a.pid <> pg_backend_pid()";

/// Takes the lock for as long as the connection lasts.
///
/// # Errors
///
/// When another server has it.
pub(super) async fn take(connection: &mut PgConnection, name: &str) -> Result<(), Trouble> {
    let schema = sqlx::query_scalar::<_, Option<String>>(SCHEMA).fetch_one(&mut *connection);
    let schema = schema.await?;
    let schema = schema.ok_or_else(|| {
        Trouble::refused("the schema of the database's search_path does not exist; create it")
    })?;
    let key = key(&schema);
    let until = Instant::now() + WAIT_MAX;
    loop {
        let is_ours = sqlx::query_scalar::<_, bool>(TRY).bind(key).fetch_one(&mut *connection);
        if is_ours.await? {
            return Ok(());
        }
        if Instant::now() >= until {
            return Err(Trouble::refused(format!(
                "another server uses the schema {schema:?} of the database; stop it first, or \
                 give this one a database or a schema of its own"
            )));
        }
        let ours = sqlx::query(END_OUR_OWN).bind(key).bind(name);
        ours.execute(&mut *connection).await?;
        tokio::time::sleep(PAUSE).await;
    }
}

/// Advisory locks are a database's; its schemas are told apart by the key.
fn key(schema: &str) -> i64 {
    let hash = Sha256::digest(format!("sandtree store in {schema}"));
    hash.iter().take(8).fold(0, |key, byte| key << 8 | i64::from(*byte))
}
