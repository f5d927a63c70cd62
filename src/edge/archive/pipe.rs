//! Between code that blocks and a connection that does not: bounded, and given up when
//! the other side stands still.

use std::io::{self, Read, Write};

use bytes::{Buf, Bytes, BytesMut};
use sandtree_workspace::ArchiveError;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::edge::files::{PIECE_BYTES, STALL_MAX};

/// Pieces on their way.
const PIECES_MAX: usize = 4;

/// A piece of an archive, or why there is none.
pub(super) type Piece = Result<Bytes, ArchiveError>;

/// Where an archive is written to.
pub(super) struct PieceWriter {
    waiting: BytesMut,
    pieces: mpsc::Sender<Piece>,
    runtime: Handle,
}

impl PieceWriter {
    /// A writer for a thread where blocking is allowed, and what comes out of it.
    pub(super) fn new() -> (Self, mpsc::Receiver<Piece>) {
        let (pieces, receiver) = mpsc::channel(PIECES_MAX);
        let waiting = BytesMut::with_capacity(PIECE_BYTES);
        (Self { waiting, pieces, runtime: Handle::current() }, receiver)
    }

    /// Ends with an error, so that nobody takes the archive for complete.
    pub(super) fn fail(self, error: ArchiveError) {
        // Who is gone does not need to know.
        let _ = self.runtime.block_on(timeout(STALL_MAX, self.pieces.send(Err(error))));
    }

    fn send(&mut self) -> io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        // What is split off would leave no room, and the next piece would grow bit by bit.
        let fresh = BytesMut::with_capacity(PIECE_BYTES);
        let piece = std::mem::replace(&mut self.waiting, fresh).freeze();
        match self.runtime.block_on(timeout(STALL_MAX, self.pieces.send(Ok(piece)))) {
            Ok(sent) => sent.map_err(|_| io::ErrorKind::BrokenPipe.into()),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

impl Write for PieceWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = PIECE_BYTES - self.waiting.len();
        let count = bytes.len().min(room);
        self.waiting.extend_from_slice(&bytes[..count]);
        if self.waiting.len() >= PIECE_BYTES {
            self.send()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send()
    }
}

/// Where an archive is read from. `None` is its end: a sender that is gone without it
/// means that the archive was cut off.
pub(super) struct PieceReader {
    piece: Bytes,
    pieces: mpsc::Receiver<Option<Bytes>>,
    has_ended: bool,
    runtime: Handle,
}

impl PieceReader {
    /// A reader for a thread where blocking is allowed, and where its pieces go in.
    pub(super) fn new() -> (Self, mpsc::Sender<Option<Bytes>>) {
        let (sender, pieces) = mpsc::channel(PIECES_MAX);
        let runtime = Handle::current();
        (Self { piece: Bytes::new(), pieces, has_ended: false, runtime }, sender)
    }
}

impl Read for PieceReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() && !self.has_ended {
            match self.runtime.block_on(timeout(STALL_MAX, self.pieces.recv())) {
                Ok(Some(Some(piece))) => self.piece = piece,
                Ok(Some(None)) => self.has_ended = true,
                Ok(None) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Err(_) => return Err(io::ErrorKind::TimedOut.into()),
            }
        }
        let count = self.piece.len().min(buffer.len());
        self.piece.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_written_comes_out_in_pieces_and_an_error_last() {
        let (mut writer, mut pieces) = PieceWriter::new();
        let work = tokio::task::spawn_blocking(move || {
            writer.write_all(&vec![7; PIECE_BYTES + 5]).unwrap();
            writer.flush().unwrap();
            writer.fail(ArchiveError::Ratio { max: 1 });
        });
        assert_eq!(pieces.recv().await.unwrap().unwrap().len(), PIECE_BYTES);
        assert_eq!(pieces.recv().await.unwrap().unwrap().len(), 5);
        assert!(pieces.recv().await.unwrap().is_err());
        assert!(pieces.recv().await.is_none());
        work.await.unwrap();
    }

    #[tokio::test]
    async fn a_client_that_is_gone_ends_the_writing() {
        let (mut writer, pieces) = PieceWriter::new();
        drop(pieces);
        let work = tokio::task::spawn_blocking(move || {
            writer.write_all(&[0]).unwrap();
            writer.flush().unwrap_err().kind()
        });
        assert_eq!(work.await.unwrap(), io::ErrorKind::BrokenPipe);
    }

    #[tokio::test]
    async fn an_archive_that_is_cut_off_is_no_archive() {
        for is_whole in [true, false] {
            let (mut reader, sender) = PieceReader::new();
            let work = tokio::task::spawn_blocking(move || {
                let mut all = Vec::new();
                reader.read_to_end(&mut all).map(|_| all)
            });
            sender.send(Some(Bytes::from_static(b"ab"))).await.unwrap();
            sender.send(Some(Bytes::from_static(b"c"))).await.unwrap();
            if is_whole {
                sender.send(None).await.unwrap();
            }
            drop(sender);
            let outcome = work.await.unwrap();
            assert_eq!(outcome.is_ok(), is_whole);
            if let Ok(all) = outcome {
                assert_eq!(all, b"abc");
            }
        }
    }
}
