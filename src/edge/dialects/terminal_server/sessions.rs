//! Sessions: made, shown, ended, and counted by user.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sandtree_actors::ports::Filter;
use sandtree_actors::{CreateRequest, Operation, View};
use sandtree_model::project::Texts;
use sandtree_model::{Phase, Principal, ProjectId, ProjectKey};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;
use warp::http::StatusCode;
use warp::http::header::HOST;

use super::super::{DIALECT, USER, random_hex};
use super::NAME;
use crate::edge::context::{Call, Context};
use crate::edge::errors::{Problem, kinds};
use crate::edge::forwarded;
use crate::edge::reply::{self, Answered};
use crate::edge::time::rfc3339;

/// What the id of every session begins with.
const PREFIX: &str = "sess_";
/// Longest name of a user, in bytes: it is kept in a label.
const USER_BYTES_MAX: usize = 200;
/// In which sessions are counted.
const HOUR: Duration = Duration::from_secs(3600);

/// `POST /api/v1/sessions`; the body may be left out.
#[derive(Debug, Default, Deserialize)]
struct Request {
    /// Whose session it is, among the users of a client that serves several.
    #[serde(rename = "userId", alias = "user_id")]
    user: Option<String>,
}

/// Sessions that are being made, and when others were: what the store does not tell.
#[derive(Debug, Default)]
pub struct Sessions(Mutex<HashMap<String, Recent>>);

#[derive(Debug, Default)]
struct Recent {
    /// In the order in which they were asked for.
    being_made: Vec<ProjectId>,
    made: VecDeque<Instant>,
}

/// Makes a session and starts its sandbox.
///
/// # Errors
///
/// 422 for a bad user, 429 above the limits, 503 when the engine is away.
pub(super) async fn create(mut call: Call) -> Answered {
    let request: Request = call.json_or_empty().await?;
    let by = call.principal()?.clone();
    let user = request.user.unwrap_or_else(|| by.name.to_string());
    if user.is_empty() || user.len() > USER_BYTES_MAX || user.contains(char::is_control) {
        let problem = format!("must be 1 to {USER_BYTES_MAX} bytes without control characters");
        return Err(Problem::field("userId", problem));
    }
    let session = format!("{PREFIX}{}", random_hex(16)?);
    let id = project_id(&session)?;
    let place = Place::take(&call.context, &user, &id)?;
    place.check(&by).await?;
    let made = call.context.tree.create(&by, create_request(id, &session, &user)).await;
    let (view, _) = made.inspect_err(|failure| {
        tracing::error!(event = "container.failed", session_id = session, error = %failure);
    })?;
    place.made();
    tracing::info!(event = "session.created", session_id = session, user_id = user);
    let mut shown = document(&call, &session, &view);
    shown["websocket_url"] = json!(websocket_url(&call, &session)?);
    Ok(reply::json(StatusCode::OK, &shown))
}

fn create_request(id: ProjectId, session: &str, user: &str) -> CreateRequest {
    CreateRequest {
        id: Some(id),
        name: Some(session.into()),
        profile: Some(NAME.into()),
        labels: Texts::from([(DIALECT.into(), NAME.into()), (USER.into(), user.into())]),
        start: true,
        ..CreateRequest::default()
    }
}

/// Shows a session.
///
/// # Errors
///
/// 404.
pub(super) async fn show(call: Call) -> Answered {
    let session = call.param("id")?;
    let key = key_of(call.principal()?, &session)?;
    let view = call.context.tree.get(&key).await.map_err(|failure| or_unknown(failure.into()))?;
    let mut shown = document(&call, &session, &view);
    shown["websocket_url"] = json!(websocket_url(&call, &session)?);
    Ok(reply::json(StatusCode::OK, &shown))
}

/// Ends a session: its sandbox and its files go.
///
/// # Errors
///
/// 404.
pub(super) async fn remove(call: Call) -> Answered {
    let session = call.param("id")?;
    let by = call.principal()?;
    let key = key_of(by, &session)?;
    let delete = Operation::Delete { keep_files: false };
    let gone = call.context.tree.operate(by, &key, delete).await;
    gone.map_err(|failure| or_unknown(failure.into()))?;
    tracing::info!(event = "session.terminated", session_id = session);
    Ok(reply::json(StatusCode::OK, &json!({ "status": "terminated" })))
}

/// The project of a session; a text that cannot be one's id is unknown.
pub(super) fn key_of(by: &Principal, session: &str) -> Result<ProjectKey, Problem> {
    let is_session = session
        .strip_prefix(PREFIX)
        .is_some_and(|rest| rest.len() == 32 && rest.bytes().all(|c| c.is_ascii_hexdigit()));
    if !is_session {
        return Err(unknown());
    }
    Ok(ProjectKey { tenant: by.tenant.clone(), id: project_id(session)? })
}

