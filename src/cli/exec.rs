//! `sandtree exec`: a command in a project, as if it ran here.
//!
//! Its output comes as it is written, its exit code is ours, and when this program
//! ends, so does the command. Standard input is read to its end first: the API takes
//! it as a part of the request.

use std::io::{IsTerminal as _, Read as _};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use hyper::Method;
use sandtree_client::{Client, ClientError, Events, Problem, bytes_of};
use serde_json::{Value, json};

use super::failed::Failed;
use super::remote::{self, Remote, note, project, say_line};
use super::units;
use crate::edge::exec::{REQUEST_BYTES_MAX, TIMEOUT_DEFAULT, TIMEOUT_MAX};

/// Exit code of a command that ran into its timeout, as `timeout` has it.
const TIMED_OUT: u8 = 124;
/// How long standard input may stay open without a word about it.
const HINT_AFTER: Duration = Duration::from_secs(3);

/// `sandtree exec`.
#[derive(Debug, Args)]
#[command(after_help = "\
Standard input, unless it is a terminal, is read to its end before the command starts,
at most 12 MB; use `sandtree cp - PROJECT:FILE` for more. Use -n where standard
input stays open and is not meant for the command.

Exit codes: the command's; 128 and the signal's number if a signal ended it; 126 or 127 if
it cannot be run or is not found; 124 if it ran into --timeout; 125 if Sandtree failed.

Examples:
  sandtree exec demo ls -l
  sandtree exec demo -c 'echo $HOME | wc -c'
  tar c src | sandtree exec demo tar tv")]
pub(super) struct Exec {
    /// Project to run it in.
    project: String,
    /// Text to run with /bin/sh -c, instead of a program with arguments.
    #[arg(short, long, value_name = "TEXT", conflicts_with = "argv")]
    command: Option<String>,
    /// Working directory; one that is relative is in the workspace.
    #[arg(short = 'C', long, value_name = "DIRECTORY")]
    cwd: Option<String>,
    /// Variable of the command; may be repeated.
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = units::parse_pair)]
    env: Vec<(String, String)>,
    /// Kill the command, and all that it started, after so long; 10m if absent.
    #[arg(short, long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    timeout: Option<Duration>,
    /// Do not read standard input.
    #[arg(short, long)]
    no_stdin: bool,
    /// Print the outcome as one JSON document when the command has ended.
    #[arg(long)]
    json: bool,
    /// Program and arguments.
    #[arg(value_name = "COMMAND", trailing_var_arg = true, required_unless_present = "command")]
    argv: Vec<String>,
    #[command(flatten)]
    remote: Remote,
}

/// Runs it; the exit code of the command.
pub(super) fn run(exec: Exec) -> Result<u8, Failed> {
    remote::run(exec.run()).map_err(|failed| Failed::NotTheCommand(Box::new(failed)))
}

impl Exec {
    async fn run(self) -> Result<u8, Failed> {
        let client = self.remote.client()?;
        let stdin = if self.no_stdin { Vec::new() } else { read_stdin().await? };
        let body = self.body(stdin)?;
        if self.json { self.whole(&client, body).await } else { self.live(&client, body).await }
    }

    /// The request. Input that is text goes as text, since that is shorter.
    fn body(&self, stdin: Vec<u8>) -> Result<String, Failed> {
        let mut body = match &self.command {
            Some(command) => json!({ "command": command }),
            None => json!({ "argv": self.argv }),
        };
        if let Some(cwd) = &self.cwd {
            body["cwd"] = json!(cwd);
        }
        for (name, value) in &self.env {
            body["env"][name] = json!(value);
        }
        if let Some(timeout) = self.timeout {
            body["timeout"] = json!(humantime::format_duration(timeout).to_string());
        }
        let limit = usize::try_from(REQUEST_BYTES_MAX).unwrap_or(usize::MAX);
        if !stdin.is_empty() {
            let text = std::str::from_utf8(&stdin).ok().map(|text| json!(text));
            let text = text.filter(|text| text.to_string().len() < limit / 2);
            body["stdin"] = text.unwrap_or_else(|| json!({ "base64": STANDARD.encode(&stdin) }));
        }
        let body = body.to_string();
        if body.len() > limit { Err(too_large()) } else { Ok(body) }
    }

    /// Output as it comes.
    async fn live(&self, client: &Client, body: String) -> Result<u8, Failed> {
        let path = project(&self.project, "exec");
        let request = client.request(Method::POST, &path).body("application/json", body);
        let mut events = request.events().await?;
        let ended = pass_on(&mut events).await?;
        Ok(self.exit_code(&ended))
    }

