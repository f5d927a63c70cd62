//! An engine whose containers are data, each with a [`FakeInit`] in it.

pub(crate) mod plan;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use sandtree_actors::ports::{
    ContainerState, Engine, EngineError, Happening, SandboxSpec, Seen, Usage, WhatHappened,
};
use sandtree_model::SandboxUid;
use tokio::runtime::Handle;
use tokio::sync::{broadcast, watch};

use crate::init::FakeInit;
use crate::wait::{LONG, within};
use plan::{FaultPlan, Mischief, Op, Trouble, When};

/// Happenings that a follower may be behind.
const HAPPENINGS_WAITING_MAX: usize = 1024;

/// A handle on the engine; clones share its state, which outlives every tree. The
/// inits run on the runtime that made the engine, not on the one that calls it.
#[derive(Clone)]
pub struct FakeEngine {
    shared: Arc<Shared>,
}

struct Shared {
    runtime: Mutex<Handle>,
    state: Mutex<State>,
    /// Rises with every change that somebody may wait for.
    changed: watch::Sender<u64>,
    /// Calls that hang end when this rises.
    released: watch::Sender<u64>,
}

struct State {
    plan: FaultPlan,
    calls: Vec<Call>,
    hanging: u32,
    is_away: bool,
    containers: BTreeMap<Box<str>, FakeContainer>,
    made: u32,
    starts: u32,
    happenings: broadcast::Sender<Happening>,
}

struct FakeContainer {
    spec: SandboxSpec,
    /// Whether it carries the label of the instance that uses this engine.
    is_own: bool,
    state: ContainerState,
    init: Option<FakeInit>,
}

/// A call that was made, whatever became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// What was asked.
    pub op: Op,
    /// Of which sandbox, container or image; empty for the engine as a whole.
    pub subject: Box<str>,
}

