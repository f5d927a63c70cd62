//! The language of the native API: see [`super`].

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::language::{Heard, Language, Told};
use crate::edge::process::signals;
use crate::edge::websocket::Ending;

/// Binary messages are bytes, text messages control.
pub(super) struct Native;

/// What a client may say.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum Control {
    Resize { cols: u16, rows: u16 },
    Ping {},
}

/// What the server says.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Said {
    Ready {
        offset: String,
        fresh: bool,
    },
    Gap {
        bytes: u64,
    },
    Exit {
        code: i32,
        #[serde(skip_serializing_if = "Option::is_none")]
        signal: Option<String>,
    },
    Pong,
}

impl Language for Native {
    fn hear(&self, message: Message) -> Result<Heard, Ending> {
        if message.is_binary() {
            return Ok(Heard::Keys(message.into_data()));
        }
        match serde_json::from_slice(&message.into_data()) {
            Ok(Control::Resize { cols, rows }) => Ok(Heard::Size { cols, rows }),
            Ok(Control::Ping {}) => Ok(Heard::Ping),
            Err(_) => Err(Ending::close(
                CloseCode::Unsupported,
                r#"text must be {"type":"resize","cols":80,"rows":24} or {"type":"ping"}; keystrokes are binary"#,
            )),
        }
    }

    fn output(&self, bytes: Bytes) -> Option<Message> {
        Some(Message::Binary(bytes))
    }

    fn tell(&self, told: Told) -> Option<Message> {
        let said = match told {
            Told::Ready { at, fresh } => Said::Ready { offset: at.to_string(), fresh },
            Told::Gap { bytes } => Said::Gap { bytes },
            Told::Exited(status) => {
                Said::Exit { code: status.shell_code(), signal: signals::of_status(status) }
            }
            Told::Pong => Said::Pong,
        };
        // Numbers, booleans and texts: this cannot fail.
        Some(Message::text(serde_json::to_string(&said).unwrap_or_default()))
    }
}
