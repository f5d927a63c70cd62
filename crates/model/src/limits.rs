//! What one sandbox may use, with the range of each number in one table.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

const MIB: u64 = 1024 * 1024;

/// Memory, processor, processes and temporary space of one sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Memory in bytes; there is no swap on top.
    pub memory_bytes: u64,
    /// Processor time in thousandths of one core.
    pub cpu_millis: u64,
    /// Processes and threads, init included.
    pub pids: u64,
    /// Size in bytes of each temporary file system: `/tmp` and the home directory.
    pub tmp_bytes: u64,
}

/// A change to [`Limits`]: what is absent stays as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitsPatch {
    /// See [`Limits::memory_bytes`].
    pub memory_bytes: Option<u64>,
    /// See [`Limits::cpu_millis`].
    pub cpu_millis: Option<u64>,
    /// See [`Limits::pids`].
    pub pids: Option<u64>,
    /// See [`Limits::tmp_bytes`].
    pub tmp_bytes: Option<u64>,
}

/// A limit that is outside its range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be from {min} to {max}, not {value}")]
pub struct OutOfRange {
    /// Name of the field.
    pub field: &'static str,
    /// What was asked for.
    pub value: u64,
    /// The least that is allowed.
    pub min: u64,
    /// The most that is allowed.
    pub max: u64,
}

/// The range of every limit, under its field name.
pub const RANGES: [(&str, RangeInclusive<u64>); 4] = [
    ("memory_bytes", 16 * MIB..=1024 * 1024 * MIB),
    ("cpu_millis", 50..=256_000),
    ("pids", 8..=65_536),
    ("tmp_bytes", MIB..=64 * 1024 * MIB),
];

/// The range of the processor time of a sandbox, in cores.
#[must_use]
pub fn cores() -> RangeInclusive<f64> {
    let [_, (_, millis), _, _] = RANGES;
    #[expect(clippy::cast_precision_loss, reason = "both are small")]
    let [min, max] = [*millis.start(), *millis.end()].map(|millis| millis as f64 / 1000.0);
    min..=max
}

impl Limits {
    /// These limits with the changes of `patch`.
    #[must_use]
    pub fn with(self, patch: LimitsPatch) -> Self {
        Self {
            memory_bytes: patch.memory_bytes.unwrap_or(self.memory_bytes),
            cpu_millis: patch.cpu_millis.unwrap_or(self.cpu_millis),
            pids: patch.pids.unwrap_or(self.pids),
            tmp_bytes: patch.tmp_bytes.unwrap_or(self.tmp_bytes),
        }
    }

    /// Checks every number against [`RANGES`].
    ///
    /// # Errors
    ///
    /// The first limit that is outside its range.
    pub fn check(&self) -> Result<(), OutOfRange> {
        let values = [self.memory_bytes, self.cpu_millis, self.pids, self.tmp_bytes];
        for ((field, range), value) in RANGES.into_iter().zip(values) {
            if !range.contains(&value) {
                let (min, max) = range.into_inner();
                return Err(OutOfRange { field, value, min, max });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Limits =
        Limits { memory_bytes: 64 * MIB, cpu_millis: 500, pids: 64, tmp_bytes: 8 * MIB };

    #[test]
    fn a_limit_outside_its_range_is_named() {
        assert_eq!(SMALL.check(), Ok(()));
        let none = SMALL.with(LimitsPatch { pids: Some(0), ..LimitsPatch::default() });
        assert_eq!(none.check().unwrap_err().field, "pids");
        let vast =
            SMALL.with(LimitsPatch { memory_bytes: Some(u64::MAX), ..LimitsPatch::default() });
        assert_eq!(vast.check().unwrap_err().field, "memory_bytes");
    }

    #[test]
    fn a_patch_changes_what_it_names() {
        let more = SMALL.with(LimitsPatch { cpu_millis: Some(2000), ..LimitsPatch::default() });
        assert_eq!(more, Limits { cpu_millis: 2000, ..SMALL });
    }
}
