//! Answers: whole ones, and ones that are read as they come.

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, HeaderMap};
use serde_json::Value;

use crate::client::Limits;
use crate::error::{ClientError, Problem};
use crate::events::{Events, Lines};

/// A whole answer, whatever its status.
#[derive(Debug, Clone)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Response {
    /// The answer, if it says that all is well.
    ///
    /// # Errors
    ///
    /// [`ClientError::Refused`] for a status from 300 on.
    pub fn accepted(self) -> Result<Self, ClientError> {
        if (200..300).contains(&self.status) {
            return Ok(self);
        }
        let problem = Problem::of(self.status, &self.headers, &self.body);
        Err(ClientError::Refused(Box::new(problem)))
    }

    /// Its body as JSON.
    ///
    /// # Errors
    ///
    /// [`ClientError::Answer`] when it is none.
    pub fn json(&self) -> Result<Value, ClientError> {
        serde_json::from_slice(&self.body).map_err(|error| ClientError::Answer(error.to_string()))
    }

    /// A header's text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// A good answer whose body is still to come.
#[derive(Debug)]
pub struct Streaming {
    headers: HeaderMap,
    body: Incoming,
    limits: Limits,
}

impl Streaming {
    pub(crate) fn new(headers: HeaderMap, body: Incoming, limits: Limits) -> Self {
        Self { headers, body, limits }
    }

    /// How long it will be, if the server said so.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
    }

    /// The next piece; `None` at the end of an answer that is whole. Cancel safe.
    ///
    /// # Errors
    ///
    /// When the answer breaks off, or nothing comes for too long.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        let limit = self.limits.silence_max;
        loop {
            let next = tokio::time::timeout(limit, self.body.frame()).await;
            match next.map_err(|_| ClientError::TimedOut { limit })? {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
                Some(Err(error)) => return Err(ClientError::Broken(error.into())),
                None => return Ok(None),
            }
        }
    }

    /// The answer line by line.
    #[must_use]
    pub fn lines(self) -> Lines {
        Lines::new(self)
    }

    /// The answer event by event.
    #[must_use]
    pub fn events(self) -> Events {
        Events::new(self)
    }
}
