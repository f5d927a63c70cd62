//! What a handler is given: the server's [`Context`] and one [`Call`].

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::upgrade::OnUpgrade;
use metrics_exporter_prometheus::PrometheusHandle;
use percent_encoding::percent_decode_str;
use sandtree_actors::Tree;
use sandtree_model::{Principal, ProjectId, ProjectKey, ProjectUid};
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use warp::http::header::{ACCEPT, HeaderName};
use warp::http::{HeaderMap, Method};

use super::body::{self, Body};
use super::dialects;
use super::errors::{Problem, kinds};
use super::places::Places;
use super::router::Params;
use crate::config::dialects::Dialects;
use crate::config::run::Run;

/// Media type of JSON bodies.
pub const JSON: &str = "application/json";
/// Media type of server-sent events.
pub const EVENT_STREAM: &str = "text/event-stream";
const PREFER: HeaderName = HeaderName::from_static("prefer");

/// The server, as handlers see it; cheap to clone.
#[derive(Clone)]
pub struct Context(Arc<Parts>);

/// What [`Context`] gives access to.
pub struct Parts {
    /// The way to everything that a project can do.
    pub tree: Tree,
    /// Bounds of requests.
    pub settings: EdgeSettings,
    /// Cancelled when the server is told to end; streams and WebSockets then end too.
    pub shutdown: CancellationToken,
    /// Tasks that outlive their handler, such as upgraded connections, are spawned here:
    /// the end of the server waits for them until its deadline.
    pub tasks: TaskTracker,
    /// Places for what takes a thread, a process or a sandbox.
    pub places: Places,
    /// What the dialects remember.
    pub dialects: dialects::State,
    /// Renders the metrics; absent in tests of single handlers.
    pub metrics: Option<PrometheusHandle>,
}

/// Bounds of requests, from the section `server` of the configuration.
#[derive(Debug, Clone)]
pub struct EdgeSettings {
    /// Largest JSON body, in bytes.
    pub json_bytes_max: u64,
    /// Largest file that is uploaded in one request, in bytes.
    pub file_bytes_max: u64,
    /// Largest archive that is uploaded in one request, in bytes, before unpacking.
    pub archive_bytes_max: u64,
    /// Most archives that are packed or unpacked at once.
    pub archives_max: usize,
    /// Most uploads that are written in large blocks at once; more are slower.
    pub fast_uploads_max: usize,
    /// Most searches of files at once; more wait for a while.
    pub searches_max: usize,
    /// Most connections to the ports of one sandbox at once.
    pub preview_connections_max: usize,
    /// Largest message that a WebSocket client may send, in bytes.
    pub websocket_message_bytes_max: usize,
    /// Longest `timeout` of a request that waits for a phase.
    pub wait_max: Duration,
    /// Previews by host name are served below this domain; absent: by path only.
    pub preview_domain: Option<Box<str>>,
    /// Host names that this server answers to, besides loopback's.
    pub allowed_hosts: Vec<Box<str>>,
    /// Web origins, besides the server's own, whose pages may use the API.
    pub allowed_origins: Vec<Box<str>>,
    /// Bounds and languages of one-shot runs.
    pub run: Arc<Run>,
    /// What the clients of other systems get.
    pub dialects: Arc<Dialects>,
}

impl Default for EdgeSettings {
    fn default() -> Self {
        Self {
            json_bytes_max: 1024 * 1024,
            file_bytes_max: 1024 * 1024 * 1024,
            archive_bytes_max: 4 * 1024 * 1024 * 1024,
            archives_max: 32,
            fast_uploads_max: 64,
            searches_max: 8,
            preview_connections_max: 256,
            websocket_message_bytes_max: 1024 * 1024,
            wait_max: Duration::from_secs(600),
            preview_domain: None,
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            run: Arc::default(),
            dialects: Arc::default(),
        }
    }
}

