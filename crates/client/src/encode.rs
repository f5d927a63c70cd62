//! Names in addresses.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What is kept as it is: the unreserved characters of RFC 3986.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// As [`KEPT`], for the paths of files.
const KEPT_IN_PATHS: &AsciiSet = &KEPT.remove(b'/');

/// One segment of a path, such as a project's id.
#[must_use]
pub fn segment(text: &str) -> String {
    utf8_percent_encode(text, KEPT).to_string()
}

/// The path of a file: slashes stay slashes.
#[must_use]
pub fn path(text: &str) -> String {
    utf8_percent_encode(text, KEPT_IN_PATHS).to_string()
}

/// A query, with its question mark; empty if there are no pairs.
#[must_use]
pub fn query(pairs: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (name, value) in pairs {
        text.push(if text.is_empty() { '?' } else { '&' });
        text.push_str(&segment(name));
        text.push('=');
        text.push_str(&segment(value));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_something_in_an_address_is_encoded() {
        assert_eq!(segment("a/b c"), "a%2Fb%20c");
        assert_eq!(path("a/b c?.txt"), "a/b%20c%3F.txt");
        assert_eq!(query(&[]), "");
        assert_eq!(query(&[("path", "a&b"), ("format", "tar")]), "?path=a%26b&format=tar");
    }
}
