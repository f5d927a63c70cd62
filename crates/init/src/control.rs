//! The control connection: requests are answered one after the other, and notices
//! come in between.

use std::cmp::Ordering;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use sandtree_wire::{FrameError, FromInit, Job, JobSpec, Numbered, Reply, Request, StartError};
use sandtree_wire::{VERSION, Welcome, read_message, write_message};
use tokio::net::UnixStream;
use tokio::net::unix::{ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::command::start_error;
use crate::init::Init;
use crate::job::RunningJob;
use crate::{stats, stream};

/// How long the server may take to welcome init before it is dialled again.
const WELCOME_MAX: Duration = Duration::from_secs(10);
/// Answers on their way; when the server does not read, nothing more is done.
const ANSWERS_MAX: usize = 64;

/// What a read of requests keeps.
const BUFFER_BYTES: usize = 4096;

/// How a connection went.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Served {
    /// Whether the server answered at all.
    pub(crate) was_welcome: bool,
}

/// Serves until the connection ends, for whatever reason.
pub(crate) async fn serve(init: &Rc<Init>, mut connection: UnixStream) -> Served {
    let (mut reader, mut writer) = connection.split();
    let mut buffer = Vec::new();
    let welcome = timeout(WELCOME_MAX, read_message(&mut reader, &mut buffer)).await;
    match welcome {
        Ok(Ok(Welcome { version: 1..=VERSION })) => {}
        Ok(Ok(_) | Err(_)) | Err(_) => return Served { was_welcome: false },
    }
    let (answers, mut queue) = mpsc::channel(ANSWERS_MAX);
    tokio::select! {
        _ = take_requests(init, &mut reader, buffer, answers) => {}
        _ = send_answers(&mut writer, &mut queue) => {}
    }
    Served { was_welcome: true }
}

async fn send_answers(
    writer: &mut WriteHalf<'_>,
    queue: &mut mpsc::Receiver<FromInit>,
) -> Result<(), FrameError> {
    while let Some(answer) = queue.recv().await {
        write_message(writer, &answer).await?;
    }
    Ok(())
}

async fn take_requests(
    init: &Rc<Init>,
    reader: &mut ReadHalf<'_>,
    mut buffer: Vec<u8>,
    answers: mpsc::Sender<FromInit>,
) -> Result<(), FrameError> {
    let mut configured = false;
    loop {
        let Numbered { id, body } = read_message(reader, &mut buffer).await?;
        configured |= matches!(body, Request::Configure(_));
        if !configured {
            return Err(FrameError::Unexpected);
        }
        if let Some(body) = answer(init, id, body, &answers).await {
            let reply = FromInit::Reply(Numbered { id, body });
            answers.send(reply).await.map_err(|_| FrameError::Closed)?;
        }
        // The memory of a long message is not kept for the next one.
        buffer.shrink_to(BUFFER_BYTES);
    }
}

async fn answer(
    init: &Rc<Init>,
    id: u64,
    request: Request,
    answers: &mpsc::Sender<FromInit>,
) -> Option<Reply> {
    Some(match request {
        Request::Configure(configuration) => {
            init.configure(configuration, answers.clone());
            Reply::Configured { jobs: init.job_states() }
        }
        Request::Open(stream) => {
            stream::open(init, id, stream).await;
            return None;
        }
        Request::StartJob(spec) => start_job(init, &spec).await,
        Request::StopJob { job, epoch, grace_ms } => {
            with_epoch(init, job, epoch, |job| job.stop(grace_ms))
        }
        Request::SignalJob { job, signal } => done(init, job, "signal", |job| job.signal(signal)),
        Request::Durable { job, epoch, offset } => {
            with_epoch(init, job, epoch, |job| job.durable(offset))
        }
        Request::Resize(size) => done(init, Job::Terminal, "resize", |job| job.resize(size)),
        Request::Stats => Reply::Stats(stats::now(init)),
    })
}

async fn start_job(init: &Rc<Init>, spec: &JobSpec) -> Reply {
    if let Some(there) = init.job(spec.job) {
        let refusal = match spec.epoch.cmp(&there.epoch()) {
            Ordering::Equal => return Reply::Job(there.state()),
            Ordering::Less => Some((libc::ESTALE, "is newer")),
            Ordering::Greater if there.ended().is_none() => Some((libc::EBUSY, "still runs")),
            Ordering::Greater => None,
        };
        if let Some((errno, why)) = refusal {
            let what = format!("start {}: start {} {why}", spec.epoch, there.epoch());
            return Reply::Refused(StartError { errno, what });
        }
    }
    match RunningJob::start(init, spec).await {
        Ok(job) => {
            let state = job.state();
            init.set_job(job);
            Reply::Job(state)
        }
        Err(error) => Reply::Refused(error),
    }
}

/// Another start than the one that was meant is left alone, and so is none at all.
fn with_epoch(init: &Init, job: Job, epoch: u64, act: impl FnOnce(&Rc<RunningJob>)) -> Reply {
    if let Some(job) = init.job(job).filter(|job| job.epoch() == epoch) {
        act(&job);
    }
    Reply::Done
}

fn done(
    init: &Init,
    job: Job,
    verb: &str,
    act: impl FnOnce(&RunningJob) -> io::Result<()>,
) -> Reply {
    let missing = || io::Error::from_raw_os_error(libc::ESRCH);
    match init.job(job).ok_or_else(missing).and_then(|job| act(&job)) {
        Ok(()) => Reply::Done,
        Err(error) => Reply::Refused(start_error(&format!("{verb} the {job:?}"), &error)),
    }
}
