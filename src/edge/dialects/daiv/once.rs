//! `/run/commands/` and `/run/code/`: a sandbox for one request, as the core's one-shot runs
//! have it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sandtree_actors::CreateRequest;
use sandtree_wire::WORKSPACE;
use sandtree_workspace::{ChangedBy, WorkspacePath};
use serde_json::{Value, json};
use warp::http::StatusCode;

use super::refused::Refused;
use super::run::{self, COMMANDS_MAX, shell};
use super::validate::{self, Came, Fields, SMALL_BYTES_MAX, Spot, types};
use crate::edge::context::Call;
use crate::edge::reply::{self, Response};
use crate::edge::run::request::{code_commands, source};
use crate::edge::run::{Outcome, Plan, Todo, Wanted, carry_out};

/// The profile of these sandboxes.
const PROFILE: &str = "daiv_run";
/// Most dependencies of one request; the core has its own limit below it.
const DEPENDENCIES_MAX: usize = 1000;
/// Runs a program with both outputs in one pipe, in their order.
const MERGED: [&str; 4] = ["/bin/sh", "-c", "exec 2>&1; exec \"$@\"", "sh"];

/// `POST /run/commands/`. The id of a run is only looked at: every run has its own sandbox.
struct Commands {
    base_image: String,
    commands: Vec<String>,
    archive: Vec<u8>,
    workdir: Option<String>,
}

impl Commands {
    fn read(value: &Value, spot: &mut Spot) -> Option<Self> {
        let fields = Fields::of(value, spot)?;
        let run_id = fields.required(spot, "run_id", types::uuid4);
        let base_image = fields.required(spot, "base_image", types::text);
        let commands = fields.required(spot, "commands", types::list(COMMANDS_MAX, types::text));
        let archive = fields.required(spot, "archive", types::bytes);
        let workdir = fields.nullable(spot, "workdir", types::text);
        run_id?;
        Some(Self {
            base_image: base_image?,
            commands: commands?,
            archive: archive?,
            workdir: workdir?.filter(|workdir| !workdir.is_empty()),
        })
    }
}

/// Runs commands on the files of an archive: what each said, and what the last one changed.
pub(super) async fn commands(mut call: Call) -> Result<Response, Refused> {
    let bytes_max = call.context.settings.run.request_bytes_max;
    let (wanted, came) = validate::body_as_it_came(&mut call, bytes_max, Commands::read).await?;
    let Commands { base_image, commands, archive, workdir } = wanted;
    let cwd = directory(workdir);
    let mut todos = Vec::with_capacity(commands.len());
    for shown in commands {
        let argv = shell::any(&shown, &cwd).map_err(|problem| came.refused(problem))?.argv;
        todos.push(Todo { shown, argv, must_succeed: false });
    }
    let plan = Plan {
        archive: Some(archive).filter(|archive| !archive.is_empty()),
        wanted: inside(&cwd).map(|dir| changed(&call, dir)),
        cwd: Some(cwd),
        ..plan(&call, Some(base_image.into()), todos)
    };
    let Outcome { results, files, .. } = carried_out(&call, &came, plan).await?;
    let results: Vec<_> = results
        .into_iter()
        .map(|ran| {
            let (exit_code, output) = run::told(ran.collected);
            json!({ "command": ran.shown, "output": output, "exit_code": exit_code })
        })
        .collect();
    let archive = files.map(|packed| STANDARD.encode(packed.archive));
    Ok(reply::json(StatusCode::OK, &json!({ "results": results, "archive": archive })))
}

/// `POST /run/code/`.
struct Code {
    language: String,
    code: String,
    dependencies: Vec<String>,
}

impl Code {
    fn read(value: &Value, spot: &mut Spot, languages: &[&str]) -> Option<Self> {
        let fields = Fields::of(value, spot)?;
        let run_id = fields.required(spot, "run_id", types::uuid4);
        let dependencies = types::list(DEPENDENCIES_MAX, types::text);
        let dependencies = fields.or(spot, "dependencies", Vec::new(), dependencies);
        let language = fields.required(spot, "language", types::one_of(languages));
        let code = fields.required(spot, "code", types::text);
        run_id?;
        Some(Self { language: language?.to_owned(), code: code?, dependencies: dependencies? })
    }
}

