//! What a case plays in: a tree with paused time, and what outlives it.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sandtree_actors::ports::{Clock, EngineError};
use sandtree_actors::{Tree, TreeSettings};
use sandtree_model::{Phase, Project};
use sandtree_testkit::{FakeEngine, FakeInit, FaultPlan, MemoryStore, StorePlan, Trouble};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::acts::perform;
use crate::case::{Act, EngineFault, Round, What};
use crate::ground::settings;
use crate::model::Answered;
use crate::trace::note;

/// When every case begins.
const BEGAN_AT_US: u64 = 1_800_000_000_000_000;
/// In memory, where fsync costs nothing.
const FAST_DIR: &str = "/dev/shm";

/// One thread, and a clock that jumps to the next timer whenever all wait.
pub(crate) fn paused() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let builder = builder.enable_all().start_paused(true).max_blocking_threads(1);
    builder.build().expect("a runtime for the tree")
}

/// The time of a runtime whose clock is paused, from one runtime to the next.
#[derive(Debug)]
pub(crate) struct PausedClock(Mutex<(u64, Instant)>);

impl Default for PausedClock {
    fn default() -> Self {
        Self(Mutex::new((BEGAN_AT_US, Instant::now())))
    }
}

impl PausedClock {
    /// Goes on from a time of another runtime, in this one.
    pub(crate) fn go_on_from(&self, at: u64) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (at, Instant::now());
    }
}

impl Clock for PausedClock {
    fn now(&self) -> u64 {
        let (at, since) = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        at + u64::try_from(since.elapsed().as_micros()).expect("a case is short")
    }
}

/// An act that was begun, and its answer once it is there.
pub(crate) struct Begun {
    pub(crate) act: Act,
    pub(crate) answer: Option<JoinHandle<Answered>>,
    pub(crate) answered: Answered,
}

/// What outlives a tree.
pub(crate) struct World {
    _dir: TempDir,
    pub(crate) engine: FakeEngine,
    pub(crate) store: MemoryStore,
    pub(crate) clock: Arc<PausedClock>,
    pub(crate) settings: TreeSettings,
}

impl World {
    pub(crate) fn new() -> Self {
        let fast = Path::new(FAST_DIR).is_dir().then_some(FAST_DIR.into());
        let dir = tempfile::tempdir_in(fast.unwrap_or_else(std::env::temp_dir));
        let dir = dir.expect("a directory for the case");
        let settings = settings(dir.path());
        Self {
            _dir: dir,
            engine: FakeEngine::new(FaultPlan::none()),
            store: MemoryStore::default(),
            clock: Arc::default(),
            settings,
        }
    }

    pub(crate) async fn spawn(&self) -> Tree {
        let (engine, store) = (Arc::new(self.engine.clone()), Arc::new(self.store.clone()));
        let tree = Tree::spawn(self.settings.clone(), engine, store, self.clock.clone());
        tree.await.expect("a tree that can be spawned")
    }

    /// Begins the acts of a round; ends when the tree is to crash, or when all have begun.
    pub(crate) async fn play(&self, tree: &Tree, round: &Round) -> Vec<Begun> {
        self.plan(round);
        let mut acts: Vec<_> = round.acts.iter().collect();
        acts.sort_by_key(|timed| timed.at_ms);
        let began = Instant::now();
        let ends = round.crash_after_ms.map(|ms| began + Duration::from_millis(ms.into()));
        let mut begun = Vec::new();
        for timed in acts {
            let at = began + Duration::from_millis(timed.at_ms.into());
            if ends.is_some_and(|ends| ends < at) {
                break;
            }
            tokio::time::sleep_until(at).await;
            let answer = self.begin(tree, timed.act, begun.len());
            begun.push(Begun { act: timed.act, answer, answered: Answered::Not });
        }
        if let Some(ends) = ends {
            tokio::time::sleep_until(ends).await;
            note("crash".into());
            // Whoever has no answer by now gets none.
            begun.iter_mut().for_each(|act| drop(act.answer.take_if(|it| !it.is_finished())));
        }
        begun
    }

    pub(crate) fn end_faults(&self) {
        self.engine.come_back();
        self.engine.plan(FaultPlan::none());
        self.store.plan(StorePlan::none());
    }

    fn plan(&self, round: &Round) {
        let plan = round.engine.iter().fold(FaultPlan::none(), |plan, fault| {
            let EngineFault { op, nth, when, what } = *fault;
            let nth = u32::try_from(self.engine.count(op)).expect("few calls") + nth;
            plan.at(op, nth, when, trouble(what))
        });
        self.engine.plan(plan);
        let plan = round
            .store
            .iter()
            .fold(StorePlan::none(), |plan, (nth, when, fault)| plan.nth(*nth, *when, *fault));
        self.store.plan(plan);
    }

    /// Begins one act; nobody waits for what is done behind the tree's back.
    fn begin(&self, tree: &Tree, act: Act, nth: usize) -> Option<JoinHandle<Answered>> {
        match act {
            Act::Create { .. }
            | Act::Operate(_)
            | Act::PutProcess(_)
            | Act::StopProcess
            | Act::Exec(_)
            | Act::Type(_)
            | Act::Write(_) => return Some(tokio::spawn(perform(tree.clone(), act, nth))),
            Act::Behind(what) => {
                if let Some(row) = self.row() {
                    note(format!("{act:?}"));
                    self.engine.behind(&row.sandbox, what);
                }
            }
            Act::CutInit => self.engine.inits().iter().for_each(FakeInit::disconnect),
            Act::EngineAway { for_ms } => {
                self.engine.go_away();
                let engine = self.engine.clone();
                return Some(tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(for_ms.into())).await;
                    engine.come_back();
                    Answered::Well
                }));
            }
        }
        None
    }

    /// The row of the project, if there is one.
    pub(crate) fn row(&self) -> Option<Project> {
        self.store.rows().into_iter().find(|row| row.phase != Phase::Deleted)
    }
}

fn trouble(what: What) -> Trouble {
    match what {
        What::Away => Trouble::Fail(EngineError::Away("planned".into())),
        What::Slow(ms) => Trouble::Delay(Duration::from_millis(ms.into())),
        What::Refuses => Trouble::Fail(EngineError::Refused("planned".into())),
        What::Panics => Trouble::Panic,
    }
}
