//! Several changes in one request.
//!
//! They are done in their order, with nothing of this project written in between, and
//! the whole is on disk when the answer comes. The batch is not atomic: each operation
//! is, but one that fails does not undo those before it. It ends the batch, and the
//! rest is `skipped`, unless `keep_going` is set.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sandtree_actors::FileNote;
use sandtree_workspace::{Existing, Parents, Precondition, Recursive, Workspace, WorkspaceError};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use warp::http::StatusCode;

use super::change::{Change, Done, named};
use super::conditions::if_match;
use super::{parse_mode, problem, write_problem};
use crate::edge::body;
use crate::edge::context::{Call, JSON};
use crate::edge::errors::Problem;
use crate::edge::object::Object;
use crate::edge::reply::{self, Answered};

/// Most operations of one batch.
const OPERATIONS_MAX: usize = 1000;
/// Largest batch, as JSON.
const BATCH_BYTES_MAX: u64 = 16 * 1024 * 1024;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch {
    operations: Vec<Object<Operation>>,
    /// Whether operations after one that failed are done.
    #[serde(default)]
    keep_going: bool,
}

/// One operation, as clients write it.
#[derive(Debug, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
enum Operation {
    Write {
        path: String,
        /// The text of the file; exactly one of this and `base64`.
        content: Option<String>,
        base64: Option<String>,
        /// One entity tag in quotes, or `*`.
        if_match: Option<String>,
        /// Octal permission bits.
        mode: Option<String>,
    },
    Mkdir {
        path: String,
        parents: Option<bool>,
    },
    Move {
        from: String,
        to: String,
        #[serde(default)]
        overwrite: bool,
    },
    Copy {
        from: String,
        to: String,
        #[serde(default)]
        overwrite: bool,
    },
    Delete {
        path: String,
        #[serde(default)]
        recursive: bool,
    },
}

/// What one operation came to.
#[derive(Debug, Serialize)]
#[serde(tag = "status", rename_all = "snake_case")]
enum Outcome {
    Done {
        #[serde(skip_serializing_if = "Option::is_none")]
        created: Option<bool>,
        #[serde(skip_serializing_if = "Option::is_none")]
        etag: Option<String>,
    },
    Failed {
        problem: Value,
    },
    Skipped,
}

#[derive(Debug, Serialize)]
struct Outcomes {
    /// Whether every operation was done.
    complete: bool,
    /// One for each operation, in their order.
    results: Vec<Outcome>,
}

/// Does several changes: 200 with one result for each, whether they were done or not.
///
/// # Errors
///
/// 400 naming the operation and its field when one cannot be understood; then nothing
/// is done. 413 for too large a batch.
pub async fn batch(mut call: Call) -> Answered {
    body::require_media(&call.headers, &[JSON])?;
    body::check_length(&call.headers, BATCH_BYTES_MAX)?;
    let text = call.take_body().read(BATCH_BYTES_MAX).await?;
    let Batch { operations, keep_going } = body::parse_json(&text)?;
    drop(text);
    let changes = check(operations)?;
    let files = call.context.tree.files(&call.project()?).await?;
    let done = files.write(move |workspace| apply(workspace, changes, keep_going));
    let outcomes = done.await.map_err(write_problem)?;
    Ok(reply::json(StatusCode::OK, &outcomes))
}

fn check(operations: Vec<Object<Operation>>) -> Result<Vec<Change>, Problem> {
    if operations.is_empty() || operations.len() > OPERATIONS_MAX {
        let problem = format!("must have from 1 to {OPERATIONS_MAX} operations");
        return Err(Problem::field("operations", problem));
    }
    let numbered = operations.into_iter().enumerate();
    let checked = numbered.map(|(number, Object(operation))| {
        operation.check().map_err(|problem| {
            let field = problem.document()["field"].as_str().unwrap_or("op").to_owned();
            problem.at(format!("operations[{number}].{field}"))
        })
    });
    checked.collect()
}

fn apply(
    workspace: &Workspace,
    changes: Vec<Change>,
    keep_going: bool,
) -> (Result<Outcomes, WorkspaceError>, Vec<FileNote>) {
    let batched = workspace.batched();
    let mut all_notes = Vec::new();
    let mut outcomes = Outcomes { complete: true, results: Vec::with_capacity(changes.len()) };
    for change in changes {
        if !outcomes.complete && !keep_going {
            outcomes.results.push(Outcome::Skipped);
            continue;
        }
        let (outcome, notes) = change.apply(&batched);
        all_notes.extend(notes);
        outcomes.results.push(match outcome {
            Ok(Done { created, etag, bytes: _ }) => Outcome::Done { created, etag },
            Err(error) => {
                outcomes.complete = false;
                Outcome::Failed { problem: problem(&error).document() }
            }
        });
    }
    (workspace.sync().map(|()| outcomes), all_notes)
}

impl Operation {
    fn check(self) -> Result<Change, Problem> {
        let existing = |overwrite| if overwrite { Existing::Replace } else { Existing::Keep };
        Ok(match self {
            Operation::Write { path, content, base64, if_match: tag, mode } => Change::Write {
                path: named("path", &path)?,
                content: bytes(content, base64)?,
                condition: tag.map_or(Ok(Precondition::None), |tag| if_match("if_match", &tag))?,
                mode: mode.map(|text| parse_mode("mode", &text)).transpose()?,
            },
            Operation::Mkdir { path, parents } => Change::Mkdir {
                path: named("path", &path)?,
                parents: if parents == Some(false) { Parents::Require } else { Parents::Create },
            },
            Operation::Move { from, to, overwrite } => Change::Move {
                from: named("from", &from)?,
                to: named("to", &to)?,
                existing: existing(overwrite),
            },
            Operation::Copy { from, to, overwrite } => Change::Copy {
                from: named("from", &from)?,
                to: named("to", &to)?,
                existing: existing(overwrite),
            },
            Operation::Delete { path, recursive } => Change::Delete {
                path: named("path", &path)?,
                recursive: if recursive { Recursive::Yes } else { Recursive::No },
            },
        })
    }
}

