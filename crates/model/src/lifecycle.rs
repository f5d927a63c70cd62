//! The life cycle as data. `docs/LIFECYCLE.md` is generated from here.

use std::fmt;
use std::fmt::Write as _;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$vdoc])* $variant,)* }

        impl $name {
            /// Every value, in the order of declaration.
            pub const ALL: &'static [$name] = &[$($name::$variant,)*];

            /// The word used in the API, the database, logs and docs.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word,)* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = UnknownWord;

            fn from_str(text: &str) -> Result<Self, UnknownWord> {
                Self::ALL.iter().copied().find(|v| v.as_str() == text).ok_or(UnknownWord)
            }
        }
    };
}

/// A text that names no phase, move or target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not one of the known words")]
pub struct UnknownWord;

words! {
    /// Where a project's sandbox is in its life cycle.
    Phase {
        /// The row exists; the workspace is being made.
        Creating = "creating",
        /// The engine is asked for a container, or init has not shaken hands yet.
        Starting = "starting",
        /// Init has shaken hands and is configured.
        Running = "running",
        /// The engine is asked to freeze the container.
        Pausing = "pausing",
        /// Frozen, init included: deadlines stand still.
        Paused = "paused",
        /// The engine is asked to thaw the container.
        Resuming = "resuming",
        /// The engine is asked to stop the container.
        Stopping = "stopping",
        /// Nothing runs; files can be read and written.
        Stopped = "stopped",
        /// Container and, unless they are kept, files are being removed.
        Deleting = "deleting",
        /// Gone; the id may be used again.
        Deleted = "deleted",
        /// The last operation did not succeed; start it again or delete it.
        Failed = "failed",
    }
}

words! {
    /// What moves a project from one phase to the next.
    Move {
        /// The workspace exists.
        Created = "created",
        /// Somebody wants it to run.
        StartAsked = "start_asked",
        /// Init has shaken hands and is configured.
        InitReady = "init_ready",
        /// Somebody wants it to stop.
        StopAsked = "stop_asked",
        /// The container is not running any more.
        Stopped = "stopped",
        /// Somebody wants it frozen.
        PauseAsked = "pause_asked",
        /// The container is frozen.
        Paused = "paused",
        /// Somebody wants it thawed.
        ResumeAsked = "resume_asked",
        /// The container runs again.
        Resumed = "resumed",
        /// The container ended behind our back and is to be started again.
        Lost = "lost",
        /// The container of a project at rest was removed; its files stay.
        Discarded = "discarded",
        /// Somebody wants it gone.
        DeleteAsked = "delete_asked",
        /// Container and files are gone.
        Removed = "removed",
        /// The operation in progress cannot succeed.
        Faulted = "faulted",
    }
}

words! {
    /// Where a project was last asked to be. After a crash, the phase says how
    /// far it came and the target where it has to arrive.
    Target {
        /// Running.
        Running = "running",
        /// Stopped.
        Stopped = "stopped",
        /// Paused.
        Paused = "paused",
        /// Deleted, together with its files.
        Deleted = "deleted",
        /// Deleted, but its files stay on disk.
        DeletedKeepingFiles = "deleted_keeping_files",
    }
}

/// Every move there is. A pair with no row is refused, never guessed.
#[rustfmt::skip]
pub const MOVES: &[(Phase, Move, Phase)] = {
    use Phase as P;
    use Move as M;
    &[
        (P::Creating, M::Created,     P::Stopped),
        (P::Creating, M::StartAsked,  P::Starting),
        (P::Creating, M::Faulted,     P::Failed),
        (P::Creating, M::DeleteAsked, P::Deleting),

        (P::Starting, M::InitReady,   P::Running),
        (P::Starting, M::StopAsked,   P::Stopping),
        (P::Starting, M::Faulted,     P::Failed),
        (P::Starting, M::DeleteAsked, P::Deleting),

        (P::Running,  M::StopAsked,   P::Stopping),
        (P::Running,  M::PauseAsked,  P::Pausing),
        (P::Running,  M::Paused,      P::Paused),
        (P::Running,  M::Lost,        P::Starting),
        (P::Running,  M::Faulted,     P::Failed),
        (P::Running,  M::DeleteAsked, P::Deleting),

        (P::Pausing,  M::Paused,      P::Paused),
        (P::Pausing,  M::Lost,        P::Starting),
        (P::Pausing,  M::Faulted,     P::Failed),
        (P::Pausing,  M::DeleteAsked, P::Deleting),

        (P::Paused,   M::ResumeAsked, P::Resuming),
        (P::Paused,   M::Resumed,     P::Running),
        (P::Paused,   M::StopAsked,   P::Stopping),
        (P::Paused,   M::Lost,        P::Starting),
        (P::Paused,   M::Faulted,     P::Failed),
        (P::Paused,   M::DeleteAsked, P::Deleting),

        (P::Resuming, M::Resumed,     P::Running),
        (P::Resuming, M::Lost,        P::Starting),
        (P::Resuming, M::Faulted,     P::Failed),
        (P::Resuming, M::DeleteAsked, P::Deleting),

        (P::Stopping, M::Stopped,     P::Stopped),
        (P::Stopping, M::Faulted,     P::Failed),
        (P::Stopping, M::DeleteAsked, P::Deleting),

        (P::Stopped,  M::StartAsked,  P::Starting),
        (P::Stopped,  M::Discarded,   P::Stopped),
        (P::Stopped,  M::DeleteAsked, P::Deleting),

        (P::Deleting, M::Removed,     P::Deleted),

        (P::Failed,   M::StartAsked,  P::Starting),
        (P::Failed,   M::Discarded,   P::Stopped),
        (P::Failed,   M::DeleteAsked, P::Deleting),
    ]
};

