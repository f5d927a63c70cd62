//! Output as lines: one for each that is whole, and the beginning of one that is long.

/// A line that is not whole is told when it has more characters.
const PARTIAL_CHARS_MAX: usize = 80;

/// Cuts a stream of bytes into lines. What waits for its end is short, whatever comes.
#[derive(Debug, Default)]
pub(super) struct Lines {
    waiting: Vec<u8>,
}

impl Lines {
    /// The lines that are whole now, without their ends, and then what is long of the next.
    #[must_use]
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        self.waiting.extend_from_slice(bytes);
        let mut lines = Vec::new();
        let mut begin = 0;
        while let Some(length) = self.waiting[begin..].iter().position(|byte| *byte == b'\n') {
            lines.push(text(&self.waiting[begin..begin + length]));
            begin += length + 1;
        }
        self.waiting.drain(..begin);
        lines.extend(self.long());
        lines
    }

    /// What is left at the end.
    #[must_use]
    pub(super) fn finish(&mut self) -> Option<String> {
        let rest = std::mem::take(&mut self.waiting);
        (!rest.is_empty()).then(|| text(&rest))
    }

    /// A long beginning of a line, but not half of its last character.
    fn long(&mut self) -> Option<String> {
        if self.waiting.len() <= PARTIAL_CHARS_MAX {
            return None;
        }
        let whole = match std::str::from_utf8(&self.waiting) {
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            Ok(_) | Err(_) => self.waiting.len(),
        };
        let beginning = String::from_utf8_lossy(&self.waiting[..whole]).into_owned();
        if beginning.chars().count() <= PARTIAL_CHARS_MAX {
            return None;
        }
        self.waiting.drain(..whole);
        Some(beginning)
    }
}

fn text(bytes: &[u8]) -> String {
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_is_told_when_it_is_whole() {
        let mut lines = Lines::default();
        assert_eq!(lines.push(b"a\r\nb"), ["a"]);
        assert_eq!(lines.push(b"c\n\nd\n"), ["bc", "", "d"]);
        assert_eq!(lines.push(b"end"), [""; 0]);
        assert_eq!(lines.finish().unwrap(), "end");
        assert_eq!(lines.finish(), None);
    }

    #[test]
    fn a_long_beginning_is_told_at_once() {
        let mut lines = Lines::default();
        assert_eq!(lines.push(&[b'x'; 80]), [""; 0]);
        assert_eq!(lines.push(b"y"), [format!("{}y", "x".repeat(80))]);
        assert_eq!(lines.push(b"z\n"), ["z"]);
    }

    #[test]
    fn a_character_is_never_cut() {
        let mut lines = Lines::default();
        let text = "€".repeat(81);
        let (head, tail) = text.as_bytes().split_at(text.len() - 1);
        assert_eq!(lines.push(head), [""; 0], "80 whole characters wait");
        assert_eq!(lines.push(tail), [text]);
        assert_eq!(lines.push(b"\xff\n"), ["\u{fffd}"]);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_little_waits(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..20),
        ) {
            let mut lines = Lines::default();
            let mut told = 0;
            for piece in &pieces {
                told += lines.push(piece).len();
                prop_assert!(lines.waiting.len() <= PARTIAL_CHARS_MAX * 4 + 3);
            }
            told += lines.finish().into_iter().count();
            let ends = pieces.concat().iter().filter(|byte| **byte == b'\n').count();
            prop_assert!(told >= ends);
        }
    }
}
