//! Files of the workspace.

use super::context::Call;
use super::errors::Problem;
use super::reply::Answered;

/// Reads a file.
///
/// # Errors
///
/// Always: it is not built yet.
pub async fn read(_call: Call) -> Answered {
    Err(Problem::not_implemented("files"))
}

/// Writes a file.
///
/// # Errors
///
/// Always: it is not built yet.
pub async fn write(_call: Call) -> Answered {
    Err(Problem::not_implemented("files"))
}

/// Removes a file or directory.
///
/// # Errors
///
/// Always: it is not built yet.
pub async fn remove(_call: Call) -> Answered {
    Err(Problem::not_implemented("files"))
}

/// Makes a directory.
///
/// # Errors
///
/// Always: it is not built yet.
pub async fn mkdir(_call: Call) -> Answered {
    Err(Problem::not_implemented("files"))
}

/// Moves a file or directory.
///
/// # Errors
///
/// Always: it is not built yet.
pub async fn rename(_call: Call) -> Answered {
    Err(Problem::not_implemented("files"))
}

/// Copies a file or directory.
///
/// # Errors
///
/// Always: it is not built yet.
pub async fn copy(_call: Call) -> Answered {
    Err(Problem::not_implemented("files"))
}

/// Does several changes.
///
/// # Errors
///
/// Always: it is not built yet.
pub async fn batch(_call: Call) -> Answered {
    Err(Problem::not_implemented("files"))
}

/// Lists the workspace.
///
/// # Errors
///
/// Always: it is not built yet.
pub async fn tree(_call: Call) -> Answered {
    Err(Problem::not_implemented("files"))
}
