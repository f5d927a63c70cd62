//! The two ways in which a request does not succeed: the client has to change
//! something (a refusal), or we or what we stand on did not work (a fault).

use std::time::Duration;

use crate::lifecycle::Phase;

/// What the client has to change. The edge gives each its status and its
/// stable problem type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such thing, or not for this tenant.
    #[error("{what} does not exist")]
    NotFound {
        /// What was looked for, such as `project "demo"`.
        what: Box<str>,
    },
    /// The name is taken.
    #[error("{what} exists already")]
    Exists {
        /// What is there.
        what: Box<str>,
    },
    /// The project is not in a phase in which this works.
    #[error("the project is {phase}; {advice}")]
    WrongPhase {
        /// Where it is.
        phase: Phase,
        /// What to do about it.
        advice: &'static str,
    },
    /// A field has a value that cannot be used.
    #[error("{field}: {problem}")]
    Invalid {
        /// Path of the field in the request.
        field: Box<str>,
        /// What is wrong with it and what is allowed.
        problem: Box<str>,
    },
    /// Something is larger than its limit.
    #[error("{what} is larger than {limit} bytes")]
    TooLarge {
        /// What.
        what: Box<str>,
        /// Its limit, in bytes.
        limit: u64,
    },
    /// A condition that the client set does not hold, such as `If-Match`.
    #[error("{condition}")]
    Precondition {
        /// Which, and what holds instead.
        condition: Box<str>,
    },
    /// Somebody else's request won: the project is being deleted, say.
    #[error("{why}")]
    Conflict {
        /// What happened.
        why: Box<str>,
    },
    /// A limit on things at once is reached; try again later.
    #[error("{what} at once is the limit; try again later")]
    Busy {
        /// The limit, such as `64 commands in one sandbox`.
        what: Box<str>,
    },
}

/// What we, or what we stand on, could not do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The engine does not answer; it is asked again until it does.
    #[error("the container engine does not answer: {0}")]
    EngineAway(Box<str>),
    /// The engine answered that it cannot do this.
    #[error("the container engine refused: {0}")]
    Engine(Box<str>),
    /// The image cannot be had.
    #[error("the image {image} cannot be had: {why}")]
    Image {
        /// Its name.
        image: Box<str>,
        /// What the engine said, and what to do.
        why: Box<str>,
    },
    /// The store does not answer or cannot write.
    #[error("the store does not answer: {0}")]
    StoreAway(Box<str>),
    /// The sandbox does not answer, or broke the protocol.
    #[error("the sandbox does not answer: {0}")]
    Sandbox(Box<str>),
    /// It took longer than it may.
    #[error("{what} did not end within {}", humantime::format_duration(*.limit))]
    TimedOut {
        /// What.
        what: Box<str>,
        /// How long it may take.
        limit: Duration,
    },
    /// An input or output error of the server's own disk.
    #[error("the server's disk: {0}")]
    Disk(Box<str>),
    /// A bug: a part that should have answered is gone.
    #[error("internal error: {0}")]
    Internal(Box<str>),
}

/// Why a request did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The client has to change something.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// We could not do it.
    #[error(transparent)]
    Faulted(#[from] Fault),
}

impl Refusal {
    /// There is no such thing.
    #[must_use]
    pub fn not_found(what: impl Into<Box<str>>) -> Self {
        Refusal::NotFound { what: what.into() }
    }

    /// A field has a value that cannot be used.
    #[must_use]
    pub fn invalid(field: impl Into<Box<str>>, problem: impl Into<Box<str>>) -> Self {
        Refusal::Invalid { field: field.into(), problem: problem.into() }
    }
}

/// What an ask is answered with.
pub type Answer<T> = Result<T, Failure>;
