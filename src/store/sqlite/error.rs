//! What SQLite says, in words that tell an operator what to do.

use std::fmt::Display;
use std::path::Path;

use sandtree_actors::ports::StoreError;

/// Why a statement was not done.
pub(super) fn fault(error: &sqlx::Error) -> StoreError {
    let text = match result_code(error) {
        Some(5 | 6) => "the database is locked by another process".to_owned(),
        Some(8) => "the database's file or directory cannot be written".to_owned(),
        Some(10) => format!("the database's disk does not work: {error}"),
        Some(11 | 26) => format!("the database's file is damaged, restore a backup: {error}"),
        Some(13) => "the database's disk is full".to_owned(),
        Some(14) => format!("the database's file cannot be opened: {error}"),
        Some(_) | None if matches!(error, sqlx::Error::PoolTimedOut) => {
            "the database is busy: no connection was free in time".to_owned()
        }
        Some(_) | None => format!("the database failed: {error}"),
    };
    StoreError(text.into())
}

/// Why a file cannot be used at all.
pub(super) fn unopened(path: &Path, why: &dyn Display) -> StoreError {
    StoreError(format!("the database {} cannot be used: {why}", path.display()).into())
}

/// SQLite's primary result code; the bits above it are details.
fn result_code(error: &sqlx::Error) -> Option<u32> {
    let code: u32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(code & 0xff)
}
