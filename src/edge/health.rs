//! Whether the server works.

use super::context::Call;
use super::errors::Problem;
use super::reply::Answered;

/// Alive.
///
/// # Errors
///
/// Always: it is not built yet.
pub async fn alive(_call: Call) -> Answered {
    Err(Problem::not_implemented("health"))
}

/// Ready.
///
/// # Errors
///
/// Always: it is not built yet.
pub async fn ready(_call: Call) -> Answered {
    Err(Problem::not_implemented("health"))
}
