//! A clock that tests can put forward.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sandtree_actors::ports::{Clock, SystemClock};

/// The machine's clock, plus what a test has put it forward by. Shared by clones.
#[derive(Debug, Clone, Default)]
pub struct TestClock {
    system: Arc<SystemClock>,
    ahead: Arc<AtomicU64>,
}

impl TestClock {
    /// Puts it forward.
    pub fn advance(&self, by: Duration) {
        let micros = u64::try_from(by.as_micros()).expect("a duration of a test");
        self.ahead.fetch_add(micros, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> u64 {
        self.system.now() + self.ahead.load(Ordering::SeqCst)
    }
}
