//! The tree's front door: what the edge, the dialects and the tests call.
//!
//! Every call here becomes a message to a project's actor, or a read of what was
//! published. Admission is bounded here, before any mailbox.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::time::Duration;

use bytes::Bytes;
use sandtree_model::durations::Timeout;
use sandtree_model::project::{Idempotency, Texts};
use sandtree_model::{
    Answer, Event, EventId, ExitStatus, Failure, LimitsPatch, Network, Principal, ProcessSpec, ProjectId,
    ProjectKey, ProjectUid, TenantId,
};
use sandtree_workspace::Workspace;
use tokio::net::UnixStream;

use crate::ports::Filter;
use crate::view::{Cursor, ProcessView, View};

/// A handle on the whole tree; cheap to clone.
#[derive(Clone)]
pub struct Tree(());

/// What a new project is to be; what is absent comes from its profile.
#[derive(Debug, Clone, Default)]
pub struct CreateRequest {
    /// Its id; absent: a fresh one.
    pub id: Option<ProjectId>,
    /// Absent: the profile `default`.
    pub profile: Option<Box<str>>,
    /// See [`sandtree_model::Settings`].
    pub image: Option<Box<str>>,
    /// Added to the profile's.
    pub env: Texts,
    /// The tenant's own notes.
    pub labels: Texts,
    /// Changes to the profile's.
    pub limits: LimitsPatch,
    /// See [`sandtree_model::Settings`].
    pub network: Option<Network>,
    /// See [`sandtree_model::Settings`].
    pub idle_timeout: Option<Timeout>,
    /// See [`sandtree_model::Settings`].
    pub max_lifetime: Option<Timeout>,
    /// Whether it is started at once.
    pub start: bool,
    /// Makes a repeated request find the first one's project.
    pub idempotency: Option<Idempotency>,
}

/// A change of a project; what is absent stays.
#[derive(Debug, Clone, Default)]
pub struct PatchRequest {
    /// Replaces the environment; programs started from now on see it.
    pub env: Option<Texts>,
    /// Replaces the labels.
    pub labels: Option<Texts>,
    /// Changes the limits from the next start on.
    pub limits: LimitsPatch,
    /// Replaces the idle timeout.
    pub idle_timeout: Option<Timeout>,
    /// Replaces the maximum lifetime.
    pub max_lifetime: Option<Timeout>,
}

/// What can be asked of a project's life cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Be running.
    Start,
    /// Be stopped.
    Stop,
    /// Stop, then start.
    Restart,
    /// Be frozen.
    Pause,
    /// Be thawed.
    Resume,
    /// Be gone.
    Delete {
        /// Leave the files on disk.
        keep_files: bool,
    },
}

