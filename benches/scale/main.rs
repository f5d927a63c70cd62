//! The tree at scale: a hundred thousand projects in a real SQLite file, ten thousand
//! of them live, in one process. The engine is a table and the inits are tasks of a second
//! process, so what is left is ours.
//!
//! ```text
//! cargo bench --bench scale               everything, in a few minutes
//! cargo bench --bench scale -- growth     only this: density, growth
//! ```
//!
//! It prints numbers, writes `docs/benchmarks/scale.md` and its plot, and never fails on
//! a number.

mod density;
mod engine;
mod growth;
mod inits;
mod memory;
mod page;
mod world;

use std::process::ExitCode;

#[global_allocator]
static COUNTING: memory::Counting = memory::Counting;

/// What can be measured.
const SECTIONS: [&str; 2] = ["density", "growth"];

#[tokio::main]
async fn main() -> ExitCode {
    // `cargo bench` adds the flag --bench.
    let names = std::env::args().skip(1).filter(|argument| !argument.starts_with('-'));
    let names: Vec<_> = names.collect();
    let is_inits = names.first().is_some_and(|name| name == inits::WORD);
    let done = if is_inits { inits::run() } else { measure(&names).await };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("scale: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(names: &[String]) -> anyhow::Result<()> {
    if let Some(name) = names.iter().find(|name| !SECTIONS.contains(&name.as_str())) {
        anyhow::bail!("there is no {name:?}; there are {}", SECTIONS.join(", "));
    }
    let is_wanted = |name: &str| names.is_empty() || names.iter().any(|wanted| wanted == name);
    let mut page = page::Page::default();
    if is_wanted("density") {
        density::measure(&mut page).await?;
    }
    if is_wanted("growth") {
        growth::measure(&mut page).await?;
    }
    print!("{}", page.text());
    if names.is_empty() {
        page.write()?;
    }
    Ok(())
}
