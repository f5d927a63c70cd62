//! What changes in the workspace, as server-sent events.
//!
//! `ready {directories}` comes first: what happens from then on is told, as `created`,
//! `modified`, `removed {path, kind}` and `renamed {from, to, kind}`. `overflow` says that
//! more happened than could be told, so that only looking at the tree shows it; `limited
//! {directories}` that there are more directories than are watched. `error` is the last: the
//! sandbox has ended, or the directory is gone.
//!
//! The sandbox itself tells, by inotify, so it has to run. A watch holds back what its
//! client does not take, up to bounds, and then overflows. It does not count as activity.

use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use sandtree_actors::{Watch, WatchItem};
use sandtree_model::Fault;
use sandtree_wire::{Change, WORKSPACE, WatchSpec, WhatChanged};
use sandtree_workspace::{COMPONENT_BYTES_MAX, WorkspacePath};
use serde::Deserialize;
use serde_json::json;

use super::context::{Call, EVENT_STREAM, parse_query, take_repeated};
use super::errors::{Problem, kinds};
use super::events::accepts_events;
use super::files;
use super::reply::{self, Answered, SseEvent};

/// Most directories of one watch. Each takes memory of the kernel and of init.
pub const DIRECTORIES_MAX: u32 = 8192;
/// Most names that are left out.
const EXCLUDED_MAX: usize = 64;
/// Longest time until everything is watched.
const READY_MAX: Duration = Duration::from_secs(60);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    /// A directory; absent: the workspace.
    #[serde(default)]
    path: String,
    /// Whether directories below it are watched too; `true`.
    recursive: Option<bool>,
}

/// A request that was checked.
#[derive(Debug)]
struct Wanted {
    path: WorkspacePath,
    spec: WatchSpec,
}

/// Follows changes until the client goes away or the sandbox ends.
///
/// # Errors
///
/// 404 when there is no such directory, 406 for a client that does not take events, 409 when
/// the project does not run, 429 when too many watch already.
pub async fn follow(call: Call) -> Answered {
    let key = call.project()?;
    if !accepts_events(&call) {
        let detail = format!("this is sent as {EVENT_STREAM}");
        return Err(Problem::new(kinds::NOT_ACCEPTABLE, detail));
    }
    let Wanted { path, spec } = check(call.query.as_deref().unwrap_or(""))?;
    let sandbox = call.context.tree.sandbox(&key).await?;
    let mut watch = sandbox.watch(spec).await?;
    // From here on only the watch is held, which is no activity.
    drop(sandbox);
    let late = || Fault::TimedOut { what: "the start of the watch".into(), limit: READY_MAX };
    let first = tokio::time::timeout(READY_MAX, watch.next()).await.map_err(|_| late())??;
    let first = stream::iter([written(first, &path)]);
    let told = first.chain(tell(watch, path));
    Ok(reply::sse(call.context.shutdown.clone(), told))
}

fn check(query: &str) -> Result<Wanted, Problem> {
    let (excluded, query) = take_repeated("exclude", query);
    let Query { path, recursive } = parse_query(&query)?;
    let names = excluded.iter().flat_map(|names| names.split(','));
    let exclude: Vec<_> = names.filter(|name| !name.is_empty()).map(str::to_owned).collect();
    let is_name = |name: &String| name.len() <= COMPONENT_BYTES_MAX && !name.contains(['/', '\0']);
    if exclude.len() > EXCLUDED_MAX || !exclude.iter().all(is_name) {
        let problem = format!("must be up to {EXCLUDED_MAX} names of files or directories");
        return Err(Problem::field("exclude", problem));
    }
    let path = files::parse("path", &path)?;
    let spec = WatchSpec {
        path: if path.is_root() { WORKSPACE.into() } else { format!("{WORKSPACE}/{path}") },
        exclude,
        recursive: recursive.unwrap_or(true),
        directories_max: DIRECTORIES_MAX,
    };
    Ok(Wanted { path, spec })
}

/// What follows the first event; an error is the last.
fn tell(watch: Watch, path: WorkspacePath) -> impl Stream<Item = SseEvent> + Send + 'static {
    stream::unfold(Some((watch, path)), |state| async {
        let (mut watch, path) = state?;
        match watch.next().await {
            Ok(item) => Some((written(item, &path), Some((watch, path)))),
            Err(failure) => {
                let problem = Problem::from(failure);
                Some((SseEvent::json("error", &problem.document()), None))
            }
        }
    })
}

fn written(item: WatchItem, start: &WorkspacePath) -> SseEvent {
    match item {
        WatchItem::Ready { directories } => {
            SseEvent::json("ready", &json!({ "directories": directories }))
        }
        WatchItem::Limited { directories } => {
            SseEvent::json("limited", &json!({ "directories": directories }))
        }
        WatchItem::Overflow => SseEvent::json("overflow", &json!({})),
        WatchItem::Change(change) => changed(change, start),
    }
}

