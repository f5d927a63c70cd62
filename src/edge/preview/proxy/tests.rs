//! Against a real server on the other end of a socket, with a real client before it.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use futures_util::SinkExt;
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use sandtree_actors::Traffic;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::UnixStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::{WebSocketStream, client_async};
use warp::http::header::{CONNECTION, HOST, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};

use super::super::connection::place;
use super::*;

/// The edge with one connection into a sandbox.
struct Edge {
    client: DuplexStream,
    sandbox: UnixStream,
    traffic: Arc<Traffic>,
    shutdown: CancellationToken,
}

impl Edge {
    /// Serves one client, whose first request goes through.
    fn new() -> Self {
        let (ours, sandbox) = UnixStream::pair().unwrap();
        let (client, served) = tokio::io::duplex(64 * 1024);
        let traffic = Arc::new(Traffic::default());
        let taken = place(&traffic, 8).unwrap_or_else(|_| panic!("one is free"));
        let connection = Connection::new(ours, Arc::clone(&traffic), taken);
        let shutdown = CancellationToken::new();
        let (once, ending) = (std::sync::Mutex::new(Some(connection)), shutdown.clone());
        let service = service_fn(move |request: Request<Incoming>| {
            let connection = once.lock().unwrap().take().unwrap();
            let forward = forward(request, ending.clone());
            async move {
                let answer = forward.through(connection).await;
                Ok::<_, Infallible>(answer.unwrap_or_else(Problem::into_response))
            }
        });
        let connection = server::Builder::new().serve_connection(TokioIo::new(served), service);
        tokio::spawn(connection.with_upgrades());
        Self { client, sandbox, traffic, shutdown }
    }
}

fn forward(mut request: Request<Incoming>, shutdown: CancellationToken) -> Forward {
    let upgrade = request.extensions_mut().remove::<OnUpgrade>();
    let (head, body) = request.into_parts();
    let body = BodyDataStream::new(body).filter_map(async |piece| piece.ok().map(Ok));
    Forward {
        method: head.method,
        target: head.uri.path_and_query().unwrap().to_string(),
        headers: head.headers,
        body: Body::new(body),
        upgrade,
        peer: Some(IpAddr::from([127, 0, 0, 1])),
        mount: Mount::Path("/v1/projects/p/ports/3000".to_owned()),
        port: 3000,
        tasks: TaskTracker::new(),
        shutdown,
    }
}

/// Sends one request and answers how it is answered.
async fn ask(client: DuplexStream, request: Request<String>) -> warp::http::Response<Incoming> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(client)).await.unwrap();
    tokio::spawn(connection);
    sender.send_request(request).await.unwrap()
}

fn request(method: Method, body: &str) -> Request<String> {
    let mut request = Request::new(body.to_owned());
    *request.method_mut() = method;
    *request.uri_mut() = "/a%20b?c=%2F".parse().unwrap();
    request.headers_mut().insert(HOST, HeaderValue::from_static("sandtree.example"));
    request.headers_mut().insert("x-api-key", HeaderValue::from_static("ours"));
    request
}

async fn text(response: warp::http::Response<Incoming>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Answers what it saw of a request.
async fn mirror(request: Request<Incoming>) -> Result<warp::http::Response<String>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let header = |name: &str| head.headers.get(name).map_or("-", |value| value.to_str().unwrap());
    let seen = format!(
        "{} {} host={} key={} for={} body={}",
        head.method,
        head.uri,
        header("host"),
        header("x-api-key"),
        header("x-forwarded-for"),
        String::from_utf8_lossy(&body),
    );
    let mut response = warp::http::Response::new(seen);
    *response.status_mut() = StatusCode::IM_A_TEAPOT;
    response.headers_mut().insert("location", HeaderValue::from_static("/next"));
    Ok(response)
}

#[tokio::test]
async fn a_request_and_its_answer_pass() {
    for (method, body) in [(Method::POST, "hello"), (Method::GET, ""), (Method::DELETE, "")] {
        let edge = Edge::new();
        let served =
            server::Builder::new().serve_connection(TokioIo::new(edge.sandbox), service_fn(mirror));
        tokio::spawn(served);
        let response = ask(edge.client, request(method.clone(), body)).await;
        assert_eq!(response.status(), StatusCode::IM_A_TEAPOT);
        assert_eq!(response.headers()["location"], "/v1/projects/p/ports/3000/next");
        let expected =
            format!("{method} /a%20b?c=%2F host=localhost:3000 key=- for=127.0.0.1 body={body}");
        assert_eq!(text(response).await, expected);
        assert!(edge.traffic.received.load(Relaxed) > 0 && edge.traffic.sent.load(Relaxed) > 0);
    }
}

