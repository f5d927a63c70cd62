//! The messages. Texts and counts are limited by [`crate::MESSAGE_BYTES_MAX`].

use std::collections::BTreeMap;
use std::{fmt, io};

use serde::{Deserialize, Serialize};

/// Variables of a program.
pub type Env = BTreeMap<String, String>;

/// The first message on every connection, from init.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Newest version that init speaks.
    pub version: u16,
    /// Proves that init is init: only it has read the token file.
    pub token: String,
    /// What the connection is for.
    pub role: Role,
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Requests and notices; a newer one replaces an older one.
    Control,
    /// The stream that the server asked for under this number.
    Stream(u64),
}

/// The server's answer to the hello of a control connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The version that both speak from here on.
    pub version: u16,
}

/// A request on the control connection. Each is answered by one [`Reply`] with
/// the same number, except [`Request::Open`], which is answered by a connection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Numbered<T> {
    /// Chosen by the server, never used twice on a connection.
    pub id: u64,
    /// What is asked or answered.
    pub body: T,
}

/// What the server asks of init.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Comes first on every control connection; answered by [`Reply::Configured`].
    Configure(Configuration),
    /// Dial one more connection, name the stream, and do this on it. No reply.
    Open(Stream),
    /// Start a job; a job that has this epoch already is left alone. Answered by
    /// [`Reply::Job`], or [`Reply::Refused`] while an older epoch still runs.
    StartJob(JobSpec),
    /// TERM to the job's whole process group, and KILL to its whole tree after
    /// the grace period. Answered at once by [`Reply::Done`]; the end comes as
    /// [`Notice::JobEnded`].
    StopJob {
        /// Which job.
        job: Job,
        /// Which start of it; another is left alone.
        epoch: u64,
        /// Milliseconds between TERM and KILL.
        grace_ms: u64,
    },
    /// Send a signal to the job's process group. Answered by [`Reply::Done`].
    SignalJob {
        /// Which job.
        job: Job,
        /// Number of the signal.
        signal: i32,
    },
    /// Output before this offset is durable at the server and may be freed; an
    /// ended job whose last byte is durable is forgotten. Answered by [`Reply::Done`].
    Durable {
        /// Which job.
        job: Job,
        /// Which start of it.
        epoch: u64,
        /// Everything before it.
        offset: u64,
    },
    /// Set the size of the terminal. Answered by [`Reply::Done`].
    Resize(Size),
    /// Answered by [`Reply::Stats`].
    Stats,
}

/// What holds for every program in the sandbox from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configuration {
    /// The whole environment; nothing of init's own is inherited.
    pub env: Env,
    /// Most execs at once.
    pub execs_max: u32,
    /// Time between TERM and KILL when the sandbox stops; absent: [`STOP_GRACE_MS`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_grace_ms: Option<u64>,
}

/// Time between TERM and KILL of a sandbox whose server did not say: below the ten
/// seconds that engines wait before they kill init.
pub const STOP_GRACE_MS: u64 = 8_000;

/// What a stream is to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// Run a command.
    Exec(ExecSpec),
    /// Follow a job's output and write its input.
    Attach {
        /// Which job.
        job: Job,
        /// Which start of it.
        epoch: u64,
        /// First byte wanted; what is gone already is told as a gap.
        from: u64,
    },
    /// Connect to `127.0.0.1` (then `::1`) in the sandbox.
    Dial {
        /// Port to connect to.
        port: u16,
        /// Whether init may answer with [`DialEvent::Handed`].
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        hand_over: bool,
    },
    /// Tell what changes below a directory. Since version 2.
    Watch(WatchSpec),
}

/// What to watch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchSpec {
    /// The directory; paths in events begin from it.
    pub path: String,
    /// Names that are neither told nor looked into; `*` stands for anything.
    pub exclude: Vec<String>,
    /// Whether directories below it are watched too.
    pub recursive: bool,
    /// Most directories that are watched.
    pub directories_max: u32,
}

/// What init says in messages on a watch stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WatchEvent {
    /// What happens from here on is told.
    Ready {
        /// How many directories are watched.
        directories: u32,
    },
    /// What happened, in its order; at most [`CHANGES_MAX`].
    Changes(Vec<Change>),
    /// More happened than could be told: only looking at the files shows it. What
    /// happens from here on is told again.
    Overflow,
    /// Directories are not watched, because there are too many. Said once.
    Limited {
        /// How many are watched.
        directories: u32,
    },
    /// The directory cannot be watched any more; the last frame.
    Failed(StartError),
}

/// Most changes in one [`WatchEvent::Changes`].
pub const CHANGES_MAX: usize = 256;
/// Most bytes of all paths in one [`WatchEvent::Changes`], but for the last change.
pub const CHANGES_BYTES_MAX: usize = 32 * 1024;

/// One change. What is not UTF-8 in a path is replaced by U+FFFD.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// What was changed, from the watched directory on.
    pub path: String,
    /// Whether it is a directory.
    pub is_dir: bool,
    /// What happened to it.
    pub what: WhatChanged,
}

/// What happened to a file or directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhatChanged {
    /// It is there now: made, linked, or moved to here from where nothing is watched,
    /// perhaps in the place of another.
    Created,
    /// Its content was written.
    Modified,
    /// It is not there any more.
    Removed,
    /// It was there and is here now.
    Renamed {
        /// Its path before.
        from: String,
    },
}