impl Tree {
    /// Makes a project; the flag is false when an earlier request with the same
    /// idempotency key had made it. With `start`, answers once it runs.
    pub async fn create(&self, _by: &Principal, _request: CreateRequest) -> Answer<(View, bool)> {
        unimplemented!()
    }
    /// One project, from what was published. Spawns nothing.
    pub async fn get(&self, _key: &ProjectKey) -> Answer<View> {
        unimplemented!()
    }
    /// The address of a project, by its identity (for previews by host name).
    pub async fn address(&self, _uid: &ProjectUid) -> Answer<ProjectKey> {
        unimplemented!()
    }
    /// A tenant's projects, in the order of their ids. Spawns nothing.
    pub async fn list(&self, _tenant: &TenantId, _filter: &Filter) -> Answer<Vec<View>> {
        unimplemented!()
    }
    /// Waits until the project is in `phase` or `timeout` has passed, whichever is
    /// first, and answers how it is then.
    pub async fn wait_for(
        &self,
        _key: &ProjectKey,
        _phase: sandtree_model::Phase,
        _timeout: Duration,
    ) -> Answer<View> {
        unimplemented!()
    }
    /// Does an operation and answers when it is done. Dropping the future does
    /// not undo it: the target is committed first, and the tree goes on.
    pub async fn operate(
        &self,
        _by: &Principal,
        _key: &ProjectKey,
        _operation: Operation,
    ) -> Answer<View> {
        unimplemented!()
    }
    /// As [`Tree::operate`], but answers as soon as the operation is accepted.
    pub async fn operate_later(
        &self,
        _by: &Principal,
        _key: &ProjectKey,
        _operation: Operation,
    ) -> Answer<View> {
        unimplemented!()
    }
    /// Changes settings.
    pub async fn patch(&self, _key: &ProjectKey, _patch: PatchRequest) -> Answer<View> {
        unimplemented!()
    }
    /// The running sandbox of a project: commands, connections, usage. While the
    /// handle lives, the project counts as active.
    pub async fn sandbox(&self, _key: &ProjectKey) -> Answer<Sandbox> {
        unimplemented!()
    }
    /// Starts the project's process, replacing one that runs with another spec. The flag is
    /// true when it was started, false when one with this spec ran already.
    pub async fn put_process(
        &self,
        _key: &ProjectKey,
        _spec: ProcessSpec,
    ) -> Answer<(ProcessView, bool)> {
        unimplemented!()
    }
    /// Ends the project's process: TERM, then KILL after its grace period.
    pub async fn stop_process(&self, _key: &ProjectKey) -> Answer<ProcessView> {
        unimplemented!()
    }
    /// Sends a signal to the process's group.
    pub async fn signal_process(&self, _key: &ProjectKey, _signal: i32) -> Answer<()> {
        unimplemented!()
    }
    /// Reads the process's log from a cursor on; `None`: from its oldest record.
    pub async fn logs(&self, _key: &ProjectKey, _after: Option<Cursor>) -> Answer<LogReader> {
        unimplemented!()
    }
    /// Looks at the terminal, starting its shell if there is none.
    pub async fn open_terminal(
        &self,
        _key: &ProjectKey,
        _request: ViewRequest,
    ) -> Answer<Viewer> {
        unimplemented!()
    }
    /// Ends the terminal's shell.
    pub async fn close_terminal(&self, _key: &ProjectKey) -> Answer<()> {
        unimplemented!()
    }
    /// The files of a project, running or not.
    pub async fn files(&self, _key: &ProjectKey) -> Answer<Files> {
        unimplemented!()
    }
    /// What happens in a project from now on, or from after an event on.
    pub async fn events(&self, _key: &ProjectKey, _after: Option<EventId>) -> Answer<EventReader> {
        unimplemented!()
    }
    /// Whether engine and store answer, for `/ready`: name, and what is wrong.
    pub async fn readiness(&self) -> Vec<(&'static str, Result<(), Box<str>>)> {
        unimplemented!()
    }
    /// Ends all actors, bottom up; sandboxes run on.
    pub async fn shut_down(&self, _deadline: Duration) {
        unimplemented!()
    }
}

/// A running sandbox.
pub struct Sandbox(());

impl Sandbox {
    /// Runs a command. Dropping the answer kills its whole tree.
    pub async fn exec(&self, _spec: sandtree_wire::ExecSpec) -> Answer<Exec> {
        unimplemented!()
    }
    /// Connects to a port on the sandbox's loopback interface; [`Refusal::Conflict`]
    /// when nothing listens there.
    ///
    /// [`Refusal::Conflict`]: sandtree_model::Refusal::Conflict
    pub async fn dial(&self, _port: u16) -> Answer<Dialled> {
        unimplemented!()
    }
    /// What its connections have carried since the project's actors were spawned.
    pub fn traffic(&self) -> Arc<Traffic> {
        unimplemented!()
    }
    /// What the sandbox uses.
    pub async fn stats(&self) -> Answer<sandtree_wire::Stats> {
        unimplemented!()
    }
}

/// A connection to a port in the sandbox. While it lives, the project counts as active.
pub struct Dialled {
    /// The bytes of both sides.
    pub stream: UnixStream,
}

/// What the connections to a sandbox's ports carry, all of them together.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Bytes from clients to the sandbox.
    pub received: AtomicU64,
    /// Bytes from the sandbox to clients.
    pub sent: AtomicU64,
    /// Connections that are open.
    pub open: AtomicUsize,
}

/// A command in flight.
pub struct Exec(());

/// What a command in flight says; the last is `Exited` or `Failed`.
#[derive(Debug, Clone)]
pub enum ExecOutput {
    /// It runs.
    Started {
        /// Its id inside the sandbox.
        pid: u32,
    },
    /// Standard output.
    Stdout(Bytes),
    /// Standard error.
    Stderr(Bytes),
    /// It could not be started: the operating system's error and what was tried.
    Failed(sandtree_wire::StartError),
    /// It ended.
    Exited {
        /// How.
        status: ExitStatus,
        /// Whether its timeout ended it.
        timed_out: bool,
    },
}

impl Exec {
    /// The next thing it says. Cancel safe.
    pub async fn next(&mut self) -> Answer<ExecOutput> {
        unimplemented!()
    }
    /// Its standard input, once, if the spec asked for it.
    pub fn take_stdin(&mut self) -> Option<ExecStdin> {
        unimplemented!()
    }
}

/// Standard input of a command in flight. Dropping it ends the input.
pub struct ExecStdin(());

impl ExecStdin {
    /// Writes input; waits while the command does not read.
    pub async fn write(&mut self, _bytes: &[u8]) -> Answer<()> {
        unimplemented!()
    }
}

