//! One request to the daemon: a place in a bounded lane, a deadline, and an
//! error that says which of four things went wrong.

use std::error::Error as StdError;
use std::future::Future;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use bollard::errors::Error;
use sandtree_actors::Fullness;
use sandtree_actors::ports::EngineError;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

/// Most characters of a daemon's message that are handed on.
const MESSAGE_CHARS_MAX: usize = 400;
/// Bollard's own deadline, in seconds. It covers only the time until the answer
/// begins, so it is out of the way and ours, which covers everything, counts.
const CLIENT_TIMEOUT_SECS: u64 = 3600;

/// Why a request did not succeed.
#[derive(Debug, Clone)]
pub(super) enum Trouble {
    /// No answer, or none in time.
    Away(Box<str>),
    /// 404: what was named does not exist.
    Gone(Box<str>),
    /// 409: it is not in a state in which this works, or the name is taken.
    Conflict(Box<str>),
    /// Everything else that the daemon refused.
    Refused(Box<str>),
}

impl From<Trouble> for EngineError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Away(why) => EngineError::Away(why),
            Trouble::Gone(_) => EngineError::Gone,
            Trouble::Conflict(why) | Trouble::Refused(why) => EngineError::Refused(why),
        }
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        if let Error::DockerResponseServerError { status_code, message } = &error {
            return Trouble::from_status(*status_code, message);
        }
        let unreachable = matches!(
            error,
            Error::RequestTimeoutError
                | Error::SocketNotFoundError(_)
                | Error::HyperLegacyError { .. }
                | Error::HyperResponseError { .. }
                | Error::IOError { .. }
        );
        let why = clip(&chain(&error));
        if unreachable { Trouble::Away(why) } else { Trouble::Refused(why) }
    }
}

impl Trouble {
    fn from_status(status: u16, message: &str) -> Self {
        let why = clip(message);
        match status {
            404 => Trouble::Gone(why),
            409 => Trouble::Conflict(why),
            502..=504 => Trouble::Away(why),
            _ => Trouble::Refused(why),
        }
    }
}

/// How a request queues.
#[derive(Debug, Clone, Copy)]
pub(super) enum Lane {
    /// Answered at once by a healthy daemon.
    Quick,
    /// Waits for a sandbox: a stop lasts as long as its grace period. On a lane
    /// of its own, so that stops never keep starts waiting.
    Slow,
}

/// The daemon behind one socket.
pub(super) struct Daemon {
    socket: Box<str>,
    client: OnceLock<bollard::Docker>,
    /// Places of each lane.
    concurrency_max: usize,
    quick: Semaphore,
    slow: Semaphore,
    /// Longest time of a request, with the wait for its place.
    pub(super) request_timeout: Duration,
}

impl Daemon {
    pub(super) fn new(socket: &str, request_timeout: Duration, concurrency_max: usize) -> Self {
        let concurrency_max = concurrency_max.max(1);
        Self {
            socket: socket.into(),
            client: OnceLock::new(),
            concurrency_max,
            quick: Semaphore::new(concurrency_max),
            slow: Semaphore::new(concurrency_max),
            request_timeout,
        }
    }

    /// The client, made when there is a socket for the first time: bollard makes
    /// none while the daemon has never run.
    pub(super) fn client(&self) -> Result<&bollard::Docker, Trouble> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        if !Path::new(&*self.socket).exists() {
            return Err(Trouble::Away(format!("there is no socket {}", self.socket).into()));
        }
        let client = bollard::Docker::connect_with_unix(
            &self.socket,
            CLIENT_TIMEOUT_SECS,
            bollard::API_DEFAULT_VERSION,
        )?;
        Ok(self.client.get_or_init(|| client))
    }

    /// How many requests are under way on each lane.
    pub(super) fn fullness(&self) -> [Fullness; 2] {
        [
            Fullness::of_places("docker_quick", &self.quick, self.concurrency_max),
            Fullness::of_places("docker_slow", &self.slow, self.concurrency_max),
        ]
    }

    /// Awaits a quick request.
    pub(super) async fn ask<T>(
        &self,
        what: &'static str,
        request: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Trouble> {
        self.ask_within(what, Lane::Quick, self.request_timeout, request).await
    }

    /// Awaits a request on `lane` for at most `limit`.
    pub(super) async fn ask_within<T>(
        &self,
        what: &'static str,
        lane: Lane,
        limit: Duration,
        request: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Trouble> {
        let began = Instant::now();
        let places = match lane {
            Lane::Quick => &self.quick,
            Lane::Slow => &self.slow,
        };
        let answer = timeout(limit, async {
            let _place = places.acquire().await;
            request.await.map_err(Trouble::from)
        });
        let answer = answer.await.unwrap_or_else(|_| Err(late(what, limit)));
        metrics::histogram!("sandtree_engine_request_seconds", "request" => what)
            .record(began.elapsed().as_secs_f64());
        answer
    }
}

fn late(what: &str, limit: Duration) -> Trouble {
    let limit = humantime::format_duration(limit);
    Trouble::Away(format!("no answer to {what} within {limit}").into())
}

/// An error with everything that caused it.
fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let part = next.to_string();
        if !text.contains(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        cause = next.source();
    }
    text
}

/// One line of at most [`MESSAGE_CHARS_MAX`] characters.
pub(super) fn clip(text: &str) -> Box<str> {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MESSAGE_CHARS_MAX) {
        Some((end, _)) => format!("{}...", &line[..end]).into(),
        None => line.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_says_whether_asking_again_may_help() {
        assert!(matches!(Trouble::from_status(503, "busy"), Trouble::Away(_)));
        assert!(matches!(Trouble::from_status(404, "no"), Trouble::Gone(_)));
        assert!(matches!(Trouble::from_status(409, "no"), Trouble::Conflict(_)));
        for status in [400, 403, 500] {
            assert!(matches!(Trouble::from_status(status, "no"), Trouble::Refused(_)), "{status}");
        }
    }

    #[test]
    fn a_message_is_one_line_of_bounded_length() {
        assert_eq!(&*clip("a\n  b\tc"), "a b c");
        assert_eq!(clip(&"ä".repeat(10_000)).chars().count(), MESSAGE_CHARS_MAX + 3);
    }
}
