//! A connection to a port in the sandbox.
//!
//! ```text
//! handed over   server ◀══════ the sandbox's TCP socket ══════▶ port
//! pumped        server ◀══ unix socket ══▶ init ◀══ TCP ══▶ port
//! ```
//!
//! Init connects inside the sandbox and, where its kernel can, hands the connected socket
//! over: the bytes then pass one process less. Elsewhere, as on gVisor, it copies them.
//!
//! The socket comes from hostile ground, and whoever sent it may keep a copy of it, through
//! which it can be made blocking or given other options at any time. So it is taken only
//! where one is expected, looked at first, and used with calls that never wait, whatever
//! the socket says.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendFlags,
    Shutdown, SocketType, getpeername, ipproto, recv, recvmsg, send, shutdown, sockopt,
};
use sandtree_wire::{DialEvent, FrameError, StartError, read_message};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::live::Hold;

/// A connection to a port in the sandbox. Its bytes count as activity, the open
/// connection does not: a page that is left open must not keep a sandbox for ever.
pub struct Dialled {
    way: Way,
    _hold: Hold,
}

impl Dialled {
    pub(crate) fn new(way: Way, hold: Hold) -> Self {
        Self { way, _hold: hold }
    }
}

/// How the bytes go.
pub(crate) enum Way {
    /// Through init, which copies them.
    Pumped(UnixStream),
    /// Directly.
    Handed(Handed),
}

/// What init answers to a dial: the way for the bytes, or why there is none.
///
/// # Errors
///
/// What is wrong with the answer, or with the socket that came with it.
///
/// # Cancel safety
///
/// None: the connection has to be dropped.
pub(crate) async fn answer(mut stream: UnixStream) -> Result<Result<Way, StartError>, FrameError> {
    let (first, socket) = stream.async_io(Interest::READABLE, || first_byte(&stream)).await?;
    let mut buffer = Vec::new();
    let event = read_message(&mut first.as_slice().chain(&mut stream), &mut buffer).await?;
    match (event, socket) {
        (DialEvent::Connected, None) => Ok(Ok(Way::Pumped(stream))),
        (DialEvent::Handed, Some(socket)) => Ok(Ok(Way::Handed(Handed::new(socket)?))),
        (DialEvent::Failed(error), None) => Ok(Err(error)),
        (DialEvent::Connected | DialEvent::Failed(_), Some(_)) | (DialEvent::Handed, None) => {
            Err(FrameError::Unexpected)
        }
    }
}

/// The first byte of the answer, nothing at its end, and the descriptor that comes with it.
/// Nowhere else is there room for descriptors: the kernel closes what comes uncalled.
fn first_byte(stream: &UnixStream) -> io::Result<(Vec<u8>, Option<OwnedFd>)> {
    let mut byte = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let received = recvmsg(stream, &mut [IoSliceMut::new(&mut byte)], &mut control, flags)?;
    let mut sockets = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            sockets.extend(descriptors.inspect(|one| do_not_linger(one)));
        }
    }
    if sockets.len() > 1 || received.flags.contains(ReturnFlags::CTRUNC) {
        return Err(foul("it handed over more than one descriptor"));
    }
    Ok((byte[..received.bytes].to_vec(), sockets.pop()))
}

fn foul(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// A connected TCP socket of the sandbox.
///
/// Its own `read` and `write` are never used: they wait on a socket that was made blocking.
pub(crate) struct Handed(TcpStream);

impl Handed {
    fn new(socket: OwnedFd) -> io::Result<Self> {
        if !is_connection(&socket)? {
            return Err(foul("it handed over something that is no TCP connection"));
        }
        let socket = std::net::TcpStream::from(socket);
        socket.set_nonblocking(true)?;
        TcpStream::from_std(socket).map(Self)
    }

    fn poll_read(
        &self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.0.poll_read_ready(context))?;
            let room = buffer.initialize_unfilled();
            let receive = || Ok(recv(&self.0, room, RecvFlags::DONTWAIT)?.0);
            match self.0.try_io(Interest::READABLE, receive) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                received => return Poll::Ready(received.map(|count| buffer.advance(count))),
            }
        }
    }

    fn poll_write(&self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        loop {
            ready!(self.0.poll_write_ready(context))?;
            match self.0.try_io(Interest::WRITABLE, || Ok(send(&self.0, bytes, flags)?)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                sent => return Poll::Ready(sent),
            }
        }
    }

    fn shutdown(&self) -> io::Result<()> {
        match shutdown(&self.0, Shutdown::Write) {
            // The other side has gone first.
            Ok(()) | Err(Errno::NOTCONN) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for Handed {
    fn drop(&mut self) {
        do_not_linger(&self.0);
    }
}

fn is_connection(socket: &OwnedFd) -> io::Result<bool> {
    let is_internet =
        [AddressFamily::INET, AddressFamily::INET6].contains(&sockopt::socket_domain(socket)?);
    let is_tcp = sockopt::socket_type(socket)? == SocketType::STREAM
        && sockopt::socket_protocol(socket)? == Some(ipproto::TCP);
    Ok(is_internet && is_tcp && getpeername(socket)?.is_some())
}

/// Closing waits for what is not sent yet, if the socket was told so.
fn do_not_linger(socket: impl AsFd) {
    // What is no socket has no such setting.
    let _ = sockopt::set_socket_linger(socket, None);
}

impl AsyncRead for Dialled {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.way {
            Way::Pumped(stream) => Pin::new(stream).poll_read(context, buffer),
            Way::Handed(socket) => socket.poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Dialled {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.way {
            Way::Pumped(stream) => Pin::new(stream).poll_write(context, bytes),
            Way::Handed(socket) => socket.poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A socket keeps nothing back.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.way {
            Way::Pumped(stream) => Pin::new(stream).poll_shutdown(context),
            Way::Handed(socket) => Poll::Ready(socket.shutdown()),
        }
    }
}

#[cfg(test)]
mod tests;
