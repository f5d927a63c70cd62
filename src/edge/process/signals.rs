//! Signals by name and number, as Linux numbers them.

use sandtree_model::ExitStatus;
use serde::{Deserialize, Deserializer, de};

/// The highest number there is: the last real-time signal.
const NUMBER_MAX: i32 = 64;

#[rustfmt::skip]
const NAMES: [(&str, i32); 31] = [
    ("HUP", 1), ("INT", 2), ("QUIT", 3), ("ILL", 4), ("TRAP", 5), ("ABRT", 6), ("BUS", 7), ("FPE", 8),
    ("KILL", 9), ("USR1", 10), ("SEGV", 11), ("USR2", 12), ("PIPE", 13), ("ALRM", 14), ("TERM", 15),
    ("STKFLT", 16), ("CHLD", 17), ("CONT", 18), ("STOP", 19), ("TSTP", 20), ("TTIN", 21), ("TTOU", 22),
    ("URG", 23), ("XCPU", 24), ("XFSZ", 25), ("VTALRM", 26), ("PROF", 27), ("WINCH", 28), ("IO", 29),
    ("PWR", 30), ("SYS", 31),
];

/// A signal that can be sent: a name such as `TERM` or `SIGTERM`, or a number from 1 to 64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signal(pub i32);

impl Signal {
    fn of_number(number: i64) -> Option<Self> {
        let number = i32::try_from(number).ok()?;
        (1..=NUMBER_MAX).contains(&number).then_some(Self(number))
    }

    fn of_text(text: &str) -> Option<Self> {
        if let Ok(number) = text.parse() {
            return Self::of_number(number);
        }
        let name = text.strip_prefix("SIG").unwrap_or(text);
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, number)| Self(*number))
    }
}

impl std::fmt::Display for Signal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match NAMES.iter().find(|(_, number)| *number == self.0) {
            Some((name, _)) => f.write_str(name),
            None => self.0.fmt(f),
        }
    }
}

impl<'de> Deserialize<'de> for Signal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Visitor)
    }
}

struct Visitor;

impl de::Visitor<'_> for Visitor {
    type Value = Signal;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a signal's name such as \"TERM\", or a number from 1 to {NUMBER_MAX}")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Signal, E> {
        Signal::of_text(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Signal, E> {
        let signal = i64::try_from(number).ok().and_then(Signal::of_number);
        signal.ok_or_else(|| E::invalid_value(de::Unexpected::Unsigned(number), &self))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Signal, E> {
        let signal = Signal::of_number(number);
        signal.ok_or_else(|| E::invalid_value(de::Unexpected::Signed(number), &self))
    }
}

/// The name of the signal that ended a program, if one did.
#[must_use]
pub fn of_status(status: ExitStatus) -> Option<String> {
    match status {
        ExitStatus::Signal(number) => Some(Signal(number).to_string()),
        ExitStatus::Code(_) | ExitStatus::Lost => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_a_name_or_a_number() {
        for (text, number) in
            [("\"TERM\"", 15), ("\"SIGKILL\"", 9), ("2", 2), ("\"34\"", 34), ("64", 64)]
        {
            assert_eq!(serde_json::from_str::<Signal>(text).unwrap(), Signal(number), "{text}");
        }
        for bad in ["\"term\"", "\"NOPE\"", "0", "65", "-9", "\"\"", "1.5", "null", "\"0\""] {
            assert!(serde_json::from_str::<Signal>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_signal_without_a_name_is_its_number() {
        assert_eq!(Signal(9).to_string(), "KILL");
        assert_eq!(Signal(40).to_string(), "40");
    }
}
