//! `sandtree top`: what running projects use, again and again.

mod sample;
mod view;

use std::io::IsTerminal as _;
use std::time::Duration;

use clap::Args;
use sandtree_client::{Client, ClientError};
use serde_json::json;

use super::failed::Failed;
use super::paint::Paint;
use super::remote::{self, Remote, note, say};
use super::table::{Cell, Table};
use super::units;
use sample::{PROJECTS_MAX, Sampler, Usage};
use view::View;

/// Time between the two samples of a single table.
const ONCE: Duration = Duration::from_secs(1);
/// Longest time of one sample on the screen, until what is shown is said to be old.
const SAMPLE_MAX: Duration = Duration::from_secs(10);

/// `sandtree top`.
#[derive(Debug, Args)]
#[command(after_help = "\
CPU is in parts of one core: 200% are two cores. On a terminal the table is shown again
and again until q or Ctrl-C; elsewhere, and with --once or --json, it is printed once,
after one second of measuring.")]
pub(super) struct Top {
    /// Time between two tables, such as 5s.
    #[arg(short, long, value_name = "DURATION", default_value = "2s", value_parser = interval)]
    interval: Duration,
    /// Print one table.
    #[arg(long)]
    once: bool,
    /// Print one JSON document for each project, one a line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

fn interval(text: &str) -> Result<Duration, String> {
    units::parse_duration_in(text, Duration::from_millis(200)..=Duration::from_secs(3600))
}

/// Shows it.
pub(super) fn run(top: Top) -> Result<(), Failed> {
    remote::run(top.run())
}

impl Top {
    async fn run(self) -> Result<(), Failed> {
        let client = self.remote.client()?;
        let is_live = !self.once && !self.json && std::io::stdout().is_terminal();
        if is_live { self.live(client).await } else { self.print(client).await }
    }

    async fn print(&self, client: Client) -> Result<(), Failed> {
        let mut sampler = Sampler::new(client);
        sampler.sample().await?;
        tokio::time::sleep(ONCE).await;
        let usages = sampler.sample().await?;
        if sampler.is_cut {
            note(&format!("only the first {PROJECTS_MAX} running projects are shown"));
        }
        if self.json {
            let lines = usages.iter().map(|usage| format!("{}\n", json!(usage)));
            return say(lines.collect::<String>()).await;
        }
        say(table(&usages, Paint::NEVER).text(Paint::on(&std::io::stdout()))).await
    }

    async fn live(&self, client: Client) -> Result<(), Failed> {
        let mut sampler = Sampler::new(client);
        // Before the screen is taken, so that a refusal is a plain message.
        let mut usages = sampler.sample().await?;
        let mut view = View::enter()?;
        let paint = Paint::on(&std::io::stdout());
        let mut trouble = String::new();
        let mut pause = ONCE;
        loop {
            let table = table(&usages, paint);
            view.show(&title(&usages, sampler.is_cut, &trouble), &table.lines(paint))?;
            let sampled = view.during(async {
                tokio::time::sleep(pause).await;
                let sampled = tokio::time::timeout(SAMPLE_MAX, sampler.sample()).await;
                let too_long = ClientError::TimedOut { limit: SAMPLE_MAX };
                sampled.unwrap_or(Err(Failed::Server(too_long)))
            });
            // A server that hangs must not keep its user.
            let Some(sampled) = sampled.await else { return Ok(()) };
            pause = self.interval;
            trouble.clear();
            match sampled {
                Ok(now) => usages = now,
                Err(Failed::Server(error)) if error.is_passing() => trouble = error.to_string(),
                Err(failed) => return Err(failed),
            }
        }
    }
}

fn title(usages: &[Usage], is_cut: bool, trouble: &str) -> String {
    if !trouble.is_empty() {
        return format!("{trouble}; trying again, q leaves");
    }
    let cpu = usages.iter().filter_map(|usage| usage.cpu_percent).fold(0.0, |sum, cpu| sum + cpu);
    let memory: u64 = usages.iter().map(|usage| usage.memory_bytes).sum();
    let pids: u64 = usages.iter().map(|usage| usage.pids).sum();
    let only = if is_cut { "the first " } else { "" };
    format!(
        "{only}{} running, cpu {cpu:.0}%, memory {}, {pids} processes; q leaves",
        usages.len(),
        units::bytes(memory)
    )
}

fn table(usages: &[Usage], paint: Paint) -> Table {
    let mut table = Table::new(&["ID", ">CPU", ">MEMORY", ">LIMIT", ">MEM%", ">PIDS", ">EXECS"]);
    for usage in usages {
        let cpu = usage.cpu_percent.map_or("-".to_owned(), |cpu| format!("{cpu:.1}%"));
        let memory = usage.memory_bytes * 100 / usage.memory_limit_bytes.max(1);
        let hot = |text: &str| if memory >= 90 { paint.bad(text) } else { text.to_owned() };
        table.row(vec![
            Cell::plain(&usage.id),
            Cell::plain(cpu),
            Cell::plain(units::bytes(usage.memory_bytes)),
            Cell::plain(units::bytes(usage.memory_limit_bytes)),
            Cell::painted(&format!("{memory}%"), hot),
            Cell::plain(format!("{}/{}", usage.pids, usage.pids_limit)),
            Cell::plain(usage.execs.to_string()),
        ]);
    }
    table
}
