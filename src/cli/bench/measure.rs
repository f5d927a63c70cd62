//! The measurements.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::future::try_join_all;
use hyper::Method;
use sandtree_client::{Client, ClientError};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::cli::failed::Failed;
use crate::cli::remote::{ask, project};

/// Commands before those that are measured.
const WARM_UP: u32 = 10;

/// Samples in their order.
pub(super) struct Sorted(Vec<Duration>);

impl Sorted {
    fn new(mut samples: Vec<Duration>) -> Self {
        samples.sort_unstable();
        Self(samples)
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// The sample that so large a part of all does not exceed.
    pub(super) fn at(&self, part: f64) -> Duration {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a place in a list"
        )]
        let place = (self.0.len() as f64 * part).ceil() as usize;
        self.0.get(place.saturating_sub(1)).copied().unwrap_or_default()
    }
}

/// A server that is measured, and the projects that were made for it.
pub(super) struct Field {
    client: Client,
    profile: Option<String>,
    prefix: String,
    /// Projects that were asked for.
    asked: AtomicU32,
    /// Those of them that may be there.
    made: Mutex<Vec<String>>,
}

impl Field {
    /// Nothing is made yet.
    pub(super) fn new(client: Client, profile: Option<String>) -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let prefix = format!("bench-{:x}-{:x}", now.as_secs(), std::process::id());
        Self { client, profile, prefix, asked: AtomicU32::new(0), made: Mutex::default() }
    }

    /// Times from the creation of a project until a command in it has printed.
    pub(super) async fn creates(&self, count: u32) -> Result<Sorted, Failed> {
        let mut samples = Vec::new();
        for _ in 0..count {
            let started = Instant::now();
            let id = self.project().await?;
            self.exec(&id, &json!({ "argv": ["echo", "hello"] })).await?;
            samples.push(started.elapsed());
            self.remove(&id).await?;
        }
        Ok(Sorted::new(samples))
    }

    /// A new project that runs.
    pub(super) async fn project(&self) -> Result<String, Failed> {
        let id = format!("{}-{}", self.prefix, self.asked.fetch_add(1, Ordering::Relaxed));
        // Before it is asked for: an answer that is lost leaves it behind as well.
        self.made().push(id.clone());
        let mut body = json!({ "id": id, "start": true });
        if let Some(profile) = &self.profile {
            body["profile"] = json!(profile);
        }
        match ask(&self.client, Method::POST, "/v1/projects", Some(&body)).await {
            Ok(_) => Ok(id),
            Err(error) => {
                if made_nothing(&error) {
                    self.forget(&id);
                }
                Err(error.into())
            }
        }
    }

    /// Times of commands, one after another.
    pub(super) async fn execs(&self, id: &str, count: u32) -> Result<Sorted, Failed> {
        let body = json!({ "argv": ["true"] });
        for _ in 0..WARM_UP {
            self.exec(id, &body).await?;
        }
        let mut samples = Vec::new();
        for _ in 0..count {
            let started = Instant::now();
            self.exec(id, &body).await?;
            samples.push(started.elapsed());
        }
        Ok(Sorted::new(samples))
    }

    /// Times of reads of a project's status, and how long all of it took.
    pub(super) async fn statuses(
        &self,
        id: &str,
        connections: u32,
        time: Duration,
    ) -> Result<(Sorted, Duration), Failed> {
        let started = Instant::now();
        let path = &project(id, "");
        let readers = (0..connections).map(|_| async move {
            let mut samples = Vec::new();
            while started.elapsed() < time {
                let asked = Instant::now();
                ask(&self.client, Method::GET, path, None).await?;
                samples.push(asked.elapsed());
            }
            Ok::<_, ClientError>(samples)
        });
        let samples = try_join_all(readers).await?;
        Ok((Sorted::new(samples.concat()), started.elapsed()))
    }

    /// Removes what was made, as far as it can be.
    pub(super) async fn clear(&self) {
        for id in self.left() {
            // What is left is told to the user.
            let _ = self.remove(&id).await;
        }
    }

    /// The projects that were made and not removed.
    pub(super) fn left(&self) -> Vec<String> {
        self.made().clone()
    }

    fn made(&self) -> MutexGuard<'_, Vec<String>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget(&self, id: &str) {
        self.made().retain(|made| made != id);
    }

    async fn exec(&self, id: &str, body: &Value) -> Result<(), Failed> {
        let done =
            ask(&self.client, Method::POST, &project(id, "exec"), Some(body)).await?.json()?;
        if done["exit_code"] == 0 {
            return Ok(());
        }
        Err(Failed::Other(format!("a command of the bench failed: {done}").into()))
    }

    /// Removes a project; one that is not there counts as removed.
    async fn remove(&self, id: &str) -> Result<(), ClientError> {
        match ask(&self.client, Method::DELETE, &project(id, ""), None).await {
            Ok(_) => {}
            Err(ClientError::Refused(problem)) if problem.status == 404 => {}
            Err(error) => return Err(error),
        }
        self.forget(id);
        Ok(())
    }
}

/// Whether a create that failed so has certainly left nothing behind.
fn made_nothing(error: &ClientError) -> bool {
    match error {
        ClientError::Unreachable { .. } | ClientError::Request(_) => true,
        ClientError::Refused(problem) => problem.status < 500,
        ClientError::Broken(_) | ClientError::TimedOut { .. } | ClientError::Answer(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_samples() {
        let sorted = Sorted::new((1..=200).rev().map(Duration::from_millis).collect());
        assert_eq!(sorted.at(0.5), Duration::from_millis(100));
        assert_eq!(sorted.at(0.99), Duration::from_millis(198));
        assert_eq!(Sorted::new(vec![Duration::from_millis(7)]).at(0.99), Duration::from_millis(7));
        assert_eq!(Sorted::new(Vec::new()).at(0.5), Duration::ZERO);
    }
}
