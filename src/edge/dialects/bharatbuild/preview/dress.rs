//! Headers of a preview that pages of any web origin may use and show in a frame.

use warp::http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    CONTENT_SECURITY_POLICY, HeaderName, X_FRAME_OPTIONS,
};
use warp::http::{HeaderMap, HeaderValue};

/// Headers that are always as they are here, whatever the sandbox says.
const SET: [(HeaderName, &str); 5] = [
    (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    (ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
    (ACCESS_CONTROL_ALLOW_HEADERS, "*"),
    (ACCESS_CONTROL_EXPOSE_HEADERS, "*"),
    (ACCESS_CONTROL_MAX_AGE, "600"),
];

/// The directive that says who may show a page in a frame.
const FRAME_ANCESTORS: &str = "frame-ancestors";

/// Lets pages of any origin read it and show it in a frame; without credentials, so a
/// browser sends none that are not for everybody.
pub(super) fn for_any_origin(headers: &mut HeaderMap) {
    headers.remove(X_FRAME_OPTIONS);
    headers.remove(ACCESS_CONTROL_ALLOW_CREDENTIALS);
    for (name, value) in SET {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let policies: Vec<_> =
        headers.get_all(CONTENT_SECURITY_POLICY).iter().filter_map(without_ancestors).collect();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("frame-ancestors *"));
    for policy in policies {
        headers.append(CONTENT_SECURITY_POLICY, policy);
    }
}

/// A policy without its word on frames; `None` when nothing is left.
fn without_ancestors(policy: &HeaderValue) -> Option<HeaderValue> {
    let text = policy.to_str().ok()?;
    let is_other = |directive: &&str| {
        let name = directive.split_whitespace().next().unwrap_or("");
        !name.is_empty() && !name.eq_ignore_ascii_case(FRAME_ANCESTORS)
    };
    let kept: Vec<_> = text.split(';').map(str::trim).filter(is_other).collect();
    if kept.is_empty() { None } else { HeaderValue::from_str(&kept.join("; ")).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_the_sandbox_says_any_page_may_show_it() {
        let mut headers = HeaderMap::new();
        headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("http://a"));
        headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        let policy = "default-src 'self'; Frame-Ancestors 'none'; img-src *";
        headers.append(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
        headers.append(CONTENT_SECURITY_POLICY, HeaderValue::from_static("frame-ancestors 'none'"));
        for_any_origin(&mut headers);
        assert!(!headers.contains_key(X_FRAME_OPTIONS));
        assert!(!headers.contains_key(ACCESS_CONTROL_ALLOW_CREDENTIALS));
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        let policies: Vec<_> = headers.get_all(CONTENT_SECURITY_POLICY).iter().collect();
        assert_eq!(policies, ["frame-ancestors *", "default-src 'self'; img-src *"]);
    }
}
