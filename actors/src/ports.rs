//! The only doors out of the tree: the engine that runs containers, the store
//! that keeps rows, and the clock. Adapters live in the server's `engine/` and
//! `store/`; fakes with planned faults live in `crates/testkit`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use sandtree_model::lifecycle::{Move, Phase, Target};
use sandtree_model::profile::{Capability, Network};
use sandtree_model::project::{Container, NewProject, Project, ProjectPatch};
use sandtree_model::{
    InstanceId, Limits, ProcessRecord, ProjectKey, ProjectUid, SandboxUid, TenantId, Transition,
};

use crate::fullness::Fullness;

/// Creates and runs containers. Every call ends within the adapter's own
/// time-outs, and every call may be repeated.
#[async_trait]
pub trait Engine: Send + Sync + 'static {
    /// Makes sure that the image can be used, fetching it where that is possible.
    ///
    /// # Errors
    ///
    /// [`EngineError::Image`] when it cannot be had.
    async fn ensure_image(&self, image: &str) -> Result<(), EngineError>;

    /// Uid and gid of who the image's programs run as, unless they are told otherwise; 0 and 0
    /// for an image that does not say. The image is fetched where that is possible.
    ///
    /// # Errors
    ///
    /// [`EngineError::Image`] when it cannot be had, or names somebody whom it does not know.
    async fn image_user(&self, image: &str) -> Result<(u32, u32), EngineError>;

    /// Creates the container of a sandbox and answers the engine's id. A
    /// container of this sandbox that exists already is answered, not made again.
    ///
    /// # Errors
    ///
    /// See [`EngineError`].
    async fn create(&self, spec: &SandboxSpec) -> Result<Box<str>, EngineError>;

    /// Starts a container; one that runs already is left alone.
    ///
    /// # Errors
    ///
    /// [`EngineError::Gone`] when there is no such container.
    async fn start(&self, container: &str) -> Result<(), EngineError>;

    /// Stops a container: TERM to init, KILL after the grace period. One that is
    /// not running or does not exist is left alone. A paused one is thawed first.
    ///
    /// # Errors
    ///
    /// See [`EngineError`].
    async fn stop(&self, container: &str, grace: Duration) -> Result<(), EngineError>;

    /// Removes a container, running or not; one that does not exist is left alone.
    ///
    /// # Errors
    ///
    /// See [`EngineError`].
    async fn remove(&self, container: &str) -> Result<(), EngineError>;

    /// Freezes a container; one that is frozen already is left alone.
    ///
    /// # Errors
    ///
    /// [`EngineError::Gone`] when it is not running.
    async fn pause(&self, container: &str) -> Result<(), EngineError>;

    /// Thaws a container; one that runs already is left alone.
    ///
    /// # Errors
    ///
    /// [`EngineError::Gone`] when it is not there.
    async fn resume(&self, container: &str) -> Result<(), EngineError>;

    /// The container of a sandbox of this instance, if there is one.
    ///
    /// # Errors
    ///
    /// See [`EngineError`].
    async fn inspect(&self, sandbox: &SandboxUid) -> Result<Option<Seen>, EngineError>;

    /// Every container of this instance, in any state.
    ///
    /// # Errors
    ///
    /// See [`EngineError`].
    async fn list(&self) -> Result<Vec<Seen>, EngineError>;

    /// What a running container uses.
    ///
    /// # Errors
    ///
    /// [`EngineError::Gone`] when it is not there.
    async fn stats(&self, container: &str) -> Result<Usage, EngineError>;

    /// What happens to this instance's containers from now on. The stream ends
    /// when the engine goes away; whoever follows it then connects again and
    /// takes stock with [`Engine::list`].
    ///
    /// # Errors
    ///
    /// See [`EngineError`].
    async fn events(&self) -> Result<BoxStream<'static, Happening>, EngineError>;

    /// Whether the engine answers.
    ///
    /// # Errors
    ///
    /// [`EngineError::Away`] when it does not.
    async fn ping(&self) -> Result<(), EngineError>;

    /// How full what it has bounds for is.
    fn fullness(&self) -> Vec<Fullness> {
        Vec::new()
    }
}

