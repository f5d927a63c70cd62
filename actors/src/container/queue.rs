//! Operations wait in a queue for the one task at a time; whoever asks for what is being
//! done joins it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use sandtree_model::{Answer, Failure, Fault, Phase, Refusal};
use tokio_util::sync::CancellationToken;

use super::meaning::{is_ending, is_there_already, target_of};
use super::work::Work;
use super::{Asked, ContainerMsg, Current, State};
use crate::home::{Home, OpenHome};
use crate::project::ProjectMsg;
use crate::tasks::survive;
use crate::tree::Operation;

/// Pause before the first attempt to settle again; doubles up to the last.
pub(super) const RETRY_AFTER: Duration = Duration::from_millis(500);
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);

impl State {
    pub(super) fn operate(&mut self, asked: Asked) {
        if let Some(current) = &mut self.current {
            let is_same = match (current.operation, asked.operation) {
                (None, Some(Operation::Discard)) => false,
                (None, Some(asked)) => target_of(asked) == self.live.row().target,
                // Made and deleted by somebody else meanwhile, it is not what was asked for.
                (None, None) => !self.live.row().target.is_delete(),
                (current, asked) => current == asked,
            };
            // At rest again, it has all but ended: this request is for what comes after.
            let row = self.live.row();
            let is_over = row.is_at_rest() && row.generation > current.generation;
            if is_same && !is_over {
                current.waiting.push(asked);
                return;
            }
            let is_deletion = self.live.row().target.is_delete()
                || matches!(current.operation, Some(Operation::Delete { .. }));
            if is_deletion && !asked.is_delete() {
                return reply_to(asked, Err(being_deleted()));
            }
            // Nobody should wait for a start that is not wanted any more.
            if !is_deletion && asked.operation.is_some_and(is_ending) {
                current.cancel.cancel();
            }
        }
        if asked.is_delete() {
            // Another deletion is not overtaken: it has the same answer.
            let (deletes, others) = self.queue.drain(..).partition(Asked::is_delete);
            self.queue = deletes;
            let others: VecDeque<Asked> = others;
            others.into_iter().for_each(|other| reply_to(other, Err(being_deleted())));
        }
        self.queue.push_back(asked);
    }

    /// Begins the next task, if none is in progress and there is something to do.
    pub(super) fn advance(&mut self) {
        while self.current.is_none() {
            if !self.is_settled {
                return;
            }
            let Some(asked) = self.queue.pop_front() else {
                return;
            };
            match is_there_already(asked.operation, self.live.row().phase) {
                Ok(true) => reply_to(asked, Ok(())),
                Ok(false) => self.begin(Some(asked)),
                Err(refusal) => reply_to(asked, Err(refusal.into())),
            }
        }
    }

    pub(super) fn settle(&mut self) {
        let is_at_rest = self.live.row().is_at_rest() && !self.is_row_in_doubt;
        if self.current.is_none() && !is_at_rest {
            self.begin(None);
        }
    }

    pub(super) fn begin(&mut self, asked: Option<Asked>) {
        let home = match self.open_home() {
            Ok(home) => home,
            Err(error) => return self.cannot_begin(asked, &error),
        };
        let cancel = CancellationToken::new();
        let (principal, reason) = match &asked {
            Some(asked) => (asked.by.name.clone(), Some(asked.reason.clone())),
            None => ("server".into(), None),
        };
        let work = Work {
            context: Arc::clone(&self.context),
            live: Arc::clone(&self.live),
            home,
            me: self.me.clone(),
            principal,
            reason,
            is_row_in_doubt: self.is_row_in_doubt,
            telling: Arc::clone(&self.telling),
            cancel: cancel.clone(),
        };
        let operation = asked.as_ref().and_then(|asked| asked.operation);
        let (generation, waiting) = (self.live.row().generation, asked.into_iter().collect());
        self.current = Some(Current { operation, generation, waiting, cancel });
        let me = self.me.clone();
        self.tasks.spawn(async move {
            let outcome = survive(work.run(operation)).await;
            let outcome = outcome.unwrap_or_else(|fault| Err(fault.into()));
            // The actor that owns this task outlives it.
            let _ = me.cast(ContainerMsg::Ended(outcome));
        });
    }

