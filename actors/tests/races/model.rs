//! The second model: what a round may lead to.
//!
//! It knows no tasks, queues, rows or retries. A round is a set of acts that take place
//! one after another in some order. What was answered well has taken place, and what was
//! refused or not answered may have. [`allowed`] tries all orders.

use std::collections::BTreeSet;

use sandtree_actors::Operation;
use sandtree_model::Phase;
use sandtree_testkit::Mischief;

use crate::case::Act;

/// What is known of an act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answered {
    /// It was done.
    Well,
    /// It was not done, or nobody knows.
    Badly,
    /// The tree was gone before it answered.
    Not,
}

/// A project as the model sees it; `None`: there is none.
pub(crate) type At = Option<Phase>;

/// Where one order of acts has led.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct State {
    at: At,
    /// What a failed create has made is taken back sooner or later.
    is_doomed: bool,
}

/// Everything that a round may lead to. `may_fail`: something was refused or panicked;
/// `crashed`: what was to be taken back may be left.
pub(crate) fn allowed(
    from: At,
    acts: &[(Act, Answered)],
    may_fail: bool,
    crashed: bool,
) -> BTreeSet<At> {
    let acts: Vec<_> = acts.iter().filter(|(act, _)| concerns_phase(*act)).copied().collect();
    let may_fail = may_fail || acts.iter().any(|(act, _)| matches!(act, Act::Behind(_)));
    let everything = (1_u32 << acts.len()) - 1;
    let first = (State { at: from, is_doomed: false }, 0_u32);
    let (mut seen, mut open) = (BTreeSet::from([first]), vec![first]);
    while let Some((state, done)) = open.pop() {
        let mut next = vec![];
        for (nth, (act, answered)) in acts.iter().enumerate() {
            if done & (1 << nth) == 0 {
                let led = lead(state, *act, *answered);
                next.extend(led.into_iter().map(|led| (led, done | (1 << nth))));
            }
        }
        if may_fail && state.at.is_some() {
            next.push((State { at: Some(Phase::Failed), ..state }, done));
        }
        if state.is_doomed {
            next.push((State { at: None, is_doomed: false }, done));
        }
        open.extend(next.into_iter().filter(|next| seen.insert(*next)));
    }
    let is_end = |state: &State, done: u32| done == everything && (crashed || !state.is_doomed);
    let ends = seen.iter().filter(|(state, done)| is_end(state, *done));
    ends.map(|(state, _)| state.at).collect()
}

fn concerns_phase(act: Act) -> bool {
    match act {
        Act::Create { .. } | Act::Operate(_) | Act::Behind(_) => true,
        Act::PutProcess(_) | Act::StopProcess | Act::CutInit | Act::EngineAway { .. } => false,
    }
}

/// Where one act leads; nowhere, when it cannot have been answered so from here.
fn lead(from: State, act: Act, answered: Answered) -> Vec<State> {
    let stays = from;
    match act {
        Act::Create { start } => create(from, start, answered),
        Act::Behind(what) => {
            let went = from.at.map(|phase| behind(phase, what));
            vec![stays, State { at: went, ..from }]
        }
        Act::Operate(operation) => {
            let went = operate(from.at, operation).map(|at| State { at, ..from });
            match answered {
                Answered::Well => went.into_iter().collect(),
                Answered::Badly | Answered::Not => went.into_iter().chain([stays]).collect(),
            }
        }
        Act::PutProcess(_) | Act::StopProcess | Act::CutInit | Act::EngineAway { .. } => {
            vec![stays]
        }
    }
}

fn create(from: State, start: bool, answered: Answered) -> Vec<State> {
    let phase = if start { Phase::Running } else { Phase::Stopped };
    let made = State { at: Some(phase), is_doomed: false };
    match (from.at, answered) {
        (None, Answered::Well) => vec![made],
        (None, Answered::Badly) => vec![from, State { is_doomed: true, ..made }],
        (None, Answered::Not) => vec![from, made],
        // There is one already, which is no good answer.
        (Some(_), Answered::Well) => vec![],
        (Some(_), Answered::Badly | Answered::Not) => vec![from],
    }
}

/// `None`: it is refused from here.
fn operate(from: At, operation: Operation) -> Option<At> {
    use Phase::{Failed, Paused, Running, Stopped};
    let phase = match (operation, from) {
        (Operation::Delete { .. }, _) => return Some(None),
        (_, None) => return None,
        (Operation::Start, Some(Paused)) => return None,
        (Operation::Start | Operation::Restart, Some(_)) => Running,
        (Operation::Stop, Some(Failed)) => Failed,
        (Operation::Stop | Operation::Discard, Some(_)) => Stopped,
        (Operation::Pause, Some(Running | Paused)) => Paused,
        (Operation::Resume, Some(Running | Paused)) => Running,
        (Operation::Pause | Operation::Resume, Some(_)) => return None,
    };
    Some(Some(phase))
}

fn behind(phase: Phase, what: Mischief) -> Phase {
    match (what, phase) {
        (Mischief::IsPaused, Phase::Running) => Phase::Paused,
        (Mischief::IsResumed, Phase::Paused) => Phase::Running,
        // It is started again, or given up, which is allowed anyway.
        (_, phase) => phase,
    }
}
