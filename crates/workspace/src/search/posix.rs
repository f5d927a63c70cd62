//! Extended regular expressions of POSIX, as `grep -E` takes them, in the syntax of the `regex`
//! crate.
//!
//! Where POSIX leaves the meaning open this does what GNU does: a quantifier with nothing before it,
//! a brace that is no interval and a parenthesis that closes nothing mean themselves, and `\w`,
//! `\s`, `\b`, `\<`, `\>` mean what they do there. References to groups cannot be had: they have no
//! bound in time.

use std::iter::Peekable;
use std::str::Chars;

/// What means something in the syntax of the crate, outside of brackets and within.
const SPECIAL: &str = r"\.+*?()|[]{}^$#&-~";

/// Names of classes of characters.
const CLASSES: [&str; 12] = [
    "alnum", "alpha", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space",
    "upper", "xdigit",
];

/// Translates one expression, or says what is wrong with it.
pub(super) fn translate(text: &str) -> Result<String, String> {
    let mut translation = Translation::default();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        translation.step(c, &mut rest)?;
    }
    Ok(translation.out)
}

#[derive(Default)]
struct Translation {
    out: String,
    /// Where the groups that are open begin.
    groups: Vec<usize>,
    /// Where what a quantifier would be about begins.
    atom: Option<usize>,
    /// That has a quantifier already.
    is_quantified: bool,
}

impl Translation {
    fn step(&mut self, c: char, rest: &mut Peekable<Chars<'_>>) -> Result<(), String> {
        match c {
            '\\' => self.escaped(rest.next().ok_or("ends with a backslash")?)?,
            '[' => {
                let class = bracket(rest)?;
                self.push_atom(&class);
            }
            '.' => self.push_atom("."),
            '^' | '$' | '|' => self.push_bare(c),
            '(' => {
                self.groups.push(self.out.len());
                self.push_bare('(');
            }
            ')' => match self.groups.pop() {
                Some(start) => {
                    self.push_bare(')');
                    self.atom = Some(start);
                }
                None => self.push_literal(')'),
            },
            '*' | '+' | '?' => self.quantifier(&c.to_string(), c),
            '{' => match interval(rest.clone()) {
                Some((interval, chars)) if self.atom.is_some() => {
                    rest.by_ref().take(chars).for_each(drop);
                    self.quantifier(&interval, c);
                }
                _ => self.push_literal(c),
            },
            c => self.push_literal(c),
        }
        Ok(())
    }

    fn escaped(&mut self, c: char) -> Result<(), String> {
        match c {
            'w' | 'W' | 's' | 'S' | 'b' | 'B' => self.push_atom(&format!("\\{c}")),
            '<' => self.push_atom(r"\b{start}"),
            '>' => self.push_atom(r"\b{end}"),
            '1'..='9' => return Err(format!("\\{c}: references to groups are not supported")),
            c => self.push_literal(c),
        }
        Ok(())
    }

    fn push_atom(&mut self, atom: &str) {
        self.atom = Some(self.out.len());
        self.is_quantified = false;
        self.out.push_str(atom);
    }

    fn push_literal(&mut self, c: char) {
        self.push_atom(&escaped(c));
    }

    /// What no quantifier can be about.
    fn push_bare(&mut self, c: char) {
        self.out.push(c);
        self.atom = None;
        self.is_quantified = false;
    }

    fn quantifier(&mut self, quantifier: &str, c: char) {
        let Some(atom) = self.atom else {
            return self.push_literal(c);
        };
        if self.is_quantified {
            // `a+?` is no lazy repetition here.
            self.out.insert_str(atom, "(?:");
            self.out.push(')');
        }
        self.out.push_str(quantifier);
        self.is_quantified = true;
    }
}

fn escaped(c: char) -> String {
    if SPECIAL.contains(c) { format!("\\{c}") } else { c.to_string() }
}

/// The interval after an opening brace, and of how many characters it was read.
fn interval(rest: Peekable<Chars<'_>>) -> Option<(String, usize)> {
    let inner: String = rest.take_while(|c| *c != '}').take(16).collect();
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (least, most) = match inner.split_once(',') {
        Some((least, most)) => (least, Some(most)),
        None if inner.is_empty() => return None,
        None => (inner.as_str(), None),
    };
    if !is_number(least) || !most.is_none_or(is_number) {
        return None;
    }
    let least = if least.is_empty() { "0" } else { least };
    let interval = most.map_or(format!("{{{least}}}"), |most| format!("{{{least},{most}}}"));
    Some((interval, inner.len() + 1))
}

