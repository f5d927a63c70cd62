//! What the sandbox uses: its control group where that can be seen, else the sum
//! over its processes.

use std::fs;

use sandtree_wire::Stats;

use crate::init::Init;
use crate::processes;
use crate::sys;

const MICROSECONDS: u64 = 1_000_000;

/// What is used now.
pub(crate) fn now(init: &Init) -> Stats {
    let summed = sum();
    Stats {
        cpu_us: cpu_us().unwrap_or(summed.cpu_us),
        memory_bytes: memory_bytes().unwrap_or(summed.memory_bytes),
        pids: pids().unwrap_or(summed.pids),
        execs: u64::from(init.execs.get()),
    }
}

fn cpu_us() -> Option<u64> {
    let two = || {
        let text = fs::read_to_string("/sys/fs/cgroup/cpu.stat").ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("usage_usec "))?;
        line.trim().parse().ok()
    };
    let one = || number("/sys/fs/cgroup/cpuacct/cpuacct.usage").map(|ns| ns / 1000);
    two().or_else(one)
}

fn memory_bytes() -> Option<u64> {
    number("/sys/fs/cgroup/memory.current")
        .or_else(|| number("/sys/fs/cgroup/memory/memory.usage_in_bytes"))
}

fn pids() -> Option<u64> {
    number("/sys/fs/cgroup/pids.current").or_else(|| number("/sys/fs/cgroup/pids/pids.current"))
}

fn number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Of all that live; what has ended is not in it.
fn sum() -> Stats {
    // SAFETY: asks for two constants.
    let (tick, page) =
        unsafe { (libc::sysconf(libc::_SC_CLK_TCK), libc::sysconf(libc::_SC_PAGESIZE)) };
    let tick_us = MICROSECONDS / u64::try_from(tick).unwrap_or(100).max(1);
    let page = u64::try_from(page).unwrap_or(4096);
    let all = processes::all();
    let mut ours = processes::descendants(&all, sys::own_pid());
    ours.extend(all.iter().filter(|process| process.pid == sys::own_pid()));
    ours.iter().fold(Stats::default(), |sum, process| Stats {
        cpu_us: sum.cpu_us.saturating_add(process.ticks.saturating_mul(tick_us)),
        memory_bytes: sum.memory_bytes.saturating_add(process.pages.saturating_mul(page)),
        pids: sum.pids.saturating_add(process.threads),
        execs: 0,
    })
}
