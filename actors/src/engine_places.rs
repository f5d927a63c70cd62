//! Places for operations of the engine: so many at once, the others wait.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::fullness::Fullness;

/// See the module.
pub(crate) struct EnginePlaces {
    places: Semaphore,
    places_max: usize,
    waiting: AtomicUsize,
}

/// A place; the next operation gets it when this is dropped.
pub(crate) struct Place<'a> {
    /// Absent never: the semaphore is not closed.
    _permit: Option<SemaphorePermit<'a>>,
}

/// Somebody who waits for a place, or has given up.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl EnginePlaces {
    pub(crate) fn new(places_max: usize) -> Self {
        Self { places: Semaphore::new(places_max), places_max, waiting: AtomicUsize::new(0) }
    }

    /// Waits for a place.
    ///
    /// # Cancel safety
    ///
    /// Safe: who gives up has no place and is not counted.
    pub(crate) async fn take(&self) -> Place<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(&self.waiting);
        Place { _permit: self.places.acquire().await.ok() }
    }

    /// How many operations are under way.
    pub(crate) fn fullness(&self) -> Fullness {
        Fullness::of_places("engine_operations", &self.places, self.places_max)
    }

    /// How many operations wait for a place.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future as _;
    use std::pin::pin;
    use std::task::Poll;

    use super::*;

    #[tokio::test]
    async fn who_waits_is_counted_until_it_has_a_place_or_gives_up() {
        let places = EnginePlaces::new(1);
        let first = places.take().await;
        assert_eq!((places.fullness().used, places.waiting()), (1, 0));
        {
            let mut second = pin!(places.take());
            let polled = std::future::poll_fn(|context| Poll::Ready(second.as_mut().poll(context)));
            assert!(polled.await.is_pending());
            assert_eq!(places.waiting(), 1);
        }
        assert_eq!(places.waiting(), 0, "it gave up");
        drop(first);
        assert_eq!((places.fullness().used, places.waiting()), (0, 0));
    }
}
