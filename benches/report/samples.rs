//! Times of the same thing, done again and again.

use std::time::Duration;

/// See the module.
#[derive(Debug, Default, Clone)]
pub(crate) struct Samples(Vec<Duration>);

impl Samples {
    pub(crate) fn add(&mut self, sample: Duration) {
        self.0.push(sample);
    }

    pub(crate) fn extend(&mut self, other: Samples) {
        self.0.extend(other.0);
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn p50(&self) -> Duration {
        self.percentile(50)
    }

    pub(crate) fn p95(&self) -> Duration {
        self.percentile(95)
    }

    pub(crate) fn p99(&self) -> Duration {
        self.percentile(99)
    }

    /// The times in milliseconds, the shortest first.
    pub(crate) fn sorted_ms(&self) -> Vec<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        sorted.iter().map(|time| time.as_secs_f64() * 1000.0).collect()
    }

    /// The least sample that `percent` of all do not exceed; of a few samples, p99 is
    /// the largest.
    fn percentile(&self, percent: usize) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() * percent).div_ceil(100).max(1);
        sorted.get(rank - 1).copied().unwrap_or_default()
    }
}

/// `a` divided by `b`.
pub(crate) fn ratio(a: Duration, b: Duration) -> f64 {
    a.as_secs_f64() / b.as_secs_f64().max(f64::EPSILON)
}

/// p50 and p99 in milliseconds, and of how many.
pub(crate) fn times(samples: &Samples) -> String {
    format!("{} / {} (n={})", ms(samples.p50()), ms(samples.p99()), samples.count())
}

/// A time in milliseconds, with three digits that mean something.
pub(crate) fn ms(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1000.0;
    match ms {
        ..10.0 => format!("{ms:.2} ms"),
        ..100.0 => format!("{ms:.1} ms"),
        _ => format!("{ms:.0} ms"),
    }
}

/// The middle one of some numbers; of none, not a number.
pub(crate) fn median(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Bytes in millions.
pub(crate) fn mb(bytes: f64) -> String {
    format!("{:.1} MB", bytes / 1e6)
}

/// Bytes per second in millions.
pub(crate) fn rate(bytes: u64, time: Duration) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "fifteen digits are enough")]
    let bytes = bytes as f64;
    bytes / time.as_secs_f64().max(f64::EPSILON) / 1e6
}
