//! What can go wrong between a client and a server.

use std::fmt;
use std::time::Duration;

use hyper::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use serde_json::Value;

use crate::address::ServerAddress;

/// Why a request has no good answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nothing answers at the address.
    #[error("{server} cannot be reached")]
    Unreachable {
        /// Where.
        server: ServerAddress,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The connection broke before the answer was whole.
    #[error("the connection to the server broke")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// There was no answer in time.
    #[error("the server did not answer within {limit:?}")]
    TimedOut {
        /// How long it could have taken.
        limit: Duration,
    },
    /// The server says no.
    #[error("{0}")]
    Refused(Box<Problem>),
    /// The request cannot be sent as it is, such as a header with a line's end.
    #[error("the request cannot be sent: {0}")]
    Request(String),
    /// The answer is not what this client understands.
    #[error("the server's answer is not understood: {0}")]
    Answer(String),
}

impl ClientError {
    /// Whether the same request may well succeed a little later: the server was not
    /// there, or said that it cannot just now.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            ClientError::Unreachable { .. }
            | ClientError::Broken(_)
            | ClientError::TimedOut { .. } => true,
            ClientError::Refused(problem) => problem.is_passing(),
            ClientError::Request(_) | ClientError::Answer(_) => false,
        }
    }
}

/// What the server said instead of doing what was asked: its problem document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// HTTP status.
    pub status: u16,
    /// The last part of the document's `type`: decide by it. Empty for an answer that
    /// is no problem document, such as that of a proxy.
    pub kind: String,
    /// What is wrong, for people.
    pub detail: String,
    /// The field, parameter or header concerned.
    pub field: Option<String>,
    /// The project's phase.
    pub phase: Option<String>,
    /// When to ask again.
    pub retry_after: Option<Duration>,
}

impl Problem {
    /// The problem that an answer is.
    #[must_use]
    pub fn of(status: u16, headers: &HeaderMap, body: &[u8]) -> Self {
        let media = headers.get(CONTENT_TYPE).map(|value| value.as_bytes());
        let is_problem = media.is_some_and(|media| media.starts_with(b"application/problem+json"));
        let document: Value =
            if is_problem { serde_json::from_slice(body).unwrap_or_default() } else { Value::Null };
        let text = |name: &str| document[name].as_str().map(str::to_owned);
        let seconds = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let kind = text("type").unwrap_or_default();
        Self {
            status,
            kind: kind.rsplit('/').next().unwrap_or_default().to_owned(),
            detail: text("detail").unwrap_or_else(|| format!("it answered with status {status}")),
            field: text("field"),
            phase: text("phase"),
            retry_after: seconds.map(Duration::from_secs),
        }
    }

    fn is_passing(&self) -> bool {
        matches!(self.status, 429 | 502 | 503 | 504)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.field {
            Some(field) if !self.detail.starts_with(&format!("{field}:")) => {
                write!(out, "{field}: {}", self.detail)
            }
            Some(_) | None => out.write_str(&self.detail),
        }
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn a_problem_document_is_read_and_anything_else_is_told_by_its_status() {
        let json = HeaderValue::from_static("application/problem+json");
        let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, json)]);
        headers.insert(RETRY_AFTER, HeaderValue::from_static("2"));
        let body = br#"{"type": "https://x/problems/busy", "detail": "full", "field": "f"}"#;
        let problem = Problem::of(429, &headers, body);
        assert_eq!((problem.kind.as_str(), problem.to_string().as_str()), ("busy", "f: full"));
        assert_eq!(problem.retry_after, Some(Duration::from_secs(2)));
        assert!(ClientError::Refused(Box::new(problem)).is_passing());

        let problem = Problem::of(404, &HeaderMap::new(), b"<html>");
        assert_eq!((problem.kind.as_str(), problem.status), ("", 404));
        assert!(problem.to_string().contains("404"));
    }
}
