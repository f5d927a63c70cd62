//! Commands in a session, one after another.

pub(super) mod shell;

use std::time::Duration;

use sandtree_actors::Sandbox;
use sandtree_model::durations::Timeout;
use sandtree_wire::{ExecSpec, WORKSPACE};
use serde::Serialize;
use serde_json::{Value, json};
use warp::http::StatusCode;

use super::refused::Refused;
use super::session::Session;
use super::validate::{self, Fields, Spot, types};
use crate::edge::context::Call;
use crate::edge::errors::Problem;
use crate::edge::exec::command::Checked;
use crate::edge::exec::{self, Collected, OUTPUT_BYTES_MAX};
use crate::edge::reply::{self, Response};

/// Most commands of one request.
pub(super) const COMMANDS_MAX: usize = 1000;
/// Most bytes of output of all commands of one request; what comes after is dropped.
const OUTPUT_BYTES_TOTAL_MAX: usize = 4 * OUTPUT_BYTES_MAX;
/// The longest timeout that makes a difference, in seconds: ten years.
const SECONDS_MAX: u64 = 10 * 366 * 24 * 3600;
/// The exit code of a command whose time was over.
const TIMED_OUT: i32 = 124;

/// `POST /session/{id}/`; `archive` is of earlier versions.
struct Run {
    commands: Vec<String>,
    fail_fast: bool,
    timeout: Option<i64>,
    archive: Option<Vec<u8>>,
}

impl Run {
    fn read(value: &Value, spot: &mut Spot) -> Option<Self> {
        let fields = Fields::of(value, spot)?;
        let commands = fields.required(spot, "commands", types::list(COMMANDS_MAX, types::text));
        let fail_fast = fields.or(spot, "fail_fast", false, types::flag);
        let timeout = fields.nullable(spot, "timeout", types::at_least(0));
        let archive = fields.nullable(spot, "archive", types::bytes);
        Some(Self {
            commands: commands?,
            fail_fast: fail_fast?,
            timeout: timeout?,
            archive: archive?,
        })
    }
}

/// How one command ended.
#[derive(Debug, Serialize)]
struct Ran {
    command: String,
    output: String,
    exit_code: i32,
}

/// Commands to run in one sandbox.
struct Commands<'a> {
    sandbox: &'a Sandbox,
    cwd: String,
    /// Whether a command that fails is the last one.
    fail_fast: bool,
    /// The longest time of one command.
    timeout: Option<Duration>,
}

impl Commands<'_> {
    /// Runs them in their order. One whose time is over ends with all that it started, and
    /// is the last one.
    async fn run(&self, commands: Vec<(String, ExecSpec)>) -> Result<Vec<Ran>, Problem> {
        let mut results = Vec::with_capacity(commands.len());
        let mut bytes_left = OUTPUT_BYTES_TOTAL_MAX;
        for (command, spec) in commands {
            let bytes_max = bytes_left.min(OUTPUT_BYTES_MAX);
            let done = exec::run_to_end(self.sandbox, spec, Vec::new(), bytes_max).await?;
            let is_late = done.timed_out();
            let (exit_code, output) = if is_late {
                let seconds = self.timeout.unwrap_or_default().as_secs();
                (TIMED_OUT, format!("Command timed out after {seconds}s"))
            } else {
                told(done)
            };
            bytes_left = bytes_left.saturating_sub(output.len());
            results.push(Ran { command, output, exit_code });
            if is_late || (self.fail_fast && exit_code != 0) {
                break;
            }
        }
        Ok(results)
    }

    /// All of them, looked at before any is run.
    fn checked(&self, commands: Vec<String>) -> Result<Vec<(String, ExecSpec)>, Problem> {
        let with_spec = |command: String| Ok((command.clone(), self.spec(&command)?));
        commands.into_iter().map(with_spec).collect()
    }

    /// A command for bash; where there is none, for what there is.
    fn spec(&self, command: &str) -> Result<ExecSpec, Problem> {
        let Checked { argv, cwd, env } = shell::bash(command, &self.cwd)?;
        Ok(ExecSpec {
            argv,
            argv_otherwise: shell::any(command, &self.cwd)?.argv,
            cwd,
            env,
            timeout_ms: self.timeout.and_then(|it| u64::try_from(it.as_millis()).ok()),
            ..ExecSpec::default()
        })
    }
}

/// The exit code and the output of a command that has run.
pub(super) fn told(done: Collected) -> (i32, String) {
    let code = done.exit_code().rem_euclid(256);
    // Why a shell could not be started is on standard error; all else is in one pipe.
    let (output, errors) = done.into_texts();
    (code, output + &errors)
}

/// Runs commands in the folder of the repository.
pub(super) async fn run(mut call: Call) -> Result<Response, Refused> {
    let bytes_max = call.context.settings.run.request_bytes_max;
    let (wanted, came) = validate::body_as_it_came(&mut call, bytes_max, Run::read).await?;
    let Run { commands, fail_fast, timeout, archive } = wanted;
    let session = Session::enter(&call).await?;
    let sandbox = session.warm().await?;
    let patch = session.begin_patch(&sandbox, archive).await?;
    let runner = Commands {
        sandbox: &sandbox,
        cwd: format!("{WORKSPACE}/repo"),
        fail_fast,
        timeout: limit(timeout, call.context.settings.dialects.daiv.command_timeout),
    };
    let commands = runner.checked(commands).map_err(|problem| came.refused(problem))?;
    let results = runner.run(commands).await?;
    let mut answer = json!({ "results": results });
    if let Some(patch) = patch {
        answer["patch"] = patch.end(&sandbox).await?;
    }
    Ok(reply::json(StatusCode::OK, &answer))
}

/// The longest time of one command: 0 is none, and absent the server's.
fn limit(seconds: Option<i64>, default: Timeout) -> Option<Duration> {
    match seconds.and_then(|seconds| u64::try_from(seconds).ok()) {
        Some(0) => None,
        Some(seconds) => Some(Duration::from_secs(seconds.min(SECONDS_MAX))),
        None => default.limit(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_the_requests_or_the_servers_and_zero_is_none() {
        let hour = Timeout::After(Duration::from_secs(3600));
        assert_eq!(limit(None, hour), Some(Duration::from_secs(3600)));
        assert_eq!(limit(Some(0), hour), None);
        assert_eq!(limit(Some(5), hour), Some(Duration::from_secs(5)));
        assert_eq!(limit(Some(i64::MAX), hour), Some(Duration::from_secs(SECONDS_MAX)));
        assert_eq!(limit(None, Timeout::Never), None);
    }
}
