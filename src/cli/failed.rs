//! Why the program ends with a code other than 0, and what to do about it.

use std::io::Write as _;

use sandtree_client::ClientError;

use super::paint::Paint;
use super::table::clean;
use crate::config::Faults;

/// Exit code of `exec` and `shell` when it is not the command that failed.
pub(super) const NOT_THE_COMMAND: u8 = 125;

/// Why the program ends with a code other than 0.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// Anything that has no code of its own.
    #[error(transparent)]
    Other(Box<dyn std::error::Error + Send + Sync>),
    /// The command line asks for what there is not.
    #[error("{0}")]
    Usage(String),
    /// The configuration is wrong.
    #[error("the configuration is wrong:\n{0}")]
    Config(Faults),
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] crate::data_dir::DataDirError),
    /// The address cannot be listened on.
    #[error("{address} cannot be listened on")]
    Listen {
        /// Which.
        address: std::net::SocketAddr,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The store cannot be opened.
    #[error("the store cannot be opened")]
    Store(#[from] sandtree_actors::ports::StoreError),
    /// A server did not do what it was asked.
    #[error(transparent)]
    Server(#[from] ClientError),
    /// A server did not do something with what is named.
    #[error("{about}: {error}")]
    About {
        /// What.
        about: String,
        /// Why.
        error: ClientError,
    },
    /// As the source; but the exit codes below 125 belong to the remote command.
    #[error(transparent)]
    NotTheCommand(Box<Failed>),
    /// It was said already; only the exit code is left.
    #[error("failed")]
    Said(u8),
}

impl Failed {
    /// A server's failure to do something with `about`.
    pub(super) fn about(about: impl std::fmt::Display) -> impl FnOnce(ClientError) -> Self {
        move |error| match error {
            ClientError::Refused(_) => Failed::About { about: about.to_string(), error },
            ClientError::Unreachable { .. }
            | ClientError::Broken(_)
            | ClientError::TimedOut { .. }
            | ClientError::Request(_)
            | ClientError::Answer(_) => error.into(),
        }
    }

    /// A failure of this machine: what was done, and what the system says.
    pub(super) fn here(what: impl std::fmt::Display, error: &std::io::Error) -> Self {
        Failed::Other(format!("{what}: {error}").into())
    }

    /// A failure to write to standard output or standard error. A reader that is gone
    /// has heard enough: nothing is said, and the code is that of a program which
    /// `SIGPIPE` ended.
    pub(super) fn output(stream: &str, error: &std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Failed::Said(128 + 13);
        }
        Failed::here(format_args!("{stream} cannot be written"), error)
    }

    /// The program's exit code.
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Failed::Other(_) => 1,
            Failed::Config(_) | Failed::Usage(_) => 2,
            Failed::DataDir(_) => 3,
            Failed::Listen { .. } => 4,
            Failed::Store(_) => 5,
            Failed::Server(error) | Failed::About { error, .. } => match error {
                ClientError::Unreachable { .. }
                | ClientError::Broken(_)
                | ClientError::TimedOut { .. } => 6,
                ClientError::Refused(problem) if problem.status == 401 => 7,
                ClientError::Refused(_) | ClientError::Request(_) | ClientError::Answer(_) => 1,
            },
            Failed::NotTheCommand(failed) => {
                if let Failed::Said(code) = **failed {
                    code
                } else {
                    NOT_THE_COMMAND
                }
            }
            Failed::Said(code) => *code,
        }
    }

    /// Says it on standard error, unless it was said already.
    pub(super) fn tell(&self) {
        if let Some(text) = self.text(Paint::on(&std::io::stderr())) {
            // There is nowhere else to say it.
            let _ = writeln!(std::io::stderr(), "{text}");
        }
    }

    /// What is said on standard error, if anything.
    pub(super) fn text(&self, paint: Paint) -> Option<String> {
        if let Failed::Said(_) = self {
            return None;
        }
        if let Failed::NotTheCommand(failed) = self {
            return failed.text(paint);
        }
        let mut said = self.to_string().trim_end().to_owned();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            said.push_str(&format!(": {cause}"));
            source = cause.source();
        }
        let said: Vec<_> = said.lines().map(clean).collect();
        let mut text = format!("{} {}", paint.bad("sandtree:"), said.join("\n"));
        if let Some(advice) = self.advice() {
            text.push_str(&format!("\n  {advice}"));
        }
        Some(text)
    }

    /// What can be done about it.
    fn advice(&self) -> Option<&'static str> {
        let (Failed::Server(error) | Failed::About { error, .. }) = self else { return None };
        let problem = match error {
            ClientError::Unreachable { .. } => {
                return Some(
                    "Start a server with `sandtree serve`, or name another one with --server or SANDTREE_URL.",
                );
            }
            ClientError::Refused(problem) => problem,
            ClientError::Broken(_)
            | ClientError::TimedOut { .. }
            | ClientError::Request(_)
            | ClientError::Answer(_) => return None,
        };
        match (problem.kind.as_str(), problem.phase.as_deref()) {
            ("unauthorized", _) => {
                Some("Put the server's key into SANDTREE_API_KEY, or pass it with --key.")
            }
            ("wrong-phase", Some("paused")) => {
                Some("`sandtree project resume PROJECT` makes it go on.")
            }
            ("wrong-phase", Some("stopping" | "stopped" | "failed")) => {
                Some("`sandtree project start PROJECT` makes it run.")
            }
            ("busy" | "shutting-down" | "store-away" | "engine-away", _) => {
                Some("Try again in a moment.")
            }
            ("not-found", _) if problem.detail.starts_with("project ") => {
                Some("`sandtree project ls` lists the projects that there are.")
            }
            ("", _) => {
                Some("Is this address a Sandtree server? Look at --server and SANDTREE_URL.")
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use sandtree_client::Problem;

    use super::*;

    fn refused(status: u16, kind: &str, phase: Option<&str>) -> Failed {
        let (kind, phase) = (kind.to_owned(), phase.map(str::to_owned));
        let detail = "no".to_owned();
        let problem = Problem { status, kind, detail, field: None, phase, retry_after: None };
        ClientError::Refused(Box::new(problem)).into()
    }

    #[test]
    fn names_in_a_failure_do_not_move_the_cursor() {
        let failed = Failed::Other("a\x1b[2J\u{9b}b\rc:\nwhy".into());
        assert_eq!(failed.text(Paint::NEVER).as_deref(), Some("sandtree: a[2Jbc:\nwhy"));
    }

    #[test]
    fn a_failure_has_its_code_and_says_what_to_do() {
        let server = "http://127.0.0.1:1".parse().unwrap();
        let source = std::io::ErrorKind::ConnectionRefused.into();
        let away: Failed = ClientError::Unreachable { server, source }.into();
        for (failed, code, advice) in [
            (away, 6, "sandtree serve"),
            (refused(401, "unauthorized", None), 7, "SANDTREE_API_KEY"),
            (refused(409, "wrong-phase", Some("stopped")), 1, "project start"),
            (refused(409, "wrong-phase", Some("paused")), 1, "project resume"),
            (refused(404, "not-found", None), 1, "no"),
            (refused(502, "", None), 1, "SANDTREE_URL"),
        ] {
            let text = failed.text(Paint::NEVER).unwrap();
            assert!(text.starts_with("sandtree: ") && text.contains(advice), "{text}");
            assert_eq!(failed.exit_code(), code, "{text}");
            let ours = Failed::NotTheCommand(Box::new(failed));
            assert_eq!((ours.exit_code(), ours.text(Paint::NEVER)), (125, Some(text)));
        }
        let said = Failed::NotTheCommand(Box::new(Failed::Said(130)));
        assert_eq!((said.exit_code(), said.text(Paint::NEVER)), (130, None));
    }
}
