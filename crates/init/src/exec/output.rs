//! What a command writes, on its way to the server.

use std::cell::RefCell;
use std::io;
use std::os::fd::AsFd;

use sandtree_wire::{FrameError, Kind, write_frame};
use tokio::net::unix::{WriteHalf, pipe};
use tokio::sync::Notify;

use crate::pty::Pty;
use crate::sys;

/// Most bytes of one read of output.
const READ_BYTES: usize = 32 * 1024;
/// Most that is still read from a terminal after its command has ended.
const LAST_BYTES_MAX: usize = 1024 * 1024;

/// Where it comes out.
pub(super) enum Output {
    /// Standard output and standard error, apart.
    Pipes([pipe::Receiver; 2]),
    /// Both, as on a screen.
    Terminal(Pty),
}

impl Output {
    /// Sends until the main process has ended, and gives the writer back: from then on only
    /// what is there already is sent.
    pub(super) async fn send<'a, 'b>(
        self,
        scratch: &RefCell<Vec<u8>>,
        main_ended: &Notify,
        writer: &'a mut WriteHalf<'b>,
    ) -> Result<&'a mut WriteHalf<'b>, FrameError> {
        match &self {
            Output::Pipes(pipes) => send_pipes(pipes, main_ended, writer).await?,
            Output::Terminal(pty) => send_terminal(pty, scratch, main_ended, writer).await?,
        }
        Ok(writer)
    }
}

async fn send_pipes(
    [stdout, stderr]: &[pipe::Receiver; 2],
    main_ended: &Notify,
    writer: &mut WriteHalf<'_>,
) -> Result<(), FrameError> {
    let pipes = [(stdout, Kind::Data), (stderr, Kind::Stderr)];
    let mut open = [true, true];
    let mut buffer = Vec::new();
    loop {
        let ready = tokio::select! {
            () = main_ended.notified() => break,
            _ = stdout.readable(), if open[0] => 0,
            _ = stderr.readable(), if open[1] => 1,
        };
        let (pipe, kind) = pipes[ready];
        buffer.resize(READ_BYTES, 0);
        match pipe.try_read(&mut buffer) {
            Ok(0) => open[ready] = false,
            Ok(count) => write_frame(writer, kind, [&buffer[..count], &[]]).await?,
            Err(error) => open[ready] = error.kind() == io::ErrorKind::WouldBlock,
        }
    }
    for (pipe, kind) in pipes {
        send_rest(pipe, kind, writer, &mut buffer).await?;
    }
    Ok(())
}

/// Sends what is in a pipe now, whoever may go on writing to it.
async fn send_rest(
    pipe: &pipe::Receiver,
    kind: Kind,
    writer: &mut WriteHalf<'_>,
    buffer: &mut Vec<u8>,
) -> Result<(), FrameError> {
    let mut left = sys::readable_bytes(pipe.as_fd());
    while left > 0 {
        buffer.resize(left.min(READ_BYTES), 0);
        match sys::read(pipe.as_fd(), buffer) {
            Ok(count) if count > 0 => {
                write_frame(writer, kind, [&buffer[..count], &[]]).await?;
                left = left.saturating_sub(count);
            }
            Ok(_) | Err(_) => break,
        }
    }
    Ok(())
}

async fn send_terminal(
    pty: &Pty,
    scratch: &RefCell<Vec<u8>>,
    main_ended: &Notify,
    writer: &mut WriteHalf<'_>,
) -> Result<(), FrameError> {
    let mut buffer = Vec::new();
    loop {
        tokio::select! {
            () = main_ended.notified() => break,
            () = pty.collect(scratch, READ_BYTES, |bytes| buffer.extend_from_slice(bytes)) => {}
        }
        if !buffer.is_empty() {
            write_frame(writer, Kind::Data, [&buffer, &[]]).await?;
            buffer.clear();
        }
    }
    let mut left = LAST_BYTES_MAX;
    buffer.resize(READ_BYTES, 0);
    while left > 0 {
        let count = pty.read_now(&mut buffer);
        if count == 0 {
            break;
        }
        write_frame(writer, Kind::Data, [&buffer[..count], &[]]).await?;
        left = left.saturating_sub(count);
    }
    Ok(())
}
