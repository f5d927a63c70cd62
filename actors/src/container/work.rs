//! One task of a container actor: commit the intent, then settle.
//!
//! Settling looks at the phase, does what leads out of it, commits, and looks
//! again, until the project is where it was asked to be. Every step may be
//! repeated after a crash at any point in it.

use std::sync::Arc;
use std::time::Duration;

use ractor::ActorRef;
use sandtree_model::project::Container;
use sandtree_model::{Answer, Failure, Fault, Move, Phase, Project, Refusal, Target};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::{ContainerMsg, target_of};
use crate::context::Context;
use crate::crash::{self, Point};
use crate::disk::on_disk;
use crate::home::Home;
use crate::live::Live;
use crate::ports::{ContainerState, EngineError, MoveWrite, Seen, Write, Written};
use crate::tree::Operation;

/// Steps from any phase to any other, with room for a sandbox that is lost on the way.
const STEPS_MAX: usize = 16;
/// Time that init has after a stop's grace period before the engine kills it.
const STOP_MARGIN: Duration = Duration::from_secs(2);
/// Attempts to freeze a sandbox before it counts as failed, and the pause between two.
const PAUSE_ATTEMPTS: u32 = 5;
const PAUSE_AGAIN_AFTER: Duration = Duration::from_millis(200);
/// Containers that ended behind our back are counted within this time.
const RESTARTS_WINDOW: Duration = Duration::from_secs(600);

/// What a task works with.
pub(super) struct Work {
    pub(super) context: Arc<Context>,
    pub(super) live: Arc<Live>,
    pub(super) home: Arc<Home>,
    pub(super) me: ActorRef<ContainerMsg>,
    pub(super) principal: Box<str>,
    /// Why, in words for people; absent: what the row says already.
    pub(super) reason: Option<Box<str>>,
    /// Whether the row has to be read again first.
    pub(super) is_row_in_doubt: bool,
    /// One place: for who tells init what the row says.
    pub(super) telling: Arc<Semaphore>,
    /// Set when what this task works for is not wanted any more.
    pub(super) cancel: CancellationToken,
}

/// What changes with a transition beside the phase.
#[derive(Default)]
pub(super) struct Change {
    pub(super) target: Option<Target>,
    pub(super) container: Option<Option<Container>>,
    pub(super) reason: Option<Box<str>>,
}

/// Whether settling has to go on.
#[must_use]
enum Step {
    /// The phase has changed, or what is below it.
    Moved,
    /// The project is where it was asked to be, or cannot get there.
    AtEnd,
}

impl Work {
    /// Does an operation, or only settles.
    pub(super) async fn run(&self, operation: Option<Operation>) -> Answer<()> {
        if self.is_row_in_doubt {
            self.context.earlier_writes_decided().await?;
            self.reread(&self.row()).await?;
        }
        if self.row().phase == Phase::Deleted {
            let is_delete = operation.is_none_or(|it| matches!(it, Operation::Delete { .. }));
            let gone = || Err(Refusal::not_found("the project").into());
            return if is_delete { Ok(()) } else { gone() };
        }
        let is_discard = operation == Some(Operation::Discard);
        if is_discard && self.row().phase.is_at_rest() {
            let _ = self.me.cast(ContainerMsg::IntentCommitted);
            return self.discard(&self.row()).await;
        }
        if let Some(operation) = operation {
            self.intend(operation).await?;
        }
        self.settle().await?;
        if is_discard { self.discard(&self.row()).await } else { Ok(()) }
    }

    /// Removes the container of a project at rest. What a crash leaves half done is no
    /// container that the row still names: the next start makes a new one.
    async fn discard(&self, row: &Project) -> Answer<()> {
        if let Some(seen) = self.inspect(row).await? {
            let removed = self.context.engine.remove(&seen.container);
            self.engine(removed).await.map_err(engine_fault)?;
        }
        let is_so = row.phase == Phase::Stopped && row.target == Target::Stopped;
        if is_so && row.container.is_none() {
            return Ok(());
        }
        let target = Some(Target::Stopped);
        let change = Change { container: Some(None), target, ..Change::default() };
        self.commit(Move::Discarded, change).await
    }

    pub(super) fn row(&self) -> Arc<Project> {
        self.live.row()
    }

