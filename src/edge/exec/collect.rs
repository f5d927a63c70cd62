//! Runs a command to its end and keeps what it wrote, up to a limit.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sandtree_actors::ExecOutput;
use sandtree_model::{Answer, ExitStatus, Fault};
use serde::Serialize;

use super::{Encoding, Feed, Says, not_started, text};
use crate::edge::process::signals;

/// What a command wrote and how it ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Collected {
    stdout: Kept,
    stderr: Kept,
    status: ExitStatus,
    timed_out: bool,
}

/// The beginning of a stream.
#[derive(Debug, PartialEq, Eq)]
struct Kept {
    bytes: Vec<u8>,
    bytes_max: usize,
    /// There was more.
    cut: bool,
}

/// The answer to a request without events.
#[derive(Debug, Serialize)]
pub(in crate::edge) struct Document {
    stdout: String,
    stderr: String,
    exit_code: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<String>,
    timed_out: bool,
    truncated: bool,
    duration_ms: u64,
}

/// Runs a command to its end. Dropped, it kills the command's tree.
pub(super) async fn collect<C: Says>(
    mut command: C,
    mut feed: Feed,
    bytes_max: usize,
) -> Answer<Collected> {
    let mut stdout = Kept::new(bytes_max);
    let mut stderr = Kept::new(bytes_max);
    let mut fed = false;
    let (status, timed_out) = loop {
        let output = tokio::select! {
            output = command.next() => output?,
            () = &mut feed, if !fed => {
                fed = true;
                continue;
            }
        };
        match output {
            ExecOutput::Started { .. } => {}
            ExecOutput::Stdout(bytes) => stdout.add(&bytes),
            ExecOutput::Stderr(bytes) => stderr.add(&bytes),
            // Not the program's fault: init refused.
            ExecOutput::Failed(error) if error.errno == 0 => {
                return Err(Fault::Sandbox(error.what.into()).into());
            }
            ExecOutput::Failed(error) => {
                let (line, code) = not_started(&error);
                stderr.add(line.as_bytes());
                break (ExitStatus::Code(code), false);
            }
            ExecOutput::Exited { status, timed_out } => break (status, timed_out),
        }
    };
    Ok(Collected { stdout, stderr, status, timed_out })
}

impl Collected {
    /// How it ended, as a shell says it: 128 and the signal after a signal.
    #[must_use]
    pub fn exit_code(&self) -> i32 {
        self.status.shell_code()
    }

    /// Whether its time was over.
    #[must_use]
    pub fn timed_out(&self) -> bool {
        self.timed_out
    }

    /// Whether something of the output was left out.
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        self.stdout.cut || self.stderr.cut
    }

    /// Standard output, byte for byte.
    #[must_use]
    pub fn into_stdout(self) -> Vec<u8> {
        self.stdout.bytes
    }

    /// Standard output and standard error as text, with U+FFFD for what is not UTF-8.
    #[must_use]
    pub fn into_texts(self) -> (String, String) {
        (self.stdout.text(Encoding::Utf8), self.stderr.text(Encoding::Utf8))
    }

    /// Bytes that were kept of both streams.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.stdout.bytes.len() + self.stderr.bytes.len()
    }

    /// As JSON, with the output as text.
    pub(in crate::edge) fn text_document(self, took: Duration) -> Document {
        self.document(Encoding::Utf8, took)
    }

    /// As JSON.
    pub(super) fn document(self, encoding: Encoding, took: Duration) -> Document {
        Document {
            truncated: self.stdout.cut || self.stderr.cut,
            stdout: self.stdout.text(encoding),
            stderr: self.stderr.text(encoding),
            exit_code: self.status.shell_code(),
            signal: signals::of_status(self.status),
            timed_out: self.timed_out,
            duration_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

impl Kept {
    fn new(bytes_max: usize) -> Self {
        Self { bytes: Vec::new(), bytes_max, cut: false }
    }

    fn add(&mut self, bytes: &[u8]) {
        let room = self.bytes_max - self.bytes.len();
        self.cut |= bytes.len() > room;
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn text(self, encoding: Encoding) -> String {
        match encoding {
            Encoding::Utf8 => text::lossy(self.bytes, self.cut),
            Encoding::Base64 => STANDARD.encode(self.bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::FutureExt;
    use sandtree_wire::StartError;
    use serde_json::json;

    use super::super::Script;
    use super::*;

    fn idle() -> Feed {
        std::future::ready(()).boxed()
    }

    async fn run(script: impl IntoIterator<Item = ExecOutput>) -> Answer<Collected> {
        let script = Script(script.into_iter().map(Ok).collect());
        collect(script, idle(), 8).await
    }

    fn shown(collected: Collected, encoding: Encoding) -> serde_json::Value {
        serde_json::to_value(collected.document(encoding, Duration::from_millis(3))).unwrap()
    }

    #[tokio::test]
    async fn output_is_kept_up_to_its_limit_and_read_to_its_end() {
        let outputs = || {
            [
                ExecOutput::Started { pid: 7 },
                ExecOutput::Stdout(Bytes::from_static(b"12345")),
                ExecOutput::Stderr(Bytes::from_static(b"e\xff")),
                ExecOutput::Stdout(Bytes::from_static("67€".as_bytes())),
                ExecOutput::Stdout(Bytes::from_static(b"more")),
                ExecOutput::Exited { status: ExitStatus::Code(3), timed_out: false },
            ]
        };
        assert_eq!(
            shown(run(outputs()).await.unwrap(), Encoding::Utf8),
            json!({
                "stdout": "1234567", "stderr": "e\u{fffd}", "exit_code": 3,
                "timed_out": false, "truncated": true, "duration_ms": 3,
            })
        );
        let encoded = shown(run(outputs()).await.unwrap(), Encoding::Base64);
        assert_eq!(
            (&encoded["stdout"], &encoded["stderr"]),
            (&json!("MTIzNDU2N+I="), &json!("Zf8="))
        );
    }

    #[tokio::test]
    async fn a_time_out_and_a_signal_are_told() {
        let killed = ExecOutput::Exited { status: ExitStatus::Signal(9), timed_out: true };
        let shown = shown(run([killed]).await.unwrap(), Encoding::Utf8);
        assert_eq!(shown["exit_code"], 137);
        assert_eq!((&shown["signal"], &shown["timed_out"]), (&json!("KILL"), &json!(true)));
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_a_result_and_a_refusal_of_init_is_not() {
        let failed = |errno| ExecOutput::Failed(StartError { errno, what: "x".into() });
        let shown = shown(run([failed(2)]).await.unwrap(), Encoding::Utf8);
        assert_eq!((&shown["exit_code"], &shown["stderr"]), (&json!(127), &json!("cannot x")));
        assert!(run([failed(0)]).await.is_err());
    }

    #[tokio::test]
    async fn input_flows_while_output_is_read() {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let feed = async move { sender.send(()).unwrap() }.boxed();
        struct Waits(Option<tokio::sync::oneshot::Receiver<()>>);
        impl Says for Waits {
            async fn next(&mut self) -> Answer<ExecOutput> {
                if let Some(fed) = &mut self.0 {
                    fed.await.unwrap();
                    self.0 = None;
                }
                Ok(ExecOutput::Exited { status: ExitStatus::Code(0), timed_out: false })
            }
        }
        assert!(collect(Waits(Some(receiver)), feed, 8).await.is_ok());
    }
}
