//! Answers that come line by line or event by event.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use serde_json::Value;

use crate::error::ClientError;
use crate::response::Streaming;

/// Longest line of an answer.
const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// An answer, line by line.
#[derive(Debug)]
pub struct Lines {
    answer: Streaming,
    buffer: BytesMut,
    /// How much of the buffer is known to have no end of a line.
    searched: usize,
}

impl Lines {
    pub(crate) fn new(answer: Streaming) -> Self {
        Self { answer, buffer: BytesMut::new(), searched: 0 }
    }

    /// The next line without its end; `None` at the end of an answer that is whole.
    /// Cancel safe.
    ///
    /// # Errors
    ///
    /// When the answer breaks off, nothing comes for too long, or a line is too long.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        loop {
            if let Some(at) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') {
                let mut line = self.buffer.split_to(self.searched + at + 1);
                self.searched = 0;
                line.truncate(line.len() - 1);
                return Ok(Some(line.freeze()));
            }
            self.searched = self.buffer.len();
            if self.searched > LINE_BYTES_MAX {
                return Err(ClientError::Answer("a line is too long".to_owned()));
            }
            match self.answer.next().await? {
                Some(data) => self.buffer.extend_from_slice(&data),
                None => return Ok(None),
            }
        }
    }
}

/// One server-sent event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerEvent {
    /// Where to go on.
    pub id: Option<String>,
    /// Its kind.
    pub event: String,
    /// What it tells.
    pub data: String,
}

impl ServerEvent {
    /// What it tells, as JSON.
    ///
    /// # Errors
    ///
    /// [`ClientError::Answer`] when it is none.
    pub fn json(&self) -> Result<Value, ClientError> {
        serde_json::from_str(&self.data).map_err(|error| ClientError::Answer(error.to_string()))
    }

    fn take_in(&mut self, field: &str, value: &str) -> bool {
        match field {
            "id" => self.id = Some(value.to_owned()),
            "event" => self.event = value.to_owned(),
            "data" => {
                if !self.data.is_empty() {
                    self.data.push('\n');
                }
                self.data.push_str(value);
            }
            _ => return false,
        }
        true
    }
}

/// An answer of server-sent events.
#[derive(Debug)]
pub struct Events {
    lines: Lines,
    event: ServerEvent,
    is_empty: bool,
}

impl Events {
    pub(crate) fn new(answer: Streaming) -> Self {
        Self { lines: Lines::new(answer), event: ServerEvent::default(), is_empty: true }
    }

    /// The next event; `None` at the end of an answer that is whole. Comments are left
    /// out. Cancel safe.
    ///
    /// # Errors
    ///
    /// As [`Lines::next`].
    pub async fn next(&mut self) -> Result<Option<ServerEvent>, ClientError> {
        while let Some(line) = self.lines.next().await? {
            let line = String::from_utf8_lossy(&line);
            if line.is_empty() && !self.is_empty {
                self.is_empty = true;
                return Ok(Some(std::mem::take(&mut self.event)));
            }
            let (field, value) = line.split_once(':').unwrap_or((&line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            if self.event.take_in(field, value) {
                self.is_empty = false;
            }
        }
        Ok(None)
    }
}

/// Bytes that an object of the API tells as text in the field `text`, or as `base64`
/// where they are none.
///
/// # Errors
///
/// [`ClientError::Answer`] when it has neither.
pub fn bytes_of(object: &Value, text: &str) -> Result<Vec<u8>, ClientError> {
    let wrong = |what: &str| ClientError::Answer(format!("{what} in {object}"));
    if let Some(text) = object[text].as_str() {
        return Ok(text.as_bytes().to_vec());
    }
    let encoded = object["base64"].as_str().ok_or_else(|| wrong("no output"))?;
    STANDARD.decode(encoded).map_err(|_| wrong("no base64"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn output_is_text_or_base64() {
        assert_eq!(bytes_of(&json!({ "data": "a\n" }), "data").unwrap(), b"a\n");
        assert_eq!(bytes_of(&json!({ "base64": "AP8=" }), "data").unwrap(), [0, 255]);
        assert!(bytes_of(&json!({ "base64": "?" }), "data").is_err());
        assert!(bytes_of(&json!({}), "data").is_err());
    }

    #[test]
    fn fields_of_an_event_are_taken_in() {
        let mut event = ServerEvent::default();
        for (field, value) in [("id", "3"), ("event", "x"), ("data", "a"), ("data", "b")] {
            assert!(event.take_in(field, value));
        }
        assert!(!event.take_in("", "a comment"));
        let told = ServerEvent { id: Some("3".into()), event: "x".into(), data: "a\nb".into() };
        assert_eq!(event, told);
    }
}
