//! The project actor: the address of every request about one project, and the
//! supervisor of the four actors that do the work.
//!
//! ```text
//! tree ──▶ project ─┬─▶ container     spawned with the project
//!                   ├─▶ process       at the first use, or when a job is found
//!                   ├─▶ terminal      at the first use, or when a job is found
//!                   └─▶ file-writer   at the first use
//! ```
//!
//! It forwards, tells its children when the sandbox comes and goes, and spawns
//! again what failed, by [`PROJECT_PART`]. A part that keeps failing fails the
//! project, which the root spawns anew; other projects notice nothing.

use std::sync::Arc;

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SpawnErr, SupervisionEvent};
use sandtree_model::ProjectKey;
use sandtree_wire::{Job, JobState};
use tokio::time::Instant;

use crate::container::{self, ContainerActor, ContainerMsg, Up};
use crate::context::Context;
use crate::file_writer::{FileWriterActor, FileWriterMsg};
use crate::home::OpenHome;
use crate::link::Link;
use crate::live::Live;
use crate::process::{self, ProcessActor, ProcessMsg};
use crate::supervise::{ChildEnd, PROJECT_PART, Verdict};
use crate::terminal::{self, TerminalActor, TerminalMsg};

/// Everything a project actor can be told.
pub(crate) enum ProjectMsg {
    /// For the container actor.
    Container(ContainerMsg),
    /// For the process actor.
    Process(ProcessMsg),
    /// For the terminal actor.
    Terminal(TerminalMsg),
    /// For the file-writer.
    Files(FileWriterMsg),
    /// Fact: init is linked and configured.
    Up(Up),
    /// Fact: the link is lost, or the sandbox has stopped.
    Down,
    /// Fact: a job ended.
    JobEnded(JobState),
    /// Fact: the project is deleted.
    Deleted,
    /// Tell: spawn a failed part again.
    Respawn(Part),
    /// Tell: end, if nobody needs this project's actors.
    Passivate,
}

/// The parts of a project.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Container,
    Process,
    Terminal,
    FileWriter,
}

/// The actor.
pub(crate) struct ProjectActor;

/// What the actor is spawned with.
pub(crate) struct Arguments {
    pub(crate) context: Arc<Context>,
    pub(crate) live: Arc<Live>,
    pub(crate) key: ProjectKey,
    /// The open socket of a sandbox that comes from the pool.
    pub(crate) home: Option<OpenHome>,
}

/// What the actor holds.
pub(crate) struct State {
    me: ActorRef<ProjectMsg>,
    context: Arc<Context>,
    live: Arc<Live>,
    key: ProjectKey,
    /// For the first container actor.
    home: Option<OpenHome>,
    link: Option<Arc<Link>>,
    container: Child<ContainerMsg>,
    process: Child<ProcessMsg>,
    terminal: Child<TerminalMsg>,
    file_writer: Child<FileWriterMsg>,
}

/// A part, if it runs, and how it has fared.
struct Child<M> {
    actor: Option<ActorRef<M>>,
    /// No spawning on use while a restart is due.
    is_restarting: bool,
    restarts: u32,
    since: Instant,
}

impl<M> Default for Child<M> {
    fn default() -> Self {
        Self { actor: None, is_restarting: false, restarts: 0, since: Instant::now() }
    }
}

impl<M: ractor::Message> Child<M> {
    fn spawned(&mut self, actor: ActorRef<M>) {
        self.actor = Some(actor);
        self.is_restarting = false;
        self.since = Instant::now();
    }

    fn is(&self, cell: &ActorCell) -> bool {
        self.actor.as_ref().is_some_and(|actor| actor.get_id() == cell.get_id())
    }

    fn ended(&mut self, end: ChildEnd) -> Verdict {
        self.actor = None;
        self.restarts = PROJECT_PART.restarts_after(self.restarts, self.since.elapsed());
        let verdict = PROJECT_PART.decide(end, self.restarts);
        if let Verdict::Restart { .. } = verdict {
            self.restarts += 1;
            self.is_restarting = true;
        }
        verdict
    }
}

impl Actor for ProjectActor {
    type Msg = ProjectMsg;
    type State = State;
    type Arguments = Arguments;

    async fn pre_start(
        &self,
        me: ActorRef<ProjectMsg>,
        Arguments { context, live, key, home }: Arguments,
    ) -> Result<State, ActorProcessingErr> {
        let mut state = State {
            me,
            context,
            live,
            key,
            home,
            link: None,
            container: Child::default(),
            process: Child::default(),
            terminal: Child::default(),
            file_writer: Child::default(),
        };
        state.spawn(Part::Container).await?;
        Ok(state)
    }

    async fn handle(
        &self,
        _me: ActorRef<ProjectMsg>,
        message: ProjectMsg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            ProjectMsg::Container(message) => send(&state.container, message),
            ProjectMsg::Process(message) => {
                state.ensure(Part::Process).await?;
                send(&state.process, message);
            }
            ProjectMsg::Terminal(message) => {
                state.ensure(Part::Terminal).await?;
                send(&state.terminal, message);
            }
            ProjectMsg::Files(message) => {
                state.ensure(Part::FileWriter).await?;
                send(&state.file_writer, message);
            }
            ProjectMsg::Up(up) => state.up(up).await?,
            ProjectMsg::Down => state.down(),
            ProjectMsg::JobEnded(job) => state.job_ended(job),
            ProjectMsg::Deleted => state.deleted(),
            ProjectMsg::Respawn(part) => state.respawn(part).await?,
            ProjectMsg::Passivate => state.passivate(),
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _me: ActorRef<ProjectMsg>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorTerminated(cell, _, _) => {
                state.child_ended(&cell, ChildEnd::Finished)
            }
            SupervisionEvent::ActorFailed(cell, error) => {
                tracing::error!(project = %state.key, %error, "a part of a project failed");
                state.child_ended(&cell, ChildEnd::Failed)
            }
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => Ok(()),
        }
    }
}

