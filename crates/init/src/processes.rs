//! What `/proc` says of the processes in the sandbox. All of it may change while
//! it is read, and names in it are chosen by hostile code.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read;

use crate::sys::Pid;

/// One process, as its `stat` file had it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: Pid,
    pub(crate) parent: Pid,
    pub(crate) group: Pid,
    /// Ended, but not yet reaped.
    pub(crate) zombie: bool,
    /// Processor time, in ticks.
    pub(crate) ticks: u64,
    pub(crate) threads: u64,
    /// Resident memory, in pages.
    pub(crate) pages: u64,
}

/// All processes that can be seen; those that vanish meanwhile are left out.
pub(crate) fn all() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let mut text = [0; 1024];
    entries
        .flatten()
        .filter_map(|entry| {
            let pid: Pid = entry.file_name().to_str()?.parse().ok()?;
            let mut file = File::open(format!("/proc/{pid}/stat")).ok()?;
            let bytes = file.read(&mut text).ok()?;
            parse(pid, text.get(..bytes)?)
        })
        .collect()
}

/// Everything that descends from `root`, which itself is left out.
pub(crate) fn descendants(all: &[Process], root: Pid) -> Vec<Process> {
    let mut children: BTreeMap<Pid, Vec<&Process>> = BTreeMap::new();
    for process in all {
        children.entry(process.parent).or_default().push(process);
    }
    // The snapshot is not atomic: `seen` ends a circle that was never there.
    let mut seen = BTreeSet::from([root]);
    let mut found = Vec::new();
    let mut next = vec![root];
    while let Some(parent) = next.pop() {
        for child in children.get(&parent).into_iter().flatten() {
            if seen.insert(child.pid) {
                next.push(child.pid);
                found.push(**child);
            }
        }
    }
    found
}

/// Reads one `stat` line. The name stands in parentheses and may hold anything,
/// parentheses and spaces included, so fields are counted from the last one.
fn parse(pid: Pid, line: &[u8]) -> Option<Process> {
    let name_end = line.iter().rposition(|byte| *byte == b')')?;
    let rest = str::from_utf8(line.get(name_end + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    // Field numbers as in proc(5), where the group is number 5.
    let user: u64 = fields.nth(14 - 6)?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    let threads = fields.nth(20 - 16)?.parse().ok()?;
    let pages = fields.nth(24 - 21)?.parse().unwrap_or(0);
    Some(Process {
        pid,
        parent,
        group,
        zombie: matches!(state, "Z" | "X" | "x"),
        ticks: user.saturating_add(system),
        threads,
        pages,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: Pid, parent: Pid) -> Process {
        Process { pid, parent, group: pid, zombie: false, ticks: 0, threads: 1, pages: 0 }
    }

    #[test]
    fn a_hostile_name_cannot_shift_the_fields() {
        let line = b"7 (a) R 1 1 (b)) S 3 5 5 0 -1 4 1 2 3 4 50 60 0 0 20 0 2 0 99 4096 12 18 1";
        let parsed = parse(7, line).unwrap();
        assert_eq!((parsed.parent, parsed.group), (3, 5));
        assert_eq!((parsed.ticks, parsed.threads, parsed.pages), (110, 2, 12));
    }

    #[test]
    fn torn_and_empty_lines_are_no_process() {
        for line in [&b""[..], b"7", b"7 (x)", b"7 (x) S", b"7 (x) S a b c", b"7 (x) S 1 2 3"] {
            assert_eq!(parse(7, line), None, "{line:?}");
        }
    }

    #[test]
    fn we_find_ourselves() {
        let own = crate::sys::own_pid();
        let found = all().into_iter().find(|process| process.pid == own).unwrap();
        assert_eq!(found.group, crate::sys::own_group());
        assert!(!found.zombie && found.threads > 0 && found.pages > 0);
    }

    #[test]
    fn descendants_are_walked_whatever_the_order_and_circles_end() {
        let all = [process(4, 3), process(2, 1), process(3, 2), process(9, 1)];
        let mut pids: Vec<_> = descendants(&all, 2).iter().map(|found| found.pid).collect();
        pids.sort_unstable();
        assert_eq!(pids, [3, 4]);
        let circle = [process(2, 3), process(3, 2)];
        assert_eq!(descendants(&circle, 2).len(), 1);
    }
}
