//! The dialect of AI Project Builder.

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
