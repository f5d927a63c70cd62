//! What a database adds to the store: connections, transactions, and its own
//! words for rows that come as JSON. The statements themselves, and what they
//! mean together, are the same for all of them.

use std::future::Future;

use sandtree_actors::Fullness;
use sandtree_actors::ports::StoreError;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;

use super::sql::Each;

/// A value of a statement.
#[derive(Debug, Clone)]
pub(super) enum Arg {
    /// A text.
    Text(String),
    /// A whole number.
    Number(i64),
    /// Bytes.
    Bytes(Vec<u8>),
}

impl From<String> for Arg {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Arg {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<i64> for Arg {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<Vec<u8>> for Arg {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

/// The values of a statement, `$1` first.
macro_rules! args {
    ($($value:expr),* $(,)?) => {
        vec![$($crate::store::database::Arg::from($value)),*]
    };
}
pub(super) use args;

/// Adds the values to the arguments of either database.
macro_rules! bind {
    ($arguments:expr, $args:expr) => {{
        use sqlx::Arguments as _;
        let mut arguments = $arguments;
        for arg in $args {
            let added = match arg {
                Arg::Text(text) => arguments.add(text),
                Arg::Number(number) => arguments.add(number),
                Arg::Bytes(bytes) => arguments.add(bytes),
            };
            added.map_err(sqlx::Error::Encode)?;
        }
        arguments
    }};
}
pub(super) use bind;

/// What every database can make of one of its rows.
pub(super) trait Readable:
    for<'r> sqlx::FromRow<'r, SqliteRow> + for<'r> sqlx::FromRow<'r, PgRow> + Send + Unpin
{
}

impl<T> Readable for T where
    T: for<'r> sqlx::FromRow<'r, SqliteRow> + for<'r> sqlx::FromRow<'r, PgRow> + Send + Unpin
{
}

/// An open database.
pub(super) trait Database: Send + Sync + 'static {
    /// Its statements that take many rows.
    const EACH: &'static Each;

    /// A transaction of the only writer. Dropped without a commit, it is undone.
    type Transaction: Transaction;

    /// What one statement shows, outside any transaction.
    fn read<R: Readable>(
        &self,
        text: &'static str,
        args: Vec<Arg>,
    ) -> impl Future<Output = Result<Vec<R>, StoreError>> + Send;

    /// Begins to write; waits until the writer before has ended.
    fn begin(&self) -> impl Future<Output = Result<Self::Transaction, StoreError>> + Send;

    /// How many connections are used, of those that write and of those that read.
    fn fullness(&self) -> [Fullness; 2];

    /// Finishes what is under way and closes all connections.
    fn close(&self) -> impl Future<Output = ()> + Send;
}

/// Statements that are done together or not at all.
pub(super) trait Transaction: Send {
    /// What a statement shows, or has changed.
    fn fetch<R: Readable>(
        &mut self,
        text: &'static str,
        args: Vec<Arg>,
    ) -> impl Future<Output = Result<Vec<R>, StoreError>> + Send;

    /// Does a statement whose outcome nobody needs.
    fn execute(
        &mut self,
        text: &'static str,
        args: Vec<Arg>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Makes it last: what was done survives from here on.
    fn commit(self) -> impl Future<Output = Result<(), StoreError>> + Send;
}
