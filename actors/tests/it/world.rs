//! A world for trees to live in: what is outside of a tree outlives it.
//!
//! Every tree has a runtime of its own, so that a crash is what a crash is: all
//! its tasks are gone at whatever they waited for.

#[path = "ground.rs"]
mod ground;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sandtree_actors::LogItem;
use sandtree_model::durations::Span;
use sandtree_model::process::WhenFull;
use sandtree_model::{ProcessSpec, Profile, RestartPolicy};
use sandtree_testkit::{FakeEngine, FaultPlan, LONG, MemoryStore, TestClock, within};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

pub(crate) use ground::*;
pub(crate) use sandtree_actors::ports::ContainerState;
pub(crate) use sandtree_actors::{
    CreateRequest, Operation, PatchRequest, Tree, TreeSettings, View,
};
pub(crate) use sandtree_model::{Answer, Failure, Fault, Phase, Refusal, SandboxUid};

/// What outlives every tree.
pub(crate) struct World {
    pub(crate) dir: TempDir,
    pub(crate) engine: FakeEngine,
    pub(crate) store: MemoryStore,
    pub(crate) clock: TestClock,
    pub(crate) settings: TreeSettings,
}

impl World {
    /// A world in which nothing goes wrong.
    pub(crate) fn new() -> Self {
        Self::with(FaultPlan::none())
    }

    /// A world in which the engine has this plan.
    pub(crate) fn with(plan: FaultPlan) -> Self {
        let dir = tempfile::tempdir().expect("a directory for the test");
        let settings = TreeSettings {
            boot_timeout: Duration::from_secs(1),
            janitor_interval: Duration::from_millis(20),
            ..settings(dir.path())
        };
        Self {
            dir,
            engine: FakeEngine::new(plan),
            store: MemoryStore::default(),
            clock: TestClock::default(),
            settings,
        }
    }

    /// Changes the one profile.
    pub(crate) fn profile(mut self, change: impl FnOnce(&mut Profile)) -> Self {
        change(self.settings.profiles.get_mut("default").expect("the default profile"));
        self
    }

    /// Spawns a tree in this world.
    pub(crate) async fn spawn(&self) -> Running {
        self.spawn_on(tokio::runtime::Builder::new_multi_thread().worker_threads(2)).await
    }

    /// Spawns a tree in this world, on a runtime like this.
    pub(crate) async fn spawn_on(&self, runtime: &mut tokio::runtime::Builder) -> Running {
        let runtime = runtime.enable_all().build().expect("a runtime for the tree");
        let (engine, store) = (Arc::new(self.engine.clone()), Arc::new(self.store.clone()));
        let spawning =
            Tree::spawn(self.settings.clone(), engine, store, Arc::new(self.clock.clone()));
        let tree = runtime.spawn(spawning).await.expect("a tree that does not panic");
        Running { tree: tree.expect("a tree that can be spawned"), runtime: Some(runtime) }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let removed = std::fs::remove_dir_all(self.dir.path());
        if !std::thread::panicking() {
            removed.expect("a directory that nobody uses any more");
        }
    }
}

/// One tree, until it crashes or is shut down.
pub(crate) struct Running {
    pub(crate) tree: Tree,
    runtime: Option<Runtime>,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Its last task is over before the world's directory is removed: it would make
            // parts of it again. On another thread, for a runtime must not block in its own.
            let ending = std::thread::spawn(move || runtime.shutdown_timeout(LONG));
            let _ = ending.join();
        }
    }
}

/// A request for a project that is not started.
pub(crate) fn named(id: &str) -> CreateRequest {
    CreateRequest { id: Some(id.parse().expect("a valid id")), ..CreateRequest::default() }
}

/// A process that says nothing by itself.
pub(crate) fn serving() -> ProcessSpec {
    ProcessSpec {
        argv: vec!["serve".into()],
        cwd: None,
        env: BTreeMap::new(),
        restart: RestartPolicy::Never,
        stop_grace: Span::from_secs(1),
        when_full: WhenFull::Gap,
    }
}

