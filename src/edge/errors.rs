//! The one place where a failure becomes an HTTP status: RFC 9457 problem documents.
//!
//! Handlers answer `Result<Response, Problem>` and use `?` on whatever the tree,
//! the body reader or the path decoder gives them. Every kind of problem has a row
//! among the constants of [`kinds`]: its stable `type`, its title and its status.

use std::time::Duration;

use sandtree_model::{Failure, Fault, Phase, Refusal};
use serde::Serialize;
use serde_json::json;
use warp::http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, SEC_WEBSOCKET_VERSION, UPGRADE,
    WWW_AUTHENTICATE,
};
use warp::http::{HeaderValue, StatusCode};

use super::reply::{self, Response};

/// What every `type` starts with; the slug follows.
pub const TYPE_BASE: &str = "https://sandtree.dev/problems/";

/// One kind of problem: a row of the table in [`kinds`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// Last part of the document's `type`; never changes once released.
    pub slug: &'static str,
    /// The same words for every problem of this kind.
    pub title: &'static str,
    /// HTTP status.
    pub status: u16,
}

/// Every kind of problem there is.
pub mod kinds {
    use super::Kind;

    macro_rules! kinds {
        ($($name:ident = $status:literal $slug:literal $title:literal,)*) => {
            $(
                #[doc = concat!("`", $slug, "`, ", $status, ": ", $title, ".")]
                pub const $name: Kind = Kind { slug: $slug, title: $title, status: $status };
            )*
            /// Every kind, in the order of this table.
            pub const ALL: &[Kind] = &[$($name,)*];
        };
    }

    // The client has to change something.
    kinds! {
        BAD_REQUEST = 400 "bad-request" "the request cannot be understood",
        MALFORMED_BODY = 400 "malformed-body" "the body is not what its media type says",
        INVALID_FIELD = 400 "invalid-field" "a field cannot be used as it is",
        UNAUTHORIZED = 401 "unauthorized" "a key is needed",
        FORBIDDEN_ORIGIN = 403 "forbidden-origin" "requests of this web origin are not served",
        UNKNOWN_ROUTE = 404 "unknown-route" "there is nothing at this path",
        NOT_FOUND = 404 "not-found" "it does not exist",
        METHOD_NOT_ALLOWED = 405 "method-not-allowed" "this path does not know the method",
        NOT_ACCEPTABLE = 406 "not-acceptable" "none of the accepted media types can be sent",
        OUTSIDE = 403 "outside-workspace" "the path leads out of the workspace",
        WRONG_KIND = 409 "wrong-kind" "what is at the path is of another kind",
        NOT_EMPTY = 409 "not-empty" "the directory has content",
        EXISTS = 409 "exists" "it exists already",
        WRONG_PHASE = 409 "wrong-phase" "the project is not in a phase in which this works",
        CONFLICT = 409 "conflict" "another request was first",
        PRECONDITION_FAILED = 412 "precondition-failed" "a condition of the request does not hold",
        TOO_LARGE = 413 "too-large" "it is larger than its limit",
        UNSUPPORTED_MEDIA = 415 "unsupported-media" "the media type is not one that is read here",
        RANGE = 416 "range-not-satisfiable" "the range is outside the file",
        UNKNOWN_HOST = 421 "unknown-host" "this server does not answer to that host name",
        UPGRADE_REQUIRED = 426 "upgrade-required" "this is a WebSocket",
        REJECTED = 422 "command-rejected" "a policy does not let this command run",
        BUSY = 429 "busy" "a limit on things at once is reached",
        IMAGE = 422 "image-unavailable" "the image cannot be had",

        INTERNAL = 500 "internal" "something went wrong here",
        NOT_IMPLEMENTED = 501 "not-implemented" "this is not built yet",
        ENGINE_REFUSED = 502 "engine-refused" "the container engine refused",
        GENERATOR = 502 "generator-failed" "the generator of projects failed",
        NOTHING_LISTENS = 502 "nothing-listens" "nothing listens on that port in the sandbox",
        SANDBOX = 502 "sandbox-unreachable" "the sandbox does not answer",
        ENGINE_AWAY = 503 "engine-away" "the container engine does not answer",
        STORE_AWAY = 503 "store-away" "the store does not answer",
        SHUTTING_DOWN = 503 "shutting-down" "the server is ending",
        TIMED_OUT = 504 "timed-out" "it took longer than it may",
        NO_SPACE = 507 "no-space" "the disk or the quota is full",
    }
}

/// A problem, ready to become a response.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem(Box<Parts>);

#[derive(Debug, Clone, PartialEq)]
struct Parts {
    kind: Kind,
    detail: String,
    field: Option<Box<str>>,
    limit: Option<u64>,
    phase: Option<Phase>,
    retry_after: Option<Duration>,
    allow: Option<String>,
}

/// The document as it is sent.
#[derive(Serialize)]
struct Document<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    phase: Option<&'a str>,
}

