//! The tree's front door: what the edge, the dialects and the tests call.
//!
//! Every call here becomes a message to a project's actor, or a read of what was
//! published. Admission is bounded here, before any mailbox.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use ractor::{Actor, ActorRef, RpcReplyPort, SpawnErr};
use rand::TryRngCore as _;
use sandtree_model::{
    Answer, EventId, Failure, Fault, NewProject, Phase, Principal, ProcessSpec, ProfileName,
    Project, ProjectKey, ProjectPatch, ProjectUid, Refusal, Target, TenantId,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::ask::ask;
use crate::clear_up::{Made, clear_up};
use crate::container::{Asked, ContainerMsg};
use crate::context::Context;
use crate::directory::Entry;
use crate::events::EventReader;
use crate::files::{self, Files};
use crate::home::OpenHome;
use crate::link::Link;
use crate::live::{Busy, Hold, Live, LiveLimits};
use crate::log::LogReader;
use crate::pool::Claimed;
use crate::ports::{Clock, Engine, Filter, Store, StoreError, Write, Written};
use crate::process::{ProcessMsg, Running};
use crate::project::{self, ProjectActor, ProjectMsg};
use crate::request::{
    CreateRequest, PatchRequest, check_env, check_image, check_labels, check_limits,
};
use crate::root::{RootActor, RootMsg};
use crate::sandbox::Sandbox;
use crate::settings::TreeSettings;
use crate::shape::Shape;
use crate::stages::{self, timed};
use crate::terminal::{TerminalMsg, ViewRequest, Viewer};
use crate::turn::Turn;
use crate::view::{Cursor, ProcessView, View};

/// Attempts to enter a project whose actors come and go at that moment.
const ENTER_ATTEMPTS: usize = 8;

/// A handle on the whole tree; cheap to clone.
#[derive(Clone)]
pub struct Tree(Arc<Inner>);

struct Inner {
    context: Arc<Context>,
    tenants: DashMap<TenantId, Arc<Semaphore>>,
    root: std::sync::OnceLock<ActorRef<RootMsg>>,
}

/// What can be asked of a project's life cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Be running.
    Start,
    /// Be stopped.
    Stop,
    /// Stop, then start.
    Restart,
    /// Be frozen.
    Pause,
    /// Be thawed.
    Resume,
    /// Be stopped and without a container: what was written outside the workspace goes
    /// with it, and the next start makes a new one.
    Discard,
    /// Be gone.
    Delete {
        /// Leave the files on disk.
        keep_files: bool,
    },
}

/// Proof that a request was let in; holds its places until it is answered.
struct Admitted {
    entry: Entry,
    hold: Hold,
    places: Places,
}

/// Places of a request: its tenant's and its project's.
pub(crate) type Places = [OwnedSemaphorePermit; 2];

