//! WebSockets: the upgrade, and what holds for every connection after it.
//!
//! The socket is upgraded here and not by warp, so that its buffers are small and its
//! messages bounded. Whatever is served on one, these close codes mean the same:
//!
//! | code | meaning |
//! | --- | --- |
//! | 1000 | what was served has ended, or the client closed |
//! | 1001 | the sandbox stopped, or the server is ending: connect again later |
//! | 1002, 1007 | the client broke the protocol, or its text is not UTF-8 |
//! | 1003 | a control message is not one that is known; the reason names those that are |
//! | 1008 | the client did not answer pings, or did not take what was sent to it |
//! | 1009 | a message was larger than it may be |
//! | 1011 | something went wrong here or in the sandbox; the reason says what |

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use warp::http::header::{
    CONNECTION, HeaderName, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use warp::http::{HeaderMap, HeaderValue, StatusCode};

use super::context::Call;
use super::errors::{Problem, kinds};
use super::reply::{self, Response};

/// Time between two pings; each is answered by every living client.
pub const PING_EVERY: Duration = Duration::from_secs(25);
/// Longest silence of a client, in spite of the pings.
pub const SILENCE_MAX: Duration = Duration::from_secs(60);
/// Longest time that a client may take to accept one message.
pub const WRITE_MAX: Duration = Duration::from_secs(30);
/// Longest time from our answer until the connection is a WebSocket.
const UPGRADE_MAX: Duration = Duration::from_secs(10);
/// Longest time of the farewell.
const FAREWELL_MAX: Duration = Duration::from_secs(3);
/// Allocated at once for every connection.
const READ_BUFFER_BYTES: usize = 8 * 1024;
/// What may wait in memory for a client that does not read.
const WRITE_BUFFER_BYTES_MAX: usize = 1024 * 1024;
/// What fits into a close frame.
const REASON_BYTES_MAX: usize = 123;

/// A WebSocket on an upgraded connection.
pub type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// A request that may become a WebSocket: everything about it was checked.
pub struct Handshake {
    upgrade: OnUpgrade,
    accept: HeaderValue,
    config: WebSocketConfig,
}

impl Handshake {
    /// Checks a request. Nothing is answered yet, so that what is served can still
    /// be refused with a problem document.
    ///
    /// # Errors
    ///
    /// 426 when it does not ask for a WebSocket of version 13, 400 for a bad key.
    pub fn check(call: &mut Call) -> Result<Self, Problem> {
        let needed = |detail: &str| Problem::new(kinds::UPGRADE_REQUIRED, detail);
        if !has_token(&call.headers, &CONNECTION, "upgrade")
            || !has_token(&call.headers, &UPGRADE, "websocket")
        {
            return Err(needed("connect with a WebSocket client"));
        }
        if call.header(&SEC_WEBSOCKET_VERSION)? != Some("13") {
            return Err(needed("only version 13 of the WebSocket protocol is spoken here"));
        }
        let accept = accept_key(call.header(&SEC_WEBSOCKET_KEY)?)?;
        let upgrade = call.take_upgrade();
        let upgrade = upgrade.ok_or_else(|| needed("this connection cannot be upgraded"))?;
        let config = config(call.context.settings.websocket_message_bytes_max);
        Ok(Self { upgrade, accept, config })
    }

    /// The answer, and the way to the socket once the answer is sent.
    #[must_use]
    pub fn accept(self) -> (Response, Upgrading) {
        let mut response = reply::empty(StatusCode::SWITCHING_PROTOCOLS);
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_ACCEPT, self.accept);
        (response, Upgrading { upgrade: self.upgrade, config: self.config })
    }
}

/// A connection on its way from HTTP to WebSocket.
pub struct Upgrading {
    upgrade: OnUpgrade,
    config: WebSocketConfig,
}

impl Upgrading {
    /// The socket; `None` when the client went away before.
    pub async fn socket(self) -> Option<Socket> {
        let upgraded = timeout(UPGRADE_MAX, self.upgrade).await.ok()?.ok()?;
        let io = TokioIo::new(upgraded);
        Some(WebSocketStream::from_raw_socket(io, Role::Server, Some(self.config)).await)
    }
}

/// Why a connection ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// The client is told, with a code and a reason.
    Close(CloseCode, String),
    /// The client closed, or is not there any more.
    Gone,
}

impl Ending {
    /// Ends with a code and a reason.
    #[must_use]
    pub fn close(code: CloseCode, reason: impl Into<String>) -> Self {
        Ending::Close(code, reason.into())
    }

