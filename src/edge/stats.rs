//! What the sandbox uses.

use super::context::Call;
use super::errors::Problem;
use super::reply::Answered;

/// Shows what the sandbox uses.
///
/// # Errors
///
/// Always: it is not built yet.
pub async fn show(_call: Call) -> Answered {
    Err(Problem::not_implemented("stats"))
}
