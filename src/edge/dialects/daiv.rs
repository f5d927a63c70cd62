//! The dialect of daiv-sandbox.

use super::{Problem, Response, Route};

/// Its routes.
#[must_use]
pub fn table() -> Vec<Route> {
    Vec::new()
}

/// A problem, as its clients read it.
pub(super) fn problem(problem: &Problem) -> Response {
    super::detail(problem)
}

/// Health and version need no key, with their slash or without.
pub(super) fn is_open(path: &str) -> bool {
    let path = path.strip_prefix("/api/v1").unwrap_or(path);
    matches!(path.trim_end_matches('/'), "/-/health" | "/-/version")
}
