//! The reverse proxy of previews: the core's, with what this contract adds to it.
//!
//! `/api/v1/preview/{id}/...` leads to the active port, and `.../_port/{port}/...` to any;
//! `.../_status` tells whether a server listens there. Pages of every web origin may use it
//! and show it in a frame: the gate lets them in here and nowhere else. Pages and scripts
//! come with their absolute paths [rewritten](rewrite), since they do not know where they
//! are.
//!
//! | what is wrong | HTTP | WebSocket is closed with |
//! | --- | --- | --- |
//! | no key, or not this one | 401 | 4003 |
//! | no such container | 404 | 1008 |
//! | it does not run, nothing listens, too much at once | 503 | 1013 |
//! | it does not answer in time | 504 | 1011 |
//! | anything else | 502 | 1011 |

mod dress;
mod rewrite;

use futures_util::StreamExt as _;
use http_body_util::BodyDataStream;
use sandtree_actors::View;
use sandtree_model::{Phase, ProjectKey};
use serde_json::json;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use warp::http::header::{
    ACCEPT_ENCODING, ACCESS_CONTROL_REQUEST_METHOD, CONTENT_LENGTH, ETAG, LOCATION, RETRY_AFTER,
};
use warp::http::{HeaderValue, Method, StatusCode};

use super::ports::{self, BY_PORT, PORT_DEFAULT};
use super::project;
use crate::edge::context::Call;
use crate::edge::errors::{Problem, kinds};
use crate::edge::preview;
use crate::edge::reply::{self, Answered, Response};
use crate::edge::websocket::{self, Ending, Handshake, Upgrading, has_token};
use rewrite::{Rewriter, Rewriting};

/// The path that tells how the preview is.
const STATUS: &str = "_status";

/// Where a request leads.
struct Target {
    view: View,
    port: u16,
    /// What the server in the sandbox gets as the path.
    path: String,
    /// What stands in front of it outside, without a slash at its end.
    prefix: String,
}

/// Redirects to the path with a slash at its end, so that relative links work.
///
/// # Errors
///
/// 400 when the path cannot be a header.
pub(super) async fn without_slash(call: Call) -> Answered {
    with_slash(&call)
}

/// Passes a request on. What is wrong is told in the response, or by the code that a
/// WebSocket is closed with.
///
/// # Errors
///
/// None; it answers problems itself.
pub(super) async fn pass(mut call: Call) -> Answered {
    let mut response = if is_preflight(&call) {
        reply::empty(StatusCode::NO_CONTENT)
    } else {
        // Kept, so that a socket can be accepted only to be told why it is closed.
        let socket = socket(&mut call);
        let tasks = call.context.tasks.clone();
        match (answer(call).await, socket) {
            (Ok(response), _) => response,
            (Err(problem), None) => said(&problem),
            (Err(problem), Some(handshake)) => {
                let (response, upgrading) = handshake.accept();
                tasks.spawn(close(upgrading, Trouble::of(&problem).ending(&problem)));
                return Ok(response);
            }
        }
    };
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        dress::for_any_origin(response.headers_mut());
    }
    Ok(response)
}

async fn answer(mut call: Call) -> Answered {
    let below = call.raw_param("path").to_owned();
    let Some(target) = target(&call, &below).await? else { return with_slash(&call) };
    if below == STATUS {
        return status(&call, &target).await;
    }
    let key: ProjectKey = target.view.project.key.clone();
    if target.view.project.phase != Phase::Running {
        let phase = project::status(target.view.project.phase);
        return Err(Problem::new(kinds::WRONG_PHASE, format!("the container is {phase}")));
    }
    // What is compressed could not be rewritten.
    call.headers.remove(ACCEPT_ENCODING);
    let reached = preview::reach(&call.context, &key, target.port).await?;
    let response = reached.pass(call, target.path, target.prefix.clone()).await?;
    Ok(rewritten(response, &target.prefix))
}

/// Where a path leads; `None` when it lacks the slash at its end.
/// The project, if it was made here: pages of every origin come to these paths, so nothing
/// is shown that was not made for that.
async fn shown(call: &Call) -> Result<View, Problem> {
    let view = project::find(call).await?;
    let is_ours = project::label(&view, project::TYPE).is_some();
    is_ours.then_some(view).ok_or_else(project::unknown)
}

async fn target(call: &Call, below: &str) -> Result<Option<Target>, Problem> {
    let view = shown(call).await?;
    let mut prefix = format!("{}{}", super::PREVIEW, call.raw_param("id"));
    let Some(rest) = below.strip_prefix(BY_PORT).and_then(|rest| rest.strip_prefix('/')) else {
        let port = ports::active(&view).unwrap_or(PORT_DEFAULT);
        return Ok(Some(Target { view, port, path: format!("/{below}"), prefix }));
    };
    let (port, path) = match rest.split_once('/') {
        Some((port, path)) => (port, Some(path)),
        None => (rest, None),
    };
    let port: Option<u16> = port.parse().ok().filter(|port| *port != 0);
    let port = port.ok_or_else(|| Problem::new(kinds::NOT_FOUND, "there is no such port"))?;
    prefix.push_str(&format!("/{BY_PORT}/{port}"));
    Ok(path.map(|path| Target { view, port, path: format!("/{path}"), prefix }))
}

