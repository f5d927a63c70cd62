//! What can be wrong with a path, by code.

use sandtree_actors::WriteError;
use sandtree_workspace::{Kind, WorkspaceError};
use serde::Serialize;
use serde_json::{Value, json};

use crate::edge::dialects::daiv::refused::Refused;

/// The codes, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Code {
    InvalidPath,
    NotFound,
    NotADirectory,
    IsADirectory,
    NotATextFile,
    StringNotFound,
    MultipleOccurrences,
    AlreadyExists,
    TooLarge,
    InvalidOffset,
    PermissionDenied,
    ExecFailed,
    InvalidPattern,
}

/// A code and words for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FsError {
    code: Code,
    message: String,
}

impl FsError {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// What the files say of a path.
    pub(super) fn of(error: &WorkspaceError, path: &str) -> Self {
        let code = match error {
            WorkspaceError::BadPath(_) => Code::InvalidPath,
            WorkspaceError::NotFound => Code::NotFound,
            WorkspaceError::NotADirectory => Code::NotADirectory,
            WorkspaceError::NotAFile { found: Kind::Directory } => Code::IsADirectory,
            WorkspaceError::Exists | WorkspaceError::PreconditionFailed { .. } => {
                Code::AlreadyExists
            }
            WorkspaceError::Escapes => Code::PermissionDenied,
            WorkspaceError::OverLimit { .. } => Code::TooLarge,
            WorkspaceError::Io(source) if source.kind() == std::io::ErrorKind::PermissionDenied => {
                Code::PermissionDenied
            }
            WorkspaceError::NotAFile { .. }
            | WorkspaceError::NotEmpty
            | WorkspaceError::NoSpace
            | WorkspaceError::Busy
            | WorkspaceError::Io(_) => Code::ExecFailed,
        };
        // In the words for what is so, not for the condition that it breaks.
        let is_taken = code == Code::AlreadyExists;
        let error = if is_taken { &WorkspaceError::Exists } else { error };
        Self { code, message: format!("{path}: {error}") }
    }

    #[cfg(test)]
    pub(super) fn code(&self) -> Code {
        self.code
    }

    pub(super) fn document(&self) -> Value {
        json!({ "code": self.code, "message": self.message })
    }
}

/// What a write came to: an error of the path is the reply's, any other the request's.
pub(super) fn written<T>(
    outcome: Result<T, WriteError>,
    path: &str,
) -> Result<Result<T, FsError>, Refused> {
    match outcome {
        Ok(value) => Ok(Ok(value)),
        Err(WriteError::Workspace(error)) => Ok(Err(FsError::of(&error, path))),
        Err(error @ WriteError::Failure(_)) => Err(error.into()),
    }
}
