//! Who may ask: decided once for every request, before it is routed.
//!
//! 1. The target is a path. `CONNECT` and `*` are nothing that is served here.
//! 2. The host name is one that this server answers to. A web page whose own name an
//!    attacker points at this machine (DNS rebinding) is stopped here.
//! 3. A request that a browser makes for a web page comes from this server's own origin,
//!    or from one that the configuration names. Without keys on loopback, this is what
//!    stops any page that the user opens from reaching the API.
//! 4. The key, if the configuration has one. Only its hash is kept, and hashes are
//!    compared in constant time.
//!
//! A preview by host name is its own web origin, so its pages are held to the key alone. One
//! dialect's previews by path are for pages of every origin, as its contract wants it: see
//! [`Dialect::is_for_any_origin`].

use std::sync::Arc;

use sandtree_model::Principal;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use warp::http::header::{AUTHORIZATION, HOST, HeaderName, ORIGIN, UPGRADE};
use warp::http::{HeaderMap, HeaderValue, Method, Uri};

use super::context::{EdgeSettings, PreviewHost};
use super::dialects::Dialect;
use super::errors::{Problem, kinds};
use crate::config::Secret;
use crate::config::dialects::Dialects;

/// The header of a key.
pub const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// What a request with another key than ours is told.
pub(super) const KEY_UNKNOWN: &str = "the key is not known";
/// Longest key that is looked at, in bytes.
const KEY_BYTES_MAX: usize = 4096;

/// Where a dialect's clients send their key, besides `X-API-Key` and `Authorization`, which
/// all may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Carriers {
    /// A parameter of the query, on WebSockets alone: browsers can set no header there.
    pub query_of_sockets: Option<&'static str>,
}

/// Decides who may ask.
pub struct Gate {
    key_sha256: Option<[u8; 32]>,
    preview_suffix: Option<String>,
    hosts: Vec<Box<str>>,
    origins: Vec<Box<str>>,
    dialects: Arc<Dialects>,
}

/// A request that may be routed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// Who makes it; nobody on the paths that need no key.
    pub principal: Option<Principal>,
    /// Set when its host name is a preview's.
    pub preview: Option<PreviewHost>,
    /// The web origin to which the answer may be shown, if it is not our own.
    pub cors: Option<HeaderValue>,
}

impl Gate {
    /// The gate of a configuration.
    #[must_use]
    pub fn new(admin_key: Option<&Secret>, settings: &EdgeSettings) -> Self {
        Self {
            key_sha256: admin_key.map(|key| Sha256::digest(key.reveal()).into()),
            preview_suffix: settings.preview_domain.as_ref().map(|domain| format!(".{domain}")),
            hosts: settings.allowed_hosts.clone(),
            origins: settings.allowed_origins.clone(),
            dialects: Arc::clone(&settings.dialects),
        }
    }

    /// Admits a request or says why not. The key is taken out of the headers, so that
    /// nothing behind the gate can pass it on.
    ///
    /// # Errors
    ///
    /// 400, 401, 403 or 421.
    pub fn admit(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &mut HeaderMap,
    ) -> Result<Admitted, Problem> {
        if *method == Method::CONNECT || !uri.path().starts_with('/') {
            let detail = "the target of a request has to be a path that starts with /";
            return Err(Problem::new(kinds::BAD_REQUEST, detail));
        }
        let authority = authority(uri, headers)?;
        let host = host_name(&authority);
        let preview = self.preview(host)?;
        let dialect = match preview {
            None => Dialect::of_path(uri.path()),
            Some(_) => Dialect::Native,
        };
        let mut cors = None;
        if preview.is_none() {
            self.check_host(host)?;
            if !dialect.is_for_any_origin(uri.path()) {
                cors = self.check_origin(&authority, method, headers)?;
            }
        }
        let open = preview.is_none()
            && (dialect.is_open(uri.path())
                || dialect.tells_itself(uri.path(), method, headers.contains_key(UPGRADE)));
        let preflight = *method == Method::OPTIONS && cors.is_some();
        let principal = match self.authenticate(dialect, uri, headers) {
            Ok(principal) => Some(principal),
            Err(_) if open || preflight => None,
            Err(problem) => return Err(problem),
        };
        Ok(Admitted { principal, preview, cors })
    }

    fn authenticate(
        &self,
        dialect: Dialect,
        uri: &Uri,
        headers: &mut HeaderMap,
    ) -> Result<Principal, Problem> {
        let Some(expected) = &self.key_sha256 else {
            return Ok(Principal::of_default_tenant("anonymous"));
        };
        let refused = |detail| Err(Problem::new(kinds::UNAUTHORIZED, detail));
        let key = match sent_key(dialect, uri, headers) {
            Sent::Key(key) => key,
            Sent::OtherScheme => return refused("the Authorization header has no Bearer token"),
            Sent::Nothing if dialect.served(&self.dialects).is_some_and(|it| it.anonymous) => {
                return Ok(Principal::of_anonymous());
            }
            Sent::Nothing if dialect.is_keyed_by_path(uri.path()) => {
                return Ok(Principal::of_default_tenant("session"));
            }
            Sent::Nothing => return refused("send the key as X-API-Key, or as a Bearer token"),
        };
        let is_ours = |key: &[u8]| -> bool {
            let given: [u8; 32] = Sha256::digest(key).into();
            given.ct_eq(expected).into()
        };
        if key.len() > KEY_BYTES_MAX || !is_ours(&key) {
            return refused(KEY_UNKNOWN);
        }
        // Sent twice, it is taken away twice: no sandbox may see it. A header that
        // holds something else is for the program in the sandbox.
        let is_sent_twice = headers.get(AUTHORIZATION).and_then(bearer).is_some_and(is_ours);
        headers.remove(API_KEY);
        if is_sent_twice {
            headers.remove(AUTHORIZATION);
        }
        Ok(Principal::of_admin())
    }

