//! A program and everything that descends from it.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use sandtree_wire::{ExitStatus, StartError};
use tokio::net::unix::pipe;
use tokio::time::{Instant, sleep, timeout};

use crate::command::{Command, start_error};
use crate::init::Init;
use crate::processes::{self, Process};
use crate::reaper::Watched;
use crate::subreaper::{self, Report, Stdio};
use crate::sys;

/// How long a start may take. Only a stopped subreaper needs this long.
const START_MAX: Duration = Duration::from_secs(5);
/// The code of a program that could not be run after all that time, as shells have it.
const NOT_RUN: i32 = 127;
/// How long a tree is killed before what is left of it is given up.
const KILL_MAX: Duration = Duration::from_secs(10);
/// How long a subreaper has to report the end of a killed main process.
const REPORT_MAX: Duration = Duration::from_secs(1);
/// Most rounds of stopping before killing begins.
const STOP_ROUNDS_MAX: usize = 16;

/// See the module. Dropping it lets go of what still lives: the subreaper is killed
/// and init adopts the rest.
pub(crate) struct Tree {
    subreaper: Subreaper,
    main: Rc<Watched>,
    reports: pipe::Receiver,
    ended: Cell<Option<ExitStatus>>,
}

impl Tree {
    /// Starts a command and waits until it runs.
    ///
    /// # Errors
    ///
    /// Why it does not run.
    pub(crate) async fn start(
        init: &Init,
        command: &Command,
        stdio: Stdio<'_>,
    ) -> Result<Self, StartError> {
        let (subreaper, reports) =
            fork(init, command, stdio).map_err(|error| start_error("start a process", &error))?;
        let born = timeout(START_MAX, next_report(&reports)).await.unwrap_or(None);
        let main = match born {
            Some(Report::Born(pid)) => init.reaper.watch(pid),
            Some(Report::Failed(step, errno)) => return Err(command.error(step, errno)),
            Some(Report::Started | Report::Exited(_) | Report::Killed(_)) | None => {
                let what = "start a process: it was killed or stopped on the way".to_owned();
                return Err(StartError { errno: 0, what });
            }
        };
        let tree = Self { subreaper, main, reports, ended: Cell::new(None) };
        match timeout(START_MAX, next_report(&tree.reports)).await {
            Ok(Some(Report::Failed(step, errno))) => Err(command.error(step, errno)),
            // Without a report the program runs as well: it got at its subreaper.
            Ok(_) | Err(_) => Ok(tree),
        }
    }

    /// Id of the main process.
    pub(crate) fn pid(&self) -> u32 {
        self.main.pid().unsigned_abs()
    }

    /// Waits for the end of the main process.
    ///
    /// # Cancel safety
    ///
    /// Safe, and any number may wait.
    pub(crate) async fn ended(&self) -> ExitStatus {
        loop {
            if let Some(status) = self.ended.get() {
                return status;
            }
            let readable = self.reports.readable().await;
            // Of those who wait one reads the report; the others find it here.
            if self.ended.get().is_none() {
                self.ended.set(match readable.and_then(|()| read_report(&self.reports)) {
                    Ok(Some(Report::Exited(code))) => Some(ExitStatus::Code(code)),
                    Ok(Some(Report::Killed(signal))) => Some(ExitStatus::Signal(signal)),
                    Ok(Some(Report::Failed(..))) => Some(ExitStatus::Code(NOT_RUN)),
                    Ok(Some(Report::Born(_) | Report::Started)) => None,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
                    Ok(None) | Err(_) => Some(self.lost()),
                });
            }
        }
    }

    /// Sends a signal to the main process's group.
    ///
    /// # Errors
    ///
    /// What `kill` says: no such group, or no such signal.
    pub(crate) fn signal(&self, signal: i32) -> io::Result<()> {
        if self.main.reaped() || signal <= 0 {
            let errno = if signal <= 0 { libc::EINVAL } else { libc::ESRCH };
            return Err(io::Error::from_raw_os_error(errno));
        }
        sys::kill(-self.main.pid(), signal)
    }

