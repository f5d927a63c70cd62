//! The pump: copies a job's output from init's ring to the log on disk, and tells
//! init what is durable, so that it may forget it.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use sandtree_model::ExitStatus;
use sandtree_wire::{AttachEvent, FrameError, Job, Kind, RecordHead, Request, Stream, read_frame};
use tokio::io::BufReader;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::context::Context;
use crate::crash::{self, Point};
use crate::disk::blocking;
use crate::link::Link;
use crate::live::Live;
use crate::log::LogWriter;
use crate::sandbox::exit_status;

/// Output is durable at the latest so long after it came.
const SYNC_EVERY: Duration = Duration::from_millis(200);
/// Output is made durable at the latest after so many bytes.
const SYNC_BYTES: usize = 1024 * 1024;
/// Items that wait for the disk.
const WAITING_MAX: usize = 256;
/// Pause before the output is asked for again.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// What init sends on an attach stream.
enum Item {
    Record(RecordHead, Bytes),
    Gap { from: u64, to: u64 },
    Ended { status: ExitStatus, end: u64 },
    Forgotten,
}

/// Whether the pump has to go on.
enum Flow {
    GoesOn,
    Ended,
}

/// Pumps until the job's last byte is durable, or the link is gone.
pub(super) async fn run(context: Arc<Context>, live: Arc<Live>, link: Arc<Link>, epoch: u64) {
    while !link.is_closed() {
        let outcome = match open_log(&context, &live).await {
            Ok(log) => Pump { live: &live, link: &link, log, epoch }.attach().await,
            Err(error) => Err(error),
        };
        match outcome {
            Ok(Flow::Ended) => return,
            Ok(Flow::GoesOn) => {}
            Err(error) => tracing::warn!(%error, "a process's log stands still; trying again"),
        }
        tokio::time::sleep(RETRY_AFTER).await;
    }
}

/// The log's one writer. The first time, all of the newest file is read.
async fn open_log(context: &Arc<Context>, live: &Arc<Live>) -> io::Result<Arc<Mutex<LogWriter>>> {
    let (context, live) = (Arc::clone(context), Arc::clone(live));
    let opened = blocking(move || {
        let dir = context.sandbox_dir(&live.row().sandbox).log();
        live.log_writer(&dir, &context.settings)
    });
    opened.await.map_err(io::Error::other)?
}

struct Pump<'a> {
    live: &'a Live,
    link: &'a Link,
    log: Arc<Mutex<LogWriter>>,
    epoch: u64,
}

impl Pump<'_> {
    async fn attach(&self) -> io::Result<Flow> {
        let end = self.log.lock().unwrap_or_else(PoisonError::into_inner).end();
        let from = end.filter(|end| end.epoch == self.epoch).map_or(0, |end| end.offset);
        let stream = Stream::Attach { job: Job::Process, epoch: self.epoch, from };
        let connection = self.link.open(stream).await.map_err(io::Error::other)?;
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        let (read, written) =
            tokio::join!(read_items(connection, sender), self.write_items(receiver));
        if let Err(error) = read {
            tracing::debug!(%error, "an attach stream ended");
        }
        written
    }

    async fn write_items(&self, mut items: mpsc::Receiver<Item>) -> io::Result<Flow> {
        let mut unsynced = 0;
        let mut synced_at = Instant::now();
        loop {
            let mut batch = Vec::new();
            let due = synced_at + SYNC_EVERY;
            let came = async {
                if unsynced == 0 {
                    return Some(items.recv_many(&mut batch, WAITING_MAX).await);
                }
                tokio::time::timeout_at(due, items.recv_many(&mut batch, WAITING_MAX)).await.ok()
            }
            .await;
            let has_ended = batch.iter().any(Item::is_last);
            let is_last = came == Some(0) || has_ended;
            unsynced += batch.iter().map(Item::bytes).sum::<usize>();
            self.live.log_unsynced.store(unsynced, Ordering::Relaxed);
            let sync = is_last || unsynced >= SYNC_BYTES || Instant::now() >= due;
            self.write(batch, sync && unsynced > 0).await?;
            if sync && unsynced > 0 {
                (unsynced, synced_at) = (0, Instant::now());
                self.live.log_unsynced.store(0, Ordering::Relaxed);
                crash::at(Point::OutputDurable).await;
                self.acknowledge().await;
            }
            if has_ended {
                return Ok(Flow::Ended);
            }
            if is_last {
                return Ok(Flow::GoesOn);
            }
        }
    }

    async fn write(&self, batch: Vec<Item>, sync: bool) -> io::Result<()> {
        let (log, epoch) = (Arc::clone(&self.log), self.epoch);
        let has_grown = !batch.is_empty();
        let written = blocking(move || {
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            for item in batch {
                match item {
                    Item::Record(head, bytes) => log.append(epoch, head, &bytes)?,
                    Item::Gap { from, to } => log.gap(epoch, from, to)?,
                    Item::Ended { status, end } => log.process_ended(epoch, status, end)?,
                    Item::Forgotten => {}
                }
            }
            log.flush()?;
            if sync { log.sync() } else { Ok(()) }
        });
        written.await.map_err(io::Error::other)??;
        if has_grown {
            self.live.log_grown.send_modify(|count| *count += 1);
        }
        Ok(())
    }

    async fn acknowledge(&self) {
        let end = self.log.lock().unwrap_or_else(PoisonError::into_inner).end();
        let Some(end) = end.filter(|end| end.epoch == self.epoch) else {
            return;
        };
        let durable = Request::Durable { job: Job::Process, epoch: self.epoch, offset: end.offset };
        if let Err(error) = self.link.tell(durable).await {
            // Init keeps it, and sends nothing twice: the log knows its own end.
            tracing::debug!(%error, "init was not told what is durable");
        }
    }
}

impl Item {
    fn is_last(&self) -> bool {
        matches!(self, Item::Ended { .. } | Item::Forgotten)
    }

    fn bytes(&self) -> usize {
        match self {
            Item::Record(_, bytes) => bytes.len(),
            Item::Gap { .. } | Item::Ended { .. } | Item::Forgotten => 1,
        }
    }
}

async fn read_items(connection: UnixStream, items: mpsc::Sender<Item>) -> Result<(), FrameError> {
    // The write half stays open: closing it would end the attachment.
    let (reader, _writer) = connection.into_split();
    let mut reader = BufReader::with_capacity(64 * 1024, reader);
    let mut buffer = Vec::new();
    loop {
        let frame = read_frame(&mut reader, &mut buffer).await?;
        let item = match frame.kind {
            Kind::Record => {
                let (head, bytes) = frame.record()?;
                Item::Record(head, Bytes::copy_from_slice(bytes))
            }
            Kind::Message => match frame.message()? {
                AttachEvent::Gap { from, to } => Item::Gap { from, to },
                AttachEvent::Ended { status, end } => {
                    Item::Ended { status: exit_status(status), end }
                }
                // Init has forgotten it: what it had said is durable here.
                AttachEvent::Unknown => Item::Forgotten,
            },
            Kind::Data | Kind::Stderr | Kind::End => return Err(FrameError::Unexpected),
        };
        let is_last = item.is_last();
        if items.send(item).await.is_err() || is_last {
            return Ok(());
        }
    }
}
