//! Finding where the end of a log begins.

use std::collections::VecDeque;
use std::io;
use std::path::Path;

use super::files;
use super::format::What;
use crate::view::Cursor;

/// How much of a log's end is wanted: as many whole records as keep within both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tail {
    /// Most records, up to 65,536.
    pub records: usize,
    /// Most bytes of output.
    pub bytes: u64,
}

/// Most records that a tail remembers while it looks for its start.
const RECORDS_MAX: usize = 65_536;

/// Where the tail starts; `None` when it is the whole log. Reads the newest file, and
/// older ones as far as the tail reaches back.
pub(super) fn start(dir: &Path, wanted: Tail) -> io::Result<Option<Cursor>> {
    let mut rest = Tail { records: wanted.records.min(RECORDS_MAX), ..wanted };
    let mut start = None;
    for number in files::numbers(dir)?.into_iter().rev() {
        let Some(file) = files::open(dir, number)? else { continue };
        let Some(header) = files::header(&file)? else { continue };
        let mut last = Last::of(rest);
        let mut end = header.end;
        files::scan(&file, |frame| {
            end = Some(frame.end());
            if let What::Record { payload, .. } = &frame.what {
                let at = Cursor { epoch: frame.epoch, offset: frame.offset };
                last.push(at, payload.len() as u64);
            }
        })?;
        // A file without records still has an end, where a tail of nothing starts.
        start = last.start().or(start).or(end);
        if last.is_full {
            return Ok(start);
        }
        rest.records -= last.records.len();
        rest.bytes -= last.bytes;
    }
    Ok(None)
}

/// The last records of a file.
struct Last {
    most: Tail,
    records: VecDeque<(Cursor, u64)>,
    bytes: u64,
    is_full: bool,
}

impl Last {
    fn of(most: Tail) -> Self {
        Self { most, records: VecDeque::new(), bytes: 0, is_full: false }
    }

    fn push(&mut self, at: Cursor, bytes: u64) {
        self.records.push_back((at, bytes));
        self.bytes += bytes;
        while self.records.len() > self.most.records || self.bytes > self.most.bytes {
            self.is_full = true;
            let Some((_, bytes)) = self.records.pop_front() else { break };
            self.bytes -= bytes;
        }
    }

    fn start(&self) -> Option<Cursor> {
        self.records.front().map(|(at, _)| *at)
    }
}
