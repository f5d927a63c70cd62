//! Dial: bytes between the server and a port in the sandbox.
//!
//! The connected socket is handed over to the server if it wants it and the kernel can do
//! that; else the bytes are copied here.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd as _;
use std::pin::pin;
use std::time::Duration;

use sandtree_wire::{DialEvent, FrameError, write_message};
use tokio::io::{Interest, copy_bidirectional_with_sizes};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::command::start_error;
use crate::hangup::Hangup;
use crate::sys;

const CONNECT_MAX: Duration = Duration::from_secs(5);
/// How long a connection outlives the server's end of it.
const LINGER_MAX: Duration = Duration::from_secs(5);
/// What each direction holds at most: most of what a preview carries are answers.
const REQUEST_BYTES: usize = 16 * 1024;
const ANSWER_BYTES: usize = 64 * 1024;

/// Connects and says so. Unless the server has the socket then, copies until both
/// directions have ended or the server has closed.
///
/// # Errors
///
/// What either connection failed with.
pub(crate) async fn serve(
    mut server: UnixStream,
    port: u16,
    hand_over: bool,
) -> Result<(), FrameError> {
    let mut sandbox = match connect(port).await {
        Ok(sandbox) => sandbox,
        Err(error) => {
            let failed = start_error(&format!("connect to port {port}"), &error);
            return write_message(&mut server, &DialEvent::Failed(failed)).await;
        }
    };
    let _ = sandbox.set_nodelay(true);
    if hand_over && hand(&server, &sandbox).await? {
        return Ok(());
    }
    write_message(&mut server, &DialEvent::Connected).await?;
    let closed = Hangup::of_both_directions(&server)?;
    let copy =
        copy_bidirectional_with_sizes(&mut server, &mut sandbox, REQUEST_BYTES, ANSWER_BYTES);
    let mut copy = pin!(copy);
    let copied = tokio::select! {
        copied = &mut copy => copied,
        // Without this a quiet port would hold what nobody reads any more; what the
        // server sent before it closed still gets a moment to arrive.
        () = closed.happened() => timeout(LINGER_MAX, copy).await.unwrap_or(Ok((0, 0))),
    };
    Ok(copied.map(drop)?)
}

/// Gives the server the socket; false when this kernel cannot, as gVisor's.
async fn hand(server: &UnixStream, socket: &TcpStream) -> Result<bool, FrameError> {
    let mut frame = Vec::new();
    write_message(&mut frame, &DialEvent::Handed).await?;
    let send = || sys::send_with(server.as_fd(), &frame, socket.as_fd());
    match server.async_io(Interest::WRITABLE, send).await {
        // Nothing was sent on this connection but the hello: there is room for all of it.
        Ok(sent) if sent == frame.len() => Ok(true),
        Ok(_) => Err(FrameError::Unexpected),
        Err(_) => Ok(false),
    }
}

async fn connect(port: u16) -> io::Result<TcpStream> {
    let four = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let six = SocketAddr::from((Ipv6Addr::LOCALHOST, port));
    match connect_to(four).await {
        Ok(stream) => Ok(stream),
        // What is told is why the first failed: the second is the rarer case.
        Err(error) => connect_to(six).await.map_err(|_| error),
    }
}

async fn connect_to(address: SocketAddr) -> io::Result<TcpStream> {
    match timeout(CONNECT_MAX, TcpStream::connect(address)).await {
        Ok(result) => result,
        Err(_) => Err(io::Error::from_raw_os_error(libc::ETIMEDOUT)),
    }
}
