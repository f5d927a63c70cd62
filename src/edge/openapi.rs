//! The description of the API.

use super::context::Call;
use super::errors::Problem;
use super::reply::Answered;

/// The document.
///
/// # Errors
///
/// Always: it is not built yet.
pub async fn document(_call: Call) -> Answered {
    Err(Problem::not_implemented("openapi"))
}
