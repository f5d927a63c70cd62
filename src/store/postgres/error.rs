//! What PostgreSQL says, in words that tell an operator what to do.

use sandtree_actors::ports::StoreError;

/// Why a statement was not done, or a connection not made.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The server or the way to it is not there. It may come back.
    Away(StoreError),
    /// Anything else: it would be the same the next time.
    Refused(StoreError),
}

impl Trouble {
    pub(super) fn away(text: impl Into<String>) -> Self {
        Self::Away(StoreError(text.into().into()))
    }

    pub(super) fn refused(text: impl Into<String>) -> Self {
        Self::Refused(StoreError(text.into().into()))
    }
}

impl From<Trouble> for StoreError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Away(error) | Trouble::Refused(error) => error,
        }
    }
}

impl From<sqlx::Error> for Trouble {
    fn from(error: sqlx::Error) -> Self {
        let Some(code) = state(&error) else {
            // Without an answer of the server's it is the connection that broke,
            // unless the row or the URL is what is wrong.
            let is_broken = matches!(&error, sqlx::Error::Io(_) | sqlx::Error::Protocol(_));
            return if is_broken {
                Self::away(format!("the database does not answer: {error}"))
            } else {
                Self::refused(format!("the database failed: {error}"))
            };
        };
        match &*code {
            "57P01" | "57P02" | "57P03" => {
                Self::away(format!("the database is being started or stopped: {error}"))
            }
            "53300" => Self::away("the database has no connection free; raise max_connections"),
            "53100" => Self::refused("the database's disk is full"),
            "57014" => Self::refused("the database did not finish in time"),
            "25006" => Self::refused(
                "the database takes no writes: it is a standby, or set to be read-only",
            ),
            "3D000" | "3F000" => Self::refused(format!(
                "the database does not exist; an operator has to create it: {error}"
            )),
            "42501" => Self::refused(format!("the database's user may not do this: {error}")),
            code if code.starts_with("28") => {
                Self::refused(format!("the database refuses the user: {error}"))
            }
            code if code.starts_with("08") => {
                Self::away(format!("the database does not answer: {error}"))
            }
            _ => Self::refused(format!("the database failed: {error}")),
        }
    }
}

/// The five characters that say what is wrong.
fn state(error: &sqlx::Error) -> Option<String> {
    Some(error.as_database_error()?.code()?.into_owned())
}
