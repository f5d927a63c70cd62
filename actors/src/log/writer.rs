//! Writing a log.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use sandtree_model::ExitStatus;
use sandtree_wire::frame::RecordHead;

use super::format::{FRAME_BYTES, Frame, HEADER_BYTES, PAYLOAD_BYTES_MAX, Position, What};
use super::{LogSettings, files};
use crate::view::Cursor;

/// Frames that wait for [`LogWriter::flush`] are written at this size anyway.
const BATCH_BYTES: usize = 256 * 1024;

/// The one writer of a log. Its calls block for as long as the disk takes.
///
/// What is appended waits in memory (at most about 256 KiB) until [`flush`], and is
/// lost in a power cut until [`sync`]. Dropping the writer drops what was not
/// flushed: whoever has it sends it again from [`end`] on.
///
/// An error leaves the writer where it was before what failed: after a failed flush
/// at the last good flush, after a failed sync at the last good sync. So after any
/// error the bytes from [`end`] on have to be appended again, and nothing else.
///
/// [`flush`]: LogWriter::flush
/// [`sync`]: LogWriter::sync
/// [`end`]: LogWriter::end
#[derive(Debug)]
pub struct LogWriter {
    dir: PathBuf,
    settings: LogSettings,
    file: File,
    number: u64,
    /// Whole frames that follow what is written.
    batch: Vec<u8>,
    /// After the batch.
    position: Position,
    written: Mark,
    synced: Mark,
    state: FileState,
}

/// A point in the file being written.
#[derive(Debug, Clone, Copy)]
struct Mark {
    /// Length of the file, in bytes.
    length: u64,
    /// What a reader knows there.
    position: Position,
}

/// What may still be done with the file being written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FileState {
    /// Everything.
    Good,
    /// Nothing: the next frame begins a new file.
    Retired,
    /// A write failed and could not be undone: the log must be opened again.
    Broken,
}

impl LogWriter {
    /// Opens the log in `dir`, which is made (mode 0700) if it is not there, and goes
    /// on after its last whole record; what a crash tore after that is cut off.
    ///
    /// # Errors
    ///
    /// What the disk says.
    pub fn open(dir: &Path, settings: LogSettings) -> io::Result<Self> {
        make_dir(dir)?;
        let mut newest = None;
        for number in files::numbers(dir)?.into_iter().rev() {
            newest = newest.or(Some(number));
            let file = OpenOptions::new().read(true).write(true).open(files::path(dir, number))?;
            match files::header(&file)? {
                Some(first) => return Self::resume(dir, settings, (file, number), first, newest),
                // Begun and not finished: nothing was in it.
                None if file.metadata()?.len() <= HEADER_BYTES as u64 => {
                    std::fs::remove_file(files::path(dir, number))?;
                    newest = newest.filter(|newest| *newest != number);
                }
                // Rotten: it stays, and readers tell it as a gap.
                None => {}
            }
        }
        Self::begin(dir, settings, newest.map_or(1, |newest| newest + 1), Position::default())
    }

    fn resume(
        dir: &Path,
        settings: LogSettings,
        (file, number): (File, u64),
        mut position: Position,
        newest: Option<u64>,
    ) -> io::Result<Self> {
        let length = files::scan(&file, |frame| position.pass(&frame))?;
        if newest.is_some_and(|newest| newest != number) {
            return Self::begin(dir, settings, newest.unwrap_or(number) + 1, position);
        }
        if file.metadata()?.len() > length {
            file.set_len(length)?;
        }
        // What the file holds may never have reached the disk before the crash.
        file.sync_data()?;
        Ok(Self::writing(dir, settings, (file, number), Mark { length, position }))
    }

    fn begin(
        dir: &Path,
        settings: LogSettings,
        number: u64,
        position: Position,
    ) -> io::Result<Self> {
        let file = create(dir, number, position)?;
        let mark = Mark { length: HEADER_BYTES as u64, position };
        Ok(Self::writing(dir, settings, (file, number), mark))
    }

