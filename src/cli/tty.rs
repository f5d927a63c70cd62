//! The terminal that this program runs in.

use std::io::{self, stdin, stdout};

use bytes::Bytes;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::sync::mpsc;

/// Pieces of input that wait to be sent; then the keyboard waits.
const PIECES_MAX: usize = 16;
/// Most bytes of one piece.
const PIECE_BYTES: usize = 16 * 1024;
/// The least and the most that a terminal of the server has of columns and of rows.
const SIZES: (u16, u16) = (2, 500);

/// A terminal in raw mode. It is as it was before when this is dropped.
pub(in crate::cli) struct Raw {
    before: Termios,
}

impl Raw {
    /// Keys come one by one from here on, without echo, and none means a signal.
    pub(in crate::cli) fn enter() -> io::Result<Self> {
        let before = tcgetattr(stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(stdin(), OptionalActions::Drain, &raw)?;
        Ok(Self { before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // If the terminal is gone, there is nothing to restore.
        let _ = tcsetattr(stdin(), OptionalActions::Now, &self.before);
    }
}

/// Columns and rows, within what the server takes.
pub(in crate::cli) fn size() -> (u16, u16) {
    let (least, most) = SIZES;
    // A terminal that does not know its size says 0.
    let known = |size: u16, usual: u16| if size == 0 { usual } else { size.clamp(least, most) };
    match tcgetwinsize(stdout()) {
        Ok(size) => (known(size.ws_col, 80), known(size.ws_row, 24)),
        Err(_) => (80, 24),
    }
}

/// What is typed, until the terminal is gone. A thread of its own waits for it, which
/// the end of the program ends.
pub(in crate::cli) fn keys() -> mpsc::Receiver<Bytes> {
    let (sender, receiver) = mpsc::channel(PIECES_MAX);
    std::thread::spawn(move || {
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            match rustix::io::read(stdin(), &mut piece) {
                Err(rustix::io::Errno::INTR) => {}
                Ok(0) | Err(_) => return,
                Ok(read) => {
                    if sender.blocking_send(Bytes::copy_from_slice(&piece[..read])).is_err() {
                        return;
                    }
                }
            }
        }
    });
    receiver
}
