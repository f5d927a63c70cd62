//! Colour: only on a terminal, and only if nobody objects.

use std::io::IsTerminal;

/// Whether and how texts are coloured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Paint {
    is_on: bool,
}

impl Paint {
    /// Texts stay as they are.
    pub(super) const NEVER: Paint = Paint { is_on: false };

    /// For a stream: colour if it is a terminal that knows colours, and `NO_COLOR` is
    /// not set.
    pub(super) fn on(stream: &impl IsTerminal) -> Self {
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self { is_on: stream.is_terminal() && !is_set("NO_COLOR") && !is_dumb }
    }

    /// What is wrong.
    pub(super) fn bad(self, text: &str) -> String {
        self.with("1;31", text)
    }

    /// What is as it should be.
    pub(super) fn good(self, text: &str) -> String {
        self.with("32", text)
    }

    /// What is on its way.
    pub(super) fn busy(self, text: &str) -> String {
        self.with("33", text)
    }

    /// What is beside the point.
    pub(super) fn dim(self, text: &str) -> String {
        self.with("2", text)
    }

    /// Heads of columns.
    pub(super) fn head(self, text: &str) -> String {
        self.with("1", text)
    }

    /// A phase of a project, or the state of a process.
    pub(super) fn phase(self, phase: &str) -> String {
        match phase {
            "running" => self.good(phase),
            "failed" => self.bad(phase),
            "stopped" | "paused" | "ended" | "idle" | "-" => self.dim(phase),
            _ => self.busy(phase),
        }
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.is_on { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