impl FakeEngine {
    /// An engine without containers, in which `plan` goes wrong. Has to be called
    /// inside a runtime, which runs the inits.
    #[must_use]
    pub fn new(plan: FaultPlan) -> Self {
        let state = State {
            plan,
            calls: Vec::new(),
            hanging: 0,
            is_away: false,
            containers: BTreeMap::new(),
            made: 0,
            starts: 0,
            happenings: broadcast::Sender::new(HAPPENINGS_WAITING_MAX),
        };
        let shared = Shared {
            runtime: Mutex::new(Handle::current()),
            state: Mutex::new(state),
            changed: watch::Sender::new(0),
            released: watch::Sender::new(0),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Replaces the plan; counting goes on.
    pub fn plan(&self, plan: FaultPlan) {
        self.lock().plan = plan;
    }

    /// Goes on in another runtime, when the one that made it is gone: inits live on,
    /// without their connections.
    pub fn move_to(&self, runtime: &Handle) {
        *self.shared.runtime.lock().unwrap_or_else(PoisonError::into_inner) = runtime.clone();
        let mut state = self.lock();
        state.hanging = 0;
        for found in state.containers.values_mut() {
            found.init = found.init.take().map(|init| init.move_to(runtime));
        }
    }

    /// From now on it does not answer, and its event streams end.
    pub fn go_away(&self) {
        let mut state = self.lock();
        state.is_away = true;
        state.happenings = broadcast::Sender::new(HAPPENINGS_WAITING_MAX);
    }

    /// It answers again.
    pub fn come_back(&self) {
        self.lock().is_away = false;
    }

    /// Lets all calls go on that hang.
    pub fn release(&self) {
        self.shared.released.send_modify(|count| *count += 1);
    }

    /// Lays hands on a sandbox's container.
    pub fn behind(&self, sandbox: &SandboxUid, what: Mischief) {
        self.mischief(sandbox.as_str(), what);
    }

    fn mischief(&self, subject: &str, what: Mischief) {
        let mut state = self.lock();
        // `create` names a sandbox, all other calls a container.
        let id = match subject.parse().ok().and_then(|sandbox| state.id_of(&sandbox)) {
            Some(id) => id,
            None => subject.into(),
        };
        state.mischief(&id, what);
        drop(state);
        self.note();
    }

    /// Adds a stopped container that no row knows: of the instance that uses this
    /// engine, or of another one.
    pub fn plant(&self, spec: SandboxSpec, is_own: bool) -> Box<str> {
        let mut state = self.lock();
        state.made += 1;
        let id: Box<str> = format!("planted-{}", state.made).into();
        let state_of = ContainerState::NotRunning { out_of_memory: false };
        let planted = FakeContainer { spec, is_own, state: state_of, init: None };
        state.containers.insert(id.clone(), planted);
        id
    }

    /// Whether there is such a container, by the engine's id.
    #[must_use]
    pub fn has(&self, container: &str) -> bool {
        self.lock().containers.contains_key(container)
    }

    /// The containers of the instance that uses this engine, in any state.
    #[must_use]
    pub fn containers(&self) -> Vec<Seen> {
        self.lock().seen()
    }

    /// What a sandbox's container does, if there is one.
    #[must_use]
    pub fn state_of(&self, sandbox: &SandboxUid) -> Option<ContainerState> {
        let state = self.lock();
        state.id_of(sandbox).and_then(|id| state.containers.get(&id).map(|found| found.state))
    }

    /// The init that runs in a sandbox.
    #[must_use]
    pub fn init(&self, sandbox: &SandboxUid) -> FakeInit {
        let state = self.lock();
        let id = state.id_of(sandbox).expect("a sandbox with a container");
        state.containers[&id].init.clone().expect("a container that runs")
    }

    /// All inits that run.
    #[must_use]
    pub fn inits(&self) -> Vec<FakeInit> {
        self.lock().containers.values().filter_map(|found| found.init.clone()).collect()
    }

    /// Every call so far.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.lock().calls.clone()
    }

    /// How often an operation was asked so far, whatever became of it.
    #[must_use]
    pub fn count(&self, op: Op) -> usize {
        self.lock().count(op)
    }

    /// Waits until an operation was asked `nth` times.
    pub async fn reached(&self, op: Op, nth: usize) {
        self.until(&format!("call {nth} of {op:?}"), |state| state.count(op) >= nth).await;
    }

    /// Waits until a call hangs.
    pub async fn hangs(&self) {
        self.until("a call that hangs", |state| state.hanging > 0).await;
    }

    async fn until(&self, what: &str, holds: impl Fn(&State) -> bool) {
        let mut changed = self.shared.changed.subscribe();
        within(LONG, what, async {
            while !holds(&self.lock()) {
                changed.changed().await.expect("this engine lives");
            }
        })
        .await;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self) {
        self.shared.changed.send_modify(|count| *count += 1);
    }

    /// One call: recorded, then done, with what the plan has for it.
    async fn call<T>(
        &self,
        op: Op,
        subject: &str,
        work: impl FnOnce(&mut State) -> Result<T, EngineError> + Send,
    ) -> Result<T, EngineError> {
        let (before, after) = self.lock().begin(op, subject);
        self.note();
        self.suffer(subject, before).await?;
        let done = {
            let mut state = self.lock();
            state.check_away().and_then(|()| work(&mut state))
        };
        self.note();
        self.suffer(subject, after).await?;
        done
    }

    async fn suffer(&self, subject: &str, troubles: Vec<Trouble>) -> Result<(), EngineError> {
        for trouble in troubles {
            match trouble {
                Trouble::Fail(error) => return Err(error),
                Trouble::Delay(by) => tokio::time::sleep(by).await,
                Trouble::Hang => self.hang().await,
                Trouble::Behind(what) => self.mischief(subject, what),
                Trouble::Panic => panic!("planned"),
            }
        }
        Ok(())
    }

    async fn hang(&self) {
        let mut released = self.shared.released.subscribe();
        self.lock().hanging += 1;
        self.note();
        // The sender lives as long as this engine.
        let _ = released.changed().await;
        self.lock().hanging -= 1;
    }
}

impl State {
    fn begin(&mut self, op: Op, subject: &str) -> (Vec<Trouble>, Vec<Trouble>) {
        self.calls.push(Call { op, subject: subject.into() });
        let nth = u32::try_from(self.count(op)).expect("few calls");
        let number = u32::try_from(self.calls.len()).expect("few calls");
        let meets = |when| self.plan.troubles(op, nth, number, when);
        (meets(When::Before), meets(When::After))
    }

