//! The dialect of BharatBuild.

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

/// Where previews are; what comes from there is a sandbox's, not ours.
pub const PREVIEW: &str = "/api/v1/preview/";
