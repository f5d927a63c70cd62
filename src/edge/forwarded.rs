//! What a proxy before this server says of the client's connection.

use warp::http::{HeaderMap, HeaderName};

/// The scheme by which the client reaches the proxy.
pub(super) const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Whether TLS ends before this server. Each proxy on the way may have added its own
/// scheme behind a comma; the client's is the first.
///
/// Anybody can send the header, so it decides nothing but how addresses are written.
pub(super) fn is_https(headers: &HeaderMap) -> bool {
    let said = headers.get(PROTO).and_then(|value| value.to_str().ok());
    let first = said.and_then(|said| said.split(',').next());
    first.is_some_and(|scheme| scheme.trim().eq_ignore_ascii_case("https"))
}

#[cfg(test)]
mod tests {
    use warp::http::HeaderValue;

    use super::*;

    #[test]
    fn the_first_scheme_is_the_clients() {
        for (said, expected) in [
            ("https", true),
            ("HTTPS", true),
            ("https, http", true),
            (" https ,http", true),
            ("http", false),
            ("http, https", false),
            ("httpsx", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(PROTO, HeaderValue::from_static(said))]);
            assert_eq!(is_https(&headers), expected, "{said:?}");
        }
        assert!(!is_https(&HeaderMap::new()));
    }
}
