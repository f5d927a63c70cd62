//! One change of a process, as its own task: record what is to be, then ask init.

use std::sync::Arc;
use std::time::Duration;

use ractor::{ActorRef, RpcReplyPort};
use sandtree_model::process::WhenFull;
use sandtree_model::{
    Answer, ExitStatus, Failure, Fault, Phase, ProcessRecord, ProcessSpec, Refusal,
};
use sandtree_wire::{Job, JobSpec, Request, Size};

use super::{ProcessMsg, PutReply, next_epoch, not_running, show};
use crate::context::Context;
use crate::crash::{self, Point};
use crate::link::Link;
use crate::live::Live;
use crate::ports::{Write, Written};
use crate::view::{ProcessState, ProcessView};

/// Time beyond the grace period until init must have told the end.
const END_MARGIN: Duration = Duration::from_secs(10);
/// Longest time until a start is shown to readers.
const SHOWN_WITHIN: Duration = Duration::from_secs(2);

/// What becomes of a process that runs when another is to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Running {
    /// It is ended, unless it is the same.
    Replace,
    /// It goes on, and the other is refused.
    Keep,
}

/// A change that waits for the one before it.
pub(crate) enum Change {
    /// Run this, in place of what runs or beside nothing.
    Put(Box<ProcessSpec>, Running, PutReply),
    /// End what runs.
    Stop(RpcReplyPort<Answer<ProcessView>>),
    /// Start under this record, if the row still has the start with this epoch.
    Start(Box<ProcessRecord>, u64),
    /// Write this record.
    Record(Box<ProcessRecord>),
    /// Make true what the store has: a write was not answered.
    Settle,
}

/// One change, as its own task.
pub(super) struct Task {
    pub(super) context: Arc<Context>,
    pub(super) live: Arc<Live>,
    pub(super) link: Option<Arc<Link>>,
    pub(super) me: ActorRef<ProcessMsg>,
}

impl Task {
    /// Does a change; what has to be done later, because the store was away.
    pub(super) async fn run(&self, change: Change) -> Option<Change> {
        match change {
            Change::Put(spec, running, reply) => {
                let outcome = self.put(*spec, running).await;
                let again = outcome.as_ref().err().filter(|it| is_in_doubt(it));
                let again = again.map(|_| Change::Settle);
                // Who does not wait any more reads the process.
                let _ = reply.send(outcome);
                again
            }
            Change::Stop(reply) => {
                let outcome = self.stop().await;
                let again = outcome.as_ref().err().filter(|it| is_in_doubt(it));
                let again = again.map(|_| Change::Settle);
                let _ = reply.send(outcome);
                again
            }
            Change::Start(record, base) => {
                let failure = self.start_again((*record).clone(), base).await.err()?;
                tracing::warn!(%failure, "a process was not started again");
                is_in_doubt(&failure).then_some(Change::Start(record, base))
            }
            Change::Record(record) => {
                let failure = self.record_end((*record).clone()).await.err()?;
                tracing::warn!(%failure, "the end of a process was not recorded");
                is_in_doubt(&failure).then_some(Change::Record(record))
            }
            Change::Settle => {
                let failure = self.settle().await.err()?;
                tracing::warn!(%failure, "a process is not settled yet");
                let has_lost_link = matches!(failure, Failure::Faulted(Fault::Sandbox(_)));
                (has_lost_link || is_in_doubt(&failure)).then_some(Change::Settle)
            }
        }
    }

    /// Reads what the store has, and starts or ends what runs accordingly.
    async fn settle(&self) -> Answer<()> {
        self.context.earlier_writes_decided().await?;
        let stored = self.context.store.project_by_uid(&self.live.row().uid).await;
        let Some(stored) = stored.map_err(|error| Fault::StoreAway(error.0))? else {
            return Ok(());
        };
        let record = stored.process.clone();
        self.live.publish(stored, None);
        let running = self.view().filter(ProcessView::is_running);
        match (record, running) {
            (Some(record), Some(view)) if record.wanted && view.record.epoch == record.epoch => {}
            (Some(record), running) => {
                if let Some(view) = running {
                    self.end_running(&view).await?;
                }
                if record.wanted && record.ended.is_none() {
                    self.start_on_some_link(record).await?;
                }
            }
            (None, _) => {}
        }
        Ok(())
    }

