//! Reading a log, while it is written and rotated.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use sandtree_model::Answer;
use tokio::sync::watch;

use super::files::{self, Frames};
use super::format::{Frame, Position, What};
use super::{LogItem, LogRecord};
use crate::disk::on_disk;
use crate::view::Cursor;

/// Reads a process's log, from disk. Holds one chunk of 64 KiB and an open file.
///
/// What it returns is in order of `epoch:offset` and has no byte twice; what is
/// missing is told as a gap.
#[derive(Debug)]
pub struct LogReader {
    dir: Arc<Path>,
    cursor: Option<Cursor>,
    /// Rises when more was flushed.
    grown: watch::Receiver<u64>,
    open: Option<Open>,
    /// Comes before anything else that is read.
    waiting: Option<Frame>,
    /// The epoch whose end was told last.
    told_end_of: Option<u64>,
}

/// The file being read.
#[derive(Debug)]
struct Open {
    number: u64,
    file: Arc<File>,
    frames: Frames,
}

impl LogReader {
    /// A reader of the log in `dir` from `after` on; `None`: from its oldest record.
    /// Nothing is read yet. `grown` has to change after each flush of the writer.
    ///
    /// From a position after the log's end nothing is read until the log gets there.
    #[must_use]
    pub fn new(dir: PathBuf, after: Option<Cursor>, grown: watch::Receiver<u64>) -> Self {
        Self { dir: dir.into(), cursor: after, grown, open: None, waiting: None, told_end_of: None }
    }

    /// The next item, or `None` at the present end.
    ///
    /// # Errors
    ///
    /// [`Fault::Disk`](sandtree_model::Fault::Disk); the call may be repeated.
    ///
    /// # Cancel safety
    ///
    /// A cancelled call has consumed nothing.
    pub async fn next(&mut self) -> Answer<Option<LogItem>> {
        loop {
            while let Some(frame) = self.pop() {
                if let Some(item) = self.take(frame) {
                    return Ok(Some(item));
                }
            }
            // Seen before the read: what is flushed from here on wakes `more`.
            self.grown.mark_unchanged();
            let (dir, cursor) = (Arc::clone(&self.dir), self.cursor);
            let buffer = self.open.as_mut().map(|open| open.frames.take_buffer());
            let at = self.open.as_ref().map(Place::of);
            match on_disk(move || fetch(&dir, cursor, at, buffer.unwrap_or_default())).await? {
                Fetched::More(chunk) => self.refill(chunk),
                Fetched::Opened(place, header, chunk) => {
                    if let Some(gap) = self.enter(place, header, chunk) {
                        return Ok(Some(gap));
                    }
                }
                Fetched::Nothing => return Ok(None),
            }
        }
    }

    /// Waits until there may be more than the last [`LogReader::next`] saw; returns
    /// at once if there is. False when whoever announces growth is gone: nothing more
    /// will come.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    #[must_use]
    pub async fn more(&mut self) -> bool {
        self.grown.changed().await.is_ok()
    }

    /// Where the next item starts; `None` before the first one of a reader that was
    /// to start at the oldest record.
    #[must_use]
    pub fn cursor(&self) -> Option<Cursor> {
        self.cursor
    }

    fn pop(&mut self) -> Option<Frame> {
        self.waiting.take().or_else(|| self.open.as_mut()?.frames.pop())
    }

    fn refill(&mut self, chunk: Bytes) {
        if let Some(open) = &mut self.open {
            open.frames.refill(chunk);
        }
    }

    /// Goes on in another file. What is missing between the files is told.
    fn enter(&mut self, place: Place, header: Position, chunk: Bytes) -> Option<LogItem> {
        let mut frames = Frames::new();
        frames.refill(chunk);
        self.open = Some(Open { number: place.number, file: place.file, frames });
        let first = header.end?;
        let Some(cursor) = self.cursor else {
            self.cursor = Some(first);
            return None;
        };
        if first <= cursor {
            return None;
        }
        self.cursor = Some(first);
        let bytes = (first.epoch == cursor.epoch).then(|| first.offset - cursor.offset);
        Some(LogItem::Gap { bytes, to: first })
    }

