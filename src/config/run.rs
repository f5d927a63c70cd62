//! The section `run`: bounds of one-shot runs, and the languages that they know.

use std::collections::BTreeMap;
use std::time::Duration;

use super::layers::Key;
use super::reader::Reader;
use super::sections::{HOUR, KIB, MIB, image};

/// `[run]`.
#[derive(Debug, Clone)]
pub struct Run {
    /// Most runs at once; more are answered 429.
    pub runs_max: usize,
    /// Time of a run whose request names none.
    pub timeout: Duration,
    /// The longest time that a request can name.
    pub timeout_max: Duration,
    /// Largest request, in bytes.
    pub request_bytes_max: u64,
    /// Most bytes of the files in an answer, before they are packed.
    pub files_bytes_max: u64,
    /// `[run.languages]`.
    pub languages: BTreeMap<Box<str>, Language>,
}

/// As the built-in file says, without languages: for tests of single handlers.
impl Default for Run {
    fn default() -> Self {
        Self {
            runs_max: 64,
            timeout: Duration::from_secs(600),
            timeout_max: Duration::from_secs(HOUR),
            request_bytes_max: 64 * MIB,
            files_bytes_max: 32 * MIB,
            languages: BTreeMap::new(),
        }
    }
}

/// One row of `[run.languages]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Language {
    /// The profile of its sandbox.
    pub profile: Box<str>,
    /// The image; empty: the profile's.
    pub image: Box<str>,
    /// What the source is written to.
    pub file: Box<str>,
    /// What runs it.
    pub command: Vec<Box<str>>,
    /// What installs dependencies, whose names are added; empty: there are none.
    pub dependencies: Vec<Box<str>>,
}

pub(super) fn run(r: &mut Reader) -> Run {
    let key = |name| Key::of(["run", name]);
    Run {
        runs_max: r.count(&key("runs_max"), 1..=10_000),
        timeout: r.span(&key("timeout"), 1..=24 * HOUR),
        timeout_max: r.span(&key("timeout_max"), 1..=24 * HOUR),
        request_bytes_max: r.number(&key("request_bytes_max"), KIB..=256 * MIB),
        files_bytes_max: r.number(&key("files_bytes_max"), KIB..=256 * MIB),
        languages: r
            .below(&Key::of(["run", "languages"]))
            .into_iter()
            .map(|name| {
                let language = language(r, &name);
                (name, language)
            })
            .collect(),
    }
}

fn language(r: &mut Reader, name: &str) -> Language {
    let key = |field| Key::of(["run", "languages", name, field]);
    Language {
        profile: r.text(&key("profile"), "the name of a profile", |text| {
            (!text.is_empty()).then_some(()).ok_or_else(|| "is empty".to_owned())
        }),
        image: r.text(&key("image"), "the name of an image, or empty", |text| {
            if text.is_empty() { Ok(()) } else { image(text) }
        }),
        file: r.text(&key("file"), "the name of a file", |text| {
            let fine = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            let named = !text.is_empty() && !text.starts_with('.') && text.chars().all(fine);
            named.then_some(()).ok_or_else(|| "is not the name of a file".to_owned())
        }),
        command: r.list(&key("command"), "a program and its arguments", argument),
        dependencies: r.list(&key("dependencies"), "a program and its arguments", argument),
    }
}

fn argument(text: &str) -> Result<Box<str>, String> {
    let fine = !text.contains('\0');
    fine.then(|| text.into()).ok_or_else(|| "has a NUL".to_owned())
}
