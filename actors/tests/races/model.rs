//! The second model: what may be answered in a round, and what it may lead to.
//!
//! It knows no tasks, queues, rows or retries. A round is a set of acts that take place
//! one after another in some order. What was answered well has taken place, and what was
//! refused or not answered may have. [`allowed`] tries all orders.

use std::collections::BTreeSet;

use sandtree_actors::Operation;
use sandtree_model::Phase;
use sandtree_testkit::Mischief;

use crate::case::{Act, Keys, Round};

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

/// A project as the model sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct At {
    /// `None`: there is no project.
    pub(crate) phase: Option<Phase>,
    /// What was last written to its one file.
    pub(crate) file: Option<u8>,
    /// Which process is wanted.
    pub(crate) process: Option<u8>,
}

/// Where one order of acts has led.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct State {
    at: At,
    /// What a failed create has made is taken back sooner or later.
    is_doomed: bool,
}

/// What else is known of a round.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Circumstances {
    /// Something was refused or panicked.
    pub(crate) may_fail: bool,
    /// What was to be taken back may be left.
    pub(crate) crashed: bool,
    /// A frozen sandbox was asked to end the process, and may do so when it is thawed.
    pub(crate) process_may_end: bool,
}

/// Everything that a round may lead to; nothing, when the answers exclude each other.
pub(crate) fn allowed(
    from: At,
    acts: &[(Act, Answered)],
    circumstances: Circumstances,
) -> BTreeSet<At> {
    let Circumstances { may_fail, crashed, process_may_end } = circumstances;
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
        if may_fail && state.at.phase.is_some() {
            let at = At { phase: Some(Phase::Failed), ..state.at };
            next.push((State { at, ..state }, done));
        }
        if process_may_end {
            next.push((State { at: At { process: None, ..state.at }, ..state }, done));
        }
        if state.is_doomed {
            next.push((State { at: At::default(), is_doomed: false }, done));
        }
        open.extend(next.into_iter().filter(|next| seen.insert(*next)));
    }
    let is_end = |state: &State, done: u32| done == everything && (crashed || !state.is_doomed);
    let ends = seen.iter().filter(|(state, done)| is_end(state, *done));
    ends.map(|(state, _)| state.at).collect()
}

/// Where one act leads; nowhere, when it cannot have been answered so from here.
fn lead(from: State, act: Act, answered: Answered) -> Vec<State> {
    let goes = match act {
        Act::Create { start } => return create(from, start, answered),
        Act::Operate(operation) => operate(from.at, operation),
        Act::Behind(what) => {
            let went = At { phase: from.at.phase.map(|phase| behind(phase, what)), ..from.at };
            return vec![from, State { at: went, ..from }];
        }
        Act::PutProcess(which) => return put_process(from, which, answered),
        Act::StopProcess => from.at.phase.map(|_| At { process: None, ..from.at }),
        Act::Exec(_) | Act::Type(_) => in_it(from.at),
        Act::Write(version) => from.at.phase.map(|_| At { file: Some(version), ..from.at }),
        Act::CutInit | Act::EngineAway { .. } => return vec![from],
    };
    let went = goes.map(|at| State { at, ..from });
    match answered {
        Answered::Well => went.into_iter().collect(),
        Answered::Badly | Answered::Not => went.into_iter().chain([from]).collect(),
    }
}

fn create(from: State, start: bool, answered: Answered) -> Vec<State> {
    let phase = if start { Phase::Running } else { Phase::Stopped };
    let at = At { phase: Some(phase), ..At::default() };
    let made = State { at, is_doomed: false };
    match (from.at.phase, answered) {
        (None, Answered::Well) => vec![made],
        (None, Answered::Badly) => vec![from, State { is_doomed: true, ..made }],
        (None, Answered::Not) => vec![from, made],
        // There is one already, which is no good answer.
        (Some(_), Answered::Well) => vec![],
        (Some(_), Answered::Badly | Answered::Not) => vec![from],
    }
}