impl Context {
    /// Puts the parts together.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

impl std::ops::Deref for Context {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// The other end of the connection; the accept loop puts it into each request.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// A request whose host name is that of a preview; found before routing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreviewHost {
    /// Port in the sandbox.
    pub port: u16,
    /// Whose sandbox.
    pub project: ProjectUid,
}

/// One request, after authentication and routing.
pub struct Call {
    /// The server.
    pub context: Context,
    /// The method; `HEAD` reaches the handler of `GET`.
    pub method: Method,
    /// The path as it was sent, still percent-encoded.
    pub path: String,
    /// What stood after the question mark, as it was sent.
    pub query: Option<String>,
    /// The headers.
    pub headers: HeaderMap,
    /// The body; take it with [`Call::take_body`] or one of the readers here.
    pub body: Body,
    /// The other end of the connection.
    pub peer: Option<Peer>,
    /// Set when the request came by a preview's host name.
    pub preview: Option<PreviewHost>,
    pub(super) params: Params,
    pub(super) principal: Option<Principal>,
    pub(super) upgrade: Option<OnUpgrade>,
}

impl Call {
    /// Who makes the request.
    ///
    /// # Errors
    ///
    /// 401 on a route that is served without authentication.
    pub fn principal(&self) -> Result<&Principal, Problem> {
        let missing = || Problem::new(kinds::UNAUTHORIZED, "this needs a key");
        self.principal.as_ref().ok_or_else(missing)
    }

    /// The project that the path names, of the tenant that asks.
    ///
    /// # Errors
    ///
    /// 400 for a name that can be no project's.
    pub fn project(&self) -> Result<ProjectKey, Problem> {
        let tenant = self.principal()?.tenant.clone();
        let id = self.param("id")?;
        let id: ProjectId = id.parse().map_err(|error| Problem::field("id", error))?;
        Ok(ProjectKey { tenant, id })
    }

    /// A parameter of the path, percent-decoded once; empty for a name that the route's
    /// template does not have.
    ///
    /// # Errors
    ///
    /// 400 when it is not UTF-8 or holds a NUL.
    pub fn param(&self, name: &'static str) -> Result<String, Problem> {
        decode(name, self.params.get(name).unwrap_or(""))
    }

    /// A parameter of the path as it was sent, for passing it on.
    #[must_use]
    pub fn raw_param(&self, name: &str) -> &str {
        self.params.get(name).unwrap_or("")
    }

    /// Reads the query into a struct; one with `deny_unknown_fields` refuses
    /// parameters that it does not know.
    ///
    /// # Errors
    ///
    /// 400 naming the parameter.
    pub fn query<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        parse_query(self.query.as_deref().unwrap_or(""))
    }

    /// A header's value.
    ///
    /// # Errors
    ///
    /// 400 when it is there twice or is not printable ASCII.
    pub fn header(&self, name: &HeaderName) -> Result<Option<&str>, Problem> {
        let mut values = self.headers.get_all(name).iter();
        let Some(value) = values.next() else {
            return Ok(None);
        };
        let wrong = |what| Problem::field(name.as_str(), what);
        if values.next().is_some() {
            return Err(wrong("is there more than once"));
        }
        value.to_str().map(Some).map_err(|_| wrong("must be printable ASCII"))
    }

    /// Whether the client wants server-sent events rather than JSON.
    #[must_use]
    pub fn wants_event_stream(&self) -> bool {
        self.lists(ACCEPT, EVENT_STREAM)
    }

    /// Whether the client asked for an answer before the work is done.
    #[must_use]
    pub fn prefers_async(&self) -> bool {
        self.lists(PREFER, "respond-async")
    }

    /// Whether a header that is a list has this word in it, with parameters or without.
    fn lists(&self, name: HeaderName, word: &str) -> bool {
        let values = self.headers.get_all(name).iter();
        values.filter_map(|value| value.to_str().ok()).any(|value| {
            let mut words = value.split(',').map(|part| part.split(';').next().unwrap_or(""));
            words.any(|listed| listed.trim().eq_ignore_ascii_case(word))
        })
    }

    /// Takes the body out, to read it as a stream.
    pub fn take_body(&mut self) -> Body {
        std::mem::replace(&mut self.body, Body::empty())
    }