/// Why an engine did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EngineError {
    /// It does not answer, or not in time. Asking again later may help.
    #[error("it does not answer: {0}")]
    Away(Box<str>),
    /// The image cannot be had.
    #[error("the image {image} cannot be had: {why}")]
    Image {
        /// Its name.
        image: Box<str>,
        /// What the engine said, and what to do.
        why: Box<str>,
    },
    /// There is no such container, or it is not in a state in which this works.
    #[error("the container is gone or not running")]
    Gone,
    /// It answered that it cannot.
    #[error("it refused: {0}")]
    Refused(Box<str>),
}

/// Everything an engine needs to create a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxSpec {
    /// Whose container it is; its name and labels carry only this and the instance.
    pub sandbox: SandboxUid,
    /// By the name that the engine knows.
    pub image: Box<str>,
    /// Numeric uid and gid of everything in it.
    pub user: (u32, u32),
    /// Whether the root file system can be written.
    pub read_only_root: bool,
    /// What is added to an empty set.
    pub capabilities: Vec<Capability>,
    /// What it can reach.
    pub network: Network,
    /// OCI runtime; empty means the engine's default.
    pub runtime: Box<str>,
    /// What it may use.
    pub limits: Limits,
    /// The static init on the host, mounted read-only as the entrypoint.
    pub init: PathBuf,
    /// Directory of init's socket on the host, mounted read-only.
    pub home: PathBuf,
    /// The workspace on the host, mounted read-write.
    pub workspace: PathBuf,
    /// The home directory of the user, as the sandbox sees it.
    pub home_dir: Box<str>,
    /// Where it is on the host; absent: it is a temporary file system.
    pub kept_home: Option<PathBuf>,
    /// Read-only files: path in the sandbox to file on the host.
    pub files: BTreeMap<Box<str>, PathBuf>,
}

/// A container as the engine sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Whose it is, from its label.
    pub sandbox: SandboxUid,
    /// The engine's id.
    pub container: Box<str>,
    /// What it does.
    pub state: ContainerState,
    /// The process id of init on the host, while it runs and where the engine knows it.
    pub init_pid: Option<u32>,
}

/// What a container does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContainerState {
    /// Created, stopped or dead.
    NotRunning {
        /// Whether the last run ended because memory ran out.
        out_of_memory: bool,
    },
    /// Its init runs.
    Running,
    /// Its init is frozen.
    Paused,
}

/// Something that happened to a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happening {
    /// Whose container.
    pub sandbox: SandboxUid,
    /// What.
    pub what: WhatHappened,
}

/// What can happen to a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhatHappened {
    /// Its init ended.
    Died,
    /// A process in it was ended because memory ran out.
    OutOfMemory,
    /// It was frozen.
    Paused,
    /// It was thawed.
    Resumed,
    /// It was started.
    Started,
    /// It was removed.
    Removed,
}

/// What a container uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor time so far, in microseconds.
    pub cpu_us: u64,
    /// Memory without caches, in bytes.
    pub memory_bytes: u64,
    /// Processes and threads.
    pub pids: u64,
}

/// Keeps rows. A write that was answered survives SIGKILL and power loss.
///
/// The tree has one writer, the repository, so adapters need no locks against
/// each other; reads may come from anywhere at any time.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Does all writes in one durable transaction. Each has its own outcome: one
    /// that is refused changes nothing and does not disturb the others.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when none of them was done.
    async fn write(&self, batch: &[Write]) -> Result<Vec<Written>, StoreError>;

    /// A project by its address. Deleted projects are not found.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    async fn project(&self, key: &ProjectKey) -> Result<Option<Project>, StoreError>;

    /// A project by its identity. Deleted projects are not found.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    async fn project_by_uid(&self, uid: &ProjectUid) -> Result<Option<Project>, StoreError>;

    /// A tenant's projects in the order of their ids.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    async fn list(&self, tenant: &TenantId, filter: &Filter) -> Result<Vec<Project>, StoreError>;

    /// Projects of all tenants that are not at rest, in an order that stays the
    /// same: what a starting server has to look after. `after` is the last one of
    /// the page before.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    async fn unsettled(
        &self,
        after: Option<&ProjectUid>,
        limit: u32,
    ) -> Result<Vec<Project>, StoreError>;

    /// Projects of one profile, of all tenants, that are at rest: those that have been so
    /// for longest first.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    async fn resting(&self, profile: &str, limit: u32) -> Result<Vec<Project>, StoreError>;

    /// How many projects of one profile are at rest.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    async fn resting_count(&self, profile: &str) -> Result<u64, StoreError>;

    /// Which of these sandboxes belong to a project that is not deleted.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    async fn owned(&self, sandboxes: &[SandboxUid]) -> Result<Vec<SandboxUid>, StoreError>;

    /// The transition log of a project above a generation, oldest first.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    async fn transitions(
        &self,
        uid: &ProjectUid,
        above: u64,
        limit: u32,
    ) -> Result<Vec<Transition>, StoreError>;

    /// The instance that this store belongs to; made at the first call.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    async fn instance(&self, fresh: &InstanceId) -> Result<InstanceId, StoreError>;

    /// Whether the store answers.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    async fn ping(&self) -> Result<(), StoreError>;

    /// How full what it has bounds for is.
    fn fullness(&self) -> Vec<Fullness> {
        Vec::new()
    }
}

