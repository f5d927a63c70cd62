//! What every request passes on its way in and out: the gate, the panic guard, the
//! metrics, and the headers that all responses have.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http_body_util::BodyExt;
use http_body_util::combinators::BoxBody;
use hyper::body::Body;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use tokio::time::Instant;
use tracing::{Instrument as _, Span};
use warp::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD,
    CONTENT_SECURITY_POLICY, UPGRADE, VARY, X_CONTENT_TYPE_OPTIONS,
};
use warp::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};

use super::auth::{Admitted, Gate};
use super::context::Context;
use super::dialects::Dialect;
use super::dialects::bharatbuild;
use super::errors::Problem;
use super::reply::{self, Response};
use super::router::Answerer;
use super::{metrics, routes};

/// What a page of an allowed origin may send.
const CORS_METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE";
const CORS_HEADERS: &str = "authorization, content-type, idempotency-key, if-match, \
                            if-none-match, last-event-id, prefer, range, x-api-key";
/// What a page of an allowed origin may read besides the body.
const CORS_EXPOSED: &str = "accept-ranges, content-range, etag, location, retry-after, \
                            x-request-id";

/// The header with the name of a request.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The way in for every request; cheap to clone.
#[derive(Clone)]
pub struct Front {
    gate: Arc<Gate>,
    route: Arc<dyn Fn(Request<Incoming>) -> BoxFuture<'static, Response> + Send + Sync>,
}

/// A request's body, whatever it comes from.
type Incoming = BoxBody<Bytes, std::io::Error>;

impl Front {
    /// Puts the gate before the routes.
    #[must_use]
    pub fn new(gate: Gate, context: &Context) -> Self {
        let service = TowerToHyperService::new(warp::service(routes(context)));
        let route = move |request| {
            let answer = service.call(request);
            async move { answer.await.unwrap_or_else(|never| match never {}) }.boxed()
        };
        Self { gate: gate.into(), route: Arc::new(route) }
    }

    /// Answers one request, whatever happens.
    pub async fn answer<B>(&self, request: Request<B>) -> Response
    where
        B: Body<Data = Bytes> + Send + Sync + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let started = Instant::now();
        let _in_flight = metrics::InFlight::begin();
        let method = request.method().clone();
        let dialect = Dialect::of_path(request.uri().path());
        let is_socket = request.headers().contains_key(UPGRADE);
        let name = dialect.name_of_request(request.uri().path());
        let span = name.as_ref().map_or_else(Span::none, |id| tracing::info_span!("request", id));
        let answer = AssertUnwindSafe(self.admit_and_route(request).instrument(span));
        let response = answer.catch_unwind().await;
        let response =
            response.unwrap_or_else(|_| Problem::internal("a handler panicked").into_response());
        let mut response = dialect.translated(is_socket, response);
        if let Some(name) = name.and_then(|name| HeaderValue::from_str(&name).ok()) {
            // A program behind a preview's host name may have one of its own.
            response.headers_mut().entry(REQUEST_ID).or_insert(name);
        }
        let route = response.extensions().get::<Answerer>().map_or("none", |answerer| answerer.0);
        metrics::answered(route, &method, response.status(), started.elapsed());
        tracing::debug!(route, %method, status = response.status().as_u16(), "answered");
        response
    }

    async fn admit_and_route<B>(&self, request: Request<B>) -> Response
    where
        B: Body<Data = Bytes> + Send + Sync + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (mut parts, body) = request.into_parts();
        let admitted = self.gate.admit(&parts.method, &parts.uri, &mut parts.headers);
        let Admitted { principal, preview, cors } = match admitted {
            Ok(admitted) => admitted,
            Err(problem) => {
                problem.log("gate");
                let mut response = problem.into_response();
                response.extensions_mut().insert(Answerer("gate"));
                return response;
            }
        };
        if cors.is_some() && is_preflight(&parts.method, &parts.headers) {
            return preflight(cors);
        }
        let is_preview = preview.is_some();
        if let Some(principal) = principal {
            parts.extensions.insert(principal);
        }
        if let Some(preview) = preview {
            parts.extensions.insert(preview);
        }
        let body = body.map_err(std::io::Error::other).boxed();
        let mut response = (self.route)(Request::from_parts(parts, body)).await;
        let headers = response.headers_mut();
        show_to(headers, cors);
        if !is_preview && !is_preview_by_path(&response) {
            harden(response.headers_mut());
        }
        response
    }
}

fn is_preview_by_path(response: &Response) -> bool {
    let route = response.extensions().get::<Answerer>();
    route.is_some_and(|Answerer(route)| {
        route.contains("/ports/") || route.starts_with(bharatbuild::PREVIEW)
    })
}

/// A file that somebody uploaded must never run as a page of this origin.
fn harden(headers: &mut HeaderMap) {
    let mut default = |name: HeaderName, value| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    default(X_CONTENT_TYPE_OPTIONS, "nosniff");
    default(CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'; frame-ancestors 'none'");
    default(HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
}

fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    *method == Method::OPTIONS && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

fn preflight(origin: Option<HeaderValue>) -> Response {
    let mut response = reply::empty(StatusCode::NO_CONTENT);
    let headers = response.headers_mut();
    show_to(headers, origin);
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(CORS_METHODS));
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(CORS_HEADERS));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    response
}

fn show_to(headers: &mut HeaderMap, origin: Option<HeaderValue>) {
    let Some(origin) = origin else { return };
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(CORS_EXPOSED));
    headers.append(VARY, HeaderValue::from_static("origin"));
}

#[cfg(test)]
mod tests;
