//! The process between init and a program, one for each tree.
//!
//! ```text
//! init ── subreaper ── main ── ...
//!             └─ whatever of the tree lost its parent
//! ```
//!
//! It has init's memory and nothing to do: it starts the main process, reports
//! what becomes of it, and adopts whatever daemonises below it, so that a tree can
//! be walked from one root. It never reaps the main process: as a zombie that
//! keeps its id, so nobody can be hit by a signal meant for it. Init kills the
//! subreaper when the tree is no longer of interest, and then adopts what is left.
//!
//! Like init it is undumpable and blocks all signals. Hostile code of the same
//! user can still kill or stop it; init then sees its pipe close, or loses patience.

use std::ffi::{c_int, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use crate::command::{Command, Step};
use crate::sys::{Pid, check, errno, own_pid};

/// What a subreaper tells init.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Report {
    /// The main process is there and about to become the program. It says so
    /// itself: once the program runs, it may kill the subreaper.
    Born(Pid),
    /// The main process runs the program.
    Started,
    /// It could not.
    Failed(Step, i32),
    /// It returned this code.
    Exited(i32),
    /// This signal ended it.
    Killed(i32),
}

impl Report {
    /// Length of a report: below `PIPE_BUF`, so that it is never torn.
    pub(crate) const BYTES: usize = 12;

    fn to_bytes(self) -> [u8; Self::BYTES] {
        let numbers = match self {
            Report::Born(pid) => [0, pid, 0],
            Report::Started => [1, 0, 0],
            Report::Failed(step, errno) => [2, step as i32, errno],
            Report::Exited(code) => [3, code, 0],
            Report::Killed(signal) => [4, signal, 0],
        };
        let mut bytes = [0; Self::BYTES];
        for (place, number) in bytes.chunks_exact_mut(4).zip(numbers) {
            place.copy_from_slice(&number.to_ne_bytes());
        }
        bytes
    }

    /// Reads a report back.
    pub(crate) fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = bytes;
        let value = i32::from_ne_bytes([e, f, g, h]);
        match i32::from_ne_bytes([a, b, c, d]) {
            0 => Report::Born(value),
            1 => Report::Started,
            2 => Report::Failed(Step::from(value), i32::from_ne_bytes([i, j, k, l])),
            3 => Report::Exited(value),
            _ => Report::Killed(value),
        }
    }
}

/// The program's side of its standard input, output and error.
pub(crate) type Stdio<'a> = [BorrowedFd<'a>; 3];

/// Where the subreaper keeps its end of the pipe to init.
const REPORTS: RawFd = 3;
const STACK_BYTES: usize = 64 * 1024;

/// Forks a subreaper for one command.
///
/// # Errors
///
/// What the fork failed with, such as a limit on processes.
pub(crate) fn fork(command: &Command, stdio: Stdio<'_>, reports: &OwnedFd) -> io::Result<Pid> {
    // SAFETY: init has one thread, so the child finds no lock held; it runs only
    // the function below, which never returns.
    match check(unsafe { libc::fork() })? {
        0 => run(command, stdio.map(|fd| fd.as_raw_fd()), reports.as_raw_fd()),
        pid => Ok(pid),
    }
}

fn run(command: &Command, stdio: [RawFd; 3], reports: RawFd) -> ! {
    settle(stdio, reports);
    let main = match start(command) {
        Ok(main) => main,
        Err((step, errno)) => {
            report(Report::Failed(step, errno));
            // SAFETY: ends this process without running anything of init's.
            unsafe { libc::_exit(0) }
        }
    };
    // What is left open here would keep a pipe alive that the program closed.
    close_range(0, 2);
    report(Report::Started);
    report(wait_for(main));
    loop {
        // SAFETY: waits; every signal is blocked, so only KILL ends it.
        unsafe { libc::pause() };
    }
}