impl Running {
    /// Calls the tree on its own runtime.
    pub(crate) async fn call<T, F>(&self, call: impl FnOnce(Tree) -> F) -> T
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let called = self.begin_call(call);
        within(LONG * 2, "the tree to answer", called).await.expect("an answer without a panic")
    }

    /// As [`Running::call`], without waiting.
    pub(crate) fn begin_call<T, F>(&self, call: impl FnOnce(Tree) -> F) -> JoinHandle<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let runtime = self.runtime.as_ref().expect("a tree that runs");
        runtime.spawn(call(self.tree.clone()))
    }

    pub(crate) async fn create(&self, request: CreateRequest) -> Answer<View> {
        self.call(|tree| async move { Ok(tree.create(&tester(), request).await?.0) }).await
    }

    /// A project that is stopped.
    pub(crate) async fn stopped(&self, id: &str) -> View {
        let view = self.create(named(id)).await.expect("a project");
        assert_eq!(view.project.phase, Phase::Stopped);
        view
    }

    /// A project that runs.
    pub(crate) async fn running(&self, id: &str) -> View {
        let view = self.create(CreateRequest { start: true, ..named(id) }).await;
        let view = view.expect("a project that starts");
        assert_eq!(view.project.phase, Phase::Running);
        view
    }

    /// A project that is paused.
    pub(crate) async fn paused(&self, id: &str) -> View {
        self.running(id).await;
        self.operate(id, Operation::Pause).await.expect("a pause")
    }

    pub(crate) async fn operate(&self, id: &str, operation: Operation) -> Answer<View> {
        let operating = self.begin(id, operation);
        within(LONG * 2, "the operation", operating).await.expect("an answer without a panic")
    }

    pub(crate) fn begin(&self, id: &str, operation: Operation) -> JoinHandle<Answer<View>> {
        let key = key(id);
        self.begin_call(|tree| async move { tree.operate(&tester(), &key, operation).await })
    }

    pub(crate) async fn get(&self, id: &str) -> Answer<View> {
        let key = key(id);
        self.call(|tree| async move { tree.get(&key).await }).await
    }

    /// Waits until a project is in a phase.
    pub(crate) async fn wait_for(&self, id: &str, phase: Phase) -> View {
        let key = key(id);
        let waited = self.call(move |tree| async move { tree.wait_for(&key, phase, LONG).await });
        let view = waited.await.expect("a project to wait for");
        assert_eq!(view.project.phase, phase, "{id}: {}", view.project.reason);
        view
    }

    /// The log of a project's process from its beginning, until it is `bytes` long.
    pub(crate) async fn log(&self, id: &str, bytes: usize) -> String {
        let key = key(id);
        let reading = self.call(move |tree| async move {
            let mut reader = tree.logs(&key, None).await?;
            let mut text = Vec::new();
            while text.len() < bytes {
                match reader.next().await? {
                    Some(LogItem::Record(record)) => text.extend_from_slice(&record.bytes),
                    Some(LogItem::Gap { .. } | LogItem::Ended { .. }) => {}
                    None => assert!(reader.more().await, "the log ended early"),
                }
            }
            Answer::Ok(text)
        });
        let text = within(LONG, "the log", reading).await.expect("a log");
        String::from_utf8(text).expect("text")
    }

    /// Waits until a project is gone.
    pub(crate) async fn wait_until_gone(&self, id: &str) {
        let gone =
            async || matches!(self.get(id).await, Err(Failure::Refused(Refusal::NotFound { .. })));
        sandtree_testkit::until(&format!("{id} to be gone"), gone).await;
    }

    /// Everything of this tree is gone, whatever it was doing.
    pub(crate) async fn crash(mut self) {
        let runtime = self.runtime.take().expect("a tree that runs");
        // Not in the background: the next tree comes after the last task of this one.
        let ended = tokio::task::spawn_blocking(move || runtime.shutdown_timeout(LONG));
        ended.await.expect("a runtime that ends");
    }

    /// Ends it as the server does at SIGTERM.
    pub(crate) async fn shut_down(self) {
        self.call(|tree| async move { tree.shut_down(LONG).await }).await;
        self.crash().await;
    }
}

/// That one container is there and runs: what a running project looks like from outside.
pub(crate) fn assert_runs_once(world: &World, sandbox: &SandboxUid) {
    let seen: Vec<_> =
        world.engine.containers().into_iter().filter(|seen| seen.sandbox == *sandbox).collect();
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!(seen[0].state, ContainerState::Running);
}
