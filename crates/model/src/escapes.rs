//! Escape sequences of terminals, in what people and programs write.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;

/// A text without escape sequences: those that control a terminal, and those that name
/// things to it. One that is not whole stays.
#[must_use]
pub fn without_escapes(text: &str) -> Cow<'_, str> {
    ESCAPES.replace_all(text, "")
}

/// ECMA-48: a control sequence with its parameters, a string with its end, or two
/// characters.
static ESCAPES: LazyLock<Regex> = LazyLock::new(|| {
    let regex = Regex::new(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])");
    regex.expect("a constant regular expression")
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_are_taken_out_and_text_stays() {
        for (text, expected) in [
            ("plain", "plain"),
            ("\x1b[1;31mred\x1b[0m", "red"),
            ("\x1b]0;title\x07text", "text"),
            ("\x1b]8;;https://example.com\x1b\\link\x1b]8;;\x1b\\", "link"),
            ("a\x1bMb", "ab"),
            ("cut off \x1b[3", "cut off \x1b[3"),
        ] {
            assert_eq!(without_escapes(text), expected, "{text:?}");
        }
    }
}
