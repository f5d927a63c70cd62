//! The dialect of the AI Project Builder: projects by their name, one runtime each.
//!
//! A runtime is a project's sandbox: it is there from the first start until it is deleted,
//! which the project and its files survive. Both of the system's ways of running things are
//! served: commands by REST, which its policy holds to a list, and the terminal, which runs
//! anything.

mod admin;
mod commands;
mod files;
mod generate;
mod projects;
mod rates;
mod runtime;
mod sockets;

use sandtree_model::{ProjectId, ProjectKey};
use serde_json::json;
use warp::http::StatusCode;

use super::{Problem, Response, Route};
use crate::edge::context::Call;
use crate::edge::errors::kinds;
use crate::edge::reply;
use crate::edge::router::{at, delete, get, post, put};
pub use rates::Rates;

/// Its profile, and the value of the label [`super::DIALECT`].
const NAME: &str = "builder";

/// Its routes.
#[must_use]
#[rustfmt::skip]
pub fn table() -> Vec<Route> {
    vec![
        at("/projects",                             [get(projects::list)]),
        at("/projects/generate",                    [post(projects::generate)]),

        at("/projects/{name}/runtime/start",        [post(runtime::start)]),
        at("/projects/{name}/runtime/status",       [get(runtime::status)]),
        at("/projects/{name}/runtime/stop",         [post(runtime::stop)]),
        at("/projects/{name}/runtime",              [delete(runtime::remove)]),
        at("/projects/{name}/runtime/exec",         [post(commands::exec)]),
        at("/projects/{name}/runtime/run",          [post(commands::run)]),
        at("/projects/{name}/runtime/stop-process", [post(commands::stop)]),
        at("/projects/{name}/runtime/ws/terminal",  [get(sockets::terminal)]),
        at("/projects/{name}/runtime/ws/logs",      [get(sockets::logs)]),

        at("/projects/{name}/files",                [get(files::list)]),
        at("/projects/{name}/files/read",           [get(files::read)]),
        at("/projects/{name}/files/create",         [post(files::create)]),
        at("/projects/{name}/files/write",          [put(files::write), post(files::write)]),
        at("/projects/{name}/files/delete",         [delete(files::remove)]),
        at("/projects/{name}/files/rename",         [post(files::rename)]),
        at("/projects/{name}/folders/create",       [post(files::create_folder)]),
        at("/projects/{name}/folders/delete",       [delete(files::remove_folder)]),

        at("/admin/health",                         [get(admin::health)]),
        at("/admin/runtimes",                       [get(admin::runtimes)]),
        at("/admin/runtimes/{name}",                [delete(admin::remove)]),
        at("/admin/runtimes/{name}/stop",           [post(admin::stop)]),
        at("/admin/projects/{name}",                [delete(admin::remove_project)]),
    ]
}

/// A problem, as its clients read it.
pub(super) fn problem(problem: &Problem) -> Response {
    if problem.kind() == kinds::REJECTED {
        let body = json!({ "error": "command_rejected", "detail": problem.detail() });
        return reply::json(StatusCode::UNPROCESSABLE_ENTITY, &body);
    }
    match problem.kind() {
        kinds::ENGINE_AWAY | kinds::ENGINE_REFUSED | kinds::IMAGE => {
            let body = json!({ "detail": problem.detail() });
            reply::json(StatusCode::INTERNAL_SERVER_ERROR, &body)
        }
        // Its framework looks for JSON, whatever the body is said to be.
        kinds::UNSUPPORTED_MEDIA => super::detail(&as_malformed(problem)),
        _ => super::detail(problem),
    }
}

fn as_malformed(problem: &Problem) -> Problem {
    Problem::new(kinds::MALFORMED_BODY, problem.detail())
}

/// The project that the path names.
fn key(call: &Call) -> Result<ProjectKey, Problem> {
    let name = call.param("name")?;
    // What cannot be a project's name is no project's.
    let none = |_| Problem::new(kinds::NOT_FOUND, format!("Project not found: {name}"));
    let id = ProjectId::of_name(&name).map_err(none)?;
    Ok(ProjectKey { tenant: call.principal()?.tenant.clone(), id })
}

/// In this system's words, that there is no such project.
fn no_project(call: &Call) -> impl Fn(Problem) -> Problem + use<> {
    not_found(format!("Project not found: {}", call.param("name").unwrap_or_default()))
}

/// That there is no such runtime.
fn no_runtime(call: &Call) -> impl Fn(Problem) -> Problem + use<> {
    not_found(format!("No runtime found for project: {}", call.param("name").unwrap_or_default()))
}

fn not_found(detail: String) -> impl Fn(Problem) -> Problem {
    move |problem| match problem.kind() {
        kinds::NOT_FOUND => Problem::new(kinds::NOT_FOUND, detail.clone()),
        _ => problem,
    }
}
