//! Time as the sandbox sees it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Microseconds since 1970.
pub(crate) fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// Waits until so much time has passed in which the sandbox was running. A pause
/// freezes init while the clock goes on, so no slice counts for more than itself.
pub(crate) async fn running_for(time: Duration) {
    const SLICE: Duration = Duration::from_secs(1);
    let mut left = time;
    while !left.is_zero() {
        let slice = left.min(SLICE);
        let before = Instant::now();
        tokio::time::sleep(slice).await;
        left = left.saturating_sub(before.elapsed().min(slice));
    }
}
