//! A line for a POSIX shell, cut into the commands that it chains and their words.
//!
//! Quotes and backslashes are taken away as a shell does it; nothing is expanded. It errs
//! on the side of more commands: what a policy does not find here it must not miss.

/// Why a line is not one for a shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadLine {
    /// A quotation is open at its end.
    #[error("no closing quotation")]
    OpenQuote,
    /// It ends with a backslash.
    #[error("no character after a backslash")]
    LoneBackslash,
}

/// The words of a line that is one command, whatever operators are in it.
///
/// # Errors
///
/// [`BadLine`].
pub fn words(line: &str) -> Result<Vec<String>, BadLine> {
    Ok(commands(line)?.into_iter().flatten().collect())
}

/// The words of each command of a line: what `;`, `&`, `|`, their doubles, parentheses and
/// ends of lines are between. Redirections belong to their command, as words.
///
/// # Errors
///
/// [`BadLine`].
pub fn commands(line: &str) -> Result<Vec<Vec<String>>, BadLine> {
    let mut cutter = Cutter::default();
    let mut rest = line.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\'' => cutter.quoted(&mut rest)?,
            '"' => cutter.double_quoted(&mut rest)?,
            '\\' => cutter.add(rest.next().ok_or(BadLine::LoneBackslash)?),
            // `2>&1` and `>|` are redirections, and so is `&>`.
            '>' | '<' => {
                cutter.end_word();
                while rest.next_if(|c| matches!(c, '>' | '<' | '&' | '|')).is_some() {}
            }
            '&' if rest.peek() == Some(&'>') => cutter.end_word(),
            ';' | '&' | '|' | '(' | ')' | '\n' => cutter.end_command(),
            c if c.is_whitespace() => cutter.end_word(),
            c => cutter.add(c),
        }
    }
    cutter.end_command();
    Ok(cutter.commands)
}

#[derive(Default)]
struct Cutter {
    commands: Vec<Vec<String>>,
    words: Vec<String>,
    /// The word that is being read; one of quotes alone is empty and there.
    word: Option<String>,
}

impl Cutter {
    fn add(&mut self, c: char) {
        self.word.get_or_insert_default().push(c);
    }

    fn end_word(&mut self) {
        self.words.extend(self.word.take());
    }

    fn end_command(&mut self) {
        self.end_word();
        if !self.words.is_empty() {
            self.commands.push(std::mem::take(&mut self.words));
        }
    }

    fn quoted(&mut self, rest: &mut impl Iterator<Item = char>) -> Result<(), BadLine> {
        self.word.get_or_insert_default();
        loop {
            match rest.next().ok_or(BadLine::OpenQuote)? {
                '\'' => return Ok(()),
                c => self.add(c),
            }
        }
    }

    fn double_quoted(&mut self, rest: &mut impl Iterator<Item = char>) -> Result<(), BadLine> {
        self.word.get_or_insert_default();
        loop {
            match rest.next().ok_or(BadLine::OpenQuote)? {
                '"' => return Ok(()),
                '\\' => match rest.next().ok_or(BadLine::OpenQuote)? {
                    c @ ('"' | '\\' | '$' | '`') => self.add(c),
                    '\n' => {}
                    c => {
                        self.add('\\');
                        self.add(c);
                    }
                },
                c => self.add(c),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_is_cut_as_a_shell_would() {
        let rows: [(&str, &[&[&str]]); 13] = [
            ("", &[]),
            ("  npm  install ", &[&["npm", "install"]]),
            ("a && b -c || d", &[&["a"], &["b", "-c"], &["d"]]),
            ("a;b|c&d\ne", &[&["a"], &["b"], &["c"], &["d"], &["e"]]),
            ("(a; b)", &[&["a"], &["b"]]),
            ("a 2>&1", &[&["a", "2", "1"]]),
            ("a >| f &> g", &[&["a", "f", "g"]]),
            ("a 'b ; c' \"d && e\"", &[&["a", "b ; c", "d && e"]]),
            (r#"a "x\"y\z" 'p\q'"#, &[&["a", r#"x"y\z"#, r"p\q"]]),
            (r"a\ b \; c", &[&["a b", ";", "c"]]),
            ("a '' \"\"", &[&["a", "", ""]]),
            ("a'b'\"c\"d", &[&["abcd"]]),
            ("l's'", &[&["ls"]]),
        ];
        for (line, expected) in rows {
            assert_eq!(commands(line).unwrap(), expected, "{line:?}");
        }
        assert_eq!(words("a && b").unwrap(), ["a", "b"]);
    }

    #[test]
    fn a_line_that_does_not_end_is_told() {
        for line in ["'a", "\"a", "\"a\\", "\"a\\\""] {
            assert_eq!(commands(line), Err(BadLine::OpenQuote), "{line}");
        }
        assert_eq!(commands("a\\"), Err(BadLine::LoneBackslash));
    }

    proptest! {
        #[test]
        fn words_in_quotes_come_back_whole(texts in prop::collection::vec("[^']{0,20}", 1..5)) {
            let line: Vec<_> = texts.iter().map(|text| format!("'{text}'")).collect();
            prop_assert_eq!(commands(&line.join(" ")).unwrap(), [texts]);
        }
    }
}
