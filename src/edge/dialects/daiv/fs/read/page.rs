//! Lines of a file that is read in pieces: a page of them and the number of all, in the memory
//! of a page.

/// What came of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Paged {
    /// Nothing is in it.
    Empty,
    /// It is no text; all of it.
    Binary(Vec<u8>),
    /// The lines of the page.
    Text {
        /// Joined, without the end of the last one.
        content: String,
        /// Whole lines in it.
        lines: u64,
        /// Lines of the file.
        total_lines: u64,
        /// The page is longer than it may be, and `content` its beginning.
        is_cut: bool,
    },
}

/// Takes a file in pieces.
pub(super) struct Pager {
    first: u64,
    last: u64,
    bytes_max: usize,
    /// The beginning of the file, for when it turns out to be no text.
    begin: Vec<u8>,
    /// The page, line ends included.
    page: Vec<u8>,
    is_cut: bool,
    /// The beginning of a character whose rest is to come.
    partial: Vec<u8>,
    is_text: bool,
    /// Lines that have ended.
    ended: u64,
    bytes: u64,
    ends_with_line: bool,
}

impl Pager {
    pub(super) fn new(offset: u64, limit: u64, bytes_max: usize) -> Self {
        Self {
            first: offset,
            last: offset.saturating_add(limit),
            bytes_max,
            begin: Vec::new(),
            page: Vec::new(),
            is_cut: false,
            partial: Vec::new(),
            is_text: true,
            ended: 0,
            bytes: 0,
            ends_with_line: true,
        }
    }

    pub(super) fn push(&mut self, piece: &[u8]) {
        self.bytes += piece.len() as u64;
        let room = (self.bytes_max + 1).saturating_sub(self.begin.len());
        self.begin.extend_from_slice(&piece[..piece.len().min(room)]);
        self.is_text = self.is_text && self.goes_on_as_text(piece);
        if !self.is_text {
            return;
        }
        for line in piece.split_inclusive(|byte| *byte == b'\n') {
            if (self.first..self.last).contains(&self.ended) {
                self.keep(line);
            }
            self.ends_with_line = line.ends_with(b"\n");
            self.ended += u64::from(self.ends_with_line);
        }
    }

    /// Whether it is no text and more than may be shown of one.
    pub(super) fn is_large_binary(&self) -> bool {
        !self.is_text && self.bytes > self.bytes_max as u64
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn finish(self) -> Paged {
        if self.bytes == 0 {
            return Paged::Empty;
        }
        if !self.is_text || !self.partial.is_empty() {
            return Paged::Binary(self.begin);
        }
        let total_lines = self.ended + u64::from(!self.ends_with_line);
        let text = String::from_utf8_lossy(&self.page);
        // A character that was cut is left out.
        let text = text.trim_end_matches('\u{fffd}');
        let lines = text.matches('\n').count() as u64;
        let lines = lines + u64::from(!self.is_cut && !text.is_empty() && !text.ends_with('\n'));
        let content: Vec<&str> = text.lines().collect();
        Paged::Text { content: content.join("\n"), lines, total_lines, is_cut: self.is_cut }
    }

    fn keep(&mut self, line: &[u8]) {
        let room = self.bytes_max - self.page.len();
        self.is_cut |= line.len() > room;
        self.page.extend_from_slice(&line[..line.len().min(room)]);
    }

    fn goes_on_as_text(&mut self, piece: &[u8]) -> bool {
        let mut rest = piece;
        // The rest of a character that began in the piece before.
        while !self.partial.is_empty() && !rest.is_empty() {
            self.partial.push(rest[0]);
            rest = &rest[1..];
            match std::str::from_utf8(&self.partial) {
                Ok(_) => self.partial.clear(),
                Err(error) if error.error_len().is_none() => {}
                Err(_) => return false,
            }
        }
        match std::str::from_utf8(rest) {
            Ok(_) => true,
            Err(error) if error.error_len().is_none() => {
                self.partial = rest[error.valid_up_to()..].to_vec();
                true
            }
            Err(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn paged(bytes: &[u8], offset: u64, limit: u64, max: usize, piece: usize) -> Paged {
        let mut pager = Pager::new(offset, limit, max);
        bytes.chunks(piece.max(1)).for_each(|piece| pager.push(piece));
        pager.finish()
    }

    fn text(content: &str, lines: u64, total_lines: u64) -> Paged {
        Paged::Text { content: content.to_owned(), lines, total_lines, is_cut: false }
    }

    #[test]
    fn a_page_is_lines_without_the_end_of_the_last() {
        for (bytes, offset, limit, expected) in [
            ("a\nb\nc\n", 0, 9, text("a\nb\nc", 3, 3)),
            ("a\nb\nc", 0, 9, text("a\nb\nc", 3, 3)),
            ("a\r\nb\r\n", 0, 9, text("a\nb", 2, 2)),
            ("a\nb\nc\n", 1, 1, text("b", 1, 3)),
            ("a\nb\nc", 2, 1, text("c", 1, 3)),
            ("\n\n", 0, 9, text("\n", 2, 2)),
            ("a\nb", 2, 9, text("", 0, 2)),
        ] {
            assert_eq!(paged(bytes.as_bytes(), offset, limit, 100, 2), expected, "{bytes:?}");
        }
        assert_eq!(paged(b"", 0, 9, 100, 1), Paged::Empty);
    }

    #[test]
    fn a_page_that_is_too_long_is_cut_and_counts_whole_lines() {
        let cut = |content: &str, lines, total_lines| Paged::Text {
            content: content.to_owned(),
            lines,
            total_lines,
            is_cut: true,
        };
        assert_eq!(paged(b"abc\ndef\n", 0, 9, 6, 3), cut("abc\nde", 1, 2));
        assert_eq!(paged(b"abcdefgh", 0, 9, 3, 100), cut("abc", 0, 1));
        assert_eq!(paged("a\u{20ac}".as_bytes(), 0, 9, 2, 100), cut("a", 0, 1));
    }

    #[test]
    fn what_is_no_text_is_all_there_or_known_to_be_too_much() {
        assert_eq!(paged(b"a\xff", 0, 9, 100, 1), Paged::Binary(b"a\xff".to_vec()));
        assert_eq!(paged(b"a\xe2\x82", 0, 9, 100, 1), Paged::Binary(b"a\xe2\x82".to_vec()));
        let mut pager = Pager::new(0, 9, 3);
        pager.push(b"\xff..");
        assert!(!pager.is_large_binary());
        pager.push(b".");
        assert!(pager.is_large_binary());
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(content in "[a\u{20ac}\r\n]{0,30}", offset in 0_u64..5, limit in 1_u64..5, piece in 1_usize..8) {
            let whole = paged(content.as_bytes(), offset, limit, 1000, 1000);
            prop_assert_eq!(paged(content.as_bytes(), offset, limit, 1000, piece), whole);
        }
    }
}