    /// Starts under a record that was read only now. At rest, the sandbox's next start
    /// finds it; while it runs, a link may have come up that has not.
    async fn start_on_some_link(&self, record: ProcessRecord) -> Answer<()> {
        if self.link.is_some() {
            return self.start(record).await;
        }
        if self.live.row().phase == Phase::Running {
            return Err(Fault::Sandbox("the link to its init is being made again".into()).into());
        }
        Ok(())
    }

    /// Starts under a record, unless somebody stopped or replaced the start with
    /// the epoch `base` meanwhile, or that one runs after all: a later link has found
    /// that it was never asked for, while this one waited for the store.
    async fn start_again(&self, record: ProcessRecord, base: u64) -> Answer<()> {
        if self.view().is_some_and(|view| view.state == ProcessState::Running) {
            return Ok(());
        }
        let now = self.live.row().process.clone();
        let is_due = now.is_some_and(|now| {
            now.epoch == base && now.wanted && (record.epoch != base || now.ended.is_none())
        });
        if is_due { self.start(record).await } else { Ok(()) }
    }

    /// Records an end, unless a newer start has taken its place; a stop that came
    /// meanwhile holds.
    async fn record_end(&self, record: ProcessRecord) -> Answer<()> {
        let now = self.live.row().process.clone();
        let Some(now) = now.filter(|now| now.epoch == record.epoch) else { return Ok(()) };
        let wanted = record.wanted && now.wanted;
        self.record(ProcessRecord { wanted, ..record }).await
    }

    fn view(&self) -> Option<ProcessView> {
        self.live.process.borrow().clone()
    }

    async fn put(&self, spec: ProcessSpec, running: Running) -> Answer<(ProcessView, bool)> {
        let last = self.live.row().process.clone();
        if let Some(view) = self.view().filter(ProcessView::is_running) {
            if running == Running::Keep {
                return Err(Refusal::Exists { what: "a process that runs".into() }.into());
            }
            if view.record.wanted && view.record.spec == spec {
                return Ok((view, false));
            }
            self.end_running(&view).await?;
        }
        let epoch = next_epoch(&self.context, last.as_ref());
        let record = ProcessRecord { spec, epoch, wanted: true, restarts: 0, ended: None };
        self.start(record).await?;
        let none = || Fault::Internal("a process that was started is not shown".into());
        Ok((self.view().ok_or_else(none)?, true))
    }

    async fn stop(&self) -> Answer<ProcessView> {
        let Some(record) = self.live.row().process.clone() else {
            return Err(Refusal::not_found("the project's process").into());
        };
        if record.wanted {
            self.record(ProcessRecord { wanted: false, ..record }).await?;
        }
        match self.view() {
            Some(view) if view.is_running() => self.end_running(&view).await?,
            Some(ProcessView { record, state: ProcessState::Waiting, .. }) => {
                let status = record.ended.map_or(ExitStatus::Lost, |(status, _)| status);
                show(&self.live, ProcessState::Ended(status), None);
            }
            Some(_) | None => {}
        }
        Ok(self.live.view().process.ok_or_else(|| Refusal::not_found("the project's process"))?)
    }

