//! What a server uses, and whether it gave all of it back.

use std::time::Duration;

use sandtree_testkit::TestServer;
use tokio::time::Instant;

use crate::report::Report;

/// Until everything that is kept for a while is let go: threads that wait for work on the
/// disk, connections, actors of projects at rest.
const QUIET_WITHIN: Duration = Duration::from_secs(90);
/// Memory that may stay: what is in between blocks that live, and the store's cache.
const MEMORY_MAY_GROW_BYTES: u64 = 12 * 1024 * 1024;
/// Connections and threads that come and go by themselves.
const MAY_DIFFER: usize = 6;

/// What a server uses.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Used {
    own_bytes: u64,
    resident_bytes: u64,
    descriptors: usize,
    threads: usize,
    containers: usize,
    directories: usize,
    disk_bytes: u64,
}

impl Used {
    fn now(server: &TestServer) -> Self {
        let (descriptors, threads) = server.descriptors_and_threads();
        let dir = server.data_dir();
        let count =
            |dir: &str| std::fs::read_dir(server.data_dir().join(dir)).map_or(0, Iterator::count);
        Self {
            own_bytes: server.own_bytes(),
            resident_bytes: server.resident_bytes(),
            descriptors,
            threads,
            containers: server.containers().len(),
            directories: count("sandboxes") + count("trash"),
            disk_bytes: bytes_below(&dir.join("sandboxes")) + bytes_below(&dir.join("trash")),
        }
    }

    /// Whether all is as it was before.
    pub(crate) fn is_back_at(&self, before: &Self) -> bool {
        self.resident_bytes <= before.resident_bytes + MEMORY_MAY_GROW_BYTES
            && self.descriptors <= before.descriptors + MAY_DIFFER
            && self.threads <= before.threads + MAY_DIFFER
            && (self.containers, self.directories, self.disk_bytes) == (0, 0, 0)
    }

    /// What is used once it is at least as little as before, or does not fall any more.
    pub(crate) async fn when_quiet(server: &TestServer, before: Option<&Self>) -> Self {
        let (ends, mut ticks) =
            (Instant::now() + QUIET_WITHIN, tokio::time::interval(Duration::from_secs(1)));
        // Threads for the disk end after ten quiet seconds, and within twenty rounds of the
        // janitor, of a second each, free memory is given back.
        let first = Instant::now() + Duration::from_secs(30);
        loop {
            ticks.tick().await;
            let used = Self::now(server);
            let is_back = before.is_none_or(|before| used.is_back_at(before));
            let is_enough = Instant::now() >= first && is_back;
            if is_enough || Instant::now() >= ends {
                return used;
            }
        }
    }

    /// Reports what was used before and `after`.
    pub(crate) fn tell(&self, after: &Self, report: &mut Report) {
        let both = |before: String, after: String| format!("{before} before, {after} after");
        for (what, before, after) in [
            ("memory of its own", self.own_bytes, after.own_bytes),
            ("memory with the pages of its program", self.resident_bytes, after.resident_bytes),
        ] {
            let kib = |bytes| format!("{} KiB", bytes / 1024);
            report.line(what, both(kib(before), kib(after)));
        }
        for (what, before, after) in [
            ("descriptors", self.descriptors, after.descriptors),
            ("threads", self.threads, after.threads),
            ("containers", self.containers, after.containers),
            ("directories of sandboxes", self.directories, after.directories),
        ] {
            report.line(what, both(before.to_string(), after.to_string()));
        }
        report
            .line("bytes in them", both(self.disk_bytes.to_string(), after.disk_bytes.to_string()));
    }
}

/// Bytes of files below a directory of the test's own projects.
fn bytes_below(dir: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => bytes_below(&entry.path()),
        Ok(_) | Err(_) => entry.metadata().map_or(0, |meta| meta.len()),
    });
    sizes.sum()
}
