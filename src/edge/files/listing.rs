//! What is in the workspace.

use sandtree_workspace::{
    Entry, ListOptions, Listing, Tree, TreeEntry, TreeOptions, WorkspacePath,
};
use serde::{Deserialize, Serialize};
use warp::http::StatusCode;

use super::{blocking, kind_word, mode_text, parse};
use crate::edge::context::Call;
use crate::edge::errors::Problem;
use crate::edge::reply::{self, Answered};
use crate::edge::time::of_system;

/// Entries of an answer when the request names no limit.
const LIMIT_DEFAULT: usize = 1000;
/// Most entries of an answer.
const LIMIT_MAX: usize = 10_000;
/// Most levels of an answer.
const DEPTH_MAX: usize = 64;
/// Most names that are told without their content.
const PRUNED_MAX: usize = 32;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    /// A directory; absent: the workspace.
    #[serde(default)]
    path: String,
    /// Levels below it; 1: its own entries.
    depth: Option<usize>,
    /// Most entries.
    limit: Option<usize>,
    /// Only names after this one; with a depth of 1.
    after: Option<String>,
    /// Names of directories that are told without their content, with commas between.
    #[serde(default)]
    prune: String,
}

/// A directory, or several levels of one.
#[derive(Debug, Serialize)]
struct Document {
    path: String,
    /// Directories come before their content; names are in the order of their bytes.
    entries: Vec<Shown>,
    /// There is more than the limit allows, or something could not be read.
    truncated: bool,
    /// Where to go on with `?after=`, for a depth of 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Debug, Serialize)]
struct Shown {
    /// From the workspace on.
    path: String,
    kind: &'static str,
    size: u64,
    mode: String,
    modified: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    link_target: Option<String>,
    /// The name is not UTF-8; the entry cannot be addressed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    lossy: bool,
}

/// A request that was checked.
#[derive(Debug)]
struct Wanted {
    path: WorkspacePath,
    depth: usize,
    limit: usize,
    after: Option<String>,
    prune: Vec<String>,
}

/// Lists a directory, or several levels of one.
///
/// # Errors
///
/// 404, 409 for a file, 400 naming the parameter.
pub async fn tree(call: Call) -> Answered {
    let wanted = check(call.query()?)?;
    let files = call.context.tree.files(&call.project()?).await?;
    let document = blocking(&files, move |workspace| {
        let Wanted { path, depth, limit, after, prune } = wanted;
        if depth == 1 {
            let options = ListOptions { limit, after_name: after };
            let listing = workspace.list(&path, &options)?;
            return Ok(Document::of_listing(&path, listing));
        }
        let options = TreeOptions { depth_max: depth, entries_max: limit, prune };
        let tree = workspace.tree(&path, &options)?;
        Ok(Document::of_tree(&path, tree))
    });
    Ok(reply::json(StatusCode::OK, &document.await?))
}

fn check(query: Query) -> Result<Wanted, Problem> {
    let within = |field, value: Option<usize>, default, max: usize| match value.unwrap_or(default) {
        value if (1..=max).contains(&value) => Ok(value),
        value => Err(Problem::field(field, format!("must be from 1 to {max}, not {value}"))),
    };
    let depth = within("depth", query.depth, 1, DEPTH_MAX)?;
    let prune: Vec<_> =
        query.prune.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    if prune.len() > PRUNED_MAX {
        return Err(Problem::field("prune", format!("has more than {PRUNED_MAX} names")));
    }
    if depth > 1 && query.after.is_some() {
        return Err(Problem::field("after", "needs a depth of 1"));
    }
    Ok(Wanted {
        path: parse("path", &query.path)?,
        depth,
        limit: within("limit", query.limit, LIMIT_DEFAULT, LIMIT_MAX)?,
        after: query.after,
        prune,
    })
}

impl Document {
    fn of_listing(path: &WorkspacePath, listing: Listing) -> Self {
        let last = listing.entries.last().map(|entry| entry.name.clone());
        Self {
            path: path.to_string(),
            truncated: listing.more,
            next: last.filter(|_| listing.more),
            entries: listing
                .entries
                .into_iter()
                .map(|entry| Shown::of_entry(path, entry))
                .collect(),
        }
    }

    fn of_tree(path: &WorkspacePath, tree: Tree) -> Self {
        Self {
            path: path.to_string(),
            truncated: tree.truncated,
            next: None,
            entries: tree.entries.into_iter().map(Shown::of_tree).collect(),
        }
    }
}

impl Shown {
    fn of_entry(dir: &WorkspacePath, entry: Entry) -> Self {
        let path = if dir.is_root() { entry.name } else { format!("{dir}/{}", entry.name) };
        Self {
            path,
            kind: kind_word(entry.kind),
            size: entry.size,
            mode: mode_text(entry.mode),
            modified: of_system(entry.modified),
            etag: Some(format!("\"{}\"", entry.etag)),
            link_target: entry.link_target,
            lossy: entry.name_is_lossy,
        }
    }

    fn of_tree(entry: TreeEntry) -> Self {
        Self {
            path: entry.path,
            kind: kind_word(entry.kind),
            size: entry.size,
            mode: mode_text(entry.mode),
            modified: of_system(entry.modified),
            etag: None,
            link_target: None,
            lossy: entry.path_is_lossy,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::context::parse_query;

    #[test]
    fn a_request_has_bounds() {
        let wanted = check(parse_query("path=a/b&depth=3&prune=.git,node_modules,").unwrap());
        let wanted = wanted.unwrap();
        assert_eq!((wanted.path.as_str(), wanted.depth, wanted.limit), ("a/b", 3, 1000));
        assert_eq!(wanted.prune, [".git", "node_modules"]);
        for (query, field) in [
            ("depth=0", "depth"),
            ("depth=65", "depth"),
            ("limit=10001", "limit"),
            ("limit=0", "limit"),
            ("path=/etc", "path"),
            ("path=a/../b", "path"),
            ("depth=2&after=x", "after"),
        ] {
            let problem = check(parse_query(query).unwrap()).unwrap_err();
            assert_eq!(problem.document()["field"], field, "{query}");
        }
    }
}