    /// Asks init to end the job, and waits until it has.
    async fn end_running(&self, view: &ProcessView) -> Answer<()> {
        let link = self.link.as_ref().ok_or_else(not_running)?;
        let grace = view.record.spec.stop_grace.0;
        show(&self.live, ProcessState::Stopping, view.pid);
        let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        let epoch = view.record.epoch;
        link.tell(Request::StopJob { job: Job::Process, epoch, grace_ms }).await?;
        let limit = grace + END_MARGIN;
        let mut views = self.live.process.subscribe();
        let ended = views.wait_for(|view| view.as_ref().is_none_or(|view| !view.is_running()));
        match tokio::time::timeout(limit, ended).await {
            Ok(_) => Ok(()),
            Err(_) => Err(Fault::TimedOut { what: "the end of the process".into(), limit }.into()),
        }
    }

    /// Records a start, then asks init for it.
    async fn start(&self, record: ProcessRecord) -> Answer<()> {
        let link = self.link.clone().ok_or(Refusal::WrongPhase {
            phase: self.live.row().phase,
            advice: "start the sandbox first",
        })?;
        self.record(record.clone()).await?;
        show(&self.live, ProcessState::Starting, None);
        crash::at(Point::ProcessRecorded).await;
        let spec = job_spec(&record, self.context.settings.log_ring_bytes);
        let started = link.start_job(spec).await?;
        crash::at(Point::ProcessStarted).await;
        match started {
            Ok(job) => {
                // The actor that owns this task outlives it.
                let _ = self.me.cast(ProcessMsg::Started(job));
                self.shown_as_started(job.epoch).await;
                Ok(())
            }
            Err(error) if self.live.row().phase != Phase::Running => {
                // The sandbox is on its way down; its next start finds the record.
                Err(Fault::Sandbox(error.to_string().into()).into())
            }
            Err(error) => {
                let ended = Some((ExitStatus::Code(127), self.context.clock.now()));
                show(&self.live, ProcessState::Ended(ExitStatus::Code(127)), None);
                self.record(ProcessRecord { wanted: false, ended, ..record }).await?;
                Err(Refusal::invalid("command", error.to_string()).into())
            }
        }
    }

    /// Waits until the actor has shown the start, so that who asked for it sees it.
    async fn shown_as_started(&self, epoch: u64) {
        let mut views = self.live.process.subscribe();
        let is_shown = |view: &Option<ProcessView>| {
            let view = view.as_ref().filter(|view| view.record.epoch == epoch);
            view.is_none_or(|view| view.state != ProcessState::Starting)
        };
        // The actor answers in microseconds; when it is dead, its successor shows it.
        let _ = tokio::time::timeout(SHOWN_WITHIN, views.wait_for(is_shown)).await;
    }

    async fn record(&self, record: ProcessRecord) -> Answer<()> {
        let write = Write::Process(self.live.row().uid.clone(), Some(Box::new(record)));
        let written = self.context.write(Some(&self.live), write).await?;
        if !matches!(written, Written::Row(_) | Written::Done) {
            return Err(Refusal::not_found("the project").into());
        }
        if let Some(record) = self.live.row().process.clone() {
            self.live.process.send_modify(|view| {
                view.iter_mut().for_each(|view| view.record = record.clone());
            });
        }
        Ok(())
    }
}

/// Whether the store has, or has not, what was written.
fn is_in_doubt(failure: &Failure) -> bool {
    let Failure::Faulted(fault) = failure else { return false };
    matches!(fault, Fault::StoreAway(_) | Fault::Internal(_) | Fault::TimedOut { .. })
}

fn job_spec(record: &ProcessRecord, ring_bytes: u64) -> JobSpec {
    let text = |text: &str| text.to_owned();
    let ProcessSpec { argv, cwd, env, when_full, .. } = &record.spec;
    JobSpec {
        job: Job::Process,
        epoch: record.epoch,
        argv_choices: vec![argv.iter().map(|word| text(word)).collect()],
        cwd: cwd.as_deref().map(text),
        env: env.iter().map(|(name, value)| (text(name), text(value))).collect(),
        size: Size { cols: 80, rows: 24 },
        ring_bytes,
        block_when_full: *when_full == WhenFull::Block,
    }
}
