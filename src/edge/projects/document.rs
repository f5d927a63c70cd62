//! A project as the API shows it.

use std::collections::BTreeMap;

use sandtree_actors::{TerminalView, View};
use sandtree_model::durations::Timeout;
use sandtree_model::{Container, Limits, Project};
use serde::Serialize;
use serde_json::Value;

use crate::edge::process;
use crate::edge::time::rfc3339;

/// A project. Its environment is not shown: it may hold secrets.
#[derive(Debug, Serialize)]
pub struct Document<'a> {
    id: &'a str,
    uid: &'a str,
    tenant: &'a str,
    phase: &'static str,
    generation: u64,
    reason: &'a str,
    profile: &'a str,
    image: &'a str,
    network: &'static str,
    limits: Limits,
    idle_timeout: Timeout,
    max_lifetime: Timeout,
    labels: &'a BTreeMap<Box<str>, Box<str>>,
    sandbox: Option<Sandbox<'a>>,
    process: Option<Value>,
    terminal: Option<Terminal>,
    created_at: String,
    updated_at: String,
}

#[derive(Debug, Serialize)]
struct Sandbox<'a> {
    uid: &'a str,
    container_id: &'a str,
    started_at: String,
}

#[derive(Debug, Serialize)]
struct Terminal {
    epoch: u64,
    pid: u32,
    cols: u16,
    rows: u16,
    viewers: usize,
}

/// The document of a view.
#[must_use]
pub fn document(view: &View) -> Document<'_> {
    let project: &Project = &view.project;
    let settings = &project.settings;
    Document {
        id: project.key.id.as_str(),
        uid: project.uid.as_str(),
        tenant: project.key.tenant.as_str(),
        phase: project.phase.as_str(),
        generation: project.generation,
        reason: &project.reason,
        profile: &settings.profile,
        image: &settings.image,
        network: settings.network.as_str(),
        limits: settings.limits,
        idle_timeout: settings.idle_timeout,
        max_lifetime: settings.max_lifetime,
        labels: &settings.labels,
        sandbox: project.container.as_ref().map(|container| sandbox(project, container)),
        process: view.process.as_ref().map(process::document),
        terminal: view.terminal.map(terminal),
        created_at: rfc3339(project.created_at),
        updated_at: rfc3339(project.updated_at),
    }
}

fn sandbox<'a>(project: &'a Project, container: &'a Container) -> Sandbox<'a> {
    Sandbox {
        uid: project.sandbox.as_str(),
        container_id: &container.id,
        started_at: rfc3339(container.started_at),
    }
}

fn terminal(view: TerminalView) -> Terminal {
    let TerminalView { epoch, pid, cols, rows, viewers } = view;
    Terminal { epoch, pid, cols, rows, viewers }
}