/// A move that [`MOVES`] has no row for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a project that is {phase} cannot make the move {by}")]
pub struct NoSuchMove {
    /// Where the project is.
    pub phase: Phase,
    /// What was to happen.
    pub by: Move,
}

impl Phase {
    /// The phase that `by` leads to.
    ///
    /// # Errors
    ///
    /// [`NoSuchMove`] when [`MOVES`] has no row for this pair.
    pub fn on(self, by: Move) -> Result<Phase, NoSuchMove> {
        MOVES
            .iter()
            .find(|(from, when, _)| (*from, *when) == (self, by))
            .map(|(_, _, to)| *to)
            .ok_or(NoSuchMove { phase: self, by })
    }

    /// Whether nothing needs doing after a restart of the server: there is no
    /// container that has to run and no operation to finish.
    #[must_use]
    pub const fn is_at_rest(self) -> bool {
        matches!(self, Phase::Stopped | Phase::Failed | Phase::Deleted)
    }
}

impl Target {
    /// Whether the project is to be deleted.
    #[must_use]
    pub const fn is_delete(self) -> bool {
        matches!(self, Target::Deleted | Target::DeletedKeepingFiles)
    }
}

/// The text of `docs/LIFECYCLE.md`.
#[must_use]
pub fn document() -> String {
    let mut text = String::from(
        "# The life cycle of a project\n\n\
         Generated from `MOVES` in `crates/model/src/lifecycle.rs` by `make docs`; a test fails when it is out of date.\n\
         A pair of phase and move that is not listed is refused.\n\n\
         ```mermaid\nstateDiagram-v2\n    [*] --> creating\n",
    );
    for (from, by, to) in MOVES {
        let _ = writeln!(text, "    {from} --> {to}: {by}");
    }
    text.push_str("    deleted --> [*]\n```\n\n| from | move | to |\n| --- | --- | --- |\n");
    for (from, by, to) in MOVES {
        let _ = writeln!(text, "| {from} | {by} | {to} |");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_pair_has_two_outcomes() {
        let mut seen = HashSet::new();
        for (from, by, _) in MOVES {
            assert!(seen.insert((from, by)), "{from} {by}");
        }
    }

    #[test]
    fn delete_is_allowed_from_every_phase_but_the_last_two() {
        for phase in Phase::ALL {
            let expected = !matches!(phase, Phase::Deleting | Phase::Deleted);
            assert_eq!(phase.on(Move::DeleteAsked).is_ok(), expected, "{phase}");
        }
    }

    #[test]
    fn every_phase_but_deleted_has_a_way_out() {
        for phase in Phase::ALL.iter().filter(|phase| **phase != Phase::Deleted) {
            assert!(MOVES.iter().any(|(from, _, _)| from == phase), "{phase}");
        }
        assert!(MOVES.iter().all(|(from, _, _)| *from != Phase::Deleted));
    }

    #[test]
    fn every_phase_can_be_reached_from_creating() {
        let mut reached = HashSet::from([Phase::Creating]);
        for _ in Phase::ALL {
            for (from, _, to) in MOVES {
                if reached.contains(from) {
                    reached.insert(*to);
                }
            }
        }
        assert_eq!(reached.len(), Phase::ALL.len());
    }

    #[test]
    fn words_are_read_back() {
        for phase in Phase::ALL {
            assert_eq!(phase.as_str().parse(), Ok(*phase));
            assert_eq!(serde_json::to_string(phase).unwrap(), format!("\"{phase}\""));
        }
        for target in Target::ALL {
            assert_eq!(serde_json::to_string(target).unwrap(), format!("\"{target}\""));
        }
        assert_eq!("asleep".parse::<Phase>(), Err(UnknownWord));
    }

    #[test]
    fn the_document_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/LIFECYCLE.md");
        if std::env::var_os("SANDTREE_WRITE_DOCS").is_some() {
            std::fs::write(path, document()).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap();
        assert_eq!(written, document(), "run `make docs`");
    }
}