/// Runs code: what it said, and 400 with what it said if it failed.
pub(super) async fn code(mut call: Call) -> Result<Response, Refused> {
    let settings = std::sync::Arc::clone(&call.context.settings.run);
    let languages: Vec<&str> = settings.languages.keys().map(|name| &**name).collect();
    let read = |value: &Value, spot: &mut Spot| Code::read(value, spot, &languages);
    let (wanted, came) = validate::body_as_it_came(&mut call, SMALL_BYTES_MAX, read).await?;
    let Some(language) = settings.languages.get(wanted.language.as_str()) else {
        let words = format!("Unsupported language: {}", wanted.language);
        return Err(Refused::said(StatusCode::BAD_REQUEST, words));
    };
    let root = WorkspacePath::root();
    let todos = code_commands(language, &wanted.dependencies);
    let mut todos = todos.map_err(|problem| came.refused(problem))?;
    for todo in &mut todos {
        let merged = MERGED.into_iter().map(str::to_owned);
        todo.argv = merged.chain(std::mem::take(&mut todo.argv)).collect();
    }
    let image = Some(language.image.clone()).filter(|image| !image.is_empty());
    let plan = Plan {
        files: vec![source(language, wanted.code, Some(&root))?],
        ..plan(&call, image, todos)
    };
    let Outcome { mut results, .. } = carried_out(&call, &came, plan).await?;
    // Of a run that did not get to its code, what it got to.
    let (exit_code, output) =
        results.pop().map_or((0, String::new()), |it| run::told(it.collected));
    if exit_code != 0 {
        return Err(Refused::said(StatusCode::BAD_REQUEST, output));
    }
    Ok(reply::json(StatusCode::OK, &json!({ "output": output })))
}

/// A plan of these commands and of nothing else.
fn plan(call: &Call, image: Option<Box<str>>, commands: Vec<Todo>) -> Plan {
    Plan {
        create: CreateRequest { profile: Some(PROFILE.into()), image, ..CreateRequest::default() },
        archive: None,
        files: Vec::new(),
        make_dir: WorkspacePath::root(),
        cwd: None,
        commands,
        fail_fast: false,
        wanted: None,
        time_max: call.context.settings.dialects.daiv.run_timeout,
    }
}

async fn carried_out(call: &Call, came: &Came, plan: Plan) -> Result<Outcome, Refused> {
    let _place = call.context.places.runs.take()?;
    let limit = plan.time_max;
    let outcome = carry_out(&call.context, call.principal()?, plan, None).await;
    let outcome = outcome.map_err(|problem| came.refused(problem))?;
    if outcome.timed_out {
        let words = format!("Execution timed out after {}s", limit.as_secs());
        return Err(Refused::said(StatusCode::INTERNAL_SERVER_ERROR, words));
    }
    Ok(outcome)
}

/// Where commands run: the folder of the run, below it, or elsewhere.
fn directory(workdir: Option<String>) -> String {
    match workdir {
        None => WORKSPACE.to_owned(),
        Some(absolute) if absolute.starts_with('/') => absolute,
        Some(relative) => format!("{WORKSPACE}/{relative}"),
    }
}

/// The same in the workspace; nothing if it is elsewhere.
fn inside(cwd: &str) -> Option<WorkspacePath> {
    let below = cwd.strip_prefix(WORKSPACE)?;
    match below.trim_matches('/') {
        "" => Some(WorkspacePath::root()),
        rest if below.starts_with('/') => {
            let steps: Vec<_> = rest.split('/').filter(|step| *step != ".").collect();
            WorkspacePath::parse(&steps.join("/")).ok()
        }
        _ => None,
    }
}

fn changed(call: &Call, dir: WorkspacePath) -> Wanted {
    Wanted {
        dir,
        changed: Some(ChangedBy::Content),
        include: Vec::new(),
        hidden: false,
        bytes_max: call.context.settings.run.files_bytes_max,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_directory_is_in_the_folder_of_the_run() {
        for (workdir, cwd, below) in [
            (None, "/workspace", Some("")),
            (Some("src/a/"), "/workspace/src/a/", Some("src/a")),
            (Some("./src"), "/workspace/./src", Some("src")),
            (Some("/workspace/src"), "/workspace/src", Some("src")),
            (Some("/workspaces"), "/workspaces", None),
            (Some("../x"), "/workspace/../x", None),
            (Some("/tmp"), "/tmp", None),
        ] {
            let directory = directory(workdir.map(str::to_owned));
            assert_eq!(directory, cwd);
            assert_eq!(inside(&directory).as_ref().map(WorkspacePath::as_str), below, "{cwd}");
        }
    }
}
