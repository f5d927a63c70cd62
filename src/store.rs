//! Adapters for [`sandtree_actors::ports::Store`]: the rows that outlive the
//! server.
//!
//! ```text
//! Store ── adapter, write ── database ─┬─ sqlite
//!          which statements            └─ postgres
//!          (sql, row, rounds)             connections, transactions, errors
//! ```
//!
//! What a question or a write means in SQL is said once. A database adds its
//! connections, its transactions and what its errors tell an operator.

mod adapter;
#[cfg(test)]
mod contract;
mod database;
mod owners;
pub mod postgres;
mod rounds;
mod row;
mod sql;
pub mod sqlite;
mod write;

use async_trait::async_trait;
use sandtree_actors::ports::Store;

pub use adapter::{Bounds, SqlStore};

/// A store that somebody opened, and closes again.
#[async_trait]
pub trait Persistent: Store {
    /// Finishes what is under way and closes all connections.
    async fn close(&self);
}

/// The numbers on the host from which projects get owners of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnerRange {
    /// The first uid, and gid, of the range.
    pub first: u32,
    /// How many there are. A number is used again only when all have been, and
    /// only when nothing belongs to it any more.
    pub count: u32,
}

impl OwnerRange {
    /// The number after the last one.
    fn end(self) -> i64 {
        i64::from(self.first) + i64::from(self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_databases_have_the_same_migrations() {
        let numbers = |of: &'static sqlx::migrate::Migrator| {
            of.iter().map(|it| (it.version, &*it.description)).collect::<Vec<_>>()
        };
        let (sqlite, postgres) = (numbers(&sqlite::MIGRATIONS), numbers(&postgres::MIGRATIONS));
        assert_eq!(sqlite, postgres);
        let expected = (1..).take(sqlite.len()).collect::<Vec<i64>>();
        assert_eq!(sqlite.iter().map(|(number, _)| *number).collect::<Vec<_>>(), expected);
    }
}
