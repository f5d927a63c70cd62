//! What is in a folder, by name and by content.

use std::sync::Arc;

use sandtree_actors::Files;
use sandtree_workspace::{
    Case, Glob, Kind, ListOptions, Pattern, PatternSyntax, SearchError, SearchOutcome,
    SearchRequest, WorkspaceError, WorkspacePath,
};
use serde::Serialize;
use serde_json::Value;

use super::{Code, FsError, Root, answer, path, request, shown};
use crate::edge::context::Call;
use crate::edge::dialects::daiv::refused::Refused;
use crate::edge::dialects::daiv::validate::{Fields, SMALL_BYTES_MAX, Spot, types};
use crate::edge::files::off_thread;
use crate::edge::places::Places;
use crate::edge::reply::Response;
use crate::edge::search::{self, NotSearched};

/// Most entries that a folder shows.
const ENTRIES_MAX: usize = 100_000;
/// Most lines that a search shows.
const LINES_MAX: usize = 200;
/// Most names that a search shows.
const NAMES_MAX: usize = 10_000;
/// Most bytes that are shown of a line.
const LINE_BYTES_MAX: usize = 16 * 1024;
/// Most globs of folders that a request leaves out.
const EXCLUDE_MAX: usize = 1000;

/// A name in a folder.
#[derive(Debug, Serialize)]
struct Found {
    path: String,
    is_dir: bool,
}

#[derive(Debug, Default, Serialize)]
struct Listed {
    entries: Vec<Found>,
}

#[derive(Debug, Default, Serialize)]
struct Globbed {
    matches: Vec<Found>,
}

#[derive(Debug, Default, Serialize)]
struct Grepped {
    matches: Vec<Line>,
    truncated: bool,
}

#[derive(Debug, Serialize)]
struct Line {
    path: String,
    line: u64,
    text: String,
}

/// Lists one folder.
pub(in super::super) async fn ls(mut call: Call) -> Result<Response, Refused> {
    let read = |value: &Value, spot: &mut Spot| {
        Fields::of(value, spot)?.required(spot, "path", types::text)
    };
    let (session, text) = request(&mut call, SMALL_BYTES_MAX, read).await?;
    let folder = match path(&text, Root::Allowed) {
        Ok(folder) => folder,
        Err(error) => return Ok(answer::<Listed>(Err(error))),
    };
    let workspace = Arc::clone(session.files().await?.workspace());
    let listed = off_thread(move || {
        let options = ListOptions { limit: ENTRIES_MAX, after_name: None };
        let listing = workspace.list(&folder, &options)?;
        let entries = listing.entries.into_iter().map(|entry| {
            let name = WorkspacePath::parse(&entry.name).ok();
            let below = name.and_then(|name| folder.join(&name).ok());
            let is_dir = entry.kind == Kind::Directory
                || (entry.kind == Kind::Symlink
                    && below.as_ref().is_some_and(|path| workspace.is_directory(path)));
            Found { path: below.map_or(entry.name, |path| shown(path.as_str())), is_dir }
        });
        Ok::<_, WorkspaceError>(Listed { entries: entries.collect() })
    });
    Ok(answer(listed.await?.map_err(|error| FsError::of(&error, &text))))
}

/// Where and what `fs/grep` and `fs/glob` search.
struct Search {
    pattern: String,
    path: String,
    glob: Option<String>,
    exclude: Vec<String>,
}

impl Search {
    fn read(value: &Value, spot: &mut Spot) -> Option<Self> {
        let fields = Fields::of(value, spot)?;
        let pattern = fields.required(spot, "pattern", types::text);
        let path = fields.required(spot, "path", types::text);
        let glob = fields.nullable(spot, "glob", types::text);
        let exclude = fields.or(spot, "exclude", Vec::new(), types::list(EXCLUDE_MAX, types::text));
        Some(Self { pattern: pattern?, path: path?, glob: glob?, exclude: exclude? })
    }

    /// A request that meets everything but the folders that are left out.
    fn request(&self, call: &Call, matches_max: usize) -> Result<SearchRequest, FsError> {
        let pruned = &call.context.settings.dialects.daiv.prune_dirs;
        let prune = pruned.iter().map(|name| &**name).chain(self.exclude.iter().map(|it| &**it));
        Ok(SearchRequest {
            path: path(&self.path, Root::Allowed)?,
            pattern: None,
            globs_case: Case::Sensitive,
            include: Vec::new(),
            exclude: Vec::new(),
            prune: prune.map(Glob::of_name).collect(),
            hidden: true,
            kind: None,
            as_owner: true,
            limits: sandtree_workspace::SearchLimits {
                matches_max,
                line_bytes_max: LINE_BYTES_MAX,
                ..search::LIMITS
            },
        })
    }
}

/// Finds lines.
pub(in super::super) async fn grep(mut call: Call) -> Result<Response, Refused> {
    let (session, wanted) = request(&mut call, SMALL_BYTES_MAX, Search::read).await?;
    let mut search = match wanted.request(&call, LINES_MAX) {
        Ok(search) => search,
        Err(error) => return Ok(answer::<Grepped>(Err(error))),
    };
    search.pattern = Some(Pattern {
        text: wanted.pattern.clone(),
        syntax: PatternSyntax::Posix,
        case: Case::Sensitive,
        words: false,
    });
    search.include = wanted.glob.iter().map(|glob| Glob::of_name(glob)).collect();
    let files = session.files().await?;
    let outcome = look(&call.context.places, &files, search, &wanted.path).await?;
    Ok(answer(outcome.and_then(grepped)))
}

fn grepped(outcome: SearchOutcome) -> Result<Grepped, FsError> {
    if let Some(file) = outcome.skipped.unreadable_file {
        return Err(FsError::new(Code::ExecFailed, format!("{}: cannot be read", shown(&file))));
    }
    let lines = outcome.matches.into_iter().filter_map(|found| {
        let line = found.line?;
        Some(Line { path: shown(&found.path), line: line.number, text: line.text })
    });
    Ok(Grepped { matches: lines.collect(), truncated: outcome.truncated })
}

/// Finds names.
pub(in super::super) async fn glob(mut call: Call) -> Result<Response, Refused> {
    let (session, wanted) = request(&mut call, SMALL_BYTES_MAX, Search::read).await?;
    let mut search = match wanted.request(&call, NAMES_MAX) {
        Ok(search) => search,
        Err(error) => return Ok(answer::<Globbed>(Err(error))),
    };
    search.include = vec![Glob::of_path(wanted.pattern.trim_start_matches('/'))];
    let files = session.files().await?;
    let outcome = look(&call.context.places, &files, search, &wanted.path).await?;
    let found = |outcome: SearchOutcome| {
        let names = outcome
            .matches
            .into_iter()
            .map(|found| Found { path: shown(&found.path), is_dir: found.kind == Kind::Directory });
        Globbed { matches: names.collect() }
    };
    Ok(answer(outcome.map(found)))
}

async fn look(
    places: &Places,
    files: &Files,
    wanted: SearchRequest,
    path: &str,
) -> Result<Result<SearchOutcome, FsError>, Refused> {
    match search::look(places, files, wanted).await {
        Ok(outcome) => Ok(Ok(outcome)),
        Err(NotSearched::Problem(problem)) => Err(problem.into()),
        Err(NotSearched::Search(SearchError::Workspace(error))) => {
            Ok(Err(FsError::of(&error, path)))
        }
        Err(NotSearched::Search(error @ (SearchError::Pattern(_) | SearchError::Glob { .. }))) => {
            Ok(Err(FsError::new(Code::InvalidPattern, error.to_string())))
        }
    }
}
