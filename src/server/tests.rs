use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinHandle;

use super::*;
use crate::edge::testing::Edge;

/// A server on a port of its own, with an edge behind it.
struct Running {
    edge: Edge,
    address: SocketAddr,
    ending: Ending,
    served: JoinHandle<()>,
}

async fn run(change: impl FnOnce(&mut Bounds)) -> Running {
    let edge = Edge::open().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut bounds = Bounds {
        connections_max: 8,
        header_timeout: Duration::from_secs(30),
        headers_max: 20,
        shutdown_deadline: Duration::from_secs(30),
    };
    change(&mut bounds);
    let ending = Ending { soon: edge.context.shutdown.clone(), now: CancellationToken::new() };
    let tasks = edge.context.tasks.clone();
    let served = tokio::spawn(serve(listener, edge.front.clone(), bounds, ending.clone(), tasks));
    Running { edge, address, ending, served }
}

impl Running {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends bytes on a connection of its own and reads until the server closes it.
    async fn say(&self, text: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(text.as_bytes()).await.unwrap();
        read(&mut stream).await
    }
}

async fn read(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let read = stream.read_to_end(&mut text);
    // A reset is an end as well.
    let _ = tokio::time::timeout(Duration::from_secs(20), read).await.expect("an end");
    String::from_utf8_lossy(&text).into_owned()
}

const GET_HEALTH: &str = "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

#[tokio::test]
async fn requests_are_answered_and_odd_ones_refused() {
    let server = run(|_| {}).await;
    assert!(server.say(GET_HEALTH).await.starts_with("HTTP/1.1 200 "));
    let connect = server
        .say("CONNECT localhost:80 HTTP/1.1\r\nHost: localhost:80\r\nConnection: close\r\n\r\n")
        .await;
    assert!(connect.starts_with("HTTP/1.1 400 "), "{connect}");
    let star = server.say("OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(star.starts_with("HTTP/1.1 400 "), "{star}");
    let many = format!("GET / HTTP/1.1\r\nConnection: close\r\n{}\r\n", "X: y\r\n".repeat(30));
    assert!(server.say(&many).await.starts_with("HTTP/1.1 431 "));
    assert!(!server.say("nonsense\r\n\r\n").await.contains("200"));
}

#[tokio::test]
async fn a_head_that_does_not_come_ends_the_connection() {
    let server = run(|bounds| bounds.header_timeout = Duration::from_millis(100)).await;
    for begin in ["", "P", "PRI * HTTP/2.0", "GET /health HTTP/1.1\r\nHost:"] {
        let answer = server.say(begin).await;
        assert!(!answer.contains("200"), "{begin:?}: {answer}");
    }
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_a_place() {
    let server = run(|bounds| bounds.connections_max = 1).await;
    let mut first = server.connect().await;
    first.write_all(GET_HEALTH.replace("close", "keep-alive").as_bytes()).await.unwrap();
    let mut head = [0; 12];
    first.read_exact(&mut head).await.unwrap();
    let mut second = server.connect().await;
    second.write_all(GET_HEALTH.as_bytes()).await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(100), second.read_u8()).await;
    assert!(early.is_err(), "the second connection was answered beside the first");
    drop(first);
    assert!(read(&mut second).await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn the_end_lets_requests_finish_and_ends_streams() {
    let server = run(|_| {}).await;
    server.edge.json("POST", "/v1/projects", r#"{"id": "a"}"#).await;
    let mut events = server.connect().await;
    let ask = "GET /v1/projects/a/events HTTP/1.1\r\nHost: localhost\r\n\r\n";
    events.write_all(ask.as_bytes()).await.unwrap();
    let mut head = [0; 15];
    events.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK");
    let mut idle = server.connect().await;
    server.ending.soon.cancel();
    assert!(read(&mut events).await.contains(": hello"));
    assert_eq!(read(&mut idle).await, "");
    tokio::time::timeout(Duration::from_secs(20), server.served).await.unwrap().unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn what_does_not_end_is_dropped_at_the_deadline() {
    let server = run(|bounds| bounds.shutdown_deadline = Duration::from_millis(100)).await;
    let mut upload = server.connect().await;
    let head = "POST /v1/projects HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                Content-Length: 10\r\n\r\n{";
    upload.write_all(head.as_bytes()).await.unwrap();
    // The request is under way when a later one on another connection is answered.
    server.say(GET_HEALTH).await;
    server.ending.soon.cancel();
    tokio::time::timeout(Duration::from_secs(20), server.served).await.unwrap().unwrap();
    assert_eq!(read(&mut upload).await, "");
}

/// What a client of HTTP/2 begins with, and a request for `/health` (RFC 9113, RFC 7541).
const HTTP2_HEALTH: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\
    \0\0\0\x04\0\0\0\0\0\
    \0\0\x16\x01\x05\0\0\0\x01\x82\x86\x04\x07/health\x01\x09localhost";

#[tokio::test]
async fn a_client_of_http2_that_asks_for_nothing_more_is_sent_away() {
    let server = run(|bounds| bounds.header_timeout = Duration::from_millis(100)).await;
    let mut stream = server.connect().await;
    stream.write_all(HTTP2_HEALTH).await.unwrap();
    // It takes what is sent and says nothing: neither does it go by itself.
    let said = read(&mut stream).await;
    assert!(said.contains("status"), "{said:?}");
}