/// One that takes another's place ends it first, and may get no further.
fn put_process(from: State, which: u8, answered: Answered) -> Vec<State> {
    let with = |process| State { at: At { process, ..from.at }, ..from };
    let went = in_it(from.at).map(|_| with(Some(which)));
    match answered {
        Answered::Well => went.into_iter().collect(),
        Answered::Badly | Answered::Not => {
            let ended = in_it(from.at).map(|_| with(None));
            went.into_iter().chain(ended).chain([from]).collect()
        }
    }
}

/// What needs a sandbox that runs, and leaves it as it is.
fn in_it(from: At) -> Option<At> {
    (from.phase == Some(Phase::Running)).then_some(from)
}

/// `None`: it is refused from here.
fn operate(from: At, operation: Operation) -> Option<At> {
    use Phase::{Failed, Paused, Running, Stopped};
    let phase = match (operation, from.phase) {
        (Operation::Delete { .. }, _) => return Some(At::default()),
        (_, None) => return None,
        (Operation::Start, Some(Paused)) => return None,
        (Operation::Start | Operation::Restart, Some(_)) => Running,
        (Operation::Stop, Some(Failed)) => Failed,
        (Operation::Stop | Operation::Discard, Some(_)) => Stopped,
        (Operation::Pause, Some(Running | Paused)) => Paused,
        (Operation::Resume, Some(Running | Paused)) => Running,
        (Operation::Pause | Operation::Resume, Some(_)) => return None,
    };
    Some(At { phase: Some(phase), ..from })
}

fn behind(phase: Phase, what: Mischief) -> Phase {
    match (what, phase) {
        (Mischief::IsPaused, Phase::Running) => Phase::Paused,
        (Mischief::IsResumed, Phase::Paused) => Phase::Running,
        // It is started again, or given up, which is allowed anyway.
        (_, phase) => phase,
    }
}

/// Whether a process that is shown may end later than this round, which ended here:
/// the sandbox is frozen, and was asked for it before or now, in vain.
pub(crate) fn may_end_later(before: bool, acts: &[(Act, Answered)], at: At) -> bool {
    let is_asked = |(act, answered): &(Act, Answered)| {
        matches!(act, Act::PutProcess(_) | Act::StopProcess) && *answered != Answered::Well
    };
    at.phase == Some(Phase::Paused) && (before || acts.iter().any(is_asked))
}

/// The acts of a round that have to be answered well, because nothing stands in their way.
pub(crate) fn must_be_well<'a>(from: At, round: &'a Round) -> impl Iterator<Item = Act> + 'a {
    let acts = || round.acts.iter().map(|timed| timed.act);
    let has_crashed = round.crash_after_ms.is_some();
    let is_deleted = acts().any(|act| matches!(act, Act::Operate(Operation::Delete { .. })));
    let is_calm = round.engine.is_empty() && round.store.is_empty() && !acts().any(disturbs);
    let runs = from.phase == Some(Phase::Running);
    acts().filter(move |act| match act {
        // Files need neither engine nor store.
        Act::Write(_) => from.phase.is_some() && !is_deleted && !has_crashed,
        Act::Exec(_) => runs && is_calm && !has_crashed,
        Act::Type(_) => {
            let ends = acts().filter(|other| *other == Act::Type(Keys::Exit)).count();
            let is_alone = ends == 0 || acts().filter(|it| matches!(it, Act::Type(_))).count() == 1;
            runs && is_calm && !has_crashed && is_alone
        }
        Act::PutProcess(_) => {
            let is_other = |it: Act| matches!(it, Act::PutProcess(_) | Act::StopProcess);
            runs && is_calm && !has_crashed && acts().filter(|it| is_other(*it)).count() == 1
        }
        Act::Create { .. } | Act::Operate(_) | Act::StopProcess => false,
        Act::Behind(_) | Act::CutInit | Act::EngineAway { .. } => false,
    })
}

/// Whether a sandbox that runs may not be usable for a while after it.
fn disturbs(act: Act) -> bool {
    match act {
        Act::Operate(_) | Act::Behind(_) | Act::CutInit | Act::EngineAway { .. } => true,
        Act::Create { .. } | Act::PutProcess(_) | Act::StopProcess => false,
        Act::Exec(_) | Act::Type(_) | Act::Write(_) => false,
    }
}
