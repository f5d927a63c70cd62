//! The directory: the only place that holds references to project actors.

use std::sync::Arc;

use dashmap::DashMap;
use ractor::{ActorId, ActorRef};
use sandtree_model::{ProjectKey, SandboxUid};
use tokio::sync::OnceCell;

use crate::live::{Hold, Live};
use crate::project::ProjectMsg;

/// A project that has actors.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) key: ProjectKey,
    pub(crate) actor: ActorRef<ProjectMsg>,
    pub(crate) live: Arc<Live>,
}

/// A place for an entry: whoever comes first fills it, the others wait for that.
pub(crate) type Place = Arc<OnceCell<Entry>>;

/// Which projects have actors.
#[derive(Default)]
pub(crate) struct Directory {
    places: DashMap<ProjectKey, Place>,
    by_sandbox: DashMap<SandboxUid, ProjectKey>,
    by_actor: DashMap<ActorId, ProjectKey>,
}

impl Directory {
    /// The project's entry, if it has actors, with a hold on them: taken under the
    /// same lock as [`Directory::leave`] checks for holds under.
    pub(crate) fn enter(&self, key: &ProjectKey) -> Option<(Entry, Hold)> {
        let place = self.places.get(key)?;
        let entry = place.get()?;
        Some((entry.clone(), Hold::new(&entry.live)))
    }

    /// Removes the entry of this very actor if nobody holds on to it.
    pub(crate) fn leave(&self, key: &ProjectKey, actor: ActorId) -> bool {
        self.remove_if(key, |entry| entry.actor.get_id() == actor && !entry.live.is_held())
            .is_some()
    }

    /// The project's entry, if it has actors.
    pub(crate) fn find(&self, key: &ProjectKey) -> Option<Entry> {
        self.places.get(key).and_then(|place| place.get().cloned())
    }

    /// The entry of the project that a sandbox belongs to, if it has actors.
    pub(crate) fn find_by_sandbox(&self, sandbox: &SandboxUid) -> Option<Entry> {
        let key = self.by_sandbox.get(sandbox)?.clone();
        self.find(&key)
    }

    /// The project's place, made if need be.
    pub(crate) fn place(&self, key: &ProjectKey) -> Place {
        if let Some(place) = self.places.get(key) {
            return Arc::clone(&place);
        }
        Arc::clone(&self.places.entry(key.clone()).or_default())
    }

    /// The key of the project whose actor this is.
    pub(crate) fn key_of(&self, actor: ActorId) -> Option<ProjectKey> {
        self.by_actor.get(&actor).map(|key| key.clone())
    }

    /// Notes whose sandbox and actor it is; called once the entry is in its place.
    pub(crate) fn filled(&self, entry: &Entry) {
        self.by_sandbox.insert(entry.live.row().sandbox.clone(), entry.key.clone());
        self.by_actor.insert(entry.actor.get_id(), entry.key.clone());
    }

    /// Takes back a place that the caller could not fill, unless somebody else
    /// is about to: then more than the map and the caller know it.
    pub(crate) fn discard(&self, key: &ProjectKey, mine: Place) {
        let unwanted = |place: &Place| place.get().is_none() && Arc::strong_count(place) <= 2;
        self.places.remove_if(key, |_, place| Arc::ptr_eq(place, &mine) && unwanted(place));
    }

    /// Removes the entry of this very actor; a newer one of the project stays.
    pub(crate) fn remove(&self, key: &ProjectKey, actor: ActorId) -> Option<Entry> {
        self.remove_if(key, |entry| entry.actor.get_id() == actor)
    }

    fn remove_if(&self, key: &ProjectKey, wanted: impl Fn(&Entry) -> bool) -> Option<Entry> {
        let (_, place) = self.places.remove_if(key, |_, place| place.get().is_some_and(&wanted))?;
        let entry = place.get().cloned()?;
        self.by_sandbox.remove_if(&entry.live.row().sandbox, |_, owner| owner == key);
        self.by_actor.remove(&entry.actor.get_id());
        Some(entry)
    }

    /// All entries, as they are at some moment during the call.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.places.iter().filter_map(|place| place.get().cloned()).collect()
    }
}
