//! Short commands: run one, and tell what it wrote and how it ended.
//!
//! The command's standard input is what the request brings, or empty. Without
//! `Accept: text/event-stream` the answer is one JSON document once the command has
//! ended; with it, what the command says is told as it comes, and a client that does
//! not read makes the command wait. In both, a client that goes away takes the command
//! and everything it started with it.
//!
//! A program that cannot be started is no error of the request: as in a shell, the exit
//! code is 127 when it is not found and 126 when it cannot be run, and standard error
//! says why.

mod collect;
pub use collect::Collected;
pub(super) use collect::Document;
pub mod command;
mod events;
pub mod text;

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sandtree_actors::{Exec, ExecOutput, ExecStdin, Sandbox};
use sandtree_model::durations::Span;
use sandtree_model::{Answer, Fault};
use sandtree_wire::{DATA_BYTES_MAX, ExecSpec, StartError};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::time::Instant;
use warp::http::StatusCode;

use super::body;
use super::context::{Call, JSON};
use super::errors::Problem;
use super::object::Object;
use super::reply::{self, Answered, SseEvent};
use command::Command;

/// Time that a command gets when the request names none.
pub const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10 * 60);
/// The longest time that a request can name.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3600);
/// Most bytes of each stream in a JSON answer; what comes after is read and dropped.
pub const OUTPUT_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Largest request: standard input is part of it.
pub const REQUEST_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// How much longer than the command's own time-out we wait for init to enforce it.
pub(in crate::edge) const TIMEOUT_GRACE: Duration = Duration::from_secs(30);

/// `errno` of "no such file or directory".
const ENOENT: i32 = 2;
/// `errno` of "not a directory".
const ENOTDIR: i32 = 20;

/// A command to run.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    /// Run as `/bin/sh -c`; exactly one of this and `argv`.
    command: Option<String>,
    /// Program and arguments.
    argv: Option<Vec<String>>,
    /// Working directory; one that is relative is in the workspace.
    cwd: Option<String>,
    /// Variables on top of the project's.
    #[serde(default)]
    env: BTreeMap<String, String>,
    /// Standard input; empty when absent.
    stdin: Option<Stdin>,
    /// The whole tree of the command is killed after so long.
    timeout: Option<Span>,
    /// Whether it writes to a terminal: both outputs are standard output then, and standard
    /// input is empty.
    #[serde(default)]
    tty: bool,
    /// How output is written in a JSON answer.
    #[serde(default)]
    encoding: Encoding,
}

/// Standard input: a text, or `{"base64": "..."}` for bytes.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "must be a text, or {\"base64\": \"...\"} and nothing else")]
enum Stdin {
    Text(String),
    Bytes(Object<Base64>),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Base64 {
    base64: String,
}

/// How output is written in a JSON answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Encoding {
    /// As text, with U+FFFD for what is not UTF-8.
    #[default]
    Utf8,
    /// In base64, byte for byte.
    Base64,
}

/// Runs one command.
///
/// # Errors
///
/// 400 for a request that cannot be run, 409 when the project does not run, 429 when
/// too many commands run in it.
pub async fn run(mut call: Call) -> Answered {
    let key = call.project()?;
    body::require_media(&call.headers, &[JSON])?;
    body::check_length(&call.headers, REQUEST_BYTES_MAX)?;
    let text = call.take_body().read(REQUEST_BYTES_MAX).await?;
    let request: Request = body::parse_json(&text)?;
    drop(text);
    let encoding = request.encoding;
    let (spec, stdin) = spec(request)?;
    let begun = Instant::now();
    let sandbox = call.context.tree.sandbox(&key).await?;
    if call.wants_event_stream() {
        let limit = limit_of(&spec).unwrap_or(TIMEOUT_MAX);
        let mut exec = sandbox.exec(spec).await?;
        let feed = feed(exec.take_stdin(), stdin);
        let told = events::tell(exec, feed, begun, limit);
        return Ok(reply::sse(call.context.shutdown.clone(), told));
    }
    let collected = run_to_end(&sandbox, spec, stdin, OUTPUT_BYTES_MAX).await?;
    Ok(reply::json(StatusCode::OK, &collected.document(encoding, begun.elapsed())))
}

/// Runs a command to its end and keeps what it wrote, up to `bytes_max` of each stream.
/// Dropped, it kills the command's tree.
///
/// # Errors
///
/// 429 when too many commands run in the sandbox, and faults of the sandbox.
pub async fn run_to_end(
    sandbox: &Sandbox,
    spec: ExecSpec,
    stdin: Vec<u8>,
    bytes_max: usize,
) -> Result<Collected, Problem> {
    let limit = limit_of(&spec);
    let mut exec = sandbox.exec(spec).await?;
    let feed = feed(exec.take_stdin(), stdin);
    let collected = collect::collect(exec, feed, bytes_max);
    let Some(limit) = limit else { return Ok(collected.await?) };
    let what = || Fault::TimedOut { what: "the command".into(), limit };
    Ok(tokio::time::timeout(limit, collected).await.map_err(|_| what())??)
}

/// Runs a command to its end and tells what it says as it says it; answers its exit code, and
/// whether its time was over. Who does not take events makes the command wait. Dropped, it
/// kills the command's tree.
///
/// # Errors
///
/// 429 when too many commands run in the sandbox, and faults of the sandbox.
pub async fn tell_to_end(
    sandbox: &Sandbox,
    spec: ExecSpec,
    events: &mpsc::Sender<SseEvent>,
) -> Result<(i32, bool), Problem> {
    let limit = limit_of(&spec).unwrap_or(TIMEOUT_MAX);
    let mut exec = sandbox.exec(spec).await?;
    let feed = feed(exec.take_stdin(), Vec::new());
    events::forward(exec, feed, limit, events).await
}

