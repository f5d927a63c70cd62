//! What happens when a child ends: a pure decision, and the words for it.

use std::time::Duration;

/// How a child came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChildEnd {
    /// It stopped as it was meant to.
    Finished,
    /// It panicked, returned an error or was killed.
    Failed,
}

/// What its supervisor does about it.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing; it is spawned again when it is needed.
    Forget,
    /// Spawn it again after a pause.
    Restart {
        /// The pause.
        after: Duration,
    },
    /// Give up and let the own supervisor decide.
    Escalate,
}

/// When a child is spawned again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Policy {
    /// More failures than this in a row are the supervisor's own failure.
    pub(crate) restarts_max: u32,
    /// Pause before the first restart; doubles with each further one.
    pub(crate) backoff: Duration,
    /// Longest pause.
    pub(crate) backoff_max: Duration,
    /// A child that lived so long has made good its earlier failures.
    pub(crate) forgiven_after: Duration,
}

impl Policy {
    /// What to do about a child's end, after so many restarts in a row.
    pub(crate) fn decide(&self, end: ChildEnd, restarts: u32) -> Verdict {
        match end {
            ChildEnd::Finished => Verdict::Forget,
            ChildEnd::Failed if restarts >= self.restarts_max => Verdict::Escalate,
            ChildEnd::Failed => {
                let factor = 2_u32.saturating_pow(restarts.min(16));
                let after = self.backoff.saturating_mul(factor).min(self.backoff_max);
                Verdict::Restart { after }
            }
        }
    }

    /// Restarts in a row, given how long the child lived.
    pub(crate) fn restarts_after(&self, restarts: u32, lived: Duration) -> u32 {
        if lived >= self.forgiven_after { 0 } else { restarts }
    }
}

/// A part of a project: quickly, a few times, then the whole project anew.
pub(crate) const PROJECT_PART: Policy = Policy {
    restarts_max: 5,
    backoff: Duration::from_millis(50),
    backoff_max: Duration::from_secs(5),
    forgiven_after: Duration::from_secs(60),
};

/// A project, and every part of the tree that serves all: for ever, ever slower.
pub(crate) const FOR_EVER: Policy = Policy {
    restarts_max: u32::MAX,
    backoff: Duration::from_millis(100),
    backoff_max: Duration::from_secs(30),
    forgiven_after: Duration::from_secs(300),
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finished_child_is_forgotten() {
        assert_eq!(PROJECT_PART.decide(ChildEnd::Finished, 0), Verdict::Forget);
    }

    #[test]
    fn pauses_double_up_to_their_limit() {
        let pauses: Vec<_> = (0..10).map(|n| FOR_EVER.decide(ChildEnd::Failed, n)).collect();
        assert_eq!(pauses[0], Verdict::Restart { after: Duration::from_millis(100) });
        assert_eq!(pauses[1], Verdict::Restart { after: Duration::from_millis(200) });
        assert_eq!(pauses[9], Verdict::Restart { after: Duration::from_secs(30) });
    }

    #[test]
    fn a_part_that_keeps_failing_is_its_supervisors_failure() {
        assert_eq!(PROJECT_PART.decide(ChildEnd::Failed, 5), Verdict::Escalate);
        assert!(matches!(FOR_EVER.decide(ChildEnd::Failed, 1000), Verdict::Restart { .. }));
    }

    #[test]
    fn a_long_life_makes_good() {
        assert_eq!(PROJECT_PART.restarts_after(4, Duration::from_secs(60)), 0);
        assert_eq!(PROJECT_PART.restarts_after(4, Duration::from_secs(59)), 4);
    }
}
