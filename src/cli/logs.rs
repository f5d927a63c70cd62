//! `sandtree logs`: the log of a project's process, once or for as long as it grows.
//!
//! Every record has a cursor. When the connection is cut, reading goes on after the
//! last record that was printed, so that no line is missing and none is there twice.

use clap::{Args, ValueEnum};
use hyper::Method;
use sandtree_client::{Client, ClientError, bytes_of, query};
use serde_json::Value;

use super::failed::Failed;
use super::remote::{self, Remote, get, note, pass_on_stderr, project, say, say_line};
use super::retry::Retry;

/// `sandtree logs`.
#[derive(Debug, Args)]
#[command(after_help = "\
What the process wrote to standard error is printed on standard error.
With -f it ends when the process has ended for good, when the project is removed, and
with Ctrl-C. When the connection is cut, it goes on where it was as soon as it can.")]
pub(super) struct Logs {
    /// Project whose process it is.
    project: String,
    /// Wait for more at the end.
    #[arg(short, long)]
    follow: bool,
    /// Only the last so many lines.
    #[arg(short = 'n', long, value_name = "LINES", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    tail: Option<u32>,
    /// Only what was written to this stream.
    #[arg(long)]
    stream: Option<Stream>,
    /// Go on after this cursor, as --json prints it.
    #[arg(long, value_name = "CURSOR", conflicts_with = "tail")]
    after: Option<String>,
    /// Begin each line with its time.
    #[arg(short = 'T', long, conflicts_with = "json")]
    timestamps: bool,
    /// Print one JSON document for each record, one a line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Stream {
    Stdout,
    Stderr,
}

/// Whether there is more to read.
enum Read {
    More,
    /// What is there now, and nothing after it.
    Rest,
    Ended,
}

/// What there is of a process.
enum Process {
    /// None, not yet or not any more.
    None,
    /// It runs, or is to run again.
    GoesOn,
    /// It has ended in this epoch, and is not to be started again.
    Ended(u64),
}

/// Prints it.
pub(super) fn run(logs: Logs) -> Result<(), Failed> {
    remote::run(logs.run())
}

impl Logs {
    async fn run(self) -> Result<(), Failed> {
        let client = self.remote.client()?;
        let mut printer = Printer {
            cursor: self.after.clone(),
            has_begun: false,
            is_json: self.json,
            has_timestamps: self.timestamps,
            is_at_line_start: [true; 2],
        };
        let mut retry = Retry::default();
        let mut follow = self.follow;
        loop {
            let before = printer.cursor.clone();
            let outcome = self.read(&client, &mut printer, follow).await;
            if printer.cursor != before {
                retry = Retry::default();
            }
            match outcome {
                Ok(Read::Ended) => {
                    if printer.cursor.is_none() && !self.json {
                        note("the log is empty");
                    }
                    return Ok(());
                }
                Ok(Read::Rest) => {
                    follow = false;
                    continue;
                }
                // The server is ending: its answer is whole, the log is not.
                Ok(Read::More) => {}
                Err(Failed::Server(ClientError::Refused(problem)))
                    if problem.status == 404 && printer.has_begun =>
                {
                    return Ok(());
                }
                Err(Failed::Server(error))
                    if error.is_passing() && printer.has_begun && retry.may_go_on() =>
                {
                    if retry.may_say_so() {
                        note(&format!("{error}; the log goes on when the server is back"));
                    }
                }
                Err(failed) => return Err(failed),
            }
            retry.pause().await;
        }
    }