    fn writing(dir: &Path, settings: LogSettings, (file, number): (File, u64), mark: Mark) -> Self {
        Self {
            dir: dir.to_path_buf(),
            settings,
            file,
            number,
            batch: Vec::new(),
            position: mark.position,
            written: mark,
            synced: mark,
            state: FileState::Good,
        }
    }

    /// The position after everything appended: where the next byte is expected, in
    /// the newest epoch. `None` in a log that never had a record.
    #[must_use]
    pub fn end(&self) -> Option<Cursor> {
        self.position.end
    }

    /// Whether the end of this epoch's process has been appended. Of epochs before
    /// the newest nothing can be appended any more, so they count as ended.
    #[must_use]
    pub fn ended(&self, epoch: u64) -> bool {
        match self.position.end {
            Some(end) if end.epoch == epoch => self.position.ended,
            Some(end) => epoch < end.epoch,
            None => false,
        }
    }

    /// Appends output. What is there already is left out, and a jump forward is
    /// appended as a gap, so it is safe to be given the same bytes again.
    ///
    /// # Errors
    ///
    /// What the disk says, when a batch or a file became full; `InvalidInput` for an
    /// epoch before the newest and for offsets above `u64::MAX`.
    pub fn append(&mut self, epoch: u64, head: RecordHead, bytes: &[u8]) -> io::Result<()> {
        let from = head.offset;
        let to = from.checked_add(bytes.len() as u64).ok_or(io::ErrorKind::InvalidInput)?;
        let known = self.known(epoch)?;
        if bytes.is_empty() || to <= known {
            return Ok(());
        }
        self.gap(epoch, known, from)?;
        // Less than the length of `bytes`, as the record ends after what is known.
        let there_already = usize::try_from(known.saturating_sub(from)).unwrap_or(bytes.len());
        let mut offset = from.max(known);
        for payload in bytes[there_already..].chunks(PAYLOAD_BYTES_MAX) {
            let what = What::Record { time: head.at, stream: head.stream, payload };
            self.put(&Frame { epoch, offset, what })?;
            offset += payload.len() as u64;
        }
        Ok(())
    }

    /// Appends that the bytes before `to` are lost, as far as they are not there.
    ///
    /// # Errors
    ///
    /// As [`LogWriter::append`].
    pub fn gap(&mut self, epoch: u64, from: u64, to: u64) -> io::Result<()> {
        let known = self.known(epoch)?;
        if to <= known.max(from) {
            return Ok(());
        }
        self.put(&Frame { epoch, offset: known, what: What::Gap { to } })
    }

    /// Appends how the process ended, once per epoch. `end` is the offset after its
    /// last byte; what is missing before it is appended as a gap.
    ///
    /// # Errors
    ///
    /// As [`LogWriter::append`].
    pub fn process_ended(&mut self, epoch: u64, status: ExitStatus, end: u64) -> io::Result<()> {
        let known = self.known(epoch)?;
        if self.ended(epoch) {
            return Ok(());
        }
        self.gap(epoch, known, end)?;
        self.put(&Frame { epoch, offset: known.max(end), what: What::Ended(status) })
    }

