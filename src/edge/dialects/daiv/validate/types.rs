//! The types of single values, each as lenient and as strict as the other system's.

use std::collections::BTreeMap;

use serde_json::{Number, Value, json};
use uuid::Uuid;

use super::{Spot, base64};

/// A text.
pub(in super::super) fn text(value: &Value, spot: &mut Spot) -> Option<String> {
    match value.as_str() {
        Some(text) => Some(text.to_owned()),
        None => spot.refuse(value, "string_type", "Input should be a valid string", None),
    }
}

/// A whole number, or a text that is one.
pub(in super::super) fn integer(value: &Value, spot: &mut Spot) -> Option<i64> {
    match value {
        Value::Number(number) => whole(number).or_else(|| {
            let msg = "Input should be a valid integer, got a number with a fractional part";
            spot.refuse(value, "int_from_float", msg, None)
        }),
        Value::Bool(flag) => Some(i64::from(*flag)),
        Value::String(text) => text.trim().parse().ok().or_else(|| {
            let msg = "Input should be a valid integer, unable to parse string as an integer";
            spot.refuse(value, "int_parsing", msg, None)
        }),
        Value::Null | Value::Array(_) | Value::Object(_) => {
            spot.refuse(value, "int_type", "Input should be a valid integer", None)
        }
    }
}

fn whole(number: &Number) -> Option<i64> {
    const TOO_LARGE: f64 = 9.3e18;
    if let Some(number) = number.as_i64() {
        return Some(number);
    }
    if number.is_u64() {
        return Some(i64::MAX);
    }
    let number = number.as_f64().filter(|it| it.fract() == 0.0 && it.abs() < TOO_LARGE)?;
    // In range and without a fraction, as just seen.
    #[expect(clippy::cast_possible_truncation, reason = "it is whole and in range")]
    Some(number as i64)
}

/// A whole number of at least `min`.
pub(in super::super) fn at_least(min: i64) -> impl FnOnce(&Value, &mut Spot) -> Option<i64> {
    move |value, spot| {
        let number = integer(value, spot)?;
        if number < min {
            let msg = format!("Input should be greater than or equal to {min}");
            return spot.refuse(value, "greater_than_equal", msg, Some(json!({ "ge": min })));
        }
        Some(number)
    }
}

/// A whole number of at least `min` and at most `max`.
pub(in super::super) fn within(
    min: i64,
    max: i64,
) -> impl FnOnce(&Value, &mut Spot) -> Option<i64> {
    move |value, spot| {
        let number = at_least(min)(value, spot)?;
        if number > max {
            let msg = format!("Input should be less than or equal to {max}");
            return spot.refuse(value, "less_than_equal", msg, Some(json!({ "le": max })));
        }
        Some(number)
    }
}

/// A number, or a text that is one.
pub(in super::super) fn number(value: &Value, spot: &mut Spot) -> Option<f64> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::Bool(flag) => Some(f64::from(u8::from(*flag))),
        Value::String(text) => text.trim().parse().ok(),
        Value::Null | Value::Array(_) | Value::Object(_) => {
            return spot.refuse(value, "float_type", "Input should be a valid number", None);
        }
    };
    match number {
        Some(number) if number.is_finite() => Some(number),
        Some(_) => spot.refuse(value, "finite_number", "Input should be a finite number", None),
        None => {
            let msg = "Input should be a valid number, unable to parse string as a number";
            spot.refuse(value, "float_parsing", msg, None)
        }
    }
}

/// True or false, or one of the many words for them.
pub(in super::super) fn flag(value: &Value, spot: &mut Spot) -> Option<bool> {
    const YES: [&str; 6] = ["true", "1", "yes", "y", "on", "t"];
    const NO: [&str; 6] = ["false", "0", "no", "n", "off", "f"];
    let word = match value {
        Value::Bool(flag) => return Some(*flag),
        Value::Number(number) => whole(number).map(|number| number.to_string()).unwrap_or_default(),
        Value::String(text) => text.to_ascii_lowercase(),
        Value::Null | Value::Array(_) | Value::Object(_) => {
            return spot.refuse(value, "bool_type", "Input should be a valid boolean", None);
        }
    };
    if YES.contains(&word.as_str()) {
        return Some(true);
    }
    if NO.contains(&word.as_str()) {
        return Some(false);
    }
    let msg = "Input should be a valid boolean, unable to interpret input";
    spot.refuse(value, "bool_parsing", msg, None)
}

