//! Sizes and shares as this contract writes them: `"512m"`, and 0.5 of a core.

use serde::{Deserialize, Deserializer};

/// A size in bytes: a number, or one with `b`, `k`, `m` or `g` after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size(pub(super) u64);

/// Units, the largest first, and what they are called.
const UNITS: [(&str, u64); 4] = [("g", 1 << 30), ("m", 1 << 20), ("k", 1 << 10), ("b", 1)];

impl std::str::FromStr for Size {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "must be a size such as \"512m\" or \"1g\"";
        let lower = text.trim().to_ascii_lowercase();
        let with_unit = |(unit, bytes)| Some((lower.strip_suffix(unit)?, bytes));
        let (number, unit) = UNITS.into_iter().find_map(with_unit).unwrap_or((&lower, 1));
        let is_number = !number.is_empty() && number.bytes().all(|c| c.is_ascii_digit());
        let number: Option<u64> = number.parse().ok().filter(|_| is_number);
        number.and_then(|number| number.checked_mul(unit)).map(Self).ok_or(wrong)
    }
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let whole = |(_, bytes): &(&str, u64)| self.0 >= *bytes && self.0.is_multiple_of(*bytes);
        let (name, bytes) = UNITS.into_iter().find(whole).unwrap_or(("b", 1));
        write!(f, "{}{name}", self.0 / bytes)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "must be a size such as \"512m\" or \"1g\"")]
        enum Written {
            Bytes(u64),
            Text(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Bytes(bytes) => Ok(Self(bytes)),
            Written::Text(text) => text.parse().map_err(serde::de::Error::custom),
        }
    }
}

/// A share of cores, in thousandths; what is no share is as much as nothing has.
#[must_use]
pub(super) fn millis(cores: f64) -> u64 {
    // A cast from a float saturates, and what is out of range is refused by its limit.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
    let millis = (cores * 1000.0).round() as u64;
    millis
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_read_and_written() {
        for (text, bytes, written) in [
            ("512m", 512 << 20, "512m"),
            ("1G", 1 << 30, "1g"),
            (" 1024m ", 1 << 30, "1g"),
            ("64k", 64 << 10, "64k"),
            ("100b", 100, "100b"),
            ("100", 100, "100b"),
        ] {
            let size: Size = text.parse().unwrap();
            assert_eq!((size.0, size.to_string().as_str()), (bytes, written), "{text}");
        }
        for bad in ["", "m", "-1m", "1.5g", "1t", "+1m", "99999999999999999999", "99999999999g"] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_share_of_cores_is_thousandths() {
        for (cores, expected) in
            [(0.5, 500), (1.0, 1000), (0.1, 100), (-1.0, 0), (f64::NAN, 0), (1e300, u64::MAX)]
        {
            assert_eq!(millis(cores), expected, "{cores}");
        }
    }
}
