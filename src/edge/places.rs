//! Places for what takes a thread, a process or a sandbox: there are so many of each kind in the
//! whole server, and the configuration says how many.

use std::sync::Arc;
use std::time::Duration;

use sandtree_actors::Fullness;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::context::EdgeSettings;
use super::errors::{Problem, kinds};

/// A place, until it is dropped.
pub type Place = OwnedSemaphorePermit;

/// All kinds of places.
pub struct Places {
    /// For archives that are packed or unpacked.
    pub archives: Kind,
    /// For uploads that have much memory each; the others are slower.
    pub fast_uploads: Kind,
    /// For projects that are generated.
    pub generations: Kind,
    /// For one-shot runs.
    pub runs: Kind,
    /// For searches of files.
    pub searches: Kind,
}

impl Places {
    /// As many as the settings say.
    #[must_use]
    pub fn new(settings: &EdgeSettings) -> Self {
        Self {
            archives: Kind::new("archives", settings.archives_max),
            fast_uploads: Kind::new("fast_uploads", settings.fast_uploads_max),
            generations: Kind::new("generations", settings.dialects.builder.generations_max),
            runs: Kind::new("runs", settings.run.runs_max),
            searches: Kind::new("searches", settings.searches_max),
        }
    }

    /// How many of each kind are taken.
    pub(super) fn fullness(&self) -> [Fullness; 5] {
        let Self { archives, fast_uploads, generations, runs, searches } = self;
        [archives, fast_uploads, generations, runs, searches]
            .map(|kind| Fullness::of_places(kind.name, &kind.free, kind.max))
    }
}

/// The places of one kind.
pub struct Kind {
    name: &'static str,
    max: usize,
    free: Arc<Semaphore>,
}

impl Kind {
    fn new(name: &'static str, max: usize) -> Self {
        Self { name, max, free: Arc::new(Semaphore::new(max)) }
    }

    /// Takes a place that is free now.
    ///
    /// # Errors
    ///
    /// 429 when there is none.
    pub fn take(&self) -> Result<Place, Problem> {
        Arc::clone(&self.free).try_acquire_owned().map_err(|_| self.full())
    }

    /// Takes a place that becomes free within `time`.
    ///
    /// # Errors
    ///
    /// 429 when none does.
    pub async fn take_within(&self, time: Duration) -> Result<Place, Problem> {
        let taken = tokio::time::timeout(time, Arc::clone(&self.free).acquire_owned()).await;
        taken.ok().and_then(Result::ok).ok_or_else(|| self.full())
    }

    fn full(&self) -> Problem {
        let Self { name, max, .. } = self;
        Problem::new(kinds::BUSY, format!("{max} {name} at once is the limit; try again later"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn there_are_as_many_as_the_settings_say() {
        let places = Places::new(&EdgeSettings { archives_max: 2, ..EdgeSettings::default() });
        let first = places.archives.take().unwrap();
        let _second = places.archives.take_within(Duration::from_secs(1)).await.unwrap();
        let full = [
            places.archives.take().unwrap_err(),
            places.archives.take_within(Duration::from_secs(1)).await.unwrap_err(),
        ];
        for problem in full {
            assert_eq!(problem.kind(), kinds::BUSY);
            let detail = "2 archives at once is the limit; try again later";
            assert_eq!(problem.document()["detail"], detail);
        }
        let used = |name| {
            let all = places.fullness();
            let one = all.iter().find(|one| one.bound == name).unwrap();
            (one.used, one.max)
        };
        assert_eq!((used("archives"), used("searches").0), ((2, 2), 0));
        drop(first);
        assert_eq!(used("archives"), (1, 2));
        drop(places.archives.take().unwrap());
    }
}
