//! Terminals, however they are reached: a keystroke, a flood, and many viewers.

mod echo;
mod flood;
mod local;
mod tty;
mod viewers;

use crate::Bench;
use crate::peers::{Kind, Peer};
use crate::report::Row;
use crate::server::Project;
pub(crate) use tty::Tty;

/// A keystroke in each kind of terminal.
pub(crate) async fn measure_echo(bench: &mut Bench, project: &Project) -> anyhow::Result<()> {
    let peers = peers(bench, "terminal echo").await;
    echo::measure(bench, project, &peers).await
}

/// Much output in each kind of terminal, and for many viewers of one.
pub(crate) async fn measure_floods(bench: &mut Bench) -> anyhow::Result<()> {
    let peers = peers(bench, "terminal throughput").await;
    let project = bench.server.create_with("flood", flood::settings()).await?;
    flood::measure(bench, &project, &peers).await?;
    viewers::measure(bench, &project).await?;
    bench.server.delete(&project.id).await
}

/// Those that run here; the others are told.
async fn peers(bench: &mut Bench, what: &str) -> Vec<Peer> {
    let mut running = Vec::new();
    for kind in Kind::ALL {
        match Peer::start(kind).await {
            Ok(peer) => running.push(peer),
            Err(why) => {
                let what = format!("  {what}, {}", kind.name());
                bench.report.add(Row::absent(&what, &format!("{why:#}")));
            }
        }
    }
    running
}
