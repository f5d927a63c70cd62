//! What is said on the socket of a session, in either of two forms.
//!
//! Text: `{"type": "stdin", "data": "ls\n"}`, `{"type": "resize", "data": {"cols": 80,
//! "rows": 24}}` (or both beside the type) and `{"type": "ping"}` from the client;
//! `{"type": "stdout", "data": "..."}`, `{"type": "exit", "data": 0, "code": 0}` and
//! `{"type": "pong"}` from the server. Binary: the byte 1 and keystrokes from the client,
//! the byte 2 and output from the server. Output comes in the form that the client used last.
//! A PTY has no standard error, so nothing is said as `stderr`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use serde::Deserialize;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::edge::terminal::language::{Heard, Language, RESET, Text, Told};
use crate::edge::websocket::Ending;

/// First byte of a binary frame of keystrokes.
const STDIN: u8 = 1;
/// First byte of a binary frame of output.
const STDOUT: u8 = 2;
/// Time between two pings, and that a pong may take after one.
const PING_EVERY: Duration = Duration::from_secs(30);
const PONG_WITHIN: Duration = Duration::from_secs(10);

/// The two forms.
#[derive(Debug, Default)]
pub(super) struct Frames {
    is_binary: AtomicBool,
    has_begun: AtomicBool,
    text: Text,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Said {
    Stdin {
        data: String,
    },
    Resize {
        data: Option<Size>,
        #[serde(flatten)]
        flat: Option<Size>,
    },
    Ping,
}

#[derive(Debug, Clone, Copy, Deserialize)]
struct Size {
    cols: u16,
    rows: u16,
}

impl Language for Frames {
    fn ping_every(&self) -> Duration {
        PING_EVERY
    }

    fn silence_max(&self) -> Duration {
        PING_EVERY + PONG_WITHIN
    }

    fn hear(&self, message: Message) -> Result<Heard, Ending> {
        let is_binary = message.is_binary();
        let heard = if is_binary { keys(message.into_data()) } else { said(&message.into_data()) };
        let heard = heard.ok_or_else(|| {
            let known = "text is {\"type\": stdin, resize or ping}; binary is the byte 1 and keys";
            Ending::close(CloseCode::Unsupported, known)
        })?;
        if matches!(heard, Heard::Keys(_)) {
            self.is_binary.store(is_binary, Ordering::Relaxed);
        }
        Ok(heard)
    }

    fn output(&self, bytes: Bytes) -> Option<Message> {
        if self.is_binary.load(Ordering::Relaxed) {
            let mut frame = BytesMut::with_capacity(bytes.len() + 1);
            frame.put_u8(STDOUT);
            frame.extend_from_slice(&bytes);
            return Some(Message::Binary(frame.freeze()));
        }
        let text = self.text.of(&bytes);
        let said = || Message::text(json!({ "type": "stdout", "data": text }).to_string());
        (!text.is_empty()).then(said)
    }

    fn tell(&self, told: Told) -> Option<Message> {
        let said = match told {
            // The first screen is painted on an empty one.
            Told::Ready { fresh: true, .. } if self.has_begun.swap(true, Ordering::Relaxed) => {
                return self.output(Bytes::from_static(RESET));
            }
            Told::Ready { .. } | Told::Gap { .. } => return None,
            Told::Exited(status) => {
                let code = status.shell_code();
                json!({ "type": "exit", "data": code, "code": code })
            }
            Told::Pong => json!({ "type": "pong" }),
        };
        Some(Message::text(said.to_string()))
    }
}

fn keys(frame: Bytes) -> Option<Heard> {
    let is_keys = frame.first() == Some(&STDIN);
    is_keys.then(|| Heard::Keys(frame.slice(1..)))
}

fn said(text: &[u8]) -> Option<Heard> {
    match serde_json::from_slice(text).ok()? {
        Said::Stdin { data } => Some(Heard::Keys(data.into())),
        Said::Resize { data, flat } => {
            let Size { cols, rows } = data.or(flat)?;
            Some(Heard::Size { cols, rows })
        }
        Said::Ping => Some(Heard::Ping),
    }
}

#[cfg(test)]
mod tests {
    use sandtree_actors::Cursor;
    use sandtree_model::ExitStatus;

    use super::*;

    #[test]
    fn both_forms_are_understood_and_answered_in_kind() {
        let frames = Frames::default();
        let hear = |message| frames.hear(message).unwrap();
        let keys = |text: &'static str| Heard::Keys(Bytes::from_static(text.as_bytes()));
        let size = Heard::Size { cols: 100, rows: 40 };
        for (message, heard) in [
            (Message::text(r#"{"type":"stdin","data":"ls\n"}"#), keys("ls\n")),
            (Message::text(r#"{"type":"resize","data":{"cols":100,"rows":40}}"#), size.clone()),
            (Message::text(r#"{"type":"resize","cols":100,"rows":40}"#), size),
            (Message::text(r#"{"type":"ping"}"#), Heard::Ping),
        ] {
            assert_eq!(hear(message), heard);
        }
        let output = |bytes: &'static [u8]| frames.output(Bytes::from_static(bytes));
        assert_eq!(output(b"a"), Some(Message::text(r#"{"data":"a","type":"stdout"}"#)));
        assert_eq!(output(b"\xe2\x82"), None, "half a character");
        assert_eq!(hear(Message::binary(&b"\x01ls"[..])), keys("ls"));
        assert_eq!(output(b"\xff"), Some(Message::binary(&b"\x02\xff"[..])));
    }

    #[test]
    fn a_ping_goes_out_every_30_seconds_and_is_answered_within_10() {
        let frames = Frames::default();
        let seconds = (frames.ping_every().as_secs(), frames.silence_max().as_secs());
        assert_eq!(seconds, (30, 30 + 10));
    }

    #[test]
    fn what_is_not_known_ends_the_connection() {
        for message in [
            Message::text("ls"),
            Message::text(r#"{"type":"stdin"}"#),
            Message::text(r#"{"type":"resize","cols":80}"#),
            Message::text(r#"{"type":"kill"}"#),
            Message::binary(&b""[..]),
            Message::binary(&b"\x02x"[..]),
        ] {
            let Err(Ending::Close(code, _)) = Frames::default().hear(message.clone()) else {
                panic!("{message:?}")
            };
            assert_eq!(code, CloseCode::Unsupported);
        }
    }

    #[test]
    fn a_screen_that_starts_anew_is_cleared_but_not_the_first() {
        let frames = Frames::default();
        let fresh = Told::Ready { at: Cursor { epoch: 1, offset: 0 }, fresh: true };
        assert_eq!(frames.tell(fresh), None);
        assert!(frames.tell(fresh).unwrap().to_text().unwrap().contains("u001bc"));
        assert_eq!(frames.tell(Told::Gap { bytes: 3 }), None);
        let exit = frames.tell(Told::Exited(ExitStatus::Code(3))).unwrap();
        assert_eq!(exit.to_text().unwrap(), r#"{"code":3,"data":3,"type":"exit"}"#);
    }
}