impl Problem {
    /// A problem of `kind`; `detail` says what is so in this request.
    #[must_use]
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        let retry_after = matches!(kind.status, 429 | 503).then_some(Duration::from_secs(1));
        let (field, limit, phase, allow) = (None, None, None, None);
        let detail = detail.into();
        Self(Box::new(Parts { kind, detail, field, limit, phase, retry_after, allow }))
    }

    /// A field that cannot be used; `field` is its path in the body, or the name of
    /// the path or query parameter or header.
    #[must_use]
    pub fn field(field: impl Into<Box<str>>, problem: impl std::fmt::Display) -> Self {
        let field = field.into();
        let detail = format!("{field}: {problem}");
        Self::new(kinds::INVALID_FIELD, detail).at(field)
    }

    /// Something of `what` is larger than `limit` bytes.
    #[must_use]
    pub fn too_large(what: &str, limit: u64) -> Self {
        let detail = format!("{what} is larger than {limit} bytes");
        Self::new(kinds::TOO_LARGE, detail).limit(limit)
    }

    /// The path knows other methods only; `allow` is the header's value.
    #[must_use]
    pub fn method_not_allowed(method: &str, allow: String) -> Self {
        let detail = format!("{method} is not one of {allow}");
        let mut problem = Self::new(kinds::METHOD_NOT_ALLOWED, detail);
        problem.0.allow = Some(allow);
        problem
    }

    /// Not built yet.
    #[must_use]
    pub fn not_implemented(what: &str) -> Self {
        Self::new(kinds::NOT_IMPLEMENTED, format!("{what} is not built yet"))
    }

    /// Names the field concerned.
    #[must_use]
    pub fn at(mut self, field: impl Into<Box<str>>) -> Self {
        self.0.field = Some(field.into());
        self
    }

    /// Names the limit that was passed.
    #[must_use]
    pub fn limit(mut self, limit: u64) -> Self {
        self.0.limit = Some(limit);
        self
    }

    /// What kind it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The field concerned, if there is one.
    #[must_use]
    pub fn at_field(&self) -> Option<&str> {
        self.0.field.as_deref()
    }

    /// What is so in this request.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// The same without the name of the field before it, for who calls it otherwise.
    #[must_use]
    pub fn reason(&self) -> &str {
        let named = |field| self.detail().strip_prefix(field)?.strip_prefix(": ");
        self.at_field().and_then(named).unwrap_or(self.detail())
    }

    /// The document, for places that are not responses, such as a last SSE event
    /// or a WebSocket's close.
    #[must_use]
    pub fn document(&self) -> serde_json::Value {
        let document = Document {
            r#type: format!("{TYPE_BASE}{}", self.0.kind.slug),
            title: self.0.kind.title,
            status: self.0.kind.status,
            detail: &self.0.detail,
            field: self.0.field.as_deref(),
            limit: self.0.limit,
            phase: self.0.phase.map(Phase::as_str),
        };
        serde_json::to_value(document).unwrap_or_else(|_| json!({}))
    }

    /// The response. It carries the problem along, so that a dialect can say it in its
    /// own words.
    #[must_use]
    pub fn into_response(mut self) -> Response {
        let status =
            StatusCode::from_u16(self.0.kind.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = reply::bytes(status, self.document().to_string());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(after) = self.0.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
        }
        if let Some(allow) =
            self.0.allow.take().and_then(|allow| HeaderValue::from_str(&allow).ok())
        {
            headers.insert(ALLOW, allow);
        }
        if self.0.kind == kinds::UPGRADE_REQUIRED {
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        }
        if self.0.kind == kinds::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Bearer realm=\"sandtree\"");
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        response.extensions_mut().insert(self);
        response
    }

    /// Writes what is ours into the log, once, where it is answered.
    pub(crate) fn log(&self, route: &'static str) {
        if self.0.kind.status >= 500 {
            tracing::warn!(route, problem = self.0.kind.slug, detail = %self.0.detail, "request failed");
        } else {
            tracing::debug!(route, problem = self.0.kind.slug, detail = %self.0.detail, "refused");
        }
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(refusal) => refusal.into(),
            Failure::Faulted(fault) => fault.into(),
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let detail = refusal.to_string();
        match refusal {
            Refusal::NotFound { .. } => Self::new(kinds::NOT_FOUND, detail),
            Refusal::Exists { .. } => Self::new(kinds::EXISTS, detail),
            Refusal::WrongPhase { phase, .. } => Self::new(kinds::WRONG_PHASE, detail).phase(phase),
            Refusal::Invalid { field, problem } => Self::field(field, problem),
            Refusal::TooLarge { what, limit } => Self::too_large(&what, limit),
            Refusal::Precondition { .. } => Self::new(kinds::PRECONDITION_FAILED, detail),
            Refusal::Conflict { .. } => Self::new(kinds::CONFLICT, detail),
            Refusal::Busy { .. } => Self::new(kinds::BUSY, detail),
        }
    }
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        let detail = fault.to_string();
        match fault {
            Fault::EngineAway(_) => Self::new(kinds::ENGINE_AWAY, detail).retry_after(5),
            Fault::Engine(_) => Self::new(kinds::ENGINE_REFUSED, detail),
            Fault::Image { .. } => Self::new(kinds::IMAGE, detail),
            Fault::StoreAway(_) => Self::new(kinds::STORE_AWAY, detail).retry_after(5),
            Fault::Sandbox(_) => Self::new(kinds::SANDBOX, detail),
            Fault::TimedOut { .. } => Self::new(kinds::TIMED_OUT, detail),
            Fault::Disk(_) | Fault::Internal(_) => Self::internal(&detail),
        }
    }
}

impl Problem {
    /// A fault whose words are for the log alone: they may name paths of the host.
    #[must_use]
    pub fn internal(what: &str) -> Self {
        tracing::error!(what, "internal fault");
        Self::new(kinds::INTERNAL, "the server's log says more")
    }

    /// Names the phase that stood in the way.
    fn phase(mut self, phase: Phase) -> Self {
        self.0.phase = Some(phase);
        self
    }

    fn retry_after(mut self, seconds: u64) -> Self {
        self.0.retry_after = Some(Duration::from_secs(seconds));
        self
    }
}

#[cfg(test)]
mod tests;