    /// Commits where the project is asked to be, before anything is done.
    async fn intend(&self, operation: Operation) -> Answer<()> {
        let phase = self.row().phase;
        let by = match operation {
            // On its way to running it passes by stopped.
            Operation::Restart if !phase.is_at_rest() => Move::StopAsked,
            Operation::Start | Operation::Restart => Move::StartAsked,
            Operation::Stop | Operation::Discard => Move::StopAsked,
            Operation::Pause => Move::PauseAsked,
            Operation::Resume => Move::ResumeAsked,
            Operation::Delete { .. } => Move::DeleteAsked,
        };
        let target = target_of(operation);
        // Racing with itself: it is on its way there, and settling goes on.
        let on_its_way = matches!(
            (operation, phase),
            (Operation::Start, Phase::Starting | Phase::Creating)
                | (Operation::Stop, Phase::Stopping | Phase::Failed)
                | (Operation::Discard, Phase::Stopping)
                | (Operation::Delete { .. }, Phase::Deleting)
        );
        if !on_its_way {
            self.commit(by, Change { target: Some(target), ..Change::default() }).await?;
        }
        let _ = self.me.cast(ContainerMsg::IntentCommitted);
        Ok(())
    }

    /// Goes from phase to phase until the end.
    async fn settle(&self) -> Answer<()> {
        for _ in 0..STEPS_MAX {
            // Only from here can every canceller go on; any other phase is left first.
            if self.cancel.is_cancelled() && self.row().phase == Phase::Starting {
                return Err(self.overtaken());
            }
            match self.step(&self.row()).await {
                Ok(Step::Moved) => {}
                Ok(Step::AtEnd) => return Ok(()),
                Err(failure) => return Err(self.fault(failure).await),
            }
        }
        Err(Fault::Internal("the project does not come to rest".into()).into())
    }

    async fn step(&self, row: &Project) -> Answer<Step> {
        match row.phase {
            Phase::Creating => self.create(row).await,
            // Booted means linked and configured: nothing is left to look at, unless it
            // ended as it was to be paused.
            Phase::Starting if row.target == Target::Paused => {
                self.boot(row).await.map(|()| Step::Moved)
            }
            Phase::Starting => self.boot(row).await.map(|()| Step::AtEnd),
            Phase::Running if row.target == Target::Paused => {
                self.commit(Move::PauseAsked, Change::default()).await?;
                Ok(Step::Moved)
            }
            Phase::Running => self.check_running(row).await,
            Phase::Pausing => self.pause(row).await,
            Phase::Paused => self.check_paused(row).await,
            Phase::Resuming => self.resume(row).await,
            Phase::Stopping => self.stop(row).await,
            Phase::Deleting => self.delete(row).await,
            Phase::Stopped if row.target == Target::Running => {
                self.commit(Move::StartAsked, Change::default()).await?;
                Ok(Step::Moved)
            }
            Phase::Stopped | Phase::Failed | Phase::Deleted => Ok(Step::AtEnd),
        }
    }

    async fn create(&self, row: &Project) -> Answer<Step> {
        let (dir, owner) = (self.context.sandbox_dir(&row.sandbox), row.owner);
        on_disk(move || {
            dir.make()?;
            crate::files::open_workspace(&dir, owner).map(|_| ()).map_err(std::io::Error::other)
        })
        .await?;
        crash::at(Point::WorkspaceMade).await;
        let by = if row.target == Target::Running { Move::StartAsked } else { Move::Created };
        let change = Change { reason: Some("created".into()), ..Change::default() };
        self.commit(by, change).await?;
        Ok(Step::Moved)
    }

    async fn check_running(&self, row: &Project) -> Answer<Step> {
        let seen = self.inspect(row).await?;
        match seen.map(|seen| (seen.state, seen.init_pid)) {
            Some((ContainerState::Running, init_pid)) => match self.wait_for_link(row).await? {
                Some(link) => {
                    self.check_identity(row, init_pid)?;
                    self.bring_up_link(link, false).await?;
                    Ok(Step::AtEnd)
                }
                // It ended, or was frozen, while we waited: the next look tells which.
                None => Ok(Step::Moved),
            },
            Some((ContainerState::Paused, _)) => {
                let change = Change {
                    target: Some(Target::Paused),
                    reason: Some("paused behind our back".into()),
                    ..Change::default()
                };
                self.commit(Move::Paused, change).await?;
                Ok(Step::AtEnd)
            }
            Some((ContainerState::NotRunning { out_of_memory: true }, _)) => {
                self.lost(row, "the sandbox ran out of memory").await
            }
            Some((ContainerState::NotRunning { out_of_memory: false }, _)) => {
                self.lost(row, "the sandbox ended behind our back").await
            }
            None => self.lost(row, "the container was removed behind our back").await,
        }
    }