    fn check_away(&self) -> Result<(), EngineError> {
        if self.is_away { Err(EngineError::Away("sent away by the test".into())) } else { Ok(()) }
    }

    fn count(&self, op: Op) -> usize {
        self.calls.iter().filter(|call| call.op == op).count()
    }

    fn id_of(&self, sandbox: &SandboxUid) -> Option<Box<str>> {
        let is_it = |found: &FakeContainer| found.is_own && found.spec.sandbox == *sandbox;
        self.containers.iter().find(|(_, found)| is_it(found)).map(|(id, _)| id.clone())
    }

    fn seen(&self) -> Vec<Seen> {
        let own = self.containers.iter().filter(|(_, found)| found.is_own);
        own.map(|(id, found)| found.seen(id)).collect()
    }

    fn find(&mut self, container: &str) -> Result<&mut FakeContainer, EngineError> {
        self.containers.get_mut(container).ok_or(EngineError::Gone)
    }

    fn create(&mut self, spec: &SandboxSpec) -> Box<str> {
        if let Some(id) = self.id_of(&spec.sandbox) {
            return id;
        }
        self.made += 1;
        let id: Box<str> = format!("container-{}", self.made).into();
        let state = ContainerState::NotRunning { out_of_memory: false };
        let made = FakeContainer { spec: spec.clone(), is_own: true, state, init: None };
        self.containers.insert(id.clone(), made);
        id
    }

    fn start(&mut self, container: &str, runtime: &Handle) -> Result<(), EngineError> {
        let trouble = self.plan.init_trouble(self.starts + 1);
        let found = self.find(container)?;
        match found.state {
            ContainerState::Running => return Ok(()),
            ContainerState::Paused => return Err(EngineError::Refused("it is paused".into())),
            ContainerState::NotRunning { .. } => {}
        }
        found.init = Some(FakeInit::spawn(runtime, found.spec.home.clone(), trouble));
        found.state = ContainerState::Running;
        self.starts += 1;
        self.happened(container, WhatHappened::Started);
        Ok(())
    }

    fn pause(&mut self, container: &str) -> Result<(), EngineError> {
        let found = self.find(container)?;
        match found.state {
            ContainerState::Paused => return Ok(()),
            ContainerState::NotRunning { .. } => return Err(EngineError::Gone),
            ContainerState::Running => found.freeze(true),
        }
        self.happened(container, WhatHappened::Paused);
        Ok(())
    }

    fn resume(&mut self, container: &str) -> Result<(), EngineError> {
        let found = self.find(container)?;
        match found.state {
            ContainerState::Running => return Ok(()),
            ContainerState::NotRunning { .. } => return Err(EngineError::Gone),
            ContainerState::Paused => found.freeze(false),
        }
        self.happened(container, WhatHappened::Resumed);
        Ok(())
    }

    fn end(&mut self, container: &str, out_of_memory: bool) {
        let Ok(found) = self.find(container) else { return };
        if matches!(found.state, ContainerState::NotRunning { .. }) {
            return;
        }
        found.state = ContainerState::NotRunning { out_of_memory };
        found.end_init();
        if out_of_memory {
            self.happened(container, WhatHappened::OutOfMemory);
        }
        self.happened(container, WhatHappened::Died);
    }

    fn remove(&mut self, container: &str) {
        self.end(container, false);
        if self.containers.contains_key(container) {
            self.happened(container, WhatHappened::Removed);
            self.containers.remove(container);
        }
    }

    fn mischief(&mut self, container: &str, what: Mischief) {
        // Where there is nothing to lay hands on, nothing happens.
        match what {
            Mischief::Dies => self.end(container, false),
            Mischief::RunsOutOfMemory => self.end(container, true),
            Mischief::IsPaused => drop(self.pause(container)),
            Mischief::IsResumed => drop(self.resume(container)),
            Mischief::IsRemoved => self.remove(container),
        }
    }

