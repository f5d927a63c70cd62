//! Panics that end nothing but their task.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use sandtree_model::Fault;

/// Turns a panic into a fault, so that whoever waits for the task is told.
pub(crate) async fn survive<T>(task: impl Future<Output = T>) -> Result<T, Fault> {
    // What the task had borrowed is not used after a panic.
    let outcome = AssertUnwindSafe(task).catch_unwind().await;
    outcome.map_err(|_| Fault::Internal("a task panicked; the server's log says where".into()))
}
