//! Projects and their life cycle.

use super::context::Call;
use super::errors::Problem;
use super::reply::Answered;

/// Lists.
///
/// # Errors
///
/// Always: it is not built yet.
pub async fn list(_call: Call) -> Answered {
    Err(Problem::not_implemented("projects"))
}

/// Creates.
///
/// # Errors
///
/// Always: it is not built yet.
pub async fn create(_call: Call) -> Answered {
    Err(Problem::not_implemented("projects"))
}

/// Shows.
///
/// # Errors
///
/// Always: it is not built yet.
pub async fn show(_call: Call) -> Answered {
    Err(Problem::not_implemented("projects"))
}

/// Changes.
///
/// # Errors
///
/// Always: it is not built yet.
pub async fn change(_call: Call) -> Answered {
    Err(Problem::not_implemented("projects"))
}

/// Deletes.
///
/// # Errors
///
/// Always: it is not built yet.
pub async fn remove(_call: Call) -> Answered {
    Err(Problem::not_implemented("projects"))
}

/// S.
///
/// # Errors
///
/// Always: it is not built yet.
pub async fn start(_call: Call) -> Answered {
    Err(Problem::not_implemented("projects"))
}

/// S.
///
/// # Errors
///
/// Always: it is not built yet.
pub async fn stop(_call: Call) -> Answered {
    Err(Problem::not_implemented("projects"))
}

/// S.
///
/// # Errors
///
/// Always: it is not built yet.
pub async fn restart(_call: Call) -> Answered {
    Err(Problem::not_implemented("projects"))
}

/// S.
///
/// # Errors
///
/// Always: it is not built yet.
pub async fn pause(_call: Call) -> Answered {
    Err(Problem::not_implemented("projects"))
}

/// S.
///
/// # Errors
///
/// Always: it is not built yet.
pub async fn resume(_call: Call) -> Answered {
    Err(Problem::not_implemented("projects"))
}
