//! Tells what a command says as it says it.
//!
//! `started {pid}`, then `stdout` and `stderr` with `{data}`, or `{base64}` where it is
//! not UTF-8, and last `exit {exit_code, signal?, timed_out, duration_ms}` or `error`
//! with a problem document.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, stream};
use sandtree_actors::ExecOutput;
use sandtree_model::{Answer, ExitStatus, Fault};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::text::{Piece, Splitter};
use super::{Feed, Says, not_started};
use crate::edge::errors::Problem;
use crate::edge::process::signals;
use crate::edge::reply::SseEvent;

/// The events of a command. Polled for each one, so a client that does not read makes
/// the command wait; dropped, it kills the command's tree.
pub(super) fn tell<C: Says + 'static>(
    command: C,
    feed: Feed,
    begun: Instant,
    limit: Duration,
) -> impl Stream<Item = SseEvent> + Send + 'static {
    stream::unfold(Telling::new(command, feed, begun, limit), |mut telling| async {
        let event = telling.next().await?;
        Some((event, telling))
    })
}

/// Sends the events of a command that is one of several, up to its `exit`; answers its exit
/// code, and whether its time was over.
pub(super) async fn forward<C: Says>(
    command: C,
    feed: Feed,
    limit: Duration,
    to: &mpsc::Sender<SseEvent>,
) -> Result<(i32, bool), Problem> {
    let mut telling = Telling::new(command, feed, Instant::now(), limit);
    while let Some(event) = telling.next().await {
        // An error ends more than this command, and is told by who runs them all.
        if event.event != Some("error") {
            // Who is gone drops this future as well.
            let _ = to.send(event).await;
        }
    }
    match telling.ended {
        Some(Ok(ended)) => Ok(ended),
        Some(Err(problem)) => Err(problem),
        None => Err(Problem::internal("a command ended without an end")),
    }
}

struct Telling<C> {
    command: C,
    feed: Feed,
    fed: bool,
    /// Standard output and standard error.
    streams: [Splitter; 2],
    /// Events that are ready.
    told: VecDeque<SseEvent>,
    begun: Instant,
    deadline: Instant,
    is_over: bool,
    /// Exit code and whether its time was over, or why neither is known.
    ended: Option<Result<(i32, bool), Problem>>,
}

/// Names of the events with output.
const NAMES: [&str; 2] = ["stdout", "stderr"];

impl<C: Says> Telling<C> {
    fn new(command: C, feed: Feed, begun: Instant, limit: Duration) -> Self {
        Self {
            command,
            feed,
            fed: false,
            streams: Default::default(),
            told: VecDeque::new(),
            begun,
            deadline: begun + limit,
            is_over: false,
            ended: None,
        }
    }

    async fn next(&mut self) -> Option<SseEvent> {
        while self.told.is_empty() && !self.is_over {
            let output = tokio::select! {
                output = self.command.next() => output,
                () = &mut self.feed, if !self.fed => {
                    self.fed = true;
                    continue;
                }
                () = tokio::time::sleep_until(self.deadline) => Err(self.overdue()),
            };
            self.say(output);
        }
        self.told.pop_front()
    }

    fn say(&mut self, output: Answer<ExecOutput>) {
        match output {
            Ok(ExecOutput::Started { pid }) => {
                self.told.push_back(SseEvent::json("started", &json!({ "pid": pid })));
            }
            Ok(ExecOutput::Stdout(bytes)) => self.wrote(0, &bytes),
            Ok(ExecOutput::Stderr(bytes)) => self.wrote(1, &bytes),
            Ok(ExecOutput::Failed(error)) if error.errno == 0 => {
                self.fail(Fault::Sandbox(error.what.into()).into());
            }
            Ok(ExecOutput::Failed(error)) => {
                let (line, code) = not_started(&error);
                self.wrote(1, &line.into());
                self.exit(ExitStatus::Code(code), false);
            }
            Ok(ExecOutput::Exited { status, timed_out }) => self.exit(status, timed_out),
            Err(failure) => self.fail(failure.into()),
        }
    }

