//! What flows between one viewer and its WebSocket.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt, Sink, Stream, StreamExt};
use sandtree_actors::TerminalItem;
use sandtree_model::{Answer, ExitStatus};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_util::sync::CancellationToken;

use super::language::{Heard, Language, Told};
use crate::edge::idle::LastSeen;
use crate::edge::websocket::{Ending, send, silent};

/// Most bytes of output in one message.
const OUTPUT_BYTES_MAX: usize = 64 * 1024;
/// A message of so many bytes is a part of a flood. What follows gets a moment to come
/// together, since a message for each piece costs client and server far more.
const FLOOD_BYTES: usize = 4 * 1024;
const FLOOD_PAUSE: Duration = Duration::from_millis(1);
/// Answers to pings that wait for their turn; more are not answered.
const PONGS_MAX: usize = 4;

/// Where keystrokes go.
pub(super) trait Keys {
    /// Writes input; waits while the shell does not read.
    fn write(&self, bytes: Bytes) -> impl Future<Output = Answer<()>> + Send;
    /// Sets the size.
    fn resize(&self, cols: u16, rows: u16) -> impl Future<Output = Answer<()>> + Send;
}

/// What both directions know of each other.
struct Link<'a, L> {
    language: &'a L,
    heard: LastSeen,
    /// The shell does not read, so nothing is read from the client either, and its
    /// silence says nothing.
    is_blocked: AtomicBool,
}

/// Carries bytes both ways until something ends it.
pub(super) async fn run<S, R, I, K, L>(
    (sink, stream): (&mut S, &mut R),
    items: I,
    keys: &K,
    language: &L,
    shutdown: &CancellationToken,
) -> Ending
where
    S: Sink<Message, Error = Error> + Unpin,
    R: Stream<Item = Result<Message, Error>> + Unpin,
    I: Stream<Item = TerminalItem> + Unpin,
    K: Keys,
    L: Language,
{
    let link = Link { language, heard: LastSeen::now(), is_blocked: AtomicBool::new(false) };
    let (pongs, wanted) = mpsc::channel(PONGS_MAX);
    tokio::select! {
        Err(ending) = outgoing(sink, items.fuse(), wanted, &link) => ending,
        ending = incoming(stream, keys, pongs, &link) => ending,
        () = link.silent() => silent(),
        () = shutdown.cancelled() => Ending::close(CloseCode::Away, "the server is ending"),
    }
}

/// What comes next on the way to the client.
enum Next {
    Item(Option<TerminalItem>),
    Ping,
    Pong,
}

async fn outgoing<S, I, L>(
    sink: &mut S,
    mut items: I,
    mut pongs: mpsc::Receiver<()>,
    link: &Link<'_, L>,
) -> Result<Infallible, Ending>
where
    S: Sink<Message, Error = Error> + Unpin,
    I: Stream<Item = TerminalItem> + Unpin,
    L: Language,
{
    let language = link.language;
    let mut pings = tokio::time::interval(language.ping_every());
    let mut waiting = None;
    loop {
        let next = match waiting.take() {
            Some(item) => Next::Item(Some(item)),
            None => tokio::select! {
                item = items.next() => Next::Item(item),
                _ = pings.tick() => Next::Ping,
                Some(()) = pongs.recv() => Next::Pong,
            },
        };
        match next {
            Next::Item(Some(TerminalItem::Bytes(bytes))) => {
                let (bytes, next) = gather(bytes, &mut items);
                // A full message means that more is there already.
                let is_caught_up = next.is_none() && bytes.len() < OUTPUT_BYTES_MAX;
                let is_flood = is_caught_up && bytes.len() >= FLOOD_BYTES;
                waiting = next;
                send_bytes(sink, language, bytes).await?;
                if is_flood {
                    tokio::time::sleep(FLOOD_PAUSE).await;
                }
            }
            Next::Item(item) => send_item(sink, language, item).await?,
            Next::Ping => send(sink, Message::Ping(Bytes::new())).await?,
            Next::Pong => say(sink, language.tell(Told::Pong)).await?,
        }
    }
}

