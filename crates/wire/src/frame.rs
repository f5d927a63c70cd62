//! Frames: how bytes and messages are told apart on a stream.

use std::io;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::{DATA_BYTES_MAX, MESSAGE_BYTES_MAX};

/// What the payload of a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A message in JSON.
    Message = 0,
    /// Bytes: input of a program, or its standard output.
    Data = 1,
    /// Bytes of a program's standard error.
    Stderr = 2,
    /// No more bytes follow in this direction. Empty.
    End = 3,
    /// One piece of a job's output: a [`RecordHead`] and the bytes.
    Record = 4,
}

impl Kind {
    const fn bytes_max(self) -> usize {
        match self {
            Kind::Message => MESSAGE_BYTES_MAX,
            Kind::Data | Kind::Stderr => DATA_BYTES_MAX,
            Kind::End => 0,
            Kind::Record => RecordHead::BYTES + DATA_BYTES_MAX,
        }
    }
}

impl TryFrom<u8> for Kind {
    type Error = FrameError;

    fn try_from(byte: u8) -> Result<Self, FrameError> {
        Ok(match byte {
            0 => Kind::Message,
            1 => Kind::Data,
            2 => Kind::Stderr,
            3 => Kind::End,
            4 => Kind::Record,
            _ => return Err(FrameError::UnknownKind(byte)),
        })
    }
}

/// Why a frame could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The connection failed or ended inside a frame.
    #[error("connection failed")]
    Io(#[from] io::Error),
    /// The other side closed where a frame was expected.
    #[error("connection closed")]
    Closed,
    /// A kind that this version does not know.
    #[error("unknown kind of frame {0}")]
    UnknownKind(u8),
    /// A payload above the limit of its kind.
    #[error("a frame of {bytes} bytes is above the limit of {limit}")]
    TooLong {
        /// What the header said.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
    /// A kind that has no place here, or a record without its head.
    #[error("unexpected frame")]
    Unexpected,
    /// A message that is not what was expected.
    #[error("malformed message")]
    Malformed(#[from] serde_json::Error),
}

/// A frame whose payload is in the buffer that [`read_frame`] was given.
#[derive(Debug)]
pub struct Frame<'a> {
    /// What the payload is.
    pub kind: Kind,
    /// The payload.
    pub payload: &'a [u8],
}

impl Frame<'_> {
    /// The message that the payload is.
    ///
    /// # Errors
    ///
    /// [`FrameError::Unexpected`] when the frame holds no message, and
    /// [`FrameError::Malformed`] when it is not one of type `M`.
    pub fn message<M: DeserializeOwned>(&self) -> Result<M, FrameError> {
        match self.kind {
            Kind::Message => Ok(serde_json::from_slice(self.payload)?),
            Kind::Data | Kind::Stderr | Kind::End | Kind::Record => Err(FrameError::Unexpected),
        }
    }

    /// The head and the bytes of a record.
    ///
    /// # Errors
    ///
    /// [`FrameError::Unexpected`] when the frame is no record.
    pub fn record(&self) -> Result<(RecordHead, &[u8]), FrameError> {
        match self.kind {
            Kind::Record => RecordHead::split(self.payload).ok_or(FrameError::Unexpected),
            Kind::Message | Kind::Data | Kind::Stderr | Kind::End => Err(FrameError::Unexpected),
        }
    }
}

/// Where and when a piece of a job's output was produced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordHead {
    /// Absolute offset of its first byte within the job's epoch.
    pub offset: u64,
    /// Microseconds since 1970, by the sandbox's clock.
    pub at: u64,
    /// 1 for standard output and for a terminal, 2 for standard error.
    pub stream: u8,
}

impl RecordHead {
    /// Length of a head on the wire.
    pub const BYTES: usize = 17;

    /// The head as it goes over the wire.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&self.offset.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.at.to_le_bytes());
        bytes[16] = self.stream;
        bytes
    }

    fn split(payload: &[u8]) -> Option<(Self, &[u8])> {
        let (offset, rest) = payload.split_first_chunk::<8>()?;
        let (at, rest) = rest.split_first_chunk::<8>()?;
        let (stream, rest) = rest.split_first()?;
        let head = Self {
            offset: u64::from_le_bytes(*offset),
            at: u64::from_le_bytes(*at),
            stream: *stream,
        };
        Some((head, rest))
    }
}

