//! How long nothing has happened: on a WebSocket, in a tunnel, in an upload.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// When something last happened. Shared by reference between the halves of a connection.
#[derive(Debug)]
pub struct LastSeen {
    start: Instant,
    /// Milliseconds after `start`.
    at_ms: AtomicU64,
}

impl LastSeen {
    /// Something happened just now.
    #[must_use]
    pub fn now() -> Self {
        Self { start: Instant::now(), at_ms: AtomicU64::new(0) }
    }

    /// Something happens.
    pub fn touch(&self) {
        let since = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.at_ms.fetch_max(since, Ordering::Relaxed);
    }

    /// Time since it was last touched.
    #[must_use]
    pub fn silence(&self) -> Duration {
        let at = Duration::from_millis(self.at_ms.load(Ordering::Relaxed));
        self.start.elapsed().saturating_sub(at)
    }

    /// Waits until nothing has happened for `limit`.
    pub async fn silent_for(&self, limit: Duration) {
        loop {
            let silence = self.silence();
            if silence >= limit {
                return;
            }
            // A millisecond more, because that is what `at_ms` is exact to.
            tokio::time::sleep(limit - silence + Duration::from_millis(1)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn silence_is_counted_from_the_last_touch() {
        let seen = LastSeen::now();
        let before = Instant::now();
        let touching = async {
            for _ in 0..3 {
                tokio::time::sleep(Duration::from_secs(4)).await;
                seen.touch();
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = touching => {}
            () = seen.silent_for(Duration::from_secs(5)) => {}
        }
        assert_eq!(before.elapsed().as_secs(), 17);
    }
}
