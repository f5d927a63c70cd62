//! What listens inside the sandbox, seen from outside.

use super::context::Call;
use super::errors::Problem;
use super::reply::Answered;

/// Redirects to the path with a slash at its end.
///
/// # Errors
///
/// Always: it is not built yet.
pub async fn without_slash(_call: Call) -> Answered {
    Err(Problem::not_implemented("preview"))
}

/// Passes a request on, by path.
///
/// # Errors
///
/// Always: it is not built yet.
pub async fn by_path(_call: Call) -> Answered {
    Err(Problem::not_implemented("preview"))
}

/// Passes a request on, by host name; see [`Call::preview`].
///
/// # Errors
///
/// Always: it is not built yet.
pub async fn by_host(_call: Call) -> Answered {
    Err(Problem::not_implemented("preview"))
}
