//! Projects and their life cycle.

mod document;
mod requests;

use sandtree_actors::{Operation, View};
use sandtree_model::durations::Span;
use sandtree_model::project::Idempotency;
use sandtree_model::{ProjectKey, Refusal};
use serde_json::json;
use sha2::{Digest, Sha256};
use warp::http::header::{CONTENT_TYPE, LOCATION};
use warp::http::{HeaderName, HeaderValue, StatusCode};

use super::context::{Call, JSON};
use super::errors::{Problem, kinds};
use super::reply::{self, Answered, Response};
use super::{body, context};
pub use document::document;
use requests::{CreateBody, ListQuery, PatchBody, RemoveQuery, ShowQuery};

/// The header that makes a repeated create find the project of the first one.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Longest value of that header, in bytes.
const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;
/// Media type of changes; plain JSON is taken for it.
const MERGE_PATCH: &str = "application/merge-patch+json";

/// Makes a project: 201, or 200 when an earlier request with the same idempotency key
/// had made it. With `start` it answers once the project runs, or at once if asked to.
///
/// # Errors
///
/// 400 naming the field, 409 when the id is taken, 422 when the image cannot be had.
pub async fn create(mut call: Call) -> Answered {
    let by = call.principal()?.clone();
    let body: CreateBody = call.json_or_empty().await?;
    let idempotency = idempotency(&call, &body)?;
    let later = call.prefers_async() && body.starts();
    let mut request = body.into_request(idempotency);
    request.start &= !later;
    let tree = &call.context.tree;
    let (mut view, made) = tree.create(&by, request).await?;
    if later && made {
        let key = view.project.key.clone();
        view = tree.operate_later(&by, &key, Operation::Start).await?;
    }
    let status = match (made, later) {
        (_, true) => StatusCode::ACCEPTED,
        (true, false) => StatusCode::CREATED,
        (false, false) => StatusCode::OK,
    };
    let mut response = reply::json(status, &document(&view));
    let headers = response.headers_mut();
    // An id has no character that a header or a path cannot have.
    if let Ok(place) = HeaderValue::from_str(&format!("/v1/projects/{}", view.project.key.id)) {
        headers.insert(LOCATION, place);
    }
    if !made {
        headers.insert("idempotency-replayed", HeaderValue::from_static("true"));
    }
    Ok(if later { applied(response) } else { response })
}

/// The key that makes two requests one, with the hash of what the body means, so that
/// white space and the order of fields are free.
fn idempotency(call: &Call, body: &CreateBody) -> Result<Option<Idempotency>, Problem> {
    let Some(key) = call.header(&IDEMPOTENCY_KEY)? else { return Ok(None) };
    if key.is_empty() || key.len() > IDEMPOTENCY_KEY_BYTES_MAX {
        let problem = format!("must have 1 to {IDEMPOTENCY_KEY_BYTES_MAX} characters");
        let problem = Problem::field("Idempotency-Key", problem);
        return Err(problem.limit(IDEMPOTENCY_KEY_BYTES_MAX as u64));
    }
    let text = serde_json::to_vec(body).map_err(|error| Problem::internal(&error.to_string()))?;
    let request_sha256 = Sha256::digest(text).into();
    Ok(Some(Idempotency { key: key.into(), request_sha256 }))
}

/// Lists the tenant's projects in the order of their ids, a page at a time.
///
/// # Errors
///
/// 400 naming the parameter.
pub async fn list(call: Call) -> Answered {
    let tenant = &call.principal()?.tenant;
    let filter = call.query::<ListQuery>()?.into_filter()?;
    let views = call.context.tree.list(tenant, &filter).await?;
    let is_full = views.len() >= filter.limit as usize;
    let next = views.last().filter(|_| is_full).map(|view| view.project.key.id.as_str());
    let items: Vec<_> = views.iter().map(document).collect();
    Ok(reply::json(StatusCode::OK, &json!({ "items": items, "next_cursor": next })))
}

