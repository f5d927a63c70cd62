//! What the sandbox uses.

use sandtree_actors::View;
use sandtree_model::Phase;
use serde::{Deserialize, Serialize};
use std::sync::atomic::Ordering::Relaxed;
use warp::http::StatusCode;

use super::context::Call;
use super::files;
use super::reply::{self, Answered};

/// Most entries of the workspace that are looked at; above it the usage is a part.
const ENTRIES_MAX: usize = 200_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    /// Whether the disk is looked at, which takes a walk through the workspace; `true`.
    disk: Option<bool>,
}

#[derive(Debug, Serialize)]
struct Document {
    phase: &'static str,
    /// Absent unless the sandbox runs.
    cpu: Option<Cpu>,
    memory: Option<Used>,
    pids: Option<Used>,
    /// Execs in flight.
    execs: Option<u64>,
    /// Absent when nobody asked for it.
    disk: Option<Disk>,
    network: Option<Network>,
}

/// Processor time of the sandbox since its start, and how much it may use at once.
#[derive(Debug, Serialize)]
struct Cpu {
    used_us: u64,
    limit_millis: u64,
}

#[derive(Debug, Serialize)]
struct Used {
    used: u64,
    limit: u64,
}

/// What the workspace takes on the disk.
#[derive(Debug, Serialize)]
struct Disk {
    used_bytes: u64,
    entries: u64,
    /// There is more than was looked at.
    truncated: bool,
}

/// Bytes through the tunnels to the sandbox's ports, since the project became live.
#[derive(Debug, Serialize)]
struct Network {
    received_bytes: u64,
    sent_bytes: u64,
    connections: usize,
}

/// Shows what the sandbox uses; of one that does not run, the disk.
///
/// # Errors
///
/// 404, and faults of the sandbox and the disk.
pub async fn show(call: Call) -> Answered {
    let key = call.project()?;
    let query: Query = call.query()?;
    let view = call.context.tree.get(&key).await?;
    let disk = if query.disk.unwrap_or(true) {
        let files = call.context.tree.files(&key).await?;
        Some(files::blocking(&files, |workspace| workspace.usage(ENTRIES_MAX)).await?)
    } else {
        None
    };
    let disk = disk.map(|usage| Disk {
        used_bytes: usage.bytes,
        entries: usage.entries,
        truncated: usage.truncated,
    });
    let mut document = Document::of(&view, disk);
    if view.project.phase == Phase::Running {
        let sandbox = call.context.tree.sandbox(&key).await?;
        let traffic = sandbox.traffic();
        document.add(&view, sandbox.stats().await?);
        document.network = Some(Network {
            received_bytes: traffic.received.load(Relaxed),
            sent_bytes: traffic.sent.load(Relaxed),
            connections: traffic.open.load(Relaxed),
        });
    }
    Ok(reply::json(StatusCode::OK, &document))
}

impl Document {
    fn of(view: &View, disk: Option<Disk>) -> Self {
        let phase = view.project.phase.as_str();
        Self { phase, cpu: None, memory: None, pids: None, execs: None, disk, network: None }
    }

    fn add(&mut self, view: &View, stats: sandtree_wire::Stats) {
        let limits = &view.project.settings.limits;
        self.cpu = Some(Cpu { used_us: stats.cpu_us, limit_millis: limits.cpu_millis });
        self.memory = Some(Used { used: stats.memory_bytes, limit: limits.memory_bytes });
        self.pids = Some(Used { used: stats.pids, limit: limits.pids });
        self.execs = Some(stats.execs);
    }
}

#[cfg(test)]
mod over_http;
