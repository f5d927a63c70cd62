//! Headers on their way through a preview, as pure functions.

use std::net::IpAddr;

use warp::http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderName, LOCATION, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use warp::http::{HeaderMap, HeaderValue};

use crate::edge::auth::API_KEY;
use crate::edge::forwarded;
use crate::edge::websocket::has_token;

/// Where a preview is in the client's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mount {
    /// Below this path, which has no slash at its end.
    Path(String),
    /// It has a host name of its own.
    Host,
}

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

/// Headers that concern one connection only (RFC 9110, section 7.6.1).
const HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    KEEP_ALIVE,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    PROXY_CONNECTION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Headers with which a preview by path would change more of our origin than itself.
const OF_THE_ORIGIN: [&str; 8] = [
    "alt-svc",
    "clear-site-data",
    "nel",
    "origin-agent-cluster",
    "report-to",
    "reporting-endpoints",
    "service-worker-allowed",
    "strict-transport-security",
];

/// The protocol that a request or an answer changes to, if it does.
pub(super) fn upgrade_of(headers: &HeaderMap) -> Option<HeaderValue> {
    headers.get(UPGRADE).filter(|_| has_token(headers, &CONNECTION, "upgrade")).cloned()
}

/// Makes a client's headers those of the request in the sandbox.
pub(super) fn into_sandbox(
    headers: &mut HeaderMap,
    upgrade: Option<&HeaderValue>,
    port: u16,
    peer: Option<IpAddr>,
    mount: &Mount,
) {
    let host = headers.get(HOST).cloned();
    // A body of unknown length stays one: hyper asks for this word with some methods.
    let is_chunked = headers.contains_key(TRANSFER_ENCODING);
    strip_hop_by_hop(headers);
    headers.remove(API_KEY);
    headers.remove(EXPECT);
    if is_chunked {
        headers.remove(CONTENT_LENGTH);
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    set(headers, HOST, &format!("localhost:{port}"));
    if let Some(peer) = peer {
        let before = headers.get(FORWARDED_FOR).and_then(|value| value.to_str().ok());
        let all = before.map_or(peer.to_string(), |before| format!("{before}, {peer}"));
        set(headers, FORWARDED_FOR, &all);
    }
    headers.remove(FORWARDED_HOST);
    if let Some(host) = host {
        headers.insert(FORWARDED_HOST, host);
    }
    // Whoever ends TLS before us says so; the word reaches nobody but the tenant's server.
    let proto = if forwarded::is_https(headers) { "https" } else { "http" };
    headers.insert(forwarded::PROTO, HeaderValue::from_static(proto));
    headers.remove(FORWARDED_PREFIX);
    if let Mount::Path(prefix) = mount {
        set(headers, FORWARDED_PREFIX, prefix);
    }
    announce(headers, upgrade);
}

/// Makes the headers of an answer those that the client gets.
pub(super) fn from_sandbox(
    headers: &mut HeaderMap,
    upgrade: Option<&HeaderValue>,
    port: u16,
    mount: &Mount,
) {
    strip_hop_by_hop(headers);
    if let Mount::Path(_) = mount {
        for name in OF_THE_ORIGIN {
            headers.remove(name);
        }
    }
    let location = headers.get(LOCATION).and_then(|value| value.to_str().ok());
    if let Some(location) = location.and_then(|location| relocate(location, port, mount)) {
        set(headers, LOCATION, &location);
    }
    let cookies: Vec<_> = headers.get_all(SET_COOKIE).iter().map(|c| cookie(c, mount)).collect();
    headers.remove(SET_COOKIE);
    for cookie in cookies.into_iter().flatten() {
        headers.append(SET_COOKIE, cookie);
    }
    announce(headers, upgrade);
}

fn announce(headers: &mut HeaderMap, upgrade: Option<&HeaderValue>) {
    if let Some(protocol) = upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol.clone());
    }
}

fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        // Nobody may take these away from the next server (RFC 9110, section 7.6.1).
        .filter(|name| *name != HOST && *name != CONTENT_LENGTH)
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// Where a redirect of the server in the sandbox leads, seen from outside; `None` when
/// it is right as it is.
fn relocate(location: &str, port: u16, mount: &Mount) -> Option<String> {
    let local = ["localhost", "127.0.0.1", "[::1]"]
        .iter()
        .find_map(|host| location.strip_prefix(&format!("http://{host}:{port}")))
        .filter(|rest| rest.is_empty() || rest.starts_with(['/', '?', '#']));
    let path = match local {
        Some(path) => path,
        None if location.starts_with('/') && !location.starts_with("//") => location,
        None => return None,
    };
    let slash = if path.starts_with('/') { "" } else { "/" };
    match mount {
        Mount::Path(prefix) if is_below(path, prefix) => local.map(str::to_owned),
        Mount::Path(prefix) => Some(format!("{prefix}{slash}{path}")),
        Mount::Host => local.map(|path| format!("{slash}{path}")),
    }
}

/// A cookie for this preview alone: never for a domain of several, and by path never
/// for the rest of our origin.
fn cookie(cookie: &HeaderValue, mount: &Mount) -> Option<HeaderValue> {
    let mut parts = cookie.as_bytes().split(|byte| *byte == b';');
    let mut kept = parts.next()?.to_vec();
    for part in parts {
        let part = part.trim_ascii();
        let (name, value) = match part.iter().position(|byte| *byte == b'=') {
            Some(at) => (&part[..at], &part[at + 1..]),
            None => (part, &part[..0]),
        };
        if name.trim_ascii().eq_ignore_ascii_case(b"domain") {
            continue;
        }
        kept.extend_from_slice(b"; ");
        match mount {
            Mount::Path(prefix) if name.trim_ascii().eq_ignore_ascii_case(b"path") => {
                kept.extend_from_slice(b"Path=");
                let value = value.trim_ascii();
                if !std::str::from_utf8(value).is_ok_and(|path| is_below(path, prefix)) {
                    kept.extend_from_slice(prefix.as_bytes());
                }
                kept.extend_from_slice(if value.starts_with(b"/") { value } else { b"/" });
            }
            Mount::Path(_) | Mount::Host => kept.extend_from_slice(part),
        }
    }
    HeaderValue::from_bytes(&kept).ok()
}