/// Shows a project, at once or when it has reached a phase.
///
/// # Errors
///
/// 404, and 400 naming the parameter.
pub async fn show(call: Call) -> Answered {
    let key = call.project()?;
    let ShowQuery { wait_for, timeout } = call.query()?;
    let Some(phase) = wait_for else {
        if timeout.is_some() {
            return Err(Problem::field("timeout", "is for wait_for, which is absent"));
        }
        return Ok(reply::json(StatusCode::OK, &document(&call.context.tree.get(&key).await?)));
    };
    let timeout = timeout.unwrap_or(ShowQuery::TIMEOUT_DEFAULT);
    let longest = Span(call.context.settings.wait_max);
    if timeout > longest {
        return Err(Problem::field("timeout", format!("must be at most {longest}")));
    }
    let view = tokio::select! {
        biased;
        view = call.context.tree.wait_for(&key, phase, timeout.0) => view?,
        () = call.context.shutdown.cancelled() => return Err(ending()),
    };
    Ok(reply::json(StatusCode::OK, &document(&view)))
}

/// Changes settings: what is absent stays, `null` removes a variable or a label.
///
/// # Errors
///
/// 400 naming the field, 404.
pub async fn change(mut call: Call) -> Answered {
    let key = call.project()?;
    body::require_media(&call.headers, &[JSON, MERGE_PATCH])?;
    call.headers.insert(CONTENT_TYPE, HeaderValue::from_static(context::JSON));
    let patch: PatchBody = call.json().await?;
    let view = call.context.tree.patch(&key, patch.into_request()).await?;
    Ok(reply::json(StatusCode::OK, &document(&view)))
}

/// Deletes a project: 204 when it is gone, or 202 at once if asked to.
///
/// # Errors
///
/// 404.
pub async fn remove(call: Call) -> Answered {
    let key = call.project()?;
    let RemoveQuery { keep_files } = call.query()?;
    let operation = Operation::Delete { keep_files };
    if call.prefers_async() {
        return operated_later(&call, &key, operation).await;
    }
    operated(&call, &key, operation).await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

macro_rules! operations {
    ($($name:ident $operation:ident $doc:literal;)*) => {$(
        #[doc = $doc]
        ///
        /// # Errors
        ///
        /// 404, 409 naming the phase, and faults of the engine.
        pub async fn $name(call: Call) -> Answered {
            operate(call, Operation::$operation).await
        }
    )*};
}

operations! {
    start Start "Makes it run; one that runs already is left alone.";
    stop Stop "Stops it; one that is stopped already is left alone.";
    restart Restart "Stops it, then starts it.";
    pause Pause "Freezes it.";
    resume Resume "Thaws it.";
    discard Discard "Stops it and removes its container; its files stay.";
}

async fn operate(mut call: Call, operation: Operation) -> Answered {
    let key = call.project()?;
    if !call.take_body().read(2).await.is_ok_and(|text| matches!(&*text, b"" | b"{}")) {
        return Err(Problem::new(kinds::BAD_REQUEST, "this request has no body"));
    }
    if call.prefers_async() {
        return operated_later(&call, &key, operation).await;
    }
    let view = operated(&call, &key, operation).await?;
    Ok(reply::json(StatusCode::OK, &document(&view)))
}

/// Waits for an operation, but not longer than the server lives: the target is
/// committed, so the next server goes on with it.
async fn operated(call: &Call, key: &ProjectKey, operation: Operation) -> Result<View, Problem> {
    let by = call.principal()?;
    tokio::select! {
        biased;
        view = call.context.tree.operate(by, key, operation) => Ok(view?),
        () = call.context.shutdown.cancelled() => Err(ending()),
    }
}

async fn operated_later(call: &Call, key: &ProjectKey, operation: Operation) -> Answered {
    let view = call.context.tree.operate_later(call.principal()?, key, operation).await?;
    Ok(applied(reply::json(StatusCode::ACCEPTED, &document(&view))))
}

fn applied(mut response: Response) -> Response {
    let value = HeaderValue::from_static("respond-async");
    response.headers_mut().insert("preference-applied", value);
    response
}

fn ending() -> Problem {
    Problem::new(kinds::SHUTTING_DOWN, "the server is ending; ask again in a moment")
}

/// A value that is allowed under a field's name, or the problem with it.
fn invalid(field: &'static str, problem: impl Into<Box<str>>) -> Problem {
    Refusal::invalid(field, problem).into()
}

#[cfg(test)]
mod tests;
