//! The validator of lines for a shell: the first table that a line is found in refuses it.
//!
//! | what | message |
//! | --- | --- |
//! | nothing in it | `Empty command` |
//! | a text of [`BLOCKED`] | `Blocked command pattern: X` |
//! | a shape of [`DANGEROUS`] | `Dangerous pattern detected` |
//! | a path of [`OUTSIDE`] | `Path traversal detected` |
//! | in strict mode: a command that is not in [`ALLOWED`] | names it and its argument |
//!
//! A line is made clean before it is looked at, so that nothing can hide in what is taken
//! out. A shell runs all of a line, so strict mode looks at every command of it.

use std::sync::LazyLock;

use regex::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};

use super::tables::{ALLOWED, Arguments, BLOCKED, DANGEROUS, FORK_BOMB, HOME, MODERATE, OUTSIDE};
use super::words::commands;
use super::{Refused, Risk, Verdict};
use crate::escapes::without_escapes;

/// Longest command, in characters; what comes after is cut off.
pub const CHARS_MAX: usize = 10_000;

/// How closely commands are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Everything may run, as it is.
    Off,
    /// What is dangerous is refused.
    Normal,
    /// So is everything that is not in [`ALLOWED`].
    Strict,
}

/// Looks at commands.
#[derive(Debug, Clone, Copy)]
pub struct Validator(Mode);

impl Validator {
    /// One of this mode.
    #[must_use]
    pub fn new(mode: Mode) -> Self {
        Self(mode)
    }

    /// Whether a command may run.
    pub fn validate(self, command: &str) -> Verdict {
        let clean = sanitised(command);
        let checked = check(&clean, self.0);
        match (self.0, checked) {
            (Mode::Off, checked) => {
                let risk = checked.map_or(Risk::Dangerous, |()| risk(&clean));
                Verdict::Allowed { risk, command: command.to_owned() }
            }
            (Mode::Normal | Mode::Strict, Ok(())) => {
                Verdict::Allowed { risk: risk(&clean), command: clean }
            }
            (Mode::Normal | Mode::Strict, Err(refused)) => refused.into(),
        }
    }
}

/// A command without NUL and terminal escapes, cut at [`CHARS_MAX`] characters, without
/// white space around it.
#[must_use]
pub fn sanitised(command: &str) -> String {
    let without = command.replace('\0', "");
    let without = without_escapes(&without);
    // One that was cut open by the removal of another is no escape any more.
    let whole = without.chars().filter(|c| *c != '\x1b').take(CHARS_MAX);
    whole.collect::<String>().trim().to_owned()
}

fn check(command: &str, mode: Mode) -> Result<(), Refused> {
    if command.is_empty() {
        return Err(Refused::because("Empty command"));
    }
    let lower = command.to_lowercase();
    let refused = |message: String, patterns| Err(Refused { message, patterns });
    if let Some(found) = blocked(&lower) {
        return refused(format!("Blocked command pattern: {found}"), vec![found]);
    }
    let shapes: Vec<_> = SHAPES.matches(command).iter().map(|row| DANGEROUS[row].0).collect();
    if !shapes.is_empty() {
        return refused("Dangerous pattern detected".to_owned(), shapes);
    }
    if let Some(found) = outside(&lower) {
        return refused("Path traversal detected".to_owned(), vec![found]);
    }
    match mode {
        Mode::Off | Mode::Normal => Ok(()),
        Mode::Strict => check_allowed(command),
    }
}

fn blocked(lower: &str) -> Option<&'static str> {
    let dense: String = lower.split_whitespace().collect();
    let mut texts = BLOCKED.into_iter();
    texts.find(|text| lower.contains(text) || *text == FORK_BOMB && dense.contains(text))
}

fn outside(lower: &str) -> Option<&'static str> {
    OUTSIDE.into_iter().find(|text| lower.contains(text)).or_else(|| {
        let is_other = |(at, _)| {
            let rest = lower[at..].strip_prefix(HOME);
            rest.is_none_or(|rest| rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
        };
        lower.match_indices("/home/").any(is_other).then_some("/home/")
    })
}

fn check_allowed(command: &str) -> Result<(), Refused> {
    let bad_line = |error| Refused::because(format!("Invalid command syntax: {error}"));
    commands(command).map_err(bad_line)?.iter().try_for_each(|words| check_words(words))
}

fn check_words(words: &[String]) -> Result<(), Refused> {
    let Some(program) = words.first() else { return Ok(()) };
    // A program may be named by its path.
    let name = program.rsplit('/').next().unwrap_or(program);
    let row = ALLOWED.iter().find(|(names, _)| names.contains(&name));
    let Some((_, arguments)) = row else {
        return Err(Refused::because(format!("Command '{name}' not in whitelist")));
    };
    match (arguments, words.get(1)) {
        (_, None) | (Arguments::Any, Some(_)) => Ok(()),
        (Arguments::None, Some(_)) => {
            Err(Refused::because(format!("Command '{name}' does not accept arguments")))
        }
        (Arguments::First(first), Some(given)) if first.contains(&given.as_str()) => Ok(()),
        (Arguments::First(_), Some(given)) => {
            Err(Refused::because(format!("Argument '{given}' not allowed for '{name}'")))
        }
    }
}

fn risk(command: &str) -> Risk {
    if RISKY.is_match(command) { Risk::Moderate } else { Risk::Safe }
}

static SHAPES: LazyLock<RegexSet> = LazyLock::new(|| {
    let set = RegexSetBuilder::new(DANGEROUS.map(|(_, shape)| shape))
        .case_insensitive(true)
        .dot_matches_new_line(true)
        .build();
    set.expect("every shape of the table is a regular expression; a test builds them")
});

static RISKY: LazyLock<Regex> = LazyLock::new(|| {
    let words = format!(r"\b(?:{})\b", MODERATE.join("|"));
    let regex = RegexBuilder::new(&words).case_insensitive(true).build();
    regex.expect("the words of the table are letters")
});

#[cfg(test)]
mod tests;
