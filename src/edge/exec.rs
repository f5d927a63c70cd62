//! Short commands.

use super::context::Call;
use super::errors::Problem;
use super::reply::Answered;

/// Runs one command.
///
/// # Errors
///
/// Always: it is not built yet.
pub async fn run(_call: Call) -> Answered {
    Err(Problem::not_implemented("exec"))
}
