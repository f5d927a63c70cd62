//! Searching a workspace, by name and by content.
//!
//! The work is the workspace's; here are its bounds, the places for searches of the whole
//! server, and the end of a search whose client is gone. [`look`] is for every dialect.

mod query;

use std::sync::Arc;
use std::time::Duration;

use sandtree_actors::Files;
use sandtree_workspace::{
    Cancel, SearchError, SearchLimits, SearchMatch, SearchOutcome, SearchRequest,
};
use serde_json::{Value, json};
use warp::http::StatusCode;

use super::context::Call;
use super::errors::Problem;
use super::files::{self, kind_word, off_thread};
use super::places::Places;
use super::reply::{self, Answered};

/// How long a search waits for its place.
const PLACE_WAIT_MAX: Duration = Duration::from_secs(10);
/// Most threads of one search.
const THREADS_MAX: usize = 4;

/// Bounds of a search whose dialect says nothing else.
pub const LIMITS: SearchLimits = SearchLimits {
    matches_max: 1000,
    entries_max: 2_000_000,
    file_bytes_max: 16 * 1024 * 1024,
    line_bytes_max: 1000,
    time_max: Duration::from_secs(30),
    threads: 2,
};

/// Why a search has no outcome.
#[derive(Debug)]
pub enum NotSearched {
    /// It cannot be searched for, or not there.
    Search(SearchError),
    /// The server cannot do it now.
    Problem(Problem),
}

/// Searches for what the query says.
///
/// # Errors
///
/// 400 for a pattern or a glob that is none, 404, 409 for names below a file, 429 when too
/// many searches are under way.
pub async fn find(call: Call) -> Answered {
    let request = query::parse(call.query.as_deref().unwrap_or(""))?;
    let files = call.context.tree.files(&call.project()?).await?;
    let outcome = look(&call.context.places, &files, request).await.map_err(problem)?;
    Ok(reply::json(StatusCode::OK, &document(outcome)))
}

/// Searches the files of a project, on as many threads as there are processors but no more
/// than four.
///
/// # Errors
///
/// See [`NotSearched`].
///
/// # Cancel safety
///
/// Dropped, the search ends soon.
pub async fn look(
    places: &Places,
    files: &Files,
    mut request: SearchRequest,
) -> Result<SearchOutcome, NotSearched> {
    let place = places.searches.take_within(PLACE_WAIT_MAX).await.map_err(NotSearched::Problem)?;
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    request.limits.threads = processors.min(THREADS_MAX);
    let (workspace, cancel) = (Arc::clone(files.workspace()), Cancel::default());
    let guard = CancelOnDrop(cancel.clone());
    let work = off_thread(move || {
        let outcome = workspace.search(&request, &cancel);
        // Held until here: a search that was given up works until it notices.
        drop(place);
        outcome
    });
    let outcome = work.await.map_err(NotSearched::Problem)?;
    drop(guard);
    outcome.map_err(NotSearched::Search)
}

struct CancelOnDrop(Cancel);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

fn problem(error: NotSearched) -> Problem {
    match error {
        NotSearched::Problem(problem) => problem,
        NotSearched::Search(SearchError::Workspace(error)) => files::problem(&error),
        NotSearched::Search(error @ SearchError::Pattern(_)) => Problem::field("q", error),
        NotSearched::Search(error @ SearchError::Glob { .. }) => Problem::field("glob", error),
    }
}

fn document(outcome: SearchOutcome) -> Value {
    let SearchOutcome { matches, truncated, timed_out, skipped } = outcome;
    let matches: Vec<_> = matches.into_iter().map(shown).collect();
    json!({
        "matches": matches,
        "truncated": truncated,
        "timed_out": timed_out,
        "skipped": {
            "binary": skipped.binary,
            "too_large": skipped.too_large,
            "unreadable": skipped.unreadable,
            "too_deep": skipped.too_deep,
        },
    })
}

fn shown(found: SearchMatch) -> Value {
    let mut shown = json!({ "path": found.path, "kind": kind_word(found.kind) });
    if found.path_is_lossy {
        shown["lossy"] = true.into();
    }
    if let Some(line) = found.line {
        shown["line"] = line.number.into();
        shown["column"] = line.column.into();
        shown["length"] = line.length.into();
        shown["text"] = line.text.into();
        if line.is_cut {
            shown["cut"] = true.into();
        }
    }
    shown
}

#[cfg(test)]
mod tests;
