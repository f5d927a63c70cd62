//! One text in another, whatever ends the lines of either.

use super::Code;

/// The text with `old` replaced by `new`, and how often.
///
/// A text whose lines end with CR LF is searched for `old` as it is, and then for `old` with
/// such ends.
///
/// # Errors
///
/// The code and the words for it, when `old` is not there, is there more than once and only one
/// is to be replaced, or when the result has more than `bytes_max` bytes.
pub(super) fn replaced(
    text: &str,
    old: &str,
    new: &str,
    replace_all: bool,
    bytes_max: usize,
) -> Result<(String, usize), (Code, String)> {
    let with_cr = |part: &str| part.replace("\r\n", "\n").replace('\n', "\r\n");
    let is_there = !old.is_empty() && text.contains(old);
    let (old, new) = if !is_there && text.contains("\r\n") {
        (with_cr(old), with_cr(new))
    } else {
        (old.to_owned(), new.to_owned())
    };
    let count = if old.is_empty() { 0 } else { text.matches(&old).count() };
    if count == 0 {
        return Err((Code::StringNotFound, not_found(text, &old)));
    }
    if count > 1 && !replace_all {
        let words = format!(
            "String appears {count} times in file. Use replace_all=True to replace all \
             instances, or provide a more specific string with surrounding context."
        );
        return Err((Code::MultipleOccurrences, words));
    }
    let grown = new.len().saturating_sub(old.len()).saturating_mul(count);
    if text.len().saturating_add(grown) > bytes_max {
        return Err((Code::TooLarge, format!("the result is larger than {bytes_max} bytes")));
    }
    Ok((text.replace(&old, &new), count))
}

/// The word alone, or what seems to be wrong with the end of `old`.
fn not_found(text: &str, old: &str) -> String {
    let trimmed = old.trim_end_matches(['\r', '\n']);
    if trimmed.len() < old.len() && !trimmed.is_empty() && text.ends_with(trimmed) {
        return "string_not_found: the string ends with a newline, but the file ends without one"
            .to_owned();
    }
    "string_not_found".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 100;

    #[test]
    fn what_is_there_is_replaced_and_counted() {
        for (text, old, new, all, expected) in [
            ("a b c", "b", "x", false, ("a x c", 1)),
            ("a a a", "a", "bb", true, ("bb bb bb", 3)),
            ("aaa", "aa", "b", true, ("ba", 1)),
            ("a\r\nb\r\n", "a\nb", "c\nd", false, ("c\r\nd\r\n", 1)),
            ("a\r\nb\r\n", "a\r\nb", "c\nd", false, ("c\nd\r\n", 1)),
            ("a\nb\n", "a\nb", "", false, ("\n", 1)),
        ] {
            let (text, count) = replaced(text, old, new, all, MAX).unwrap();
            assert_eq!((text.as_str(), count), expected, "{old:?}");
        }
    }

    #[test]
    fn what_cannot_be_replaced_has_its_code() {
        let refused = |text, old, all| replaced(text, old, "x", all, MAX).unwrap_err();
        let plain = (Code::StringNotFound, "string_not_found".to_owned());
        assert_eq!(refused("abc", "d", false), plain);
        assert_eq!(refused("abc", "", true), plain);
        let (code, words) = refused("abc", "c\n", false);
        assert!(code == Code::StringNotFound && words.contains("newline"), "{words}");
        let (code, words) = refused("a a", "a", false);
        assert!(code == Code::MultipleOccurrences && words.starts_with("String appears 2 times"));
        let much = "y".repeat(MAX);
        assert_eq!(replaced("abc", "b", &much, false, MAX).unwrap_err().0, Code::TooLarge);
    }
}
