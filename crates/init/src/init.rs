//! What init knows: shared by all its tasks, which run on one thread.

use std::cell::{Cell, RefCell};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use sandtree_wire::{Configuration, FromInit, Hello, Job, JobState, Notice, Role, TOKEN_CHARS};
use sandtree_wire::{DATA_BYTES_MAX, SOCKET_NAME, StartError, TOKEN_NAME, VERSION};
use tokio::sync::{mpsc, watch};

use crate::job::RunningJob;
use crate::oom::OomScore;
use crate::reaper::Reaper;

/// Exit codes of init.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub(crate) enum Exit {
    /// It was asked to stop, and everything in the sandbox has ended.
    Stopped = 0,
    /// The token could not be read, or is none.
    NoToken = 66,
    /// The kernel refused something without which nothing works.
    NoKernel = 71,
}

/// See the module.
pub(crate) struct Init {
    home: PathBuf,
    token: String,
    /// What children start with when memory runs out.
    pub(crate) oom: OomScore,
    /// Who has ended.
    pub(crate) reaper: Reaper,
    /// Whether no child is left.
    pub(crate) childless: watch::Sender<bool>,
    /// `/dev/null`, opened before anybody could put something else there.
    pub(crate) null: File,
    /// Streams that are open.
    pub(crate) streams: Count,
    /// Execs in flight.
    pub(crate) execs: Count,
    /// Whether the sandbox is about to end, so that nothing new is started.
    pub(crate) stopping: Cell<bool>,
    /// Where jobs read into; never held across an await.
    pub(crate) scratch: RefCell<Vec<u8>>,
    configuration: RefCell<Option<Rc<Configuration>>>,
    control: RefCell<Option<mpsc::Sender<FromInit>>>,
    jobs: RefCell<[Option<Rc<RunningJob>>; 2]>,
}

impl Init {
    /// Reads the token and opens what has to be open before anything runs.
    ///
    /// # Errors
    ///
    /// What could not be read, and the exit code for it.
    pub(crate) fn new(home: PathBuf) -> Result<Self, (Exit, io::Error)> {
        let token = read_token(&home).map_err(|error| (Exit::NoToken, error))?;
        let null = OpenOptions::new().read(true).write(true).open("/dev/null");
        Ok(Self {
            home,
            token,
            oom: OomScore::open(),
            reaper: Reaper::default(),
            childless: watch::Sender::new(false),
            null: null.map_err(|error| (Exit::NoKernel, error))?,
            streams: Count::default(),
            execs: Count::default(),
            stopping: Cell::new(false),
            scratch: RefCell::new(vec![0; DATA_BYTES_MAX]),
            configuration: RefCell::new(None),
            control: RefCell::new(None),
            jobs: RefCell::new([None, None]),
        })
    }

    /// Where the server listens.
    pub(crate) fn socket(&self) -> PathBuf {
        self.home.join(SOCKET_NAME)
    }

    /// What a connection begins with.
    pub(crate) fn hello(&self, role: Role) -> Hello {
        Hello { version: VERSION, token: self.token.clone(), role }
    }

    /// Takes the server's configuration, and says who gets notices from here on.
    pub(crate) fn configure(&self, configuration: Configuration, control: mpsc::Sender<FromInit>) {
        *self.configuration.borrow_mut() = Some(Rc::new(configuration));
        *self.control.borrow_mut() = Some(control);
    }

    /// What the server configured; nothing runs before it has.
    pub(crate) fn configuration(&self) -> Option<Rc<Configuration>> {
        self.configuration.borrow().clone()
    }

    /// What programs are started with.
    ///
    /// # Errors
    ///
    /// When this is not the time to start any.
    pub(crate) fn startable(&self) -> Result<Rc<Configuration>, StartError> {
        let refused = |errno, why: &str| StartError { errno, what: format!("run anything: {why}") };
        if self.stopping.get() {
            return Err(refused(libc::ESHUTDOWN, "the sandbox is stopping"));
        }
        self.configuration().ok_or_else(|| refused(libc::EAGAIN, "init is not configured"))
    }

    /// Tells the server of a job's end. Without a connection it finds out from the
    /// state that it gets after its next configuration.
    pub(crate) async fn announce(&self, ended: JobState) {
        let control = self.control.borrow().clone();
        if let Some(control) = control {
            let _ = control.send(FromInit::Notice(Notice::JobEnded(ended))).await;
        }
    }

    /// The newest start of a job.
    pub(crate) fn job(&self, job: Job) -> Option<Rc<RunningJob>> {
        self.jobs.borrow()[place(job)].clone()
    }

    /// Puts a new start of a job in the place of an older one.
    pub(crate) fn set_job(&self, job: Rc<RunningJob>) {
        let place = place(job.kind());
        self.jobs.borrow_mut()[place] = Some(job);
    }

    /// The states of all jobs that the server may still want something of.
    pub(crate) fn job_states(&self) -> Vec<JobState> {
        let jobs = self.jobs.borrow();
        let wanted = jobs.iter().flatten().filter(|job| !job.forgotten());
        wanted.map(|job| job.state()).collect()
    }
}

/// How many of something there are.
#[derive(Debug, Default)]
pub(crate) struct Count(Rc<Cell<u32>>);

impl Count {
    /// One more, unless there are `max`; counted until the result is dropped.
    pub(crate) fn take(&self, max: u32) -> Option<Counted> {
        let count = self.get();
        (count < max).then(|| {
            self.0.set(count + 1);
            Counted(Rc::clone(&self.0))
        })
    }

    /// How many there are now.
    pub(crate) fn get(&self) -> u32 {
        self.0.get()
    }
}

/// One of a [`Count`].
#[derive(Debug)]
pub(crate) struct Counted(Rc<Cell<u32>>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

fn place(job: Job) -> usize {
    match job {
        Job::Process => 0,
        Job::Terminal => 1,
    }
}

fn read_token(home: &Path) -> io::Result<String> {
    let text = fs::read_to_string(home.join(TOKEN_NAME))?;
    let token = text.trim_ascii();
    let is_token = token.len() == TOKEN_CHARS && token.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_token.then(|| token.to_owned()).ok_or_else(|| io::ErrorKind::InvalidData.into())
}