    fn happened(&self, container: &str, what: WhatHappened) {
        let Some(found) = self.containers.get(container).filter(|found| found.is_own) else {
            return;
        };
        // Nobody may follow.
        let _ = self.happenings.send(Happening { sandbox: found.spec.sandbox.clone(), what });
    }
}

impl FakeContainer {
    fn seen(&self, id: &str) -> Seen {
        let runs = !matches!(self.state, ContainerState::NotRunning { .. });
        Seen {
            sandbox: self.spec.sandbox.clone(),
            container: id.into(),
            state: self.state,
            // The fake init is a task of this very process.
            init_pid: runs.then(std::process::id),
        }
    }

    fn freeze(&mut self, is_frozen: bool) {
        self.state = if is_frozen { ContainerState::Paused } else { ContainerState::Running };
        if let Some(init) = &self.init {
            init.freeze(is_frozen);
        }
    }

    fn end_init(&mut self) {
        if let Some(init) = self.init.take() {
            init.kill();
        }
    }
}

#[async_trait]
impl Engine for FakeEngine {
    async fn ensure_image(&self, image: &str) -> Result<(), EngineError> {
        self.call(Op::EnsureImage, image, |_| Ok(())).await
    }

    async fn image_user(&self, image: &str) -> Result<(u32, u32), EngineError> {
        self.call(Op::EnsureImage, image, |_| Ok((0, 0))).await
    }

    async fn create(&self, spec: &SandboxSpec) -> Result<Box<str>, EngineError> {
        let subject = spec.sandbox.as_str();
        self.call(Op::Create, subject, |state| Ok(state.create(spec))).await
    }

    async fn start(&self, container: &str) -> Result<(), EngineError> {
        let runtime = self.shared.runtime.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.call(Op::Start, container, |state| state.start(container, &runtime)).await
    }

    async fn stop(&self, container: &str, _grace: Duration) -> Result<(), EngineError> {
        self.call(Op::Stop, container, |state| {
            state.end(container, false);
            Ok(())
        })
        .await
    }

    async fn remove(&self, container: &str) -> Result<(), EngineError> {
        self.call(Op::Remove, container, |state| {
            state.remove(container);
            Ok(())
        })
        .await
    }

    async fn pause(&self, container: &str) -> Result<(), EngineError> {
        self.call(Op::Pause, container, |state| state.pause(container)).await
    }

    async fn resume(&self, container: &str) -> Result<(), EngineError> {
        self.call(Op::Resume, container, |state| state.resume(container)).await
    }

    async fn inspect(&self, sandbox: &SandboxUid) -> Result<Option<Seen>, EngineError> {
        self.call(Op::Inspect, sandbox.as_str(), |state| {
            let id = state.id_of(sandbox);
            Ok(id.map(|id| state.containers[&id].seen(&id)))
        })
        .await
    }

    async fn list(&self) -> Result<Vec<Seen>, EngineError> {
        self.call(Op::List, "", |state| Ok(state.seen())).await
    }

    async fn stats(&self, container: &str) -> Result<Usage, EngineError> {
        self.call(Op::Stats, container, |state| {
            state.find(container)?;
            Ok(Usage { cpu_us: 1_000, memory_bytes: 1024 * 1024, pids: 1 })
        })
        .await
    }

    async fn events(&self) -> Result<BoxStream<'static, Happening>, EngineError> {
        let happenings =
            self.call(Op::Events, "", |state| Ok(state.happenings.subscribe())).await?;
        let stream = futures_util::stream::unfold(happenings, |mut happenings| async move {
            // A follower that was too slow takes stock, as after any other end.
            happenings.recv().await.ok().map(|happening| (happening, happenings))
        });
        Ok(stream.boxed())
    }

    async fn ping(&self) -> Result<(), EngineError> {
        self.call(Op::Ping, "", |_| Ok(())).await
    }
}