/// The rest of a bracket expression, as a class of the crate. A backslash in it is a character.
fn bracket(rest: &mut Peekable<Chars<'_>>) -> Result<String, String> {
    let mut out = String::from("[");
    if rest.next_if_eq(&'^').is_some() {
        out.push('^');
    }
    let mut is_first = true;
    loop {
        let c = rest.next().ok_or("a bracket is not closed")?;
        if c == ']' && !is_first {
            out.push(']');
            return Ok(out);
        }
        is_first = false;
        if c == '[' && rest.next_if_eq(&':').is_some() {
            out.push_str(&class(rest)?);
            continue;
        }
        let from = element(c, rest)?;
        out.push_str(&escaped(from));
        let mut ahead = rest.clone();
        if ahead.next() == Some('-') && ahead.next().is_some_and(|end| end != ']') {
            rest.next();
            let end = rest.next().ok_or("a bracket is not closed")?;
            out.push('-');
            out.push_str(&escaped(element(end, rest)?));
        }
    }
}

/// The class whose name follows, such as `alpha:]`.
fn class(rest: &mut Peekable<Chars<'_>>) -> Result<String, String> {
    let name: String = rest.take_while(|c| *c != ':').take(8).collect();
    if !CLASSES.contains(&name.as_str()) || rest.next() != Some(']') {
        return Err(format!("[:{name}:] is no class of characters"));
    }
    Ok(format!("[:{name}:]"))
}

/// One element of a bracket expression: a character, or `[.x.]` or `[=x=]`.
fn element(c: char, rest: &mut Peekable<Chars<'_>>) -> Result<char, String> {
    let Some(mark) = rest.next_if(|next| c == '[' && matches!(next, '.' | '=')) else {
        return Ok(c);
    };
    let element = rest.next().ok_or("a bracket is not closed")?;
    if rest.next() == Some(mark) && rest.next() == Some(']') {
        return Ok(element);
    }
    Err("elements of more than one character are not supported".into())
}

#[cfg(test)]
mod tests {
    use grep_matcher::Matcher;
    use grep_regex::RegexMatcher;

    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        let translated = translate(pattern).unwrap();
        let matcher = RegexMatcher::new(&translated)
            .unwrap_or_else(|error| panic!("{pattern} became {translated}: {error}"));
        matcher.is_match(text.as_bytes()).unwrap()
    }

    #[test]
    fn an_expression_means_what_it_does_to_grep() {
        for (pattern, text, expected) in [
            ("a.c", "abc", true),
            ("^ab|cd$", "xcd", true),
            ("(ab)+c", "ababc", true),
            ("a{2}", "aa", true),
            ("^a{,2}$", "aa", true),
            ("^a{1,}$", "", false),
            ("a{x}", "a{x}", true),
            ("{1}", "{1}", true),
            ("*a", "*a", true),
            ("(*a)", "*a", true),
            ("a)", "a)", true),
            ("^a+?$", "", true),
            ("^a**$", "aaa", true),
            ("[]a]", "]", true),
            ("[^]a]", "]", false),
            (r"[\d]", "d", true),
            (r"[\d]", "1", false),
            (r"[\]", r"\", true),
            ("[[:digit:]x]", "7", true),
            ("[a-c-]", "-", true),
            ("[+--]", ",", true),
            ("[a&&b]", "&", true),
            ("[a[b]", "[", true),
            ("[[.-.]]", "-", true),
            ("[[=a=]]", "a", true),
            (r"\<for\>", "a for b", true),
            (r"\<for\>", "forge", false),
            (r"\bfoo\b", "a foo", true),
            (r"\w+\s\w", "ab c", true),
            (r"a\.b", "axb", false),
            (r"\(a\)", "(a)", true),
            (r"a\/b", "a/b", true),
            ("#&~-", "#&~-", true),
            ("()", "", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} in {text}");
        }
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        for pattern in ["[a", "a\\", r"(a)\1", "[[:nope:]]", "[[.ab.]]", "[[:alpha:"] {
            assert!(translate(pattern).is_err(), "{pattern}");
        }
        // This is left to the crate.
        assert!(RegexMatcher::new(&translate("(a").unwrap()).is_err());
    }
}