    /// Reads the body as JSON.
    ///
    /// # Errors
    ///
    /// 415 for another media type, 413 with the limit, 400 naming the field.
    pub async fn json<T: DeserializeOwned>(&mut self) -> Result<T, Problem> {
        let limit = self.context.settings.json_bytes_max;
        body::require_media(&self.headers, &[JSON])?;
        body::check_length(&self.headers, limit)?;
        body::parse_json(&self.take_body().read(limit).await?)
    }

    /// As [`Call::json`], but a request without a body is an empty object, whatever media type
    /// it names: many clients name one in every request.
    ///
    /// # Errors
    ///
    /// See [`Call::json`].
    pub async fn json_or_empty<T: DeserializeOwned>(&mut self) -> Result<T, Problem> {
        let limit = self.context.settings.json_bytes_max;
        body::check_length(&self.headers, limit)?;
        let text = self.take_body().read(limit).await?;
        if text.is_empty() {
            return body::parse_json(b"{}");
        }
        body::require_media(&self.headers, &[JSON])?;
        body::parse_json(&text)
    }

    /// The connection, for a protocol other than HTTP; once, and only if the client
    /// asked for an upgrade.
    pub fn take_upgrade(&mut self) -> Option<OnUpgrade> {
        self.upgrade.take()
    }
}

/// Decodes one parameter of a path, once, and checks what comes out.
///
/// # Errors
///
/// 400 when it is not UTF-8 or holds a NUL.
pub fn decode(name: &'static str, raw: &str) -> Result<String, Problem> {
    let text = percent_decode_str(raw)
        .decode_utf8()
        .map_err(|_| Problem::field(name, "must be UTF-8 when percent-decoded"))?;
    if text.contains('\0') {
        return Err(Problem::field(name, "must not hold a NUL"));
    }
    Ok(text.into_owned())
}

/// Reads a query into a struct; see [`Call::query`].
///
/// # Errors
///
/// 400 naming the parameter.
pub fn parse_query<T: DeserializeOwned>(text: &str) -> Result<T, Problem> {
    let pairs = serde_urlencoded::Deserializer::new(form_pairs(text));
    serde_path_to_error::deserialize(pairs).map_err(|error| {
        let path = error.path().to_string();
        body::wrong_field(&path, &error.into_inner().to_string())
    })
}

/// Takes a parameter that may be there many times out of a query: its values, and the query
/// without them.
#[must_use]
pub fn take_repeated(name: &str, text: &str) -> (Vec<String>, String) {
    let (taken, left): (Vec<_>, Vec<_>) = form_pairs(text).partition(|(key, _)| key == name);
    let left = form_urlencoded::Serializer::new(String::new()).extend_pairs(left).finish();
    (taken.into_iter().map(|(_, value)| value.into_owned()).collect(), left)
}

fn form_pairs(text: &str) -> form_urlencoded::Parse<'_> {
    form_urlencoded::parse(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Query {
        limit: Option<u32>,
        phase: Option<String>,
    }

    #[test]
    fn a_query_is_read_and_a_wrong_parameter_is_named() {
        let read = parse_query::<Query>("limit=3&phase=a%20b").unwrap();
        assert_eq!(read, Query { limit: Some(3), phase: Some("a b".to_owned()) });
        for (text, field) in [("limit=x", "limit"), ("odd=1", "odd"), ("limit=1&limit=2", "limit")]
        {
            let problem = parse_query::<Query>(text).unwrap_err();
            assert_eq!(problem.document()["field"], field, "{text}: {problem:?}");
        }
    }

    #[test]
    fn a_repeated_parameter_is_taken_out() {
        let (taken, left) = take_repeated("a", "a=1&b=x%26y&a=2%20&c=");
        assert_eq!((taken, left.as_str()), (vec!["1".to_owned(), "2 ".into()], "b=x%26y&c="));
    }

    #[test]
    fn a_parameter_is_decoded_once() {
        assert_eq!(decode("path", "a%2Fb%20c").unwrap(), "a/b c");
        assert_eq!(decode("path", "%252e").unwrap(), "%2e");
        for bad in ["%ff", "a%00b"] {
            assert!(decode("path", bad).is_err(), "{bad}");
        }
    }
}
