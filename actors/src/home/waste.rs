//! What strangers leave behind, closed where it holds up nobody.
//!
//! Code in a sandbox can send descriptors along with whatever it says, and the kernel
//! closes those that nobody takes in the thread that reads the bytes or closes the
//! connection. That takes as long as they like: the blocks of a removed file are freed by
//! whoever closes it last, which is minutes for one with many holes, and an inotify
//! instance waits for all processors. So what may come from strangers is closed by a
//! thread that has nothing else to do, one for each sandbox at most.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::disk::begin;
use crate::fullness::taken;

/// What one home has to close.
pub(super) struct Waste {
    places: Arc<Semaphore>,
    places_max: usize,
    queue: Arc<Mutex<Queue>>,
}

#[derive(Default)]
struct Queue {
    things: VecDeque<Box<dyn Send>>,
    /// A thread takes from it until it is empty.
    is_worked_off: bool,
}

impl Waste {
    /// One in which so many connections can wait to be closed.
    pub(super) fn new(closing_max: usize) -> Self {
        // One more is the next one's to come.
        let places_max = closing_max + 1;
        Self { places: Arc::new(Semaphore::new(places_max)), places_max, queue: Arc::default() }
    }

    /// A place for one more connection, to be kept until it is closed.
    pub(super) async fn place(&self) -> Option<OwnedSemaphorePermit> {
        // The semaphore is never closed.
        Arc::clone(&self.places).acquire_owned().await.ok()
    }

    /// How many places are taken by those who have come.
    pub(super) fn places_taken(&self) -> usize {
        taken(&self.places, self.places_max).saturating_sub(1)
    }

    /// Whether something is not closed yet.
    pub(super) fn is_there(&self) -> bool {
        lock(&self.queue).is_worked_off
    }

    /// Closes this after all that came before it, and holds up nobody.
    pub(super) fn close(&self, thing: impl Send + 'static) {
        let mut queue = lock(&self.queue);
        queue.things.push_back(Box::new(thing));
        let is_worked_off = std::mem::replace(&mut queue.is_worked_off, true);
        drop(queue);
        if !is_worked_off {
            let queue = Arc::clone(&self.queue);
            begin(move || {
                while let Some(thing) = next(&queue) {
                    drop(thing)
                }
            });
        }
    }
}

/// The next thing to close, which is not closed while the queue is locked.
fn next(queue: &Mutex<Queue>) -> Option<Box<dyn Send>> {
    let mut queue = lock(queue);
    let thing = queue.things.pop_front();
    queue.is_worked_off = thing.is_some();
    thing
}

fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}
