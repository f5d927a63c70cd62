//! The one terminal.

use super::context::Call;
use super::errors::Problem;
use super::reply::Answered;

/// Looks at it over a WebSocket.
///
/// # Errors
///
/// Always: it is not built yet.
pub async fn open(_call: Call) -> Answered {
    Err(Problem::not_implemented("terminal"))
}

/// Ends its shell.
///
/// # Errors
///
/// Always: it is not built yet.
pub async fn close(_call: Call) -> Answered {
    Err(Problem::not_implemented("terminal"))
}
