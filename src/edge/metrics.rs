//! Numbers for Prometheus.

use super::context::Call;
use super::errors::Problem;
use super::reply::Answered;

/// Renders.
///
/// # Errors
///
/// Always: it is not built yet.
pub async fn render(_call: Call) -> Answered {
    Err(Problem::not_implemented("metrics"))
}
