//! The dialect of daiv-sandbox: sessions, their files, and one-shot runs.
//!
//! Every route answers at the root and below `/api/v1`. A path that lacks its trailing slash,
//! or has one too many, is redirected to the one that is served, method and query kept.
//!
//! | what | where |
//! | --- | --- |
//! | bodies and their 422 | `validate` |
//! | every other refusal | `refused` |
//! | sessions and whose turn it is | `session` |
//! | commands, and what they changed | `run`, `patch` |
//! | first files, and all later ones | `seed`, `fs` |
//! | requests that have a sandbox of their own | `once` |
//! | what may be reached | `egress` |
//! | health and version | `health` |

mod egress;
mod fs;
mod health;
mod once;
mod patch;
mod refused;
mod run;
mod seed;
mod session;
mod validate;

use sandtree_workspace::WorkspacePath;
use warp::http::header::LOCATION;
use warp::http::{HeaderValue, StatusCode};

use super::{Problem, Response, Route};
use crate::edge::context::Call;
use crate::edge::errors::kinds;
use crate::edge::reply::{self, Answered};
use crate::edge::router::{any, at, delete, get, post, put};
use refused::told;

/// The profile of a session.
const PROFILE: &str = "daiv";
/// The folders of a session, in the workspace.
const FOLDERS: [&str; 3] = ["repo", "skills", "tmp"];

/// What its paths may begin with, besides nothing.
const PREFIX: &str = "/api/v1";

/// A path at the root and below [`PREFIX`].
macro_rules! both {
    ($template:literal) => {
        [$template, concat!("/api/v1", $template)]
    };
    ($template:literal, $methods:expr) => {
        [at($template, $methods), at(concat!("/api/v1", $template), $methods)]
    };
}

/// Paths with the other slash than those that are served.
const REDIRECTED: [[&str; 2]; 9] = [
    both!("/-/health"),
    both!("/-/version"),
    both!("/run/commands"),
    both!("/run/code"),
    both!("/session"),
    both!("/session/{id}"),
    both!("/session/{id}/seed"),
    both!("/session/{id}/egress"),
    both!("/session/{id}/fs/{op}/"),
];

/// Its routes.
#[must_use]
#[rustfmt::skip]
pub fn table() -> Vec<Route> {
    let served = [
        both!("/-/health/",              [get(told(health::alive))]),
        both!("/-/version/",             [get(told(health::version))]),
        both!("/run/commands/",          [post(told(once::commands))]),
        both!("/run/code/",              [post(told(once::code))]),
        both!("/session/",               [post(told(session::create))]),
        both!("/session/{id}/",          [get(told(session::warm)), post(told(run::run)), delete(told(session::close))]),
        both!("/session/{id}/seed/",     [post(told(seed::seed))]),
        both!("/session/{id}/egress/",   [put(told(egress::refresh))]),
        both!("/session/{id}/fs/ls",     [post(told(fs::ls))]),
        both!("/session/{id}/fs/read",   [post(told(fs::read))]),
        both!("/session/{id}/fs/grep",   [post(told(fs::grep))]),
        both!("/session/{id}/fs/glob",   [post(told(fs::glob))]),
        both!("/session/{id}/fs/write",  [post(told(fs::write))]),
        both!("/session/{id}/fs/edit",   [post(told(fs::edit))]),
        both!("/session/{id}/fs/delete", [post(told(fs::delete))]),
    ];
    let redirected = REDIRECTED.iter().flatten().map(|path| at(path, [any(redirect)]));
    served.into_iter().flatten().chain(redirected).collect()
}

/// [`FOLDERS`] as paths.
fn folders() -> Vec<WorkspacePath> {
    FOLDERS.iter().filter_map(|name| WorkspacePath::parse(name).ok()).collect()
}

/// Sends the client to the path with the other slash. Before the key is asked for, as its
/// own server does.
async fn redirect(call: Call) -> Answered {
    let place = match call.path.strip_suffix('/') {
        Some(without) => without.to_owned(),
        None => format!("{}/", call.path),
    };
    let query = call.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
    let mut response = reply::empty(StatusCode::TEMPORARY_REDIRECT);
    let place = HeaderValue::from_str(&format!("{place}{query}"));
    let place = place.map_err(|_| Problem::new(kinds::BAD_REQUEST, "a path of odd characters"))?;
    response.headers_mut().insert(LOCATION, place);
    Ok(response)
}

/// A problem, as its clients read it.
pub(super) fn problem(problem: &Problem) -> Response {
    refused::problem(problem)
}

/// Health, version and redirects need no key.
pub(super) fn is_open(path: &str) -> bool {
    let is_redirected = || {
        let paths = REDIRECTED.iter().flatten();
        // An empty name is no name: `/session/` makes a session and is not the redirect of one.
        let mut alike = paths.filter(|it| it.ends_with('/') == path.ends_with('/'));
        alike.any(|template| at(template, []).matches(path))
    };
    let unprefixed = path.strip_prefix(PREFIX).unwrap_or(path);
    matches!(unprefixed, "/-/health/" | "/-/version/") || is_redirected()
}

#[cfg(test)]
mod tests;