    /// A sandbox that should run does not: start it again, or give up.
    async fn lost(&self, row: &Project, why: &str) -> Answer<Step> {
        let profile = self.context.profile(&row.settings.profile)?;
        let window = u64::try_from(RESTARTS_WINDOW.as_micros()).unwrap_or(u64::MAX);
        let since = self.context.clock.now().saturating_sub(window);
        let above = row.generation.saturating_sub(64);
        let log = self.context.store.transitions(&row.uid, above, 64).await;
        let log = log.map_err(|error| Fault::StoreAway(error.0))?;
        let recent = log.iter().filter(|past| past.by == Some(Move::Lost) && past.at >= since);
        if recent.count() >= profile.restarts_max as usize {
            let why = format!("{why}, too often within ten minutes");
            return Err(Fault::Sandbox(why.into()).into());
        }
        let change = Change { reason: Some(why.into()), ..Change::default() };
        self.commit(Move::Lost, change).await?;
        Ok(Step::Moved)
    }

    async fn pause(&self, row: &Project) -> Answer<Step> {
        let id = self.container_id(row)?;
        let mut paused = self.engine(self.context.engine.pause(id)).await;
        for _ in 1..PAUSE_ATTEMPTS {
            // A sandbox that starts processes at that moment cannot always be frozen.
            if !matches!(paused, Err(EngineError::Refused(_))) {
                break;
            }
            tokio::time::sleep(PAUSE_AGAIN_AFTER).await;
            paused = self.engine(self.context.engine.pause(id)).await;
        }
        match paused {
            Err(EngineError::Gone) => {
                self.lost(row, "the sandbox ended before it was paused").await
            }
            outcome => {
                outcome.map_err(engine_fault)?;
                crash::at(Point::ContainerPaused).await;
                self.commit(Move::Paused, Change::default()).await?;
                Ok(Step::AtEnd)
            }
        }
    }

    async fn check_paused(&self, row: &Project) -> Answer<Step> {
        match self.inspect(row).await?.map(|seen| seen.state) {
            Some(ContainerState::Paused) => Ok(Step::AtEnd),
            Some(ContainerState::Running) => {
                let change = Change {
                    target: Some(Target::Running),
                    reason: Some("resumed behind our back".into()),
                    ..Change::default()
                };
                self.commit(Move::Resumed, change).await?;
                Ok(Step::Moved)
            }
            Some(ContainerState::NotRunning { .. }) | None => {
                Err(Fault::Sandbox("it ended while it was paused".into()).into())
            }
        }
    }

    async fn resume(&self, row: &Project) -> Answer<Step> {
        match self.engine(self.context.engine.resume(self.container_id(row)?)).await {
            Err(EngineError::Gone) => self.lost(row, "the sandbox ended while it was paused").await,
            outcome => {
                outcome.map_err(engine_fault)?;
                crash::at(Point::ContainerResumed).await;
                self.commit(Move::Resumed, Change::default()).await?;
                Ok(Step::Moved)
            }
        }
    }

    async fn stop(&self, row: &Project) -> Answer<Step> {
        // Init kills when the grace is over, and needs a moment to bury its dead.
        let grace = self.context.stop_grace(row) + STOP_MARGIN;
        if let Some(seen) = self.inspect(row).await? {
            let stopped = self.context.engine.stop(&seen.container, grace);
            self.engine(stopped).await.map_err(engine_fault)?;
        }
        crash::at(Point::ContainerStopped).await;
        self.commit(Move::Stopped, Change::default()).await?;
        Ok(Step::Moved)
    }

    async fn delete(&self, row: &Project) -> Answer<Step> {
        if let Some(seen) = self.inspect(row).await? {
            let removed = self.context.engine.remove(&seen.container);
            self.engine(removed).await.map_err(engine_fault)?;
        }
        crash::at(Point::ContainerRemoved).await;
        let (data_dir, sandbox) = (self.context.settings.data_dir.clone(), row.sandbox.clone());
        let keep_files = row.target == Target::DeletedKeepingFiles;
        on_disk(move || {
            let removed = crate::files::remove_sandbox_dir(&data_dir, &sandbox, keep_files);
            removed.map_err(std::io::Error::other)
        })
        .await?;
        crash::at(Point::FilesRemoved).await;
        let change = Change { container: Some(None), ..Change::default() };
        self.commit(Move::Removed, change).await?;
        Ok(Step::Moved)
    }

