//! What happened in a case, line by line.

use std::cell::RefCell;

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
