//! Times as the API writes them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// 9999-12-31T23:59:59.999999Z, the last time that has this form.
const MICROS_MAX: u64 = 253_402_300_799_999_999;

/// Microseconds since 1970 as RFC 3339, UTC. A later time than the year 9999, such as
/// a sandbox with a wrong clock tells, is its last microsecond.
#[must_use]
pub fn rfc3339(micros: u64) -> String {
    let time = UNIX_EPOCH + Duration::from_micros(micros.min(MICROS_MAX));
    humantime::format_rfc3339_micros(time).to_string()
}

/// As [`rfc3339`]; a time before 1970 is 1970.
#[must_use]
pub fn of_system(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    rfc3339(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_a_time() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(rfc3339(1_700_000_000_000_001), "2023-11-14T22:13:20.000001Z");
        assert_eq!(rfc3339(u64::MAX), "9999-12-31T23:59:59.999999Z");
        assert_eq!(of_system(UNIX_EPOCH - Duration::from_secs(1)), rfc3339(0));
    }
}
