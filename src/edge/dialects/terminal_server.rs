//! The dialect of the Terminal Server: sessions, each with one shell over a WebSocket.
//!
//! A session is a project of the profile `terminal_server`, which has its limits and
//! time-outs. Its id cannot be guessed and is all that the WebSocket needs: clients build the
//! address of the socket from it, and a browser can send no token there. The socket is always
//! accepted; what is wrong is told by its close code:
//!
//! | code | meaning |
//! | --- | --- |
//! | 1000 | the shell ended |
//! | 1001 | the sandbox stopped, or the server is ending |
//! | 1003 | a message is not one that is known |
//! | 1008 | there is no such session, or the client does not answer pings |
//! | 1009 | a message is larger than 1 MiB |
//! | 1011 | the sandbox cannot be used |
//! | 1013 | too many look at this session |

mod frames;
mod sessions;
mod socket;

use serde_json::json;
use warp::http::StatusCode;

use super::{Problem, Response, Route};
use crate::edge::context::Call;
use crate::edge::reply::{self, Answered};
use crate::edge::router::{at, delete, get, post};
pub use sessions::Sessions;

/// Its profile, and the value of the label [`super::DIALECT`].
const NAME: &str = "terminal_server";

/// Where the sockets are; the id of a session, which follows, is the key to its own.
pub const SOCKET: &str = "/ws/terminal/";

/// Its routes.
#[must_use]
#[rustfmt::skip]
pub fn table() -> Vec<Route> {
    vec![
        at("/api/v1/sessions",      [post(sessions::create)]),
        at("/api/v1/sessions/{id}", [get(sessions::show), delete(sessions::remove)]),
        at("/ws/terminal/{id}",     [get(socket::open)]),
        at("/api/v1/health",        [get(health)]),
    ]
}

/// A problem, as its clients read it.
pub(super) fn problem(problem: &Problem) -> Response {
    super::detail(problem)
}

async fn health(_call: Call) -> Answered {
    let body = json!({ "status": "healthy", "version": env!("CARGO_PKG_VERSION") });
    Ok(reply::json(StatusCode::OK, &body))
}
