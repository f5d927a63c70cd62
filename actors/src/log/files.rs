//! The files of a log: their names, and reading them piece by piece.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};

use super::format::{CHUNK_BYTES, Found, Frame, HEADER_BYTES, Position, find};

/// Path of the file with this number.
pub(super) fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:08}.log"))
}

/// Numbers of the files that are there, oldest first. None in a directory that is gone.
pub(super) fn numbers(dir: &Path) -> io::Result<Vec<u64>> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut numbers = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".log"));
        numbers.extend(number.and_then(|number| number.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Opens a file for reading; `None` when it has been rotated away.
pub(super) fn open(dir: &Path, number: u64) -> io::Result<Option<File>> {
    match File::open(path(dir, number)) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The position in a file's header; `None` when the header is torn or rotten.
pub(super) fn header(file: &File) -> io::Result<Option<Position>> {
    let mut header = [0; HEADER_BYTES];
    match file.read_exact_at(&mut header, 0) {
        Ok(()) => Ok(Position::from_header(&header)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads up to one chunk from `at` on, into `buffer` where that is not in use.
pub(super) fn read_chunk(file: &File, at: u64, mut buffer: BytesMut) -> io::Result<Bytes> {
    buffer.resize(CHUNK_BYTES, 0);
    let mut filled = 0;
    while filled < CHUNK_BYTES {
        match file.read_at(&mut buffer[filled..], at + filled as u64) {
            Ok(0) => break,
            Ok(bytes) => filled += bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    buffer.truncate(filled);
    Ok(buffer.freeze())
}

/// The frames of one file, as far as they have been read from it.
#[derive(Debug)]
pub(super) struct Frames {
    /// Where in the file the next frame starts.
    at: u64,
    chunk: Bytes,
}

impl Frames {
    /// All frames of a file.
    pub(super) fn new() -> Self {
        Self { at: HEADER_BYTES as u64, chunk: Bytes::new() }
    }

    /// Where in the file the next frame starts.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// The next frame that is in memory.
    pub(super) fn pop(&mut self) -> Option<Frame> {
        match find(&self.chunk) {
            Found::Frame(frame, bytes) => {
                self.at += bytes as u64;
                self.chunk = self.chunk.slice(bytes..);
                Some(frame)
            }
            Found::Short | Found::Bad => None,
        }
    }

    /// Goes on with what was read from [`Frames::at`] on.
    pub(super) fn refill(&mut self, chunk: Bytes) {
        self.chunk = chunk;
    }

    /// A buffer for the next chunk: the present one's, if nobody holds a part of it.
    pub(super) fn take_buffer(&mut self) -> BytesMut {
        std::mem::take(&mut self.chunk).try_into_mut().unwrap_or_default()
    }
}

/// Calls `see` with every frame of a file up to the first that is not whole, and
/// answers where in the file that is.
pub(super) fn scan(file: &File, mut see: impl FnMut(Frame)) -> io::Result<u64> {
    let mut frames = Frames::new();
    loop {
        let buffer = frames.take_buffer();
        frames.refill(read_chunk(file, frames.at(), buffer)?);
        let Some(first) = frames.pop() else { return Ok(frames.at()) };
        see(first);
        while let Some(frame) = frames.pop() {
            see(frame);
        }
    }
}
