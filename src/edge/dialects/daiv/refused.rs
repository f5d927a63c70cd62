//! What a client is told when it does not get what it asked for: `{"detail": ...}`, where the
//! detail is a list for a body that cannot be read and a sentence for everything else.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sandtree_actors::WriteError;
use sandtree_model::Failure;
use serde_json::{Value, json};
use warp::http::StatusCode;

use super::validate::Wrong;
use crate::edge::auth::KEY_UNKNOWN;
use crate::edge::context::Call;
use crate::edge::errors::{Problem, kinds};
use crate::edge::files;
use crate::edge::reply::{self, Answered, Response};

/// Why a request is not answered as it would like to be.
#[derive(Debug)]
pub(super) enum Refused {
    /// The body cannot be read: 422 with all that is wrong.
    Invalid(Vec<Wrong>),
    /// This dialect has its own words and status for it.
    Said(StatusCode, String),
    /// Anything else.
    Problem(Problem),
}

impl Refused {
    /// Its own words.
    pub(super) fn said(status: StatusCode, words: impl Into<String>) -> Self {
        Refused::Said(status, words.into())
    }
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Refused::Problem(problem)
    }
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Refused::Problem(failure.into())
    }
}

impl From<WriteError> for Refused {
    fn from(error: WriteError) -> Self {
        Refused::Problem(files::write_problem(error))
    }
}

/// A handler of this dialect as one of the route table.
pub(super) fn told<H, F>(
    handler: H,
) -> impl Fn(Call) -> BoxFuture<'static, Answered> + Send + Sync + 'static
where
    H: Fn(Call) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Response, Refused>> + Send + 'static,
{
    move |call| {
        let answer = handler(call);
        async move {
            match answer.await {
                Ok(response) => Ok(response),
                Err(Refused::Problem(problem)) => Err(problem),
                Err(Refused::Said(status, words)) => Ok(detail(status, &words.into())),
                Err(Refused::Invalid(wrongs)) => {
                    Ok(detail(StatusCode::UNPROCESSABLE_ENTITY, &json!(wrongs)))
                }
            }
        }
        .boxed()
    }
}

/// A problem of the core in the words of this dialect. The gate's come here too, and those of
/// paths that are not served.
pub(super) fn problem(problem: &Problem) -> Response {
    let kind = problem.kind();
    let status = StatusCode::from_u16(kind.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let (status, words) = match kind {
        kinds::UNAUTHORIZED if problem.detail() == KEY_UNKNOWN => {
            (StatusCode::FORBIDDEN, "Invalid API Key")
        }
        kinds::UNAUTHORIZED => (StatusCode::FORBIDDEN, "API Key header is missing"),
        kinds::UNKNOWN_ROUTE => (StatusCode::NOT_FOUND, "Not Found"),
        kinds::METHOD_NOT_ALLOWED => (StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed"),
        // Its clients try again after a 500 and never after a 422, which is a body's.
        kinds::IMAGE => (StatusCode::INTERNAL_SERVER_ERROR, problem.detail()),
        kinds::INVALID_FIELD => (StatusCode::UNPROCESSABLE_ENTITY, problem.detail()),
        _ => (status, problem.detail()),
    };
    detail(status, &words.into())
}

/// What is wrong with a field that reads well and that the core does not take, as a
/// validator of the body would say it: the field's name here, and why.
pub(super) fn invalid_field(problem: &Problem) -> Option<(&'static str, String)> {
    if problem.kind() != kinds::INVALID_FIELD {
        return None;
    }
    Some((name_of(problem.at_field()?)?, problem.reason().to_owned()))
}

/// What a field of the core is called here, if it comes from a body.
fn name_of(field: &str) -> Option<&'static str> {
    match field {
        "image" => Some("base_image"),
        "argv" => Some("commands"),
        "cwd" => Some("workdir"),
        "code.dependencies" => Some("dependencies"),
        "code.language" => Some("language"),
        "limits.memory_bytes" => Some("memory_bytes"),
        _ if field == "env" || field.starts_with("env.") => Some("environment"),
        _ => None,
    }
}

fn detail(status: StatusCode, detail: &Value) -> Response {
    reply::json(status, &json!({ "detail": detail }))
}