async fn status(call: &Call, target: &Target) -> Answered {
    let (name, key) = project::key(call)?;
    let phase = target.view.project.phase;
    let is_ready =
        phase == Phase::Running && preview::reach(&call.context, &key, target.port).await.is_ok();
    let body = json!({
        "project_id": name,
        "container_id": project::container_id(&target.view),
        "status": project::status(phase),
        "active_port": ports::active(&target.view),
        "port": target.port,
        "ready": is_ready,
        "url": format!("{}/", target.prefix),
    });
    Ok(reply::json(StatusCode::OK, &body))
}

fn with_slash(call: &Call) -> Answered {
    let query = call.query.as_ref().map_or(String::new(), |query| format!("?{query}"));
    let location = HeaderValue::from_str(&format!("{}/{query}", call.path))
        .map_err(|_| Problem::new(kinds::BAD_REQUEST, "the path is not printable ASCII"))?;
    let mut response = reply::empty(StatusCode::PERMANENT_REDIRECT);
    response.headers_mut().insert(LOCATION, location);
    Ok(response)
}

fn is_preflight(call: &Call) -> bool {
    call.method == Method::OPTIONS && call.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// The handshake of a WebSocket, if this is one; the call can still be passed on.
fn socket(call: &mut Call) -> Option<Handshake> {
    let is_socket = has_token(&call.headers, &warp::http::header::UPGRADE, "websocket");
    let upgrade = call.upgrade.clone().filter(|_| is_socket)?;
    let handshake = Handshake::check(call).ok();
    call.upgrade = Some(upgrade);
    handshake
}

async fn close(upgrading: Upgrading, ending: Ending) {
    if let Some(socket) = upgrading.socket().await {
        let (sink, stream) = socket.split();
        websocket::finish(sink, stream, ending).await;
    }
}

/// A page or a script with its absolute paths rewritten; anything else as it is.
fn rewritten(response: Response, prefix: &str) -> Response {
    let Some(rewriting) = Rewriting::of(response.status(), response.headers()) else {
        return response;
    };
    let (mut head, body) = response.into_parts();
    // Neither is right any more.
    head.headers.remove(CONTENT_LENGTH);
    head.headers.remove(ETAG);
    let pieces = Rewriter::new(rewriting, prefix).stream(BodyDataStream::new(body));
    let mut response = reply::streaming(head.status, None, pieces);
    *response.headers_mut() = head.headers;
    *response.extensions_mut() = head.extensions;
    response
}

/// A problem as this proxy tells it.
fn said(problem: &Problem) -> Response {
    let trouble = Trouble::of(problem);
    let mut response = reply::json(trouble.status(), &json!({ "detail": problem.detail() }));
    if trouble == Trouble::NotReady {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// What is wrong, as far as a client can tell it apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    Denied,
    Unknown,
    NotReady,
    TimedOut,
    Failed,
}

impl Trouble {
    fn of(problem: &Problem) -> Self {
        match problem.kind() {
            kinds::UNAUTHORIZED | kinds::FORBIDDEN_ORIGIN => Trouble::Denied,
            kinds::NOT_FOUND | kinds::INVALID_FIELD => Trouble::Unknown,
            kinds::WRONG_PHASE
            | kinds::CONFLICT
            | kinds::NOTHING_LISTENS
            | kinds::BUSY
            | kinds::ENGINE_AWAY
            | kinds::STORE_AWAY => Trouble::NotReady,
            kinds::TIMED_OUT => Trouble::TimedOut,
            _ => Trouble::Failed,
        }
    }

    const fn status(self) -> StatusCode {
        match self {
            Trouble::Denied => StatusCode::UNAUTHORIZED,
            Trouble::Unknown => StatusCode::NOT_FOUND,
            Trouble::NotReady => StatusCode::SERVICE_UNAVAILABLE,
            Trouble::TimedOut => StatusCode::GATEWAY_TIMEOUT,
            Trouble::Failed => StatusCode::BAD_GATEWAY,
        }
    }

    fn ending(self, problem: &Problem) -> Ending {
        let code = match self {
            Trouble::Denied => CloseCode::from(4003),
            Trouble::Unknown => CloseCode::Policy,
            Trouble::NotReady => CloseCode::Again,
            Trouble::TimedOut | Trouble::Failed => CloseCode::Error,
        };
        Ending::close(code, problem.detail())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_trouble_has_a_status_and_a_close_code() {
        for (kind, status, code) in [
            (kinds::UNAUTHORIZED, 401, 4003),
            (kinds::NOT_FOUND, 404, 1008),
            (kinds::WRONG_PHASE, 503, 1013),
            (kinds::NOTHING_LISTENS, 503, 1013),
            (kinds::BUSY, 503, 1013),
            (kinds::ENGINE_AWAY, 503, 1013),
            (kinds::TIMED_OUT, 504, 1011),
            (kinds::SANDBOX, 502, 1011),
            (kinds::INTERNAL, 502, 1011),
        ] {
            let problem = Problem::new(kind, "x");
            let trouble = Trouble::of(&problem);
            assert_eq!(trouble.status().as_u16(), status, "{kind:?}");
            let expected = Ending::close(CloseCode::from(code), "x");
            assert_eq!(trouble.ending(&problem), expected, "{kind:?}");
        }
    }
}
