//! Jobs: what lives on while the server is away.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::Duration;

use sandtree_wire::{DATA_BYTES_MAX, ExitStatus, Job, JobSpec, JobState, Size, StartError};
use tokio::net::unix::pipe;
use tokio::sync::watch;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::timeout;

use crate::clock::{now_us, running_for};
use crate::command::{Command, Request, start_error};
use crate::init::Init;
use crate::pace::{PATIENCE, Pace};
use crate::pipes::{self, Ours};
use crate::pty::Pty;
use crate::ring::Ring;
use crate::sys;
use crate::tree::Tree;

/// Pieces of a terminal's output that are this close become one record.
const TERMINAL_MERGE_US: u64 = 1000;
/// Most that is still read from a terminal after its shell has ended.
const LAST_BYTES_MAX: usize = 1024 * 1024;

/// One start of a job.
pub(crate) struct RunningJob {
    kind: Job,
    epoch: u64,
    tree: Tree,
    /// Gone once the job has ended and its last output is in the ring.
    io: RefCell<Option<Rc<JobIo>>>,
    ring: RefCell<Ring>,
    pace: Pace,
    /// Changes with everything that is new in the ring or was taken from it, and with
    /// the end.
    changed: watch::Sender<()>,
    ended: Cell<Option<ExitStatus>>,
    forgotten: Cell<bool>,
    block_when_full: bool,
    kill_timer: RefCell<Option<AbortHandle>>,
}

enum JobIo {
    Pipes(Ours),
    Terminal(Pty),
}

impl RunningJob {
    /// Starts a job and a task that follows it to its end.
    ///
    /// # Errors
    ///
    /// Why it does not run.
    pub(crate) async fn start(init: &Rc<Init>, spec: &JobSpec) -> Result<Rc<Self>, StartError> {
        let configuration = init.startable()?;
        let command = Command::prepare(&Request {
            choices: &spec.argv_choices,
            cwd: spec.cwd.as_deref(),
            base: &configuration.env,
            env: &spec.env,
            terminal: spec.job == Job::Terminal,
        })?;
        let merge_us = if spec.job == Job::Terminal { TERMINAL_MERGE_US } else { 0 };
        let ring = Ring::new(spec.ring_bytes, merge_us);
        let ring = ring.map_err(|error| start_error("make room for output", &error))?;
        let (tree, io) = start_tree(init, &command, spec).await?;
        let job = Rc::new(Self {
            kind: spec.job,
            epoch: spec.epoch,
            tree,
            io: RefCell::new(Some(Rc::new(io))),
            ring: RefCell::new(ring),
            pace: Pace::default(),
            changed: watch::Sender::new(()),
            ended: Cell::new(None),
            forgotten: Cell::new(false),
            block_when_full: spec.block_when_full,
            kill_timer: RefCell::new(None),
        });
        spawn_local(follow(Rc::clone(init), Rc::clone(&job)));
        Ok(job)
    }

    /// Which job it is.
    pub(crate) fn kind(&self) -> Job {
        self.kind
    }

    /// Which start of it.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&self) -> Option<ExitStatus> {
        self.ended.get()
    }

    /// Whether it ended and the server has all of it.
    pub(crate) fn forgotten(&self) -> bool {
        self.forgotten.get()
    }

    /// Where it is.
    pub(crate) fn state(&self) -> JobState {
        let ring = self.ring.borrow();
        JobState {
            job: self.kind,
            epoch: self.epoch,
            pid: self.tree.pid(),
            kept_from: ring.kept_from(),
            end: ring.end(),
            ended: self.ended.get(),
        }
    }

    /// Its output.
    pub(crate) fn ring(&self) -> &RefCell<Ring> {
        &self.ring
    }

    /// Begins to read its output from here on.
    pub(crate) fn read_from(self: &Rc<Self>, offset: u64) -> Reading {
        self.pace.join(offset);
        Reading(Rc::clone(self))
    }

    /// Tells of new output, and of the end.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Sends a signal to the process group of its main process.
    ///
    /// # Errors
    ///
    /// What `kill` says.
    pub(crate) fn signal(&self, signal: i32) -> io::Result<()> {
        self.tree.signal(signal)
    }

    /// Asks it to end, and kills what is left of its tree after the grace. A second
    /// request sets a new grace.
    pub(crate) fn stop(self: &Rc<Self>, grace_ms: u64) {
        if self.ended.get().is_some() {
            return;
        }
        let asked = match self.kind {
            Job::Process => libc::SIGTERM,
            Job::Terminal => libc::SIGHUP,
        };
        let _ = self.signal(asked);
        let _ = self.signal(libc::SIGCONT);
        let job = Rc::clone(self);
        let timer = spawn_local(async move {
            running_for(Duration::from_millis(grace_ms)).await;
            if job.ended.get().is_none() {
                job.tree.kill().await;
            }
        });
        let older = self.kill_timer.borrow_mut().replace(timer.abort_handle());
        if let Some(older) = older {
            older.abort();
        }
    }

    /// Frees what the server has; an ended job of which it has all is forgotten.
    pub(crate) fn durable(&self, offset: u64) {
        let mut ring = self.ring.borrow_mut();
        ring.free_before(offset);
        if self.ended.get().is_some() && ring.kept_from() == ring.end() {
            self.forgotten.set(true);
            sys::trim_memory();
        }
        drop(ring);
        self.changed.send_replace(());
    }

    /// Sets the size of a terminal; a process has none.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub(crate) fn resize(&self, size: Size) -> io::Result<()> {
        match self.io().as_deref() {
            Some(JobIo::Terminal(pty)) => pty.resize(size),
            Some(JobIo::Pipes(_)) | None => Ok(()),
        }
    }

    /// Writes input, at the job's pace.
    ///
    /// # Errors
    ///
    /// When it no longer reads.
    pub(crate) async fn write_input(&self, bytes: &[u8]) -> io::Result<()> {
        match self.io().as_deref() {
            Some(JobIo::Pipes(Ours { stdin: Some(stdin), .. })) => {
                pipes::write_all(stdin, bytes).await
            }
            Some(JobIo::Terminal(pty)) => pty.write_all(bytes).await,
            Some(JobIo::Pipes(_)) | None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn io(&self) -> Option<Rc<JobIo>> {
        self.io.borrow().clone()
    }

    fn push(&self, stream: u8, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.ring.borrow_mut().push(stream, now_us(), bytes);
            self.changed.send_replace(());
        }
    }

    /// Bytes that may be read now without losing any that are to be kept; waits
    /// for there to be some.
    async fn room(&self) -> usize {
        if self.kind == Job::Terminal {
            return self.room_of_terminal().await;
        }
        if !self.block_when_full {
            return DATA_BYTES_MAX;
        }
        let mut changes = self.changes();
        loop {
            let room = self.ring.borrow().room();
            if room > 0 {
                return room;
            }
            let _ = changes.changed().await;
        }
    }

    /// Waits as long as the output is too far ahead of who reads it.
    async fn room_of_terminal(&self) -> usize {
        while self.pace.is_ahead(self.ring.borrow().end(), self.ring.borrow().ahead_max()) {
            if timeout(PATIENCE, self.changes().changed()).await.is_err() {
                self.pace.give_up();
            }
        }
        self.ring.borrow().piece_bytes_max()
    }
}