    /// Gives everything appended to the operating system, in one write: it survives
    /// the death of this server, and readers see it.
    ///
    /// # Errors
    ///
    /// What the disk says; what was appended since the last flush is taken back.
    pub fn flush(&mut self) -> io::Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.file.write_all_at(&self.batch, self.written.length) {
            self.take_back_to(self.written);
            return Err(error);
        }
        self.written.length += self.batch.len() as u64;
        self.written.position = self.position;
        self.batch.clear();
        Ok(())
    }

    /// Flushes, and makes everything before [`LogWriter::end`] durable.
    ///
    /// # Errors
    ///
    /// What the disk says; what was appended since the last sync is taken back.
    pub fn sync(&mut self) -> io::Result<()> {
        self.flush()?;
        if self.synced.length == self.written.length {
            return Ok(());
        }
        if let Err(error) = self.file.sync_data() {
            self.take_back_to(self.synced);
            return Err(error);
        }
        self.synced = self.written;
        Ok(())
    }

    /// Bytes of the newest file, with what waits to be written, and how many files
    /// there are as far as they were not removed by somebody else.
    pub(crate) fn size(&self) -> (usize, usize) {
        let bytes = usize::try_from(self.written.length).unwrap_or(usize::MAX);
        let files = self.number.min(u64::from(self.settings.files.max(1)));
        (bytes.saturating_add(self.batch.len()), usize::try_from(files).unwrap_or(usize::MAX))
    }

    /// Offset up to which this epoch is there.
    fn known(&self, epoch: u64) -> io::Result<u64> {
        if self.state == FileState::Broken {
            return Err(io::Error::other("the log must be opened again after a failed write"));
        }
        match self.position.end {
            Some(end) if end.epoch == epoch => Ok(end.offset),
            Some(end) if end.epoch > epoch => {
                Err(io::Error::new(io::ErrorKind::InvalidInput, "an older epoch of the process"))
            }
            _ => Ok(0),
        }
    }

    fn put(&mut self, frame: &Frame<&[u8]>) -> io::Result<()> {
        let payload = match frame.what {
            What::Record { payload, .. } => payload.len(),
            What::Gap { .. } | What::Ended(_) => 8,
        };
        let length = self.written.length + self.batch.len() as u64;
        let full = length + (FRAME_BYTES + payload) as u64 > self.settings.file_bytes;
        if (full && length > HEADER_BYTES as u64) || self.state == FileState::Retired {
            self.rotate()?;
        }
        frame.write_to(&mut self.batch);
        self.position.pass(frame);
        if self.batch.len() >= BATCH_BYTES { self.flush() } else { Ok(()) }
    }

    /// Goes on in a new file. The old one is durable before the new one is there.
    fn rotate(&mut self) -> io::Result<()> {
        self.sync()?;
        // Until there is a new file, nothing more goes into the old one: a reader may
        // have left it already.
        self.state = FileState::Retired;
        self.file = create(&self.dir, self.number + 1, self.position)?;
        self.number += 1;
        self.written = Mark { length: HEADER_BYTES as u64, position: self.position };
        self.synced = self.written;
        self.state = FileState::Good;
        let kept_from = (self.number + 1).saturating_sub(u64::from(self.settings.files.max(1)));
        for number in files::numbers(&self.dir)?.into_iter().take_while(|n| *n < kept_from) {
            std::fs::remove_file(files::path(&self.dir, number))?;
        }
        Ok(())
    }

    /// Forgets what could not be written or made durable. The file is not written
    /// again: a reader may have seen what is cut off here.
    fn take_back_to(&mut self, mark: Mark) {
        self.batch.clear();
        self.position = mark.position;
        self.written = mark;
        self.state = match self.file.set_len(mark.length) {
            Ok(()) => FileState::Retired,
            Err(_) => FileState::Broken,
        };
    }
}

/// Disks that fail, for tests.
#[cfg(test)]
impl LogWriter {
    pub(super) fn replace_file(&mut self, file: File) -> File {
        std::mem::replace(&mut self.file, file)
    }

    pub(super) fn fail_sync(&mut self) {
        self.take_back_to(self.synced);
    }
}

fn make_dir(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    dir.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}

/// Makes a file and its name durable. One that a crash left half made is replaced.
fn create(dir: &Path, number: u64, position: Position) -> io::Result<File> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(files::path(dir, number))?;
    file.write_all_at(&position.to_header(), 0)?;
    file.sync_data()?;
    File::open(dir)?.sync_all()?;
    Ok(file)
}