    /// What a frame says to who has read up to the cursor, if anything.
    fn take(&mut self, frame: Frame) -> Option<LogItem> {
        let epoch = frame.epoch;
        let read = match self.cursor {
            Some(cursor) if cursor.epoch > epoch => return None,
            Some(cursor) if cursor.epoch == epoch => cursor.offset,
            _ => 0,
        };
        let end = frame.end();
        if end.offset < read {
            return None;
        }
        let is_gap = matches!(frame.what, What::Gap { .. });
        if frame.offset > read || (is_gap && end.offset > read) {
            let offset = if is_gap { end.offset } else { frame.offset };
            let to = Cursor { epoch, offset };
            self.cursor = Some(to);
            self.waiting = (!is_gap).then_some(frame);
            return Some(LogItem::Gap { bytes: Some(offset - read), to });
        }
        match frame.what {
            What::Record { time, stream, mut payload } => {
                // At most its length, as it does not end before what was read.
                payload.advance(usize::try_from(read - frame.offset).unwrap_or(payload.len()));
                if payload.is_empty() {
                    return None;
                }
                self.cursor = Some(end);
                let at = Cursor { epoch, offset: read };
                Some(LogItem::Record(LogRecord { at, time, stream, bytes: payload }))
            }
            What::Gap { .. } => None,
            What::Ended(status) => {
                self.cursor = Some(end);
                let told = self.told_end_of.replace(epoch) == Some(epoch);
                (!told).then_some(LogItem::Ended { epoch, status })
            }
        }
    }
}

/// Where to read.
struct Place {
    number: u64,
    file: Arc<File>,
    at: u64,
}

impl Place {
    fn of(open: &Open) -> Self {
        Self { number: open.number, file: Arc::clone(&open.file), at: open.frames.at() }
    }
}

/// What one look at the disk found.
enum Fetched {
    /// More of the same file, beginning with a whole frame.
    More(Bytes),
    /// Another file, what its header says, and its beginning.
    Opened(Place, Position, Bytes),
    /// No more, for now.
    Nothing,
}

/// Looks for what follows in the file at hand and, once that is read, in the next.
fn fetch(
    dir: &Path,
    cursor: Option<Cursor>,
    place: Option<Place>,
    buffer: BytesMut,
) -> io::Result<Fetched> {
    let Some(place) = place else { return seek(dir, cursor, buffer) };
    let chunk = files::read_chunk(&place.file, place.at, buffer)?;
    if begins_whole(&chunk) {
        return Ok(Fetched::More(chunk));
    }
    let newer = files::numbers(dir)?.into_iter().filter(|number| *number > place.number);
    let newer: Vec<_> = newer.collect();
    if newer.is_empty() {
        return Ok(Fetched::Nothing);
    }
    // The file may have been written and then rotated since it was read above; now
    // that a newer one is there it stays as it is, and what is not whole is rotten.
    let chunk = files::read_chunk(&place.file, place.at, BytesMut::new())?;
    if begins_whole(&chunk) {
        return Ok(Fetched::More(chunk));
    }
    first_of(dir, &newer)
}

fn begins_whole(chunk: &Bytes) -> bool {
    matches!(super::format::find(chunk), super::format::Found::Frame(..))
}

/// Opens the file that holds the cursor, by the files' headers.
fn seek(dir: &Path, cursor: Option<Cursor>, buffer: BytesMut) -> io::Result<Fetched> {
    let numbers = files::numbers(dir)?;
    let Some(cursor) = cursor else { return first_of(dir, &numbers) };
    for number in numbers.iter().rev() {
        let Some((place, header)) = open(dir, *number)? else { continue };
        if header.end.is_none_or(|first| first <= cursor) {
            let chunk = files::read_chunk(&place.file, place.at, buffer)?;
            return Ok(Fetched::Opened(place, header, chunk));
        }
    }
    first_of(dir, &numbers)
}

/// Opens the first of these files that is there and has a header.
fn first_of(dir: &Path, numbers: &[u64]) -> io::Result<Fetched> {
    for number in numbers {
        if let Some((place, header)) = open(dir, *number)? {
            let chunk = files::read_chunk(&place.file, place.at, BytesMut::new())?;
            return Ok(Fetched::Opened(place, header, chunk));
        }
    }
    Ok(Fetched::Nothing)
}

fn open(dir: &Path, number: u64) -> io::Result<Option<(Place, Position)>> {
    let Some(file) = files::open(dir, number)? else { return Ok(None) };
    let Some(header) = files::header(&file)? else { return Ok(None) };
    let at = Frames::new().at();
    Ok(Some((Place { number, file: Arc::new(file), at }, header)))
}
