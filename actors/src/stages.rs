//! How long the stages of a create take, for the metrics.

use std::future::Future;

use tokio::time::Instant;

/// What `work` answers; its time goes to the histogram of this stage.
pub(crate) async fn timed<T>(stage: &'static str, work: impl Future<Output = T>) -> T {
    let began = Instant::now();
    let outcome = work.await;
    note(stage, began);
    outcome
}

/// A stage ended that began then.
pub(crate) fn note(stage: &'static str, began: Instant) {
    metrics::histogram!("sandtree_create_stage_seconds", "stage" => stage).record(began.elapsed());
}