/// How long we wait for a command; for ever if it has no time-out.
fn limit_of(spec: &ExecSpec) -> Option<Duration> {
    spec.timeout_ms.map(|timeout| Duration::from_millis(timeout) + TIMEOUT_GRACE)
}

/// What a command in flight says; a trait, so that tests can say it.
trait Says: Send {
    /// The next thing. Cancel safe.
    fn next(&mut self) -> impl Future<Output = Answer<ExecOutput>> + Send;
}

impl Says for Exec {
    async fn next(&mut self) -> Answer<ExecOutput> {
        Exec::next(self).await
    }
}

/// Writes standard input, then ends it. Runs beside the reading of output, since a
/// command may wait for either.
type Feed = BoxFuture<'static, ()>;

fn feed(to: Option<ExecStdin>, bytes: Vec<u8>) -> Feed {
    async move {
        let Some(mut to) = to else { return };
        for piece in bytes.chunks(DATA_BYTES_MAX) {
            // A command that reads no further is no error; how it ends will tell.
            if to.write(piece).await.is_err() {
                return;
            }
        }
    }
    .boxed()
}

fn spec(request: Request) -> Result<(ExecSpec, Vec<u8>), Problem> {
    let Request { command, argv, cwd, env, stdin, timeout, tty, encoding: _ } = request;
    if tty && stdin.is_some() {
        let problem = "cannot be together with tty: who wants to type opens the terminal";
        return Err(Problem::field("stdin", problem));
    }
    let checked = Command { command, argv, cwd, env }.check()?;
    let timeout = timeout.map_or(TIMEOUT_DEFAULT, |Span(timeout)| timeout);
    if timeout.as_millis() == 0 || timeout > TIMEOUT_MAX {
        let most = humantime::format_duration(TIMEOUT_MAX);
        return Err(Problem::field("timeout", format!("must be from 1ms to {most}")));
    }
    let stdin = match stdin {
        None => Vec::new(),
        Some(Stdin::Text(text)) => text.into_bytes(),
        Some(Stdin::Bytes(Object(Base64 { base64 }))) => STANDARD
            .decode(base64)
            .map_err(|error| Problem::field("stdin.base64", format!("is not base64: {error}")))?,
    };
    let spec = ExecSpec {
        argv: checked.argv,
        cwd: checked.cwd,
        env: checked.env,
        stdin: !stdin.is_empty(),
        timeout_ms: u64::try_from(timeout.as_millis()).ok(),
        tty,
        ..ExecSpec::default()
    };
    Ok((spec, stdin))
}

/// What a shell would say of a program that cannot be started: a line on standard
/// error, and an exit code.
pub(in crate::edge) fn not_started(error: &StartError) -> (String, i32) {
    let code = if matches!(error.errno, ENOENT | ENOTDIR) { 127 } else { 126 };
    (format!("{error}\n"), code)
}

/// A command of the tests: says what it was given, then nothing for ever.
#[cfg(test)]
struct Script(std::collections::VecDeque<Answer<ExecOutput>>);

#[cfg(test)]
impl Says for Script {
    async fn next(&mut self) -> Answer<ExecOutput> {
        match self.0.pop_front() {
            Some(output) => output,
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod over_http;
#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<(ExecSpec, Vec<u8>), Problem> {
        spec(body::parse_json(text.as_bytes())?)
    }

    #[test]
    fn a_request_becomes_a_spec() {
        let (spec, stdin) = parse(
            r#"{"argv": ["cat", "-n"], "cwd": "/tmp", "env": {"A": "1"},
                "stdin": {"base64": "AAE="}, "timeout": "1m 30s"}"#,
        )
        .unwrap();
        assert_eq!(spec.argv, ["cat", "-n"]);
        assert_eq!((spec.stdin, spec.timeout_ms), (true, Some(90_000)));
        assert_eq!(stdin, [0, 1]);

        let (spec, stdin) = parse(r#"{"command": "true"}"#).unwrap();
        assert_eq!((spec.stdin, spec.timeout_ms), (false, Some(600_000)));
        assert!(stdin.is_empty() && spec.cwd.is_none());
        assert_eq!(parse(r#"{"command": "cat", "stdin": "hi"}"#).unwrap().1, b"hi");
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, field) in [
            ("{}", "command"),
            (r#"{"command": "x", "argv": ["y"]}"#, "argv"),
            (r#"{"command": "x", "tty": true, "stdin": ""}"#, "stdin"),
            (r#"{"command": "x", "timeout": "25h"}"#, "timeout"),
            (r#"{"command": "x", "timeout": "0s"}"#, "timeout"),
            (r#"{"command": "x", "timeout": 5}"#, "timeout"),
            (r#"{"command": "x", "stdin": {"base64": "?"}}"#, "stdin.base64"),
            (r#"{"command": "x", "stdin": 5}"#, "stdin"),
            (r#"{"command": "x", "stdin": {"base64": "", "more": 1}}"#, "stdin"),
            (r#"{"command": "x", "encoding": "hex"}"#, "encoding"),
            (r#"{"command": "x", "shell": "bash"}"#, "shell"),
        ] {
            let problem = parse(text).unwrap_err();
            assert_eq!(problem.document()["field"], field, "{text}: {problem:?}");
            assert_eq!(problem.document()["status"], 400, "{text}");
        }
    }

    #[test]
    fn a_program_that_cannot_start_ends_as_in_a_shell() {
        let error = |errno| StartError { errno, what: "run `nope`".into() };
        let said = "cannot run `nope`: No such file or directory\n";
        assert_eq!(not_started(&error(ENOENT)), (said.to_owned(), 127));
        assert_eq!(not_started(&error(13)).1, 126);
    }
}
