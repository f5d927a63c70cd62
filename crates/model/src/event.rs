//! What happened in a project, for those who follow it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::lifecycle::{Move, Phase};
use crate::process::ExitStatus;

/// Position of an event in its project's history: the generation it happened
/// in, and its number within that generation. Zero is the transition itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventId {
    /// Generation of the project's row.
    pub generation: u64,
    /// Zero, or the time in microseconds since 1970: rises across restarts too.
    pub number: u64,
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.generation, self.number)
    }
}

impl FromStr for EventId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = |part: &str| part.parse::<u64>().ok();
        text.split_once('.')
            .and_then(|(generation, number)| {
                Some(Self { generation: parse(generation)?, number: parse(number)? })
            })
            .ok_or_else(|| "must be an id that this server sent, like \"3.0\"".to_owned())
    }
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// The project moved to another phase. Durable: found again after a restart.
    Transition(Transition),
    /// The process started.
    ProcessStarted {
        /// Its id inside the sandbox.
        pid: u32,
        /// Which start it is.
        epoch: u64,
    },
    /// The process ended.
    ProcessEnded {
        /// Which start it was.
        epoch: u64,
        /// How.
        status: ExitStatus,
    },
    /// A shell was started.
    TerminalOpened {
        /// Its id inside the sandbox.
        pid: u32,
        /// Which shell it is.
        epoch: u64,
    },
    /// The shell ended.
    TerminalClosed {
        /// Which shell it was.
        epoch: u64,
        /// How.
        status: ExitStatus,
    },
    /// A file or directory was changed through this server.
    FileChanged {
        /// Relative to the workspace.
        path: Box<str>,
        /// What was done.
        change: FileChange,
    },
    /// Events were missed; transitions follow, the others are gone.
    Gap,
}

impl Event {
    /// The word that names this kind, as in the field `type`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Event::Transition(_) => "transition",
            Event::ProcessStarted { .. } => "process_started",
            Event::ProcessEnded { .. } => "process_ended",
            Event::TerminalOpened { .. } => "terminal_opened",
            Event::TerminalClosed { .. } => "terminal_closed",
            Event::FileChanged { .. } => "file_changed",
            Event::Gap => "gap",
        }
    }
}

/// What was done to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileChange {
    /// Written, created or copied.
    Written,
    /// Moved here.
    Moved,
    /// Removed.
    Removed,
}

/// One row of the transition log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    /// The row's generation after it.
    pub generation: u64,
    /// Phase before; absent for the first.
    pub from: Option<Phase>,
    /// What moved it; absent for the first.
    pub by: Option<Move>,
    /// Phase after.
    pub to: Phase,
    /// Why, in words for people.
    pub reason: Box<str>,
    /// Name of the principal who caused it.
    pub principal: Box<str>,
    /// When, in microseconds since 1970.
    pub at: u64,
}
