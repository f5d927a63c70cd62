//! What happens in a project.

use super::context::Call;
use super::errors::Problem;
use super::reply::Answered;

/// Follows.
///
/// # Errors
///
/// Always: it is not built yet.
pub async fn follow(_call: Call) -> Answered {
    Err(Problem::not_implemented("events"))
}
