//! What a sandbox can hand over, at the level of the wire.

use std::future::poll_fn;
use std::io::IoSlice;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::BorrowedFd;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, sendmsg};
use sandtree_wire::{StartError, write_message};
use tokio::io::AsyncWriteExt as _;

use super::*;

/// Two ends of a TCP connection.
fn connection() -> (std::net::TcpStream, std::net::TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let one = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (one, listener.accept().unwrap().0)
}

/// What the server makes of an answer that comes with these descriptors.
async fn answered(
    event: DialEvent,
    descriptors: &[BorrowedFd<'_>],
) -> Result<Result<Way, StartError>, FrameError> {
    let (server, sandbox) = UnixStream::pair().unwrap();
    let mut frame = Vec::new();
    write_message(&mut frame, &event).await.unwrap();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(descriptors)));
    let sent = sendmsg(&sandbox, &[IoSlice::new(&frame)], &mut control, SendFlags::empty());
    assert_eq!(sent.unwrap(), frame.len());
    answer(server).await
}

async fn handed(socket: impl AsFd) -> Handed {
    match answered(DialEvent::Handed, &[socket.as_fd()]).await {
        Ok(Ok(Way::Handed(handed))) => handed,
        Ok(Ok(Way::Pumped(_)) | Err(_)) => panic!("it is not handed over"),
        Err(error) => panic!("{error}"),
    }
}

async fn read(handed: &Handed, bytes: &mut [u8]) -> usize {
    let mut buffer = ReadBuf::new(bytes);
    poll_fn(|context| handed.poll_read(context, &mut buffer)).await.unwrap();
    buffer.filled().len()
}

#[tokio::test]
async fn a_socket_that_is_handed_over_carries_both_ways_and_ends() {
    let (socket, mut peer) = connection();
    let handed = handed(&socket).await;
    drop(socket);
    std::io::Write::write_all(&mut peer, b"answer").unwrap();
    let mut bytes = [0; 16];
    assert_eq!(read(&handed, &mut bytes).await, 6);
    assert_eq!(&bytes[..6], b"answer");
    let sent = poll_fn(|context| handed.poll_write(context, b"question")).await;
    assert_eq!(sent.unwrap(), 8);
    handed.shutdown().unwrap();
    let mut question = String::new();
    std::io::Read::read_to_string(&mut peer, &mut question).unwrap();
    assert_eq!(question, "question");
    drop(peer);
    assert_eq!(read(&handed, &mut bytes).await, 0);
}

#[tokio::test]
async fn only_one_connected_tcp_socket_is_taken() {
    let (socket, _peer) = connection();
    let file = tempfile::tempfile().unwrap();
    let (reader, _writer) = std::io::pipe().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
    datagrams.connect("127.0.0.1:9").unwrap();
    let (unix, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    let unconnected = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    let many = [socket.as_fd(); 8];
    for (what, descriptors) in [
        ("none", &[][..]),
        ("a file", &[file.as_fd()]),
        ("a pipe", &[reader.as_fd()]),
        ("a listening socket", &[listener.as_fd()]),
        ("datagrams", &[datagrams.as_fd()]),
        ("a unix socket", &[unix.as_fd()]),
        ("no connection", &[unconnected.as_fd()]),
        ("two", &many[..2]),
        ("many", &many),
    ] {
        let outcome = answered(DialEvent::Handed, descriptors).await;
        assert!(outcome.is_err(), "{what}");
    }
    let failed = DialEvent::Failed(StartError { errno: 111, what: "connect".into() });
    for event in [DialEvent::Connected, failed] {
        let outcome = answered(event.clone(), &[socket.as_fd()]).await;
        assert!(outcome.is_err(), "uncalled with {event:?}");
        assert!(answered(event, &[]).await.is_ok());
    }
}

#[tokio::test]
async fn what_is_refused_or_comes_uncalled_is_closed() {
    let (socket, mut peer) = connection();
    for count in [1, 2] {
        let descriptors = [socket.as_fd(); 2];
        assert!(answered(DialEvent::Connected, &descriptors[..count]).await.is_err());
    }
    let (mut server, sandbox) = UnixStream::pair().unwrap();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = [socket.as_fd()];
    assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)));
    sendmsg(&sandbox, &[IoSlice::new(b"x")], &mut control, SendFlags::empty()).unwrap();
    assert_eq!(server.read_u8().await.unwrap(), b'x');
    // Were any copy of it left, its other end would not end with it.
    drop(socket);
    assert_eq!(std::io::Read::read(&mut peer, &mut [0]).unwrap(), 0);
}

#[tokio::test]
async fn a_socket_that_was_made_blocking_blocks_nobody() {
    let (socket, peer) = connection();
    let handed = handed(&socket).await;
    let flags = fcntl_getfl(&socket).unwrap();
    fcntl_setfl(&socket, flags.difference(OFlags::NONBLOCK)).unwrap();
    // The only thread there is would hang here.
    let mut bytes = [0; 1];
    let mut buffer = ReadBuf::new(&mut bytes);
    let reads = poll_fn(|context| Poll::Ready(handed.poll_read(context, &mut buffer))).await;
    assert!(reads.is_pending());
    let piece = vec![0; 1 << 20];
    let mut pieces = 0;
    while poll_fn(|context| Poll::Ready(handed.poll_write(context, &piece))).await.is_ready() {
        pieces += 1;
        assert!(pieces < 1000, "the peer reads nothing");
    }
    // Nor does the end of it, with all that unsent and a setting to wait for it.
    sockopt::set_socket_linger(&socket, Some(std::time::Duration::from_secs(3600))).unwrap();
    drop(socket);
    drop(handed);
    drop(peer);
}

#[tokio::test]
async fn an_answer_that_ends_early_is_no_connection() {
    let (server, sandbox) = UnixStream::pair().unwrap();
    drop(sandbox);
    assert!(matches!(answer(server).await, Err(FrameError::Closed)));
    let (server, mut sandbox) = UnixStream::pair().unwrap();
    sandbox.write_all(&[0, 9]).await.unwrap();
    drop(sandbox);
    assert!(matches!(answer(server).await, Err(FrameError::Io(_))));
}
