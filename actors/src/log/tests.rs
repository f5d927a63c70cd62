//! What a log promises, against real files.

mod model;
mod reading;
mod writing;

use std::fs::OpenOptions;
use std::future::Future;
use std::path::{Path, PathBuf};

use sandtree_model::ExitStatus;
use sandtree_wire::frame::RecordHead;
use tempfile::TempDir;
use tokio::sync::watch;

use super::LogItem;
use super::{LogReader, LogSettings, LogWriter, files};
use crate::view::Cursor;

/// The byte of the process's output at a position, so that tests need no copy of it.
fn byte_at(epoch: u64, offset: u64) -> u8 {
    (offset.wrapping_mul(31).wrapping_add(offset >> 8).wrapping_add(epoch * 101) % 251) as u8
}

fn output(epoch: u64, from: u64, to: u64) -> Vec<u8> {
    (from..to).map(|offset| byte_at(epoch, offset)).collect()
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn cursor(epoch: u64, offset: u64) -> Cursor {
    Cursor { epoch, offset }
}

/// A log in a directory of its own.
struct Log {
    dir: TempDir,
    settings: LogSettings,
    grown: watch::Sender<u64>,
}

impl Log {
    fn new() -> Self {
        Self::with(LogSettings::default())
    }

    /// Files so small that a few records fill one.
    fn small(file_bytes: u64, files: u32) -> Self {
        Self::with(LogSettings { file_bytes, files })
    }

    fn with(settings: LogSettings) -> Self {
        Self { dir: tempfile::tempdir().unwrap(), settings, grown: watch::Sender::new(0) }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    fn open(&self) -> LogWriter {
        LogWriter::open(&self.path(), self.settings).unwrap()
    }

    fn reader(&self, after: Option<Cursor>) -> LogReader {
        LogReader::new(self.path(), after, self.grown.subscribe())
    }

    fn flush(&self, writer: &mut LogWriter) {
        writer.flush().unwrap();
        self.grown.send_modify(|flushes| *flushes += 1);
    }

    fn read(&self, after: Option<Cursor>) -> Vec<Told> {
        block_on(rest(&mut self.reader(after)))
    }

    fn newest(&self) -> PathBuf {
        files::path(&self.path(), *files::numbers(&self.path()).unwrap().last().unwrap())
    }
}

/// What a reader told, with neighbouring records joined.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Told {
    Bytes(Cursor, Vec<u8>),
    Gap(Option<u64>, Cursor),
    Ended(u64, ExitStatus),
}

fn bytes(epoch: u64, from: u64, to: u64) -> Told {
    Told::Bytes(cursor(epoch, from), output(epoch, from, to))
}

/// Everything up to the present end.
async fn rest(reader: &mut LogReader) -> Vec<Told> {
    let mut told = Vec::new();
    while let Some(item) = reader.next().await.unwrap() {
        match item {
            LogItem::Record(record) => match told.last_mut() {
                Some(Told::Bytes(at, bytes))
                    if record.at == cursor(at.epoch, at.offset + bytes.len() as u64) =>
                {
                    bytes.extend_from_slice(&record.bytes);
                }
                _ => told.push(Told::Bytes(record.at, record.bytes.to_vec())),
            },
            LogItem::Gap { bytes, to } => told.push(Told::Gap(bytes, to)),
            LogItem::Ended { epoch, status } => told.push(Told::Ended(epoch, status)),
        }
    }
    told
}

/// Appends `from..to` of an epoch's output as one record.
fn append(writer: &mut LogWriter, epoch: u64, from: u64, to: u64) {
    let head = RecordHead { offset: from, at: 1_000 + from, stream: 1 };
    writer.append(epoch, head, &output(epoch, from, to)).unwrap();
}

fn cut(path: &Path, length: u64) {
    OpenOptions::new().write(true).open(path).unwrap().set_len(length).unwrap();
}

fn length(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().len()
}

/// Turns one bit of a file.
fn rot(path: &Path, at: u64) {
    let mut content = std::fs::read(path).unwrap();
    content[usize::try_from(at).unwrap()] ^= 4;
    std::fs::write(path, content).unwrap();
}