/// The store does not answer or cannot write; asking again later may help.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct StoreError(pub Box<str>);

/// Which projects a list shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only ids above this one.
    pub after: Option<Box<str>>,
    /// Only in this phase.
    pub phase: Option<Phase>,
    /// Only with this label.
    pub label: Option<(Box<str>, Box<str>)>,
    /// At most so many; at most 1000.
    pub limit: u32,
}

/// One change to the store.
#[derive(Debug, Clone)]
pub enum Write {
    /// A new project, in phase `creating` and generation 1, with its transition.
    Create(Box<NewProject>),
    /// A transition: allowed only from the generation it names.
    Move(Box<MoveWrite>),
    /// A change of settings; no transition, generation unchanged.
    Patch(ProjectUid, Box<ProjectPatch>),
    /// The process record; no transition, generation unchanged.
    Process(ProjectUid, Option<Box<ProcessRecord>>),
    /// Times of the last activity, in microseconds since 1970.
    Activity(Vec<(ProjectUid, u64)>),
    /// The next uid of the range, for a sandbox that has no project yet. It is not
    /// given again before all the others were.
    ReserveOwner,
}

/// A transition of a project's phase, and what changes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MoveWrite {
    /// Which project.
    pub uid: ProjectUid,
    /// The generation that it has now; it gets the next one.
    pub generation: u64,
    /// The move, as the transition log shows it.
    pub by: Move,
    /// The phase it leads to, by the table of moves.
    pub to: Phase,
    /// Where it was asked to be, if that changes.
    pub target: Option<Target>,
    /// Its container, if that changes: `Some(None)` means there is none any more.
    pub container: Option<Option<Container>>,
    /// Why, in words for people; at most 500 characters.
    pub reason: Box<str>,
    /// Name of the principal who caused it.
    pub principal: Box<str>,
    /// When, in microseconds since 1970.
    pub at: u64,
}

/// The outcome of one [`Write`].
#[derive(Debug, Clone)]
pub enum Written {
    /// Done; this is the row now.
    Row(Box<Project>),
    /// The row that an earlier request with the same idempotency key made.
    Repeated(Box<Project>),
    /// Done; there is no row to show.
    Done,
    /// Done; this uid, and the gid of the same number, is reserved.
    Owner(u32),
    /// Not done: the id is taken by this project.
    Taken(Box<Project>),
    /// Not done: the idempotency key was used for another request.
    KeyReused,
    /// Not done: every owner of the range has a project.
    NoOwnerLeft,
    /// Not done: there is no such project, or it is not at the named generation.
    Stale,
}

/// Tells the time.
pub trait Clock: Send + Sync + 'static {
    /// Microseconds since 1970. Never goes back within one run of the server.
    fn now(&self) -> u64;
}

/// The clock of the machine.
#[derive(Debug, Default)]
pub struct SystemClock {
    latest: std::sync::atomic::AtomicU64,
}

impl Clock for SystemClock {
    fn now(&self) -> u64 {
        use std::sync::atomic::Ordering::Relaxed;
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let now = since.map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(u64::MAX));
        self.latest.fetch_max(now, Relaxed).max(now)
    }
}
