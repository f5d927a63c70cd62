//! Searching the workspace: by name, and by content.
//!
//! The engine of the content search is ripgrep's (`grep-regex`, `grep-searcher`), the globs are its
//! `globset`. Its walker is not used: it goes by path, and a path that was checked a moment ago may
//! lead out of the workspace by now. Ours goes by descriptors like every walk of this crate, on
//! several threads ([`queue`]), and follows no link below the start.
//!
//! Everything is bounded: what is told, what is met, bytes of a file, bytes of a line, and time.
//! What a bound leaves out is told. Matches are in the order of their paths; if there are more than
//! are told, which of them are told is left to chance, because threads race for them.

mod content;
mod found;
mod glob;
mod posix;
mod queue;
mod run;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::entry::Kind;
use crate::error::WorkspaceError;
use crate::path::WorkspacePath;
use crate::workspace::Workspace;

pub use glob::Glob;
pub(crate) use glob::Globs;

/// What to search for, and where.
#[derive(Clone, Debug)]
pub struct SearchRequest {
    /// Where it starts: a directory, or one file for a search by content. A link is followed as
    /// long as it stays inside.
    pub path: WorkspacePath,
    /// Lines that match it are told; absent: names are told.
    pub pattern: Option<Pattern>,
    /// Whether `a` is `A` in the globs; [`Case::Smart`] is sensitive here.
    pub globs_case: Case,
    /// What has to match one of these to be told; empty: everything.
    pub include: Vec<Glob>,
    /// What matches one of these is not told, and not entered.
    pub exclude: Vec<Glob>,
    /// Directories that are not told and not entered; files of such a name are.
    pub prune: Vec<Glob>,
    /// Whether names that begin with a dot are met.
    pub hidden: bool,
    /// Only names of this kind; a search by content reads files alone.
    pub kind: Option<Kind>,
    /// Whether what the workspace's owner has closed to itself counts as unreadable, though
    /// the server could read it.
    pub as_owner: bool,
    /// The bounds.
    pub limits: SearchLimits,
}

/// A pattern of lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// The text, in its syntax.
    pub text: String,
    /// How the text is read.
    pub syntax: PatternSyntax,
    /// Whether `a` is `A`.
    pub case: Case,
    /// Only where no letter, digit or underscore touches the match.
    pub words: bool,
}

/// How the text of a pattern is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatternSyntax {
    /// As a regular expression of the `regex` crate.
    Regex,
    /// As it stands.
    Literal,
    /// As an extended regular expression of POSIX, with GNU's `\w`, `\s`, `\b`, `\<` and `\>`.
    Posix,
}

/// Whether `a` is `A`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// It is not.
    Sensitive,
    /// It is.
    Insensitive,
    /// It is if the pattern has no capital letter.
    Smart,
}

/// The bounds of one search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SearchLimits {
    /// Most matches that are told.
    pub matches_max: usize,
    /// Most entries that are met.
    pub entries_max: usize,
    /// Larger files are skipped, in bytes.
    pub file_bytes_max: u64,
    /// Most bytes that are told of a line.
    pub line_bytes_max: usize,
    /// Longest time.
    pub time_max: Duration,
    /// Threads that work on it.
    pub threads: usize,
}

/// What a search found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SearchOutcome {
    /// In the order of the paths' bytes, then of the lines.
    pub matches: Vec<SearchMatch>,
    /// There may be more: a bound was met.
    pub truncated: bool,
    /// The bound was time.
    pub timed_out: bool,
    /// What was not searched.
    pub skipped: SkippedFiles,
}

/// One line, or one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchMatch {
    /// The path from the workspace on.
    pub path: String,
    /// The path on disk is not UTF-8, and `path` only resembles it.
    pub path_is_lossy: bool,
    /// What is there.
    pub kind: Kind,
    /// The line, in a search by content.
    pub line: Option<MatchedLine>,
}

/// A line that matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatchedLine {
    /// From 1 on.
    pub number: u64,
    /// Where the first match of the line begins, in characters, from 1 on.
    pub column: u64,
    /// Characters of the first match.
    pub length: u64,
    /// The line without its end; U+FFFD stands for what is not UTF-8.
    pub text: String,
    /// The line is longer than its bound, and `text` is its beginning.
    pub is_cut: bool,
}

/// What a search by content did not search, though it was asked to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SkippedFiles {
    /// Files with a NUL byte.
    pub binary: u64,
    /// Files above the bound of a file.
    pub too_large: u64,
    /// Files and directories that cannot be read.
    pub unreadable: u64,
    /// Directories below the deepest level that is walked.
    pub too_deep: u64,
    /// One of the files that cannot be read.
    pub unreadable_file: Option<String>,
}

/// Why nothing was searched.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// The pattern is none, or is too large when it is compiled.
    #[error("is not a pattern: {0}")]
    Pattern(String),
    /// A glob is none.
    #[error("`{glob}` is not a glob: {why}")]
    Glob {
        /// Which.
        glob: String,
        /// Why.
        why: String,
    },
    /// The start cannot be searched.
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
}

/// Ends a search from another thread; clones are one flag.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Ends the search soon; what it found by then is told.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the search is to end.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Workspace {
    /// Searches, on as many threads as the request says.
    ///
    /// # Errors
    ///
    /// [`SearchError::Pattern`] and [`SearchError::Glob`] for what cannot be searched for;
    /// [`SearchError::Workspace`] with [`WorkspaceError::NotFound`], [`WorkspaceError::Escapes`],
    /// or [`WorkspaceError::NotADirectory`] when names are to be searched below a file. What cannot
    /// be read further down is skipped and counted.
    pub fn search(
        &self,
        request: &SearchRequest,
        cancel: &Cancel,
    ) -> Result<SearchOutcome, SearchError> {
        run::run(self, request, cancel)
    }
}
