//! The dialects: the HTTP and WebSocket contracts of four other systems, so that their
//! clients work with this server as they are.
//!
//! A dialect translates: requests, replies, errors, events and defaults. It holds no logic of
//! its own; what it needs and the core lacks becomes a part of the core with a native route.
//! Each is one file here, with its routes in its `table()`, its settings and the profile of its
//! sandboxes in `config/dialects/`, and its contract, row by row, in `tests/it/dialects/`.
//!
//! A project has one id in all of them: see [`sandtree_model::ProjectId::of_name`]. The path
//! of a request says whose dialect it is, before anything else about it is known; so even a
//! missing key or an unknown route is told in that system's words.

pub mod bharatbuild;
pub mod builder;
pub mod daiv;
pub mod terminal_server;

use warp::http::StatusCode;

use super::auth::Carriers;
use super::errors::{Problem, kinds};
use super::reply::Response;
use super::router::Route;
use crate::config::dialects::{Dialects, Served};

/// Whose contract a request follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Our own.
    Native,
    /// AI Project Builder.
    Builder,
    /// BharatBuild.
    BharatBuild,
    /// Terminal Server.
    TerminalServer,
    /// daiv-sandbox.
    Daiv,
}

/// The beginnings of paths, whole segments each, and whose they are.
const PREFIXES: [(&str, Dialect); 11] = [
    ("/projects", Dialect::Builder),
    ("/admin", Dialect::Builder),
    ("/api/v1/containers", Dialect::BharatBuild),
    ("/api/v1/preview", Dialect::BharatBuild),
    ("/api/v1/sessions", Dialect::TerminalServer),
    ("/api/v1/health", Dialect::TerminalServer),
    ("/ws/terminal", Dialect::TerminalServer),
    ("/run", Dialect::Daiv),
    ("/session", Dialect::Daiv),
    ("/-", Dialect::Daiv),
    // What is left there is only daiv's: it answers below it as at the root.
    ("/api/v1", Dialect::Daiv),
];

/// The routes of all dialects that are served.
#[must_use]
pub fn table(settings: &Dialects) -> Vec<Route> {
    let mut rows = Vec::new();
    for (dialect, table) in [
        (Dialect::Builder, builder::table as fn() -> Vec<Route>),
        (Dialect::BharatBuild, bharatbuild::table),
        (Dialect::TerminalServer, terminal_server::table),
        (Dialect::Daiv, daiv::table),
    ] {
        if dialect.served(settings).is_some_and(|served| served.enabled) {
            rows.extend(table());
        }
    }
    rows
}

impl Dialect {
    /// Whose a path is.
    #[must_use]
    pub fn of_path(path: &str) -> Self {
        let is_below = |prefix: &str| {
            path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let found = PREFIXES.iter().find(|(prefix, _)| is_below(prefix));
        found.map_or(Dialect::Native, |(_, dialect)| *dialect)
    }

    /// What the configuration says about it; nothing about our own.
    #[must_use]
    pub fn served(self, settings: &Dialects) -> Option<Served> {
        match self {
            Dialect::Native => None,
            Dialect::Builder => Some(settings.builder.served),
            Dialect::BharatBuild => Some(settings.bharatbuild.served),
            Dialect::TerminalServer => Some(settings.terminal_server.served),
            Dialect::Daiv => Some(settings.daiv.served),
        }
    }

    /// How its clients send a key.
    #[must_use]
    pub fn carriers(self) -> Carriers {
        let by_query = matches!(self, Dialect::Builder | Dialect::TerminalServer);
        Carriers { query_of_sockets: by_query.then_some("token") }
    }

    /// What needs no key in it.
    #[must_use]
    pub fn is_open(self, path: &str) -> bool {
        match self {
            Dialect::Native => matches!(path, "/health" | "/ready" | "/openapi.json"),
            Dialect::Builder | Dialect::BharatBuild => false,
            Dialect::TerminalServer => path == "/api/v1/health",
            Dialect::Daiv => daiv::is_open(path),
        }
    }

    /// A response in its words: problems are said as its clients read them.
    #[must_use]
    pub(super) fn translated(self, is_socket: bool, mut response: Response) -> Response {
        let say: fn(&Problem) -> Response = match self {
            Dialect::Native => return response,
            Dialect::Builder => builder::problem,
            Dialect::BharatBuild => bharatbuild::problem,
            Dialect::TerminalServer => terminal_server::problem,
            Dialect::Daiv => daiv::problem,
        };
        let Some(problem) = response.extensions_mut().remove::<Problem>() else { return response };
        let mut said = say(&problem);
        // All of them close a socket that may not be before it is one.
        if is_socket && problem.kind() == kinds::UNAUTHORIZED {
            *said.status_mut() = StatusCode::FORBIDDEN;
        }
        // What the front added, and what tells a client when to come back.
        for (name, value) in response.headers() {
            if !said.headers().contains_key(name) && !is_of_body(name) {
                said.headers_mut().append(name, value.clone());
            }
        }
        *said.extensions_mut() = std::mem::take(response.extensions_mut());
        said
    }
}

fn is_of_body(name: &warp::http::HeaderName) -> bool {
    use warp::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
    *name == CONTENT_TYPE || *name == CONTENT_LENGTH
}

/// `{"detail": "..."}` with the problem's own status: what frameworks of three of the four
/// systems answer.
fn detail(problem: &Problem) -> Response {
    let status = StatusCode::from_u16(problem.kind().status);
    let body = serde_json::json!({ "detail": problem.detail() });
    super::reply::json(status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_says_whose_it_is() {
        for (path, dialect) in [
            ("/v1/projects/a", Dialect::Native),
            ("/health", Dialect::Native),
            ("/projects", Dialect::Builder),
            ("/projects/a/runtime/ws/logs", Dialect::Builder),
            ("/projectsx", Dialect::Native),
            ("/api/v1/containers/a/exec", Dialect::BharatBuild),
            ("/api/v1/sessions/sess_1", Dialect::TerminalServer),
            ("/ws/terminal/sess_1", Dialect::TerminalServer),
            ("/api/v1/health", Dialect::TerminalServer),
            ("/api/v1/session/", Dialect::Daiv),
            ("/session", Dialect::Daiv),
            ("/api/v1/-/health/", Dialect::Daiv),
            ("/-/health/", Dialect::Daiv),
        ] {
            assert_eq!(Dialect::of_path(path), dialect, "{path}");
        }
    }
}
