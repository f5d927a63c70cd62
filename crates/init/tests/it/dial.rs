use sandtree_wire::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixStream};

use crate::server::*;

async fn dial(sandbox: &mut Sandbox, port: u16) -> (UnixStream, DialEvent) {
    let mut connection = sandbox.open(Stream::Dial { port }).await;
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
