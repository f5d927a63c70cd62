//! Bodies as the other system's framework reads them: leniently where it is lenient, and with
//! every fault of a body in one list, in its words.
//!
//! A type of a request has a `read` that takes a JSON value and a [`Spot`], where the value is
//! in the body. It answers `None` when something is wrong, which the spot then knows. The
//! types of single values are in [`types`], objects in [`Fields`].

mod base64;
mod json;
pub(super) mod types;

use serde::Serialize;
use serde_json::{Map, Value, json};
use warp::http::header::CONTENT_TYPE;

use super::refused::{self, Refused};
use crate::edge::body;
use crate::edge::context::Call;
use crate::edge::errors::Problem;

/// Largest body of a request that carries no content, in bytes.
pub(super) const SMALL_BYTES_MAX: u64 = 1024 * 1024;
/// Most faults that are told; a hostile list has a fault in each place.
const WRONGS_MAX: usize = 100;
/// A value is told with its fault up to this length of its JSON.
const INPUT_BYTES_MAX: usize = 16 * 1024;

/// One fault of a body.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Wrong {
    r#type: &'static str,
    loc: Vec<Step>,
    msg: String,
    input: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    ctx: Option<Value>,
}

/// One step to a value: a field's name or a place in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(super) enum Step {
    Name(Box<str>),
    Place(usize),
}

impl From<&str> for Step {
    fn from(name: &str) -> Self {
        Step::Name(name.into())
    }
}

impl Wrong {
    /// A field of the body that breaks a rule of ours.
    pub(super) fn of_value(field: &str, input: Value, words: &str) -> Self {
        Self {
            r#type: "value_error",
            loc: vec!["body".into(), field.into()],
            msg: format!("Value error, {words}"),
            input,
            ctx: Some(json!({ "error": {} })),
        }
    }
}

/// A place in a request, and all that was wrong so far.
pub(super) struct Spot {
    loc: Vec<Step>,
    wrongs: Vec<Wrong>,
}

impl Spot {
    fn of(part: &str) -> Self {
        Self { loc: vec![part.into()], wrongs: Vec::new() }
    }

    /// Reads what is one step further.
    pub(super) fn below<T>(&mut self, step: Step, read: impl FnOnce(&mut Self) -> T) -> T {
        self.loc.push(step);
        let value = read(self);
        self.loc.pop();
        value
    }

    /// Notes that this value is wrong.
    pub(super) fn refuse<T>(
        &mut self,
        input: &Value,
        r#type: &'static str,
        msg: impl Into<String>,
        ctx: Option<Value>,
    ) -> Option<T> {
        if self.wrongs.len() < WRONGS_MAX {
            let input = shown(input);
            self.wrongs.push(Wrong { r#type, loc: self.loc.clone(), msg: msg.into(), input, ctx });
        }
        None
    }

    /// Notes that this value breaks a rule of ours.
    pub(super) fn refuse_value<T>(&mut self, input: &Value, words: &str) -> Option<T> {
        let ctx = json!({ "error": {} });
        self.refuse(input, "value_error", format!("Value error, {words}"), Some(ctx))
    }

    fn finish<T>(self, value: Option<T>) -> Result<T, Refused> {
        match value {
            Some(value) if self.wrongs.is_empty() => Ok(value),
            Some(_) | None => Err(Refused::Invalid(self.wrongs)),
        }
    }
}

/// A value as far as it is told: who sent an archive need not get it back.
fn shown(input: &Value) -> Value {
    let is_short = !is_long_text(input) && input.to_string().len() <= INPUT_BYTES_MAX;
    if is_short { input.clone() } else { too_long() }
}

fn is_long_text(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.len() > INPUT_BYTES_MAX)
}

fn too_long() -> Value {
    json!("(too long to be shown)")
}

/// The fields of an object; those that nobody reads are ignored.
pub(super) struct Fields<'a> {
    whole: &'a Value,
    map: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    /// The fields of a value that has to be an object.
    pub(super) fn of(value: &'a Value, spot: &mut Spot) -> Option<Self> {
        match value {
            Value::Object(map) => Some(Self { whole: value, map }),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => {
                let msg = "Input should be a valid dictionary or object to extract fields from";
                spot.refuse(value, "model_attributes_type", msg, None)
            }
        }
    }

    /// A field that has to be there.
    pub(super) fn required<T>(
        &self,
        spot: &mut Spot,
        name: &'static str,
        read: impl FnOnce(&Value, &mut Spot) -> Option<T>,
    ) -> Option<T> {
        spot.below(name.into(), |spot| match self.map.get(name) {
            Some(value) => read(value, spot),
            None => spot.refuse(self.whole, "missing", "Field required", None),
        })
    }

