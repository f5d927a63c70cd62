//! Sessions: a project with a random name, whose requests come one after another.

mod create;

use sandtree_actors::{Files, Operation, PatchRequest, Sandbox, Turn};
use sandtree_model::{Failure, Principal, ProjectId, ProjectKey, Refusal, Settings};
use warp::http::StatusCode;

use super::refused::Refused;
use super::validate::{self, types};
use crate::edge::context::Call;
use crate::edge::reply::{self, Response};

pub(super) use create::{EXTRACTS_PATCH, IS_EPHEMERAL, create};

/// Label of a session whose folders were filled.
const IS_SEEDED: &str = "daiv.seeded";
/// What is told of a session that is not there.
pub(super) const NOT_FOUND: &str = "Session not found or already closed";

/// A session whose turn it is.
pub(super) struct Session {
    id: String,
    key: ProjectKey,
    by: Principal,
    tree: sandtree_actors::Tree,
    _turn: Turn,
}

impl Session {
    /// The session that the path names, once no other request uses it.
    ///
    /// # Errors
    ///
    /// 404, and 409 when it stays in use for too long.
    pub(super) async fn enter(call: &Call) -> Result<Self, Refused> {
        Self::find(call, NOT_FOUND).await
    }

    /// As [`Session::enter`], with other words for a session that is not there.
    pub(super) async fn find(call: &Call, not_found: &str) -> Result<Self, Refused> {
        let by = call.principal()?.clone();
        let missing = || Refused::said(StatusCode::NOT_FOUND, not_found);
        // What is no text names no session.
        let id = call.param("id").map_err(|_| missing())?;
        let project = ProjectId::of_name(&id).map_err(|_| missing())?;
        let key = ProjectKey { tenant: by.tenant.clone(), id: project };
        let wait = call.context.settings.dialects.daiv.busy_wait;
        let tree = call.context.tree.clone();
        match tree.turn(&key, wait).await {
            Ok(turn) => Ok(Self { id, key, by, tree, _turn: turn }),
            Err(Failure::Refused(Refusal::NotFound { .. })) => Err(missing()),
            Err(Failure::Refused(Refusal::Busy { .. })) => {
                Err(Refused::said(StatusCode::CONFLICT, "Session is busy"))
            }
            Err(failure) => Err(failure.into()),
        }
    }

    /// Its sandbox; one that is stopped is started again.
    ///
    /// # Errors
    ///
    /// 503 when it cannot be started.
    pub(super) async fn warm(&self) -> Result<Sandbox, Refused> {
        match self.tree.sandbox(&self.key).await {
            Err(Failure::Refused(Refusal::WrongPhase { .. })) => {}
            outcome => return Ok(outcome?),
        }
        let started = self.tree.operate(&self.by, &self.key, Operation::Start).await;
        let sandbox = match started {
            Ok(_) => self.tree.sandbox(&self.key).await,
            Err(failure) => Err(failure),
        };
        sandbox.map_err(|failure| {
            tracing::warn!(session = %self.key, %failure, "could not be restarted");
            let words = format!("Session '{}' could not be restarted", self.id);
            Refused::said(StatusCode::SERVICE_UNAVAILABLE, words)
        })
    }

    /// Its files, whether it runs or not.
    pub(super) async fn files(&self) -> Result<Files, Refused> {
        Ok(self.tree.files(&self.key).await?)
    }

    /// What it was made with.
    pub(super) async fn settings(&self) -> Result<Settings, Refused> {
        Ok(self.tree.get(&self.key).await?.project.settings.clone())
    }

    /// Whether its folders were filled.
    pub(super) async fn is_seeded(&self) -> Result<bool, Refused> {
        Ok(self.settings().await?.labels.contains_key(IS_SEEDED))
    }

    /// Writes down that they were.
    pub(super) async fn note_seeded(&self) -> Result<(), Refused> {
        let labels = [(IS_SEEDED.into(), Some("true".into()))].into();
        let patch = PatchRequest { labels, ..PatchRequest::default() };
        self.tree.patch(&self.key, patch).await?;
        Ok(())
    }
}

/// Makes sure that a session runs.
pub(super) async fn warm(call: Call) -> Result<Response, Refused> {
    Session::enter(&call).await?.warm().await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

/// Stops a session, or with `force` removes it with all its files. One that is not there is
/// as closed as it can be.
pub(super) async fn close(call: Call) -> Result<Response, Refused> {
    let force = validate::query(&call, "force", false, types::flag)?;
    let session = match Session::enter(&call).await {
        Err(Refused::Said(StatusCode::NOT_FOUND, _)) => {
            return Ok(reply::empty(StatusCode::NO_CONTENT));
        }
        outcome => outcome?,
    };
    let Session { id, key, by, tree, .. } = &session;
    let closed = if force {
        // It is gone for everybody as soon as that is written down.
        tree.operate_later(by, key, Operation::Delete { keep_files: false }).await
    } else {
        tree.operate(by, key, Operation::Stop).await
    };
    match closed {
        Ok(_) | Err(Failure::Refused(Refusal::NotFound { .. })) => {
            Ok(reply::empty(StatusCode::NO_CONTENT))
        }
        Err(failure) => {
            tracing::warn!(session = %key, %failure, "could not be closed");
            let words = format!("Session '{id}' could not be stopped");
            Err(Refused::said(StatusCode::SERVICE_UNAVAILABLE, words))
        }
    }
}
