//! Adapters for [`sandtree_actors::ports::Store`]: the rows that outlive the
//! server. The texts of all statements are in `sql`, their rows in `row`; an
//! adapter adds connections, transactions and the errors of its database.

#[cfg(test)]
mod contract;
mod row;
mod sql;
pub mod sqlite;

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
