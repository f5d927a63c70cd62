//! Commands: checked, run by a shell in the container, and told about as they go.
//!
//! Whatever is wrong with a command is told in the stream, with status 200: that is where
//! clients show it. Nothing runs then.

use std::time::Duration;

use sandtree_actors::{Exec, ExecOutput, Sandbox, View};
use sandtree_model::announced::announced;
use sandtree_model::command_policy::{Mode, Validator};
use sandtree_model::{ExitStatus, Principal, ProjectKey};
use sandtree_wire::ExecSpec;
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};

use super::events::{self, Told};
use super::lines::Lines;
use super::project::{self, ACTIVE_PORT, COMMAND_TIMEOUT};
use crate::edge::context::{Call, Context};
use crate::edge::errors::{Problem, kinds};
use crate::edge::exec::command::Command;
use crate::edge::exec::{TIMEOUT_GRACE, TIMEOUT_MAX, not_started};
use crate::edge::reply::Answered;

/// Most commands of a batch.
const COMMANDS_MAX: usize = 100;
/// How often one command can change the port of the preview.
const PORT_CHANGES_MAX: u32 = 16;

#[derive(Debug, Deserialize)]
struct OneBody {
    command: String,
    /// Seconds; 0 is the same as none.
    timeout: Option<u64>,
    /// Both outputs are one then, as on a screen.
    #[serde(default)]
    tty: bool,
}

#[derive(Debug, Deserialize)]
struct BatchBody {
    commands: Vec<String>,
    #[serde(default = "yes")]
    stop_on_error: bool,
}

const fn yes() -> bool {
    true
}

/// Runs one command.
///
/// # Errors
///
/// 422 for a body that cannot be read; everything else is told in the stream.
pub(super) async fn one(mut call: Call) -> Answered {
    let body: OneBody = call.json().await?;
    let timeout = body.timeout.filter(|timeout| *timeout != 0).map(Duration::from_secs);
    if timeout.is_some_and(|timeout| timeout > TIMEOUT_MAX) {
        let problem = format!("must be at most {} seconds", TIMEOUT_MAX.as_secs());
        return Err(Problem::field("timeout", problem));
    }
    let runner = Runner { tty: body.tty, ..Runner::new(&call, timeout)? };
    Ok(events::response(&call.context, move |told| async move {
        runner.run(&told, &body.command).await;
        told
    }))
}

/// Runs commands one after another, and no more after one that fails unless that is asked
/// for.
///
/// # Errors
///
/// 422 for a body that cannot be read; everything else is told in the stream.
pub(super) async fn batch(mut call: Call) -> Answered {
    let body: BatchBody = call.json().await?;
    if body.commands.len() > COMMANDS_MAX {
        let problem = format!("must have at most {COMMANDS_MAX} commands");
        return Err(Problem::field("commands", problem));
    }
    let runner = Runner::new(&call, None)?;
    Ok(events::response(&call.context, move |told| async move {
        for (index, command) in body.commands.iter().enumerate() {
            told.command_start(index, command).await;
            let success = runner.run(&told, command).await;
            if !success && body.stop_on_error {
                told.batch_stopped().await;
                break;
            }
        }
        told
    }))
}

/// Runs the commands of one request.
struct Runner {
    context: Context,
    by: Principal,
    key: ProjectKey,
    /// What the request says.
    timeout: Option<Duration>,
    /// Whether the command sees a terminal.
    tty: bool,
}

/// A command that runs.
struct Running {
    exec: Exec,
    timeout: Duration,
    /// Standard output and standard error.
    streams: [Lines; 2],
    port: Option<u16>,
    port_changes: u32,
}

impl Runner {
    fn new(call: &Call, timeout: Option<Duration>) -> Result<Self, Problem> {
        let (_, key) = project::key(call)?;
        let (context, by) = (call.context.clone(), call.principal()?.clone());
        Ok(Self { context, by, key, timeout, tty: false })
    }

    /// Runs one command; whether it succeeded.
    async fn run(&self, told: &Told, command: &str) -> bool {
        match self.start(told, command).await {
            Ok(mut running) => self.follow(told, &mut running).await,
            Err(problem) => {
                told.error(&words(&problem)).await;
                false
            }
        }
    }

    async fn start(&self, told: &Told, command: &str) -> Result<Running, Problem> {
        let tree = &self.context.tree;
        let unknown = || Problem::new(kinds::NOT_FOUND, project::UNKNOWN_TO_COMMANDS);
        let view = project::look_up(tree, &self.key).await?.ok_or_else(unknown)?;
        let command = self.check(command)?;
        let view = project::ensure_running(tree, &self.by, view).await?;
        let timeout = self.timeout_of(&view);
        let spec = spec(&command, self.tty, timeout)?;
        let sandbox: Sandbox = tree.sandbox(&self.key).await?;
        told.system(&project::container_id(&view)).await;
        told.status(&command).await;
        Ok(Running {
            exec: sandbox.exec(spec).await?,
            timeout,
            streams: Default::default(),
            port: project::label(&view, ACTIVE_PORT).and_then(|port| port.parse().ok()),
            port_changes: 0,
        })
    }

