//! The numbers of `docs/SPECIFICATION.md`, measured, each beside the same done through
//! Docker's own API or by a peer, in the same run and in turns, so that a busy machine is
//! busy for both.
//!
//! ```text
//! cargo bench --bench report                everything, and docs/benchmarks anew
//! cargo bench --bench report -- exec init   only these, printed
//! ```
//!
//! It starts the server's release build on a data directory of its own, needs a Docker
//! daemon, the images `sandtree/small` and `sandtree/general`, and what
//! `scripts/ensure-peers` installs. It removes every container that it or its server made.
//! It prints numbers and never fails on them.

mod bulk;
mod burst;
mod create;
mod daiv;
mod docker;
mod exec;
mod files;
mod http;
mod init;
mod many;
mod memory;
mod peers;
mod preview;
mod report;
mod samples;
mod server;
mod terminal;
mod warm;

use std::process::ExitCode;

use anyhow::{Context as _, bail};

use docker::Docker;
use report::{Report, Row};
use server::{Project, Server};

/// The image of everything that is measured but previews.
const IMAGE: &str = "sandtree/small:latest";
/// What can be measured, in this order.
const SECTIONS: [&str; 11] = [
    "exec", "create", "warm", "burst", "init", "echo", "flood", "preview", "many", "files", "daiv",
];

/// What every section works with.
struct Bench {
    server: Server,
    docker: Docker,
    report: Report,
}

#[tokio::main]
async fn main() -> ExitCode {
    // `cargo bench` adds the flag --bench.
    let names = std::env::args().skip(1).filter(|argument| !argument.starts_with('-'));
    match measure(names.collect()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("report: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(names: Vec<String>) -> anyhow::Result<()> {
    if let Some(name) = names.iter().find(|name| !SECTIONS.contains(&name.as_str())) {
        bail!("there is no {name:?}; there are {}", SECTIONS.join(", "));
    }
    let mut docker = Docker::connect().await?;
    docker.require_image(IMAGE).await?;
    let (version, before) = (docker.version().await?, report::load());
    let server = Server::start(&docker).await?;
    let mut bench = Bench { server, docker, report: Report::default() };
    let outcome = tokio::select! {
        outcome = sections(&names, &mut bench) => outcome,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
    };
    // A connection that was interrupted in the middle of a request is of no use.
    let mut docker = Docker::connect().await?;
    let ended = bench.server.end().await;
    docker.remove_ours().await.context("cleaning up")?;
    println!("\n{}", bench.report);
    outcome.and(ended)?;
    if names.is_empty() {
        report::write(&bench.report, &version, [before, report::load()])?;
    }
    Ok(())
}

/// Measures one after the other. One that fails is told and does not keep the others.
async fn sections(names: &[String], bench: &mut Bench) -> anyhow::Result<()> {
    let project = bench.server.create("bench").await.context("creating a project")?;
    for name in SECTIONS {
        if !names.is_empty() && !names.iter().any(|wanted| wanted == name) {
            continue;
        }
        println!("{name}");
        if let Err(why) = section(name, bench, &project).await {
            bench.report.add(Row::absent(name, &format!("{why:#}")));
        }
    }
    Ok(())
}

async fn section(name: &str, bench: &mut Bench, project: &Project) -> anyhow::Result<()> {
    match name {
        "exec" => exec::measure(bench, project).await,
        "create" => create::measure(bench, project).await,
        "warm" => warm::measure(bench).await,
        "burst" => burst::measure(bench, project).await,
        "init" => init::measure(bench, project).await,
        "echo" => terminal::measure_echo(bench, project).await,
        "flood" => terminal::measure_floods(bench).await,
        "preview" => preview::measure(bench).await,
        "many" => many::measure(bench).await,
        "files" => files::measure(bench).await,
        "daiv" => daiv::measure(bench, project).await,
        _ => bail!("nothing measures {name}"),
    }
}
