//! Request bodies: as one JSON value or as a stream, always with a limit.

use std::sync::{Mutex, PoisonError};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt};
use serde::de::DeserializeOwned;
use warp::http::HeaderMap;
use warp::http::header::{CONTENT_LENGTH, CONTENT_TYPE};

use super::errors::{Problem, kinds};
use super::object::Object;

/// The body of one request; nothing of it is read before a handler asks.
pub struct Body(Mutex<Pieces>);

/// The lock is never taken: it is there so that a [`super::context::Call`] can be borrowed
/// across an `.await`, for which all of it has to be `Sync`.
type Pieces = BoxStream<'static, Result<Bytes, warp::Error>>;

/// Longest time in which a body that is read as a whole has to come.
const READ_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(60);

/// Why a body ended before its end. Use it as a [`Problem`] while nothing is sent yet.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// It has more bytes than it may.
    #[error("the body is larger than {0} bytes")]
    TooLarge(u64),
    /// The client went away, or broke the protocol.
    #[error("the body ended early: {0}")]
    Broken(#[from] warp::Error),
    /// Its announced bytes do not come; nobody waits for them for ever.
    #[error("the body did not come within {} seconds", READ_TIMEOUT.as_secs())]
    Stalled,
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge(limit) => Problem::too_large("the body", limit),
            BodyError::Broken(_) | BodyError::Stalled => {
                Problem::new(kinds::BAD_REQUEST, error.to_string())
            }
        }
    }
}

impl Body {
    pub(crate) fn new<S, B>(stream: S) -> Self
    where
        S: Stream<Item = Result<B, warp::Error>> + Send + 'static,
        B: Buf,
    {
        let pieces = stream.map(|piece| piece.map(|mut buf| buf.copy_to_bytes(buf.remaining())));
        Self(Mutex::new(pieces.boxed()))
    }

    /// No bytes.
    #[must_use]
    pub fn empty() -> Self {
        Self(Mutex::new(futures_util::stream::empty().boxed()))
    }

    /// The body piece by piece; after more than `limit` bytes comes an error.
    pub fn limited(
        self,
        limit: u64,
    ) -> impl Stream<Item = Result<Bytes, BodyError>> + Send + 'static {
        let mut left = limit;
        let pieces = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        pieces.map(move |piece| {
            let piece = piece?;
            let Some(rest) = left.checked_sub(piece.len() as u64) else {
                left = 0;
                return Err(BodyError::TooLarge(limit));
            };
            left = rest;
            Ok(piece)
        })
    }

    /// The whole body in memory.
    ///
    /// # Errors
    ///
    /// When it has more than `limit` bytes, ends early, or takes more than a minute.
    pub async fn read(self, limit: u64) -> Result<Bytes, BodyError> {
        tokio::time::timeout(READ_TIMEOUT, self.read_whole(limit))
            .await
            .unwrap_or(Err(BodyError::Stalled))
    }

    async fn read_whole(self, limit: u64) -> Result<Bytes, BodyError> {
        let mut pieces = std::pin::pin!(self.limited(limit));
        let Some(first) = pieces.next().await.transpose()? else {
            return Ok(Bytes::new());
        };
        let Some(second) = pieces.next().await.transpose()? else {
            return Ok(first);
        };
        let mut all = BytesMut::from(&first[..]);
        all.extend_from_slice(&second);
        while let Some(piece) = pieces.next().await {
            all.extend_from_slice(&piece?);
        }
        Ok(all.freeze())
    }
}

/// Refuses a body whose `Content-Length` is above `limit` before it is sent.
///
/// # Errors
///
/// 413 with the limit.
pub fn check_length(headers: &HeaderMap, limit: u64) -> Result<(), Problem> {
    match length(headers) {
        Some(length) if limit < length => Err(Problem::too_large("the body", limit)),
        Some(_) | None => Ok(()),
    }
}

/// How many bytes a body is said to have.
#[must_use]
pub fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok())
}

/// The media type of the body in lower case, without its parameters.
#[must_use]
pub fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let media_type = value.split(';').next().unwrap_or(value);
    Some(media_type.trim().to_ascii_lowercase())
}

/// Refuses a body that is of none of these media types.
///
/// # Errors
///
/// 415 naming what is read here.
pub fn require_media(headers: &HeaderMap, allowed: &[&str]) -> Result<(), Problem> {
    let given = media_type(headers);
    if given.as_deref().is_some_and(|given| allowed.contains(&given)) {
        return Ok(());
    }
    let given = given.unwrap_or_else(|| "absent".to_owned());
    let detail = format!("Content-Type is {given}; read here: {}", allowed.join(", "));
    Err(Problem::new(kinds::UNSUPPORTED_MEDIA, detail).at("Content-Type"))
}

