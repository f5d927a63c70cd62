//! The dialect of BharatBuild: `/api/v1/containers/{id}/...` and `/api/v1/preview/{id}/...`.
//!
//! A container there is a project here, by its name. What a client cannot say in this
//! contract is kept in labels, which the native API shows and changes as any other: see
//! `project`.
//!
//! | what | where |
//! | --- | --- |
//! | which project a request is about, and how it is shown | `project` |
//! | making one, with sizes as people write them | `create`, `sizes` |
//! | commands, and the events that tell about them | `exec`, `events`, `lines`, `display` |
//! | files | `files` |
//! | status, usage, stop, restart, delete | `lifecycle` |
//! | ports and URLs | `ports` |
//! | the reverse proxy of previews | `preview` |

mod create;
mod display;
mod events;
mod exec;
mod files;
mod lifecycle;
mod lines;
mod ports;
mod preview;
mod project;
mod sizes;

use serde_json::json;
use warp::http::StatusCode;

use super::{Problem, Response, Route, kinds};
use crate::edge::reply;
use crate::edge::router::{any, at, delete, get, post};

/// Where previews are; what comes from there is a sandbox's, not ours.
pub const PREVIEW: &str = "/api/v1/preview/";

/// Its routes.
#[must_use]
#[rustfmt::skip]
pub fn table() -> Vec<Route> {
    vec![
        at("/api/v1/containers/{id}",                 [delete(lifecycle::remove)]),
        at("/api/v1/containers/{id}/create",          [post(create::create)]),
        at("/api/v1/containers/{id}/exec",            [post(exec::one)]),
        at("/api/v1/containers/{id}/exec/batch",      [post(exec::batch)]),
        at("/api/v1/containers/{id}/files",           [get(files::list), post(files::write)]),
        at("/api/v1/containers/{id}/files/{path..}",  [get(files::read), post(files::write_or_verify)]),
        at("/api/v1/containers/{id}/preview",         [get(ports::preview)]),
        at("/api/v1/containers/{id}/ports",           [get(ports::all)]),
        at("/api/v1/containers/{id}/stats",           [get(lifecycle::stats)]),
        at("/api/v1/containers/{id}/status",          [get(lifecycle::status)]),
        at("/api/v1/containers/{id}/stop",            [post(lifecycle::stop)]),
        at("/api/v1/containers/{id}/restart",         [post(lifecycle::restart)]),

        at("/api/v1/preview/{id}",                    [any(preview::without_slash)]),
        at("/api/v1/preview/{id}/{path..}",           [any(preview::pass)]),
    ]
}

/// A problem, as its clients read it: `{"detail": "..."}`, 422 for a body that cannot be
/// read, 400 for a path that leads out of the workspace, and 503 that names Docker.
pub(super) fn problem(problem: &Problem) -> Response {
    let kind = problem.kind();
    let status = match kind {
        kinds::MALFORMED_BODY | kinds::INVALID_FIELD => 422,
        kinds::OUTSIDE => 400,
        _ => kind.status,
    };
    let detail = match kind {
        kinds::ENGINE_AWAY => format!("Docker not available: {}", problem.detail()),
        kinds::OUTSIDE => "Invalid file path: path traversal detected".to_owned(),
        _ => problem.detail().to_owned(),
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    reply::json(status, &json!({ "detail": detail }))
}
