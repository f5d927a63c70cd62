//! Memory of a process, and how far it grows meanwhile.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;

/// Time between two looks.
const EVERY: Duration = Duration::from_millis(10);

/// `VmRSS`, and what of it is no file's, in KiB.
pub(crate) fn resident_kib(pid: u64) -> anyhow::Result<(u64, u64)> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|line| line.split_whitespace().next());
        number.and_then(|number| number.parse().ok()).with_context(|| format!("no {name}"))
    };
    Ok((field("VmRSS:")?, field("RssAnon:")?))
}

/// Looks at a process's memory again and again.
pub(crate) struct Watch {
    /// Dropped when it is over.
    over: Sender<()>,
    most: JoinHandle<u64>,
    before: u64,
}

impl Watch {
    pub(crate) fn begin(pid: u64) -> Self {
        let look = move || resident_kib(pid).map_or(0, |(resident, _)| resident);
        let before = look();
        let (over, going_on) = channel();
        let most = std::thread::spawn(move || {
            let mut most = before;
            while going_on.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                most = most.max(look());
            }
            most
        });
        Self { over, most, before }
    }

    /// How far it grew at most, in KiB.
    pub(crate) fn end(self) -> u64 {
        drop(self.over);
        self.most.join().map_or(0, |most| most.saturating_sub(self.before))
    }
}
