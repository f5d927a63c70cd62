//! What was measured, as people read it.

use std::fmt;
use std::time::Duration;

use anyhow::Context as _;

/// Times of the same thing, done again and again.
#[derive(Debug, Default, Clone)]
pub(crate) struct Samples(Vec<Duration>);

impl Samples {
    pub(crate) fn add(&mut self, sample: Duration) {
        self.0.push(sample);
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn p50(&self) -> Duration {
        self.percentile(50)
    }

    pub(crate) fn p99(&self) -> Duration {
        self.percentile(99)
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

/// Whether a promise is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Met,
    Missed,
    /// Nothing is promised: the number stands beside another.
    Told,
}

impl Verdict {
    pub(crate) fn of(is_met: bool) -> Self {
        if is_met { Verdict::Met } else { Verdict::Missed }
    }
}

/// One line of the table.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) budget: String,
    pub(crate) ours: String,
    pub(crate) docker: String,
    pub(crate) ratio: String,
    pub(crate) verdict: Verdict,
}

impl Row {
    /// A number that is promised by itself.
    pub(crate) fn alone(what: &str, budget: &str, ours: String, is_met: bool) -> Self {
        let (docker, ratio) = (String::new(), String::new());
        let (what, budget) = (what.to_owned(), budget.to_owned());
        Self { what, budget, ours, docker, ratio, verdict: Verdict::of(is_met) }
    }

    /// A number that nothing is promised about.
    pub(crate) fn told(what: &str, ours: String) -> Self {
        Self { verdict: Verdict::Told, ..Self::alone(what, "", ours, true) }
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

/// Everything that was measured.
#[derive(Debug, Default)]
pub(crate) struct Table(Vec<Row>);

impl Table {
    pub(crate) fn add(&mut self, row: Row) {
        self.0.push(row);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["what", "budget", "sandtree p50 / p99", "docker p50 / p99", "ratio", ""];
        let mut lines = vec![head.map(str::to_owned)];
        lines.extend(self.0.iter().cloned().map(|row| {
            let verdict = match row.verdict {
                Verdict::Met => "met",
                Verdict::Missed => "MISSED",
                Verdict::Told => "",
            };
            [row.what, row.budget, row.ours, row.docker, row.ratio, verdict.to_owned()]
        }));
        let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max();
        let widths: [usize; 6] = std::array::from_fn(|column| width(column).unwrap_or(0));
        for line in &lines {
            let cells = line.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
            writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        Ok(())
    }
}

/// On what all of it was measured.
pub(crate) fn machine(docker: &str) -> anyhow::Result<String> {
    let cores = std::thread::available_parallelism()?;
    let load = std::fs::read_to_string("/proc/loadavg")?;
    let load = load.split_whitespace().next().context("no load")?;
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let kernel = kernel.trim();
    Ok(format!("{cores} cores, load {load} at the start, Docker {docker}, kernel {kernel}\n"))
}
