//! The first promises of `docs/SPECIFICATION.md`, measured: a command, a fresh sandbox,
//! a keystroke, and init itself. Each stands beside the same done through Docker's own
//! API, in the same run and in turns, so that a busy machine is busy for both.
//!
//! ```text
//! cargo bench --bench first_numbers                 everything, in about a minute
//! cargo bench --bench first_numbers -- exec create  only these
//! ```
//!
//! It starts the server's release build on a data directory of its own, needs a Docker
//! daemon and the image `sandtree/small`, and removes every container that it or its
//! server made. It prints numbers and never fails on them.

mod create;
mod docker;
mod exec;
mod http;
mod init;
mod server;
mod table;
mod terminal;

use std::process::ExitCode;

use anyhow::{Context as _, bail};

use docker::Docker;
use server::Server;
use table::Table;

/// The image of everything that is measured.
const IMAGE: &str = "sandtree/small:latest";
/// What can be measured.
const SECTIONS: [&str; 4] = ["exec", "create", "terminal", "init"];

#[tokio::main]
async fn main() -> ExitCode {
    // `cargo bench` adds the flag --bench.
    let names = std::env::args().skip(1).filter(|argument| !argument.starts_with('-'));
    match measure(names.collect()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("first_numbers: {error:#}");
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
    let mut server = Server::start(&docker).await?;
    println!("{}", table::machine(&docker.version().await?)?);
    let outcome = tokio::select! {
        outcome = sections(&names, &mut server, &mut docker) => outcome,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
    };
    // A connection that was interrupted in the middle of a request is of no use.
    let mut docker = Docker::connect().await?;
    let ended = server.end().await;
    docker.remove_ours().await.context("cleaning up")?;
    outcome.and(ended)
}

async fn sections(
    names: &[String],
    server: &mut Server,
    docker: &mut Docker,
) -> anyhow::Result<()> {
    let is_wanted = |name: &str| names.is_empty() || names.iter().any(|wanted| wanted == name);
    let mut table = Table::default();
    let project = server.create("bench").await.context("creating a project")?;
    if is_wanted("exec") {
        exec::measure(server, docker, &project, &mut table).await.context("exec")?;
    }
    if is_wanted("create") {
        create::measure(server, docker, &project, &mut table).await.context("create")?;
    }
    if is_wanted("terminal") {
        terminal::measure(server, docker, &project, &mut table).await.context("terminal")?;
    }
    if is_wanted("init") {
        init::measure(server, docker, &project, &mut table).await.context("init")?;
    }
    println!("{table}");
    Ok(())
}