    /// Commits a transition; the row that readers see is the new one afterwards.
    pub(super) async fn commit(&self, by: Move, change: Change) -> Answer<()> {
        let row = self.row();
        let to = row.phase.on(by).map_err(|_| Refusal::WrongPhase {
            phase: row.phase,
            advice: "wait until the operation in progress has ended",
        })?;
        let reason = change.reason.or_else(|| self.reason.clone());
        let reason = reason.unwrap_or_else(|| row.reason.clone());
        let write = MoveWrite {
            uid: row.uid.clone(),
            generation: row.generation,
            by,
            to,
            target: change.target,
            container: change.container,
            reason: reason.chars().take(500).collect::<String>().into(),
            principal: self.principal.clone(),
            at: self.context.clock.now(),
        };
        crash::at(Point::BeforeCommit).await;
        let written = self.context.write(Some(&self.live), Write::Move(Box::new(write))).await?;
        if !matches!(written, Written::Row(_)) {
            self.reread(&row).await?;
            if to == Phase::Deleted && self.row().phase == to {
                // An earlier commit of the same, whose answer was lost.
                return Ok(());
            }
            return Err(Fault::Internal("the project was changed elsewhere".into()).into());
        }
        crash::at(Point::AfterCommit).await;
        tracing::info!(project = %row.key, from = %row.phase, %to, %reason, "moved");
        Ok(())
    }

    async fn reread(&self, row: &Project) -> Answer<()> {
        let stored = self.context.store.project_by_uid(&row.uid).await;
        // What is deleted has no row any more.
        let gone =
            || Project { phase: Phase::Deleted, generation: row.generation + 1, ..row.clone() };
        let stored = stored.map_err(|error| Fault::StoreAway(error.0))?;
        self.live.publish(stored.unwrap_or_else(gone), None);
        Ok(())
    }

    /// Notes that the operation in progress cannot succeed. A fault of what we
    /// stand on leaves the phase: settling goes on when it is back.
    async fn fault(&self, failure: Failure) -> Failure {
        let Failure::Faulted(fault) = &failure else {
            return failure;
        };
        if matches!(fault, Fault::EngineAway(_) | Fault::StoreAway(_) | Fault::Internal(_)) {
            return failure;
        }
        let row = self.row();
        if row.phase.on(Move::Faulted).is_err() {
            return Fault::EngineAway(fault.to_string().into()).into();
        }
        tracing::warn!(project = %row.key, phase = %row.phase, %fault, "failed");
        if let Err(away) = self.stop_quietly(&row).await {
            return away.into();
        }
        let change = Change { reason: Some(fault.to_string().into()), ..Change::default() };
        match self.commit(Move::Faulted, change).await {
            Ok(()) => failure,
            Err(other) => other,
        }
    }

    /// A project that failed must not go on using the machine. While the engine is away
    /// it cannot be stopped, and so has not failed yet.
    async fn stop_quietly(&self, row: &Project) -> Result<(), Fault> {
        let stopped = match self.engine(self.context.engine.inspect(&row.sandbox)).await {
            Ok(None) => Ok(()),
            Ok(Some(seen)) => {
                let stopped = self.context.engine.stop(&seen.container, Duration::ZERO);
                self.engine(stopped).await
            }
            Err(error) => Err(error),
        };
        match stopped {
            Ok(()) => Ok(()),
            Err(EngineError::Away(why)) => Err(Fault::EngineAway(why)),
            Err(error) => {
                tracing::warn!(project = %row.key, %error, "a failed sandbox could not be stopped");
                Ok(())
            }
        }
    }

    pub(super) fn overtaken(&self) -> Failure {
        Refusal::Conflict { why: "a later request wants the project elsewhere".into() }.into()
    }

    pub(super) async fn inspect(&self, row: &Project) -> Answer<Option<Seen>> {
        self.engine(self.context.engine.inspect(&row.sandbox))
            .await
            .map_err(|e| engine_fault(e).into())
    }

    /// One operation of the engine, when there is a place for it.
    pub(super) async fn engine<T>(
        &self,
        operation: impl Future<Output = Result<T, EngineError>>,
    ) -> Result<T, EngineError> {
        self.context.on_engine(operation).await
    }

    pub(super) fn container_id<'a>(&self, row: &'a Project) -> Answer<&'a str> {
        let container = row.container.as_ref();
        let none = || Fault::Internal("a live project has no container".into()).into();
        container.map(|container| &*container.id).ok_or_else(none)
    }

    /// Whether it was init that has dialled home.
    pub(super) fn check_identity(&self, row: &Project, init_pid: Option<u32>) -> Answer<()> {
        self.context.check_identity(&row.settings.profile, &self.home, init_pid)
    }
}

/// An engine's error as a fault of the request.
pub(crate) fn engine_fault(error: EngineError) -> Fault {
    match error {
        EngineError::Away(why) => Fault::EngineAway(why),
        EngineError::Image { image, why } => Fault::Image { image, why },
        EngineError::Gone => Fault::Engine("the container is gone or not running".into()),
        EngineError::Refused(why) => Fault::Engine(why),
    }
}
