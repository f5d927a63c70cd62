//! What changes in a running sandbox's files, as its init tells it.

use std::collections::VecDeque;
use std::sync::Arc;

use sandtree_model::{Answer, Fault, Refusal};
use sandtree_wire::{
    CHANGES_MAX, Change, FrameError, StartError, Stream, WATCH_VERSION, WatchEvent, WatchSpec,
    read_message,
};
use tokio::io::BufReader;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::task::AbortOnDropHandle;

use crate::live::Hold;
use crate::sandbox::Sandbox;

/// Messages that wait to be read; beyond them, init and then the kernel hold events back.
const MESSAGES_WAITING_MAX: usize = 4;

/// Follows changes. Dropping it ends the watch. It does not count as activity: a page that
/// is left open must not keep a sandbox for ever.
pub struct Watch {
    messages: mpsc::Receiver<Answer<WatchEvent>>,
    waiting: VecDeque<WatchItem>,
    _reading: AbortOnDropHandle<()>,
    _hold: Hold,
    _place: OwnedSemaphorePermit,
}

/// What a watch tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchItem {
    /// What happens from here on is told.
    Ready {
        /// How many directories are watched.
        directories: u32,
    },
    /// Something happened.
    Change(Change),
    /// More happened than could be told: only looking at the files shows it.
    Overflow,
    /// Directories are not watched, because there are too many. Said once.
    Limited {
        /// How many are watched.
        directories: u32,
    },
}

impl Sandbox {
    /// Watches a directory of the sandbox.
    ///
    /// # Errors
    ///
    /// [`Refusal::Busy`] when too many watch already, [`Refusal::Conflict`] when the sandbox
    /// was started by a server that could not do this yet, and faults of the sandbox.
    pub async fn watch(&self, spec: WatchSpec) -> Answer<Watch> {
        if self.link.version < WATCH_VERSION {
            let why = "the sandbox was started by an older server; restart it to watch its files";
            return Err(Refusal::Conflict { why: why.into() }.into());
        }
        let places = Arc::clone(&self.busy.live().watch_places);
        let place = places.try_acquire_owned().map_err(|_| Refusal::Busy {
            what: format!("{} watches of one sandbox", self.watches_max).into(),
        })?;
        let connection = self.link.open(Stream::Watch(spec)).await?;
        let (sender, messages) = mpsc::channel(MESSAGES_WAITING_MAX);
        let reading = tokio::spawn(async move {
            let mut reader = BufReader::new(connection);
            let mut buffer = Vec::new();
            loop {
                let message = read_message(&mut reader, &mut buffer).await;
                let is_last = message.is_err();
                if sender.send(message.map_err(|error| broken(&error).into())).await.is_err()
                    || is_last
                {
                    return;
                }
            }
        });
        Ok(Watch {
            messages,
            waiting: VecDeque::new(),
            _reading: AbortOnDropHandle::new(reading),
            _hold: Hold::new(self.busy.live()),
            _place: place,
        })
    }
}

impl Watch {
    /// The next thing it tells.
    ///
    /// # Errors
    ///
    /// [`Refusal::NotFound`] when the directory is not there or goes away; faults of the
    /// sandbox, such as its end. There is nothing after an error.
    ///
    /// # Cancel safety
    ///
    /// Safe: nothing is lost.
    pub async fn next(&mut self) -> Answer<WatchItem> {
        loop {
            if let Some(item) = self.waiting.pop_front() {
                return Ok(item);
            }
            let ended = || Err(Fault::Sandbox("it ended under the watch".into()).into());
            match self.messages.recv().await.unwrap_or_else(ended)? {
                WatchEvent::Ready { directories } => return Ok(WatchItem::Ready { directories }),
                WatchEvent::Limited { directories } => {
                    return Ok(WatchItem::Limited { directories });
                }
                WatchEvent::Overflow => return Ok(WatchItem::Overflow),
                // A liar's list is cut.
                WatchEvent::Changes(changes) => self
                    .waiting
                    .extend(changes.into_iter().take(CHANGES_MAX).map(WatchItem::Change)),
                WatchEvent::Failed(error) => return Err(failed(error)),
            }
        }
    }
}

fn failed(error: StartError) -> sandtree_model::Failure {
    /// `errno` of "no such file or directory", and of "not a directory".
    const GONE: [i32; 2] = [2, 20];
    if GONE.contains(&error.errno) {
        return Refusal::not_found("the directory that is to be watched").into();
    }
    Fault::Sandbox(error.what.into()).into()
}

fn broken(error: &FrameError) -> Fault {
    Fault::Sandbox(format!("a watch broke: {error}").into())
}