fn changed(Change { path, is_dir, what }: Change, start: &WorkspacePath) -> SseEvent {
    let below = |path: String| if start.is_root() { path } else { format!("{start}/{path}") };
    let (path, kind) = (below(path), if is_dir { "directory" } else { "file" });
    let one = |event, path: String| SseEvent::json(event, &json!({ "path": path, "kind": kind }));
    match what {
        WhatChanged::Created => one("created", path),
        WhatChanged::Modified => one("modified", path),
        WhatChanged::Removed => one("removed", path),
        WhatChanged::Renamed { from } => {
            let both = json!({ "from": below(from), "to": path, "kind": kind });
            SseEvent::json("renamed", &both)
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::edge::testing::Edge;

    #[test]
    fn a_request_is_checked() {
        let Wanted { path, spec } =
            check("path=a/b&exclude=node_modules,.git&exclude=*.pyc&recursive=false").unwrap();
        assert_eq!((path.as_str(), spec.path.as_str()), ("a/b", "/workspace/a/b"));
        assert_eq!(spec.exclude, ["node_modules", ".git", "*.pyc"]);
        assert!(!spec.recursive);
        assert_eq!(check("").unwrap().spec.path, "/workspace");
        let many = format!("exclude={}", "x,".repeat(EXCLUDED_MAX + 1));
        for (query, field) in [
            ("path=../x", "path"),
            ("exclude=a/b", "exclude"),
            (many.as_str(), "exclude"),
            ("recursive=2", "recursive"),
            ("depth=2", "depth"),
        ] {
            let problem = check(query).unwrap_err();
            assert_eq!(problem.document()["field"], field, "{query:.20}");
        }
    }

    #[tokio::test]
    async fn what_changes_is_told_until_the_sandbox_ends() {
        let edge = Edge::open().await;
        let made = edge.json("POST", "/v1/projects", r#"{"id": "p", "start": true}"#).await;
        assert_eq!(made.status, 201);
        let accept = [("accept", EVENT_STREAM)];
        let response = edge.send("GET", "/v1/projects/p/watch?path=x", &accept, "").await;
        assert_eq!(response.status(), 200);
        let mut body = Box::pin(response.into_body());
        let mut text = String::new();
        while !text.contains("event: overflow") {
            let frame = body.frame().await.unwrap().unwrap();
            text.push_str(&String::from_utf8_lossy(&frame.into_data().unwrap()));
        }
        let events: Vec<_> = text
            .split("\n\n")
            .filter_map(|event| event.trim().strip_prefix("event: ")?.split_once("\ndata: "))
            .collect();
        let expected = [
            ("ready", r#"{"directories":8192}"#),
            ("created", r#"{"kind":"file","path":"x/a"}"#),
            ("modified", r#"{"kind":"file","path":"x/a"}"#),
            ("renamed", r#"{"from":"x/a","kind":"file","to":"x/b"}"#),
            ("removed", r#"{"kind":"directory","path":"x/d"}"#),
            ("limited", r#"{"directories":7}"#),
            ("overflow", "{}"),
        ];
        assert_eq!(events, expected);
        assert_eq!(edge.ask("POST", "/v1/projects/p/stop", &[], "").await.status, 200);
        let rest = body.collect().await.unwrap().to_bytes();
        let rest = String::from_utf8_lossy(&rest).into_owned();
        assert!(rest.contains("event: error") && rest.contains("sandbox-unreachable"), "{rest}");
    }

    #[tokio::test]
    async fn what_cannot_be_watched_is_a_problem_and_not_a_stream() {
        let edge = Edge::open().await;
        let made = edge.json("POST", "/v1/projects", r#"{"id": "p", "start": true}"#).await;
        assert_eq!(made.status, 201);
        let watch = async |query: &str, accept: &str| {
            let path = format!("/v1/projects/p/watch?{query}");
            let headers = [("accept", accept)];
            edge.send("GET", &path, &headers, "").await
        };
        assert_eq!(watch("path=none", EVENT_STREAM).await.status(), 404);
        assert_eq!(watch("", "image/png").await.status(), 406);
        let mut open = Vec::new();
        loop {
            let response = watch("", EVENT_STREAM).await;
            match response.status().as_u16() {
                200 => open.push(response),
                status => break assert_eq!((status, open.len()), (429, 16)),
            }
        }
        drop(open);
        assert_eq!(edge.ask("POST", "/v1/projects/p/stop", &[], "").await.status, 200);
        assert_eq!(watch("", EVENT_STREAM).await.status(), 409);
    }
}
