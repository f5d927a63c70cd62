//! One shot: a sandbox for one request, in which commands or code run, and of which the
//! changed files come back.
//!
//! The project is the request's own ([`Once`](sandtree_actors::Once)): it is deleted with
//! all that is in it when the request is over, however it ends. A profile's pooled
//! sandbox is taken where the request changes nothing that it is made of.
//!
//! `request` turns a body into a [`Plan`]; [`work`] carries a plan out, for every
//! dialect; what it comes to is told as one document, or as events as it happens.

mod events;
pub(super) mod request;
pub mod work;

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sandtree_workspace::ArchiveSummary;
use serde_json::{Value, json};
use warp::http::StatusCode;

use super::archive;
use super::body;
use super::context::{Call, JSON};
use super::reply::{self, Answered};
pub use work::{Outcome, Packed, Plan, Ran, Todo, Wanted, carry_out};

/// Runs commands or code in a sandbox of its own: 200 with what each wrote and how it
/// ended, and with the files that the last one changed.
///
/// # Errors
///
/// 400 naming the field, 413 for a request or an archive that is too large, 422 when the
/// image cannot be had, 429 when too many runs are under way, 504 when there is no
/// sandbox in time. A command that fails is no error.
pub async fn run(mut call: Call) -> Answered {
    let by = call.principal()?.clone();
    let settings = Arc::clone(&call.context.settings.run);
    let place = call.context.places.runs.take()?;
    body::require_media(&call.headers, &[JSON])?;
    body::check_length(&call.headers, settings.request_bytes_max)?;
    let text = call.take_body().read(settings.request_bytes_max).await?;
    let plan = request::plan(body::parse_json(&text)?, &settings)?;
    drop(text);
    if call.wants_event_stream() {
        let told = events::tell(call.context.clone(), by, plan, place);
        return Ok(reply::sse(call.context.shutdown.clone(), told));
    }
    let outcome = carry_out(&call.context, &by, plan, None).await?;
    drop(place);
    Ok(reply::json(StatusCode::OK, &document(outcome)))
}

fn document(outcome: Outcome) -> Value {
    let Outcome { results, files, unpacked, timed_out } = outcome;
    let results: Vec<_> = results.into_iter().map(Ran::document).collect();
    let mut document = end_document(files.as_ref(), timed_out);
    document["results"] = results.into();
    if let Some(unpacked) = unpacked {
        document["unpacked"] = unpacked_document(&unpacked);
    }
    document
}

/// What is told at the end in both forms.
fn end_document(files: Option<&Packed>, timed_out: bool) -> Value {
    let files = files.map(|packed| {
        json!({
            "paths": packed.paths,
            "archive": STANDARD.encode(&packed.archive),
            "truncated": packed.truncated,
        })
    });
    json!({ "files": files, "timed_out": timed_out })
}

fn unpacked_document(summary: &ArchiveSummary) -> Value {
    archive::document(summary)
}

#[cfg(test)]
mod tests;
