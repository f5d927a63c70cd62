//! A link: the control connection of one init, from its handshake until it ends.
//!
//! Requests and replies carry numbers, so many can be in flight. A stream is
//! asked for here and arrives at the sandbox's [home](crate::home), by its door, as a
//! connection of its own, which is handed to whoever waits for its number.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sandtree_model::{Answer, Failure, Fault};
use sandtree_wire::{
    Configuration, FrameError, FromInit, JobSpec, JobState, Numbered, Reply, Request, StartError,
    Stream, read_message, write_frame,
};
use tokio::io::{AsyncRead, AsyncWrite, BufReader};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::fullness;
use crate::home::{Door, HomeBounds};

/// Longest time that init may take to answer a request or to dial a stream.
const REPLY_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes that are read at once: replies are short, and every live project pays for it.
const READ_BYTES: usize = 512;

/// One init, as long as its control connection holds.
pub(crate) struct Link {
    /// Tells this link from an earlier one of the same sandbox.
    pub(crate) number: u64,
    /// The version of the wire that both sides speak.
    pub(crate) version: u16,
    next_id: AtomicU64,
    requests: mpsc::Sender<Vec<u8>>,
    replies: Arc<Owed<Reply>>,
    door: Arc<Door>,
    closed: CancellationToken,
}

/// What a link's reader tells the container actor.
pub(crate) enum LinkNews {
    /// Init said something that was not asked for.
    Notice(sandtree_wire::Notice),
    /// The connection ended.
    Lost,
}

/// Answers that are waited for, by number.
pub(crate) struct Owed<T> {
    waited_for: Mutex<BTreeMap<u64, oneshot::Sender<T>>>,
    max: usize,
}

