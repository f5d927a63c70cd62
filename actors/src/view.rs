//! What readers see: snapshots that cost no message.

use std::sync::Arc;

use sandtree_model::{ExitStatus, ProcessRecord, Project};

/// A position in a stream of output: which start of the job, and which byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    /// Which start of the job.
    pub epoch: u64,
    /// Absolute offset within it, in bytes.
    pub offset: u64,
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.epoch, self.offset)
    }
}

impl std::str::FromStr for Cursor {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.split_once(':')
            .and_then(|(epoch, offset)| {
                Some(Self { epoch: epoch.parse().ok()?, offset: offset.parse().ok()? })
            })
            .ok_or("must be an offset that this server sent, like \"3:1024\"")
    }
}

/// A project with what is known of its live parts.
#[derive(Debug, Clone)]
pub struct View {
    /// The row, as last committed.
    pub project: Arc<Project>,
    /// The process, once there was one.
    pub process: Option<ProcessView>,
    /// The terminal, while its shell runs.
    pub terminal: Option<TerminalView>,
}

impl View {
    /// A view of a row, with what its actors have published on top.
    pub(crate) fn of(
        project: Arc<Project>,
        process: Option<ProcessView>,
        terminal: Option<TerminalView>,
    ) -> Self {
        let kept = || {
            let record = project.process.clone()?;
            let state =
                record.ended.map_or(ProcessState::Idle, |(how, _)| ProcessState::Ended(how));
            Some(ProcessView { record, state, pid: None })
        };
        let process = process.or_else(kept);
        Self { project, process, terminal }
    }
}

/// A process as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessView {
    /// What is kept of it.
    pub record: ProcessRecord,
    /// What it does.
    pub state: ProcessState,
    /// Its id inside the sandbox, while it runs.
    pub pid: Option<u32>,
}

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessState {
    /// It is being started, or waits for its sandbox.
    Starting,
    /// It runs.
    Running,
    /// It was told to end.
    Stopping,
    /// It failed and is started again after a pause.
    Waiting,
    /// It ended.
    Ended(ExitStatus),
    /// It was not started since the sandbox last stopped.
    Idle,
}

impl ProcessState {
    /// The word used in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            ProcessState::Starting => "starting",
            ProcessState::Running => "running",
            ProcessState::Stopping => "stopping",
            ProcessState::Waiting => "waiting",
            ProcessState::Ended(_) => "ended",
            ProcessState::Idle => "idle",
        }
    }
}

/// A terminal as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TerminalView {
    /// Which shell it is.
    pub epoch: u64,
    /// The shell's id inside the sandbox.
    pub pid: u32,
    /// Characters in a line.
    pub cols: u16,
    /// Lines.
    pub rows: u16,
    /// How many look at it.
    pub viewers: usize,
}
