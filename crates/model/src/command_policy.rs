//! Whether a command may run, by what it says: pure functions over tables.
//!
//! A policy is courtesy and not a defence: it tells a user early what makes no sense in a
//! sandbox. What keeps a sandbox in is its container, whatever it runs. Two systems have
//! one each, in a file of its own: [`validator`]
//! reads a line for a shell, [`builder`] a program and its arguments. They share the
//! [`Verdict`] and how a line becomes [`words`].

pub mod builder;
pub mod tables;
pub mod validator;
pub mod words;

pub use validator::{Mode, Validator, sanitised};

/// How much a command can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Risk {
    /// Nothing out of the ordinary.
    Safe,
    /// It deletes, installs, or reaches out into the network.
    Moderate,
    /// It would be refused if commands were checked.
    Dangerous,
    /// It is refused.
    Blocked,
}

impl Risk {
    /// The word that clients read.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Risk::Safe => "safe",
            Risk::Moderate => "moderate",
            Risk::Dangerous => "dangerous",
            Risk::Blocked => "blocked",
        }
    }
}

/// What a policy says about one command.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// It may run.
    Allowed {
        /// How much it can do.
        risk: Risk,
        /// The command to run: what was asked for, made clean.
        command: String,
    },
    /// It may not.
    Refused(Refused),
}

/// Why a command may not run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refused {
    /// In words for the user.
    pub message: String,
    /// Names of the rows of a table that it matched; none where another rule refused it.
    pub patterns: Vec<&'static str>,
}

impl Refused {
    /// A refusal that no row of a table is behind.
    #[must_use]
    pub fn because(message: impl Into<String>) -> Self {
        Self { message: message.into(), patterns: Vec::new() }
    }
}

impl Verdict {
    /// Whether it may run.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        matches!(self, Verdict::Allowed { .. })
    }

    /// How much it can do.
    #[must_use]
    pub fn risk(&self) -> Risk {
        match self {
            Verdict::Allowed { risk, .. } => *risk,
            Verdict::Refused(_) => Risk::Blocked,
        }
    }

    /// The command to run.
    ///
    /// # Errors
    ///
    /// Why it may not run.
    pub fn into_command(self) -> Result<String, Refused> {
        match self {
            Verdict::Allowed { command, .. } => Ok(command),
            Verdict::Refused(refused) => Err(refused),
        }
    }
}

impl From<Refused> for Verdict {
    fn from(refused: Refused) -> Self {
        Verdict::Refused(refused)
    }
}
