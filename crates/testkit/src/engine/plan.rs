//! What goes wrong in an engine, as data.

use std::ops::RangeInclusive;
use std::time::Duration;

use sandtree_actors::ports::EngineError;

use crate::init::InitTrouble;

/// An operation of an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Op {
    /// `ensure_image`.
    EnsureImage,
    /// `create`.
    Create,
    /// `start`.
    Start,
    /// `stop`.
    Stop,
    /// `remove`.
    Remove,
    /// `pause`.
    Pause,
    /// `resume`.
    Resume,
    /// `inspect`.
    Inspect,
    /// `list`.
    List,
    /// `stats`.
    Stats,
    /// `events`.
    Events,
    /// `ping`.
    Ping,
}

/// When trouble meets a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Nothing was done yet.
    Before,
    /// It was done, but the caller does not know.
    After,
}

/// What happens to a call.
#[derive(Debug, Clone)]
pub enum Trouble {
    /// It fails.
    Fail(EngineError),
    /// It takes so much longer.
    Delay(Duration),
    /// It does not end until the engine is told to go on.
    Hang,
    /// Somebody else lays hands on the call's container.
    Behind(Mischief),
    /// The adapter has a bug.
    Panic,
}

/// What somebody else can do to a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mischief {
    /// Its init ends.
    Dies,
    /// Its init ends because memory ran out.
    RunsOutOfMemory,
    /// It is frozen.
    IsPaused,
    /// It is thawed.
    IsResumed,
    /// It is removed.
    IsRemoved,
}

/// One rule: which calls meet which trouble.
#[derive(Debug, Clone)]
struct Rule {
    /// Absent: all operations, and `calls` counts them all.
    op: Option<Op>,
    calls: RangeInclusive<u32>,
    when: When,
    what: Trouble,
}

/// What goes wrong, and when. Calls and starts are counted from 1.
#[derive(Debug, Clone, Default)]
pub struct FaultPlan {
    rules: Vec<Rule>,
    inits: Vec<(RangeInclusive<u32>, InitTrouble)>,
}

impl FaultPlan {
    /// Nothing goes wrong.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// The `nth` call of `op` meets this.
    #[must_use]
    pub fn at(self, op: Op, nth: u32, when: When, what: Trouble) -> Self {
        self.rule(Some(op), nth..=nth, when, what)
    }

    /// The `nth` call of `op` fails, and nothing was done.
    #[must_use]
    pub fn fail(self, op: Op, nth: u32, error: EngineError) -> Self {
        self.at(op, nth, When::Before, Trouble::Fail(error))
    }

    /// These calls of `op` fail, and nothing was done.
    #[must_use]
    pub fn fail_all(self, op: Op, calls: RangeInclusive<u32>, error: EngineError) -> Self {
        self.rule(Some(op), calls, When::Before, Trouble::Fail(error))
    }

    /// The `nth` call of `op` hangs, before or after it was done.
    #[must_use]
    pub fn hang(self, op: Op, nth: u32, when: When) -> Self {
        self.at(op, nth, when, Trouble::Hang)
    }

    /// The engine does not answer from one call to another, counted over all operations.
    #[must_use]
    pub fn away(self, calls: RangeInclusive<u32>) -> Self {
        let away = EngineError::Away("planned".into());
        self.rule(None, calls, When::Before, Trouble::Fail(away))
    }

    /// Right after the `nth` call of `op`, somebody lays hands on its container.
    #[must_use]
    pub fn behind(self, op: Op, nth: u32, what: Mischief) -> Self {
        self.at(op, nth, When::After, Trouble::Behind(what))
    }

    /// The inits of these starts, counted over all containers, misbehave.
    #[must_use]
    pub fn init(mut self, starts: RangeInclusive<u32>, what: InitTrouble) -> Self {
        self.inits.push((starts, what));
        self
    }

    fn rule(
        mut self,
        op: Option<Op>,
        calls: RangeInclusive<u32>,
        when: When,
        what: Trouble,
    ) -> Self {
        self.rules.push(Rule { op, calls, when, what });
        self
    }

    /// What a call meets: `nth` counts its operation, `number` all of them.
    pub(super) fn troubles(&self, op: Op, nth: u32, number: u32, when: When) -> Vec<Trouble> {
        let meets = |rule: &&Rule| {
            let count = if rule.op.is_some() { nth } else { number };
            rule.when == when
                && rule.op.is_none_or(|wanted| wanted == op)
                && rule.calls.contains(&count)
        };
        self.rules.iter().filter(meets).map(|rule| rule.what.clone()).collect()
    }

    pub(super) fn init_trouble(&self, start: u32) -> Option<InitTrouble> {
        self.inits.iter().find(|(starts, _)| starts.contains(&start)).map(|(_, what)| *what)
    }
}
