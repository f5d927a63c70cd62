use std::sync::Mutex;
use std::time::Duration;

use futures_util::stream;
use sandtree_actors::Cursor;
use sandtree_model::{ExitStatus, Fault};
use tokio::io::DuplexStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::*;
use crate::edge::terminal::native::Native;
use crate::edge::websocket;

/// A shell that remembers what it was told.
#[derive(Default)]
struct Typed {
    bytes: Mutex<Vec<u8>>,
    sizes: Mutex<Vec<(u16, u16)>>,
    is_stuck: bool,
    is_gone: bool,
}

impl Keys for Typed {
    async fn write(&self, bytes: Bytes) -> Answer<()> {
        if self.is_stuck {
            std::future::pending::<()>().await;
        }
        if self.is_gone {
            return Err(Fault::Sandbox("the shell is gone".into()).into());
        }
        self.bytes.lock().unwrap().extend_from_slice(&bytes);
        Ok(())
    }

    async fn resize(&self, cols: u16, rows: u16) -> Answer<()> {
        self.sizes.lock().unwrap().push((cols, rows));
        Ok(())
    }
}

type End = WebSocketStream<DuplexStream>;

async fn pair() -> (End, End) {
    let (ours, theirs) = tokio::io::duplex(16 * 1024);
    let server = WebSocketStream::from_raw_socket(ours, Role::Server, None).await;
    (server, WebSocketStream::from_raw_socket(theirs, Role::Client, None).await)
}

async fn serve(
    server: End,
    items: impl Stream<Item = TerminalItem> + Send,
    keys: &Typed,
    shutdown: &CancellationToken,
) -> Ending {
    let (mut sink, mut stream) = server.split();
    let ending = run((&mut sink, &mut stream), Box::pin(items), keys, &Native, shutdown).await;
    websocket::finish(sink, stream, ending.clone()).await;
    ending
}

fn ready() -> TerminalItem {
    TerminalItem::Ready { at: Cursor { epoch: 2, offset: 7 }, fresh: true }
}

fn bytes(text: &'static str) -> TerminalItem {
    TerminalItem::Bytes(Bytes::from_static(text.as_bytes()))
}

#[tokio::test]
async fn output_is_gathered_and_the_end_is_told() {
    let (server, client) = pair().await;
    let items = [
        ready(),
        bytes("a"),
        bytes("b"),
        bytes("c"),
        TerminalItem::Gap { bytes: 5 },
        bytes("d"),
        TerminalItem::Exited(ExitStatus::Signal(9)),
    ];
    let keys = Typed::default();
    let shutdown = CancellationToken::new();
    let seen = client.map(Result::unwrap).collect::<Vec<_>>();
    let (_, seen) = tokio::join!(serve(server, stream::iter(items), &keys, &shutdown), seen);
    let texts: Vec<_> = seen.iter().map(|m| m.to_text().unwrap_or("?").to_owned()).collect();
    assert_eq!(
        texts[..6],
        [
            r#"{"type":"ready","offset":"2:7","fresh":true}"#,
            "abc",
            r#"{"type":"gap","bytes":5}"#,
            "d",
            r#"{"type":"exit","code":137,"signal":"KILL"}"#,
            "the shell ended",
        ]
    );
    assert!(matches!(&seen[5], Message::Close(Some(frame)) if frame.code == CloseCode::Normal));
}

