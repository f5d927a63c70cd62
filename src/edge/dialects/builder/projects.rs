//! Projects: their names, and how they come to be.

use sandtree_actors::ports::Filter;
use sandtree_actors::{CreateRequest, Operation, View};
use sandtree_model::project::Texts;
use sandtree_model::{Principal, ProjectId, ProjectKey};
use sandtree_workspace::{Existing, ExtractOptions, Limits, Manner, WorkspacePath};
use serde::Deserialize;
use serde_json::json;
use warp::http::StatusCode;

use super::super::DIALECT;
use super::generate::{Content, Generated, generated};
use super::rates::{self, Kind};
use super::{NAME, runtime};
use crate::edge::archive;
use crate::edge::context::Call;
use crate::edge::errors::{Problem, kinds};
use crate::edge::files::{self, Change};
use crate::edge::places::Place;
use crate::edge::reply::{self, Answered};

/// Most projects of a list, and of one read of the store.
const PROJECTS_MAX: usize = 10_000;
const PAGE: u32 = 1000;
/// Profiles of sessions, whose names are secrets of their clients and no projects'.
const OF_SESSIONS: [&str; 3] = ["terminal_server", "daiv", "daiv_run"];
/// Longest prompt, in bytes.
const PROMPT_BYTES_MAX: usize = 64 * 1024;
/// What a generated archive may hold.
const LIMITS: Limits = Limits { bytes_max: 1024 * 1024 * 1024, entries_max: 50_000 };
/// How many times larger it may be than its gzip.
const RATIO_MAX: u32 = 200;

#[derive(Debug, Deserialize)]
struct Prompt {
    prompt: String,
}

/// The names of all projects, sorted.
///
/// # Errors
///
/// 503 when the store is away.
pub(super) async fn list(call: Call) -> Answered {
    let views = all(&call).await?;
    let mut names: Vec<&str> = views.iter().map(|view| runtime::name(&view.project)).collect();
    names.sort_unstable();
    Ok(reply::json(StatusCode::OK, &names))
}

/// The projects of the tenant without sessions, from the first [`PROJECTS_MAX`].
pub(super) async fn all(call: &Call) -> Result<Vec<View>, Problem> {
    let tenant = &call.principal()?.tenant;
    let mut views: Vec<View> = Vec::new();
    loop {
        let after = views.last().map(|view| view.project.key.id.as_str().into());
        let filter = Filter { after, limit: PAGE, ..Filter::default() };
        let page = call.context.tree.list(tenant, &filter).await?;
        let is_last = page.len() < PAGE as usize;
        views.extend(page);
        if is_last || views.len() >= PROJECTS_MAX {
            views.retain(|view| !OF_SESSIONS.contains(&&*view.project.settings.profile));
            return Ok(views);
        }
    }
}

/// Makes a project of a prompt.
///
/// # Errors
///
/// 501 when the configuration has no generator, 429 when too many are under way, 409 when there
/// is a project of that name, 502 when the generator fails.
pub(super) async fn generate(mut call: Call) -> Answered {
    rates::count(&call, Kind::Generation)?;
    let Prompt { prompt } = call.json().await?;
    if prompt.trim().is_empty() || prompt.len() > PROMPT_BYTES_MAX {
        let problem = format!("must be 1 to {PROMPT_BYTES_MAX} bytes");
        return Err(Problem::field("prompt", problem));
    }
    let place = call.context.places.generations.take()?;
    let settings = &call.context.settings.dialects.builder;
    let Generated { name, content } = generated(settings, &prompt).await?;
    let by = call.principal()?.clone();
    let key = make(&call, &by, &name).await?;
    if let Err(problem) = fill(&call, &key, content, place).await {
        // Half a project helps nobody; the janitor of a later attempt is its 409.
        let delete = Operation::Delete { keep_files: false };
        if let Err(failure) = call.context.tree.operate(&by, &key, delete).await {
            tracing::warn!(project = %key, %failure, "a project that was not generated is left");
        }
        return Err(problem);
    }
    let document = json!({ "project_name": name, "project_root": "/workspace" });
    Ok(reply::json(StatusCode::OK, &document))
}

async fn make(call: &Call, by: &Principal, name: &str) -> Result<ProjectKey, Problem> {
    let bad_name = |error| Problem::new(kinds::GENERATOR, format!("project_name {error}"));
    let id = ProjectId::of_name(name).map_err(bad_name)?;
    let request = CreateRequest {
        id: Some(id.clone()),
        name: (id.as_str() != name).then(|| name.into()),
        profile: Some(NAME.into()),
        labels: Texts::from([(DIALECT.into(), NAME.into())]),
        ..CreateRequest::default()
    };
    call.context.tree.create(by, request).await?;
    Ok(ProjectKey { tenant: by.tenant.clone(), id })
}

/// Writes what was generated; its paths are as hostile as any. The place is held as long as
/// anything of it is in memory.
async fn fill(
    call: &Call,
    key: &ProjectKey,
    content: Content,
    place: Place,
) -> Result<(), Problem> {
    let open = call.context.tree.files(key).await?;
    match content {
        Content::Archive(bytes) => {
            let existing = Existing::Replace;
            let options = ExtractOptions {
                format: None,
                limits: LIMITS,
                ratio_max: RATIO_MAX,
                existing,
                manner: Manner::AsIs,
            };
            let unpacked = open.write(move |workspace| {
                let (root, _place) = (WorkspacePath::root(), place);
                (Ok(workspace.archive_in(std::io::Cursor::new(bytes), &root, &options)), Vec::new())
            });
            let unpacked = unpacked.await.map_err(files::write_problem)?;
            unpacked.map_err(|error| archive::problem(&error))?;
        }
        Content::Files(all) => {
            for (path, text) in all {
                let path = files::parse("files", &path)?;
                let condition = sandtree_workspace::Precondition::None;
                let content = text.into_bytes();
                let change = Change::Write { path, content, condition, mode: None };
                let written = open.write(move |workspace| change.apply(workspace)).await;
                written.map_err(files::write_problem)?;
            }
            drop(place);
        }
    }
    Ok(())
}
