//! Runs a case on a real tree.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sandtree_actors::ports::{ContainerState, EngineError};
use sandtree_actors::{CreateRequest, Operation, Tree, TreeSettings};
use sandtree_model::durations::{Span, Timeout};
use sandtree_model::process::WhenFull;
use sandtree_model::profile::User;
use sandtree_model::{
    Failure, Limits, Network, Phase, Principal, ProcessSpec, Profile, Project, ProjectKey, Refusal,
    RestartPolicy, Target,
};
use sandtree_testkit::{FakeEngine, FaultPlan, MemoryStore, StorePlan, TestClock, Trouble};
use sandtree_wire::Job;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use crate::case::{Act, Case, EngineFault, Round, What};
use crate::model::{Answered, At, allowed};

/// Longer than all pauses between attempts together; paused time makes it short.
const REST_WITHIN: Duration = Duration::from_secs(600);
/// How often it is looked whether all has come to rest.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// In memory, where fsync costs nothing.
const FAST_DIR: &str = "/dev/shm";

type Outcome<T> = Result<T, String>;

thread_local! {
    static LOG: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// What happened in the last case on this thread.
pub(crate) fn log() -> String {
    LOG.with_borrow(|lines| lines.join("\n"))
}

fn note(line: String) {
    LOG.with_borrow_mut(|lines| lines.push(line));
}

/// Runs a case; what was wrong.
pub(crate) fn run(case: &Case) -> Outcome<()> {
    LOG.with_borrow_mut(Vec::clear);
    let mut runtime = paused();
    let world = runtime.block_on(async { World::new() });
    let mut tree = runtime.block_on(world.spawn());
    let mut at: At = None;
    for round in &case.rounds {
        let mut acts = runtime.block_on(world.play(&tree, round));
        if round.crash_after_ms.is_some() {
            drop(tree);
            // All its tasks are gone with their runtime, at whatever they waited for.
            drop(runtime);
            runtime = paused();
            world.engine.move_to(runtime.handle());
            world.end_faults();
            tree = runtime.block_on(world.spawn());
        } else {
            runtime.block_on(answers(&mut acts))?;
            world.end_faults();
        }
        at = runtime.block_on(world.comes_to_rest(&tree, at, round, &acts))?;
    }
    Ok(())
}

/// One thread, and a clock that jumps to the next timer whenever all wait.
fn paused() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let builder = builder.enable_all().start_paused(true).max_blocking_threads(1);
    builder.build().expect("a runtime for the tree")
}

/// An act that was begun, and its answer once it is there.
struct Begun {
    act: Act,
    answer: Option<JoinHandle<Answered>>,
    answered: Answered,
}

struct World {
    _dir: TempDir,
    engine: FakeEngine,
    store: MemoryStore,
    clock: TestClock,
    settings: TreeSettings,
}

impl World {
    fn new() -> Self {
        let fast = Path::new(FAST_DIR).is_dir().then_some(FAST_DIR.into());
        let dir = tempfile::tempdir_in(fast.unwrap_or_else(std::env::temp_dir));
        let dir = dir.expect("a directory for the case");
        let meta = dir.path().metadata().expect("a directory just made");
        let profile = profile(User::Fixed { uid: meta.uid(), gid: meta.gid() });
        let settings = TreeSettings::with_defaults(
            "instance000000000000".parse().expect("a valid id"),
            dir.path().to_owned(),
            dir.path().join("init"),
            BTreeMap::from([("default".into(), profile)]),
        );
        Self {
            _dir: dir,
            engine: FakeEngine::new(FaultPlan::none()),
            store: MemoryStore::default(),
            clock: TestClock::default(),
            settings,
        }
    }

    async fn spawn(&self) -> Tree {
        let (engine, store) = (Arc::new(self.engine.clone()), Arc::new(self.store.clone()));
        let tree = Tree::spawn(self.settings.clone(), engine, store, Arc::new(self.clock.clone()));
        tree.await.expect("a tree that can be spawned")
    }

