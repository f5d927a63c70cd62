//! What was measured: one table for people, the same as a page with plots, and the raw
//! numbers for machines.

mod page;
mod svg;

use std::fmt;

use serde_json::{Value, json};

use crate::samples::Samples;
pub(crate) use page::{load, write};

/// Whether a promise is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Met,
    Missed,
    /// Nothing is promised: the number stands beside another.
    Told,
    /// It could not be measured, and the row says why.
    Absent,
}

impl Verdict {
    pub(crate) fn of(is_met: bool) -> Self {
        if is_met { Verdict::Met } else { Verdict::Missed }
    }

    fn word(self) -> &'static str {
        match self {
            Verdict::Met => "met",
            Verdict::Missed => "MISSED",
            Verdict::Told => "",
            Verdict::Absent => "not measured",
        }
    }
}

/// One line of the table.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) budget: String,
    pub(crate) ours: String,
    /// The raw API or the peer that was measured in the same run.
    pub(crate) beside: String,
    pub(crate) ratio: String,
    pub(crate) verdict: Verdict,
}

impl Row {
    /// A number that is promised by itself.
    pub(crate) fn alone(what: &str, budget: &str, ours: String, is_met: bool) -> Self {
        let (beside, ratio) = (String::new(), String::new());
        let (what, budget) = (what.to_owned(), budget.to_owned());
        Self { what, budget, ours, beside, ratio, verdict: Verdict::of(is_met) }
    }

    /// A number that nothing is promised about.
    pub(crate) fn told(what: &str, ours: String) -> Self {
        Self { verdict: Verdict::Told, ..Self::alone(what, "", ours, true) }
    }

    /// A number that there is none of.
    pub(crate) fn absent(what: &str, why: &str) -> Self {
        Self { verdict: Verdict::Absent, ..Self::alone(what, "", why.to_owned(), true) }
    }

    fn cells(&self) -> [&str; 6] {
        let Self { what, budget, ours, beside, ratio, verdict } = self;
        [what, budget, ours, beside, ratio, verdict.word()]
    }
}

/// A picture of numbers that belong together.
#[derive(Debug, Clone)]
pub(crate) struct Plot {
    /// Name of its file, without the ending.
    pub(crate) name: &'static str,
    pub(crate) title: String,
    pub(crate) kind: PlotKind,
}

/// What a picture shows.
#[derive(Debug, Clone)]
pub(crate) enum PlotKind {
    /// Which share of all was done after so many milliseconds.
    Shares(Vec<(String, Vec<f64>)>),
    /// One number for each name, in this unit.
    Bars { unit: &'static str, bars: Vec<(String, f64)> },
}

/// Everything that was measured.
#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
    plots: Vec<Plot>,
}

impl Report {
    pub(crate) fn add(&mut self, row: Row) {
        println!("  {}", row.cells().join(" | "));
        self.rows.push(row);
    }

    /// A picture of how long things took.
    pub(crate) fn shares(&mut self, name: &'static str, title: &str, of: &[(&str, &Samples)]) {
        let with_any = of.iter().filter(|(_, samples)| samples.count() > 0);
        let lines = with_any.map(|(name, samples)| ((*name).to_owned(), samples.sorted_ms()));
        let kind = PlotKind::Shares(lines.collect());
        self.plots.push(Plot { name, title: title.to_owned(), kind });
    }

    /// A picture of one number each.
    pub(crate) fn bars(
        &mut self,
        name: &'static str,
        title: &str,
        unit: &'static str,
        bars: Vec<(String, f64)>,
    ) {
        let kind = PlotKind::Bars { unit, bars };
        self.plots.push(Plot { name, title: title.to_owned(), kind });
    }

    /// How many promises are missed.
    pub(crate) fn missed(&self) -> usize {
        self.rows.iter().filter(|row| row.verdict == Verdict::Missed).count()
    }

    /// All of it for machines; times are milliseconds.
    fn json(&self, machine: &[(&str, String)]) -> Value {
        let names = ["what", "budget", "sandtree", "beside", "ratio", "verdict"];
        let rows = self.rows.iter().map(|row| {
            let cells = names.iter().zip(row.cells());
            cells.map(|(name, cell)| ((*name).to_owned(), json!(cell))).collect::<Value>()
        });
        let plots = self.plots.iter().map(|plot| match &plot.kind {
            PlotKind::Shares(lines) => {
                let lines = lines.iter().map(|(name, times)| json!({"name": name, "ms": rounded(times)}));
                json!({"name": plot.name, "title": plot.title, "samples": lines.collect::<Vec<_>>()})
            }
            PlotKind::Bars { unit, bars } => {
                let bars = bars.iter().map(|(name, number)| json!({"name": name, "value": number}));
                json!({"name": plot.name, "title": plot.title, "unit": unit, "bars": bars.collect::<Vec<_>>()})
            }
        });
        let machine: Value =
            machine.iter().map(|(name, text)| ((*name).to_owned(), json!(text))).collect();
        json!({
            "machine": machine,
            "rows": rows.collect::<Vec<_>>(),
            "plots": plots.collect::<Vec<_>>(),
        })
    }
}

fn rounded(times: &[f64]) -> Vec<f64> {
    times.iter().map(|time| (time * 1000.0).round() / 1000.0).collect()
}

const HEAD: [&str; 6] = ["what", "budget", "sandtree", "beside", "ratio", ""];

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = std::iter::once(HEAD).chain(self.rows.iter().map(Row::cells)).collect();
        let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max();
        let widths: [usize; 6] = std::array::from_fn(|column| width(column).unwrap_or(0));
        for line in &lines {
            let cells = line.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
            writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        Ok(())
    }
}