/// Somebody who reads a job's output, until this is dropped.
pub(crate) struct Reading(Rc<RunningJob>);

impl Reading {
    /// Everything before `offset` has been taken.
    pub(crate) fn take(&self, offset: u64) {
        self.0.pace.take(offset);
        self.0.changed.send_replace(());
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.pace.leave();
        self.0.changed.send_replace(());
    }
}

async fn start_tree(
    init: &Init,
    command: &Command,
    spec: &JobSpec,
) -> Result<(Tree, JobIo), StartError> {
    match spec.job {
        Job::Process => {
            let opened = pipes::open(true);
            let (ours, theirs) = opened.map_err(|error| start_error("open pipes", &error))?;
            let tree = Tree::start(init, command, theirs.stdio(&init.null)).await?;
            Ok((tree, JobIo::Pipes(ours)))
        }
        Job::Terminal => {
            let opened = Pty::open(spec.size);
            let pty = opened.map_err(|error| start_error("open a terminal", &error))?;
            let tree = Tree::start(init, command, pty.stdio()).await?;
            Ok((tree, JobIo::Terminal(pty)))
        }
    }
}

/// Collects a job's output until its main process ends, then ends the rest of it.
async fn follow(init: Rc<Init>, job: Rc<RunningJob>) {
    let Some(io) = job.io() else { return };
    let status = tokio::select! {
        status = job.tree.ended() => status,
        () = collect(&init, &job, &io) => return,
    };
    if job.kind == Job::Terminal {
        job.tree.hang_up().await;
    }
    job.tree.kill().await;
    job.tree.release();
    collect_rest(&init, &job, &io).await;
    job.io.borrow_mut().take();
    job.ended.set(Some(status));
    job.changed.send_replace(());
    init.announce(job.state()).await;
    sys::trim_memory();
}

/// Collects for ever.
async fn collect(init: &Init, job: &RunningJob, io: &JobIo) {
    match io {
        JobIo::Pipes(pipes) => {
            tokio::join!(
                collect_pipe(init, job, &pipes.stdout, 1),
                collect_pipe(init, job, &pipes.stderr, 2),
            );
        }
        JobIo::Terminal(pty) => loop {
            let room = job.room().await;
            pty.collect(&init.scratch, room, |bytes| job.push(1, bytes)).await;
        },
    }
    std::future::pending().await
}

async fn collect_pipe(init: &Init, job: &RunningJob, pipe: &pipe::Receiver, stream: u8) {
    loop {
        let room = job.room().await;
        if pipe.readable().await.is_err() {
            return;
        }
        let mut scratch = init.scratch.borrow_mut();
        let room = room.min(scratch.len());
        match pipe.try_read(&mut scratch[..room]) {
            Ok(0) => return,
            Ok(count) => job.push(stream, &scratch[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

/// Collects what is there now: all that the main process wrote, but not what
/// somebody who escaped may go on writing.
async fn collect_rest(init: &Init, job: &RunningJob, io: &JobIo) {
    match io {
        JobIo::Pipes(pipes) => {
            for (pipe, stream) in [(&pipes.stdout, 1), (&pipes.stderr, 2)] {
                let left = sys::readable_bytes(pipe.as_fd());
                let read = |buffer: &mut [u8]| sys::read(pipe.as_fd(), buffer).unwrap_or(0);
                take_rest(init, job, stream, left, read).await;
            }
        }
        JobIo::Terminal(pty) => {
            take_rest(init, job, 1, LAST_BYTES_MAX, |buffer| pty.read_now(buffer)).await;
        }
    }
}

/// Reads at most `left` bytes, at the pace of the ring.
async fn take_rest(
    init: &Init,
    job: &RunningJob,
    stream: u8,
    mut left: usize,
    mut read: impl FnMut(&mut [u8]) -> usize,
) {
    while left > 0 {
        let room = job.room().await.min(left);
        let mut scratch = init.scratch.borrow_mut();
        let room = room.min(scratch.len());
        let count = read(&mut scratch[..room]);
        if count == 0 {
            return;
        }
        job.push(stream, &scratch[..count]);
        left = left.saturating_sub(count);
    }
}
