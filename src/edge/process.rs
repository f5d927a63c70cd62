//! The one long-running process.

use super::context::Call;
use super::errors::Problem;
use super::reply::Answered;

/// Shows the process.
///
/// # Errors
///
/// Always: it is not built yet.
pub async fn show(_call: Call) -> Answered {
    Err(Problem::not_implemented("process"))
}

/// Starts it.
///
/// # Errors
///
/// Always: it is not built yet.
pub async fn start(_call: Call) -> Answered {
    Err(Problem::not_implemented("process"))
}

/// Stops it.
///
/// # Errors
///
/// Always: it is not built yet.
pub async fn stop(_call: Call) -> Answered {
    Err(Problem::not_implemented("process"))
}

/// Sends it a signal.
///
/// # Errors
///
/// Always: it is not built yet.
pub async fn signal(_call: Call) -> Answered {
    Err(Problem::not_implemented("process"))
}

/// Reads its log.
///
/// # Errors
///
/// Always: it is not built yet.
pub async fn logs(_call: Call) -> Answered {
    Err(Problem::not_implemented("process"))
}
