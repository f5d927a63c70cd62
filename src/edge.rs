//! The edge: HTTP and WebSocket requests become messages to the tree.
//!
//! [`table`] is the whole API. A row names a path and the handlers of its methods; a
//! handler is a plain `async fn(Call) -> Answered` in the file of its resource.
//! Everything that is the same for all of them is in one place each:
//!
//! | what | where |
//! | --- | --- |
//! | status codes and problem documents | [`errors`] |
//! | path, query, headers and what else a request has | [`context`] |
//! | bodies of requests, with their limits | [`body`] |
//! | bodies of responses, streams and events | [`reply`] |
//! | keys, hosts and origins, before anything is routed | [`auth`] |
//! | what clients of other systems get instead | [`dialects`] |
//! | what all requests and responses pass | [`front`] |
//! | the connections themselves | [`crate::server`] |

pub mod archive;
pub mod auth;
pub mod body;
pub mod context;
pub mod dialects;
pub mod errors;
pub mod events;
pub mod exec;
pub mod files;
mod forwarded;
pub mod front;
pub mod health;
pub mod idle;
pub mod metrics;
mod object;
pub mod openapi;
pub mod places;
pub mod preview;
pub mod process;
pub mod projects;
pub mod reply;
pub mod router;
pub mod run;
pub mod search;
pub mod stats;
pub mod terminal;
#[cfg(test)]
pub(crate) mod testing;
pub mod time;
pub mod watch;
pub mod websocket;

use std::collections::BTreeMap;

use warp::Filter;
use warp::filters::BoxedFilter;
use warp::path::FullPath;

use context::Context;
use errors::{Problem, kinds};
use reply::Response;
use router::{Answerer, Route, any, at, delete, first_of, get, patch, post, put};

/// Every route of the native API; those of the dialects are in [`dialects`].
#[must_use]
#[rustfmt::skip]
pub fn table() -> Vec<Route> {
    vec![
        at("/health",                             [get(health::alive)]),
        at("/ready",                              [get(health::ready)]),
        at("/metrics",                            [get(metrics::render)]),
        at("/openapi.json",                       [get(openapi::document)]),

        at("/v1/projects",                        [get(projects::list), post(projects::create)]),
        at("/v1/projects/{id}",                   [get(projects::show), patch(projects::change), delete(projects::remove)]),
        at("/v1/projects/{id}/start",             [post(projects::start)]),
        at("/v1/projects/{id}/stop",              [post(projects::stop)]),
        at("/v1/projects/{id}/restart",           [post(projects::restart)]),
        at("/v1/projects/{id}/pause",             [post(projects::pause)]),
        at("/v1/projects/{id}/resume",            [post(projects::resume)]),
        at("/v1/projects/{id}/sandbox",           [delete(projects::discard)]),
        at("/v1/projects/{id}/events",            [get(events::follow)]),
        at("/v1/projects/{id}/stats",             [get(stats::show)]),

        at("/v1/projects/{id}/exec",              [post(exec::run)]),
        at("/v1/projects/{id}/process",           [get(process::show), put(process::start), delete(process::stop)]),
        at("/v1/projects/{id}/process/signal",    [post(process::signal)]),
        at("/v1/projects/{id}/process/logs",      [get(process::logs)]),
        at("/v1/projects/{id}/terminal",          [get(terminal::open), delete(terminal::close)]),

        at("/v1/projects/{id}/files/{path..}",    [get(files::read), put(files::write), delete(files::remove)]),
        at("/v1/projects/{id}/files:mkdir",       [post(files::mkdir)]),
        at("/v1/projects/{id}/files:move",        [post(files::rename)]),
        at("/v1/projects/{id}/files:copy",        [post(files::copy)]),
        at("/v1/projects/{id}/files:batch",       [post(files::batch)]),
        at("/v1/projects/{id}/tree",              [get(files::tree)]),
        at("/v1/projects/{id}/search",            [get(search::find)]),
        at("/v1/projects/{id}/watch",             [get(watch::follow)]),
        at("/v1/projects/{id}/archive",           [get(archive::download), put(archive::upload)]),

        at("/v1/run",                             [post(run::run)]),

        at("/v1/projects/{id}/ports/{port}",          [any(preview::without_slash)]),
        at("/v1/projects/{id}/ports/{port}/{path..}", [any(preview::by_path)]),
    ]
}

/// The table as one filter that answers every request.
#[must_use]
pub fn routes(context: &Context) -> BoxedFilter<(Response,)> {
    let mut groups: BTreeMap<&'static str, Vec<BoxedFilter<(Response,)>>> = BTreeMap::new();
    for route in table().into_iter().chain(dialects::table(&context.settings.dialects)) {
        groups.entry(group(route.template)).or_default().push(route.filter(context));
    }
    let groups = groups.into_iter().filter_map(|(name, rows)| {
        let mine = warp::path::full().and_then(move |path: FullPath| async move {
            let mine = group(path.as_str()) == name;
            mine.then_some(()).ok_or_else(warp::reject::not_found)
        });
        Some(mine.untuple_one().and(first_of(rows)?).boxed())
    });
    let previews = router::by_preview_host(context, preview::by_host);
    let all = first_of(std::iter::once(previews).chain(groups).chain([unknown()]));
    all.unwrap_or_else(unknown)
}

/// Rows are searched in groups: of the first segment, and below `/api/v1`, where three
/// systems have theirs, of the third.
fn group(path: &str) -> &str {
    let path = path.strip_prefix("/api/v1/").unwrap_or(path.strip_prefix('/').unwrap_or(path));
    path.split('/').next().unwrap_or("")
}

fn unknown() -> BoxedFilter<(Response,)> {
    let answer = |path: FullPath| {
        let problem =
            Problem::new(kinds::UNKNOWN_ROUTE, format!("nothing is at {}", path.as_str()));
        let mut response = problem.into_response();
        response.extensions_mut().insert(Answerer("unknown"));
        response
    };
    warp::path::full().map(answer).boxed()
}

#[cfg(test)]
mod tests;