    /// A field that is `default` when it is absent.
    pub(super) fn or<T>(
        &self,
        spot: &mut Spot,
        name: &'static str,
        default: T,
        read: impl FnOnce(&Value, &mut Spot) -> Option<T>,
    ) -> Option<T> {
        match self.map.get(name) {
            Some(value) => spot.below(name.into(), |spot| read(value, spot)),
            None => Some(default),
        }
    }

    /// A field that may be absent or null.
    pub(super) fn nullable<T>(
        &self,
        spot: &mut Spot,
        name: &'static str,
        read: impl FnOnce(&Value, &mut Spot) -> Option<T>,
    ) -> Option<Option<T>> {
        self.or(spot, name, None, |value, spot| match value {
            Value::Null => Some(None),
            Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_)
            | Value::Object(_) => read(value, spot).map(Some),
        })
    }
}

/// The fields of a body as they came, for what the core finds wrong with them later.
pub(super) struct Came(Map<String, Value>);

impl Came {
    fn of(value: Value) -> Self {
        let Value::Object(mut map) = value else { return Self(Map::new()) };
        for value in map.values_mut().filter(|value| is_long_text(value)) {
            *value = too_long();
        }
        Self(map)
    }

    /// A problem of the core; one with a field is a fault of the body, told with its input.
    pub(super) fn refused(&self, problem: impl Into<Problem>) -> Refused {
        let problem = problem.into();
        match refused::invalid_field(&problem) {
            Some((field, words)) => {
                let input = self.0.get(field).map_or(Value::Null, shown);
                Refused::Invalid(vec![Wrong::of_value(field, input, &words)])
            }
            None => Refused::Problem(problem),
        }
    }
}

/// Reads the body of a request.
///
/// # Errors
///
/// 422 with everything that is wrong, 413 for a body above `bytes_max`.
pub(super) async fn body<T>(
    call: &mut Call,
    bytes_max: u64,
    read: impl FnOnce(&Value, &mut Spot) -> Option<T>,
) -> Result<T, Refused> {
    Ok(body_as_it_came(call, bytes_max, read).await?.0)
}

/// As [`body`], with what is needed to tell of its fields later.
///
/// # Errors
///
/// As [`body`].
pub(super) async fn body_as_it_came<T>(
    call: &mut Call,
    bytes_max: u64,
    read: impl FnOnce(&Value, &mut Spot) -> Option<T>,
) -> Result<(T, Came), Refused> {
    body::check_length(&call.headers, bytes_max)?;
    let media = body::media_type(&call.headers);
    let has_media = call.headers.contains_key(CONTENT_TYPE);
    let is_json = !has_media || media.is_some_and(|media| is_json(&media));
    let bytes = call.take_body().read(bytes_max).await.map_err(Problem::from)?;
    let mut spot = Spot::of("body");
    let value = value_of(&bytes, is_json, &mut spot);
    drop(bytes);
    let read = value.and_then(|value| Some((read(&value, &mut spot)?, Came::of(value))));
    spot.finish(read)
}

fn is_json(media: &str) -> bool {
    media == "application/json" || (media.starts_with("application/") && media.ends_with("+json"))
}

fn value_of(bytes: &[u8], is_json: bool, spot: &mut Spot) -> Option<Value> {
    if bytes.is_empty() {
        return spot.refuse(&Value::Null, "missing", "Field required", None);
    }
    if !is_json {
        // What is not said to be JSON is a text, and no type of ours is read from a text.
        return Some(Value::String(String::from_utf8_lossy(bytes).into_owned()));
    }
    serde_json::from_slice(bytes).ok().or_else(|| {
        let fault = json::fault(bytes);
        spot.below(Step::Place(fault.offset), |spot| {
            let ctx = json!({ "error": fault.what });
            spot.refuse(&json!({}), "json_invalid", "JSON decode error", Some(ctx))
        })
    })
}

/// Reads one parameter of the query that may be absent.
///
/// # Errors
///
/// 422.
pub(super) fn query<T>(
    call: &Call,
    name: &'static str,
    default: T,
    read: impl FnOnce(&Value, &mut Spot) -> Option<T>,
) -> Result<T, Refused> {
    let text = call.query.as_deref().unwrap_or("");
    let given = form_urlencoded::parse(text.as_bytes()).filter(|(known, _)| known == name).last();
    let Some((_, text)) = given else { return Ok(default) };
    let mut spot = Spot::of("query");
    let value = spot.below(name.into(), |spot| read(&Value::String(text.into_owned()), spot));
    spot.finish(value)
}