fn project_id(session: &str) -> Result<ProjectId, Problem> {
    ProjectId::of_name(session).map_err(|error| Problem::field("session_id", error))
}

pub(super) fn unknown() -> Problem {
    Problem::new(kinds::NOT_FOUND, "Session not found")
}

/// The core speaks of projects, this system of sessions.
pub(super) fn or_unknown(problem: Problem) -> Problem {
    if problem.kind() == kinds::NOT_FOUND { unknown() } else { problem }
}

/// Both spellings of two documents of the same system.
fn document(call: &Call, session: &str, view: &View) -> Value {
    let project = &view.project;
    let status = match project.phase {
        Phase::Creating | Phase::Starting | Phase::Resuming => "starting",
        Phase::Running | Phase::Pausing | Phase::Paused => "active",
        Phase::Stopping | Phase::Stopped => "stopped",
        Phase::Failed => "failed",
        Phase::Deleting | Phase::Deleted => "terminated",
    };
    let container = project.container.as_ref().map(|container| &container.id);
    let viewers = view.terminal.map_or(0, |terminal| terminal.viewers);
    let limits = &call.context.tree.settings().profiles.get(NAME);
    json!({
        "session_id": session,
        "sessionId": session,
        "containerId": container,
        "status": status,
        "created_at": rfc3339(project.created_at),
        "viewers": viewers,
        "idle_timeout": limits.map(|profile| profile.idle_timeout),
    })
}

/// Where the client that asks reaches the socket.
fn websocket_url(call: &Call, session: &str) -> Result<String, Problem> {
    let host = call.header(&HOST)?.unwrap_or("localhost");
    let scheme = if forwarded::is_https(&call.headers) { "wss" } else { "ws" };
    Ok(format!("{scheme}://{host}/ws/terminal/{session}"))
}

/// A place among a user's sessions, from its asking until it is in the store.
struct Place {
    context: Context,
    user: String,
    id: ProjectId,
    /// Those that asked earlier.
    earlier: BTreeSet<ProjectId>,
}

impl Place {
    /// # Errors
    ///
    /// 429 when the user has made too many within the hour.
    fn take(context: &Context, user: &str, id: &ProjectId) -> Result<Self, Problem> {
        let most = context.settings.dialects.terminal_server.sessions_per_hour_max as usize;
        let mut users = context.dialects.sessions.users();
        users.retain(|_, recent| recent.is_recent());
        let recent = users.entry(user.to_owned()).or_default();
        if most > 0 && recent.made.len() + recent.being_made.len() >= most {
            let detail = format!("Session limit reached: {most} within an hour");
            return Err(Problem::new(kinds::BUSY, detail));
        }
        let earlier = recent.being_made.iter().cloned().collect();
        recent.being_made.push(id.clone());
        drop(users);
        Ok(Self { context: context.clone(), user: user.to_owned(), id: id.clone(), earlier })
    }

    /// The session was made, and counts for an hour; what was refused does not.
    fn made(&self) {
        if self.context.settings.dialects.terminal_server.sessions_per_hour_max > 0 {
            let mut users = self.context.dialects.sessions.users();
            users.entry(self.user.clone()).or_default().made.push_back(Instant::now());
        }
    }

    /// # Errors
    ///
    /// 429 when the user has too many sessions.
    async fn check(&self, by: &Principal) -> Result<(), Problem> {
        let most = self.context.settings.dialects.terminal_server.sessions_per_user_max as usize;
        let mut taken = self.earlier.clone();
        let label = Some((USER.into(), self.user.as_str().into()));
        let limit = u32::try_from(most).unwrap_or(u32::MAX).min(1000);
        let filter = Filter { label, limit, ..Filter::default() };
        let views = self.context.tree.list(&by.tenant, &filter).await?;
        let sessions = views.iter().filter(|view| &*view.project.settings.profile == NAME);
        taken.extend(sessions.map(|view| view.project.key.id.clone()));
        if taken.len() < most {
            return Ok(());
        }
        let detail = format!("Session limit reached: {most} per user; end one first");
        Err(Problem::new(kinds::BUSY, detail))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut users = self.context.dialects.sessions.users();
        if let Some(recent) = users.get_mut(&self.user) {
            recent.being_made.retain(|id| *id != self.id);
        }
    }
}

impl Sessions {
    fn users(&self) -> std::sync::MutexGuard<'_, HashMap<String, Recent>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recent {
    /// Forgets what is older than an hour; whether anything is left.
    fn is_recent(&mut self) -> bool {
        while self.made.front().is_some_and(|at| at.elapsed() >= HOUR) {
            self.made.pop_front();
        }
        !self.made.is_empty() || !self.being_made.is_empty()
    }
}