/// One of some words.
pub(in super::super) fn one_of<'a>(
    words: &'a [&'a str],
) -> impl FnOnce(&Value, &mut Spot) -> Option<&'a str> {
    move |value, spot| {
        let found = value.as_str().and_then(|text| words.iter().find(|word| **word == text));
        if let Some(word) = found {
            return Some(*word);
        }
        let quoted: Vec<_> = words.iter().map(|word| format!("'{word}'")).collect();
        let expected = match quoted.split_last() {
            Some((last, [])) => last.clone(),
            Some((last, most)) => format!("{} or {last}", most.join(", ")),
            None => String::new(),
        };
        let msg = format!("Input should be {expected}");
        spot.refuse(value, "literal_error", msg, Some(json!({ "expected": expected })))
    }
}

/// A list of at most `max` values.
pub(in super::super) fn list<T>(
    max: usize,
    mut each: impl FnMut(&Value, &mut Spot) -> Option<T>,
) -> impl FnOnce(&Value, &mut Spot) -> Option<Vec<T>> {
    move |value, spot| {
        let Some(values) = value.as_array() else {
            return spot.refuse(value, "list_type", "Input should be a valid list", None);
        };
        let count = values.len();
        if count > max {
            let msg = format!("List should have at most {max} items after validation, not {count}");
            let ctx = json!({ "field_type": "List", "max_length": max, "actual_length": count });
            return spot.refuse(value, "too_long", msg, Some(ctx));
        }
        let mut all = Some(Vec::with_capacity(count));
        for (place, value) in values.iter().enumerate() {
            let one = spot.below(super::Step::Place(place), |spot| each(value, spot));
            all = all.zip(one).map(|(mut all, one)| {
                all.push(one);
                all
            });
        }
        all
    }
}

/// Values by names of the client's choice.
pub(in super::super) fn dictionary<T>(
    mut each: impl FnMut(&Value, &mut Spot) -> Option<T>,
) -> impl FnOnce(&Value, &mut Spot) -> Option<BTreeMap<Box<str>, T>> {
    move |value, spot| {
        let Some(map) = value.as_object() else {
            return spot.refuse(value, "dict_type", "Input should be a valid dictionary", None);
        };
        let mut all = Some(BTreeMap::new());
        for (name, value) in map {
            let one = spot.below(name.as_str().into(), |spot| each(value, spot));
            all = all.zip(one).map(|(mut all, one)| {
                all.insert(name.as_str().into(), one);
                all
            });
        }
        all
    }
}

/// A UUID of version 4.
pub(in super::super) fn uuid4(value: &Value, spot: &mut Spot) -> Option<Uuid> {
    let Some(text) = value.as_str() else {
        let msg = "UUID input should be a string, bytes or UUID object";
        return spot.refuse(value, "uuid_type", msg, None);
    };
    let uuid = match Uuid::parse_str(text) {
        Ok(uuid) => uuid,
        Err(error) => {
            let msg = format!("Input should be a valid UUID, {error}");
            let ctx = json!({ "error": error.to_string() });
            return spot.refuse(value, "uuid_parsing", msg, Some(ctx));
        }
    };
    if uuid.get_version_num() == 4 {
        return Some(uuid);
    }
    let ctx = json!({ "expected_version": 4 });
    spot.refuse(value, "uuid_version", "UUID version 4 expected", Some(ctx))
}

/// Bytes in base64, read as leniently as Python does.
pub(in super::super) fn bytes(value: &Value, spot: &mut Spot) -> Option<Vec<u8>> {
    let Some(text) = value.as_str() else {
        return spot.refuse(value, "bytes_type", "Input should be a valid bytes", None);
    };
    match base64::decode(text.as_bytes()) {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            let msg = format!("Base64 decoding error: '{error}'");
            let ctx = json!({ "error": error.to_string() });
            spot.refuse(value, "base64_decode", msg, Some(ctx))
        }
    }
}
