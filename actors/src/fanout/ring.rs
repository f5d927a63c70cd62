//! The newest output, by absolute offset.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use sandtree_model::ExitStatus;

use crate::view::Cursor;

/// Neighbours that are shorter than this together become one chunk, so that a
/// program that writes byte by byte does not fill the ring with chunks.
const CHUNK_BYTES_MIN: usize = 4 * 1024;

/// Largest offset that is believed: no program writes so much, and what is added to it
/// never overflows.
const OFFSET_MAX: u64 = 1 << 62;

#[derive(Debug)]
pub(super) struct Ring {
    bytes_max: usize,
    /// In order of offset; between two of them there may be a gap.
    chunks: VecDeque<Chunk>,
    bytes: usize,
    end: Cursor,
    ended: Option<ExitStatus>,
}

#[derive(Debug)]
struct Chunk {
    offset: u64,
    bytes: Bytes,
}

impl Chunk {
    fn end(&self) -> u64 {
        self.offset + self.bytes.len() as u64
    }
}

/// What a ring has for a position.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum At {
    /// Chunks that follow it without a gap.
    Bytes,
    /// Nothing up to there: the bytes in between are lost.
    Gap { to: u64 },
    /// The shell ended and this is its end.
    Ended(ExitStatus),
    /// The position is in another shell's output, or beyond this one's.
    Elsewhere { oldest: Cursor },
    /// Nothing yet.
    End,
}

impl Ring {
    pub(super) fn new(bytes_max: usize, end: Cursor) -> Self {
        let end = Cursor { offset: end.offset.min(OFFSET_MAX), ..end };
        Self { bytes_max, chunks: VecDeque::new(), bytes: 0, end, ended: None }
    }

    pub(super) fn end(&self) -> Cursor {
        self.end
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn oldest(&self) -> Cursor {
        let offset = self.chunks.front().map_or(self.end.offset, |chunk| chunk.offset);
        Cursor { offset, ..self.end }
    }

    /// Whether a reader at this position loses nothing.
    pub(super) fn has(&self, at: Cursor) -> bool {
        at.epoch == self.end.epoch && (self.oldest().offset..=self.end.offset).contains(&at.offset)
    }

    pub(super) fn push(&mut self, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        let offset = self.end.offset;
        self.end.offset += bytes.len() as u64;
        self.bytes += bytes.len();
        match self.chunks.back_mut() {
            Some(last)
                if last.end() == offset && last.bytes.len() + bytes.len() <= CHUNK_BYTES_MIN =>
            {
                let mut both = BytesMut::with_capacity(last.bytes.len() + bytes.len());
                both.extend_from_slice(&last.bytes);
                both.extend_from_slice(&bytes);
                last.bytes = both.freeze();
            }
            _ => self.chunks.push_back(Chunk { offset, bytes }),
        }
        self.trim();
    }

    pub(super) fn skip_to(&mut self, offset: u64) {
        self.end.offset = self.end.offset.max(offset.min(OFFSET_MAX));
    }

    pub(super) fn set_ended(&mut self, status: ExitStatus) {
        self.ended = Some(status);
    }

    pub(super) fn restart(&mut self, epoch: u64) {
        *self = Self::new(self.bytes_max, Cursor { epoch, offset: 0 });
    }

    /// Drops the oldest bytes above the limit.
    fn trim(&mut self) {
        while self.bytes > self.bytes_max {
            let Some(first) = self.chunks.front_mut() else { break };
            let excess = self.bytes - self.bytes_max;
            let dropped = excess.min(first.bytes.len());
            self.bytes -= dropped;
            if dropped == first.bytes.len() {
                self.chunks.pop_front();
            } else {
                first.offset += dropped as u64;
                first.bytes = first.bytes.slice(dropped..);
            }
        }
    }

    /// What is there for a reader at `at`. With [`At::Bytes`], `out` gets chunks of
    /// together at most `bytes_max` bytes.
    pub(super) fn read(&self, at: Cursor, bytes_max: usize, out: &mut VecDeque<Bytes>) -> At {
        if at.epoch != self.end.epoch || at.offset > self.end.offset {
            return At::Elsewhere { oldest: self.oldest() };
        }
        let mut next = at.offset;
        let mut rest = bytes_max;
        let first = self.chunks.partition_point(|chunk| chunk.end() <= next);
        for chunk in self.chunks.range(first..) {
            // A chunk is cut only for who wants less than one: the pieces would have to be
            // put together again.
            let is_cut = chunk.end() - next > rest as u64;
            if chunk.offset > next || rest == 0 || (is_cut && next > at.offset) {
                break;
            }
            // Below the chunk's length, as it starts at or before `next` and ends after.
            let from = usize::try_from(next - chunk.offset).unwrap_or(0);
            let bytes = chunk.bytes.slice(from..chunk.bytes.len().min(from + rest));
            next += bytes.len() as u64;
            rest -= bytes.len();
            out.push_back(bytes);
        }
        if next > at.offset {
            return At::Bytes;
        }
        match (self.chunks.get(first), self.ended) {
            (Some(chunk), _) => At::Gap { to: chunk.offset },
            (None, _) if self.end.offset > at.offset => At::Gap { to: self.end.offset },
            (None, Some(status)) => At::Ended(status),
            (None, None) => At::End,
        }
    }
}