/// Upgrades to a WebSocket that says everything back.
async fn echo(mut request: Request<Incoming>) -> Result<warp::http::Response<String>, Infallible> {
    assert_eq!(request.headers()[HOST], "localhost:3000");
    let key = derive_accept_key(request.headers()[SEC_WEBSOCKET_KEY].as_bytes());
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let io = TokioIo::new(upgrade.await.unwrap());
        let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, None).await;
        while let Some(Ok(message)) = socket.next().await {
            if message.is_text() || message.is_binary() {
                socket.send(message).await.unwrap();
            }
        }
    });
    let mut response = warp::http::Response::new(String::new());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, HeaderValue::from_str(&key).unwrap());
    Ok(response)
}

#[tokio::test]
async fn a_websocket_passes_and_ends_with_its_client() {
    let edge = Edge::new();
    let served =
        server::Builder::new().serve_connection(TokioIo::new(edge.sandbox), service_fn(echo));
    let served = tokio::spawn(served.with_upgrades());
    let (mut socket, _) = client_async("ws://sandtree.example/socket", edge.client).await.unwrap();
    for message in [Message::text("hello"), Message::binary(vec![7; 100_000])] {
        socket.send(message.clone()).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), message);
    }
    socket.close(None).await.unwrap();
    while socket.next().await.is_some() {}
    served.await.unwrap().unwrap();
    drop(socket);
    wait_until(|| edge.traffic.open.load(Relaxed) == 0).await;
}

#[tokio::test]
async fn a_websocket_ends_with_the_server() {
    let edge = Edge::new();
    let served =
        server::Builder::new().serve_connection(TokioIo::new(edge.sandbox), service_fn(echo));
    tokio::spawn(served.with_upgrades());
    let (mut socket, _) = client_async("ws://x/", edge.client).await.unwrap();
    edge.shutdown.cancel();
    assert!(socket.next().await.is_none_or(|message| message.is_err()));
}

/// Reads the head of a request.
async fn head(sandbox: &mut UnixStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(sandbox.read_u8().await.unwrap());
    }
}

#[tokio::test]
async fn a_client_that_goes_away_takes_the_connection_with_it() {
    let Edge { client, mut sandbox, traffic, .. } = Edge::new();
    let server = tokio::spawn(async move {
        head(&mut sandbox).await;
        let events = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 1\n\n";
        sandbox.write_all(events).await.unwrap();
        // Until the other side is closed.
        sandbox.read(&mut [0; 1]).await
    });
    let response = ask(client, request(Method::GET, "")).await;
    let mut body = response.into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "data: 1\n\n");
    assert_eq!(traffic.open.load(Relaxed), 1);
    drop(body);
    let ended = timeout(Duration::from_secs(10), server).await.unwrap().unwrap();
    assert!(matches!(ended, Ok(0) | Err(_)));
    wait_until(|| traffic.open.load(Relaxed) == 0).await;
}

#[tokio::test]
async fn events_end_with_the_server_and_other_answers_may_finish() {
    for (media_type, rest) in [("text/event-stream", ""), ("text/plain", "later")] {
        let Edge { client, mut sandbox, shutdown, .. } = Edge::new();
        let server = async {
            head(&mut sandbox).await;
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-type: {media_type}\r\n\r\nfirst");
            sandbox.write_all(answer.as_bytes()).await.unwrap();
            shutdown.cancelled().await;
            tokio::time::sleep(Duration::from_millis(20)).await;
            // The connection of the events is closed by then.
            let _ = sandbox.write_all(b"later").await;
            drop(sandbox);
        };
        let client = async {
            let mut body = ask(client, request(Method::GET, "")).await.into_body();
            assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "first");
            shutdown.cancel();
            body.collect().await.unwrap().to_bytes()
        };
        let ((), bytes) = tokio::join!(server, client);
        assert_eq!(bytes, rest, "{media_type}");
    }
}

#[tokio::test]
async fn a_server_that_breaks_off_is_a_bad_gateway() {
    let Edge { client, mut sandbox, .. } = Edge::new();
    tokio::spawn(async move {
        head(&mut sandbox).await;
        sandbox.write_all(b"HTTP/1.1 nonsense\r\n\r\n").await.unwrap();
    });
    let response = ask(client, request(Method::GET, "")).await;
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    assert!(text(response).await.contains("port 3000"));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_is_given_up() {
    let Edge { client, sandbox: _sandbox, .. } = Edge::new();
    let response = ask(client, request(Method::GET, "")).await;
    assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
}

#[tokio::test]
async fn a_protocol_is_not_changed_unasked() {
    let Edge { client, mut sandbox, .. } = Edge::new();
    tokio::spawn(async move {
        head(&mut sandbox).await;
        let answer = b"HTTP/1.1 101 x\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n";
        sandbox.write_all(answer).await.unwrap();
        std::future::pending::<()>().await;
    });
    let response = ask(client, request(Method::GET, "")).await;
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
}

async fn wait_until(holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_secs(10), waiting).await.unwrap();
}
