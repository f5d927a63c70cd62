//! What every actor of one tree shares.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::Duration;

use sandtree_model::profile::User;
use sandtree_model::{Answer, Fault, Profile, Project, Refusal, SandboxUid};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use crate::container::engine_fault;
use crate::directory::Directory;
use crate::engine_places::EnginePlaces;
use crate::fullness::Fullness;
use crate::home::Home;
use crate::layout::SandboxDir;
use crate::live::Live;
use crate::pool::Pool;
use crate::ports::{Clock, Engine, EngineError, Store, Write, Written};
use crate::repository::Repository;
use crate::settings::TreeSettings;

/// Time between TERM and KILL where the profile is not known any more.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// The doors out, the directory, and the bounds that all actors share.
pub(crate) struct Context {
    pub(crate) settings: TreeSettings,
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) directory: Directory,
    /// Places for operations of the engine.
    pub(crate) engine_places: EnginePlaces,
    /// Sandboxes that the pool is making, for who looks how full it is.
    pub(crate) pool_making: AtomicUsize,
    /// Tasks that belong to no single actor; awaited at shutdown.
    pub(crate) tasks: TaskTracker,
    /// Whether the server is ending. Who is sent away by that has not left.
    pub(crate) is_ending: AtomicBool,
    /// Whether the engine answered when it was last asked.
    pub(crate) engine_is_here: watch::Sender<bool>,
    repository: std::sync::Mutex<Option<Repository>>,
    pool: std::sync::Mutex<Option<Pool>>,
    root: OnceLock<ractor::ActorCell>,
    /// Tells this life of the server from every other one.
    pub(crate) life: Box<str>,
}

impl Context {
    pub(crate) fn new(
        settings: TreeSettings,
        engine: Arc<dyn Engine>,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        Arc::new(Self {
            engine_places: EnginePlaces::new(settings.engine_operations_max),
            pool_making: AtomicUsize::new(0),
            settings,
            engine,
            store,
            clock,
            directory: Directory::default(),
            tasks: TaskTracker::new(),
            is_ending: AtomicBool::new(false),
            engine_is_here: watch::Sender::new(true),
            repository: std::sync::Mutex::new(None),
            pool: std::sync::Mutex::new(None),
            root: OnceLock::new(),
            life: format!("{:016x}", rand::random::<u64>()).into(),
        })
    }

    /// The directory of a sandbox on the host.
    pub(crate) fn sandbox_dir(&self, sandbox: &SandboxUid) -> SandboxDir {
        SandboxDir::new(&self.settings.data_dir, sandbox)
    }

    /// Where the notes of pooled sandboxes are.
    pub(crate) fn pool_dir(&self) -> PathBuf {
        self.settings.data_dir.join("pool")
    }

    /// The note of one pooled sandbox.
    pub(crate) fn pool_note(&self, sandbox: &SandboxUid) -> PathBuf {
        self.pool_dir().join(sandbox.as_str())
    }

    /// A profile by its name.
    ///
    /// # Errors
    ///
    /// When the configuration has it no longer.
    pub(crate) fn profile(&self, name: &str) -> Answer<&Profile> {
        self.settings.profiles.get(name).ok_or_else(|| {
            let problem = "is no profile of this server's configuration";
            Refusal::invalid("profile", problem).into()
        })
    }

    /// Time between TERM and KILL when a project's sandbox stops. A profile that the
    /// configuration has no longer must not keep it running.
    pub(crate) fn stop_grace(&self, row: &Project) -> Duration {
        let profile = self.profile(&row.settings.profile);
        profile.map_or(STOP_GRACE, |profile| profile.stop_grace.0)
    }

    /// The owner of a profile's workspaces, with this image; `None` for one of the store's
    /// choice. Only root can give files away: without it, sandboxes run as the server.
    ///
    /// # Errors
    ///
    /// Faults of the engine, when it has to be asked for the image's user.
    pub(crate) async fn owner_of(
        &self,
        profile: &Profile,
        image: &str,
    ) -> Answer<Option<(u32, u32)>> {
        if !rustix::process::geteuid().is_root() {
            let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
            return Ok(Some((uid.as_raw(), gid.as_raw())));
        }
        match profile.user {
            User::Own => Ok(None),
            User::Fixed { uid, gid } => Ok(Some((uid, gid))),
            User::Image => {
                let user = self.engine.image_user(image).await;
                self.note_engine(&user);
                Ok(Some(user.map_err(engine_fault)?))
            }
        }
    }

