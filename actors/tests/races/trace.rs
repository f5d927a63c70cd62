//! What happened in a case, line by line.

use std::cell::RefCell;

use sandtree_actors::ports::Store as _;
use sandtree_model::Project;

use crate::world::World;

/// More transitions than a case makes of one project.
const TRANSITIONS_MAX: u32 = 10_000;

thread_local! {
    static LINES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Begins anew.
pub(crate) fn clear() {
    LINES.with_borrow_mut(Vec::clear);
}

/// Adds a line.
pub(crate) fn note(line: String) {
    LINES.with_borrow_mut(|lines| lines.push(line));
}

/// What happened in the last case on this thread.
pub(crate) fn text() -> String {
    LINES.with_borrow(|lines| lines.join("\n"))
}

impl World {
    /// Adds every call of the engine and every transition. Names that are drawn at
    /// random are numbered in the order in which they were given.
    pub(crate) async fn tell(&self) {
        let mut rows: Vec<Project> = self.store.rows();
        rows.sort_by_key(|row| row.created_at);
        let named = |subject: &str| {
            let nth = rows.iter().position(|row| row.sandbox.as_str() == subject);
            nth.map_or(subject.to_owned(), |nth| format!("sandbox {nth}"))
        };
        for call in self.engine.calls() {
            note(format!("{:?} {}", call.op, named(&call.subject)));
        }
        for (nth, row) in rows.iter().enumerate() {
            let log = self.store.transitions(&row.uid, 0, TRANSITIONS_MAX).await;
            for past in log.expect("a store in memory") {
                note(format!("project {nth}: {past:?}"));
            }
        }
    }
}
