//! A store that is the simplest possible model of one: maps under a lock.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use sandtree_actors::ports::{Filter, MoveWrite, Store, StoreError, Write, Written};
use sandtree_model::{
    InstanceId, Move, NewProject, Phase, Project, ProjectKey, ProjectPatch, ProjectUid, SandboxUid,
    TenantId, Transition,
};
use tokio::sync::watch;

use crate::engine::plan::When;
use crate::wait::{LONG, within};

/// What happens to a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreFault {
    /// The store does not answer.
    Away,
    /// It takes so long.
    Late(Duration),
    /// The write does not end, until its writer does.
    Hang,
    /// The adapter has a bug.
    Panic,
}

/// What goes wrong in a store, and when. Each entry is met once, except `away_for`.
#[derive(Debug, Clone, Default)]
pub struct StorePlan {
    away_for: u32,
    unread: u32,
    moves: Vec<(Move, When, StoreFault)>,
    batches: Vec<(u32, When, StoreFault)>,
    /// Batches that came since this plan was made.
    came: u32,
}

impl StorePlan {
    /// Nothing goes wrong.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// The next `batches` writes fail and change nothing.
    #[must_use]
    pub fn away_for(mut self, batches: u32) -> Self {
        self.away_for = batches;
        self
    }

    /// The next `reads` of a project by its address fail.
    #[must_use]
    pub fn unread(mut self, reads: u32) -> Self {
        self.unread = reads;
        self
    }

    /// The next batch with this move in it meets a fault, before or after its commit.
    #[must_use]
    pub fn at(mut self, by: Move, when: When, fault: StoreFault) -> Self {
        self.moves.push((by, when, fault));
        self
    }

    /// The `nth` batch from now on, counted from 1, meets a fault, whatever it holds.
    #[must_use]
    pub fn nth(mut self, nth: u32, when: When, fault: StoreFault) -> Self {
        self.batches.push((nth, when, fault));
        self
    }

    fn meets(&mut self, batch: &[Write], when: When) -> Option<StoreFault> {
        self.came += u32::from(when == When::Before);
        if when == When::Before && self.away_for > 0 {
            self.away_for -= 1;
            return Some(StoreFault::Away);
        }
        let counted = |(nth, at, _): &(u32, When, StoreFault)| (*nth, *at) == (self.came, when);
        if let Some(planned) = self.batches.iter().position(counted) {
            return Some(self.batches.remove(planned).2);
        }
        let moves_by = |by: Move| {
            batch.iter().any(|write| matches!(write, Write::Move(moved) if moved.by == by))
        };
        let planned = self.moves.iter().position(|(by, at, _)| *at == when && moves_by(*by))?;
        Some(self.moves.remove(planned).2)
    }
}

/// A handle on the store; clones share its state, which outlives every tree.
#[derive(Clone, Default)]
pub struct MemoryStore {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    rows: Mutex<Rows>,
    hanging: watch::Sender<u32>,
    writing: AtomicUsize,
}

/// A write that is on its way, until it ends or its writer does.
struct Writing<'a>(&'a AtomicUsize);

impl<'a> Writing<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Default)]
struct Rows {
    plan: StorePlan,
    instance: Option<InstanceId>,
    projects: BTreeMap<ProjectUid, Project>,
    transitions: BTreeMap<ProjectUid, Vec<Transition>>,
    /// By tenant and key: the request's hash, and what it made.
    idempotency: BTreeMap<(TenantId, Box<str>), ([u8; 32], ProjectUid)>,
    owners: u32,
    batches: Vec<usize>,
    unsound: Vec<String>,
}

/// The first uid that a sandbox without a fixed one gets.
const FIRST_OWNER: u32 = 200_000;

impl MemoryStore {
    /// Replaces the plan.
    pub fn plan(&self, plan: StorePlan) {
        self.lock().plan = plan;
    }

