//! The terminal as clients see it, over a real tree and an init of the tests.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::DuplexStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::edge::testing::Edge;

type Socket = WebSocketStream<DuplexStream>;

const TERMINAL: &str = "/v1/projects/p/terminal";

async fn edge() -> Edge {
    let edge = Edge::open().await;
    let made = edge.json("POST", "/v1/projects", r#"{"id": "p", "start": true}"#).await;
    assert_eq!(made.status, 201, "{made:?}");
    edge
}

async fn connect(edge: &Edge, query: &str) -> Result<Socket, Error> {
    let (client, served) = tokio::io::duplex(64 * 1024);
    let front = edge.front.clone();
    let service = service_fn(move |request| {
        let front = front.clone();
        async move { Ok::<_, std::convert::Infallible>(front.answer(request).await) }
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(served), service);
    tokio::spawn(connection.with_upgrades());
    let url = format!("ws://localhost{TERMINAL}{query}");
    client_async(url, client).await.map(|(socket, _)| socket)
}

/// The next message that is not a ping.
async fn next(socket: &mut Socket) -> Message {
    loop {
        let message = timeout(Duration::from_secs(10), socket.next()).await.unwrap();
        let message = message.unwrap().unwrap();
        if !message.is_ping() && !message.is_pong() {
            return message;
        }
    }
}

async fn control(socket: &mut Socket) -> Value {
    serde_json::from_str(next(socket).await.to_text().unwrap()).unwrap()
}

/// Reads output until it ends like this; answers how many bytes there were.
async fn read_until(socket: &mut Socket, end: &str) -> usize {
    let mut all = Vec::new();
    while !all.ends_with(end.as_bytes()) {
        all.extend_from_slice(&next(socket).await.into_data());
    }
    all.len()
}

#[tokio::test]
async fn a_terminal_is_typed_in_and_resumed() {
    let edge = edge().await;
    let mut socket = connect(&edge, "?cols=100&rows=30").await.unwrap();
    let ready = control(&mut socket).await;
    assert_eq!(ready["type"], "ready");
    read_until(&mut socket, "$ ").await;
    socket.send(Message::text(r#"{"type":"resize","cols":90,"rows":20}"#)).await.unwrap();
    socket.send(Message::text(r#"{"type":"ping"}"#)).await.unwrap();
    assert_eq!(control(&mut socket).await, json!({"type": "pong"}));
    socket.send(Message::binary("hello")).await.unwrap();
    read_until(&mut socket, "hello").await;
    drop(socket);

    let epoch = ready["offset"].as_str().unwrap().split_once(':').unwrap().0.to_owned();
    let mut again = connect(&edge, &format!("?after={epoch}:2")).await.unwrap();
    let ready = control(&mut again).await;
    assert_eq!((&ready["offset"], &ready["fresh"]), (&json!(format!("{epoch}:2")), &json!(false)));
    assert_eq!(read_until(&mut again, "hello").await, 5);
}

#[tokio::test]
async fn the_end_of_the_shell_is_told() {
    let edge = edge().await;
    let mut socket = connect(&edge, "").await.unwrap();
    control(&mut socket).await;
    read_until(&mut socket, "$ ").await;
    socket.send(Message::binary("exit\n")).await.unwrap();
    let exit = loop {
        let message = next(&mut socket).await;
        if message.is_text() {
            break serde_json::from_str::<Value>(message.to_text().unwrap()).unwrap();
        }
    };
    assert_eq!(exit, json!({"type": "exit", "code": 0}));
    let Message::Close(Some(frame)) = next(&mut socket).await else { panic!("no close") };
    assert_eq!(u16::from(frame.code), 1000);
    assert_eq!(edge.json("DELETE", TERMINAL, "").await.status, 204);
}

#[tokio::test]
async fn what_is_not_known_closes_with_what_is() {
    let edge = edge().await;
    let mut socket = connect(&edge, "").await.unwrap();
    socket.send(Message::text("ls")).await.unwrap();
    let frame = loop {
        if let Message::Close(frame) = next(&mut socket).await {
            break frame.unwrap();
        }
    };
    assert_eq!(u16::from(frame.code), 1003);
    assert!(frame.reason.contains("resize"));
}

#[tokio::test]
async fn a_stopped_sandbox_and_an_ending_server_are_told() {
    let edge = edge().await;
    let mut socket = connect(&edge, "").await.unwrap();
    edge.json("POST", "/v1/projects/p/stop", "").await;
    let code = loop {
        if let Message::Close(frame) = next(&mut socket).await {
            break u16::from(frame.unwrap().code);
        }
    };
    assert!(matches!(code, 1000 | 1001), "{code}");
    edge.json("POST", "/v1/projects/p/start", "").await;
    let mut socket = connect(&edge, "").await.unwrap();
    edge.context.shutdown.cancel();
    let code = loop {
        if let Message::Close(frame) = next(&mut socket).await {
            break u16::from(frame.unwrap().code);
        }
    };
    assert_eq!(code, 1001);
}

#[tokio::test]
async fn what_is_no_websocket_is_refused_before_a_shell_starts() {
    let edge = edge().await;
    let plain = edge.ask("GET", TERMINAL, &[], "").await;
    assert_eq!((plain.status, plain.problem().as_str()), (426, "upgrade-required"));
    assert_eq!(plain.headers["upgrade"], "websocket");
    let bad = edge.ask("GET", &format!("{TERMINAL}?cols=1"), &[], "").await;
    assert_eq!((bad.status, &bad.json()["field"]), (400, &json!("cols")));
    edge.json("POST", "/v1/projects/p/stop", "").await;
    match connect(&edge, "").await {
        Err(Error::Http(response)) => assert_eq!(response.status(), 409),
        other => panic!("{other:?}"),
    }
}
