//! The page in `docs/benchmarks`, its plots, and the numbers behind it.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::SystemTime;

use anyhow::Context as _;

use super::{HEAD, Report, svg};

const DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/benchmarks");

/// Writes all of it anew.
pub(crate) fn write(report: &Report, docker: &str, load: [String; 2]) -> anyhow::Result<()> {
    let machine = machine(docker, load)?;
    let dir = Path::new(DIR);
    fs::create_dir_all(dir)?;
    for plot in &report.plots {
        fs::write(dir.join(format!("{}.svg", plot.name)), svg::draw(plot))?;
    }
    let json = serde_json::to_string(&report.json(&machine))?;
    fs::write(dir.join("report.json"), json + "\n")?;
    fs::write(dir.join("report.md"), page(report, &machine))
        .with_context(|| format!("writing to {DIR}"))
}

fn page(report: &Report, machine: &[(&str, String)]) -> String {
    let mut text = String::from(
        "# Benchmarks\n\n\
         Written by `make bench`; do not edit. What each number means, and how it is taken, is in\n\
         [SPECIFICATION.md](../SPECIFICATION.md). The raw numbers are in [report.json](report.json). Times are p50 / p99.\n\n",
    );
    // Writing to a text cannot fail.
    for (name, value) in machine {
        let _ = writeln!(text, "- {name}: {value}");
    }
    let _ = writeln!(text, "\n| {} |", HEAD.join(" | "));
    let _ = writeln!(text, "|{}", " --- |".repeat(HEAD.len()));
    for row in &report.rows {
        let cells = row.cells().map(|cell| cell.trim().replace('|', "\\|"));
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
    let _ = writeln!(text, "\n{} of these budgets are missed.", report.missed());
    for plot in &report.plots {
        let _ = writeln!(text, "\n![{}]({}.svg)", plot.title, plot.name);
    }
    text
}

fn machine(
    docker: &str,
    [before, after]: [String; 2],
) -> anyhow::Result<Vec<(&'static str, String)>> {
    let info = fs::read_to_string("/proc/cpuinfo")?;
    let model = info.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("unknown", |line| line.trim_start_matches([' ', '\t', ':']));
    let memory = fs::read_to_string("/proc/meminfo")?;
    let memory = memory.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok());
    let memory = memory.context("no size of the memory")? / 1024;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let date = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    Ok(vec![
        ("date", date),
        ("processor", model.to_owned()),
        ("cores", std::thread::available_parallelism()?.to_string()),
        ("memory", format!("{memory} MiB")),
        ("kernel", kernel.trim().to_owned()),
        ("Docker", docker.to_owned()),
        ("load before and after", format!("{before}, {after}")),
    ])
}

/// How busy the machine was in the last minute.
pub(crate) fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split_whitespace().next().unwrap_or("unknown").to_owned()
}
