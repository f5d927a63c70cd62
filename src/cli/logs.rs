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
    Ended,
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
        loop {
            let before = printer.cursor.clone();
            let outcome = self.read(&client, &mut printer).await;
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
    async fn read(&self, client: &Client, printer: &mut Printer) -> Result<Read, Failed> {
        let tail = self.tail.map(|tail| tail.to_string());
        let mut pairs = Vec::new();
        pairs.extend(printer.cursor.as_deref().map(|after| ("after", after)));
        if printer.cursor.is_none() {
            pairs.extend(tail.as_deref().map(|tail| ("tail", tail)));
        }
        pairs.extend(self.follow.then_some(("follow", "true")));
        pairs.extend(self.stream.map(|stream| match stream {
            Stream::Stdout => ("stream", "stdout"),
            Stream::Stderr => ("stream", "stderr"),
        }));
        let path = project(&self.project, &format!("process/logs{}", query(&pairs)));
        let mut lines = client.request(Method::GET, &path).stream().await?.lines();
        printer.has_begun = true;
        while let Some(line) = lines.next().await? {
            let told: Value = serde_json::from_slice(&line)
                .map_err(|error| ClientError::Answer(error.to_string()))?;
            if let Some(problem) = told["error"].as_object() {
                let detail = problem.get("detail").and_then(Value::as_str).unwrap_or_default();
                return Err(ClientError::Broken(detail.into()).into());
            }
            printer.print(&told).await?;
            let epoch = told["ended"]["epoch"].as_u64();
            if self.follow && epoch.is_some() && self.is_over(client, epoch).await? {
                return Ok(Read::Ended);
            }
        }
        Ok(if self.follow { Read::More } else { Read::Ended })
    }

    /// Whether the process that has just ended is the last one for now.
    async fn is_over(&self, client: &Client, epoch: Option<u64>) -> Result<bool, Failed> {
        let process = get(client, &project(&self.project, "process")).await?;
        Ok(process["state"] == "ended" && process["epoch"].as_u64() == epoch)
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
        } else if let Some(gap) = told["gap"]["bytes"].as_u64() {
            note(&format!("{gap} bytes of output are lost here"));
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

    #[test]
    fn every_line_gets_one_time_however_it_is_cut() {
        let mut at_start = true;
        let mut out = stamped(b"a\nb", "T1", &mut at_start);
        out.extend(stamped(b"c\n", "T2", &mut at_start));
        out.extend(stamped(b"d\n", "T3", &mut at_start));
        assert_eq!(out, b"T1 a\nT1 bc\nT3 d\n");
    }
}
