//! What was measured, as text and as a page with a plot.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// One line of the table.
pub(crate) struct Row {
    what: String,
    budget: String,
    measured: String,
    verdict: &'static str,
}

impl Row {
    /// A number with a promise.
    pub(crate) fn new(what: &str, budget: &str, measured: String, is_met: bool) -> Self {
        let verdict = if is_met { "met" } else { "MISSED" };
        Self { what: what.to_owned(), budget: budget.to_owned(), measured, verdict }
    }

    /// A number without one.
    pub(crate) fn told(what: &str, measured: String) -> Self {
        Self { what: what.to_owned(), budget: String::new(), measured, verdict: "" }
    }
}

/// All of it.
#[derive(Default)]
pub(crate) struct Page {
    rows: Vec<Row>,
    plot: Option<String>,
}

impl Page {
    pub(crate) fn add(&mut self, row: Row) {
        eprintln!("{}: {}", row.what, row.measured);
        self.rows.push(row);
    }

    /// Draws times over numbers of projects, both logarithmic.
    pub(crate) fn plot(&mut self, names: &[&str], curves: &[Vec<(u64, Duration)>]) {
        self.plot = Some(svg(names, curves));
    }

    pub(crate) fn text(&self) -> String {
        let mut text = String::from("| what | budget | measured | |\n| --- | --- | --- | --- |\n");
        for Row { what, budget, measured, verdict } in &self.rows {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "| {what} | {budget} | {measured} | {verdict} |");
        }
        text
    }

    /// Writes the page and its plot to `docs/benchmarks/`.
    pub(crate) fn write(&self) -> anyhow::Result<()> {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/benchmarks");
        fs::create_dir_all(&dir)?;
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
        let cores = std::thread::available_parallelism()?;
        let page = format!(
            "# The tree at scale\n\n\
             Written by `cargo bench --bench scale`: one process with a real SQLite file. The engine is a table of \
             containers, and their inits are tasks of a second process, so what is measured here is the tree alone: \
             heap is what it has allocated, files are what it has open. Sockets in the kernel come on top.\n\n\
             Machine: {cores} cores, shared; kernel {}.\n\n{}\n\
             ![What one operation costs](scale.svg)\n",
            kernel.trim(),
            self.text(),
        );
        fs::write(dir.join("scale.md"), page)?;
        Ok(fs::write(dir.join("scale.svg"), self.plot.as_deref().unwrap_or_default())?)
    }
}

const COLOURS: [&str; 6] = ["#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b"];
/// Where the drawing is within the picture.
const LEFT: f64 = 70.0;
const TOP: f64 = 40.0;
const WIDE: f64 = 430.0;
const HIGH: f64 = 300.0;
/// Powers of ten: of projects, and of microseconds.
const PROJECTS: (i32, i32) = (2, 5);
const MICROS: (i32, i32) = (-1, 5);

fn svg(names: &[&str], curves: &[Vec<(u64, Duration)>]) -> String {
    let mut drawn = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"720\" height=\"400\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"720\" height=\"400\" fill=\"#fff\"/>\n\
         <text x=\"70\" y=\"22\" font-size=\"15\">What one operation costs (p50), by number of projects</text>\n",
    );
    for power in PROJECTS.0..=PROJECTS.1 {
        let (x, label) = (across(f64::from(power)), 10_u64.pow(power.unsigned_abs()));
        let _ = writeln!(
            drawn,
            "<line x1=\"{x}\" x2=\"{x}\" y1=\"{TOP}\" y2=\"{}\" stroke=\"#ddd\"/>\
             <text x=\"{x}\" y=\"{}\" text-anchor=\"middle\">{label}</text>",
            TOP + HIGH,
            TOP + HIGH + 18.0,
        );
    }
    for power in MICROS.0..=MICROS.1 {
        let y = down(f64::from(power));
        let label = ["100 ns", "1 \u{b5}s", "10 \u{b5}s", "100 \u{b5}s", "1 ms", "10 ms", "100 ms"];
        let label = usize::try_from(power - MICROS.0).ok().and_then(|power| label.get(power));
        let _ = writeln!(
            drawn,
            "<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{y}\" y2=\"{y}\" stroke=\"#ddd\"/>\
             <text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
            LEFT + WIDE,
            LEFT - 6.0,
            y + 4.0,
            label.copied().unwrap_or_default(),
        );
    }
    for ((name, curve), (colour, nth)) in names.iter().zip(curves).zip(COLOURS.iter().zip(0_u8..)) {
        let point = |(size, time): &(u64, Duration)| {
            let micros = time.as_secs_f64().max(1e-7) * 1e6;
            format!("{:.1},{:.1}", across((*size as f64).log10()), down(micros.log10()))
        };
        let points: Vec<String> = curve.iter().map(point).collect();
        let y = TOP + 20.0 + f64::from(nth) * 22.0;
        let _ = writeln!(
            drawn,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\
             <text x=\"{}\" y=\"{y}\" fill=\"{colour}\">{name}</text>",
            points.join(" "),
            LEFT + WIDE + 16.0,
        );
    }
    drawn + "</svg>\n"
}

fn across(power: f64) -> f64 {
    let (first, last) = (f64::from(PROJECTS.0), f64::from(PROJECTS.1));
    LEFT + WIDE * (power - first) / (last - first)
}

fn down(power: f64) -> f64 {
    let (first, last) = (f64::from(MICROS.0), f64::from(MICROS.1));
    TOP + HIGH * (last - power) / (last - first)
}
