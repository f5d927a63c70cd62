//! Who wants the link of a running sandbox, and waits while it is being made again.

use sandtree_model::{Fault, Phase, Refusal};

use super::{LeaseReply, State};

impl State {
    pub(super) fn lease(&mut self, reply: LeaseReply) {
        let phase = self.live.row().phase;
        let link = self.link.clone().filter(|link| !link.is_closed());
        let answer = match link {
            _ if phase != Phase::Running => {
                Err(Refusal::WrongPhase { phase, advice: advice_to_run(phase) }.into())
            }
            Some(link) => Ok(link),
            // Not reconciled yet, or init is dialling again: that takes a moment.
            None if self.is_being_linked() => return self.leases.push(reply),
            None => {
                Err(Fault::Sandbox("its init does not answer; it is being restarted".into()).into())
            }
        };
        // Who does not wait any more has no use for it.
        let _ = reply.send(answer);
    }

    /// Whether a task looks after the link that is gone. One that has just ended is
    /// looked after now, and not only when its end has been told.
    fn is_being_linked(&mut self) -> bool {
        if self.is_settled {
            self.settle();
        }
        self.current.is_some()
    }

    pub(super) fn answer_leases(&mut self) {
        for reply in std::mem::take(&mut self.leases) {
            self.lease(reply);
        }
    }
}

fn advice_to_run(phase: Phase) -> &'static str {
    match phase {
        Phase::Paused | Phase::Pausing => "resume it first",
        Phase::Stopped | Phase::Stopping | Phase::Failed => "start it first",
        Phase::Creating | Phase::Starting | Phase::Resuming | Phase::Running => {
            "wait until it is running (`?wait_for=running`)"
        }
        Phase::Deleting | Phase::Deleted => "create a new one",
    }
}
