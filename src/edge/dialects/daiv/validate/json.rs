//! Where Python's reader of JSON gives up, and what it says then. Asked only about texts that
//! ours does not read; nothing recurses.

/// What is wrong with a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fault {
    /// In characters from the beginning.
    pub(super) offset: usize,
    pub(super) what: &'static str,
}

/// The fault of a text that is not JSON. One that Python would read, such as `NaN`, has its
/// fault at the beginning.
pub(super) fn fault(text: &[u8]) -> Fault {
    let mut scanner = Scanner { text, at: 0, open: Vec::new() };
    let (at, what) = scanner.document().err().unwrap_or((0, VALUE));
    let before = text.get(..at).unwrap_or(text);
    Fault { offset: String::from_utf8_lossy(before).chars().count(), what }
}

const VALUE: &str = "Expecting value";
const NAME: &str = "Expecting property name enclosed in double quotes";
const COLON: &str = "Expecting ':' delimiter";
const COMMA: &str = "Expecting ',' delimiter";
const TRAILING_IN_OBJECT: &str = "Illegal trailing comma before end of object";
const TRAILING_IN_ARRAY: &str = "Illegal trailing comma before end of array";

type Scanned<T> = Result<T, (usize, &'static str)>;

struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
    /// The brackets that are open, `{` or `[`.
    open: Vec<u8>,
}

/// What has to come.
enum Next {
    Value,
    Name,
    /// After a value: a comma, a bracket or the end.
    After,
}

impl Scanner<'_> {
    fn document(&mut self) -> Scanned<()> {
        let mut next = Next::Value;
        loop {
            self.blanks();
            next = match next {
                Next::Value => self.value()?,
                Next::Name => self.name()?,
                Next::After => match self.open.last().copied() {
                    Some(bracket) => self.after(bracket)?,
                    None if self.at < self.text.len() => return Err((self.at, "Extra data")),
                    None => return Ok(()),
                },
            };
        }
    }

    /// A value; of an object or an array only its beginning.
    fn value(&mut self) -> Scanned<Next> {
        match self.peek() {
            Some(b'"') => self.string().map(|()| Next::After),
            Some(b'{') => Ok(self.opened(b'{', b'}', Next::Name)),
            Some(b'[') => Ok(self.opened(b'[', b']', Next::Value)),
            Some(b'-' | b'0'..=b'9') => self.number().map(|()| Next::After),
            Some(_) | None => self.word().map(|()| Next::After),
        }
    }

    fn opened(&mut self, bracket: u8, end: u8, first: Next) -> Next {
        self.at += 1;
        self.blanks();
        if self.take(end) {
            return Next::After;
        }
        self.open.push(bracket);
        first
    }

    fn name(&mut self) -> Scanned<Next> {
        if self.peek() != Some(b'"') {
            return Err((self.at, NAME));
        }
        self.string()?;
        self.blanks();
        if self.take(b':') { Ok(Next::Value) } else { Err((self.at, COLON)) }
    }

    fn after(&mut self, bracket: u8) -> Scanned<Next> {
        let (end, trailing, next) = match bracket {
            b'{' => (b'}', TRAILING_IN_OBJECT, Next::Name),
            _ => (b']', TRAILING_IN_ARRAY, Next::Value),
        };
        if self.take(end) {
            self.open.pop();
            return Ok(Next::After);
        }
        let comma = self.at;
        if !self.take(b',') {
            return Err((comma, COMMA));
        }
        self.blanks();
        if self.peek() == Some(end) { Err((comma, trailing)) } else { Ok(next) }
    }

    fn string(&mut self) -> Scanned<()> {
        let begin = self.at;
        self.at += 1;
        loop {
            match self.peek() {
                None => return Err((begin, "Unterminated string starting at")),
                Some(b'"') => break,
                Some(b'\\') => self.escape(begin)?,
                Some(0..=0x1f) => return Err((self.at, "Invalid control character at")),
                Some(_) => self.at += 1,
            }
        }
        self.at += 1;
        Ok(())
    }

    fn escape(&mut self, begin: usize) -> Scanned<()> {
        let backslash = self.at;
        self.at += 1;
        match self.peek() {
            None => return Err((begin, "Unterminated string starting at")),
            Some(b'u') => {
                let digits = self.text.get(self.at + 1..self.at + 5).unwrap_or(&[]);
                if digits.len() != 4 || !digits.iter().all(u8::is_ascii_hexdigit) {
                    return Err((self.at, "Invalid \\uXXXX escape"));
                }
                self.at += 4;
            }
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {}
            Some(_) => return Err((backslash, "Invalid \\escape")),
        }
        self.at += 1;
        Ok(())
    }

    fn number(&mut self) -> Scanned<()> {
        let begin = self.at;
        let _ = self.take(b'-');
        if !self.take(b'0') && self.digits() == 0 {
            self.at = begin;
            return self.word();
        }
        let whole = self.at;
        if self.take(b'.') && self.digits() == 0 {
            self.at = whole;
            return Ok(());
        }
        let mantissa = self.at;
        if self.take(b'e') || self.take(b'E') {
            let _ = self.take(b'+') || self.take(b'-');
            if self.digits() == 0 {
                self.at = mantissa;
            }
        }
        Ok(())
    }

    fn digits(&mut self) -> usize {
        let begin = self.at;
        while self.peek().is_some_and(|character| character.is_ascii_digit()) {
            self.at += 1;
        }
        self.at - begin
    }

    fn word(&mut self) -> Scanned<()> {
        const WORDS: [&[u8]; 6] = [b"null", b"true", b"false", b"NaN", b"Infinity", b"-Infinity"];
        let rest = self.text.get(self.at..).unwrap_or(&[]);
        let word = WORDS.into_iter().find(|word| rest.starts_with(word));
        self.at += word.ok_or((self.at, VALUE))?.len();
        Ok(())
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn take(&mut self, character: u8) -> bool {
        let is_there = self.peek() == Some(character);
        self.at += usize::from(is_there);
        is_there
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_where_python_sees_it() {
        for (text, what, offset) in [
            ("", VALUE, 0),
            ("  ", VALUE, 2),
            ("nope", VALUE, 0),
            ("-", VALUE, 0),
            ("{", NAME, 1),
            ("{a:1}", NAME, 1),
            ("{\"a\" 1}", COLON, 5),
            ("{\"a\":}", VALUE, 5),
            ("{\"a\":1 \"b\"}", COMMA, 7),
            ("{\"a\":1", COMMA, 6),
            ("{\"a\":1,", NAME, 7),
            ("{\"a\":1,}", TRAILING_IN_OBJECT, 6),
            ("[1,", VALUE, 3),
            ("[1 2]", COMMA, 3),
            ("[1,]", TRAILING_IN_ARRAY, 2),
            ("[tru]", VALUE, 1),
            ("[{\"\u{e4}\": [[{}, [", VALUE, 14),
            ("{\"a\":1} x", "Extra data", 8),
            ("1.", "Extra data", 1),
            ("01", "Extra data", 1),
            ("1e+", "Extra data", 1),
            ("\"abc", "Unterminated string starting at", 0),
            ("\"a\u{1}\"", "Invalid control character at", 2),
            ("\"\\q\"", "Invalid \\escape", 1),
            ("\"\\u12\"", "Invalid \\uXXXX escape", 2),
        ] {
            assert_eq!(fault(text.as_bytes()), Fault { offset, what }, "{text:?}");
        }
    }

    #[test]
    fn a_text_may_nest_as_deep_as_it_likes() {
        let deep = "[{\"a\":".repeat(100_000);
        assert_eq!(fault(deep.as_bytes()).what, VALUE);
    }
}
