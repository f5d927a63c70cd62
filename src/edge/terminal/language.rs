//! How a terminal is spoken about on a WebSocket. The pump carries what is said both ways;
//! a language turns it into messages: the native API's, or that of a dialect.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use sandtree_actors::Cursor;
use sandtree_model::ExitStatus;
use tokio_tungstenite::tungstenite::Message;

use crate::edge::websocket::{Ending, PING_EVERY, SILENCE_MAX};

/// Makes a terminal forget what it shows: for languages without a word for a fresh screen.
pub(in crate::edge) const RESET: &[u8] = b"\x1bc";

/// What a client said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::edge) enum Heard {
    /// Keystrokes.
    Keys(Bytes),
    /// The size of its window.
    Size { cols: u16, rows: u16 },
    /// It wants an answer.
    Ping,
}

/// What a client is told besides output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::edge) enum Told {
    /// Output that follows starts here; with `fresh` the screen starts anew.
    Ready { at: Cursor, fresh: bool },
    /// So many bytes of output are lost for it.
    Gap { bytes: u64 },
    /// The shell ended; the connection follows.
    Exited(ExitStatus),
    /// The answer to its ping.
    Pong,
}

/// One language. Both directions use it at the same time.
pub(in crate::edge) trait Language: Sync {
    /// Time between two pings.
    fn ping_every(&self) -> Duration {
        PING_EVERY
    }

    /// Longest silence of a client, in spite of the pings.
    fn silence_max(&self) -> Duration {
        SILENCE_MAX
    }

    /// Understands a text or binary message.
    ///
    /// # Errors
    ///
    /// How the connection ends over a message that is not understood.
    fn hear(&self, message: Message) -> Result<Heard, Ending>;

    /// Says output; `None`: there is nothing to say yet.
    fn output(&self, bytes: Bytes) -> Option<Message>;

    /// Says anything else; `None`: it has no word for it.
    fn tell(&self, told: Told) -> Option<Message>;
}

/// Bytes as text: a character that comes in two parts stays one, and what is no
/// character becomes U+FFFD.
#[derive(Debug, Default)]
pub(in crate::edge) struct Text {
    /// At most the first three bytes of a character.
    begun: Mutex<Vec<u8>>,
}

impl Text {
    /// The text of what is whole; empty when nothing is.
    pub(in crate::edge) fn of(&self, bytes: &[u8]) -> String {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = std::mem::take(&mut *begun);
        all.extend_from_slice(bytes);
        let mut text = String::with_capacity(all.len());
        let mut chunks = all.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            text.push_str(chunk.valid());
            let odd = chunk.invalid();
            if chunks.peek().is_none() && is_begun(odd) {
                begun.extend_from_slice(odd);
            } else if !odd.is_empty() {
                text.push(char::REPLACEMENT_CHARACTER);
            }
        }
        text
    }
}

/// Whether the rest of a character may follow.
fn is_begun(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_stay_whole_and_what_is_none_is_replaced() {
        let text = Text::default();
        let said: Vec<_> = [&b"a\xe2\x82"[..], b"\xac", b"\xff\xe2", b"b", b"\xf0\x9f\x98"]
            .into_iter()
            .map(|bytes| text.of(bytes))
            .collect();
        assert_eq!(said, ["a", "\u{20ac}", "\u{fffd}", "\u{fffd}b", ""]);
        assert_eq!(text.of(b"\x80"), "\u{1f600}");
    }
}
