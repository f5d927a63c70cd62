//! The files of a session. What is wrong with a path is told in a 200, with a code: the other
//! statuses are for requests that cannot be read and sessions that cannot be used.
//!
//! Every reply has all of its keys. Files can be worked on while the session is stopped.

mod change;
mod error;
mod look;
mod read;

use sandtree_workspace::WorkspacePath;
use serde::Serialize;
use serde_json::{Map, Value};
use warp::http::StatusCode;

use super::refused::Refused;
use super::session::Session;
use super::validate::{self, Spot};
use crate::edge::context::Call;
use crate::edge::reply::{self, Response};

pub(super) use change::{delete, edit, write};
use error::{Code, FsError};
pub(super) use look::{glob, grep, ls};
pub(super) use read::read;

/// Where all paths begin.
const ROOT: &str = "/workspace";
/// Largest request that brings the content of a file, in bytes.
const CONTENT_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Whether a path may be the folder of everything.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Root {
    Allowed,
    Refused,
}

/// A path of the workspace, from one that begins at the root of the sandbox.
fn path(text: &str, root: Root) -> Result<WorkspacePath, FsError> {
    let wrong = |why: &str| FsError::new(Code::InvalidPath, format!("{text:?} {why}"));
    if text.contains(['\0', '\r', '\n']) {
        return Err(wrong("holds a control character"));
    }
    let Some(absolute) = text.strip_prefix('/') else {
        return Err(wrong("is not absolute"));
    };
    let mut steps = absolute.split('/').filter(|step| !matches!(*step, "" | "."));
    if absolute.split('/').any(|step| step == "..") {
        return Err(wrong("has a `..`"));
    }
    if steps.next() != ROOT.strip_prefix('/') {
        return Err(wrong("is outside of /workspace"));
    }
    let below = steps.collect::<Vec<_>>().join("/");
    match (below.is_empty(), root) {
        (true, Root::Allowed) => Ok(WorkspacePath::root()),
        (true, Root::Refused) => Err(wrong("is the workspace itself")),
        (false, _) => WorkspacePath::parse(&below).map_err(|why| wrong(&why.to_string())),
    }
}

/// A path of the workspace as clients know it.
fn shown(path: &str) -> String {
    if path.is_empty() { ROOT.to_owned() } else { format!("{ROOT}/{path}") }
}

/// Reads a request of a session.
async fn request<T>(
    call: &mut Call,
    bytes_max: u64,
    read: impl FnOnce(&Value, &mut Spot) -> Option<T>,
) -> Result<(Session, T), Refused> {
    let request = validate::body(call, bytes_max, read).await?;
    Ok((Session::enter(call).await?, request))
}

/// A reply with its error or without; one with an error has the keys of `T::default()`.
fn answer<T: Serialize + Default>(outcome: Result<T, FsError>) -> Response {
    let (value, error) = match outcome {
        Ok(value) => (value, None),
        Err(error) => (T::default(), Some(error)),
    };
    let mut keys = match serde_json::to_value(value) {
        Ok(Value::Object(keys)) => keys,
        Ok(_) | Err(_) => Map::new(),
    };
    keys.insert("error".to_owned(), error.map_or(Value::Null, |error| error.document()));
    reply::json(StatusCode::OK, &Value::Object(keys))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_absolute_and_in_the_workspace() {
        let parsed = |text| path(text, Root::Allowed).map(|path| path.as_str().to_owned());
        for (text, below) in [
            ("/workspace", ""),
            ("/workspace/", ""),
            ("/workspace/./repo//a", "repo/a"),
            ("//workspace/repo/...", "repo/..."),
        ] {
            assert_eq!(parsed(text).ok().as_deref(), Some(below), "{text}");
        }
        let long = format!("/workspace/{}", "x".repeat(300));
        for bad in [
            "",
            "repo/a",
            "/",
            "/etc/passwd",
            "/workspacex/a",
            "/workspace/../etc",
            "/workspace/a/..",
            "/workspace/a\0",
            "/workspace/a\n",
            "/workspace/a\r",
            &long,
        ] {
            assert_eq!(parsed(bad).unwrap_err().code(), Code::InvalidPath, "{bad:?}");
        }
        assert!(path("/workspace/", Root::Refused).is_err());
    }
}