/// Reads a JSON object into a value; types with `deny_unknown_fields` refuse fields
/// that they do not know.
///
/// # Errors
///
/// `malformed-body` for text that is not JSON, else `invalid-field` with the
/// field's path, such as `limits.pids` or `files[2].path`.
pub fn parse_json<T: DeserializeOwned>(text: &[u8]) -> Result<T, Problem> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let Object(value) = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner();
        if inner.is_data() {
            wrong_field(&path, &inner.to_string())
        } else {
            Problem::new(kinds::MALFORMED_BODY, format!("the body is not JSON: {inner}"))
        }
    })?;
    reader.end().map_err(|error| {
        Problem::new(kinds::MALFORMED_BODY, format!("the body has more than one value: {error}"))
    })?;
    Ok(value)
}

/// As [`parse_json`], from a value: for one that is read as more than one thing.
///
/// # Errors
///
/// `invalid-field` with the field's path.
pub fn parse_value<T: DeserializeOwned>(value: &serde_json::Value) -> Result<T, Problem> {
    let Object(value) = serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        wrong_field(&path, &error.into_inner().to_string())
    })?;
    Ok(value)
}

/// Turns serde's words about one field into a problem that names it: `path` leads to
/// where serde was, and for a missing or unknown field that is its parent.
pub(crate) fn wrong_field(path: &str, message: &str) -> Problem {
    let words = message.split(" at line ").next().unwrap_or(message);
    let named = ["missing field `", "unknown field `", "duplicate field `"]
        .into_iter()
        .find_map(|start| words.strip_prefix(start)?.split_once('`'));
    let parent = path.trim_matches('.');
    let field = match named {
        Some((name, _)) if parent.is_empty() || parent == "?" => name.to_owned(),
        Some((name, _)) if parent.rsplit('.').next() == Some(name) => parent.to_owned(),
        Some((name, _)) => format!("{parent}.{name}"),
        None => parent.to_owned(),
    };
    match field.as_str() {
        "" => Problem::new(kinds::INVALID_FIELD, format!("the body: {words}")),
        _ => Problem::field(field.into_boxed_str(), words),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_is_given_up() {
        let never = futures_util::stream::pending::<Result<Bytes, warp::Error>>();
        let read = Body::new(never).read(10).await;
        assert!(matches!(read, Err(BodyError::Stalled)));
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        #[expect(dead_code, reason = "only its reading is tested")]
        inner: Option<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        #[expect(dead_code, reason = "only its reading is tested")]
        number: u8,
    }

    #[test]
    fn a_wrong_field_is_named_with_its_path() {
        for (text, field) in [
            (r#"{"innr": {}}"#, "innr"),
            (r#"{"inner": {"number": 1, "odd": 2}}"#, "inner.odd"),
            (r#"{"inner": {"number": "x"}}"#, "inner.number"),
            (r#"{"inner": {"number": 256}}"#, "inner.number"),
            (r#"{"inner": {}}"#, "inner.number"),
            (r#"{"inner": 3}"#, "inner"),
        ] {
            let problem = parse_json::<Outer>(text.as_bytes()).unwrap_err();
            assert_eq!(problem.document()["field"], json!(field), "{text}: {problem:?}");
            assert_eq!(problem.kind(), kinds::INVALID_FIELD, "{text}");
        }
    }

    #[test]
    fn text_that_is_not_json_is_said_to_be_malformed() {
        for text in ["", "{", "nope", r#"{"inner": null} {}"#] {
            let problem = parse_json::<Outer>(text.as_bytes()).unwrap_err();
            assert_eq!(problem.kind(), kinds::MALFORMED_BODY, "{text}");
        }
        for text in ["[]  ", " [null]", "[[]]"] {
            let problem = parse_json::<Outer>(text.as_bytes()).unwrap_err();
            assert_eq!(problem.kind(), kinds::INVALID_FIELD, "{text}");
        }
    }

    #[tokio::test]
    async fn a_body_ends_at_its_limit() {
        let body = |sizes: &[usize]| {
            let pieces: Vec<_> = sizes.iter().map(|n| Ok(Bytes::from(vec![b'x'; *n]))).collect();
            Body::new(futures_util::stream::iter(pieces))
        };
        assert_eq!(body(&[]).read(4).await.unwrap().len(), 0);
        assert_eq!(body(&[2, 1, 1]).read(4).await.unwrap().len(), 4);
        assert!(matches!(body(&[2, 1, 2]).read(4).await, Err(BodyError::TooLarge(4))));
    }

    #[test]
    fn a_media_type_is_compared_without_case_and_parameters() {
        let with = |value: &str| HeaderMap::from_iter([(CONTENT_TYPE, value.parse().unwrap())]);
        let json = ["application/json"];
        assert!(require_media(&with("Application/JSON; charset=utf-8"), &json).is_ok());
        let plain = require_media(&with("text/plain"), &json).unwrap_err();
        assert_eq!(plain.kind(), kinds::UNSUPPORTED_MEDIA);
        assert!(require_media(&HeaderMap::new(), &json).is_err());
    }

    #[test]
    fn a_length_above_the_limit_is_refused_before_the_body() {
        let headers = HeaderMap::from_iter([(CONTENT_LENGTH, "5".parse().unwrap())]);
        assert!(check_length(&headers, 5).is_ok());
        assert_eq!(check_length(&headers, 4).unwrap_err().kind(), kinds::TOO_LARGE);
    }
}