/// A command.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecSpec {
    /// Program, looked up in `PATH` when it has no slash, and arguments.
    pub argv: Vec<String>,
    /// Runs instead where the program of `argv` is not there; empty: nothing does. Since
    /// version 3; an older init runs only this.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub argv_otherwise: Vec<String>,
    /// Working directory; absent: the workspace.
    pub cwd: Option<String>,
    /// Variables on top of the configured ones.
    pub env: Env,
    /// Whether the server sends input; without, standard input is empty.
    pub stdin: bool,
    /// Milliseconds after which the whole tree is killed.
    pub timeout_ms: Option<u64>,
    /// Whether it writes to a terminal of [`EXEC_SIZE`]: both outputs are one then, and
    /// standard input is empty whatever `stdin` says. Since version 3.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tty: bool,
}

/// Size of the terminal that a command writes to: what programs take for granted.
pub const EXEC_SIZE: Size = Size { cols: 80, rows: 24 };

/// What the server says in messages on an exec stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExecInput {
    /// Send a signal to the command's process group.
    Signal(i32),
}

/// What init says in messages on an exec stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExecEvent {
    /// The command runs.
    Started {
        /// Its id inside the sandbox.
        pid: u32,
    },
    /// It could not be started; the last frame.
    Failed(StartError),
    /// It ended, and all it wrote before has been sent; the last frame.
    Exited {
        /// How.
        status: ExitStatus,
        /// Whether its timeout ended it.
        timed_out: bool,
    },
}

/// Why a program could not be started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartError {
    /// Number of the operating system's error; 0 when there is none.
    pub errno: i32,
    /// What was tried, for people.
    pub what: String,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}", self.what)?;
        if self.errno == 0 {
            return Ok(());
        }
        let why = io::Error::from_raw_os_error(self.errno).to_string();
        // The number says nothing to people.
        write!(f, ": {}", why.split(" (os error").next().unwrap_or_default())
    }
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitStatus {
    /// It returned this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
}

/// What init keeps alive for the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Job {
    /// The project's one long-running command; pipes.
    Process,
    /// The project's one shell; a terminal.
    Terminal,
}

/// How to start a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobSpec {
    /// Which job.
    pub job: Job,
    /// Which start of it this is; rises from start to start.
    pub epoch: u64,
    /// Commands to try in order: the first whose program exists is run.
    pub argv_choices: Vec<Vec<String>>,
    /// Working directory; absent: the workspace.
    pub cwd: Option<String>,
    /// Variables on top of the configured ones.
    pub env: Env,
    /// Size of a terminal; ignored for the process.
    pub size: Size,
    /// Bytes of output that are kept for the server.
    pub ring_bytes: u64,
    /// Whether the job waits in its write when the ring is full of what is not
    /// yet durable, instead of losing the oldest bytes.
    pub block_when_full: bool,
}

/// Size of a terminal, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Characters in a line.
    pub cols: u16,
    /// Lines.
    pub rows: u16,
}

/// Where a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobState {
    /// Which job.
    pub job: Job,
    /// Which start of it.
    pub epoch: u64,
    /// Its id inside the sandbox.
    pub pid: u32,
    /// Offset of the oldest byte that is still kept.
    pub kept_from: u64,
    /// Offset after its newest byte.
    pub end: u64,
    /// How it ended, if it has.
    pub ended: Option<ExitStatus>,
}

/// What init says in messages on an attach stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttachEvent {
    /// Bytes from here to where the next record starts are lost.
    Gap {
        /// First lost byte.
        from: u64,
        /// First byte after them.
        to: u64,
    },
    /// The job ended and this was its output; the last frame.
    Ended {
        /// How.
        status: ExitStatus,
        /// Offset after its last byte.
        end: u64,
    },
    /// There is no such start of the job; the last frame.
    Unknown,
}

/// What init says on a dial stream before the bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DialEvent {
    /// Connected: bytes follow, without frames, in both directions.
    Connected,
    /// Connected, and the socket itself comes with the first byte of this message, as
    /// `SCM_RIGHTS`: the bytes go through it. The last frame.
    Handed,
    /// Not connected; the last frame.
    Failed(StartError),
}

/// What init answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// Configured; these jobs are there, from before a restart of the server.
    Configured {
        /// At most one of each kind.
        jobs: Vec<JobState>,
    },
    /// The job runs, or ran.
    Job(JobState),
    /// Done.
    Done,
    /// What the sandbox uses.
    Stats(Stats),
    /// Not done.
    Refused(StartError),
}

/// What a sandbox uses, as it sees it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Processor time so far, in microseconds.
    pub cpu_us: u64,
    /// Memory, in bytes.
    pub memory_bytes: u64,
    /// Processes and threads.
    pub pids: u64,
    /// Execs in flight.
    pub execs: u64,
}

/// What init says of itself on the control connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    /// A job ended; its output may still be on its way.
    JobEnded(JobState),
}

/// What init sends on the control connection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromInit {
    /// The answer to a request.
    Reply(Numbered<Reply>),
    /// Something that was not asked for.
    Notice(Notice),
}
