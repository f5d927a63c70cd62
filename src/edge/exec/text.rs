//! Bytes of a program as JSON: text where they are text.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

/// A piece of output: text if it is UTF-8, else its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Piece {
    /// UTF-8.
    #[serde(rename = "data")]
    Text(String),
    /// Anything else, in base64.
    #[serde(rename = "base64")]
    Bytes(String),
}

impl Piece {
    /// The whole of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Piece::Text(text.to_owned()),
            Err(_) => Piece::Bytes(STANDARD.encode(bytes)),
        }
    }
}

/// Cuts a stream of bytes into pieces, so that a character which arrives in two parts
/// stays one. At most three bytes wait for the rest of theirs.
#[derive(Debug, Default)]
pub struct Splitter {
    waiting: Vec<u8>,
}

impl Splitter {
    /// The next piece; `None` when there is no whole character yet.
    #[must_use]
    pub fn push(&mut self, bytes: &[u8]) -> Option<Piece> {
        let mut all = std::mem::take(&mut self.waiting);
        all.extend_from_slice(bytes);
        match std::str::from_utf8(&all) {
            Err(error) if error.error_len().is_none() => {
                self.waiting = all.split_off(error.valid_up_to());
            }
            Ok(_) | Err(_) => {}
        }
        (!all.is_empty()).then(|| Piece::of(&all))
    }

    /// What waits for more that does not come.
    #[must_use]
    pub fn finish(&mut self) -> Option<Piece> {
        let rest = std::mem::take(&mut self.waiting);
        (!rest.is_empty()).then(|| Piece::of(&rest))
    }
}

/// As text, with U+FFFD for what is not UTF-8. A character that `cut` bytes of output
/// ended in the middle of is left out.
#[must_use]
pub fn lossy(mut bytes: Vec<u8>, cut: bool) -> String {
    if cut
        && let Some(last) = bytes.utf8_chunks().last()
        && !last.invalid().is_empty()
        && last.invalid().len() < 4
    {
        let whole = bytes.len() - last.invalid().len();
        let is_only_short =
            std::str::from_utf8(last.invalid()).is_err_and(|error| error.error_len().is_none());
        if is_only_short {
            bytes.truncate(whole);
        }
    }
    match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(text: &str) -> Option<Piece> {
        Some(Piece::Text(text.to_owned()))
    }

    #[test]
    fn a_character_in_two_parts_stays_one() {
        let mut splitter = Splitter::default();
        let euro = "€".as_bytes();
        assert_eq!(splitter.push(b"a"), text("a"));
        assert_eq!(splitter.push(&euro[..1]), None);
        assert_eq!(splitter.push(&euro[1..2]), None);
        assert_eq!(splitter.push(&[euro[2], b'b']), text("€b"));
        assert_eq!(splitter.finish(), None);
    }

    #[test]
    fn bytes_that_are_no_text_come_in_base64() {
        let mut splitter = Splitter::default();
        assert_eq!(splitter.push(b"a\xffb"), Some(Piece::Bytes("Yf9i".to_owned())));
        assert_eq!(splitter.push(b"x\xe2"), text("x"));
        assert_eq!(splitter.push(b"y"), Some(Piece::Bytes("4nk=".to_owned())));
        assert_eq!(splitter.push(b"\xf0\x9f"), None);
        assert_eq!(splitter.finish(), Some(Piece::Bytes("8J8=".to_owned())));
        let piece = serde_json::to_string(&Piece::of(b"a\n")).unwrap();
        assert_eq!(piece, r#"{"data":"a\n"}"#);
    }

    #[test]
    fn a_cut_character_is_left_out_and_a_wrong_one_is_shown() {
        assert_eq!(lossy("a€".as_bytes()[..3].to_vec(), true), "a");
        assert_eq!(lossy("a€".as_bytes()[..3].to_vec(), false), "a\u{fffd}");
        assert_eq!(lossy(b"a\xff".to_vec(), true), "a\u{fffd}");
        assert_eq!(lossy(b"ab".to_vec(), true), "ab");
    }

    proptest! {
        #[test]
        fn nothing_is_lost_or_changed(chunks in prop::collection::vec(
            prop_oneof![any::<Vec<u8>>(), "[aé€😀]{0,4}".prop_map(String::into_bytes)], 0..12,
        )) {
            let mut splitter = Splitter::default();
            let mut out = Vec::new();
            let mut add = |piece: Option<Piece>| match piece {
                Some(Piece::Text(text)) => out.extend_from_slice(text.as_bytes()),
                Some(Piece::Bytes(text)) => out.extend(STANDARD.decode(text).unwrap()),
                None => {}
            };
            for chunk in &chunks {
                add(splitter.push(chunk));
                prop_assert!(splitter.waiting.len() < 4);
            }
            add(splitter.finish());
            prop_assert_eq!(out, chunks.concat());
        }
    }
}