impl<T> Owed<T> {
    /// So many at most.
    pub(crate) fn new(max: usize) -> Self {
        Self { waited_for: Mutex::default(), max }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, oneshot::Sender<T>>> {
        self.waited_for.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that this number is waited for.
    pub(crate) fn expect(self: &Arc<Self>, id: u64) -> Answer<Debt<T>> {
        let (sender, receiver) = oneshot::channel();
        let mut owed = self.lock();
        if owed.len() >= self.max {
            return Err(sandbox_fault("too many requests wait for it"));
        }
        owed.insert(id, sender);
        drop(owed);
        Ok(Debt { owed: Arc::clone(self), id, receiver })
    }

    /// How many are waited for.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    /// Hands over what was waited for; false when nobody waits for this number.
    pub(crate) fn pay(&self, id: u64, value: T) -> bool {
        let waiting = self.lock().remove(&id);
        waiting.is_some_and(|waiting| waiting.send(value).is_ok())
    }
}

/// One answer that is waited for; dropping it gives up the wait.
pub(crate) struct Debt<T> {
    owed: Arc<Owed<T>>,
    id: u64,
    receiver: oneshot::Receiver<T>,
}

impl<T> Drop for Debt<T> {
    fn drop(&mut self) {
        self.owed.lock().remove(&self.id);
    }
}

fn sandbox_fault(why: impl Into<Box<str>>) -> Failure {
    Fault::Sandbox(why.into()).into()
}

/// The ends of a link that are not shared: given to the connection's task.
pub(crate) struct LinkEnds {
    requests: mpsc::Receiver<Vec<u8>>,
    replies: Arc<Owed<Reply>>,
    closed: CancellationToken,
}

impl Link {
    /// A link whose connection is served by [`LinkEnds::serve`].
    pub(crate) fn new(
        number: u64,
        version: u16,
        door: Arc<Door>,
        bounds: HomeBounds,
    ) -> (Arc<Self>, LinkEnds) {
        let (sender, receiver) = mpsc::channel(bounds.requests_max);
        let replies = Arc::new(Owed::new(bounds.owed_max));
        let closed = CancellationToken::new();
        let ends =
            LinkEnds { requests: receiver, replies: Arc::clone(&replies), closed: closed.clone() };
        let link = Self {
            number,
            version,
            next_id: AtomicU64::new(1),
            requests: sender,
            replies,
            door,
            closed,
        };
        (Arc::new(link), ends)
    }

    /// Whether the connection has ended.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.is_cancelled()
    }

    /// Requests that wait to be written.
    pub(crate) fn requests_waiting(&self) -> usize {
        fullness::waiting(&self.requests)
    }

    /// Replies, or streams if there are more of them, that init owes.
    pub(crate) fn owed(&self) -> usize {
        self.replies.len().max(self.door.owed())
    }

    /// Connections of its sandbox that have no place to be heard and are being closed.
    pub(crate) fn closing(&self) -> usize {
        self.door.closing()
    }

    /// Returns when the connection has ended.
    pub(crate) async fn ended(&self) {
        self.closed.cancelled().await;
    }

    /// Sets what holds for every program from now on, and answers the jobs that
    /// are there from before.
    pub(crate) async fn configure(&self, configuration: Configuration) -> Answer<Vec<JobState>> {
        let reply = self.request(Request::Configure(configuration)).await?;
        if let Reply::Configured { jobs } = reply {
            // There are two kinds of job; a liar's list is cut.
            return Ok(jobs.into_iter().take(2).collect());
        }
        Err(unexpected(&reply))
    }

    /// Asks for something that is only done or refused.
    pub(crate) async fn tell(&self, request: Request) -> Answer<()> {
        let reply = self.request(request).await?;
        if reply == Reply::Done { Ok(()) } else { Err(unexpected(&reply)) }
    }

    /// Starts a job. The inner error is init's: the program cannot be started.
    pub(crate) async fn start_job(&self, spec: JobSpec) -> Answer<Result<JobState, StartError>> {
        let reply = self.request(Request::StartJob(spec)).await?;
        if let Reply::Job(job) = reply {
            return Ok(Ok(job));
        }
        if let Reply::Refused(error) = reply { Ok(Err(error)) } else { Err(unexpected(&reply)) }
    }

    /// Asks, and waits for the reply.
    pub(crate) async fn request(&self, request: Request) -> Answer<Reply> {
        let id = self.next_id();
        let debt = self.replies.expect(id)?;
        self.send(id, request).await?;
        self.collect(debt).await
    }

    /// Opens a stream: a connection that init has dialled for it.
    pub(crate) async fn open(&self, stream: Stream) -> Answer<UnixStream> {
        let id = self.next_id();
        let debt = self.door.expect(id).await?;
        self.send(id, Request::Open(stream)).await?;
        self.collect(debt).await
    }

    fn next_id(&self) -> u64 {
        // The link's number keeps the streams of two links of one home apart.
        (self.number << 40) | self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    async fn send(&self, id: u64, body: Request) -> Answer<()> {
        let payload = serde_json::to_vec(&Numbered { id, body })
            .map_err(|error| Fault::Internal(error.to_string().into()))?;
        let sent = tokio::time::timeout(REPLY_TIMEOUT, self.requests.send(payload)).await;
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(sandbox_fault("the connection to its init ended")),
            Err(_) => Err(sandbox_fault("its init does not read")),
        }
    }

    async fn collect<T>(&self, mut debt: Debt<T>) -> Answer<T> {
        tokio::select! {
            biased;
            paid = &mut debt.receiver => paid.map_err(|_| sandbox_fault("it did not answer")),
            () = self.closed.cancelled() => {
                Err(sandbox_fault("the connection to its init ended"))
            }
            () = tokio::time::sleep(REPLY_TIMEOUT) => {
                Err(Fault::TimedOut { what: "the sandbox's answer".into(), limit: REPLY_TIMEOUT }.into())
            }
        }
    }
}

/// What a reply means that is not the expected one.
pub(crate) fn unexpected(reply: &Reply) -> Failure {
    match reply {
        Reply::Refused(StartError { what, .. }) => sandbox_fault(what.as_str()),
        Reply::Configured { .. } | Reply::Job(_) | Reply::Done | Reply::Stats(_) => {
            sandbox_fault("its init answered something else")
        }
    }
}

impl LinkEnds {
    /// Serves the connection until it ends; `news` gets what was not asked for.
    pub(crate) async fn serve(self, connection: UnixStream, news: mpsc::Sender<LinkNews>) {
        let (reader, writer) = connection.into_split();
        let ended = tokio::select! {
            // Requests first: a sandbox that talks without end must not hold them up.
            biased;
            ended = write_requests(self.requests, writer) => ended,
            ended = read_replies(reader, &self.replies, &news) => ended,
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "control connection ended");
        }
        self.closed.cancel();
        // The container actor may be gone already; then nobody needs to know.
        let _ = news.send(LinkNews::Lost).await;
    }
}

async fn read_replies<R: AsyncRead + Unpin>(
    reader: R,
    replies: &Owed<Reply>,
    news: &mpsc::Sender<LinkNews>,
) -> Result<(), FrameError> {
    let mut reader = BufReader::with_capacity(READ_BYTES, reader);
    let mut buffer = Vec::new();
    loop {
        match read_message(&mut reader, &mut buffer).await? {
            FromInit::Reply(Numbered { id, body }) => {
                // A reply that came too late has no reader any more.
                let _ = replies.pay(id, body);
            }
            FromInit::Notice(notice) => {
                // Bounded: a flood of notices waits in the socket.
                let _ = news.send(LinkNews::Notice(notice)).await;
            }
        }
    }
}

async fn write_requests<W: AsyncWrite + Unpin>(
    mut requests: mpsc::Receiver<Vec<u8>>,
    mut writer: W,
) -> Result<(), FrameError> {
    while let Some(payload) = requests.recv().await {
        write_frame(&mut writer, sandtree_wire::Kind::Message, [&payload, &[]]).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_owed_than_the_bound_says() {
        let owed = Arc::new(Owed::<()>::new(2));
        let first = owed.expect(1).unwrap_or_else(|error| panic!("{error}"));
        let _second = owed.expect(2).unwrap_or_else(|error| panic!("{error}"));
        assert!(owed.expect(3).is_err());
        drop(first);
        assert!(owed.expect(4).is_ok());
    }
}