    fn preview(&self, host: &str) -> Result<Option<PreviewHost>, Problem> {
        let Some(suffix) = &self.preview_suffix else { return Ok(None) };
        let Some(label) = host.strip_suffix(suffix.as_str()) else { return Ok(None) };
        let parse = |label: &str| {
            let (port, uid) = label.split_once('-')?;
            let port = port.parse().ok().filter(|port| *port != 0)?;
            Some(PreviewHost { port, project: uid.parse().ok()? })
        };
        let detail = || format!("{host} is not {{port}}-{{uid}}{suffix}");
        parse(label).map(Some).ok_or_else(|| Problem::new(kinds::UNKNOWN_HOST, detail()))
    }

    fn check_host(&self, host: &str) -> Result<(), Problem> {
        let known = is_loopback_name(host)
            || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok()
            || self.hosts.iter().any(|known| **known == *host)
            || (self.hosts.is_empty() && self.key_sha256.is_some());
        let detail = || format!("{host} is not in server.allowed_hosts");
        known.then_some(()).ok_or_else(|| Problem::new(kinds::UNKNOWN_HOST, detail()))
    }

    /// Answers the web origin that asks, if it is an allowed one other than ours.
    fn check_origin(
        &self,
        authority: &str,
        method: &Method,
        headers: &HeaderMap,
    ) -> Result<Option<HeaderValue>, Problem> {
        let refused = |origin: &str| {
            let detail = format!("{origin} is not in server.allowed_origins");
            Err(Problem::new(kinds::FORBIDDEN_ORIGIN, detail))
        };
        let Some(value) = headers.get(ORIGIN) else {
            return if from_other_page(method, headers) {
                refused("another page")
            } else {
                Ok(None)
            };
        };
        let origin = value.to_str().unwrap_or("null").to_ascii_lowercase();
        let own = ["http://", "https://"].iter().filter_map(|scheme| origin.strip_prefix(scheme));
        if own.clone().any(|place| place == authority) {
            return Ok(None);
        }
        match self.origins.iter().any(|known| **known == *origin) {
            true => Ok(Some(value.clone())),
            false => refused(&origin),
        }
    }
}

/// Whether a browser says that another page made it send this. Following a link is
/// allowed, because it changes nothing and its page cannot read the answer.
fn from_other_page(method: &Method, headers: &HeaderMap) -> bool {
    let says = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
    let other = matches!(says("sec-fetch-site"), "cross-site" | "same-site");
    let follows_link = says("sec-fetch-mode") == "navigate" && *method == Method::GET;
    other && (!follows_link || headers.contains_key(UPGRADE))
}

/// Host and port that the request is for, in lower case.
fn authority(uri: &Uri, headers: &HeaderMap) -> Result<String, Problem> {
    if let Some(authority) = uri.authority() {
        return Ok(authority.as_str().to_ascii_lowercase());
    }
    let mut values = headers.get_all(HOST).iter();
    let wrong = |detail| Problem::new(kinds::BAD_REQUEST, detail).at("Host");
    // It comes back in addresses that clients are told.
    let is_plain =
        |host: &str| host.bytes().all(|c| c.is_ascii_alphanumeric() || b"-._:[]".contains(&c));
    match (values.next().map(HeaderValue::to_str), values.next()) {
        (Some(Ok(host)), None) if is_plain(host) => Ok(host.to_ascii_lowercase()),
        (None, _) => Err(wrong("the Host header is missing")),
        (Some(_), _) => Err(wrong("the Host header is not one host name")),
    }
}

/// The host of `host:port`, without the dot that may end it.
fn host_name(authority: &str) -> &str {
    let end_of_ip = authority.rfind(']').unwrap_or(0);
    let host = match authority.rfind(':') {
        Some(colon) if colon > end_of_ip => &authority[..colon],
        Some(_) | None => authority,
    };
    host.strip_suffix('.').unwrap_or(host)
}

fn is_loopback_name(host: &str) -> bool {
    host == "localhost" || host.ends_with(".localhost")
}

/// The key of a request.
enum Sent {
    Key(Vec<u8>),
    /// `Authorization` holds something else.
    OtherScheme,
    Nothing,
}

fn sent_key(dialect: Dialect, uri: &Uri, headers: &HeaderMap) -> Sent {
    if let Some(value) = headers.get(API_KEY) {
        return Sent::Key(value.as_bytes().to_owned());
    }
    if let Some(value) = headers.get(AUTHORIZATION) {
        return bearer(value).map_or(Sent::OtherScheme, |key| Sent::Key(key.to_owned()));
    }
    let by_query = || {
        let name = dialect.carriers().query_of_sockets.filter(|_| headers.contains_key(UPGRADE))?;
        let mut pairs = form_urlencoded::parse(uri.query()?.as_bytes());
        pairs.find(|(known, _)| known == name).map(|(_, value)| value.into_owned().into_bytes())
    };
    by_query().map_or(Sent::Nothing, Sent::Key)
}

fn bearer(value: &HeaderValue) -> Option<&[u8]> {
    let (scheme, token) = value.as_bytes().split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests;