fn bytes(content: Option<String>, base64: Option<String>) -> Result<Vec<u8>, Problem> {
    match (content, base64) {
        (Some(text), None) => Ok(text.into_bytes()),
        (None, Some(text)) => STANDARD
            .decode(text)
            .map_err(|error| Problem::field("base64", format!("is not base64: {error}"))),
        (Some(_), Some(_)) => Err(Problem::field("base64", "cannot be together with content")),
        (None, None) => Err(Problem::field("content", "is missing, and so is base64")),
    }
}

#[cfg(test)]
mod tests {
    use sandtree_workspace::{Owner, WorkspacePath};
    use serde_json::json;

    use super::*;

    fn parse(text: &Value) -> Result<(Vec<Change>, bool), Problem> {
        let batch: Batch = body::parse_json(text.to_string().as_bytes())?;
        Ok((check(batch.operations)?, batch.keep_going))
    }

    fn run(workspace: &Workspace, batch: &Value) -> (Value, Vec<String>) {
        let (changes, keep_going) = parse(batch).unwrap();
        let (outcomes, notes) = apply(workspace, changes, keep_going);
        let notes = notes.iter().map(|note| format!("{:?} {}", note.change, note.path)).collect();
        (serde_json::to_value(outcomes.unwrap()).unwrap(), notes)
    }

    fn workspace(dir: &tempfile::TempDir) -> Workspace {
        use std::os::unix::fs::MetadataExt as _;
        let me = std::fs::metadata(dir.path()).unwrap();
        let (files, staging) = (dir.path().join("files"), dir.path().join("staging"));
        let owner = Owner { uid: me.uid(), gid: me.gid() };
        Workspace::create(&files, &staging, owner).unwrap()
    }

    #[test]
    fn operations_are_done_in_their_order_until_one_fails() {
        let dir = tempfile::tempdir().unwrap();
        let workspace = workspace(&dir);
        let batch = json!({"operations": [
            {"op": "write", "path": "src/a", "content": "hi", "mode": "0755"},
            {"op": "copy", "from": "src/a", "to": "src/b"},
            {"op": "move", "from": "src/b", "to": "c"},
            {"op": "write", "path": "src/a", "base64": "AAE=", "if_match": "\"old\""},
            {"op": "delete", "path": "src", "recursive": true},
        ]});
        let (outcomes, notes) = run(&workspace, &batch);
        let statuses: Vec<_> =
            outcomes["results"].as_array().unwrap().iter().map(|r| &r["status"]).collect();
        assert_eq!(statuses, ["done", "done", "done", "failed", "skipped"]);
        assert_eq!(outcomes["complete"], false);
        assert_eq!(outcomes["results"][0]["created"], true);
        assert_eq!(outcomes["results"][3]["problem"]["status"], 412);
        assert_eq!(notes, ["Written src/a", "Written src/b", "Removed src/b", "Moved c"]);
        let c = workspace.stat(&WorkspacePath::parse("c").unwrap()).unwrap();
        assert_eq!((c.size, c.mode), (2, 0o755));
    }

    #[test]
    fn with_keep_going_the_rest_is_done() {
        let dir = tempfile::tempdir().unwrap();
        let batch = json!({"keep_going": true, "operations": [
            {"op": "delete", "path": "nothing"},
            {"op": "mkdir", "path": "a/b"},
        ]});
        let (outcomes, notes) = run(&workspace(&dir), &batch);
        assert_eq!(outcomes["results"][0]["problem"]["status"], 404);
        assert_eq!(outcomes["results"][1], json!({"status": "done", "created": true}));
        assert_eq!(notes, ["Written a/b"]);
    }

    #[test]
    fn what_cannot_be_understood_is_named_with_its_place() {
        let many: Vec<_> =
            (0..=OPERATIONS_MAX).map(|_| json!({"op": "mkdir", "path": "a"})).collect();
        for (operations, field) in [
            (json!([]), "operations"),
            (json!([["mkdir", "a"]]), "operations[0]"),
            (json!(many), "operations"),
            (json!([{"op": "mkdir", "path": "../x"}]), "operations[0].path"),
            (json!([{"op": "mkdir", "path": ""}]), "operations[0].path"),
            (
                json!([{"op": "mkdir", "path": "a"}, {"op": "write", "path": "a"}]),
                "operations[1].content",
            ),
            (
                json!([{"op": "write", "path": "a", "content": "", "if_match": "x"}]),
                "operations[0].if_match",
            ),
            (
                json!([{"op": "write", "path": "a", "content": "", "mode": "4755"}]),
                "operations[0].mode",
            ),
        ] {
            let problem = parse(&json!({ "operations": operations })).unwrap_err();
            assert_eq!(problem.document()["field"], field);
        }
        let unknown = json!({"operations": [{"op": "chown", "path": "a"}]});
        let field = parse(&unknown).unwrap_err().document()["field"].clone();
        assert!(field.as_str().unwrap().starts_with("operations[0]"), "{field}");
    }
}
