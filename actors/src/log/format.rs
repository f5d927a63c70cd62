//! How a log looks on disk. All numbers are little endian.
//!
//! ```text
//! file    magic 8 | epoch 8 | offset 8 | flags 1 | 0 3 | crc 4     then frames
//! frame   length 4 | crc 4 | kind 1 | epoch 8 | offset 8 | time 8 | stream 1 | payload
//! ```
//!
//! The length counts what follows the checksum; the checksum covers the length and
//! what follows. The header's position is where the file's first frame starts.

use bytes::Bytes;
use sandtree_model::ExitStatus;

use crate::view::Cursor;

const MAGIC: &[u8; 8] = b"STLOG\0\0\x01";
/// Length of a file's header.
pub(super) const HEADER_BYTES: usize = 32;
/// Length of a frame without its payload.
pub(super) const FRAME_BYTES: usize = 8 + BODY_BYTES;
const BODY_BYTES: usize = 26;
/// Most payload of one frame: two whole frames fit into what a reader reads at once.
pub(super) const PAYLOAD_BYTES_MAX: usize = 30 * 1024;
/// What a reader reads at once, and all the memory that it needs.
pub(super) const CHUNK_BYTES: usize = 64 * 1024;

const POSITIONED: u8 = 1;
const ENDED: u8 = 2;

/// Where a log is after some frame.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Position {
    /// Where the next byte goes; `None` before the first frame of all.
    pub(super) end: Option<Cursor>,
    /// Whether the end of the process of that epoch has been written.
    pub(super) ended: bool,
}

impl Position {
    /// Goes past a frame.
    pub(super) fn pass<B: AsRef<[u8]>>(&mut self, frame: &Frame<B>) {
        let end = frame.end();
        let same = self.end.is_some_and(|last| last.epoch == end.epoch);
        let ends = matches!(frame.what, What::Ended(_));
        *self = Self { end: Some(end), ended: ends || (same && self.ended) };
    }

    /// The header of a file that begins here.
    pub(super) fn to_header(self) -> [u8; HEADER_BYTES] {
        let end = self.end.unwrap_or(Cursor { epoch: 0, offset: 0 });
        let mut header = [0; HEADER_BYTES];
        header[..8].copy_from_slice(MAGIC);
        header[8..16].copy_from_slice(&end.epoch.to_le_bytes());
        header[16..24].copy_from_slice(&end.offset.to_le_bytes());
        header[24] =
            if self.end.is_some() { POSITIONED } else { 0 } | if self.ended { ENDED } else { 0 };
        let crc = crc32fast::hash(&header[..28]);
        header[28..].copy_from_slice(&crc.to_le_bytes());
        header
    }

    /// Reads a header; `None` when it is torn or none of ours.
    pub(super) fn from_header(header: &[u8; HEADER_BYTES]) -> Option<Self> {
        let (fields, crc) = header.split_last_chunk::<4>()?;
        if !header.starts_with(MAGIC) || crc32fast::hash(fields) != u32::from_le_bytes(*crc) {
            return None;
        }
        let end = Cursor { epoch: u64_at(fields, 8)?, offset: u64_at(fields, 16)? };
        let flags = fields[24];
        let positioned = flags & POSITIONED != 0;
        Some(Self { end: positioned.then_some(end), ended: flags & ENDED != 0 })
    }
}

/// One entry of a log; its output is borrowed when written, and shared when read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame<B = Bytes> {
    /// Which start of the process.
    pub(super) epoch: u64,
    /// Where it starts within the epoch.
    pub(super) offset: u64,
    /// What it says.
    pub(super) what: What<B>,
}

/// What an entry says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What<B = Bytes> {
    /// Output.
    Record { time: u64, stream: u8, payload: B },
    /// Output up to here was lost.
    Gap { to: u64 },
    /// The process ended.
    Ended(ExitStatus),
}

