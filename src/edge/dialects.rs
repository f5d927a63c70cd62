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

use std::fmt::Write as _;

use futures_util::StreamExt as _;
use rand::TryRngCore as _;
use serde_json::json;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use warp::http::{Method, StatusCode};

use super::auth::Carriers;
use super::context::Context;
use super::errors::{Problem, kinds};
use super::reply::Response;
use super::router::Route;
use super::websocket::{self, Ending, Handshake, Socket};
use crate::config::dialects::{Dialects, Served};

/// Label of a project: by which dialect it was made.
const DIALECT: &str = "sandtree.dialect";
/// Label of a project: for which of its client's users.
const USER: &str = "sandtree.user";

/// What dialects remember between requests, and nothing that a restart may not forget.
#[derive(Debug, Default)]
pub struct State {
    /// Sessions of the Terminal Server that are being made.
    pub sessions: terminal_server::Sessions,
    /// What the clients of the AI Project Builder did within the last minute.
    pub rates: builder::Rates,
}

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

    /// Whether the path itself holds what lets a client in: the id of a session.
    #[must_use]
    pub fn is_keyed_by_path(self, path: &str) -> bool {
        self == Dialect::TerminalServer && path.starts_with(terminal_server::SOCKET)
    }

    /// Whether pages of every web origin may use what is there, without their keys: the
    /// previews of one dialect, which are made to be shown by other sites.
    #[must_use]
    pub fn is_for_any_origin(self, path: &str) -> bool {
        self == Dialect::BharatBuild && path.starts_with(bharatbuild::PREVIEW)
    }

    /// Whether the handler itself says that a key is missing, in a way that only it can: by
    /// the code that a WebSocket is closed with, or to a browser that asks what it may send.
    #[must_use]
    pub fn tells_itself(self, path: &str, method: &Method, is_upgrade: bool) -> bool {
        self.is_for_any_origin(path) && (is_upgrade || *method == Method::OPTIONS)
    }

    /// A name for a request, by which the logs of both sides can speak of it: replies of the
    /// AI Project Builder carry one, its probes' too.
    pub(super) fn name_of_request(self, path: &str) -> Option<String> {
        let has_name = self == Dialect::Builder || matches!(path, "/health" | "/ready");
        has_name.then(|| random_hex(16).ok()).flatten()
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

/// `{"detail": ...}`, as the framework of all four systems answers: a list for what is wrong
/// with a body, with 422, and a text for anything else, with the problem's own status.
fn detail(problem: &Problem) -> Response {
    let kind = problem.kind();
    let (status, detail) = match kind {
        kinds::INVALID_FIELD | kinds::MALFORMED_BODY => {
            let field = problem.at_field().unwrap_or_default();
            let (part, field) =
                field.strip_prefix("query.").map_or(("body", field), |it| ("query", it));
            let place: Vec<_> = [part, field].into_iter().filter(|it| !it.is_empty()).collect();
            let fault = json!({ "type": "value_error", "loc": place, "msg": problem.detail() });
            (422, json!([fault]))
        }
        kinds::UNKNOWN_ROUTE => (404, json!("Not Found")),
        kinds::METHOD_NOT_ALLOWED => (405, json!("Method Not Allowed")),
        _ => (kind.status, json!(problem.detail())),
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    super::reply::json(status, &json!({ "detail": detail }))
}

/// Accepts a WebSocket and does something with it once it is one.
fn accept_then<F, W>(context: &Context, handshake: Handshake, work: W) -> Response
where
    W: FnOnce(Socket) -> F + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let (response, upgrading) = handshake.accept();
    context.tasks.spawn(async move {
        if let Some(socket) = upgrading.socket().await {
            work(socket).await;
        }
    });
    response
}

/// How a socket is closed over a problem.
fn close_code(problem: &Problem) -> CloseCode {
    match problem.kind() {
        kinds::NOT_FOUND | kinds::INVALID_FIELD => CloseCode::Policy,
        kinds::BUSY => CloseCode::Again,
        _ => CloseCode::Error,
    }
}

/// Closes a socket that was accepted only to be told why.
async fn close_at_once(socket: Socket, code: CloseCode, reason: &str) {
    let (sink, stream) = socket.split();
    websocket::finish(sink, stream, Ending::close(code, reason)).await;
}

/// So many random bytes, in hexadecimal digits.
fn random_hex(bytes: usize) -> Result<String, Problem> {
    let mut random = vec![0_u8; bytes];
    let filled = rand::rngs::OsRng.try_fill_bytes(&mut random);
    filled.map_err(|error| Problem::internal(&format!("no random bytes: {error}")))?;
    Ok(random.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    }))
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
