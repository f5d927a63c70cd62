//! Waits that end.

use std::future::Future;
use std::time::Duration;

/// Longer than anything that is waited for takes on a busy machine.
pub const LONG: Duration = Duration::from_secs(60);

/// The outcome of `work`, which must be there within `limit`.
///
/// # Panics
///
/// When it is not, naming `what`.
pub async fn within<T>(limit: Duration, what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(limit, work).await {
        Ok(outcome) => outcome,
        Err(_) => panic!("waited {limit:?} in vain for {what}"),
    }
}

/// Waits until something holds that nobody tells; asks again and again.
///
/// # Panics
///
/// When it does not within [`LONG`], naming `what`.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    within(LONG, what, async {
        while !holds().await {
            ticks.tick().await;
        }
    })
    .await;
}
