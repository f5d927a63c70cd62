//! How full everything is that has a bound: looked at when somebody asks, so that it
//! costs nothing where the work is done.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{Semaphore, mpsc};

use crate::context::Context;
use crate::link::Link;
use crate::live::Live;
use crate::settings::TreeSettings;
use crate::terminal;

/// How far one bound is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fullness {
    /// What is bounded, as a label of the metrics.
    pub bound: &'static str,
    /// How much of it is used; where there are many of a kind, such as one for each
    /// project, by the fullest of them.
    pub used: usize,
    /// Most of it that can be used.
    pub max: usize,
    /// What all of a kind use together, where there are many.
    pub in_all: Option<usize>,
}

impl Fullness {
    /// Of something that there is one of.
    #[must_use]
    pub fn of_one(bound: &'static str, used: usize, max: usize) -> Self {
        Self { bound, used, max, in_all: None }
    }

    /// Of the places that a semaphore with `max` permits gives.
    #[must_use]
    pub fn of_places(bound: &'static str, places: &Semaphore, max: usize) -> Self {
        Self::of_one(bound, taken(places, max), max)
    }

    /// Of something that there may be many of, none of which was looked at yet.
    #[must_use]
    pub fn of_many(bound: &'static str, max: usize) -> Self {
        Self { bound, used: 0, max, in_all: Some(0) }
    }

    /// One more of a kind.
    pub fn add(&mut self, used: usize) {
        self.used = self.used.max(used);
        self.in_all = Some(self.in_all.unwrap_or(0) + used);
    }
}

/// Permits of a semaphore that are out; one that is closed has none.
pub(crate) fn taken(places: &Semaphore, max: usize) -> usize {
    max.saturating_sub(places.available_permits())
}

/// Messages that wait in a channel.
pub(crate) fn waiting<T>(channel: &mpsc::Sender<T>) -> usize {
    channel.max_capacity() - channel.capacity()
}

/// What a live project has of which the actors are the owners: looked at as long as
/// they have it.
#[derive(Default)]
pub(crate) struct Lent(Mutex<(Weak<Link>, Weak<terminal::Shared>)>);

impl Lent {
    pub(crate) fn link(&self, link: &Arc<Link>) {
        self.lock().0 = Arc::downgrade(link);
    }

    /// The link to init, if there is one that holds.
    pub(crate) fn open_link(&self) -> Option<Arc<Link>> {
        self.now().0.filter(|link| !link.is_closed())
    }

    pub(crate) fn shell(&self, shell: &Arc<terminal::Shared>) {
        self.lock().1 = Arc::downgrade(shell);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, (Weak<Link>, Weak<terminal::Shared>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> (Option<Arc<Link>>, Option<Arc<terminal::Shared>>) {
        let lent = self.lock();
        (lent.0.upgrade(), lent.1.upgrade())
    }
}

/// One live project, as it is looked at.
struct Seen<'a> {
    live: &'a Live,
    settings: &'a TreeSettings,
    link: Option<Arc<Link>>,
    shell: Option<Arc<terminal::Shared>>,
}

/// A bound that every live project has: its name, its size, and what is used of it.
type OfEach = (&'static str, usize, fn(&Seen<'_>) -> usize);

/// Everything of the tree that has a bound.
pub(crate) fn of_tree(context: &Context) -> Vec<Fullness> {
    let mut all = of_projects(context);
    all.push(context.engine_places.fullness());
    let (making, refills_max) =
        (context.pool_making.load(Ordering::Relaxed), context.settings.pool_refills_max);
    all.push(Fullness::of_one("pool_refills", making, refills_max));
    all.extend(context.writes_waiting());
    all.extend(context.engine.fullness());
    all.extend(context.store.fullness());
    all
}

fn of_projects(context: &Context) -> Vec<Fullness> {
    let settings = &context.settings;
    let bounds: Vec<OfEach> =
        of_each_requests(settings).into_iter().chain(of_each_output(settings)).collect();
    let mut all: Vec<_> =
        bounds.iter().map(|(name, max, _)| Fullness::of_many(name, *max)).collect();
    for entry in context.directory.entries() {
        let (link, shell) = entry.live.lent.now();
        let seen = Seen { live: &entry.live, settings, link, shell };
        for (fullness, (_, _, used)) in all.iter_mut().zip(&bounds) {
            fullness.add(used(&seen));
        }
    }
    all
}

fn of_each_requests(settings: &TreeSettings) -> [OfEach; 7] {
    [
        ("project_requests", settings.project_requests_max, |seen| {
            taken(&seen.live.request_places, seen.settings.project_requests_max)
        }),
        ("execs", settings.execs_max as usize, |seen| {
            taken(&seen.live.exec_places, seen.settings.execs_max as usize)
        }),
        ("watches", settings.watches_max, |seen| {
            taken(&seen.live.watch_places, seen.settings.watches_max)
        }),
        ("events", settings.events_kept, |seen| seen.live.events.kept()),
        ("link_requests", settings.link_requests_max, |seen| {
            seen.link.as_ref().map_or(0, |link| link.requests_waiting())
        }),
        ("link_owed", settings.link_owed_max, |seen| {
            seen.link.as_ref().map_or(0, |link| link.owed())
        }),
        ("home_closing", settings.home_closing_max, |seen| {
            seen.link.as_ref().map_or(0, |link| link.closing())
        }),
    ]
}

fn of_each_output(settings: &TreeSettings) -> [OfEach; 6] {
    let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    [
        ("terminal_ring_bytes", settings.terminal_ring_bytes, |seen| {
            seen.shell.as_ref().map_or(0, |shell| shell.fanout.bytes_kept())
        }),
        ("terminal_viewers", settings.terminal_viewers_max, |seen| {
            seen.shell.as_ref().map_or(0, |shell| shell.viewers.load(Ordering::Relaxed))
        }),
        ("terminal_input", settings.terminal_input_max, |seen| {
            seen.shell.as_ref().map_or(0, |shell| shell.input_waiting())
        }),
        ("log_ring_bytes", size(settings.log_ring_bytes), |seen| {
            seen.live.log_unsynced.load(Ordering::Relaxed)
        }),
        ("log_file_bytes", size(settings.log_file_bytes), |seen| seen.live.log_size().0),
        ("log_files", settings.log_files as usize, |seen| seen.live.log_size().1),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_the_fullest_counts_and_all_are_summed() {
        let mut queues = Fullness::of_many("queues", 8);
        [3, 7, 0].into_iter().for_each(|used| queues.add(used));
        assert_eq!((queues.used, queues.in_all), (7, Some(10)));
    }

    #[tokio::test]
    async fn places_that_are_taken_and_messages_that_wait_are_counted() {
        let places = Semaphore::new(4);
        let place = places.try_acquire().unwrap();
        assert_eq!(Fullness::of_places("places", &places, 4).used, 1);
        drop(place);
        assert_eq!(Fullness::of_places("places", &places, 4).used, 0);
        let (sender, mut receiver) = mpsc::channel(2);
        sender.try_send(()).unwrap();
        assert_eq!(waiting(&sender), 1);
        receiver.recv().await.unwrap();
        assert_eq!(waiting(&sender), 0);
    }
}
