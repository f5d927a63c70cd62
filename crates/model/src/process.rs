//! The one long-running command of a project.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::durations::Span;

/// What to run as the project's process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessSpec {
    /// Program and arguments; a `command` text has become `/bin/sh -c text`.
    pub argv: Vec<Box<str>>,
    /// Working directory; `/workspace` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<Box<str>>,
    /// Variables on top of the project's.
    #[serde(default)]
    pub env: BTreeMap<Box<str>, Box<str>>,
    /// What happens when it ends by itself.
    #[serde(default)]
    pub restart: RestartPolicy,
    /// Time between TERM and KILL when it is stopped.
    #[serde(default = "ten_seconds")]
    pub stop_grace: Span,
    /// What init does with output while the server is away and the ring is full.
    #[serde(default)]
    pub when_full: WhenFull,
}

const fn ten_seconds() -> Span {
    Span::from_secs(10)
}

/// What happens when the process ends by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// It stays ended.
    #[default]
    Never,
    /// It starts again, with backoff, unless its exit code was 0.
    OnFailure,
}

/// What happens to output that nobody takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenFull {
    /// The oldest is dropped and a gap is told.
    #[default]
    Gap,
    /// The process waits in its next write.
    Block,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitStatus {
    /// It returned this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
    /// It was not seen ending: the sandbox went away under it.
    Lost,
}

impl ExitStatus {
    /// The code as shells show it: 128 plus the number of a signal.
    #[must_use]
    pub const fn shell_code(self) -> i32 {
        match self {
            ExitStatus::Code(code) => code,
            ExitStatus::Signal(signal) => 128 + signal,
            ExitStatus::Lost => 137,
        }
    }

    /// Whether it returned 0.
    #[must_use]
    pub const fn is_success(self) -> bool {
        matches!(self, ExitStatus::Code(0))
    }
}

/// What the repository keeps of a process: enough to know, after any crash,
/// whether it should be running and which start of it was the last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessRecord {
    /// What to run.
    pub spec: ProcessSpec,
    /// Which start this is; rises with every start and never repeats in a project.
    pub epoch: u64,
    /// Whether it is to run.
    pub wanted: bool,
    /// Starts by the restart policy since the last start that somebody asked for.
    pub restarts: u32,
    /// How and when (microseconds since 1970) the last start ended.
    pub ended: Option<(ExitStatus, u64)>,
}