    /// Reads to the end of one answer.
    async fn read(
        &self,
        client: &Client,
        printer: &mut Printer,
        follow: bool,
    ) -> Result<Read, Failed> {
        let tail = self.tail.map(|tail| tail.to_string());
        let mut pairs = Vec::new();
        pairs.extend(printer.cursor.as_deref().map(|after| ("after", after)));
        if printer.cursor.is_none() {
            pairs.extend(tail.as_deref().map(|tail| ("tail", tail)));
        }
        pairs.extend(follow.then_some(("follow", "true")));
        pairs.extend(self.stream.map(|stream| match stream {
            Stream::Stdout => ("stream", "stdout"),
            Stream::Stderr => ("stream", "stderr"),
        }));
        let path = project(&self.project, &format!("process/logs{}", query(&pairs)));
        let mut lines = client.request(Method::GET, &path).stream().await?.lines();
        let is_first = !std::mem::replace(&mut printer.has_begun, true);
        if follow && is_first && matches!(self.process(client).await?, Process::None) {
            note("there is no process yet; its log is shown when it is started");
        }
        while let Some(line) = lines.next().await? {
            let told: Value = serde_json::from_slice(&line)
                .map_err(|error| ClientError::Answer(error.to_string()))?;
            if let Some(problem) = told["error"].as_object() {
                let detail = problem.get("detail").and_then(Value::as_str).unwrap_or_default();
                return Err(ClientError::Broken(detail.into()).into());
            }
            printer.print(&told).await?;
            if !follow {
                continue;
            }
            if let Some(epoch) = told["ended"]["epoch"].as_u64() {
                match self.process(client).await? {
                    Process::Ended(last) if last != epoch => {}
                    Process::Ended(_) | Process::None => return Ok(Read::Ended),
                    Process::GoesOn => {}
                }
            } else if told["alive"] == true {
                // The end may be told before the process is shown as ended, and it is not
                // in the log when it was lost with the sandbox, nor after a cursor behind it.
                match self.process(client).await? {
                    Process::Ended(_) => return Ok(Read::Rest),
                    Process::None if printer.cursor.is_some() => return Ok(Read::Rest),
                    Process::None | Process::GoesOn => {}
                }
            }
        }
        Ok(if follow { Read::More } else { Read::Ended })
    }

    async fn process(&self, client: &Client) -> Result<Process, Failed> {
        let process = match get(client, &project(&self.project, "process")).await {
            Ok(process) => process,
            Err(ClientError::Refused(problem)) if problem.status == 404 => {
                return Ok(Process::None);
            }
            Err(error) => return Err(error.into()),
        };
        let epoch = process["epoch"].as_u64().filter(|_| process["state"] == "ended");
        Ok(epoch.map_or(Process::GoesOn, Process::Ended))
    }
}

/// Prints records and knows where it is.
struct Printer {
    cursor: Option<String>,
    /// The server has answered at least once.
    has_begun: bool,
    is_json: bool,
    has_timestamps: bool,
    /// Of standard output and standard error.
    is_at_line_start: [bool; 2],
}

impl Printer {
    async fn print(&mut self, told: &Value) -> Result<(), Failed> {
        if told["alive"] == true {
            return Ok(());
        }
        if self.is_json {
            say_line(&told.to_string()).await?;
        } else if told["gap"].is_object() {
            // Across starts of the process nobody knows how much it was.
            let bytes = told["gap"]["bytes"].as_u64().map(|bytes| format!("{bytes} bytes of "));
            note(&format!("{}output is lost here", bytes.unwrap_or_default()));
        } else if let Some(ended) = told["ended"].as_object() {
            let code = ended.get("exit_code").and_then(Value::as_i64).unwrap_or_default();
            note(&format!("the process ended with exit code {code}"));
        } else {
            self.print_record(told).await?;
        }
        if let Some(cursor) = told["cursor"].as_str() {
            self.cursor = Some(cursor.to_owned());
        }
        Ok(())
    }

    async fn print_record(&mut self, told: &Value) -> Result<(), Failed> {
        let mut bytes = bytes_of(told, "text")?;
        let is_stderr = told["stream"] == "stderr";
        if self.has_timestamps {
            let time = told["time"].as_str().unwrap_or_default();
            bytes = stamped(&bytes, time, &mut self.is_at_line_start[usize::from(is_stderr)]);
        }
        if is_stderr {
            return pass_on_stderr(bytes).await;
        }
        say(bytes).await
    }
}

/// Output with its time at the start of every line.
fn stamped(bytes: &[u8], time: &str, is_at_line_start: &mut bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 64);
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        if *is_at_line_start {
            out.extend_from_slice(time.as_bytes());
            out.push(b' ');
        }
        out.extend_from_slice(line);
        *is_at_line_start = line.ends_with(b"\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_gap_of_unknown_size_is_passed() {
        let mut printer = Printer {
            cursor: None,
            has_begun: true,
            is_json: false,
            has_timestamps: false,
            is_at_line_start: [true; 2],
        };
        let gap = serde_json::json!({ "cursor": "2:0", "gap": { "bytes": null } });
        printer.print(&gap).await.unwrap();
        assert_eq!(printer.cursor.as_deref(), Some("2:0"));
    }

    #[test]
    fn every_line_gets_one_time_however_it_is_cut() {
        let mut at_start = true;
        let mut out = stamped(b"a\nb", "T1", &mut at_start);
        out.extend(stamped(b"c\n", "T2", &mut at_start));
        out.extend(stamped(b"d\n", "T3", &mut at_start));
        assert_eq!(out, b"T1 a\nT1 bc\nT3 d\n");
    }
}