    /// Tells every process of the tree that its terminal is gone, and gives them a
    /// moment. Nothing waits when nothing is left.
    pub(crate) async fn hang_up(&self) {
        let living = self.living();
        for process in &living {
            let _ = sys::kill(process.pid, libc::SIGHUP);
            let _ = sys::kill(process.pid, libc::SIGCONT);
        }
        let until = Instant::now() + Duration::from_millis(100);
        while Instant::now() < until && !self.living().is_empty() {
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Kills the whole tree, and returns when nothing of it is left and its end is
    /// known to [`Tree::ended`]; or after a bounded time, when something in it
    /// cannot be killed.
    pub(crate) async fn kill(&self) {
        self.stop_all().await;
        let give_up = Instant::now() + KILL_MAX;
        let mut pause = Duration::from_millis(1);
        loop {
            let living = self.living();
            if living.is_empty() || Instant::now() > give_up {
                break;
            }
            for process in &living {
                strike(process, libc::SIGKILL);
            }
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(20));
        }
        if timeout(REPORT_MAX, self.ended()).await.is_err() {
            self.release();
        }
    }

    /// Lets go: what is left becomes init's.
    pub(crate) fn release(&self) {
        self.subreaper.kill();
    }

    /// Stops what runs, until a round finds nothing new: what is stopped cannot
    /// fork, and holds its place under the limit on processes.
    async fn stop_all(&self) {
        let mut stopped = BTreeSet::new();
        for _ in 0..STOP_ROUNDS_MAX {
            let living = self.living();
            let fresh = living.iter().filter(|process| stopped.insert(process.pid));
            if fresh.map(|process| strike(process, libc::SIGSTOP)).count() == 0 {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    /// What of the tree has not ended. Without its subreaper only what descends
    /// from the main process can still be told apart.
    fn living(&self) -> Vec<Process> {
        let all = processes::all();
        let mut living = Vec::new();
        if !self.subreaper.0.reaped() {
            living = processes::descendants(&all, self.subreaper.0.pid());
        } else if !self.main.reaped() {
            let main = self.main.pid();
            living = processes::descendants(&all, main);
            living.extend(all.iter().filter(|process| process.pid == main));
        }
        living.retain(|process| !process.zombie);
        living
    }

    /// Somebody killed the subreaper: the main process ends with it.
    fn lost(&self) -> ExitStatus {
        let _ = self.signal(libc::SIGKILL);
        ExitStatus::Signal(libc::SIGKILL)
    }
}

/// Lives as long as init wants to know of the tree.
struct Subreaper(Rc<Watched>);

impl Subreaper {
    fn kill(&self) {
        if !self.0.reaped() {
            let _ = sys::kill(self.0.pid(), libc::SIGKILL);
        }
    }
}

impl Drop for Subreaper {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A signal to a process and to its group at once: a group is signalled in one
/// step, which catches what forks faster than it can be listed.
fn strike(process: &Process, signal: i32) {
    if process.group > 1 && process.group != sys::own_group() {
        let _ = sys::kill(-process.group, signal);
    }
    let _ = sys::kill(process.pid, signal);
}

fn fork(
    init: &Init,
    command: &Command,
    stdio: Stdio<'_>,
) -> io::Result<(Subreaper, pipe::Receiver)> {
    let (reader, writer) = io::pipe()?;
    let reader = pipe::Receiver::from_owned_fd(reader.into())?;
    let writer = writer.into();
    let subreaper = init.oom.of_children(|| subreaper::fork(command, stdio, &writer))?;
    Ok((Subreaper(init.reaper.watch(subreaper)), reader))
}

async fn next_report(reports: &pipe::Receiver) -> Option<Report> {
    loop {
        reports.readable().await.ok()?;
        match read_report(reports) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            report => return report.ok()?,
        }
    }
}

/// The next report, or none when the subreaper is gone.
fn read_report(reports: &pipe::Receiver) -> io::Result<Option<Report>> {
    let mut bytes = [0; Report::BYTES];
    let count = reports.try_read(&mut bytes)?;
    Ok((count == Report::BYTES).then(|| Report::from_bytes(bytes)))
}
