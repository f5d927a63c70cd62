//! A batch in rounds: writes of one round are about different things, so those
//! of a kind can be one statement. Writes about the same thing keep their order.
//! All others come from callers that wait at the same time, so any order is right.

use std::collections::HashMap;

use sandtree_actors::ports::{MoveWrite, Write};
use sandtree_model::project::{NewProject, ProjectPatch};
use sandtree_model::{ProcessRecord, ProjectKey, ProjectUid, TenantId};

/// The writes of one round by kind, each with its place in the batch.
#[derive(Debug, Default)]
pub(super) struct Round<'a> {
    pub(super) moves: Vec<(usize, &'a MoveWrite)>,
    pub(super) creates: Vec<(usize, &'a NewProject)>,
    pub(super) processes: Vec<(usize, &'a ProjectUid, Option<&'a ProcessRecord>)>,
    pub(super) patches: Vec<(usize, &'a ProjectUid, &'a ProjectPatch)>,
    pub(super) activities: Vec<(usize, &'a [(ProjectUid, u64)])>,
    /// Owners that are only reserved.
    pub(super) reservations: Vec<usize>,
}

/// What a write is about.
#[derive(Debug, PartialEq, Eq, Hash)]
enum About<'a> {
    Project(&'a ProjectUid),
    Id(&'a ProjectKey),
    Promise(&'a TenantId, &'a str),
}

/// The rounds of a batch, in the order in which they have to be done.
pub(super) fn rounds(batch: &[Write]) -> Vec<Round<'_>> {
    let mut rounds = Vec::new();
    // The first round that is still free for a thing.
    let mut free = HashMap::new();
    for (place, write) in batch.iter().enumerate() {
        let about = about(write);
        let nth = about.iter().filter_map(|thing| free.get(thing)).max().copied().unwrap_or(0);
        free.extend(about.into_iter().map(|thing| (thing, nth + 1)));
        if rounds.len() == nth {
            rounds.push(Round::default());
        }
        rounds[nth].add(place, write);
    }
    rounds
}

fn about(write: &Write) -> Vec<About<'_>> {
    match write {
        Write::Create(new) => {
            let promise = new.idempotency.as_ref();
            let promise = promise.map(|promise| About::Promise(&new.key.tenant, &promise.key));
            let names = [About::Project(&new.uid), About::Id(&new.key)];
            names.into_iter().chain(promise).collect()
        }
        Write::Move(moved) => vec![About::Project(&moved.uid)],
        Write::Patch(uid, _) | Write::Process(uid, _) => vec![About::Project(uid)],
        Write::ReserveOwner => Vec::new(),
        Write::Activity(times) => times.iter().map(|(uid, _)| About::Project(uid)).collect(),
    }
}

impl<'a> Round<'a> {
    fn add(&mut self, place: usize, write: &'a Write) {
        match write {
            Write::Create(new) => self.creates.push((place, new)),
            Write::Move(moved) => self.moves.push((place, moved)),
            Write::Patch(uid, patch) => self.patches.push((place, uid, patch)),
            Write::Process(uid, record) => self.processes.push((place, uid, record.as_deref())),
            Write::Activity(times) => self.activities.push((place, times)),
            Write::ReserveOwner => self.reservations.push(place),
        }
    }
}

#[cfg(test)]
mod tests {
    use sandtree_model::{Move, Phase};

    use super::*;
    use crate::store::contract::{create, moved, new, step, uid};

    fn start(number: u64, generation: u64) -> Write {
        moved(step(number, generation, Move::StartAsked, Phase::Starting))
    }

    #[test]
    fn only_writes_about_the_same_thing_wait_for_each_other() {
        let same_id = NewProject { key: new(1).key, ..new(3) };
        let batch = [
            create(new(1)),
            start(2, 1),
            start(1, 1),
            create(same_id),
            start(2, 2),
            Write::Activity(vec![(uid(1), 1), (uid(4), 1)]),
            start(5, 1),
            start(4, 1),
            Write::Activity(Vec::new()),
        ];
        let shown = rounds(&batch).into_iter().map(|round| {
            let places = |round: Vec<(usize, &MoveWrite)>| {
                round.into_iter().map(|(place, _)| place).collect::<Vec<_>>()
            };
            let creates = round.creates.iter().map(|(place, _)| *place).collect::<Vec<_>>();
            let activities = round.activities.iter().map(|(place, _)| *place).collect::<Vec<_>>();
            (places(round.moves), creates, activities)
        });
        let expected = [
            (vec![1, 6], vec![0], vec![8]),
            (vec![2, 4], vec![3], vec![]),
            (vec![], vec![], vec![5]),
            (vec![7], vec![], vec![]),
        ];
        assert_eq!(shown.collect::<Vec<_>>(), expected);
    }
}