    /// One document at the end.
    async fn whole(&self, client: &Client, body: String) -> Result<u8, Failed> {
        let path = project(&self.project, "exec");
        let request = client.request(Method::POST, &path).body("application/json", body);
        // The server has the last word on the time; we only do not wait for ever.
        let limit = self.timeout.unwrap_or(TIMEOUT_DEFAULT).min(TIMEOUT_MAX);
        let limit = limit + Duration::from_secs(60);
        let ended = request.answer_within(limit).send().await?.accepted()?.json()?;
        say_line(&ended.to_string()).await?;
        Ok(self.exit_code(&ended))
    }

    fn exit_code(&self, ended: &Value) -> u8 {
        if ended["timed_out"] == true {
            let limit = humantime::format_duration(self.timeout.unwrap_or(TIMEOUT_DEFAULT));
            note(&format!("the command was killed after {limit}; --timeout gives it longer"));
            return TIMED_OUT;
        }
        ended["exit_code"].as_u64().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
    }
}

/// Writes output until the command has ended; how it ended.
async fn pass_on(events: &mut Events) -> Result<Value, Failed> {
    while let Some(event) = events.next().await? {
        let told = event.json()?;
        match event.event.as_str() {
            "stdout" => remote::say(bytes_of(&told, "data")?).await?,
            "stderr" => remote::pass_on_stderr(bytes_of(&told, "data")?).await?,
            "exit" => return Ok(told),
            "error" => return Err(refused(&told)),
            _ => {}
        }
    }
    Err(ClientError::Broken("the server ended while the command ran".into()).into())
}

/// A problem that is told when the answer has begun already.
fn refused(document: &Value) -> Failed {
    let text = |name: &str| document[name].as_str().map(str::to_owned);
    let status = document["status"].as_u64().and_then(|status| u16::try_from(status).ok());
    let kind = text("type").unwrap_or_default();
    let problem = Problem {
        status: status.unwrap_or(500),
        kind: kind.rsplit('/').next().unwrap_or_default().to_owned(),
        detail: text("detail").unwrap_or_default(),
        field: text("field"),
        phase: text("phase"),
        retry_after: None,
    };
    ClientError::Refused(Box::new(problem)).into()
}

/// Standard input, unless it is a terminal.
async fn read_stdin() -> Result<Vec<u8>, Failed> {
    if std::io::stdin().is_terminal() {
        return Ok(Vec::new());
    }
    let mut reading = tokio::task::spawn_blocking(|| {
        let mut bytes = Vec::new();
        std::io::stdin().lock().take(REQUEST_BYTES_MAX).read_to_end(&mut bytes).map(|_| bytes)
    });
    let read = match tokio::time::timeout(HINT_AFTER, &mut reading).await {
        Ok(read) => read,
        Err(_) => {
            note("the command starts when standard input has ended; -n runs it without");
            reading.await
        }
    };
    match read.map_err(|error| Failed::Other(error.into()))? {
        Ok(bytes) if bytes.len() as u64 == REQUEST_BYTES_MAX => Err(too_large()),
        Ok(bytes) => Ok(bytes),
        Err(error) => Err(Failed::here("standard input cannot be read", &error)),
    }
}

fn too_large() -> Failed {
    let text = "standard input is larger than a command can be given; \
                copy it first (sandtree cp - PROJECT:FILE) and let the command read the file";
    Failed::Usage(text.to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        exec: Exec,
    }

    fn parse(line: &[&str]) -> Result<Exec, clap::Error> {
        Line::try_parse_from(std::iter::once(&"exec").chain(line)).map(|line| line.exec)
    }

    fn body(line: &[&str], stdin: &[u8]) -> Value {
        let body = parse(line).unwrap().body(stdin.to_vec()).unwrap();
        serde_json::from_str(&body).unwrap()
    }

    #[test]
    fn options_after_the_command_are_the_commands_own() {
        assert_eq!(
            body(&["p", "ls", "-l", "--", "-e"], b"")["argv"],
            json!(["ls", "-l", "--", "-e"])
        );
        assert_eq!(body(&["p", "--", "-x"], b"")["argv"], json!(["-x"]));
        let all = body(&["-e", "A=1", "p", "-C", "src", "-t", "90s", "-c", "echo hi"], b"in");
        let expected = json!({
            "command": "echo hi", "cwd": "src", "env": { "A": "1" }, "timeout": "1m 30s",
            "stdin": "in",
        });
        assert_eq!(all, expected);
        assert!(parse(&["p"]).is_err() && parse(&["p", "-c", "a", "b"]).is_err());
    }

    #[test]
    fn input_that_is_no_text_goes_as_base64_and_too_much_of_it_is_refused() {
        assert_eq!(body(&["p", "cat"], b"\0\xff")["stdin"], json!({ "base64": "AP8=" }));
        let exec = parse(&["p", "cat"]).unwrap();
        assert!(exec.body(vec![0xff; 12_000_000]).is_ok());
        // Text that is much longer as JSON.
        assert!(exec.body(vec![1; 8 << 20]).is_ok());
        assert!(matches!(exec.body(vec![0xff; 13_000_000]), Err(Failed::Usage(_))));
    }
}
