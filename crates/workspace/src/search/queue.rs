//! Work that several threads share until there is none.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// A stack, so that the walk is depth first and holds few directories open.
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    waiting: Vec<T>,
    /// Threads that work, and may bring more.
    busy: usize,
    is_over: bool,
}

/// A piece of work that somebody has taken. Dropped when it is done, or when the thread panics, so
/// that no other waits for it for ever.
pub(super) struct Turn<'a, T> {
    queue: &'a Queue<T>,
}

impl<T> Queue<T> {
    pub(super) fn new(first: T) -> Self {
        let state = State { waiting: vec![first], busy: 0, is_over: false };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next piece of work, which may take a while to appear; `None` when there will be none.
    pub(super) fn take(&self) -> Option<(T, Turn<'_, T>)> {
        let mut state = self.lock();
        loop {
            if state.is_over {
                return None;
            }
            if let Some(work) = state.waiting.pop() {
                state.busy += 1;
                return Some((work, Turn { queue: self }));
            }
            if state.busy == 0 {
                return None;
            }
            // Ends: who is busy drops its turn.
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Adds work; the last is taken first.
    pub(super) fn add(&self, work: impl IntoIterator<Item = T>) {
        self.lock().waiting.extend(work);
        self.changed.notify_all();
    }

    /// Nobody takes anything from now on.
    pub(super) fn end(&self) {
        self.lock().is_over = true;
        self.changed.notify_all();
    }

    /// Whether [`Queue::end`] was called.
    pub(super) fn is_over(&self) -> bool {
        self.lock().is_over
    }
}

impl<T> Drop for Turn<'_, T> {
    fn drop(&mut self) {
        self.queue.lock().busy -= 1;
        self.queue.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn all_threads_end_when_the_last_work_is_done() {
        let (queue, done) = (Queue::new(6_u32), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while let Some((work, _turn)) = queue.take() {
                        done.fetch_add(1, Ordering::Relaxed);
                        queue.add((0..work).map(|_| work - 1).take(2));
                    }
                });
            }
        });
        // A binary tree of depth 6 whose last level has one child each.
        assert_eq!(done.into_inner(), (1 << 6) - 1 + (1 << 5));
    }

    #[test]
    fn a_thread_that_panics_holds_up_no_other() {
        let queue = Queue::new(());
        let panicked = std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let _turn = queue.take();
                panic!("on purpose");
            });
            thread.join().is_err()
        });
        assert!(panicked);
        assert!(queue.take().is_none());
    }

    #[test]
    fn what_waits_at_the_end_is_left() {
        let queue = Queue::new(1);
        queue.end();
        assert!(queue.take().is_none() && queue.is_over());
    }
}
