//! Connections, each used by one task at a time, and at most so many.
//!
//! A connection is kept only when what it was used for ended well. One that
//! failed, was cut off by a time-out, or whose user went away is closed: what the
//! server still does for it is undone or fixed, and nobody waits for it.

use std::sync::{Arc, Mutex, PoisonError};

use sandtree_actors::Fullness;
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::Trouble;

/// Connections that nobody uses.
type Idle = Arc<Mutex<Vec<PgConnection>>>;

/// Room for a number of connections.
#[derive(Debug)]
pub(super) struct Seats {
    places: Arc<Semaphore>,
    idle: Idle,
}

/// A place with a connection, or for one.
pub(super) struct Seat {
    connection: Option<PgConnection>,
    idle: Idle,
    place: OwnedSemaphorePermit,
}

impl Seats {
    pub(super) fn new(count: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(count)), idle: Idle::default() }
    }

    /// How many places of `count` are taken.
    pub(super) fn fullness(&self, bound: &'static str, count: usize) -> Fullness {
        Fullness::of_places(bound, &self.places, count)
    }

    /// Waits for a place. There may be a connection in it that was used before.
    pub(super) async fn take(&self) -> Result<Seat, Trouble> {
        let closed = |_| Trouble::refused("the database is closed");
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(closed)?;
        let connection = lock(&self.idle).pop();
        Ok(Seat { connection, idle: Arc::clone(&self.idle), place })
    }

    /// Closes every connection that nobody uses.
    pub(super) async fn clear(&self) {
        let idle = std::mem::take(&mut *lock(&self.idle));
        for connection in idle {
            // It is dropped in any case.
            let _ = connection.close().await;
        }
    }

    /// Takes no more users, and waits for those that are there.
    pub(super) async fn close(&self, count: usize) {
        let all = u32::try_from(count).unwrap_or(u32::MAX);
        let places = self.places.acquire_many(all).await;
        self.places.close();
        drop(places);
        self.clear().await;
    }
}

impl Seat {
    /// The connection that was used before, if there is one. It has to be given
    /// back with [`Seat::keep`].
    pub(super) fn used(&mut self) -> Option<PgConnection> {
        self.connection.take()
    }

    /// Keeps a connection for the next user.
    pub(super) fn keep(self, connection: PgConnection) {
        lock(&self.idle).push(connection);
        // Only now may the next user look.
        drop(self.place);
    }
}

fn lock(idle: &Idle) -> std::sync::MutexGuard<'_, Vec<PgConnection>> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}