/// Tells of one item; the end of the shell or the sandbox is an ending.
async fn send_item<S, L>(
    sink: &mut S,
    language: &L,
    item: Option<TerminalItem>,
) -> Result<(), Ending>
where
    S: Sink<Message, Error = Error> + Unpin,
    L: Language,
{
    let told = match item {
        Some(TerminalItem::Ready { at, fresh }) => Told::Ready { at, fresh },
        Some(TerminalItem::Gap { bytes }) => Told::Gap { bytes },
        Some(TerminalItem::Exited(status)) => {
            say(sink, language.tell(Told::Exited(status))).await?;
            return Err(match status {
                ExitStatus::Lost => Ending::close(CloseCode::Away, "the sandbox stopped"),
                ExitStatus::Code(_) | ExitStatus::Signal(_) => {
                    Ending::close(CloseCode::Normal, "the shell ended")
                }
            });
        }
        Some(TerminalItem::Bytes(bytes)) => return send_bytes(sink, language, bytes).await,
        None => return Err(Ending::close(CloseCode::Away, "the sandbox stopped")),
    };
    say(sink, language.tell(told)).await
}

async fn say<S>(sink: &mut S, message: Option<Message>) -> Result<(), Ending>
where
    S: Sink<Message, Error = Error> + Unpin,
{
    match message {
        Some(message) => send(sink, message).await,
        None => Ok(()),
    }
}

/// Adds what is there already, without waiting; and the first item that is not bytes.
fn gather<I>(first: Bytes, items: &mut I) -> (Bytes, Option<TerminalItem>)
where
    I: Stream<Item = TerminalItem> + Unpin,
{
    let mut more = match items.next().now_or_never() {
        Some(Some(TerminalItem::Bytes(second)))
            if first.len() + second.len() <= OUTPUT_BYTES_MAX =>
        {
            let mut both = BytesMut::with_capacity(OUTPUT_BYTES_MAX);
            both.extend_from_slice(&first);
            both.extend_from_slice(&second);
            both
        }
        Some(next) => return (first, next),
        None => return (first, None),
    };
    loop {
        match items.next().now_or_never() {
            Some(Some(TerminalItem::Bytes(next)))
                if more.len() + next.len() <= OUTPUT_BYTES_MAX =>
            {
                more.extend_from_slice(&next);
            }
            Some(next) => return (more.freeze(), next),
            None => return (more.freeze(), None),
        }
    }
}

async fn send_bytes<S, L>(sink: &mut S, language: &L, mut bytes: Bytes) -> Result<(), Ending>
where
    S: Sink<Message, Error = Error> + Unpin,
    L: Language,
{
    while bytes.len() > OUTPUT_BYTES_MAX {
        say(sink, language.output(bytes.split_to(OUTPUT_BYTES_MAX))).await?;
    }
    say(sink, language.output(bytes)).await
}

async fn incoming<R, K, L>(
    stream: &mut R,
    keys: &K,
    pongs: mpsc::Sender<()>,
    link: &Link<'_, L>,
) -> Ending
where
    R: Stream<Item = Result<Message, Error>> + Unpin,
    K: Keys,
    L: Language,
{
    while let Some(message) = stream.next().await {
        link.heard.touch();
        let heard = match message {
            Ok(message @ (Message::Binary(_) | Message::Text(_))) => link.language.hear(message),
            // The library answers pings by itself.
            Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => continue,
            Ok(Message::Close(_)) => return Ending::Gone,
            Err(error) => return Ending::of(&error),
        };
        let done = match heard {
            Ok(Heard::Keys(bytes)) => link.blocked_while(keys.write(bytes)).await,
            Ok(Heard::Size { cols, rows }) => link.blocked_while(keys.resize(cols, rows)).await,
            Ok(Heard::Ping) => {
                // When many wait already, this one is not missed.
                let _ = pongs.try_send(());
                Ok(())
            }
            Err(ending) => return ending,
        };
        if let Err(failure) = done {
            return Ending::close(CloseCode::Error, failure.to_string());
        }
    }
    Ending::Gone
}

impl<L: Language> Link<'_, L> {
    async fn blocked_while<T>(&self, work: impl Future<Output = T>) -> T {
        self.is_blocked.store(true, Ordering::Relaxed);
        let done = work.await;
        self.is_blocked.store(false, Ordering::Relaxed);
        self.heard.touch();
        done
    }

    /// Waits until the client was silent for too long, although it could be heard.
    async fn silent(&self) {
        loop {
            self.heard.silent_for(self.language.silence_max()).await;
            if !self.is_blocked.load(Ordering::Relaxed) {
                return;
            }
            tokio::time::sleep(self.language.ping_every()).await;
        }
    }
}

#[cfg(test)]
mod tests;
