//! How often a minute: counted for each principal, kept in memory.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::edge::context::Call;
use crate::edge::errors::{Problem, kinds};

const MINUTE: Duration = Duration::from_secs(60);

/// What is counted apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// Making a project of a prompt.
    Generation,
    /// Looking at a file or changing one.
    File,
    /// Anything about a runtime.
    Runtime,
}

/// When each principal did something, within the last minute.
#[derive(Debug, Default)]
pub struct Rates(Mutex<HashMap<Who, VecDeque<Instant>>>);

/// By a principal's name.
type Who = (Box<str>, Kind);

/// Counts a request, if there is a limit and the request is not an administrator's.
///
/// # Errors
///
/// 429 above the limit.
pub(super) fn count(call: &Call, kind: Kind) -> Result<(), Problem> {
    let settings = &call.context.settings.dialects.builder;
    let most = match kind {
        Kind::Generation => settings.generations_per_minute,
        Kind::File => settings.file_operations_per_minute,
        Kind::Runtime => settings.runtime_operations_per_minute,
    };
    let by = call.principal()?;
    let is_free = most == 0 || by.is_admin();
    let is_fine = is_free || call.context.dialects.rates.take(&by.name, kind, most as usize);
    let detail = "Rate limit exceeded. Please slow down.";
    is_fine.then_some(()).ok_or_else(|| Problem::new(kinds::BUSY, detail))
}

impl Rates {
    fn take(&self, who: &str, kind: Kind, most: usize) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let times = all.entry((who.into(), kind)).or_default();
        while times.front().is_some_and(|at| now.duration_since(*at) >= MINUTE) {
            times.pop_front();
        }
        let is_fine = times.len() < most;
        if is_fine {
            times.push_back(now);
        }
        is_fine
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_minute_has_so_many_for_each_and_the_next_has_as_many_again() {
        let rates = Rates::default();
        let take = |who| rates.take(who, Kind::File, 2);
        assert_eq!([take("a"), take("a"), take("a"), take("b")], [true, true, false, true]);
        assert!(rates.take("a", Kind::Runtime, 2), "kinds are counted apart");
        tokio::time::advance(MINUTE).await;
        assert!(take("a"));
    }
}