    fn check(&self, command: &str) -> Result<String, Problem> {
        let mode = match &*self.context.settings.dialects.bharatbuild.validator {
            "off" => Mode::Off,
            "strict" => Mode::Strict,
            _ => Mode::Normal,
        };
        let verdict = Validator::new(mode).validate(command).into_command();
        verdict.map_err(|refused| Problem::new(kinds::BAD_REQUEST, format!("Blocked: {refused}")))
    }

    fn timeout_of(&self, view: &View) -> Duration {
        let own = || {
            let seconds = project::label(view, COMMAND_TIMEOUT)?.parse().ok()?;
            (1..=TIMEOUT_MAX.as_secs()).contains(&seconds).then(|| Duration::from_secs(seconds))
        };
        let default = self.context.settings.dialects.bharatbuild.command_timeout;
        self.timeout.or_else(own).unwrap_or(default)
    }

    async fn follow(&self, told: &Told, running: &mut Running) -> bool {
        let deadline = Instant::now() + running.timeout + TIMEOUT_GRACE;
        loop {
            // Init enforces the time-out; this is for an init that does not.
            let Ok(output) = timeout_at(deadline, running.exec.next()).await else {
                return timed_out(told, running).await;
            };
            match output {
                Ok(ExecOutput::Started { .. }) => {}
                Ok(ExecOutput::Stdout(bytes)) => self.wrote(told, running, 0, &bytes).await,
                Ok(ExecOutput::Stderr(bytes)) => self.wrote(told, running, 1, &bytes).await,
                Ok(ExecOutput::Failed(error)) => {
                    let (line, code) = not_started(&error);
                    told.line(line.trim_end(), true).await;
                    return ended(told, running, ExitStatus::Code(code)).await;
                }
                Ok(ExecOutput::Exited { timed_out: true, .. }) => {
                    return timed_out(told, running).await;
                }
                Ok(ExecOutput::Exited { status, .. }) => {
                    return ended(told, running, status).await;
                }
                Err(failure) => {
                    rest(told, running).await;
                    told.error(&words(&failure.into())).await;
                    return false;
                }
            }
        }
    }

    async fn wrote(&self, told: &Told, running: &mut Running, stream: usize, bytes: &[u8]) {
        for line in running.streams[stream].push(bytes) {
            self.learn_port(running, &line).await;
            told.line(&line, stream == 1).await;
        }
    }

    /// Notes the port that a line announces, so that the preview leads there.
    async fn learn_port(&self, running: &mut Running, line: &str) {
        let Some(port) = announced(line).filter(|port| running.port != Some(*port)) else { return };
        if running.port_changes >= PORT_CHANGES_MAX {
            return;
        }
        running.port_changes += 1;
        running.port = Some(port);
        let change = [(ACTIVE_PORT, Some(port.to_string()))];
        // The command matters more than the hint.
        if let Err(problem) = project::set_labels(&self.context.tree, &self.key, change).await {
            tracing::warn!(port, problem = problem.detail(), "a preview's port is not noted");
        }
    }
}

/// What clients read of a problem.
fn words(problem: &Problem) -> String {
    match problem.kind() {
        kinds::ENGINE_AWAY => format!("Docker not available: {}", problem.detail()),
        _ => problem.detail().to_owned(),
    }
}

fn spec(command: &str, tty: bool, timeout: Duration) -> Result<ExecSpec, Problem> {
    let command = Command { command: Some(command.to_owned()), ..Command::default() };
    let checked = command.check()?;
    Ok(ExecSpec {
        argv: checked.argv,
        cwd: checked.cwd,
        env: checked.env,
        timeout_ms: u64::try_from(timeout.as_millis()).ok(),
        tty,
        ..ExecSpec::default()
    })
}

async fn rest(told: &Told, running: &mut Running) {
    for (stream, lines) in running.streams.iter_mut().enumerate() {
        if let Some(line) = lines.finish() {
            told.line(&line, stream == 1).await;
        }
    }
}

async fn ended(told: &Told, running: &mut Running, status: ExitStatus) -> bool {
    rest(told, running).await;
    told.exit(Some(status)).await;
    status.shell_code() == 0
}

async fn timed_out(told: &Told, running: &mut Running) -> bool {
    rest(told, running).await;
    told.error(&format!("Command timed out after {}s", running.timeout.as_secs())).await;
    told.exit(None).await;
    false
}
