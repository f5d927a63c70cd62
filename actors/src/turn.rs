//! Turns: the use of a project by one request at a time, among those that ask for it.
//!
//! A turn keeps nobody else out: it is for clients whose requests have to come one after
//! another although they are sent side by side.

use std::sync::Arc;
use std::time::Duration;

use sandtree_model::{Answer, Refusal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::live::Busy;

/// The turns of one project.
pub(crate) struct Turns {
    /// One place: whose turn it is.
    now: Arc<Semaphore>,
    /// Places for those who wait.
    waiting: Semaphore,
    waiting_max: usize,
}

/// A turn. While it lives, nobody else has one, and the project counts as active.
pub struct Turn {
    _now: OwnedSemaphorePermit,
    _busy: Busy,
}

impl Turns {
    pub(crate) fn new(waiting_max: usize) -> Self {
        let waiting_max = waiting_max.max(1);
        Self { now: Arc::new(Semaphore::new(1)), waiting: Semaphore::new(waiting_max), waiting_max }
    }

    /// Waits for a turn, in the order of asking.
    ///
    /// # Errors
    ///
    /// [`Refusal::Busy`] when `wait` is over, or when too many wait.
    ///
    /// # Cancel safety
    ///
    /// Who stops waiting loses the place in the order, and nothing else.
    pub(crate) async fn take(&self, busy: Busy, wait: Duration) -> Answer<Turn> {
        let max = self.waiting_max;
        let full = |_| Refusal::Busy { what: format!("{max} waiting for their turn").into() };
        let _waiting = self.waiting.try_acquire().map_err(full)?;
        let taken = timeout(wait, Arc::clone(&self.now).acquire_owned()).await;
        match taken {
            Ok(Ok(now)) => Ok(Turn { _now: now, _busy: busy }),
            // It is never closed.
            Ok(Err(_)) | Err(_) => {
                Err(Refusal::Busy { what: "1 request that takes turns".into() }.into())
            }
        }
    }
}
