//! A batch of writes within one transaction, in as few statements as it can be.
//!
//! Each write looks before it changes anything, and nobody else writes, so a
//! write that is refused has nothing to undo and needs no savepoint. An error of
//! the database undoes the whole batch.

use std::collections::HashMap;

use sandtree_actors::ports::{MoveWrite, StoreError, Write, Written};
use sandtree_model::project::{Idempotency, NewProject, Project, ProjectPatch};
use sandtree_model::{Phase, ProcessRecord, ProjectUid};

use super::OwnerRange;
use super::database::{Arg, Transaction, args};
use super::owners;
use super::rounds::{Round, rounds};
use super::row::{self, ProjectRow};
use super::sql::{self, Each};
use row::signed;

/// Writes a batch in a transaction.
pub(super) struct Writer<'a, T> {
    /// The transaction.
    pub(super) transaction: &'a mut T,
    /// The database's own statements.
    pub(super) each: &'static Each,
    /// Where projects without a fixed owner get theirs.
    pub(super) owners: OwnerRange,
}

/// Rows by the uid of their project.
type Rows = HashMap<ProjectUid, Project>;
/// What became of the writes at these places of the batch.
type Outcomes = Vec<(usize, Written)>;

impl<T: Transaction> Writer<'_, T> {
    /// Does every write of the batch.
    pub(super) async fn all(&mut self, batch: &[Write]) -> Result<Vec<Written>, StoreError> {
        let mut written = batch.iter().map(|_| Written::Stale).collect::<Vec<_>>();
        for round in rounds(batch) {
            for (place, outcome) in self.round(&round).await? {
                written[place] = outcome;
            }
        }
        Ok(written)
    }

    async fn round(&mut self, round: &Round<'_>) -> Result<Outcomes, StoreError> {
        let mut outcomes = self.reserve(&round.reservations).await?;
        outcomes.extend(self.moves(&round.moves).await?);
        outcomes.extend(self.creates(&round.creates).await?);
        outcomes.extend(self.processes(&round.processes).await?);
        for (place, uid, patch) in &round.patches {
            outcomes.push((*place, self.patch(uid, patch).await?));
        }
        for (place, times) in &round.activities {
            self.transaction.execute(self.each.activity, args![row::activity(times)?]).await?;
            outcomes.push((*place, Written::Done));
        }
        Ok(outcomes)
    }

    /// Owners for sandboxes that have no project yet.
    async fn reserve(&mut self, places: &[usize]) -> Result<Outcomes, StoreError> {
        let numbers = owners::take(self.transaction, self.owners, places.len()).await?;
        let mut numbers = numbers.into_iter().map(Written::Owner);
        let outcome = |place: &usize| (*place, numbers.next().unwrap_or(Written::NoOwnerLeft));
        Ok(places.iter().map(outcome).collect())
    }

    /// Moves of projects that differ, in two statements however many they are.
    async fn moves(&mut self, moves: &[(usize, &MoveWrite)]) -> Result<Outcomes, StoreError> {
        if moves.is_empty() {
            return Ok(Vec::new());
        }
        let rows = row::moves(moves.iter().map(|(_, write)| *write))?;
        self.transaction.execute(self.each.moves_log, args![rows.clone()]).await?;
        let mut moved = self.changed(self.each.moves, args![rows]).await?;
        let gone = moved.values().filter(|project| project.phase == Phase::Deleted);
        let gone = gone.cloned().collect::<Vec<_>>();
        if !gone.is_empty() {
            moved.extend(self.scrub(gone).await?);
        }
        Ok(moves.iter().map(|(place, write)| (*place, taken(&mut moved, &write.uid))).collect())
    }

    /// Leaves of deleted projects what their log and their uid need.
    async fn scrub(&mut self, gone: Vec<Project>) -> Result<Rows, StoreError> {
        let uids = row::singles(gone.iter().map(|project| &project.uid))?;
        self.transaction.execute(self.each.labels_drop, args![uids]).await?;
        let left = gone.into_iter().map(|project| {
            row::json(&row::scrubbed(project.settings)).map(|settings| (project.uid, settings))
        });
        let left = row::json(&left.collect::<Result<Vec<_>, _>>()?)?;
        self.changed(self.each.scrub, args![left]).await
    }

    /// New projects whose names differ. Those that are refused are told why.
    async fn creates(&mut self, creates: &[(usize, &NewProject)]) -> Result<Outcomes, StoreError> {
        let mut outcomes = Vec::with_capacity(creates.len());
        let mut wanted = Vec::with_capacity(creates.len());
        for (place, new) in creates {
            match self.earlier_request(new).await? {
                Some(earlier) => outcomes.push((*place, earlier)),
                None => wanted.push((*place, *new)),
            }
        }
        if wanted.is_empty() {
            return Ok(outcomes);
        }
        let keys = wanted.iter().map(|(_, new)| (&new.key.tenant, &new.key.id));
        let keys = row::json(&keys.collect::<Vec<_>>())?;
        let takers = self.projects(self.each.takers, args![keys]).await?;
        let mut takers =
            takers.into_iter().map(|taker| (taker.key.clone(), taker)).collect::<HashMap<_, _>>();
        wanted.retain(|(place, new)| {
            let Some(taker) = takers.remove(&new.key) else { return true };
            // The same uid is this very write, repeated after its outcome was lost.
            let is_repeated = taker.uid == new.uid;
            let taker = Box::new(taker);
            let written =
                if is_repeated { Written::Repeated(taker) } else { Written::Taken(taker) };
            outcomes.push((*place, written));
            false
        });
        let wanted = self.with_owners(wanted, &mut outcomes).await?;
        outcomes.extend(self.insert(wanted).await?);
        Ok(outcomes)
    }

    /// Gives owners to those that have none, as long as there are any.
    async fn with_owners<'n>(
        &mut self,
        wanted: Vec<(usize, &'n NewProject)>,
        outcomes: &mut Outcomes,
    ) -> Result<Vec<(usize, &'n NewProject, (u32, u32))>, StoreError> {
        let count = wanted.iter().filter(|(_, new)| new.owner.is_none()).count();
        let numbers = owners::take(self.transaction, self.owners, count).await?;
        let mut numbers = numbers.into_iter();
        let mut owned = Vec::with_capacity(wanted.len());
        for (place, new) in wanted {
            match new.owner.or_else(|| numbers.next().map(|number| (number, number))) {
                Some(owner) => owned.push((place, new, owner)),
                None => outcomes.push((place, Written::NoOwnerLeft)),
            }
        }
        Ok(owned)
    }

    async fn insert(
        &mut self,
        wanted: Vec<(usize, &NewProject, (u32, u32))>,
    ) -> Result<Outcomes, StoreError> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let rows = row::projects(wanted.iter().map(|(_, new, owner)| (*new, *owner)))?;
        let mut made = self.changed(self.each.projects_add, args![rows.clone()]).await?;
        self.transaction.execute(self.each.first_transitions_add, args![rows]).await?;
        if let Some(labels) = row::labels(made.values())? {
            self.transaction.execute(self.each.labels_add, args![labels]).await?;
        }
        let mut outcomes = Vec::with_capacity(wanted.len());
        for (place, new, _) in wanted {
            if let Some(Idempotency { key, request_sha256 }) = &new.idempotency {
                let promise = args![
                    new.key.tenant.as_str(),
                    &**key,
                    new.uid.as_str(),
                    request_sha256.to_vec(),
                    signed(new.at)
                ];
                self.transaction.execute(sql::IDEMPOTENCY_ADD, promise).await?;
            }
            let project = made.remove(&new.uid).ok_or_else(vanished)?;
            outcomes.push((place, Written::Row(Box::new(project))));
        }
        Ok(outcomes)
    }

    /// What an earlier request with the same idempotency key came to.
    async fn earlier_request(&mut self, new: &NewProject) -> Result<Option<Written>, StoreError> {
        let Some(Idempotency { key, request_sha256 }) = &new.idempotency else { return Ok(None) };
        let names = args![new.key.tenant.as_str(), &**key];
        let earlier = self.transaction.fetch(sql::IDEMPOTENCY, names.clone()).await?.pop();
        let Some((uid, earlier_sha256)): Option<(String, Vec<u8>)> = earlier else {
            return Ok(None);
        };
        if earlier_sha256 != request_sha256 {
            return Ok(Some(Written::KeyReused));
        }
        let project = self.projects(sql::PROJECT_BY_UID, args![uid]).await?.pop();
        let project = project.ok_or_else(vanished)?;
        if project.phase != Phase::Deleted {
            return Ok(Some(Written::Repeated(Box::new(project))));
        }
        // A promise lasts as long as its project: what could not be made, or was
        // deleted since, can be asked for again.
        self.transaction.execute(sql::IDEMPOTENCY_REMOVE, names).await?;
        Ok(None)
    }

    async fn processes(
        &mut self,
        processes: &[(usize, &ProjectUid, Option<&ProcessRecord>)],
    ) -> Result<Outcomes, StoreError> {
        if processes.is_empty() {
            return Ok(Vec::new());
        }
        let rows = processes
            .iter()
            .map(|(_, uid, record)| record.map(row::json).transpose().map(|record| (*uid, record)));
        let rows = row::json(&rows.collect::<Result<Vec<_>, _>>()?)?;
        let mut changed = self.changed(self.each.processes, args![rows]).await?;
        Ok(processes.iter().map(|(place, uid, _)| (*place, taken(&mut changed, uid))).collect())
    }

    async fn patch(
        &mut self,
        uid: &ProjectUid,
        patch: &ProjectPatch,
    ) -> Result<Written, StoreError> {
        let project = self.projects(sql::PROJECT_BY_UID, args![uid.as_str()]).await?.pop();
        let Some(project) = project else { return Ok(Written::Stale) };
        let settings = row::json(&row::patched(project.settings, patch))?;
        let change = args![uid.as_str(), settings, signed(patch.at)];
        let project = self.projects(sql::SETTINGS, change).await?.pop();
        let Some(project) = project else { return Ok(Written::Stale) };
        if patch.labels.is_some() {
            self.transaction.execute(self.each.labels_drop, args![row::singles([uid])?]).await?;
            if let Some(labels) = row::labels([&project])? {
                self.transaction.execute(self.each.labels_add, args![labels]).await?;
            }
        }
        Ok(Written::Row(Box::new(project)))
    }

    async fn projects(
        &mut self,
        text: &'static str,
        args: Vec<Arg>,
    ) -> Result<Vec<Project>, StoreError> {
        row::all(self.transaction.fetch::<ProjectRow>(text, args).await?)
    }

    async fn changed(&mut self, text: &'static str, args: Vec<Arg>) -> Result<Rows, StoreError> {
        let projects = self.projects(text, args).await?;
        Ok(projects.into_iter().map(|project| (project.uid.clone(), project)).collect())
    }
}

fn taken(rows: &mut Rows, uid: &ProjectUid) -> Written {
    rows.remove(uid).map_or(Written::Stale, |project| Written::Row(Box::new(project)))
}

fn vanished() -> StoreError {
    StoreError("the database lost a row within one transaction".into())
}
