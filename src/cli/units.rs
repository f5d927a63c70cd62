//! Sizes, times and counts, for people.

use std::ops::RangeInclusive;
use std::time::{Duration, SystemTime};

const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];

/// A size, such as `1.5 MiB`.
pub(super) fn bytes(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
    let mut size = bytes as f64;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    if unit == 0 || size >= 100.0 {
        format!("{size:.0} {}", UNITS[unit])
    } else {
        format!("{size:.1} {}", UNITS[unit])
    }
}

/// The bytes of a size such as `512m`, `1.5GiB` or `4096`.
pub(super) fn parse_bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no size; write it like 512m, 1.5g or 1048576");
    let lower = text.trim().to_ascii_lowercase();
    let end = lower.find(|char: char| !char.is_ascii_digit() && char != '.');
    let (number, unit) = lower.split_at(end.unwrap_or(lower.len()));
    let power = match unit.trim() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        _ => return Err(wrong()),
    };
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let size = number * 1024_f64.powi(power);
    if !size.is_finite() || size > 1e18 {
        return Err(wrong());
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "just checked")]
    Ok(size.round() as u64)
}

/// Thousandths of a core from a number of cores such as `1.5`.
pub(super) fn parse_cpus(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no number of cores; write it like 0.5 or 2");
    let cores: f64 = text.parse().map_err(|_| wrong())?;
    if !(0.0..=1e6).contains(&cores) {
        return Err(wrong());
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "just checked")]
    Ok((cores * 1000.0).round() as u64)
}

/// A duration such as `5s`, within its range.
pub(super) fn parse_duration_in(
    text: &str,
    range: RangeInclusive<Duration>,
) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let [least, most] = [range.start(), range.end()].map(|end| humantime::format_duration(*end));
    let wrong = || format!("must be from {least} to {most}");
    range.contains(&duration).then_some(duration).ok_or_else(wrong)
}

/// A pair such as `NAME=VALUE`.
pub(super) fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        Some(_) | None => Err(format!("{text:?} is no NAME=VALUE")),
    }
}

/// How long ago a time such as `2026-01-02T03:04:05Z` was, in its largest unit.
pub(super) fn ago(time: &str) -> String {
    let Ok(then) = humantime::parse_rfc3339_weak(time) else { return "-".to_owned() };
    let past = SystemTime::now().duration_since(then).unwrap_or_default().as_secs();
    match past {
        0..60 => format!("{past}s ago"),
        60..3600 => format!("{}m ago", past / 60),
        3600..172_800 => format!("{}h ago", past / 3600),
        _ => format!("{}d ago", past / 86_400),
    }
}

/// A short time, such as `1.52 ms`.
pub(super) fn short(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1000.0;
    match ms {
        ..10.0 => format!("{ms:.2} ms"),
        ..100.0 => format!("{ms:.1} ms"),
        ..1000.0 => format!("{ms:.0} ms"),
        _ => format!("{:.2} s", ms / 1000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_shown() {
        for (size, shown) in [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (1 << 30, "1.0 GiB")]
        {
            assert_eq!(bytes(size), shown);
        }
        for (text, size) in [("4096", 4096), ("512m", 512 << 20), ("1.5GiB", 1536 << 20)] {
            assert_eq!(parse_bytes(text), Ok(size), "{text}");
        }
        for text in ["", "m", "1x", "-1", "1e9", "..", "99999999t"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
        assert_eq!(parse_cpus("1.5"), Ok(1500));
        assert!(parse_cpus("-1").is_err() && parse_cpus("NaN").is_err());
    }

    #[test]
    fn durations_have_a_range() {
        let parse = |text| parse_duration_in(text, Duration::from_millis(10)..=ONE_HOUR);
        const ONE_HOUR: Duration = Duration::from_secs(3600);
        assert_eq!((parse("10ms"), parse("1h")), (Ok(Duration::from_millis(10)), Ok(ONE_HOUR)));
        for text in ["0s", "61m", "-1s", "soon", ""] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert_eq!(parse("9ms"), Err("must be from 10ms to 1h".to_owned()));
    }

    #[test]
    fn pairs_and_times() {
        assert_eq!(parse_pair("A=b=c"), Ok(("A".to_owned(), "b=c".to_owned())));
        assert!(parse_pair("=b").is_err() && parse_pair("A").is_err());
        assert_eq!(ago("1970-01-01T00:00:00Z").split('d').nth(1), Some(" ago"));
        assert_eq!(ago("soon"), "-");
        assert_eq!(short(Duration::from_micros(1520)), "1.52 ms");
        assert_eq!(short(Duration::from_millis(348)), "348 ms");
        assert_eq!(short(Duration::from_millis(3104)), "3.10 s");
    }
}