impl Tree {
    /// Spawns the root and all that serves every project.
    ///
    /// # Errors
    ///
    /// When an actor cannot be spawned.
    pub async fn spawn(
        settings: TreeSettings,
        engine: Arc<dyn Engine>,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, SpawnErr> {
        let context = Context::new(settings, engine, store, clock);
        let inner = Inner { context, tenants: DashMap::new(), root: std::sync::OnceLock::new() };
        let tree = Self(Arc::new(inner));
        let (root, _) = Actor::spawn(None, RootActor, tree.clone()).await?;
        // Set once, here.
        let _ = tree.0.root.set(root);
        Ok(tree)
    }

    pub(crate) fn context(&self) -> &Arc<Context> {
        &self.0.context
    }

    /// What the tree was told at its start.
    #[must_use]
    pub fn settings(&self) -> &TreeSettings {
        &self.0.context.settings
    }

    /// Makes a project; the flag is false when an earlier request with the same
    /// idempotency key had made it. With `start`, answers once it runs. A request
    /// that is answered with an error leaves no project behind.
    ///
    /// # Errors
    ///
    /// [`Refusal::Exists`], [`Refusal::Invalid`], and faults of the engine.
    ///
    /// # Cancel safety
    ///
    /// What was begun goes on when its asker is gone: a row that nobody drives would
    /// stay as it is.
    pub async fn create(&self, by: &Principal, request: CreateRequest) -> Answer<(View, bool)> {
        self.create_with(by, request, fresh_uid()?).await
    }

    /// As [`Tree::create`], with an identity that the caller has chosen.
    pub(crate) async fn create_with(
        &self,
        by: &Principal,
        request: CreateRequest,
        uid: ProjectUid,
    ) -> Answer<(View, bool)> {
        let (tree, by) = (self.clone(), by.clone());
        let creating = async move { tree.create_whole(&by, request, uid).await };
        let made = self.context().tasks.spawn(creating);
        made.await.unwrap_or_else(|error| Err(Fault::Internal(error.to_string().into()).into()))
    }

    async fn create_whole(
        &self,
        by: &Principal,
        request: CreateRequest,
        uid: ProjectUid,
    ) -> Answer<(View, bool)> {
        self.check_owner()?;
        let began = tokio::time::Instant::now();
        let mut new = self.new_project(by, &request, uid)?;
        if request.start && !*self.context().engine_is_here.borrow() {
            self.context().check_engine().await?;
        }
        let _tenant_place = self.tenant_place(&by.tenant)?;
        let claimed = if request.start { self.claim(&mut new).await } else { None };
        stages::note("admission", began);
        let (uid, has_idempotency_key) = (new.uid.clone(), new.idempotency.is_some());
        let writing = self.context().write(None, Write::Create(Box::new(new)));
        let written = match timed("commit", writing).await {
            Ok(written) => written,
            Err(failure) => {
                if let Failure::Faulted(_) = &failure {
                    // It may be written all the same.
                    claimed.into_iter().for_each(Claimed::abandon);
                    clear_up(self, by, Made::Perhaps { uid, has_idempotency_key });
                }
                return Err(failure);
            }
        };
        let row = match written {
            Written::Row(row) => row,
            Written::Repeated(row) => {
                if !row.is_at_rest() {
                    self.rouse(&row.key).await?;
                }
                return Ok((self.get(&row.key).await?, false));
            }
            Written::Taken(row) => return Err(taken(&row).into()),
            Written::KeyReused => {
                let why = "the idempotency key was used for a different request";
                return Err(Refusal::Conflict { why: why.into() }.into());
            }
            Written::NoOwnerLeft => {
                let why = "the range of uids for sandboxes is used up; an operator has to widen it";
                return Err(Fault::StoreAway(why.into()).into());
            }
            Written::Done | Written::Owner(_) | Written::Stale => return Err(odd_outcome().into()),
        };
        let (key, uid) = (row.key.clone(), row.uid.clone());
        let operation = if request.start { Operation::Start } else { Operation::Stop };
        let made = self.make(*row, claimed, by, operation).await;
        if made.is_err() {
            clear_up(self, by, Made::Project(key, uid));
        }
        if request.start {
            stages::note("ready", began);
        }
        Ok((made?, true))
    }

    /// A ready sandbox for a new project, if there is one like it.
    async fn claim(&self, new: &mut NewProject) -> Option<Claimed> {
        if !self.settings().pool_sizes.contains_key(&new.settings.profile) {
            return None;
        }
        let claimed = self.context().pool()?.claim(Shape::of(&new.settings)).await?;
        let (sandbox, owner, container) = claimed.parts()?;
        new.sandbox = sandbox.clone();
        new.owner = Some(owner);
        new.container = Some(container.clone());
        Some(claimed)
    }

    async fn make(
        &self,
        row: Project,
        claimed: Option<Claimed>,
        by: &Principal,
        operation: Operation,
    ) -> Answer<View> {
        let key = row.key.clone();
        self.enter_with(&key, Some((row, claimed.and_then(Claimed::keep)))).await?;
        self.operate_because(by, &key, operation, "created".into(), false).await
    }

    fn new_project(
        &self,
        by: &Principal,
        request: &CreateRequest,
        uid: ProjectUid,
    ) -> Answer<NewProject> {
        let name = request.profile.as_deref().unwrap_or("default");
        let profile = self.context().profile(name)?;
        let settings = request.settings(name, profile)?;
        let id = match &request.id {
            Some(id) => id.clone(),
            None => opaque("p")?.parse().map_err(|_| odd_outcome())?,
        };
        Ok(NewProject {
            uid,
            key: ProjectKey { tenant: by.tenant.clone(), id },
            target: if request.start { Target::Running } else { Target::Stopped },
            settings,
            sandbox: opaque("")?.parse().map_err(|_| odd_outcome())?,
            owner: self.context().owner_of(profile),
            container: None,
            idempotency: request.idempotency.clone(),
            principal: by.name.clone(),
            at: self.context().clock.now(),
        })
    }

    /// One project, from what was published. Spawns nothing.
    ///
    /// # Errors
    ///
    /// [`Refusal::NotFound`].
    pub async fn get(&self, key: &ProjectKey) -> Answer<View> {
        if let Some(entry) = self.context().directory.find(key) {
            let view = entry.live.view();
            return if view.project.phase == Phase::Deleted { Err(no_such(key)) } else { Ok(view) };
        }
        let row = self.stored(key).await?;
        Ok(View::of(Arc::new(row), None, None))
    }

    /// The address of a project, by its identity (for previews by host name).
    ///
    /// # Errors
    ///
    /// [`Refusal::NotFound`].
    pub async fn address(&self, uid: &ProjectUid) -> Answer<ProjectKey> {
        let row = self.context().store.project_by_uid(uid).await.map_err(store_away)?;
        let none = || Refusal::not_found(format!("the project with uid {uid}"));
        Ok(row.ok_or_else(none)?.key)
    }

    /// A tenant's projects, in the order of their ids. Spawns nothing.
    ///
    /// # Errors
    ///
    /// [`Fault::StoreAway`].
    pub async fn list(&self, tenant: &TenantId, filter: &Filter) -> Answer<Vec<View>> {
        let rows = self.context().store.list(tenant, filter).await.map_err(store_away)?;
        let view = |row: Project| match self.context().directory.find(&row.key) {
            Some(entry) if entry.live.row().uid == row.uid => entry.live.view(),
            _ => View::of(Arc::new(row), None, None),
        };
        Ok(rows.into_iter().map(view).collect())
    }

    /// Waits until the project is in `phase` or `timeout` has passed, whichever is
    /// first, and answers how it is then.
    ///
    /// # Errors
    ///
    /// [`Refusal::NotFound`].
    pub async fn wait_for(
        &self,
        key: &ProjectKey,
        phase: Phase,
        timeout: Duration,
    ) -> Answer<View> {
        let (_, hold) = self.enter(key).await?;
        let mut rows = hold.live().follow();
        // Past the time, the answer is how it is by then.
        let _ = tokio::time::timeout(timeout, rows.wait_for(|row| row.phase == phase)).await;
        Ok(hold.live().view())
    }

    /// Does an operation and answers when it is done. Dropping the future does
    /// not undo it: the target is committed first, and the tree goes on.
    ///
    /// # Errors
    ///
    /// [`Refusal::WrongPhase`], [`Refusal::Conflict`] when a later request won, and
    /// faults.
    pub async fn operate(
        &self,
        by: &Principal,
        key: &ProjectKey,
        operation: Operation,
    ) -> Answer<View> {
        self.operate_because(by, key, operation, "asked for".into(), false).await
    }

    /// As [`Tree::operate`], but answers as soon as the intent is committed.
    ///
    /// # Errors
    ///
    /// As [`Tree::operate`], as far as they are known by then.
    pub async fn operate_later(
        &self,
        by: &Principal,
        key: &ProjectKey,
        operation: Operation,
    ) -> Answer<View> {
        self.operate_because(by, key, operation, "asked for".into(), true).await
    }

    pub(crate) async fn operate_because(
        &self,
        by: &Principal,
        key: &ProjectKey,
        operation: Operation,
        reason: Box<str>,
        later: bool,
    ) -> Answer<View> {
        let admitted = self.admit(key).await?;
        self.operate_admitted(by, &admitted, operation, reason, later).await?;
        Ok(admitted.hold.live().view())
    }

    /// Deletes this project, but no later one of the same id.
    pub(crate) async fn delete_made(
        &self,
        by: &Principal,
        key: &ProjectKey,
        uid: &ProjectUid,
        why: &str,
    ) -> Answer<()> {
        let admitted = self.admit(key).await?;
        if admitted.entry.live.row().uid != *uid {
            return Ok(());
        }
        let delete = Operation::Delete { keep_files: false };
        self.operate_admitted(by, &admitted, delete, why.into(), false).await
    }

    async fn operate_admitted(
        &self,
        by: &Principal,
        admitted: &Admitted,
        operation: Operation,
        reason: Box<str>,
        later: bool,
    ) -> Answer<()> {
        let (limit, by) = (self.settings().operation_timeout, by.clone());
        ask(&admitted.entry.actor, limit, |reply| {
            let asked = Asked { operation, by, reason, later, reply };
            ProjectMsg::Container(ContainerMsg::Operate(asked))
        })
        .await?
    }

    /// Changes settings.
    ///
    /// # Errors
    ///
    /// [`Refusal::Invalid`], and faults of the store.
    pub async fn patch(&self, key: &ProjectKey, patch: PatchRequest) -> Answer<View> {
        let admitted = self.admit(key).await?;
        let limits = check_limits(admitted.hold.live().row().settings.limits.with(patch.limits))?;
        patch.image.as_deref().map_or(Ok(()), check_image)?;
        patch.env.as_ref().map_or(Ok(()), check_env)?;
        patch.labels.as_ref().map_or(Ok(()), check_labels)?;
        let patch = ProjectPatch {
            image: patch.image,
            env: patch.env,
            labels: patch.labels,
            limits: Some(limits),
            idle_timeout: patch.idle_timeout,
            max_lifetime: patch.max_lifetime,
            at: self.context().clock.now(),
        };
        self.ask_project(&admitted, |reply| {
            ProjectMsg::Container(ContainerMsg::Patch(Box::new(patch), reply))
        })
        .await?;
        Ok(admitted.hold.live().view())
    }

    /// The running sandbox of a project: commands, connections, usage. While the
    /// handle lives, the project counts as active.
    ///
    /// # Errors
    ///
    /// [`Refusal::WrongPhase`] when it does not run.
    pub async fn sandbox(&self, key: &ProjectKey) -> Answer<Sandbox> {
        let admitted = self.admit(key).await?;
        let busy = Busy::new(admitted.hold.live());
        let link = self.lease(&admitted).await?;
        Ok(Sandbox { link, busy: Arc::new(busy) })
    }

    /// The use of a project among all who ask for a turn; waits for it, but not longer
    /// than `wait`.
    ///
    /// # Errors
    ///
    /// [`Refusal::NotFound`], for one that is being deleted as well, and [`Refusal::Busy`].
    pub async fn turn(&self, key: &ProjectKey, wait: Duration) -> Answer<Turn> {
        let (entry, hold) = self.enter(key).await?;
        let turn = entry.live.turns.take(Busy::new(hold.live()), wait).await?;
        // What it was before the wait says little.
        if entry.live.row().target.is_delete() { Err(no_such(key)) } else { Ok(turn) }
    }

    /// Starts the project's process, replacing one that runs with another spec. The
    /// flag is true when it was started, false when one with this spec ran already.
    ///
    /// # Errors
    ///
    /// [`Refusal::WrongPhase`], [`Refusal::Invalid`] when it cannot be started.
    pub async fn put_process(
        &self,
        key: &ProjectKey,
        spec: ProcessSpec,
    ) -> Answer<(ProcessView, bool)> {
        self.run_process(key, spec, Running::Replace).await
    }

    /// Starts the project's process if none runs, whatever its spec.
    ///
    /// # Errors
    ///
    /// As [`Tree::put_process`], and [`Refusal::Exists`] when one runs.
    pub async fn start_process(&self, key: &ProjectKey, spec: ProcessSpec) -> Answer<ProcessView> {
        Ok(self.run_process(key, spec, Running::Keep).await?.0)
    }

    async fn run_process(
        &self,
        key: &ProjectKey,
        spec: ProcessSpec,
        running: Running,
    ) -> Answer<(ProcessView, bool)> {
        let admitted = self.admit(key).await?;
        let spec = Box::new(spec);
        self.lease(&admitted).await?;
        self.ask_project(&admitted, |reply| {
            ProjectMsg::Process(ProcessMsg::Put(spec, running, reply))
        })
        .await
    }

    /// Ends the project's process: TERM, then KILL after its grace period.
    ///
    /// # Errors
    ///
    /// [`Refusal::NotFound`] when there was never one.
    pub async fn stop_process(&self, key: &ProjectKey) -> Answer<ProcessView> {
        let admitted = self.admit(key).await?;
        self.settled(&admitted).await?;
        self.ask_project(&admitted, |reply| ProjectMsg::Process(ProcessMsg::Stop(reply))).await
    }

    /// Sends a signal to the process's group.
    ///
    /// # Errors
    ///
    /// [`Refusal::Conflict`] when it does not run.
    pub async fn signal_process(&self, key: &ProjectKey, signal: i32) -> Answer<()> {
        let admitted = self.admit(key).await?;
        self.settled(&admitted).await?;
        self.ask_project(&admitted, |reply| ProjectMsg::Process(ProcessMsg::Signal(signal, reply)))
            .await
    }

    /// Reads the process's log from a cursor on; `None`: from its oldest record.
    ///
    /// # Errors
    ///
    /// [`Refusal::NotFound`].
    pub async fn logs(&self, key: &ProjectKey, after: Option<Cursor>) -> Answer<LogReader> {
        let (_, hold) = self.enter(key).await?;
        let dir = self.context().sandbox_dir(&hold.live().row().sandbox).log();
        Ok(LogReader::new(dir, after, hold.live().log_grown.subscribe()))
    }

    /// Looks at the terminal, starting its shell if there is none.
    ///
    /// # Errors
    ///
    /// [`Refusal::WrongPhase`], [`Refusal::Busy`] when too many look already.
    pub async fn open_terminal(&self, key: &ProjectKey, request: ViewRequest) -> Answer<Viewer> {
        let admitted = self.admit(key).await?;
        self.lease(&admitted).await?;
        self.ask_project(&admitted, |reply| {
            ProjectMsg::Terminal(TerminalMsg::Open(request.clamped(), reply))
        })
        .await
    }

    /// Ends the terminal's shell.
    ///
    /// # Errors
    ///
    /// Faults of the sandbox.
    pub async fn close_terminal(&self, key: &ProjectKey) -> Answer<()> {
        let admitted = self.admit(key).await?;
        self.settled(&admitted).await?;
        self.ask_project(&admitted, |reply| ProjectMsg::Terminal(TerminalMsg::Close(reply))).await
    }

    /// The files of a project, running or not.
    ///
    /// # Errors
    ///
    /// [`Refusal::NotFound`], and faults of the disk.
    pub async fn files(&self, key: &ProjectKey) -> Answer<Files> {
        let admitted = self.admit(key).await?;
        let live = admitted.hold.live();
        if matches!(live.row().phase, Phase::Deleting | Phase::Deleted) {
            return Err(no_such(key));
        }
        let dir = self.context().sandbox_dir(&live.row().sandbox);
        files::open(dir, Busy::new(live), admitted.entry.actor, admitted.places).await
    }

    /// What happens in a project from now on, or from after an event on.
    ///
    /// # Errors
    ///
    /// [`Refusal::NotFound`].
    pub async fn events(&self, key: &ProjectKey, after: Option<EventId>) -> Answer<EventReader> {
        let (_, hold) = self.enter(key).await?;
        Ok(EventReader::new(Arc::clone(self.context()), hold, after))
    }

    /// Whether engine and store answer, for `/ready`: name, and what is wrong.
    pub async fn readiness(&self) -> Vec<(&'static str, Result<(), Box<str>>)> {
        let engine = self.context().check_engine().await;
        let store = self.context().store.ping().await;
        vec![
            ("engine", engine.map_err(|failure| failure.to_string().into())),
            ("store", store.map_err(|StoreError(why)| why)),
        ]
    }

    /// Asks whether the engine answers.
    ///
    /// # Errors
    ///
    /// [`Fault::EngineAway`].
    pub async fn check_engine(&self) -> Answer<()> {
        self.context().check_engine().await
    }

    /// How many projects have actors.
    #[must_use]
    pub fn live_projects(&self) -> usize {
        self.context().directory.entries().len()
    }

    /// How many started sandboxes wait for a project, by profile. Nothing while the pool
    /// is being restarted.
    pub async fn pooled(&self) -> BTreeMap<ProfileName, usize> {
        match self.context().pool() {
            Some(pool) => pool.ready().await.unwrap_or_default(),
            None => BTreeMap::new(),
        }
    }

    /// Ends all actors, bottom up; sandboxes run on.
    pub async fn shut_down(&self, deadline: Duration) {
        self.context().tasks.close();
        let ended = async {
            if let Some(root) = self.0.root.get() {
                let cell = root.get_cell();
                cell.stop_children_and_wait(None, Some(deadline / 2)).await;
                // It may have ended by itself.
                let _ = root.stop_and_wait(None, Some(deadline / 2)).await;
            }
            self.context().tasks.wait().await;
        };
        if tokio::time::timeout(deadline, ended).await.is_err() {
            tracing::warn!("some work was cut off at the deadline; the next start settles it");
        }
    }

    /// Spawns the project's actors if it has none.
    pub(crate) async fn rouse(&self, key: &ProjectKey) -> Answer<()> {
        self.enter(key).await.map(|_| ())
    }

    /// As [`Tree::rouse`], for a row that was read just now.
    pub(crate) async fn rouse_row(&self, row: Project) -> Answer<()> {
        self.enter_with(&row.key.clone(), Some((row, None))).await.map(|_| ())
    }

    fn check_owner(&self) -> Answer<()> {
        if self.settings().is_owner {
            return Ok(());
        }
        let why = "it belongs to another data directory, so nothing is touched; \
                   start the server with the data directory that the store was made with";
        Err(Fault::StoreAway(why.into()).into())
    }

    async fn stored(&self, key: &ProjectKey) -> Answer<Project> {
        let row = self.context().store.project(key).await.map_err(store_away)?;
        row.ok_or_else(|| no_such(key))
    }

    async fn enter(&self, key: &ProjectKey) -> Answer<(Entry, Hold)> {
        self.enter_with(key, None).await
    }

    /// The project's entry with a hold on it; spawns its actors if need be.
    async fn enter_with(
        &self,
        key: &ProjectKey,
        mut fresh: Option<(Project, Option<OpenHome>)>,
    ) -> Answer<(Entry, Hold)> {
        self.check_owner()?;
        for _ in 0..ENTER_ATTEMPTS {
            if let Some((entry, hold)) = self.context().directory.enter(key) {
                let is_other = |row: &Project| row.uid != entry.live.row().uid;
                if !fresh.as_ref().is_some_and(|(row, _)| is_other(row)) {
                    return Ok((entry, hold));
                }
                // Its id is free again, so it is deleted, and only does not know it yet.
                self.context().directory.remove(key, entry.actor.get_id());
                entry.actor.stop(None);
                continue;
            }
            let place = self.context().directory.place(key);
            let spawned = place.get_or_try_init(|| self.spawn_project(key, fresh.take())).await;
            match spawned {
                Ok(entry) => self.context().directory.filled(entry),
                Err(failure) => {
                    self.context().directory.discard(key, Arc::clone(&place));
                    return Err(failure);
                }
            }
        }
        Err(Fault::Internal("the project's actors come and go; try again".into()).into())
    }

    async fn spawn_project(
        &self,
        key: &ProjectKey,
        fresh: Option<(Project, Option<OpenHome>)>,
    ) -> Answer<Entry> {
        let context = Arc::clone(self.context());
        let (row, home) = match fresh {
            Some(fresh) => fresh,
            None => (self.stored(key).await?, None),
        };
        let limits = LiveLimits {
            events_kept: context.settings.events_kept,
            execs_max: context.settings.execs_max as usize,
            requests_max: context.settings.project_requests_max,
        };
        let live = Live::new(row, limits, Arc::clone(&context.clock));
        let root = context.root().ok_or_else(|| Fault::Internal("the tree is not up".into()))?;
        let (live, key) = (Arc::clone(&live), key.clone());
        let arguments =
            project::Arguments { context, live: Arc::clone(&live), key: key.clone(), home };
        let spawned = Actor::spawn_linked(None, ProjectActor, arguments, root).await;
        let (actor, _) = spawned.map_err(|error| Fault::Internal(error.to_string().into()))?;
        Ok(Entry { key, actor, live })
    }

    fn tenant_place(&self, tenant: &TenantId) -> Answer<OwnedSemaphorePermit> {
        let limit = self.settings().tenant_requests_max;
        let places = match self.0.tenants.get(tenant) {
            Some(places) => Arc::clone(&places),
            None => {
                let fresh = || Arc::new(Semaphore::new(limit));
                Arc::clone(&self.0.tenants.entry(tenant.clone()).or_insert_with(fresh))
            }
        };
        let busy = |_| Refusal::Busy { what: format!("{limit} requests of one tenant").into() };
        Ok(places.try_acquire_owned().map_err(busy)?)
    }

    async fn admit(&self, key: &ProjectKey) -> Answer<Admitted> {
        let tenant_place = self.tenant_place(&key.tenant)?;
        let (entry, hold) = self.enter(key).await?;
        let limit = self.settings().project_requests_max;
        let busy = |_| Refusal::Busy { what: format!("{limit} requests for one project").into() };
        let place = Arc::clone(&entry.live.request_places).try_acquire_owned().map_err(busy)?;
        Ok(Admitted { entry, hold, places: [tenant_place, place] })
    }

    /// The link of a running sandbox; waits while it is being made again after a
    /// restart of the server.
    async fn lease(&self, admitted: &Admitted) -> Answer<Arc<Link>> {
        self.ask_project(admitted, |reply| ProjectMsg::Container(ContainerMsg::Lease(reply))).await
    }

    /// As [`Tree::lease`], but does not mind a sandbox that does not run.
    async fn settled(&self, admitted: &Admitted) -> Answer<()> {
        if admitted.hold.live().row().phase == Phase::Running {
            self.lease(admitted).await?;
        }
        Ok(())
    }

    async fn ask_project<T: Send + 'static>(
        &self,
        admitted: &Admitted,
        message: impl FnOnce(RpcReplyPort<Answer<T>>) -> ProjectMsg,
    ) -> Answer<T> {
        ask(&admitted.entry.actor, self.settings().operation_timeout, message).await?
    }
}