/// Reads one frame into `buffer`, which grows to the frame's size at most and is
/// reused from call to call. Reads not one byte more than the frame.
///
/// # Errors
///
/// [`FrameError::Closed`] when the stream ends before the frame's first byte; any
/// other ends the connection.
///
/// # Cancel safety
///
/// None: a cancelled call may have consumed a part of a frame.
pub async fn read_frame<'a, R>(
    reader: &mut R,
    buffer: &'a mut Vec<u8>,
) -> Result<Frame<'a>, FrameError>
where
    R: AsyncRead + Unpin,
{
    read_frame_within(reader, buffer, usize::MAX).await
}

/// As [`read_frame`], for a peer that has not proven itself and gets no more
/// than `bytes_max` of payload.
///
/// # Errors
///
/// As [`read_frame`].
pub async fn read_frame_within<'a, R>(
    reader: &mut R,
    buffer: &'a mut Vec<u8>,
    bytes_max: usize,
) -> Result<Frame<'a>, FrameError>
where
    R: AsyncRead + Unpin,
{
    let mut header = [0; 5];
    if reader.read(&mut header[..1]).await? == 0 {
        return Err(FrameError::Closed);
    }
    reader.read_exact(&mut header[1..]).await?;
    let kind = Kind::try_from(header[0])?;
    let bytes = u32::from_le_bytes([header[1], header[2], header[3], header[4]]) as usize;
    let limit = kind.bytes_max().min(bytes_max);
    if bytes > limit {
        return Err(FrameError::TooLong { bytes, limit });
    }
    buffer.resize(bytes, 0);
    reader.read_exact(buffer).await?;
    Ok(Frame { kind, payload: buffer })
}

/// Reads one frame that has to be a message.
///
/// # Errors
///
/// As [`read_frame`], and when the frame is no message of type `M`.
pub async fn read_message<R, M>(reader: &mut R, buffer: &mut Vec<u8>) -> Result<M, FrameError>
where
    R: AsyncRead + Unpin,
    M: DeserializeOwned,
{
    read_frame(reader, buffer).await?.message()
}

/// The five bytes before a payload.
///
/// # Errors
///
/// [`FrameError::TooLong`] when the payload is above the limit of its kind.
pub fn header(kind: Kind, bytes: usize) -> Result<[u8; 5], FrameError> {
    let limit = kind.bytes_max();
    let length = u32::try_from(bytes).ok().filter(|_| bytes <= limit);
    let length = length.ok_or(FrameError::TooLong { bytes, limit })?.to_le_bytes();
    Ok([kind as u8, length[0], length[1], length[2], length[3]])
}

/// Writes one frame whose payload is in one or two pieces, without copying it.
///
/// # Errors
///
/// [`FrameError::TooLong`], or what the connection failed with.
///
/// # Cancel safety
///
/// None: a cancelled call may have written a part of a frame.
pub async fn write_frame<W>(
    writer: &mut W,
    kind: Kind,
    payload: [&[u8]; 2],
) -> Result<(), FrameError>
where
    W: AsyncWrite + Unpin,
{
    let header = header(kind, payload[0].len() + payload[1].len())?;
    let mut pieces =
        [io::IoSlice::new(&header), io::IoSlice::new(payload[0]), io::IoSlice::new(payload[1])];
    let mut rest = &mut pieces[..];
    while rest.iter().any(|piece| !piece.is_empty()) {
        let written = writer.write_vectored(rest).await?;
        if written == 0 {
            return Err(FrameError::Io(io::ErrorKind::WriteZero.into()));
        }
        io::IoSlice::advance_slices(&mut rest, written);
    }
    Ok(())
}

/// Writes one message.
///
/// # Errors
///
/// As [`write_frame`].
pub async fn write_message<W, M>(writer: &mut W, message: &M) -> Result<(), FrameError>
where
    W: AsyncWrite + Unpin,
    M: Serialize,
{
    let payload = serde_json::to_vec(message)?;
    write_frame(writer, Kind::Message, [&payload, &[]]).await
}

#[cfg(test)]
mod tests;
