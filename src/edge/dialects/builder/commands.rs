//! Commands by REST: one short one, and the one long-running process. The policy decides
//! before anything is started. No shell reads them.

use std::collections::BTreeMap;
use std::time::Duration;

use sandtree_actors::ProcessView;
use sandtree_model::command_policy::builder::{Asked, judge};
use sandtree_model::durations::Span;
use sandtree_model::process::WhenFull;
use sandtree_model::{ProcessSpec, RestartPolicy};
use sandtree_wire::ExecSpec;
use serde::Deserialize;
use serde_json::json;
use warp::http::StatusCode;

use super::rates::{self, Kind};
use super::{key, no_project};
use crate::edge::context::Call;
use crate::edge::errors::{Problem, kinds};
use crate::edge::exec::command::{Checked, Command};
use crate::edge::exec::{OUTPUT_BYTES_MAX, run_to_end};
use crate::edge::reply::{self, Answered};

/// Seconds that a command has when the request names none, and at most.
const TIMEOUT_DEFAULT: u64 = 60;
const TIMEOUT_MAX: u64 = 24 * 3600;
/// Time between TERM and KILL when a process is stopped.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// The body of both requests.
#[derive(Debug, Deserialize)]
struct Request {
    command: String,
    #[serde(default)]
    args: Vec<String>,
    /// In the project.
    #[serde(default = "here")]
    cwd: String,
    #[serde(default)]
    env: BTreeMap<String, String>,
    /// In seconds; only of short commands.
    #[serde(default = "timeout")]
    timeout: u64,
}

fn here() -> String {
    ".".to_owned()
}

const fn timeout() -> u64 {
    TIMEOUT_DEFAULT
}

/// Runs one command to its end.
///
/// # Errors
///
/// 422 when the policy refuses it, 400 when the runtime does not run or the command took
/// longer than it may, 404 for an unknown project.
pub(super) async fn exec(mut call: Call) -> Answered {
    check_served(&call)?;
    let request = read(&mut call).await?;
    if !(1..=TIMEOUT_MAX).contains(&request.timeout) {
        return Err(Problem::field("timeout", format!("must be from 1 to {TIMEOUT_MAX} seconds")));
    }
    let timeout_ms = Some(request.timeout * 1000);
    let Checked { argv, cwd, env } = check(&call, request)?;
    let sandbox = call.context.tree.sandbox(&key(&call)?).await;
    let sandbox = sandbox.map_err(|failure| or_not_running(&call, failure.into()))?;
    let spec = ExecSpec { argv, cwd, env, timeout_ms, ..ExecSpec::default() };
    let done = run_to_end(&sandbox, spec, Vec::new(), OUTPUT_BYTES_MAX).await?;
    if done.timed_out() {
        return Err(Problem::new(kinds::BAD_REQUEST, "Command execution timed out"));
    }
    let (return_code, is_truncated) = (done.exit_code(), done.is_truncated());
    let (stdout, stderr) = done.into_texts();
    let mut document = json!({
        "return_code": return_code, "stdout": stdout.trim(), "stderr": stderr.trim(),
    });
    if is_truncated {
        document["truncated"] = json!(true);
    }
    Ok(reply::json(StatusCode::OK, &document))
}

/// Starts the process; its output is in the log's WebSocket.
///
/// # Errors
///
/// 422 when the policy refuses it, 409 when one runs already, 400 when the runtime does not
/// run or the program cannot be started, 404 for an unknown project.
pub(super) async fn run(mut call: Call) -> Answered {
    check_served(&call)?;
    let request = read(&mut call).await?;
    let key = key(&call)?;
    let shown = request.command.clone();
    let spec = process(check(&call, request)?);
    let started = call.context.tree.start_process(&key, spec).await;
    started.map_err(|failure| or_running(or_not_started(or_not_running(&call, failure.into()))))?;
    let project = call.param("name")?;
    let document = json!({ "status": "started", "project_name": project, "command": shown });
    Ok(reply::json(StatusCode::OK, &document))
}

/// Stops the process.
///
/// # Errors
///
/// 404 when none runs.
pub(super) async fn stop(call: Call) -> Answered {
    check_served(&call)?;
    rates::count(&call, Kind::Runtime)?;
    let key = key(&call)?;
    let view = call.context.tree.get(&key).await.map_err(|it| no_project(&call)(it.into()))?;
    if !view.process.as_ref().is_some_and(ProcessView::is_alive) {
        return Err(Problem::new(kinds::NOT_FOUND, "No running process found"));
    }
    call.context.tree.stop_process(&key).await?;
    let project = call.param("name")?;
    let document = json!({ "status": "process_stopped", "project_name": project });
    Ok(reply::json(StatusCode::OK, &document))
}

/// # Errors
///
/// 404 when the configuration leaves running things to the terminal.
pub(super) fn check_served(call: &Call) -> Result<(), Problem> {
    let is_served = call.context.settings.dialects.builder.rest_exec;
    is_served.then_some(()).ok_or_else(|| Problem::new(kinds::UNKNOWN_ROUTE, "rest_exec is off"))
}

async fn read(call: &mut Call) -> Result<Request, Problem> {
    rates::count(call, Kind::Runtime)?;
    call.json().await
}

/// Asks the policy, then checks as for every command.
fn check(call: &Call, request: Request) -> Result<Checked, Problem> {
    let Request { command, args, cwd, env, timeout: _ } = request;
    let strict_pip = call.context.settings.dialects.builder.strict_pip;
    let asked = Asked { command: &command, arguments: &args, cwd: &cwd };
    let refused = judge(asked, strict_pip).into_command().err();
    if let Some(refused) = refused {
        return Err(Problem::new(kinds::REJECTED, refused.message));
    }
    let argv = std::iter::once(command).chain(args).collect();
    let checked = Command { command: None, argv: Some(argv), cwd: Some(cwd), env }.check();
    checked.map_err(of_its_fields)
}

/// What the core calls `argv` has another name here.
fn of_its_fields(problem: Problem) -> Problem {
    match problem.at_field() {
        Some("argv") => Problem::field("args", problem.reason()),
        _ => problem,
    }
}

fn process(checked: Checked) -> ProcessSpec {
    let texts = |(name, value): (String, String)| (name.into(), value.into());
    ProcessSpec {
        argv: checked.argv.into_iter().map(Into::into).collect(),
        cwd: checked.cwd.map(Into::into),
        env: checked.env.into_iter().map(texts).collect(),
        restart: RestartPolicy::Never,
        stop_grace: Span(STOP_GRACE),
        when_full: WhenFull::Gap,
    }
}

/// This system says 400 where the core says 409.
fn or_not_running(call: &Call, problem: Problem) -> Problem {
    match problem.kind() {
        kinds::WRONG_PHASE => Problem::new(kinds::BAD_REQUEST, "Runtime is not running"),
        _ => no_project(call)(problem),
    }
}

/// A program that the image does not have is nothing that is wrong with the body.
fn or_not_started(problem: Problem) -> Problem {
    match problem.at_field() {
        Some("command") => Problem::new(kinds::BAD_REQUEST, problem.reason()),
        _ => problem,
    }
}

fn or_running(problem: Problem) -> Problem {
    match problem.kind() {
        kinds::EXISTS => Problem::new(kinds::CONFLICT, "A process is already running"),
        _ => problem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_a_command_and_defaults() {
        let request: Request = serde_json::from_str(r#"{"command": "pytest"}"#).unwrap();
        let Request { command, args, cwd, env, timeout } = request;
        assert_eq!((&*command, &*cwd, timeout), ("pytest", ".", 60));
        assert!(args.is_empty() && env.is_empty());
    }
}