    /// Waits until a write hangs.
    pub async fn hangs(&self) {
        let mut hanging = self.shared.hanging.subscribe();
        let hangs = hanging.wait_for(|count| *count > 0);
        within(LONG, "a write that hangs", hangs).await.expect("this store lives");
    }

    /// Whether a write is on its way.
    #[must_use]
    pub fn is_writing(&self) -> bool {
        self.shared.writing.load(Ordering::Relaxed) > 0
    }

    /// A row as it is, deleted or not.
    #[must_use]
    pub fn row(&self, uid: &ProjectUid) -> Project {
        self.lock().projects[uid].clone()
    }

    /// The phases that a project went through, oldest first.
    #[must_use]
    pub fn phases(&self, uid: &ProjectUid) -> Vec<Phase> {
        let rows = self.lock();
        rows.transitions.get(uid).into_iter().flatten().map(|past| past.to).collect()
    }

    /// How many writes each transaction held so far.
    #[must_use]
    pub fn batches(&self) -> Vec<usize> {
        self.lock().batches.clone()
    }

    /// Every row, deleted or not.
    #[must_use]
    pub fn rows(&self) -> Vec<Project> {
        self.lock().projects.values().cloned().collect()
    }

    /// That every transition was in the table of moves and began where the one before
    /// it ended, and that every generation was the one after the last.
    pub fn assert_sound(&self) {
        let rows = self.lock();
        let unsound = &rows.unsound;
        assert!(unsound.is_empty(), "the store was asked for what cannot be: {unsound:#?}");
        for log in rows.transitions.values() {
            let mut from = None;
            for (nth, past) in (1..).zip(log) {
                assert_eq!((past.generation, past.from), (nth, from), "a gap or a double: {log:?}");
                from = Some(past.to);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Rows> {
        self.shared.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn suffer(&self, fault: Option<StoreFault>) -> Result<(), StoreError> {
        match fault {
            None => Ok(()),
            Some(StoreFault::Away) => Err(StoreError("planned".into())),
            Some(StoreFault::Late(by)) => {
                tokio::time::sleep(by).await;
                Ok(())
            }
            Some(StoreFault::Panic) => panic!("planned"),
            Some(StoreFault::Hang) => {
                self.shared.hanging.send_modify(|count| *count += 1);
                std::future::pending().await
            }
        }
    }
}

impl Rows {
    fn apply(&mut self, write: &Write) -> Written {
        match write {
            Write::Create(new) => self.create(new),
            Write::Move(moved) => self.moved(moved),
            Write::Patch(uid, patch) => self.patch(uid, patch),
            Write::Process(uid, record) => {
                self.change(uid, |row| row.process = record.as_deref().cloned())
            }
            Write::Activity(times) => {
                for (uid, at) in times {
                    let _ = self.change(uid, |row| row.active_at = row.active_at.max(*at));
                }
                Written::Done
            }
            Write::ReserveOwner => Written::Owner(self.next_owner().0),
        }
    }

    fn alive(&self) -> impl Iterator<Item = &Project> {
        self.projects.values().filter(|row| row.phase != Phase::Deleted)
    }

    fn resting(&self, profile: &str) -> impl Iterator<Item = &Project> {
        let rests = |row: &&Project| matches!(row.phase, Phase::Stopped | Phase::Failed);
        let mine = move |row: &&Project| row.is_at_rest() && *row.settings.profile == *profile;
        self.alive().filter(rests).filter(mine)
    }

    fn by_key(&self, key: &ProjectKey) -> Option<&Project> {
        self.alive().find(|row| row.key == *key)
    }

    fn change(&mut self, uid: &ProjectUid, change: impl FnOnce(&mut Project)) -> Written {
        match self.projects.get_mut(uid).filter(|row| row.phase != Phase::Deleted) {
            Some(row) => {
                change(row);
                Written::Row(Box::new(row.clone()))
            }
            None => Written::Stale,
        }
    }

    fn create(&mut self, new: &NewProject) -> Written {
        if let Some(promise) = &new.idempotency {
            let key = (new.key.tenant.clone(), promise.key.clone());
            let earlier = self.idempotency.get(&key);
            let earlier = earlier.filter(|(_, uid)| self.alive().any(|row| row.uid == *uid));
            if let Some((request, uid)) = earlier {
                let is_same = *request == promise.request_sha256;
                let row = || Box::new(self.projects[uid].clone());
                return if is_same { Written::Repeated(row()) } else { Written::KeyReused };
            }
        }
        if let Some(row) = self.by_key(&new.key) {
            return Written::Taken(Box::new(row.clone()));
        }
        if let Some(promise) = &new.idempotency {
            let key = (new.key.tenant.clone(), promise.key.clone());
            self.idempotency.insert(key, (promise.request_sha256, new.uid.clone()));
        }
        let owner = new.owner.unwrap_or_else(|| self.next_owner());
        let row = first_row(new, owner);
        self.log(&row, None, None, &new.principal);
        self.projects.insert(row.uid.clone(), row.clone());
        Written::Row(Box::new(row))
    }

    fn next_owner(&mut self) -> (u32, u32) {
        let owner = FIRST_OWNER + self.owners;
        self.owners += 1;
        (owner, owner)
    }

    fn moved(&mut self, moved: &MoveWrite) -> Written {
        let is_current =
            |row: &&mut Project| row.phase != Phase::Deleted && row.generation == moved.generation;
        let Some(row) = self.projects.get_mut(&moved.uid).filter(is_current) else {
            return Written::Stale;
        };
        let from = row.phase;
        if from.on(moved.by) != Ok(moved.to) {
            self.unsound.push(format!("{} by {} to {}", from, moved.by, moved.to));
        }
        row.phase = moved.to;
        row.generation += 1;
        row.reason = moved.reason.clone();
        row.updated_at = moved.at;
        if let Some(target) = moved.target {
            row.target = target;
        }
        if let Some(container) = &moved.container {
            row.container = container.clone();
        }
        let row = row.clone();
        self.log(&row, Some(from), Some(moved.by), &moved.principal);
        Written::Row(Box::new(row))
    }

    fn log(&mut self, row: &Project, from: Option<Phase>, by: Option<Move>, principal: &str) {
        let transition = Transition {
            generation: row.generation,
            from,
            by,
            to: row.phase,
            reason: row.reason.clone(),
            principal: principal.into(),
            at: row.updated_at,
        };
        self.transitions.entry(row.uid.clone()).or_default().push(transition);
    }

    fn patch(&mut self, uid: &ProjectUid, patch: &ProjectPatch) -> Written {
        self.change(uid, |row| {
            let settings = &mut row.settings;
            settings.image = patch.image.clone().unwrap_or(std::mem::take(&mut settings.image));
            settings.env = patch.env.clone().unwrap_or(std::mem::take(&mut settings.env));
            settings.labels = patch.labels.clone().unwrap_or(std::mem::take(&mut settings.labels));
            settings.limits = patch.limits.unwrap_or(settings.limits);
            settings.idle_timeout = patch.idle_timeout.unwrap_or(settings.idle_timeout);
            settings.max_lifetime = patch.max_lifetime.unwrap_or(settings.max_lifetime);
            row.updated_at = patch.at;
        })
    }
}

fn first_row(new: &NewProject, owner: (u32, u32)) -> Project {
    Project {
        uid: new.uid.clone(),
        key: new.key.clone(),
        phase: Phase::Creating,
        generation: 1,
        target: new.target,
        reason: "created".into(),
        settings: new.settings.clone(),
        sandbox: new.sandbox.clone(),
        owner,
        container: new.container.clone(),
        process: None,
        created_at: new.at,
        updated_at: new.at,
        active_at: new.at,
    }
}

/// Whether a starting server has to look after it.
fn is_shown(row: &Project, filter: &Filter) -> bool {
    let above = filter.after.as_deref().is_none_or(|after| row.key.id.as_str() > after);
    let in_phase = filter.phase.is_none_or(|phase| row.phase == phase);
    let labels = &row.settings.labels;
    let labelled =
        filter.label.as_ref().is_none_or(|(name, value)| labels.get(name) == Some(value));
    above && in_phase && labelled
}

#[async_trait]
impl Store for MemoryStore {
    async fn write(&self, batch: &[Write]) -> Result<Vec<Written>, StoreError> {
        let _writing = Writing::begin(&self.shared.writing);
        let before = self.lock().plan.meets(batch, When::Before);
        self.suffer(before).await?;
        let (written, after) = {
            let mut rows = self.lock();
            rows.batches.push(batch.len());
            let written = batch.iter().map(|write| rows.apply(write)).collect();
            (written, rows.plan.meets(batch, When::After))
        };
        self.suffer(after).await?;
        Ok(written)
    }

    async fn project(&self, key: &ProjectKey) -> Result<Option<Project>, StoreError> {
        let mut rows = self.lock();
        if rows.plan.unread > 0 {
            rows.plan.unread -= 1;
            return Err(StoreError("planned".into()));
        }
        Ok(rows.by_key(key).cloned())
    }

    async fn project_by_uid(&self, uid: &ProjectUid) -> Result<Option<Project>, StoreError> {
        Ok(self.lock().alive().find(|row| row.uid == *uid).cloned())
    }

    async fn list(&self, tenant: &TenantId, filter: &Filter) -> Result<Vec<Project>, StoreError> {
        let rows = self.lock();
        let mut shown: Vec<Project> = rows
            .alive()
            .filter(|row| row.key.tenant == *tenant && is_shown(row, filter))
            .cloned()
            .collect();
        shown.sort_by(|a, b| a.key.id.cmp(&b.key.id));
        shown.truncate(filter.limit as usize);
        Ok(shown)
    }

    async fn unsettled(
        &self,
        after: Option<&ProjectUid>,
        limit: u32,
    ) -> Result<Vec<Project>, StoreError> {
        let rows = self.lock();
        let above = |row: &&Project| after.is_none_or(|after| row.uid > *after);
        let unsettled = rows.projects.values().filter(|row| !row.is_at_rest()).filter(above);
        Ok(unsettled.take(limit as usize).cloned().collect())
    }

    async fn resting(&self, profile: &str, limit: u32) -> Result<Vec<Project>, StoreError> {
        let mut resting: Vec<_> = self.lock().resting(profile).cloned().collect();
        resting.sort_by(|a, b| (a.updated_at, &a.uid).cmp(&(b.updated_at, &b.uid)));
        resting.truncate(limit as usize);
        Ok(resting)
    }

    async fn resting_count(&self, profile: &str) -> Result<u64, StoreError> {
        Ok(self.lock().resting(profile).count() as u64)
    }

    async fn owned(&self, sandboxes: &[SandboxUid]) -> Result<Vec<SandboxUid>, StoreError> {
        let rows = self.lock();
        let is_owned = |sandbox: &&SandboxUid| rows.alive().any(|row| row.sandbox == **sandbox);
        Ok(sandboxes.iter().filter(is_owned).cloned().collect())
    }

    async fn transitions(
        &self,
        uid: &ProjectUid,
        above: u64,
        limit: u32,
    ) -> Result<Vec<Transition>, StoreError> {
        let rows = self.lock();
        let log = rows.transitions.get(uid).into_iter().flatten();
        Ok(log.filter(|past| past.generation > above).take(limit as usize).cloned().collect())
    }

    async fn instance(&self, fresh: &InstanceId) -> Result<InstanceId, StoreError> {
        Ok(self.lock().instance.get_or_insert_with(|| fresh.clone()).clone())
    }

    async fn ping(&self) -> Result<(), StoreError> {
        if self.lock().plan.away_for > 0 { Err(StoreError("planned".into())) } else { Ok(()) }
    }
}