    /// Asks the engine whether it is there.
    ///
    /// # Errors
    ///
    /// [`Fault::EngineAway`] when it is not.
    pub(crate) async fn check_engine(&self) -> Answer<()> {
        let answered = self.engine.ping().await;
        self.note_engine(&answered);
        answered.map_err(|error| Fault::EngineAway(error.to_string().into()).into())
    }

    /// Remembers whether the engine answered.
    pub(crate) fn note_engine<T>(&self, outcome: &Result<T, EngineError>) {
        let is_here = !matches!(outcome, Err(EngineError::Away(_)));
        self.engine_is_here.send_if_modified(|before| {
            let changed = *before != is_here;
            *before = is_here;
            changed
        });
    }

    /// One operation of the engine, when there is a place for it.
    pub(crate) async fn on_engine<T>(
        &self,
        operation: impl Future<Output = Result<T, EngineError>>,
    ) -> Result<T, EngineError> {
        let _place = self.engine_places.take().await;
        let outcome = operation.await;
        self.note_engine(&outcome);
        outcome
    }

    /// Whether it was init that has dialled home. Under another runtime than the
    /// engine's own, the kernel shows a process of that runtime instead.
    pub(crate) fn check_identity(
        &self,
        profile: &str,
        home: &Home,
        init_pid: Option<u32>,
    ) -> Answer<()> {
        let is_plain = self.profile(profile).is_ok_and(|profile| profile.runtime.is_empty());
        if !is_plain || home.is_dialled_by(init_pid) {
            return Ok(());
        }
        Err(Fault::Sandbox("something else than its init has dialled home".into()).into())
    }

    /// The pool, unless it is being restarted.
    pub(crate) fn pool(&self) -> Option<Pool> {
        self.lock_pool().clone()
    }

    /// Replaces the pool.
    pub(crate) fn set_pool(&self, pool: Pool) {
        *self.lock_pool() = Some(pool);
    }

    fn lock_pool(&self) -> std::sync::MutexGuard<'_, Option<Pool>> {
        self.pool.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Writes through the repository; the row is shown in `live` by the answer.
    pub(crate) async fn write(&self, live: Option<&Arc<Live>>, write: Write) -> Answer<Written> {
        let repository = self.lock_repository().clone();
        match repository {
            Some(repository) => repository.write(live.cloned(), write).await,
            None => Err(Fault::StoreAway("the repository is being restarted".into()).into()),
        }
    }

    /// Waits until every earlier write is decided, whoever asked for it and has given up.
    /// Before that, a row that is read tells nothing about a write that is in doubt.
    ///
    /// # Errors
    ///
    /// [`Fault::StoreAway`] while the store is.
    pub(crate) async fn earlier_writes_decided(&self) -> Answer<()> {
        self.write(None, Write::Activity(Vec::new())).await.map(drop)
    }

    /// How many writes wait; nothing while the repository is being restarted.
    pub(crate) fn writes_waiting(&self) -> Option<Fullness> {
        self.lock_repository().as_ref().map(Repository::fullness)
    }

    /// Replaces the repository that writes go to.
    pub(crate) fn set_repository(&self, repository: Repository) {
        *self.lock_repository() = Some(repository);
    }

    fn lock_repository(&self) -> std::sync::MutexGuard<'_, Option<Repository>> {
        self.repository.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Remembers the supervisor of projects.
    pub(crate) fn set_root(&self, root: ractor::ActorCell) {
        // There is one root in a tree's life.
        let _ = self.root.set(root);
    }

    /// The supervisor of projects.
    pub(crate) fn root(&self) -> Option<ractor::ActorCell> {
        self.root.get().cloned()
    }
}