/// Whether a path has the prefix already, because the server heeds `X-Forwarded-Prefix`.
fn is_below(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?', '#']))
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    match HeaderValue::from_str(value) {
        Ok(value) => drop(headers.insert(name, value)),
        // Not printable ASCII: then it is better not there than wrong.
        Err(_) => drop(headers.remove(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        let mut headers = HeaderMap::new();
        for (name, value) in pairs.iter().map(pair) {
            headers.append(name, value);
        }
        headers
    }

    fn mount() -> Mount {
        Mount::Path("/v1/projects/p/ports/3000".to_owned())
    }

    #[test]
    fn the_server_in_the_sandbox_sees_a_local_request_and_none_of_our_keys() {
        let mut seen = headers(&[
            ("host", "dev.example:8080"),
            ("x-api-key", "secret"),
            ("authorization", "Basic app"),
            ("connection", "keep-alive, X-Hop, host"),
            ("x-hop", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-authorization", "Basic x"),
            ("te", "trailers"),
            ("expect", "100-continue"),
            ("cookie", "a=b"),
            ("x-forwarded-for", "10.0.0.9"),
            ("x-forwarded-proto", "gopher"),
            ("x-forwarded-prefix", "/evil"),
            ("x-forwarded-host", "evil"),
        ]);
        into_sandbox(&mut seen, None, 3000, Some(IpAddr::from([127, 0, 0, 1])), &mount());
        let expected = headers(&[
            ("host", "localhost:3000"),
            ("authorization", "Basic app"),
            ("cookie", "a=b"),
            ("x-forwarded-for", "10.0.0.9, 127.0.0.1"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-prefix", "/v1/projects/p/ports/3000"),
            ("x-forwarded-host", "dev.example:8080"),
        ]);
        assert_eq!(seen, expected);
    }

    #[test]
    fn an_upgrade_keeps_its_headers_and_the_same_host() {
        let mut seen = headers(&[
            ("host", "x"),
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-key", "k"),
        ]);
        let upgrade = upgrade_of(&seen);
        into_sandbox(&mut seen, upgrade.as_ref(), 80, None, &Mount::Host);
        let expected = headers(&[
            ("host", "localhost:80"),
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-key", "k"),
            ("x-forwarded-host", "x"),
            ("x-forwarded-proto", "http"),
        ]);
        assert_eq!(seen, expected);
        assert_eq!(upgrade_of(&headers(&[("upgrade", "h2c")])), None);
    }

    #[test]
    fn an_answer_cannot_change_more_of_our_origin_than_the_preview() {
        let mut seen = headers(&[
            ("connection", "close, x-internal"),
            ("x-internal", "1"),
            ("transfer-encoding", "chunked"),
            ("service-worker-allowed", "/"),
            ("clear-site-data", "\"*\""),
            ("set-cookie", "a=b; Domain=example.com; Path=/; HttpOnly"),
            ("set-cookie", "c=d"),
            ("location", "/login?next=/"),
            ("content-type", "text/html"),
        ]);
        from_sandbox(&mut seen, None, 3000, &mount());
        let expected = headers(&[
            ("set-cookie", "a=b; Path=/v1/projects/p/ports/3000/; HttpOnly"),
            ("set-cookie", "c=d"),
            ("location", "/v1/projects/p/ports/3000/login?next=/"),
            ("content-type", "text/html"),
        ]);
        assert_eq!(seen, expected);
    }

    #[test]
    fn redirects_lead_back_to_the_preview() {
        let prefix = "/v1/projects/p/ports/3000";
        let full = |path: &str| Some(format!("{prefix}{path}"));
        for (location, by_path, by_host) in [
            ("/x", full("/x"), None),
            ("http://localhost:3000/x", full("/x"), Some("/x".to_owned())),
            ("http://127.0.0.1:3000", full("/"), Some("/".to_owned())),
            ("http://localhost:3000?a", full("/?a"), Some("/?a".to_owned())),
            ("/v1/projects/p/ports/3000/x", None, None),
            ("/v1/projects/p/ports/30000/x", full("/v1/projects/p/ports/30000/x"), None),
            ("http://localhost:30001/x", None, None),
            ("http://localhost:3000.evil/", None, None),
            ("https://example.com/", None, None),
            ("//example.com/", None, None),
            ("relative", None, None),
        ] {
            assert_eq!(relocate(location, 3000, &mount()), by_path, "{location}");
            assert_eq!(relocate(location, 3000, &Mount::Host), by_host, "{location}");
        }
    }

    #[test]
    fn a_cookie_stays_in_its_preview() {
        let through = |text: &'static str, mount: &Mount| {
            let cookie = cookie(&HeaderValue::from_static(text), mount).unwrap();
            cookie.to_str().unwrap().to_owned()
        };
        assert_eq!(through("a=b; Path=/; domain = x", &Mount::Host), "a=b; Path=/");
        assert_eq!(
            through("a=b; Path=/v1/projects/p/ports/3000/", &mount()),
            "a=b; Path=/v1/projects/p/ports/3000/"
        );
        assert_eq!(through("a=b; path=x", &mount()), "a=b; Path=/v1/projects/p/ports/3000/");
        assert_eq!(through("a=b;Secure", &mount()), "a=b; Secure");
    }
}
