//! Progress of long work, on standard error, if that is a terminal.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use tokio::time::Instant;

use super::table::clean;
use super::units;

/// Time between two redraws.
const EVERY: Duration = Duration::from_millis(100);
/// Work that takes no longer shows no progress.
const QUIET: Duration = Duration::from_millis(400);

/// Runs work, and shows how long it takes already.
pub(super) async fn waiting<T>(what: &str, work: impl Future<Output = T>) -> T {
    if !std::io::stderr().is_terminal() {
        return work.await;
    }
    let started = Instant::now();
    let mut ticks = tokio::time::interval_at(started + QUIET, EVERY);
    let mut work = std::pin::pin!(work);
    let mut line = Line::default();
    loop {
        tokio::select! {
            outcome = &mut work => return outcome,
            _ = ticks.tick() => line.show(&format!("{what} ... {:.1} s", started.elapsed().as_secs_f32())),
        }
    }
}

/// Progress of bytes that are copied.
#[derive(Debug)]
pub(super) struct Copied {
    what: String,
    total: Option<u64>,
    done: u64,
    started: Instant,
    drawn: Instant,
    line: Option<Line>,
}

impl Copied {
    /// Nothing of `total` bytes, or of bytes that nobody has counted.
    pub(super) fn new(what: impl Into<String>, total: Option<u64>) -> Self {
        let now = Instant::now();
        let line = std::io::stderr().is_terminal().then(Line::default);
        Self { what: clean(&what.into()), total, done: 0, started: now, drawn: now + QUIET, line }
    }

    /// So many bytes more.
    pub(super) fn add(&mut self, bytes: usize) {
        self.done += bytes as u64;
        let Some(line) = &mut self.line else { return };
        let now = Instant::now();
        if now < self.drawn {
            return;
        }
        self.drawn = now + EVERY;
        let seconds = (now - self.started).as_millis().max(1);
        let rate = u64::try_from(u128::from(self.done) * 1000 / seconds).unwrap_or(u64::MAX);
        let part = self.total.filter(|total| *total > 0).map_or(String::new(), |total| {
            format!(" {:3}% of {}", (self.done * 100 / total).min(100), units::bytes(total))
        });
        let done = units::bytes(self.done);
        line.show(&format!("{}{part}  {done}  {}/s", self.what, units::bytes(rate)));
    }

    /// How many bytes there were.
    pub(super) fn done(&self) -> u64 {
        self.done
    }
}

/// One line of a terminal, which is wiped when it is dropped.
#[derive(Debug, Default)]
struct Line {
    is_shown: bool,
}

impl Line {
    fn show(&mut self, text: &str) {
        self.is_shown = true;
        // Without wrapping, so that it stays one line on a narrow terminal. There is
        // nobody to tell when it cannot be written.
        let _ = write!(std::io::stderr(), "\r\x1b[?7l{text}\x1b[K\x1b[?7h");
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.is_shown {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