#[tokio::test]
async fn keys_sizes_and_pings_arrive() {
    let (server, mut client) = pair().await;
    let keys = Typed::default();
    let shutdown = CancellationToken::new();
    let talk = async {
        use futures_util::SinkExt as _;
        for message in [
            Message::binary("ls\n"),
            Message::text(r#"{"type":"resize","cols":100,"rows":40}"#),
            Message::text(r#"{"type":"ping"}"#),
        ] {
            client.send(message).await.unwrap();
        }
        loop {
            let message = client.next().await.unwrap().unwrap();
            if message.is_text() {
                assert_eq!(message.to_text().unwrap(), r#"{"type":"pong"}"#);
                break;
            }
        }
        client.close(None).await.unwrap();
        while client.next().await.is_some() {}
    };
    let (ending, ()) = tokio::join!(serve(server, stream::pending(), &keys, &shutdown), talk);
    assert_eq!(ending, Ending::Gone);
    assert_eq!(*keys.bytes.lock().unwrap(), b"ls\n");
    assert_eq!(*keys.sizes.lock().unwrap(), [(100, 40)]);
}

#[test]
fn an_unknown_control_message_names_what_is_allowed() {
    for bad in [
        "",
        "ls",
        "{}",
        r#"{"type":"kill"}"#,
        r#"{"type":"ping","x":1}"#,
        r#"{"type":"resize","cols":80}"#,
        r#"{"type":"resize","cols":-1,"rows":1}"#,
    ] {
        let Ending::Close(code, reason) = Native.hear(Message::text(bad)).unwrap_err() else {
            panic!("{bad}")
        };
        assert_eq!(code, CloseCode::Unsupported);
        assert!(reason.contains("resize") && reason.len() <= 123, "{bad}");
    }
    assert_eq!(Native.hear(Message::text(r#"{"type":"ping"}"#)), Ok(Heard::Ping));
}

#[tokio::test]
async fn a_shell_that_takes_no_input_ends_the_connection_with_its_reason() {
    let (server, mut client) = pair().await;
    let keys = Typed { is_gone: true, ..Typed::default() };
    let shutdown = CancellationToken::new();
    let talk = async {
        use futures_util::SinkExt as _;
        client.send(Message::binary("x")).await.unwrap();
        while client.next().await.is_some() {}
    };
    let (ending, ()) = tokio::join!(serve(server, stream::pending(), &keys, &shutdown), talk);
    assert!(matches!(ending, Ending::Close(CloseCode::Error, why) if why.contains("gone")));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_answers_no_ping_is_left_unless_the_shell_is_the_one_that_waits() {
    let (server, _client) = pair().await;
    let keys = Typed::default();
    let shutdown = CancellationToken::new();
    let before = tokio::time::Instant::now();
    let (mut sink, mut stream) = server.split();
    let ending =
        run((&mut sink, &mut stream), futures_util::stream::pending(), &keys, &Native, &shutdown)
            .await;
    assert_eq!(ending, silent());
    assert_eq!(before.elapsed().as_secs(), Native.silence_max().as_secs(), "and no ping later");

    let (server, mut client) = pair().await;
    let keys = Typed { is_stuck: true, ..Typed::default() };
    futures_util::SinkExt::send(&mut client, Message::binary("x")).await.unwrap();
    let served = serve(server, stream::pending(), &keys, &shutdown);
    assert!(tokio::time::timeout(Duration::from_secs(300), served).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_left_after_a_while() {
    let (server, _client) = pair().await;
    let flood = stream::repeat_with(|| TerminalItem::Bytes(Bytes::from(vec![b'x'; 32 * 1024])));
    let keys = Typed::default();
    let before = tokio::time::Instant::now();
    let ending = serve(server, flood, &keys, &CancellationToken::new()).await;
    assert!(matches!(ending, Ending::Close(CloseCode::Policy, _)), "{ending:?}");
    assert!(before.elapsed() < Duration::from_secs(40));
}

#[tokio::test]
async fn the_end_of_the_server_is_told() {
    let (server, client) = pair().await;
    let shutdown = CancellationToken::new();
    shutdown.cancel();
    let keys = Typed::default();
    let seen = client.map(Result::unwrap).collect::<Vec<_>>();
    let (_, seen) = tokio::join!(serve(server, stream::pending(), &keys, &shutdown), seen);
    let last = seen.last().unwrap();
    assert!(matches!(last, Message::Close(Some(frame)) if frame.code == CloseCode::Away));
}
