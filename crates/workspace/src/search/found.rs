//! What was found so far, by all threads.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{MatchedLine, SearchMatch, SearchOutcome, SkippedFiles};
use crate::entry::{Kind, lossy};
use crate::path::WorkspacePath;

/// Collects matches up to a bound.
pub(super) struct Found<'a> {
    start: &'a WorkspacePath,
    matches_max: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    matches: Vec<Ordered>,
    outcome: SearchOutcome,
}

/// A match with what it is ordered by: the path's own bytes, since the told ones may be lossy.
struct Ordered {
    path: Vec<u8>,
    told: SearchMatch,
}

impl<'a> Found<'a> {
    pub(super) fn new(start: &'a WorkspacePath, matches_max: usize) -> Self {
        Self { start, matches_max, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The path from the workspace on, and whether it only resembles the one on disk. `below` is
    /// empty where the start is itself what is told.
    pub(super) fn told_path(&self, below: &[u8]) -> (String, bool) {
        let (below, is_lossy) = lossy(below);
        let path = match (self.start.is_root(), below.is_empty()) {
            (true, _) => below,
            (false, true) => self.start.to_string(),
            (false, false) => format!("{}/{below}", self.start),
        };
        (path, is_lossy)
    }

    /// Adds a name; false when there is no room for more.
    pub(super) fn add_name(&self, below: &[u8], kind: Kind) -> bool {
        let (path, path_is_lossy) = self.told_path(below);
        let told = SearchMatch { path, path_is_lossy, kind, line: None };
        self.add([Ordered { path: below.to_vec(), told }])
    }

    /// Adds the lines of one file; false when there is no room for more.
    pub(super) fn add_lines(&self, below: &[u8], lines: Vec<MatchedLine>) -> bool {
        let (path, path_is_lossy) = self.told_path(below);
        self.add(lines.into_iter().map(|line| Ordered {
            path: below.to_vec(),
            told: SearchMatch {
                path: path.clone(),
                path_is_lossy,
                kind: Kind::File,
                line: Some(line),
            },
        }))
    }

    fn add(&self, found: impl IntoIterator<Item = Ordered>) -> bool {
        let mut state = self.lock();
        state.matches.extend(found);
        state.outcome.truncated |= state.matches.len() > self.matches_max;
        state.matches.len() <= self.matches_max
    }

    /// Counts what was not searched.
    pub(super) fn skip(&self, count: impl FnOnce(&mut SkippedFiles)) {
        count(&mut self.lock().outcome.skipped);
    }

    /// A bound was met.
    pub(super) fn truncate(&self, timed_out: bool) {
        let outcome = &mut self.lock().outcome;
        outcome.truncated = true;
        outcome.timed_out |= timed_out;
    }

    /// All of it, in order.
    pub(super) fn into_outcome(self) -> SearchOutcome {
        let State { mut matches, mut outcome } =
            self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        // Stable, so the lines of a file stay in order.
        matches.sort_by(|one, other| one.path.cmp(&other.path));
        matches.truncate(self.matches_max);
        outcome.matches = matches.into_iter().map(|ordered| ordered.told).collect();
        outcome
    }
}