    fn wrote(&mut self, stream: usize, bytes: &Bytes) {
        let piece = self.streams[stream].push(bytes);
        self.told.extend(piece.map(|piece| event(stream, &piece)));
    }

    fn exit(&mut self, status: ExitStatus, timed_out: bool) {
        self.finish();
        let mut exit = json!({
            "exit_code": status.shell_code(),
            "timed_out": timed_out,
            "duration_ms": u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        });
        if let Some(signal) = signals::of_status(status) {
            exit["signal"] = signal.into();
        }
        self.told.push_back(SseEvent::json("exit", &exit));
        self.ended = Some(Ok((status.shell_code(), timed_out)));
    }

    fn fail(&mut self, problem: Problem) {
        self.finish();
        self.told.push_back(SseEvent::json("error", &problem.document()));
        self.ended = Some(Err(problem));
    }

    fn finish(&mut self) {
        self.is_over = true;
        for stream in 0..self.streams.len() {
            let rest = self.streams[stream].finish();
            self.told.extend(rest.map(|piece| event(stream, &piece)));
        }
    }

    fn overdue(&self) -> sandtree_model::Failure {
        let limit = self.deadline - self.begun;
        Fault::TimedOut { what: "the command".into(), limit }.into()
    }
}

fn event(stream: usize, piece: &Piece) -> SseEvent {
    SseEvent::json(NAMES[stream], piece)
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, StreamExt};
    use sandtree_wire::StartError;

    use super::super::Script;
    use super::*;

    async fn told(script: Vec<Answer<ExecOutput>>) -> Vec<(String, String)> {
        let feed = std::future::ready(()).boxed();
        let limit = Duration::from_secs(5);
        let events = tell(Script(script.into()), feed, Instant::now(), limit);
        let events: Vec<_> = events.collect().await;
        events.into_iter().map(|event| (event.event.unwrap().to_owned(), event.data)).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_character_split_between_chunks_stays_whole() {
        let stdout = |bytes: &'static [u8]| Ok(ExecOutput::Stdout(Bytes::from_static(bytes)));
        let stderr = |bytes: &'static [u8]| Ok(ExecOutput::Stderr(Bytes::from_static(bytes)));
        let exited = ExecOutput::Exited { status: ExitStatus::Code(0), timed_out: false };
        let told = told(vec![
            Ok(ExecOutput::Started { pid: 9 }),
            stdout(b"a\xe2\x82"),
            stderr(b"e\xff"),
            stdout(b"\xacb\xe2"),
            Ok(exited),
        ])
        .await;
        let expected = [
            ("started", r#"{"pid":9}"#),
            ("stdout", r#"{"data":"a"}"#),
            ("stderr", r#"{"base64":"Zf8="}"#),
            ("stdout", r#"{"data":"€b"}"#),
            ("stdout", r#"{"base64":"4g=="}"#),
            ("exit", r#"{"duration_ms":0,"exit_code":0,"timed_out":false}"#),
        ];
        let told: Vec<_> = told.iter().map(|(event, data)| (&**event, &**data)).collect();
        assert_eq!(told, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn a_program_that_is_not_there_and_one_that_never_ends() {
        let error = StartError { errno: 2, what: "run `x`".into() };
        let missing = told(vec![Ok(ExecOutput::Failed(error))]).await;
        assert_eq!(
            missing[0],
            ("stderr".into(), r#"{"data":"cannot run `x`: No such file or directory\n"}"#.into())
        );
        assert!(missing[1].1.contains(r#""exit_code":127"#), "{missing:?}");

        let overdue = told(vec![Ok(ExecOutput::Started { pid: 1 })]).await;
        assert_eq!(overdue.last().unwrap().0, "error");
        assert!(overdue.last().unwrap().1.contains("timed-out"), "{overdue:?}");
    }
}