/// Hands a message on. A part that is being restarted drops it, and with it the
/// reply port: the asker is told to try again.
fn send<M: ractor::Message>(child: &Child<M>, message: M) {
    if let Some(actor) = &child.actor {
        let _ = actor.cast(message);
    }
}

impl State {
    async fn ensure(&mut self, part: Part) -> Result<(), SpawnErr> {
        let (is_there, is_restarting) = match part {
            Part::Container => (self.container.actor.is_some(), self.container.is_restarting),
            Part::Process => (self.process.actor.is_some(), self.process.is_restarting),
            Part::Terminal => (self.terminal.actor.is_some(), self.terminal.is_restarting),
            Part::FileWriter => (self.file_writer.actor.is_some(), self.file_writer.is_restarting),
        };
        if is_there || is_restarting { Ok(()) } else { self.spawn(part).await }
    }

    async fn spawn(&mut self, part: Part) -> Result<(), SpawnErr> {
        let (context, live) = (Arc::clone(&self.context), Arc::clone(&self.live));
        let (project, above) = (self.me.clone(), self.me.get_cell());
        match part {
            Part::Container => {
                let home = self.home.take();
                let arguments = container::Arguments { context, live, project, home };
                let spawned = Actor::spawn_linked(None, ContainerActor, arguments, above).await?;
                self.container.spawned(spawned.0);
            }
            Part::Process => {
                let arguments = process::Arguments { context, live, link: self.link.clone() };
                let spawned = Actor::spawn_linked(None, ProcessActor, arguments, above).await?;
                self.process.spawned(spawned.0);
            }
            Part::Terminal => {
                let arguments = terminal::Arguments { context, live, link: self.link.clone() };
                let spawned = Actor::spawn_linked(None, TerminalActor, arguments, above).await?;
                self.terminal.spawned(spawned.0);
            }
            Part::FileWriter => {
                let spawned = Actor::spawn_linked(None, FileWriterActor, (), above).await?;
                self.file_writer.spawned(spawned.0);
            }
        }
        Ok(())
    }

    async fn respawn(&mut self, part: Part) -> Result<(), SpawnErr> {
        self.spawn(part).await?;
        if self.link.is_some() && matches!(part, Part::Process | Part::Terminal) {
            // Taking stock tells it what init has.
            send(&self.container, ContainerMsg::Settle);
        }
        Ok(())
    }

    async fn up(&mut self, Up { link, jobs, is_fresh }: Up) -> Result<(), SpawnErr> {
        self.link = Some(Arc::clone(&link));
        let find = |job: Job| jobs.iter().find(|state| state.job == job).copied();
        let (process, terminal) = (find(Job::Process), find(Job::Terminal));
        // Whoever is there already gets the link, whatever the row says: it may know more.
        let is_there = self.process.actor.is_some();
        if is_there || process.is_some() || self.live.row().process.is_some() {
            self.ensure(Part::Process).await?;
            let (link, job) = (Arc::clone(&link), process);
            send(&self.process, ProcessMsg::Up { link, job, is_fresh });
        }
        if terminal.is_some() || self.terminal.actor.is_some() {
            self.ensure(Part::Terminal).await?;
            send(&self.terminal, TerminalMsg::Up(link, terminal));
        }
        Ok(())
    }

    fn down(&mut self) {
        self.link = None;
        let is_at_rest = self.live.row().phase.is_at_rest();
        send(&self.process, ProcessMsg::Down { is_at_rest });
        send(&self.terminal, TerminalMsg::Down { is_at_rest });
    }

    fn job_ended(&mut self, job: JobState) {
        match job.job {
            Job::Process => send(&self.process, ProcessMsg::JobEnded(job)),
            Job::Terminal => send(&self.terminal, TerminalMsg::JobEnded(job)),
        }
    }

    fn deleted(&mut self) {
        self.context.directory.remove(&self.key, self.me.get_id());
        self.me.stop(None);
    }

    fn passivate(&mut self) {
        let is_quiet = self.live.row().is_at_rest()
            && self.live.idle_for() >= self.context.settings.passivate_after;
        // Who asked for what has led here may not be answered yet, and holds on.
        if is_quiet && self.context.directory.leave(&self.key, self.me.get_id()) {
            self.me.stop(None);
        }
    }

    fn child_ended(&mut self, cell: &ActorCell, end: ChildEnd) -> Result<(), ActorProcessingErr> {
        let (part, verdict) = if self.container.is(cell) {
            (Part::Container, self.container.ended(end))
        } else if self.process.is(cell) {
            (Part::Process, self.process.ended(end))
        } else if self.terminal.is(cell) {
            (Part::Terminal, self.terminal.ended(end))
        } else if self.file_writer.is(cell) {
            (Part::FileWriter, self.file_writer.ended(end))
        } else {
            return Ok(());
        };
        match verdict {
            Verdict::Forget => Ok(()),
            Verdict::Restart { after } => {
                self.me.send_after(after, move || ProjectMsg::Respawn(part));
                Ok(())
            }
            Verdict::Escalate => Err(format!("{part:?} keeps failing").into()),
        }
    }
}