impl<B: AsRef<[u8]>> Frame<B> {
    /// Where the log is after this entry.
    pub(super) fn end(&self) -> Cursor {
        let offset = match &self.what {
            What::Record { payload, .. } => self.offset + payload.as_ref().len() as u64,
            What::Gap { to } => *to,
            What::Ended(_) => self.offset,
        };
        Cursor { epoch: self.epoch, offset }
    }

    /// Adds the frame to `out`.
    pub(super) fn write_to(&self, out: &mut Vec<u8>) {
        let mut fixed = [0; 8];
        let (kind, time, stream, payload): (u8, u64, u8, &[u8]) = match &self.what {
            What::Record { time, stream, payload } => (1, *time, *stream, payload.as_ref()),
            What::Gap { to } => {
                fixed = to.to_le_bytes();
                (2, 0, 0, &fixed)
            }
            What::Ended(status) => {
                fixed[..5].copy_from_slice(&status_to_bytes(*status));
                (3, 0, 0, &fixed[..5])
            }
        };
        let start = out.len();
        let length = u32::try_from(BODY_BYTES + payload.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.push(kind);
        out.extend_from_slice(&self.epoch.to_le_bytes());
        out.extend_from_slice(&self.offset.to_le_bytes());
        out.extend_from_slice(&time.to_le_bytes());
        out.push(stream);
        out.extend_from_slice(payload);
        let crc = checksum(length, &out[start + 8..]);
        out[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
    }
}

/// What is found where a frame should start.
#[derive(Debug)]
pub(super) enum Found {
    /// A frame, and its length on disk.
    Frame(Frame, usize),
    /// The start of one, or nothing: more bytes are needed to tell.
    Short,
    /// Something that no writer wrote.
    Bad,
}

/// Looks at the start of `chunk`. Output shares the chunk's memory.
pub(super) fn find(chunk: &Bytes) -> Found {
    let Some(length) = u32_at(chunk, 0) else { return Found::Short };
    let body_bytes = length as usize;
    if !(BODY_BYTES..=BODY_BYTES + PAYLOAD_BYTES_MAX).contains(&body_bytes) {
        return Found::Bad;
    }
    let (Some(crc), Some(body)) = (u32_at(chunk, 4), chunk.get(8..8 + body_bytes)) else {
        return Found::Short;
    };
    if checksum(length, body) != crc {
        return Found::Bad;
    }
    let payload = chunk.slice(FRAME_BYTES..8 + body_bytes);
    parse(body, payload).map_or(Found::Bad, |frame| Found::Frame(frame, 8 + body_bytes))
}

fn parse(body: &[u8], payload: Bytes) -> Option<Frame> {
    let (epoch, offset) = (u64_at(body, 1)?, u64_at(body, 9)?);
    let what = match body[0] {
        1 => {
            offset.checked_add(payload.len() as u64)?;
            What::Record { time: u64_at(body, 17)?, stream: body[25], payload }
        }
        2 => What::Gap { to: u64_at(&payload, 0)? },
        3 => What::Ended(status_from_bytes(&payload)?),
        _ => return None,
    };
    Some(Frame { epoch, offset, what })
}

fn checksum(length: u32, body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length.to_le_bytes());
    hasher.update(body);
    hasher.finalize()
}

fn status_to_bytes(status: ExitStatus) -> [u8; 5] {
    let (kind, number) = match status {
        ExitStatus::Code(code) => (0, code),
        ExitStatus::Signal(signal) => (1, signal),
        ExitStatus::Lost => (2, 0),
    };
    let number = number.to_le_bytes();
    [kind, number[0], number[1], number[2], number[3]]
}

fn status_from_bytes(bytes: &[u8]) -> Option<ExitStatus> {
    let (kind, number) = bytes.split_first()?;
    let number = i32::from_le_bytes(number.try_into().ok()?);
    match kind {
        0 => Some(ExitStatus::Code(number)),
        1 => Some(ExitStatus::Signal(number)),
        2 => Some(ExitStatus::Lost),
        _ => None,
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}