    /// Tells who asked that no task could be begun. One that only settles is tried again.
    fn cannot_begin(&mut self, asked: Option<Asked>, error: &std::io::Error) {
        tracing::error!(%error, "cannot open the sandbox's socket");
        let failure = Failure::from(Fault::Disk(error.to_string().into()));
        match asked {
            Some(asked) => reply_to(asked, Err(failure)),
            None => self.settle_later(&failure),
        }
    }

    fn open_home(&mut self) -> std::io::Result<Arc<Home>> {
        if let Some(home) = &self.home {
            return Ok(Arc::clone(home));
        }
        let dir = self.context.sandbox_dir(&self.live.row().sandbox);
        Ok(self.follow(OpenHome::open(dir.root(), self.context.settings.home_bounds())?))
    }

    /// From now on the news of this home are told to this actor.
    pub(super) fn follow(&mut self, OpenHome { home, mut news }: OpenHome) -> Arc<Home> {
        self.home = Some(Arc::clone(&home));
        let me = self.me.clone();
        self.tasks.spawn(async move {
            while let Some((number, item)) = news.recv().await {
                if me.cast(ContainerMsg::News(number, item)).is_err() {
                    return;
                }
            }
        });
        home
    }

    pub(super) fn intent_committed(&mut self) {
        let Some(current) = &mut self.current else {
            return;
        };
        for asked in current.waiting.extract_if(.., |asked| asked.later) {
            reply_to(asked, Ok(()));
        }
    }

    pub(super) fn ended(&mut self, outcome: Answer<()>) {
        let Some(current) = self.current.take() else {
            return;
        };
        let phase = self.live.row().phase;
        let is_transient = matches!(
            &outcome,
            Err(Failure::Faulted(Fault::EngineAway(_) | Fault::StoreAway(_) | Fault::Internal(_)))
        );
        self.is_row_in_doubt =
            matches!(&outcome, Err(Failure::Faulted(Fault::StoreAway(_) | Fault::TimedOut { .. })));
        let is_at_rest = self.live.row().is_at_rest() && !self.is_row_in_doubt;
        // A cancelled task has left the phase where it was; its canceller goes on from there.
        self.is_settled = is_at_rest || !(is_transient || self.is_row_in_doubt);
        match &outcome {
            _ if self.is_settled => self.retry_after = RETRY_AFTER,
            Err(failure) if current.operation.is_none() => self.settle_later(failure),
            Ok(()) | Err(_) => self.retry_later(),
        }
        for asked in current.waiting {
            reply_to(asked, outcome.clone());
        }
        self.after(phase);
        self.answer_leases();
        // The task's own doings are what it has led to; anything else came after its last look.
        if let (Some(what), true) = (self.happened_meanwhile.take(), self.is_settled) {
            self.happened(what);
        }
    }

    /// Lets go of what the phase does not need.
    fn after(&mut self, phase: Phase) {
        if phase.is_at_rest() {
            self.home = None;
            self.link = None;
            // Also when the link was lost before: only now is it lost for good.
            let _ = self.project.cast(ProjectMsg::Down);
        }
        let has_no_link = self.link.as_ref().is_none_or(|link| link.is_closed());
        if phase == Phase::Running && has_no_link && self.is_settled {
            // It was lost while the task was about to end.
            self.settle();
        }
        if phase == Phase::Deleted {
            for asked in self.queue.drain(..) {
                let is_delete = asked.is_delete();
                let gone = || Err(Refusal::not_found("the project").into());
                reply_to(asked, if is_delete { Ok(()) } else { gone() });
            }
            let _ = self.project.cast(ProjectMsg::Deleted);
        }
    }

    /// Takes stock again in a while. Who waited for it is told why it cannot be done now.
    fn settle_later(&mut self, failure: &Failure) {
        self.is_settled = false;
        self.retry_later();
        for asked in self.queue.drain(..) {
            reply_to(asked, Err(failure.clone()));
        }
    }

    fn retry_later(&mut self) {
        let (me, after) = (self.me.clone(), self.retry_after);
        self.retry_after = (after * 2).min(RETRY_AFTER_MAX);
        self.tasks.spawn(async move {
            tokio::time::sleep(after).await;
            let _ = me.cast(ContainerMsg::Settle);
        });
    }
}

fn reply_to(asked: Asked, outcome: Answer<()>) {
    // Who does not wait any more finds out by reading the project.
    let _ = asked.reply.send(outcome);
}

fn being_deleted() -> Failure {
    Refusal::Conflict { why: "the project is being deleted".into() }.into()
}