    /// Begins the acts of a round; ends when the tree is to crash, or when all have begun.
    async fn play(&self, tree: &Tree, round: &Round) -> Vec<Begun> {
        self.plan(round);
        let mut acts: Vec<_> = round.acts.iter().collect();
        acts.sort_by_key(|timed| timed.at_ms);
        let began = tokio::time::Instant::now();
        let ends = round.crash_after_ms.map(|ms| began + Duration::from_millis(ms.into()));
        let mut begun = Vec::new();
        for timed in acts {
            let at = began + Duration::from_millis(timed.at_ms.into());
            if ends.is_some_and(|ends| ends < at) {
                break;
            }
            tokio::time::sleep_until(at).await;
            let answer = self.begin(tree, timed.act);
            begun.push(Begun { act: timed.act, answer, answered: Answered::Not });
        }
        if let Some(ends) = ends {
            tokio::time::sleep_until(ends).await;
            note("crash".into());
            for act in &mut begun {
                if let Some(answer) = act.answer.take_if(|answer| answer.is_finished()) {
                    act.answered = answer.await.unwrap_or(Answered::Badly);
                }
            }
        }
        begun
    }

    fn end_faults(&self) {
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

    fn begin(&self, tree: &Tree, act: Act) -> Option<JoinHandle<Answered>> {
        let tree = tree.clone();
        match act {
            Act::Create { start } => Some(tokio::spawn(async move {
                let id = Some(key().id);
                let request = CreateRequest { id, start, ..CreateRequest::default() };
                answered(&format!("{act:?}"), tree.create(&tester(), request).await)
            })),
            Act::Operate(operation) => Some(tokio::spawn(async move {
                let outcome = tree.operate(&tester(), &key(), operation).await;
                let is_gone = matches!(&outcome, Err(Failure::Refused(Refusal::NotFound { .. })));
                let answered = answered(&format!("{act:?}"), outcome);
                // What is gone is deleted, whoever did it.
                let is_delete = matches!(operation, Operation::Delete { .. });
                if is_delete && is_gone { Answered::Badly } else { answered }
            })),
            Act::PutProcess(which) => Some(tokio::spawn(async move {
                answered(&format!("{act:?}"), tree.put_process(&key(), process(which)).await)
            })),
            Act::StopProcess => Some(tokio::spawn(async move {
                answered(&format!("{act:?}"), tree.stop_process(&key()).await)
            })),
            Act::Behind(what) => {
                if let Some(row) = self.row() {
                    note(format!("{act:?}"));
                    self.engine.behind(&row.sandbox, what);
                }
                None
            }
            Act::CutInit => {
                self.engine.inits().iter().for_each(sandtree_testkit::FakeInit::disconnect);
                None
            }
            Act::EngineAway { for_ms } => {
                self.engine.go_away();
                let engine = self.engine.clone();
                Some(tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(for_ms.into())).await;
                    engine.come_back();
                    Answered::Well
                }))
            }
        }
    }

    /// Waits until nothing moves any more; where the project is then.
    async fn comes_to_rest(
        &self,
        tree: &Tree,
        from: At,
        round: &Round,
        acts: &[Begun],
    ) -> Outcome<At> {
        let known: Vec<_> = acts.iter().map(|begun| (begun.act, begun.answered)).collect();
        let refuses = |fault: &EngineFault| matches!(fault.what, What::Refuses | What::Panics);
        let may_fail = round.engine.iter().any(refuses);
        let allowed = allowed(from, &known, may_fail, round.crash_after_ms.is_some());
        let ends = tokio::time::Instant::now() + REST_WITHIN;
        loop {
            let wrong = match self.is_at_rest(tree, &allowed, may_fail).await {
                Ok(at) => {
                    note(format!("at rest: {at:?}"));
                    return self.is_acknowledged(&known).map(|()| at);
                }
                Err(wrong) => wrong,
            };
            if tokio::time::Instant::now() >= ends {
                return Err(format!("{wrong}\nbefore: {from:?}\nknown: {known:?}"));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// The row of the project, if there is one.
    fn row(&self) -> Option<Project> {
        self.store.rows().into_iter().find(|row| row.phase != Phase::Deleted)
    }

    /// Where the project is, if that is where it may be and all else agrees with it.
    async fn is_at_rest(&self, tree: &Tree, allowed: &BTreeSet<At>, may_fail: bool) -> Outcome<At> {
        self.store.assert_sound();
        let row = self.row();
        let at = row.as_ref().map(|row| row.phase);
        if !allowed.contains(&at) {
            return Err(format!("it is {at:?}, and may be {allowed:?}"));
        }
        let containers = self.engine.containers();
        let Some(row) = row else {
            let dirs = std::fs::read_dir(self.settings.data_dir.join("sandboxes"));
            let dirs = dirs.map_or(0, Iterator::count);
            return if containers.is_empty() && dirs == 0 {
                Ok(None)
            } else {
                Err(format!("it is gone, and {dirs} directories and {containers:?} are left"))
            };
        };
        let states: Vec<_> = containers.iter().map(|seen| seen.state).collect();
        let agrees = match (row.phase, row.target) {
            (Phase::Running, Target::Running) => states == [ContainerState::Running],
            (Phase::Paused, Target::Paused) => states == [ContainerState::Paused],
            (Phase::Stopped, Target::Stopped) | (Phase::Failed, _) => {
                let stopped = |it| matches!(it, &ContainerState::NotRunning { .. });
                // An engine that refuses to stop it cannot be made to.
                let is_refused = may_fail && row.phase == Phase::Failed;
                states.len() <= 1 && (states.iter().all(stopped) || is_refused)
            }
            _ => false,
        };
        if !agrees {
            return Err(format!("it is {}, to be {:?}, with {states:?}", row.phase, row.target));
        }
        if row.phase == Phase::Running {
            let leased = tree.sandbox(&key()).await.map(drop);
            leased.map_err(|failure| format!("it runs and cannot be used: {failure}"))?;
            self.has_its_process(&row)?;
        }
        let shown = tree.get(&key()).await.map_err(|failure| failure.to_string())?;
        let (stored, shown) = ((row.phase, row.generation), &shown.project);
        if stored == (shown.phase, shown.generation) {
            Ok(at)
        } else {
            Err(format!("{stored:?} is stored, {} {} shown", shown.phase, shown.generation))
        }
    }

    /// That what runs in the sandbox is what the row says, once.
    fn has_its_process(&self, row: &Project) -> Outcome<()> {
        let jobs = self.engine.init(&row.sandbox).jobs();
        let running = jobs.iter().filter(|job| job.job == Job::Process && job.ended.is_none());
        let running: Vec<_> = running.map(|job| job.epoch).collect();
        let wanted = row.process.as_ref().filter(|record| record.wanted);
        let wanted: Vec<_> = wanted.map(|record| record.epoch).into_iter().collect();
        if running == wanted {
            Ok(())
        } else {
            Err(format!("processes {running:?} run, and {wanted:?} are wanted"))
        }
    }

    /// That an acknowledged process is the one on record, if no other act concerns it.
    fn is_acknowledged(&self, known: &[(Act, Answered)]) -> Outcome<()> {
        let concerns = |(act, _): &&(Act, Answered)| {
            let is_delete = matches!(act, Act::Operate(Operation::Delete { .. }));
            is_delete || matches!(act, Act::PutProcess(_) | Act::StopProcess | Act::Create { .. })
        };
        let concerning: Vec<_> = known.iter().filter(concerns).collect();
        let [(Act::PutProcess(which), Answered::Well)] = concerning.as_slice() else {
            return Ok(());
        };
        let record = self.row().and_then(|row| row.process);
        match record {
            Some(record) if record.wanted && record.spec == process(*which) => Ok(()),
            other => Err(format!("process {which} was acknowledged, {other:?} is on record")),
        }
    }
}

async fn answers(acts: &mut [Begun]) -> Outcome<()> {
    for begun in acts {
        let Some(answer) = begun.answer.take() else { continue };
        let answered = tokio::time::timeout(REST_WITHIN, answer).await;
        let answered = answered.map_err(|_| format!("{:?} is not answered", begun.act))?;
        begun.answered = answered.map_err(|error| format!("{:?}: {error}", begun.act))?;
    }
    Ok(())
}

fn answered<T>(what: &str, outcome: Result<T, Failure>) -> Answered {
    match outcome {
        Ok(_) => {
            note(format!("{what}: done"));
            Answered::Well
        }
        Err(failure) => {
            note(format!("{what}: {failure}"));
            Answered::Badly
        }
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

fn key() -> ProjectKey {
    ProjectKey {
        tenant: "default".parse().expect("a valid tenant"),
        id: "demo".parse().expect("a valid id"),
    }
}

fn tester() -> Principal {
    Principal::of_default_tenant("tester")
}

fn process(which: u8) -> ProcessSpec {
    ProcessSpec {
        argv: vec!["serve".into(), which.to_string().into()],
        cwd: None,
        env: BTreeMap::new(),
        restart: RestartPolicy::OnFailure,
        stop_grace: Span::from_secs(1),
        when_full: WhenFull::Gap,
    }
}

fn profile(user: User) -> Profile {
    const MIB: u64 = 1024 * 1024;
    Profile {
        image: "image".into(),
        user,
        read_only_root: true,
        capabilities: Vec::new(),
        network: Network::None,
        runtime: "".into(),
        limits: Limits { memory_bytes: 64 * MIB, cpu_millis: 1000, pids: 64, tmp_bytes: 16 * MIB },
        env: BTreeMap::new(),
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