    /// What an error of the socket comes to.
    #[must_use]
    pub fn of(error: &Error) -> Self {
        match error {
            Error::Capacity(why) => Self::close(CloseCode::Size, why.to_string()),
            Error::Protocol(why) => Self::close(CloseCode::Protocol, why.to_string()),
            Error::Utf8(why) => Self::close(CloseCode::Invalid, why.clone()),
            Error::WriteBufferFull(_) => slow(),
            Error::ConnectionClosed
            | Error::AlreadyClosed
            | Error::AttackAttempt
            | Error::Io(_)
            | Error::Tls(_)
            | Error::Url(_)
            | Error::Http(_)
            | Error::HttpFormat(_) => Ending::Gone,
        }
    }
}

/// The client did not take what was sent to it.
fn slow() -> Ending {
    Ending::close(CloseCode::Policy, "the client does not read fast enough")
}

/// The client does not answer.
#[must_use]
pub fn silent() -> Ending {
    Ending::close(CloseCode::Policy, "the client did not answer pings")
}

/// Sends one message at once.
///
/// # Errors
///
/// When the client is gone, or has not taken it after [`WRITE_MAX`].
pub async fn send<S>(sink: &mut S, message: Message) -> Result<(), Ending>
where
    S: Sink<Message, Error = Error> + Unpin,
{
    match timeout(WRITE_MAX, sink.send(message)).await {
        Ok(sent) => sent.map_err(|error| Ending::of(&error)),
        Err(_) => Err(slow()),
    }
}

/// Says why the connection ends, and waits a moment for the client's farewell, so that
/// what was sent last is not lost with the connection.
pub async fn finish<T, R>(mut sink: T, mut stream: R, ending: Ending)
where
    T: Sink<Message, Error = Error> + Unpin,
    R: Stream<Item = Result<Message, Error>> + Unpin,
{
    let farewell = async {
        if let Ending::Close(code, reason) = ending {
            let frame = CloseFrame { code, reason: cut(&reason).into() };
            if sink.send(Message::Close(Some(frame))).await.is_err() {
                return;
            }
        } else if sink.close().await.is_err() {
            return;
        }
        while let Some(Ok(_)) = stream.next().await {}
    };
    // A client that does not answer is left.
    let _ = timeout(FAREWELL_MAX, farewell).await;
}

/// As much of a reason as a close frame takes.
fn cut(reason: &str) -> &str {
    &reason[..reason.floor_char_boundary(REASON_BYTES_MAX)]
}

fn config(message_bytes_max: usize) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        // Messages are put together where they are made, so none waits here.
        .write_buffer_size(0)
        .max_write_buffer_size(WRITE_BUFFER_BYTES_MAX)
        .max_message_size(Some(message_bytes_max))
        .max_frame_size(Some(message_bytes_max))
}

fn accept_key(key: Option<&str>) -> Result<HeaderValue, Problem> {
    let bad = || Problem::field("Sec-WebSocket-Key", "must be 16 bytes in base64");
    let key = key.map(str::trim).ok_or_else(bad)?;
    if STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == 16) {
        return HeaderValue::from_str(&derive_accept_key(key.as_bytes())).map_err(|_| bad());
    }
    Err(bad())
}

/// Whether a header that is a list of words has this one.
pub(super) fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|part| part.trim().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_answered_as_in_the_rfc() {
        let accept = accept_key(Some("dGhlIHNhbXBsZSBub25jZQ==")).unwrap();
        assert_eq!(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        for bad in [None, Some(""), Some("short"), Some("dGhlIHNhbXBsZSBub25jZQ")] {
            assert!(accept_key(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_token_is_found_in_any_case_and_place() {
        let mut headers = HeaderMap::new();
        headers.append(CONNECTION, "keep-alive, Upgrade".parse().unwrap());
        assert!(has_token(&headers, &CONNECTION, "upgrade"));
        assert!(!has_token(&headers, &CONNECTION, "up"));
        assert!(!has_token(&headers, &UPGRADE, "websocket"));
    }

    #[test]
    fn a_reason_is_cut_between_characters() {
        assert_eq!(cut("short"), "short");
        let long = "ä".repeat(100);
        assert_eq!(cut(&long).len(), 122);
    }

    #[test]
    fn what_is_too_large_is_closed_with_its_code() {
        use tokio_tungstenite::tungstenite::error::CapacityError;
        let error = Error::Capacity(CapacityError::MessageTooLong { size: 9, max_size: 1 });
        assert!(matches!(Ending::of(&error), Ending::Close(CloseCode::Size, _)));
        assert_eq!(Ending::of(&Error::ConnectionClosed), Ending::Gone);
    }
}
