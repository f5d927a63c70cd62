//! A tree over a real SQLite file and an engine that is a table, and what outlives it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use sandtree::store::sqlite::{Sqlite, SqliteConfig};
use sandtree_actors::ports::{MoveWrite, Store as _, SystemClock, Write, Written};
use sandtree_actors::{CreateRequest, Tree, TreeSettings};
use sandtree_model::durations::{Span, Timeout};
use sandtree_model::profile::User;
use sandtree_model::project::{NewProject, Settings};
use sandtree_model::{
    Limits, Move, Network, Phase, Principal, Profile, ProjectKey, ProjectUid, Target,
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::engine::TableEngine;

/// Writes in one transaction while rows are laid in.
const BATCH: u64 = 1000;
/// Projects that are made or started at once.
pub(crate) const AT_ONCE: usize = 64;

/// What outlives every tree.
pub(crate) struct World {
    pub(crate) dir: TempDir,
    pub(crate) engine: TableEngine,
    pub(crate) settings: TreeSettings,
}

/// A tree on a runtime of its own: dropped, it is gone as after a crash.
pub(crate) struct Running {
    pub(crate) tree: Tree,
    pub(crate) store: Arc<Sqlite>,
    runtime: Option<Runtime>,
}

impl World {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let instance = "instance000000000000".parse().map_err(|_| anyhow::anyhow!("a bad id"))?;
        let profiles = BTreeMap::from([("default".into(), profile())]);
        let init = dir.path().join("init");
        let settings = TreeSettings {
            engine_operations_max: 1024,
            tenant_requests_max: 100_000,
            passivate_after: Duration::from_secs(1),
            janitor_interval: Duration::from_secs(1),
            boot_timeout: Duration::from_secs(60),
            ..TreeSettings::with_defaults(instance, dir.path().to_owned(), init, profiles)
        };
        Ok(Self { dir, engine: TableEngine::new()?, settings })
    }

    /// Opens the store and spawns a tree.
    pub(crate) async fn spawn(&self) -> anyhow::Result<Running> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let config = SqliteConfig::new(self.dir.path().join("sandtree.db"));
        let (settings, engine) = (self.settings.clone(), Arc::new(self.engine.clone()));
        let spawned = runtime.spawn(async move {
            let store = Arc::new(Sqlite::open(config).await?);
            let clock = Arc::new(SystemClock::default());
            let tree = Tree::spawn(settings, engine, Arc::clone(&store) as _, clock).await?;
            anyhow::Ok((tree, store))
        });
        let (tree, store) = spawned.await??;
        Ok(Running { tree, store, runtime: Some(runtime) })
    }
}

impl Running {
    /// Runs something on the tree's own runtime.
    pub(crate) async fn call<T, F>(&self, call: impl FnOnce(Tree) -> F) -> anyhow::Result<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let runtime = self.runtime.as_ref().context("a tree that runs")?;
        Ok(runtime.spawn(call(self.tree.clone())).await?)
    }

    /// Lays in stopped projects `from..to` without the tree.
    pub(crate) async fn fill(&self, from: u64, to: u64) -> anyhow::Result<()> {
        let mut first = from;
        while first < to {
            let numbers = first..to.min(first + BATCH);
            first = numbers.end;
            let made = numbers.clone().map(|number| Ok(Write::Create(Box::new(row(number)?))));
            self.write(made.collect::<anyhow::Result<Vec<_>>>()?).await?;
            let moved = numbers.map(|number| Ok(Write::Move(Box::new(stopped(number)?))));
            self.write(moved.collect::<anyhow::Result<Vec<_>>>()?).await?;
        }
        Ok(())
    }

    async fn write(&self, batch: Vec<Write>) -> anyhow::Result<()> {
        let written = self.store.write(&batch).await?;
        anyhow::ensure!(
            written.iter().all(|written| matches!(written, Written::Row(_))),
            "a row was not taken"
        );
        Ok(())
    }

    /// Everything of this tree is gone, at whatever it was.
    pub(crate) async fn crash(mut self) -> anyhow::Result<()> {
        let runtime = self.runtime.take().context("a tree that runs")?;
        drop(self);
        let wait = Duration::from_secs(60);
        Ok(tokio::task::spawn_blocking(move || runtime.shutdown_timeout(wait)).await?)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Who asks.
pub(crate) fn asker() -> Principal {
    Principal::of_default_tenant("bench")
}

/// The address of the `number`th project.
pub(crate) fn key(number: u64) -> anyhow::Result<ProjectKey> {
    let bad = |_| anyhow::anyhow!("a bad id");
    Ok(ProjectKey {
        tenant: "default".parse().map_err(bad)?,
        id: format!("p-{number:06}").parse().map_err(bad)?,
    })
}

/// A create with a start of the `number`th project.
pub(crate) fn started(number: u64) -> anyhow::Result<CreateRequest> {
    Ok(CreateRequest { id: Some(key(number)?.id), start: true, ..CreateRequest::default() })
}

fn uid(letter: char, number: u64) -> anyhow::Result<ProjectUid> {
    format!("{letter}{number:019}").parse().map_err(|_| anyhow::anyhow!("a bad uid"))
}

fn row(number: u64) -> anyhow::Result<NewProject> {
    let profile = profile();
    Ok(NewProject {
        uid: uid('p', number)?,
        key: key(number)?,
        target: Target::Stopped,
        settings: Settings {
            name: None,
            profile: "default".into(),
            image: profile.image,
            env: profile.env,
            labels: BTreeMap::new(),
            limits: profile.limits,
            network: profile.network,
            idle_timeout: profile.idle_timeout,
            max_lifetime: profile.max_lifetime,
        },
        sandbox: format!("s{number:019}").parse().map_err(|_| anyhow::anyhow!("a bad uid"))?,
        owner: None,
        container: None,
        idempotency: None,
        principal: "bench".into(),
        at: 1_000_000,
    })
}

fn stopped(number: u64) -> anyhow::Result<MoveWrite> {
    Ok(MoveWrite {
        uid: uid('p', number)?,
        generation: 1,
        by: Move::Created,
        to: Phase::Stopped,
        target: None,
        container: None,
        reason: "created".into(),
        principal: "bench".into(),
        at: 1_000_001,
    })
}

fn profile() -> Profile {
    const MIB: u64 = 1024 * 1024;
    Profile {
        image: "image".into(),
        user: User::Own,
        read_only_root: true,
        capabilities: Vec::new(),
        network: Network::None,
        runtime: "".into(),
        limits: Limits { memory_bytes: 64 * MIB, cpu_millis: 1000, pids: 64, tmp_bytes: 16 * MIB },
        env: BTreeMap::from([("PATH".into(), "/usr/bin:/bin".into())]),
        shells: vec!["/bin/sh".into()],
        idle_timeout: Timeout::Never,
        max_lifetime: Timeout::Never,
        stop_grace: Span::from_secs(1),
        restarts_max: 3,
        expiry: sandtree_model::profile::Expiry::Stop,
        stopped_retention: Timeout::Never,
        stopped_max: 0,
    }
}
