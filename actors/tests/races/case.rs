//! What a case is made of, and how it is drawn.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use sandtree_actors::Operation;
use sandtree_testkit::{Mischief, Op, StoreFault, When};

/// A whole case.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) rounds: Vec<Round>,
}

/// What happens at about the same time.
#[derive(Debug, Clone)]
pub(crate) struct Round {
    pub(crate) acts: Vec<Timed>,
    pub(crate) engine: Vec<EngineFault>,
    pub(crate) store: Vec<(u32, When, StoreFault)>,
    /// The tree is gone so many milliseconds after the first act.
    pub(crate) crash_after_ms: Option<u16>,
}

/// An act, and when it begins.
#[derive(Debug, Clone)]
pub(crate) struct Timed {
    pub(crate) at_ms: u16,
    pub(crate) act: Act,
}

/// What somebody does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    Create {
        start: bool,
    },
    Operate(Operation),
    PutProcess(u8),
    StopProcess,
    Exec(Command),
    /// Looks at the terminal and types, until the shell has answered.
    Type(Keys),
    /// Writes the one file, whole.
    Write(u8),
    /// Somebody lays hands on the container.
    Behind(Mischief),
    /// Init loses its connections.
    CutInit,
    /// The engine does not answer for so long.
    EngineAway {
        for_ms: u16,
    },
}

/// A command with a known outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command {
    /// Says something.
    Echo,
    /// Ends with a code.
    Fails,
    /// Does not end before its time is up.
    Hangs,
}

/// What is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keys {
    /// A word, which the shell echoes.
    Word,
    /// What ends the shell.
    Exit,
}

/// What goes wrong with the `nth` call of an operation from the round's beginning on.
#[derive(Debug, Clone)]
pub(crate) struct EngineFault {
    pub(crate) op: Op,
    pub(crate) nth: u32,
    pub(crate) when: When,
    pub(crate) what: What,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum What {
    /// It does not answer, or its answer is lost.
    Away,
    /// It answers late.
    Slow(u16),
    /// It refuses.
    Refuses,
    /// The adapter has a bug.
    Panics,
}

/// All cases.
pub(crate) fn cases() -> impl Strategy<Value = Case> {
    vec(round(), 1..=4).prop_map(|rounds| Case { rounds })
}

fn round() -> impl Strategy<Value = Round> {
    let crash = prop_oneof![3 => Just(None), 1 => (0..1500_u16).prop_map(Some)];
    let store = (1..=4_u32, when(), store_fault());
    (vec(timed(), 1..=6), vec(engine_fault(), 0..=3), vec(store, 0..=2), crash).prop_map(
        |(acts, engine, store, crash_after_ms)| Round { acts, engine, store, crash_after_ms },
    )
}

fn timed() -> impl Strategy<Value = Timed> {
    // Often at the very same moment.
    let at_ms = prop_oneof![2 => Just(0), 1 => 0..50_u16, 1 => 0..2000_u16];
    (at_ms, act()).prop_map(|(at_ms, act)| Timed { at_ms, act })
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => any::<bool>().prop_map(|start| Act::Create { start }),
        12 => operation().prop_map(Act::Operate),
        2 => (0..3_u8).prop_map(Act::PutProcess),
        1 => Just(Act::StopProcess),
        3 => command().prop_map(Act::Exec),
        2 => keys().prop_map(Act::Type),
        3 => (1..5_u8).prop_map(Act::Write),
        2 => mischief().prop_map(Act::Behind),
        1 => Just(Act::CutInit),
        1 => (0..5000_u16).prop_map(|for_ms| Act::EngineAway { for_ms }),
    ]
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        4 => Just(Operation::Start),
        3 => Just(Operation::Stop),
        2 => Just(Operation::Restart),
        2 => Just(Operation::Pause),
        2 => Just(Operation::Resume),
        1 => Just(Operation::Discard),
        1 => Just(Operation::Delete { keep_files: false }),
    ]
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![2 => Just(Command::Echo), 1 => Just(Command::Fails), 1 => Just(Command::Hangs)]
}

fn keys() -> impl Strategy<Value = Keys> {
    prop_oneof![3 => Just(Keys::Word), 1 => Just(Keys::Exit)]
}

fn mischief() -> impl Strategy<Value = Mischief> {
    use Mischief::{Dies, IsPaused, IsRemoved, IsResumed, RunsOutOfMemory};
    prop_oneof![Just(Dies), Just(RunsOutOfMemory), Just(IsPaused), Just(IsResumed), Just(IsRemoved)]
}

fn when() -> impl Strategy<Value = When> {
    prop_oneof![Just(When::Before), Just(When::After)]
}

fn store_fault() -> impl Strategy<Value = StoreFault> {
    // Nobody waits longer than half a minute.
    let late = (1..45_u64).prop_map(|secs| StoreFault::Late(Duration::from_secs(secs)));
    prop_oneof![4 => Just(StoreFault::Away), 1 => Just(StoreFault::Panic), 3 => late]
}

fn engine_fault() -> impl Strategy<Value = EngineFault> {
    use Op::{Create, EnsureImage, Events, Inspect, List, Pause, Remove, Resume, Start, Stop};
    let ops = [Create, EnsureImage, Events, Inspect, List, Pause, Remove, Resume, Start, Stop];
    let what = prop_oneof![
        4 => Just(What::Away),
        4 => (1..300_u16).prop_map(What::Slow),
        1 => Just(What::Refuses),
        1 => Just(What::Panics),
    ];
    (proptest::sample::select(ops.to_vec()), 1..=3_u32, when(), what)
        .prop_map(|(op, nth, when, what)| EngineFault { op, nth, when, what })
}
