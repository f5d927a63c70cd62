use std::os::fd::{AsRawFd as _, FromRawFd as _};

use sandtree_wire::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};

use crate::server::*;

async fn dial(sandbox: &mut Sandbox, port: u16) -> (UnixStream, DialEvent) {
    let mut connection = sandbox.open(Stream::Dial { port, hand_over: false }).await;
    let mut buffer = Vec::new();
    let event = soon("an answer", read_message(&mut connection, &mut buffer)).await.unwrap();
    (connection, event)
}

#[tokio::test]
async fn bytes_go_both_ways_and_ends_too() {
    let mut sandbox = Sandbox::start().await;
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let Ok(listener) = TcpListener::bind(address).await else { continue };
        let port = listener.local_addr().unwrap().port();
        let (mut connection, event) = dial(&mut sandbox, port).await;
        assert_eq!(event, DialEvent::Connected);
        let (mut peer, _) = soon("a connection", listener.accept()).await.unwrap();
        connection.write_all(b"to the port").await.unwrap();
        connection.shutdown().await.unwrap();
        let mut text = String::new();
        soon("the end", peer.read_to_string(&mut text)).await.unwrap();
        assert_eq!(text, "to the port");
        // Half of it is closed; the other half still carries what it likes.
        let answer = vec![b'y'; 1_000_000];
        let writing = tokio::spawn(async move {
            peer.write_all(&answer).await.unwrap();
        });
        let mut back = Vec::new();
        soon("the answer", connection.read_to_end(&mut back)).await.unwrap();
        assert_eq!(back.len(), 1_000_000);
        writing.await.unwrap();
    }
}

/// Takes the first byte of an answer, and the one socket that comes with it.
fn take_socket(connection: &UnixStream) -> std::io::Result<(u8, TcpStream)> {
    let (mut byte, mut control) = (0_u8, [0_u64; 3]);
    let mut part = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    // SAFETY: the kernel writes one byte, and at most as much of a head and descriptors as
    // there is room for; a descriptor that came is nobody else's.
    unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&control) as _;
        if libc::recvmsg(connection.as_raw_fd(), &raw mut message, 0) != 1 {
            return Err(std::io::Error::last_os_error());
        }
        let head = libc::CMSG_FIRSTHDR(&raw const message);
        assert!(!head.is_null(), "no socket came");
        assert_eq!(((*head).cmsg_level, (*head).cmsg_type), (libc::SOL_SOCKET, libc::SCM_RIGHTS));
        let socket = libc::CMSG_DATA(head).cast::<libc::c_int>().read_unaligned();
        Ok((byte, TcpStream::from_std(std::net::TcpStream::from_raw_fd(socket))?))
    }
}

#[tokio::test]
async fn a_server_that_wants_it_gets_the_socket_itself() {
    let mut sandbox = Sandbox::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut connection = sandbox.open(Stream::Dial { port, hand_over: true }).await;
    let take = || take_socket(&connection);
    let taken = connection.async_io(tokio::io::Interest::READABLE, take);
    let (first, mut socket) = soon("an answer", taken).await.unwrap();
    let (first, mut buffer) = ([first], Vec::new());
    let mut answer = first.as_slice().chain(&mut connection);
    let event = read_message::<_, DialEvent>(&mut answer, &mut buffer);
    assert_eq!(soon("the answer", event).await.unwrap(), DialEvent::Handed);
    // Init has nothing to do with it any more: neither the stream nor the socket.
    assert_eq!(soon("the end", connection.read(&mut [0])).await.unwrap(), 0);
    let (mut peer, _) = soon("a connection", listener.accept()).await.unwrap();
    socket.write_all(b"directly").await.unwrap();
    drop(socket);
    let mut text = String::new();
    soon("the end", peer.read_to_string(&mut text)).await.unwrap();
    assert_eq!(text, "directly");
}

#[tokio::test]
async fn a_port_hears_of_it_when_the_server_is_gone() {
    let mut sandbox = Sandbox::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (mut connection, _) = dial(&mut sandbox, listener.local_addr().unwrap().port()).await;
    let (mut peer, _) = soon("a connection", listener.accept()).await.unwrap();
    connection.write_all(b"last words").await.unwrap();
    drop(connection);
    let mut text = String::new();
    soon("the end", peer.read_to_string(&mut text)).await.unwrap();
    assert_eq!(text, "last words");
}

#[tokio::test]
async fn a_port_without_a_listener_is_refused() {
    let mut sandbox = Sandbox::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let (_, event) = dial(&mut sandbox, port).await;
    let DialEvent::Failed(error) = event else { panic!("{event:?}") };
    assert_eq!(error.errno, libc::ECONNREFUSED);
    assert_eq!(error.what, format!("connect to port {port}"));
}
