//! The workspace as an archive.

use super::context::Call;
use super::errors::Problem;
use super::reply::Answered;

/// Sends the workspace as an archive.
///
/// # Errors
///
/// Always: it is not built yet.
pub async fn download(_call: Call) -> Answered {
    Err(Problem::not_implemented("archive"))
}

/// Unpacks an archive into the workspace.
///
/// # Errors
///
/// Always: it is not built yet.
pub async fn upload(_call: Call) -> Answered {
    Err(Problem::not_implemented("archive"))
}
