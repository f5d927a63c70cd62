//! `sandtree bench`: what a running server does for a client here, in a few numbers.
//!
//! It uses projects of its own, and removes them however it ends.

mod measure;

use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::failed::Failed;
use super::paint::Paint;
use super::progress::waiting;
use super::remote::{self, Remote, note, say, say_line};
use super::table::{Cell, Table};
use super::units;
use measure::{Field, Sorted};

/// `sandtree bench`.
#[derive(Debug, Args)]
#[command(after_help = "\
What is measured, from here, over HTTP connections that are kept alive:
  exec of true            one after another in one project
  create to first output  a project is created and started, and a command has printed
  status                  GET of one project, over --connections at once

With fewer than a hundred samples, p99 is the slowest one. A busy machine makes every
number worse.")]
pub(super) struct Bench {
    /// Profile of the projects.
    #[arg(long)]
    profile: Option<String>,
    /// Commands that are run.
    #[arg(long, value_name = "NUMBER", default_value = "200", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    execs: u32,
    /// Projects that are created, one after another.
    #[arg(long, value_name = "NUMBER", default_value = "5", value_parser = clap::value_parser!(u32).range(1..=1000))]
    creates: u32,
    /// How long the status is read.
    #[arg(long, value_name = "DURATION", default_value = "3s", value_parser = time)]
    time: Duration,
    /// Connections over which the status is read.
    #[arg(long, value_name = "NUMBER", default_value = "8", value_parser = clap::value_parser!(u32).range(1..=1000))]
    connections: u32,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

fn time(text: &str) -> Result<Duration, String> {
    units::parse_duration_in(text, Duration::from_millis(10)..=Duration::from_secs(3600))
}

/// What was measured.
struct Measured {
    execs: Sorted,
    creates: Sorted,
    statuses: Sorted,
    statuses_per_second: f64,
}

/// Measures, and prints a table.
pub(super) fn run(bench: Bench) -> Result<(), Failed> {
    remote::block_on(bench.run())
}

impl Bench {
    async fn run(self) -> Result<(), Failed> {
        let field = Field::new(self.remote.client()?, self.profile.clone());
        let measured = tokio::select! {
            // Before anything is made, so that it is removed whenever a signal comes.
            biased;
            failed = remote::interrupted() => Err(failed),
            measured = self.measure(&field) => measured,
        };
        tokio::select! {
            // Who asks twice does not want to wait for that, either.
            biased;
            _ = remote::interrupted() => {}
            () = waiting("removing the projects", field.clear()) => {}
        }
        let left = field.left();
        if !left.is_empty() {
            note(&format!("not removed: sandtree project rm {}", left.join(" ")));
        }
        let measured = measured?;
        if self.json {
            say_line(&self.document(&measured).to_string()).await
        } else {
            say(self.table(&measured).text(Paint::on(&std::io::stdout()))).await
        }
    }

    async fn measure(&self, field: &Field) -> Result<Measured, Failed> {
        let creates = field.creates(self.creates);
        let creates = waiting("measuring: create to first output", creates).await?;
        let project = field.project().await?;
        let execs = waiting("measuring: exec", field.execs(&project, self.execs)).await?;
        let statuses = field.statuses(&project, self.connections, self.time);
        let (statuses, took) = waiting("measuring: status", statuses).await?;
        #[expect(clippy::cast_precision_loss, reason = "a rate is shown without digits")]
        let statuses_per_second = statuses.count() as f64 / took.as_secs_f64();
        Ok(Measured { execs, creates, statuses, statuses_per_second })
    }

    fn table(&self, measured: &Measured) -> Table {
        let mut table = Table::new(&["WHAT", ">SAMPLES", ">P50", ">P99", ">RATE"]);
        let mut row = |what: &str, sorted: &Sorted, rate: String| {
            table.row(vec![
                Cell::plain(what),
                Cell::plain(sorted.count().to_string()),
                Cell::plain(units::short(sorted.at(0.5))),
                Cell::plain(units::short(sorted.at(0.99))),
                Cell::plain(rate),
            ]);
        };
        row("exec of true", &measured.execs, String::new());
        row("create to first output", &measured.creates, String::new());
        let status = format!("status, {} connections", self.connections);
        row(&status, &measured.statuses, format!("{:.0}/s", measured.statuses_per_second));
        table
    }

    fn document(&self, measured: &Measured) -> Value {
        let of = |sorted: &Sorted| {
            let ms = |time: Duration| time.as_secs_f64() * 1000.0;
            json!({
                "samples": sorted.count(),
                "p50_ms": ms(sorted.at(0.5)),
                "p99_ms": ms(sorted.at(0.99)),
            })
        };
        let mut status = of(&measured.statuses);
        status["per_second"] = json!(measured.statuses_per_second);
        status["connections"] = json!(self.connections);
        json!({
            "exec": of(&measured.execs),
            "create_to_first_output": of(&measured.creates),
            "status": status,
        })
    }
}