fn no_such(key: &ProjectKey) -> Failure {
    Refusal::not_found(format!("project \"{}\"", key.id)).into()
}

fn taken(row: &Project) -> Refusal {
    if row.target.is_delete() {
        let why = "a project with this id is still being deleted; try again in a moment";
        return Refusal::Conflict { why: why.into() };
    }
    Refusal::Exists { what: format!("project \"{}\"", row.key.id).into() }
}

fn odd_outcome() -> Fault {
    Fault::Internal("the store answered something else".into())
}

fn store_away(StoreError(why): StoreError) -> Fault {
    Fault::StoreAway(why)
}

/// A fresh identity.
pub(crate) fn fresh_uid() -> Answer<ProjectUid> {
    Ok(opaque("")?.parse().map_err(|_| odd_outcome())?)
}

/// A fresh opaque text of 20 characters, or of `prefix` and 19.
pub(crate) fn opaque(prefix: &str) -> Answer<String> {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut bytes = [0_u8; sandtree_model::ids::UID_CHARS];
    let filled = rand::rngs::OsRng.try_fill_bytes(&mut bytes);
    filled.map_err(|error| Fault::Internal(error.to_string().into()))?;
    let letters = bytes.iter().map(|byte| LETTERS[usize::from(byte % 32)] as char);
    Ok(prefix.chars().chain(letters.skip(prefix.len())).collect())
}
