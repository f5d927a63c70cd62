//! The one long-running process: start, look, signal, stop, and its log.

mod logs;
pub mod signals;

use std::collections::BTreeMap;
use std::time::Duration;

use sandtree_actors::{ProcessState, ProcessView};
use sandtree_model::durations::Span;
use sandtree_model::process::WhenFull;
use sandtree_model::{Failure, ProcessSpec, RestartPolicy};
use serde::Deserialize;
use serde_json::{Value, json};
use warp::http::StatusCode;
use warp::http::header::IF_NONE_MATCH;

use super::context::Call;
use super::errors::{Problem, kinds};
use super::exec::command::Command;
use super::reply::{self, Answered};
use super::time::rfc3339;
use signals::{Signal, of_status};

pub use logs::logs;

/// The longest time between TERM and KILL.
pub const STOP_GRACE_MAX: Duration = Duration::from_secs(10 * 60);

/// A process to run.
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
    /// `never` (the default) or `on-failure`.
    #[serde(default)]
    restart: RestartPolicy,
    /// Time between TERM and KILL when it is stopped; 10 s.
    stop_grace: Option<Span>,
    /// `gap` (the default) or `block`: what happens to output that nobody takes.
    #[serde(default)]
    when_full: WhenFull,
}

/// A signal to send.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SignalRequest {
    signal: Signal,
}

/// Shows the process.
///
/// # Errors
///
/// 404 when the project never had one.
pub async fn show(call: Call) -> Answered {
    let view = call.context.tree.get(&call.project()?).await?;
    let none = || Problem::new(kinds::NOT_FOUND, "the project has no process; start one with PUT");
    Ok(reply::json(StatusCode::OK, &document(&view.process.ok_or_else(none)?)))
}

/// Starts it, replacing one that runs with another spec: 201 when it was started, 200
/// when one with this spec ran already. With `If-None-Match: *`, one that runs is kept.
///
/// # Errors
///
/// 400 for a spec that cannot be run, 409 when the project does not run, 412 when one
/// runs that is to be kept.
pub async fn start(mut call: Call) -> Answered {
    let key = call.project()?;
    let spec = spec(call.json().await?)?;
    let (view, started) = match call.header(&IF_NONE_MATCH)? {
        None => call.context.tree.put_process(&key, spec).await?,
        Some("*") => (call.context.tree.start_process(&key, spec).await.map_err(kept)?, true),
        Some(_) => return Err(Problem::field("If-None-Match", "can only be * here")),
    };
    let status = if started { StatusCode::CREATED } else { StatusCode::OK };
    Ok(reply::json(status, &document(&view)))
}

/// Stops it: TERM to its group, then KILL after its grace period. Answers when it ended.
///
/// # Errors
///
/// 404 when there is none.
pub async fn stop(call: Call) -> Answered {
    let view = call.context.tree.stop_process(&call.project()?).await?;
    Ok(reply::json(StatusCode::OK, &document(&view)))
}

/// Sends a signal to its group.
///
/// # Errors
///
/// 400 for an unknown signal, 409 when it does not run.
pub async fn signal(mut call: Call) -> Answered {
    let key = call.project()?;
    let SignalRequest { signal: Signal(number) } = call.json().await?;
    call.context.tree.signal_process(&key, number).await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

/// One that was to be kept runs.
fn kept(failure: Failure) -> Problem {
    let problem = Problem::from(failure);
    if problem.kind() != kinds::EXISTS {
        return problem;
    }
    Problem::new(kinds::PRECONDITION_FAILED, "a process runs already")
}

fn spec(request: Request) -> Result<ProcessSpec, Problem> {
    let Request { command, argv, cwd, env, restart, stop_grace, when_full } = request;
    let checked = Command { command, argv, cwd, env }.check()?;
    let stop_grace = stop_grace.unwrap_or(Span::from_secs(10));
    if stop_grace.0 > STOP_GRACE_MAX {
        let problem = format!("must be at most {}", Span(STOP_GRACE_MAX));
        return Err(Problem::field("stop_grace", problem));
    }
    let texts = |(name, value): (String, String)| (name.into(), value.into());
    Ok(ProcessSpec {
        argv: checked.argv.into_iter().map(Into::into).collect(),
        cwd: checked.cwd.map(Into::into),
        env: checked.env.into_iter().map(texts).collect(),
        restart,
        stop_grace,
        when_full,
    })
}

/// The process as the API shows it, here and in a project's document. Its environment
/// is not shown: it may hold secrets.
#[must_use]
pub fn document(view: &ProcessView) -> Value {
    let record = &view.record;
    let ended = record.ended.map(|(status, at)| {
        json!({
            "exit_code": status.shell_code(),
            "signal": of_status(status),
            "at": rfc3339(at),
        })
    });
    json!({
        "state": view.state.as_str(),
        "pid": view.pid,
        "epoch": record.epoch,
        "restarts": record.restarts,
        "exit_code": match view.state {
            ProcessState::Ended(status) => Some(status.shell_code()),
            ProcessState::Starting
            | ProcessState::Running
            | ProcessState::Stopping
            | ProcessState::Waiting
            | ProcessState::Idle => None,
        },
        "last_end": ended,
        "argv": record.spec.argv,
        "cwd": record.spec.cwd,
        "restart": record.spec.restart,
        "stop_grace": record.spec.stop_grace,
        "when_full": record.spec.when_full,
    })
}

#[cfg(test)]
mod over_http;
#[cfg(test)]
mod tests {
    use sandtree_model::{ExitStatus, ProcessRecord};

    use super::*;
    use crate::edge::body::parse_json;

    fn parse(text: &str) -> Result<ProcessSpec, Problem> {
        spec(parse_json(text.as_bytes())?)
    }

    #[test]
    fn a_request_becomes_a_spec() {
        let spec = parse(
            r#"{"command": "npm start", "cwd": "app", "restart": "on-failure",
                "stop_grace": "5s", "when_full": "block"}"#,
        )
        .unwrap();
        assert_eq!(spec.argv.join(" "), "/bin/sh -c npm start");
        assert_eq!(spec.cwd.as_deref(), Some("/workspace/app"));
        assert_eq!(spec.restart, RestartPolicy::OnFailure);
        assert_eq!((spec.stop_grace, spec.when_full), (Span::from_secs(5), WhenFull::Block));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, field) in [
            (r#"{"argv": []}"#, "argv"),
            (r#"{"argv": ["x"], "restart": "always"}"#, "restart"),
            (r#"{"argv": ["x"], "stop_grace": "1h"}"#, "stop_grace"),
            (r#"{"argv": ["x"], "name": "web"}"#, "name"),
        ] {
            assert_eq!(parse(text).unwrap_err().document()["field"], field, "{text}");
        }
        let bad = parse_json::<SignalRequest>(br#"{"signal": "BOOM"}"#).unwrap_err();
        assert_eq!(bad.document()["field"], "signal");
    }

    #[test]
    fn a_document_tells_how_it_ended() {
        let record = ProcessRecord {
            spec: parse(r#"{"argv": ["web"]}"#).unwrap(),
            epoch: 3,
            wanted: true,
            restarts: 1,
            ended: Some((ExitStatus::Signal(9), 0)),
        };
        let state = ProcessState::Ended(ExitStatus::Signal(9));
        let shown = document(&ProcessView { record, state, pid: None });
        assert_eq!((&shown["state"], &shown["exit_code"]), (&json!("ended"), &json!(137)));
        assert_eq!(shown["last_end"]["signal"], "KILL");
        assert_eq!(shown["stop_grace"], "10s");
    }
}