/// One record of a process's log.
#[derive(Debug, Clone)]
pub struct LogRecord {
    /// Where it starts.
    pub at: Cursor,
    /// Microseconds since 1970, by the sandbox's clock.
    pub time: u64,
    /// 1 for standard output, 2 for standard error.
    pub stream: u8,
    /// What was written.
    pub bytes: Bytes,
}

/// What a reader of the log gets.
#[derive(Debug, Clone)]
pub enum LogItem {
    /// A record.
    Record(LogRecord),
    /// Bytes before this cursor are gone: rotated away, or lost while the server was.
    Gap {
        /// How many, where that is known.
        bytes: Option<u64>,
        /// Where it goes on.
        to: Cursor,
    },
    /// The process ended; a restart begins a new epoch after it.
    Ended {
        /// Which start of it.
        epoch: u64,
        /// How.
        status: ExitStatus,
    },
}

/// Reads a process's log, from disk.
pub struct LogReader(());

impl LogReader {
    /// The next item, or `None` at the present end.
    pub async fn next(&mut self) -> Answer<Option<LogItem>> {
        unimplemented!()
    }
    /// Waits until there may be more; returns at once if there is. Cancel safe.
    pub async fn more(&mut self) {
        unimplemented!()
    }
    /// Where the next item starts.
    pub fn cursor(&self) -> Option<Cursor> {
        unimplemented!()
    }
}

/// How a viewer wants to look at the terminal.
#[derive(Debug, Clone, Copy)]
pub struct ViewRequest {
    /// Characters in a line, 2 to 500; applied to the shell.
    pub cols: u16,
    /// Lines, 2 to 500.
    pub rows: u16,
    /// Continue after this byte; absent: the current screen first.
    pub after: Option<Cursor>,
}

/// One viewer of a terminal.
pub struct Viewer(());

/// What a viewer gets.
#[derive(Debug, Clone)]
pub enum TerminalItem {
    /// Comes first, and again if the shell was started anew: where the bytes after it start.
    /// With `fresh`, the client clears its screen before them.
    Ready {
        /// Position of the next byte.
        at: Cursor,
        /// Whether what follows repaints the whole screen.
        fresh: bool,
    },
    /// Output.
    Bytes(Bytes),
    /// This viewer was too slow, or came too late: so many bytes are lost.
    Gap {
        /// How many.
        bytes: u64,
    },
    /// The shell ended; the last item.
    Exited(ExitStatus),
}

impl Viewer {
    /// The next item; `None` when the sandbox or the server ends. Cancel safe.
    pub async fn next(&mut self) -> Option<TerminalItem> {
        unimplemented!()
    }
    /// A handle for input, which can be used beside [`Viewer::next`].
    pub fn input(&self) -> TerminalInput {
        unimplemented!()
    }
}

/// Input of a terminal.
#[derive(Clone)]
pub struct TerminalInput(());

impl TerminalInput {
    /// Keystrokes; waits while the shell does not read.
    pub async fn write(&self, _bytes: Bytes) -> Answer<()> {
        unimplemented!()
    }
    /// A new size, 2 to 500 each; others are brought into that range.
    pub async fn resize(&self, _cols: u16, _rows: u16) -> Answer<()> {
        unimplemented!()
    }
}

/// The files of one project. While the handle lives, the project counts as active.
#[derive(Clone)]
pub struct Files(());

impl Files {
    /// For reads, which are direct; call it where blocking is allowed.
    pub fn workspace(&self) -> &Arc<Workspace> {
        unimplemented!()
    }
    /// Does one write after all earlier ones of this project, on a thread where
    /// blocking is allowed. `changes` is what the event log shows of it.
    pub async fn write<T, F>(&self, _work: F) -> Result<T, WriteError>
    where
        T: Send + 'static,
        F: FnOnce(&Workspace) -> (Result<T, sandtree_workspace::WorkspaceError>, Vec<FileNote>)
            + Send
            + 'static,
    {
        unimplemented!()
    }
}

/// Why a write did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The files say no.
    #[error(transparent)]
    Workspace(#[from] sandtree_workspace::WorkspaceError),
    /// The write was not done.
    #[error(transparent)]
    Failure(#[from] Failure),
}

/// What the event log shows of a write.
#[derive(Debug, Clone)]
pub struct FileNote {
    /// Relative to the workspace.
    pub path: Box<str>,
    /// What was done.
    pub change: sandtree_model::event::FileChange,
}

/// Follows a project's events.
pub struct EventReader(());

impl EventReader {
    /// The next event; `None` after the project's last one. Cancel safe.
    pub async fn next(&mut self) -> Option<(EventId, Event)> {
        unimplemented!()
    }
}
