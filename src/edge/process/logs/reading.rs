//! Reading: which items a client gets, in which order.

use std::collections::VecDeque;

use futures_util::{Stream, stream};
use sandtree_actors::Cursor;
use sandtree_actors::LogItem;

use super::{Source, Stdio};
use crate::edge::errors::Problem;

/// Most bytes that are kept in memory for `tail`.
const TAIL_BYTES_MAX: usize = 8 * 1024 * 1024;

/// One thing that the client is told.
#[derive(Debug, Clone)]
pub(super) enum Told {
    /// An item of the log, and the position after it.
    Item {
        /// What it is.
        item: LogItem,
        /// Where to go on after it.
        cursor: Option<Cursor>,
    },
    /// Reading failed; the last.
    Failed(Problem),
    /// Nothing new, but the connection lives.
    Alive,
}

/// A reader of the log with the client's wishes.
pub(super) struct Reading<S> {
    source: S,
    stream: Option<Stdio>,
    follow: bool,
    /// What was read already, for `tail`.
    kept: VecDeque<Told>,
    is_over: bool,
}

impl<S: Source + 'static> Reading<S> {
    pub(super) fn new(source: S, stream: Option<Stdio>, follow: bool) -> Self {
        Self { source, stream, follow, kept: VecDeque::new(), is_over: false }
    }

    /// Reads what is there and keeps the last `lines` lines of it, in whole records.
    pub(super) async fn skip_to_last(&mut self, lines: usize) -> Result<(), Problem> {
        let (mut lines_kept, mut bytes_kept) = (0, 0);
        while let Some(told) = self.read().await? {
            lines_kept += count(&told, lines_of);
            bytes_kept += count(&told, <[u8]>::len);
            self.kept.push_back(told);
            while let Some(oldest) = self.kept.front() {
                let without = lines_kept - count(oldest, lines_of);
                if without < lines && bytes_kept <= TAIL_BYTES_MAX {
                    break;
                }
                lines_kept = without;
                bytes_kept -= count(oldest, <[u8]>::len);
                self.kept.pop_front();
            }
        }
        Ok(())
    }

    /// What the client is told, to the end or for ever.
    pub(super) fn into_stream(self) -> impl Stream<Item = Told> + Send + 'static {
        stream::unfold(self, |mut reading| async {
            let told = reading.next().await?;
            Some((told, reading))
        })
    }

    async fn next(&mut self) -> Option<Told> {
        if let Some(kept) = self.kept.pop_front() {
            return Some(kept);
        }
        while !self.is_over {
            match self.read().await {
                Ok(Some(told)) => return Some(told),
                Ok(None) => self.is_over = !(self.follow && self.source.more().await),
                Err(problem) => {
                    self.is_over = true;
                    return Some(Told::Failed(problem));
                }
            }
        }
        None
    }

    /// The next item that the client wants, or `None` at the present end.
    async fn read(&mut self) -> Result<Option<Told>, Problem> {
        while let Some(item) = self.source.next().await? {
            let wanted = match (&item, self.stream) {
                (LogItem::Record(record), Some(stream)) => record.stream == stream.number(),
                (LogItem::Record(_) | LogItem::Gap { .. } | LogItem::Ended { .. }, _) => true,
            };
            if wanted {
                return Ok(Some(Told::Item { item, cursor: self.source.cursor() }));
            }
        }
        Ok(None)
    }
}

fn count(told: &Told, measure: fn(&[u8]) -> usize) -> usize {
    match told {
        Told::Item { item: LogItem::Record(record), .. } => measure(&record.bytes),
        Told::Item { .. } | Told::Failed(_) | Told::Alive => 0,
    }
}

fn lines_of(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte == b'\n').count()
}
