//! Globs: what one means, and many of them at once.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::{Case, SearchError};

/// A pattern of names or of paths.
///
/// `*` and `?` stay within a name, `**/` goes across any number of directories, `[a-z]` and
/// `[!a-z]` are classes. A bracket without its partner means itself. A leading dot is matched like
/// any other character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    text: String,
    of: Of,
    /// `{a,b}` and `\` mean something.
    is_extended: bool,
}

/// What a glob is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    /// The last component.
    Name,
    /// The whole path, from where the search starts.
    Path,
}

impl Glob {
    /// As editors take them: with a slash in it (except at the end) it is a glob of paths, otherwise
    /// of names, at any level. `{a,b}` is a choice, and `\` takes the meaning from what follows.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let trimmed = text.trim_end_matches('/');
        let (of, text) = match trimmed.strip_prefix("./").or_else(|| trimmed.strip_prefix('/')) {
            Some(anchored) => (Of::Path, anchored),
            None if trimmed.contains('/') => (Of::Path, trimmed),
            None => (Of::Name, trimmed),
        };
        Self { text: text.to_owned(), of, is_extended: true }
    }

    /// A plain glob of names, as `fnmatch` takes it.
    #[must_use]
    pub fn of_name(text: &str) -> Self {
        Self { text: text.to_owned(), of: Of::Name, is_extended: false }
    }

    /// A plain glob of paths from where the search starts.
    #[must_use]
    pub fn of_path(text: &str) -> Self {
        Self { text: text.to_owned(), of: Of::Path, is_extended: false }
    }

    /// Whether they can be compiled.
    ///
    /// # Errors
    ///
    /// [`SearchError::Glob`], naming the first that cannot.
    pub fn check(globs: &[Glob]) -> Result<(), SearchError> {
        Globs::compile(globs, Case::Sensitive).map(drop)
    }

    fn compile(&self, case: Case) -> Result<globset::Glob, SearchError> {
        GlobBuilder::new(&self.prepared())
            .literal_separator(true)
            .backslash_escape(self.is_extended)
            .empty_alternates(true)
            .case_insensitive(case == Case::Insensitive)
            .build()
            .map_err(|error| SearchError::Glob {
                glob: self.text.clone(),
                why: error.kind().to_string(),
            })
    }

    /// The text as `globset` takes it: what means itself here and something else there is put into
    /// brackets.
    fn prepared(&self) -> String {
        let mut out = String::with_capacity(self.text.len() + 8);
        let mut rest = self.text.as_str();
        while let Some(c) = rest.chars().next() {
            let token = match c {
                '[' => class(rest).unwrap_or("["),
                '\\' if self.is_extended => {
                    &rest[..1 + rest[1..].chars().next().map_or(0, char::len_utf8)]
                }
                _ => &rest[..c.len_utf8()],
            };
            match token {
                "[" => out.push_str("[[]"),
                "{" | "}" if !self.is_extended => out.extend(['[', c, ']']),
                token => out.push_str(token),
            }
            rest = &rest[token.len()..];
        }
        out
    }
}

/// The class that the text begins with, unless its bracket is never closed.
fn class(text: &str) -> Option<&str> {
    let mut from = 1;
    from += usize::from(text[from..].starts_with('!') || text[from..].starts_with('^'));
    // The first bracket in a class is one of its characters.
    from += usize::from(text[from..].starts_with(']'));
    let end = from + text[from..].find(']')?;
    Some(&text[..=end])
}

/// Many globs, compiled.
pub(crate) struct Globs {
    names: GlobSet,
    paths: GlobSet,
}

impl Globs {
    /// Compiles them.
    pub(crate) fn compile<'a>(
        globs: impl IntoIterator<Item = &'a Glob>,
        case: Case,
    ) -> Result<Self, SearchError> {
        let (mut names, mut paths) = (GlobSetBuilder::new(), GlobSetBuilder::new());
        for glob in globs {
            let compiled = glob.compile(case)?;
            match glob.of {
                Of::Name => names.add(compiled),
                Of::Path => paths.add(compiled),
            };
        }
        let built = |set: &GlobSetBuilder| {
            let too_large = |error: globset::Error| SearchError::Glob {
                glob: "all of them together".into(),
                why: error.kind().to_string(),
            };
            set.build().map_err(too_large)
        };
        Ok(Self { names: built(&names)?, paths: built(&paths)? })
    }

    /// There are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.names.is_empty() && self.paths.is_empty()
    }

    /// One of them matches.
    pub(crate) fn matches(&self, name: &[u8], path: &[u8]) -> bool {
        let is_match = |set: &GlobSet, text| {
            !set.is_empty() && set.is_match(Path::new(OsStr::from_bytes(text)))
        };
        is_match(&self.names, name) || is_match(&self.paths, path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(glob: &Glob, path: &str) -> bool {
        let name = path.rsplit('/').next().unwrap();
        let globs = Globs::compile([glob], Case::Sensitive).unwrap();
        globs.matches(name.as_bytes(), path.as_bytes())
    }

    #[test]
    fn a_slash_decides_what_an_editors_glob_is_compared_with() {
        for (glob, path, expected) in [
            ("*.rs", "a/b.rs", true),
            ("*.rs", "b.rs", true),
            ("/*.rs", "a/b.rs", false),
            ("./*.rs", "b.rs", true),
            ("src/*.rs", "src/a.rs", true),
            ("src/*.rs", "src/x/a.rs", false),
            ("src/**/*.rs", "src/x/y/a.rs", true),
            ("src/**/*.rs", "src/a.rs", true),
            ("src/**", "src/x/y", true),
            ("**/x", "x", true),
            ("node_modules/", "a/node_modules", true),
            ("*.{js,ts}", "a/b.ts", true),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
            (".*", ".git", true),
            ("*", ".git", true),
        ] {
            assert_eq!(matches(&Glob::new(glob), path), expected, "{glob} of {path}");
        }
    }

    #[test]
    fn a_plain_glob_is_that_of_a_shell() {
        for (glob, path, expected) in [
            ("*.py", "a.py", true),
            ("*.py", "x/a.py", false),
            ("**/*.py", "x/y/a.py", true),
            ("**/*.py", "a.py", true),
            ("?.py", "a.py", true),
            ("?.py", "ab.py", false),
            ("[ab].py", "b.py", true),
            ("[!ab].py", "b.py", false),
            ("[!ab].py", "c.py", true),
            ("[]x].py", "].py", true),
            ("a[b", "a[b", true),
            ("a[b", "ab", false),
            ("[", "[", true),
            ("a]", "a]", true),
            ("{a,b}", "{a,b}", true),
            ("{a,b}", "a", false),
            ("a\\b", "a\\b", true),
            ("*", ".env", true),
        ] {
            assert_eq!(matches(&Glob::of_path(glob), path), expected, "{glob} of {path}");
        }
        assert!(matches(&Glob::of_name("*.py"), "x/y/a.py"));
    }

    #[test]
    fn a_glob_that_is_none_is_named() {
        for glob in ["[z-a]", "{a", "a}"] {
            let refused = Globs::compile([&Glob::new(glob)], Case::Sensitive);
            assert!(matches!(refused, Err(SearchError::Glob { glob: named, .. }) if named == glob));
        }
    }
}
