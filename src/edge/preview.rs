//! Previews: what listens inside the sandbox, seen from outside, over HTTP and over
//! whatever a connection is upgraded to.
//!
//! By path, `/v1/projects/{id}/ports/{port}/...`, or by host name,
//! `{port}-{uid}.<preview domain>`. The server in the sandbox sees `Host:
//! localhost:<port>`, for plain requests and for upgrades alike, because dev servers
//! refuse other names; `X-Forwarded-*` tell how the client came. It never sees our keys.
//!
//! A connection in the sandbox serves one request and is closed with it, whichever side
//! goes first. Nothing is kept in memory but the piece that is on its way.
//!
//! By path, a preview shares the web origin of the API. A page that is not trusted
//! belongs behind a preview domain, where it has an origin of its own.

mod connection;
mod headers;
mod proxy;
mod tunnel;

use sandtree_actors::Dialled;
use sandtree_model::{Answer, Failure, ProjectKey, Refusal};
use warp::http::header::LOCATION;
use warp::http::{HeaderValue, StatusCode};

use super::context::{Call, Context};
use super::errors::{Problem, kinds};
use super::reply::{self, Answered};
use connection::Connection;
use headers::Mount;
use proxy::Forward;

/// Redirects to the path with a slash at its end, so that relative links work.
///
/// # Errors
///
/// 400 for a port that is none.
pub async fn without_slash(call: Call) -> Answered {
    port(&call)?;
    let query = call.query.as_ref().map_or(String::new(), |query| format!("?{query}"));
    let location = HeaderValue::from_str(&format!("{}/{query}", call.path))
        .map_err(|_| Problem::new(kinds::BAD_REQUEST, "the path is not printable ASCII"))?;
    let mut response = reply::empty(StatusCode::PERMANENT_REDIRECT);
    response.headers_mut().insert(LOCATION, location);
    Ok(response)
}

/// Passes a request on, by path.
///
/// # Errors
///
/// 409 when the project does not run, 502 when nothing listens, 504 when it does not answer.
pub async fn by_path(call: Call) -> Answered {
    let key = call.project()?;
    let port = port(&call)?;
    let below = call.raw_param("path");
    let path = format!("/{below}");
    let prefix = call.path[..call.path.len() - below.len()].trim_end_matches('/').to_owned();
    pass(call, &key, port, path, Mount::Path(prefix)).await
}

/// Passes a request on, by host name; see [`Call::preview`].
///
/// # Errors
///
/// 404 for a project of nobody or of somebody else, else as [`by_path`].
pub async fn by_host(mut call: Call) -> Answered {
    let unknown = || Problem::new(kinds::NOT_FOUND, "no project has this preview");
    let preview = call.preview.take().ok_or_else(unknown)?;
    let key = call.context.tree.address(&preview.project).await?;
    if call.principal()?.tenant != key.tenant {
        return Err(unknown());
    }
    let path = call.path.clone();
    pass(call, &key, preview.port, path, Mount::Host).await
}

fn port(call: &Call) -> Result<u16, Problem> {
    let port = call.param("port")?.parse().ok().filter(|port| *port != 0);
    port.ok_or_else(|| Problem::field("port", "must be from 1 to 65535"))
}

async fn pass(call: Call, key: &ProjectKey, port: u16, path: String, mount: Mount) -> Answered {
    let reached = reach(&call.context, key, port).await?;
    reached.forward(call, path, mount).await
}

/// A connection to a server in a sandbox, for one request.
pub(super) struct Reached {
    connection: Connection<Dialled>,
    port: u16,
}

/// Connects to a port of a sandbox.
///
/// # Errors
///
/// 409 when the project does not run, 502 when nothing listens, 429 when there are too many
/// connections.
pub(super) async fn reach(
    context: &Context,
    key: &ProjectKey,
    port: u16,
) -> Result<Reached, Problem> {
    let sandbox = context.tree.sandbox(key).await?;
    let traffic = sandbox.traffic();
    let place = connection::place(&traffic, context.settings.preview_connections_max)?;
    let dialled = listening(sandbox.dial(port).await, port)?;
    Ok(Reached { connection: Connection::new(dialled, traffic, place), port })
}

impl Reached {
    /// Passes a request on as `path`, for a client that sees it below `prefix`.
    ///
    /// # Errors
    ///
    /// 502 when the server breaks the connection off, 504 when it does not answer.
    pub(super) async fn pass(self, call: Call, path: String, prefix: String) -> Answered {
        self.forward(call, path, Mount::Path(prefix)).await
    }

    async fn forward(self, mut call: Call, path: String, mount: Mount) -> Answered {
        let target = match &call.query {
            Some(query) => format!("{path}?{query}"),
            None => path,
        };
        let forward = Forward {
            method: call.method.clone(),
            target,
            headers: std::mem::take(&mut call.headers),
            body: call.take_body(),
            upgrade: call.take_upgrade(),
            peer: call.peer.map(|peer| peer.0.ip()),
            mount,
            port: self.port,
            tasks: call.context.tasks.clone(),
            shutdown: call.context.shutdown.clone(),
        };
        forward.through(self.connection).await
    }
}

/// The tree refuses a port on which nothing listens; for the client of a preview this
/// is a gateway without a server behind it.
fn listening(dialled: Answer<Dialled>, port: u16) -> Result<Dialled, Problem> {
    dialled.map_err(|failure| match failure {
        Failure::Refused(Refusal::Conflict { .. }) => Problem::new(
            kinds::NOTHING_LISTENS,
            format!(
                "nothing listens on port {port} in the sandbox; start a server on 127.0.0.1:{port}"
            ),
        ),
        Failure::Refused(_) | Failure::Faulted(_) => failure.into(),
    })
}

#[cfg(test)]
mod over_http;
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_without_a_server_says_what_to_do() {
        let refusal = Refusal::Conflict { why: "connection refused".into() };
        let problem = listening(Err(refusal.into()), 3000).map(|_| ()).unwrap_err();
        assert_eq!(problem.kind(), kinds::NOTHING_LISTENS);
        assert!(problem.detail().contains("start a server on 127.0.0.1:3000"));
    }
}
