//! What is done in a project: commands, its process, its terminal, its files.

use std::sync::Arc;
use std::time::Duration;

use sandtree_model::{Answer, Phase, ProcessSpec, ProjectKey};

use super::Tree;
use super::enter::{Admitted, no_such};
use crate::files::{self, Files};
use crate::live::Busy;
use crate::log::LogReader;
use crate::process::{ProcessMsg, Running};
use crate::project::ProjectMsg;
use crate::sandbox::Sandbox;
use crate::terminal::{TerminalMsg, ViewRequest, Viewer};
use crate::turn::Turn;
use crate::view::{Cursor, ProcessView};

impl Tree {
    /// The running sandbox of a project: commands, connections, usage. While the
    /// handle lives, the project counts as active.
    ///
    /// # Errors
    ///
    /// [`Refusal::WrongPhase`](sandtree_model::Refusal::WrongPhase) when it does not run.
    pub async fn sandbox(&self, key: &ProjectKey) -> Answer<Sandbox> {
        let admitted = self.admit(key).await?;
        let busy = Busy::new(admitted.hold.live());
        let link = self.lease(&admitted).await?;
        let settings = self.settings();
        let (execs_max, watches_max) = (settings.execs_max, settings.watches_max);
        Ok(Sandbox { link, busy: Arc::new(busy), execs_max, watches_max })
    }

    /// The use of a project among all who ask for a turn; waits for it, but not longer
    /// than `wait`.
    ///
    /// # Errors
    ///
    /// [`Refusal::NotFound`](sandtree_model::Refusal::NotFound), for one that is being deleted as well, and [`Refusal::Busy`](sandtree_model::Refusal::Busy).
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
    /// [`Refusal::WrongPhase`](sandtree_model::Refusal::WrongPhase), [`Refusal::Invalid`](sandtree_model::Refusal::Invalid) when it cannot be started.
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
    /// As [`Tree::put_process`], and [`Refusal::Exists`](sandtree_model::Refusal::Exists) when one runs.
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
    /// [`Refusal::NotFound`](sandtree_model::Refusal::NotFound) when there was never one.
    pub async fn stop_process(&self, key: &ProjectKey) -> Answer<ProcessView> {
        let admitted = self.admit(key).await?;
        self.settled(&admitted).await?;
        self.ask_project(&admitted, |reply| ProjectMsg::Process(ProcessMsg::Stop(reply))).await
    }

    /// Sends a signal to the process's group.
    ///
    /// # Errors
    ///
    /// [`Refusal::Conflict`](sandtree_model::Refusal::Conflict) when it does not run.
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
    /// [`Refusal::NotFound`](sandtree_model::Refusal::NotFound).
    pub async fn logs(&self, key: &ProjectKey, after: Option<Cursor>) -> Answer<LogReader> {
        let (_, hold) = self.enter(key).await?;
        let dir = self.context().sandbox_dir(&hold.live().row().sandbox).log();
        Ok(LogReader::new(dir, after, hold.live().log_grown.subscribe()))
    }

    /// Looks at the terminal, starting its shell if there is none.
    ///
    /// # Errors
    ///
    /// [`Refusal::WrongPhase`](sandtree_model::Refusal::WrongPhase), [`Refusal::Busy`](sandtree_model::Refusal::Busy) when too many look already.
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
    /// [`Refusal::NotFound`](sandtree_model::Refusal::NotFound), and faults of the disk.
    pub async fn files(&self, key: &ProjectKey) -> Answer<Files> {
        let admitted = self.admit(key).await?;
        let live = admitted.hold.live();
        if matches!(live.row().phase, Phase::Deleting | Phase::Deleted) {
            return Err(no_such(key));
        }
        let dir = self.context().sandbox_dir(&live.row().sandbox);
        files::open(dir, Busy::new(live), admitted.entry.actor, admitted.places).await
    }

    /// As [`Tree::lease`], but does not mind a sandbox that does not run.
    pub(super) async fn settled(&self, admitted: &Admitted) -> Answer<()> {
        if admitted.hold.live().row().phase == Phase::Running {
            self.lease(admitted).await?;
        }
        Ok(())
    }
}