/// Puts the four descriptors in place and drops all others.
fn settle(stdio: [RawFd; 3], reports: RawFd) {
    // SAFETY: numbers only. Sources are all above 2, because init keeps 0 to 2
    // open, so no source is overwritten before it is copied.
    unsafe {
        for (target, source) in (0..).zip(stdio) {
            libc::dup2(source, target);
        }
        if reports != REPORTS {
            libc::dup3(reports, REPORTS, libc::O_CLOEXEC);
        }
        libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
        libc::prctl(libc::PR_SET_NAME, c"sandtree-tree".as_ptr(), 0, 0, 0);
    }
    close_range(REPORTS + 1, RawFd::MAX);
}

/// Closes descriptors; where the kernel has no call for it, one by one as far as
/// init's own limits let them go.
fn close_range(first: RawFd, last: RawFd) {
    // SAFETY: closes descriptors that nothing in this process uses any more.
    let answer = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    if answer != 0 {
        for fd in first..=last.min(16 * 1024) {
            // SAFETY: as above.
            unsafe { libc::close(fd) };
        }
    }
}

/// What parent and child share while the child becomes the program.
struct Birth<'a> {
    command: &'a Command,
    failure: Option<(Step, i32)>,
}

/// Starts the main process the way `vfork` does: it borrows this memory until it
/// has become the program, so nothing is copied and its failure is simply there.
fn start(command: &Command) -> Result<Pid, (Step, i32)> {
    let mut stack = MaybeUninit::<[u8; STACK_BYTES]>::uninit();
    let mut birth = Birth { command, failure: None };
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: the child has a stack of its own, growing down from its aligned end;
    // this process sleeps until the child has left it, and `birth` outlives that.
    let answer = unsafe {
        let end = stack.as_mut_ptr().cast::<u8>().add(STACK_BYTES);
        let end = end.sub(end.addr() % 16).cast::<c_void>();
        libc::clone(be_born, end, flags, (&raw mut birth).cast())
    };
    let pid = check(answer).map_err(|_| (Step::Fork, errno()))?;
    // SAFETY: `birth` is alive; the read is volatile because another process wrote.
    match unsafe { (&raw const birth.failure).read_volatile() } {
        Some(failure) => Err(failure),
        None => Ok(pid),
    }
}

extern "C" fn be_born(birth: *mut c_void) -> c_int {
    // SAFETY: `start` passes its own `Birth` and does not run meanwhile.
    let birth = unsafe { &mut *birth.cast::<Birth<'_>>() };
    report(Report::Born(own_pid()));
    birth.failure = Some(birth.command.become_it());
    127
}

/// Waits for the end of the main process and reaps every other child on the way.
fn wait_for(main: Pid) -> Report {
    loop {
        // SAFETY: an all-zero siginfo is valid, and waitid fills it.
        let (answer, info) = unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            let flags = libc::WEXITED | libc::WNOWAIT;
            (libc::waitid(libc::P_ALL, 0, &raw mut info, flags), info)
        };
        if answer < 0 && errno() != libc::EINTR {
            return Report::Killed(libc::SIGKILL);
        }
        // SAFETY: waitid filled the fields of a SIGCHLD, or left them zero.
        let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
        if answer == 0 && pid == main {
            return match info.si_code {
                libc::CLD_EXITED => Report::Exited(status),
                _ => Report::Killed(status),
            };
        }
        if answer == 0 && pid > 0 {
            // SAFETY: reaps a child that has ended; the status is not wanted.
            unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::WNOHANG) };
        }
    }
}

fn report(report: Report) {
    let bytes = report.to_bytes();
    // SAFETY: twelve bytes of a live array. Nobody is left to be told of a failure.
    unsafe { libc::write(REPORTS, bytes.as_ptr().cast(), bytes.len()) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_come_out_as_they_went_in() {
        let reports = [
            Report::Born(7),
            Report::Started,
            Report::Failed(Step::Directory, libc::ENOENT),
            Report::Exited(-1),
            Report::Killed(9),
        ];
        for report in reports {
            assert_eq!(Report::from_bytes(report.to_bytes()), report);
        }
    }
}
