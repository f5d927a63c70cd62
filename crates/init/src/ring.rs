//! The newest output of a job, with absolute offsets.
//!
//! ```text
//! lost or durable │ piece │ piece │ piece │ ...
//!            kept_from                   end
//! ```
//!
//! A piece is what one read found: a run of bytes of one stream with the time of
//! the read. Each piece is charged [`PIECE_COST`] on top of its bytes, so that a
//! program which writes byte by byte cannot make the ring larger than it is.

use std::collections::VecDeque;
use std::io;

use sandtree_wire::frame::{RecordHead, header};
use sandtree_wire::{DATA_BYTES_MAX, Kind};

use crate::memory::Memory;

/// What a piece costs besides its bytes.
pub(crate) const PIECE_COST: usize = 32;
/// Smallest ring; less is taken as this much.
pub(crate) const RING_BYTES_MIN: u64 = 4 * 1024;
/// Largest ring; more is taken as this much.
pub(crate) const RING_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// An empty ring that touched more than this gives its pages back.
const IDLE_BYTES: usize = 128 * 1024;

/// One run of bytes.
#[derive(Debug, Clone, Copy)]
struct Piece {
    offset: u64,
    at: u64,
    bytes: u32,
    stream: u8,
}

impl Piece {
    fn end(&self) -> u64 {
        self.offset + u64::from(self.bytes)
    }
}

/// See the module.
pub(crate) struct Ring {
    memory: Memory,
    pieces: VecDeque<Piece>,
    /// The offset that lies at the first byte of `memory`.
    origin: u64,
    kept_from: u64,
    end: u64,
    /// How far into `memory` bytes were written since it was last given back.
    touched: usize,
    /// Pieces of one stream within so many microseconds become one.
    merge_us: u64,
}

impl Ring {
    /// An empty ring.
    ///
    /// # Errors
    ///
    /// When the address space is exhausted.
    pub(crate) fn new(bytes: u64, merge_us: u64) -> io::Result<Self> {
        let bytes = bytes.clamp(RING_BYTES_MIN, RING_BYTES_MAX);
        let memory = Memory::reserve(usize::try_from(bytes).map_err(io::Error::other)?)?;
        let pieces = VecDeque::new();
        Ok(Self { memory, pieces, origin: 0, kept_from: 0, end: 0, touched: 0, merge_us })
    }

    /// Offset of the oldest byte that is still kept.
    pub(crate) fn kept_from(&self) -> u64 {
        self.kept_from
    }

    /// Offset after the newest byte.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Bytes that one more piece can have without anything being lost.
    pub(crate) fn room(&self) -> usize {
        let free = self.capacity().saturating_sub(self.used() + PIECE_COST);
        free.min(self.piece_bytes_max())
    }

    /// How far its end may be ahead of a reader so that nothing is lost for it: with
    /// one piece more and what pieces cost, all of it is still here.
    pub(crate) fn ahead_max(&self) -> u64 {
        self.capacity() as u64 / 4
    }

    /// Appends bytes that were read at this time; the oldest make way.
    pub(crate) fn push(&mut self, stream: u8, at: u64, bytes: &[u8]) {
        for chunk in bytes.chunks(self.piece_bytes_max()) {
            while self.used() + PIECE_COST + chunk.len() > self.capacity() {
                self.drop_oldest();
            }
            self.store(chunk);
            self.note(stream, at, chunk.len());
        }
    }

    /// Frees everything before `offset`.
    pub(crate) fn free_before(&mut self, offset: u64) {
        let offset = offset.min(self.end);
        while self.pieces.front().is_some_and(|piece| piece.end() <= offset) {
            self.drop_oldest();
        }
        if let Some(piece) = self.pieces.front_mut().filter(|piece| piece.offset < offset) {
            piece.bytes = u32::try_from(piece.end() - offset).unwrap_or(0);
            piece.offset = offset;
            self.kept_from = offset;
        }
        if self.pieces.is_empty() {
            self.rewind();
        }
    }

    /// Appends record frames to `out`, beginning at `from`, until there is nothing
    /// more or `out` holds `bytes_max` bytes. Returns the next offset. The caller
    /// deals with what is before [`Ring::kept_from`].
    pub(crate) fn frames(&self, from: u64, out: &mut Vec<u8>, bytes_max: usize) -> u64 {
        let mut next = from;
        let first = self.pieces.partition_point(|piece| piece.end() <= from);
        for piece in self.pieces.range(first..) {
            if out.len() >= bytes_max {
                break;
            }
            let offset = next.max(piece.offset);
            let (left, right) = self.slices(offset, piece.end());
            let head = RecordHead { offset, at: piece.at, stream: piece.stream };
            let payload = RecordHead::BYTES + left.len() + right.len();
            // A piece is never longer than a frame may be; see `piece_bytes_max`.
            let Ok(header) = header(Kind::Record, payload) else {
                break;
            };
            for part in [&header[..], &head.to_bytes(), left, right] {
                out.extend_from_slice(part);
            }
            next = piece.end();
        }
        next
    }

    fn capacity(&self) -> usize {
        self.memory.get().len()
    }

    /// Most bytes of one piece.
    pub(crate) fn piece_bytes_max(&self) -> usize {
        DATA_BYTES_MAX.min(self.capacity() / 4)
    }

    fn used(&self) -> usize {
        let bytes = usize::try_from(self.end - self.kept_from).unwrap_or(usize::MAX);
        bytes.saturating_add(self.pieces.len() * PIECE_COST)
    }

    fn drop_oldest(&mut self) {
        self.pieces.pop_front();
        self.kept_from = self.pieces.front().map_or(self.end, |piece| piece.offset);
    }

    /// An empty ring begins again at the front of its memory, so that one whose
    /// reader keeps up stays small.
    fn rewind(&mut self) {
        self.origin = self.end;
        self.kept_from = self.end;
        if self.touched > IDLE_BYTES {
            self.memory.release();
            self.pieces.shrink_to(0);
            self.touched = 0;
        }
    }

    fn place(&self, offset: u64) -> usize {
        let place = (offset - self.origin) % self.capacity() as u64;
        usize::try_from(place).unwrap_or(0)
    }

    fn store(&mut self, chunk: &[u8]) {
        let place = self.place(self.end);
        let left = chunk.len().min(self.capacity() - place);
        let (head, tail) = chunk.split_at(left);
        let memory = self.memory.get_mut();
        memory[place..place + left].copy_from_slice(head);
        memory[..tail.len()].copy_from_slice(tail);
        self.touched = self.touched.max(place + left);
    }

    fn note(&mut self, stream: u8, at: u64, bytes: usize) {
        let offset = self.end;
        self.end += bytes as u64;
        let limit = self.piece_bytes_max();
        if let Some(last) = self.pieces.back_mut()
            && last.stream == stream
            && at.saturating_sub(last.at) < self.merge_us
            && last.bytes as usize + bytes <= limit
        {
            last.bytes += u32::try_from(bytes).unwrap_or(0);
            return;
        }
        let bytes = u32::try_from(bytes).unwrap_or(0);
        self.pieces.push_back(Piece { offset, at, bytes, stream });
    }

    fn slices(&self, from: u64, to: u64) -> (&[u8], &[u8]) {
        let place = self.place(from);
        let bytes = usize::try_from(to - from).unwrap_or(0);
        let left = bytes.min(self.capacity() - place);
        let memory = self.memory.get();
        (&memory[place..place + left], &memory[..bytes - left])
    }
}

#[cfg(test)]
mod tests;
