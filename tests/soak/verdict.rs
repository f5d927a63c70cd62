//! What is a loss, of all that was looked at after a restart. Nothing here looks itself,
//! so that its own tests can show it every kind of loss.

use std::collections::{BTreeMap, BTreeSet};

use sandtree_testkit::docker::Container;
use serde_json::Value;

use crate::ledger::{At, Ledger, content};

/// One transition, beside the row that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Past {
    pub(crate) uid: String,
    /// The row's phase, and its generation.
    pub(crate) phase: String,
    pub(crate) last: i64,
    pub(crate) generation: i64,
    pub(crate) from: Option<String>,
    pub(crate) to: String,
    /// The move; absent for the creation.
    pub(crate) by: Option<String>,
}

/// Where a document says that a project rests.
pub(crate) fn phase_of(shown: &Value) -> At {
    match shown["phase"].as_str() {
        Some("running") => Some("running"),
        Some("paused") => Some("paused"),
        Some("stopped") => Some("stopped"),
        _ => None,
    }
}

/// Whether a project rests where it may be; null is the document of one that is gone.
pub(crate) fn may_be(ledger: &Ledger, shown: &Value) -> bool {
    let at = phase_of(shown);
    (shown.is_null() || at.is_some()) && ledger.at.contains(&at)
}

/// Which of the versions that a file may have it has; 0 is that of an absent file.
pub(crate) fn version_of(
    file: u8,
    versions: &BTreeSet<u64>,
    status: u16,
    text: &str,
) -> Option<u64> {
    let holds = |version: &&u64| match **version {
        0 => status == 404,
        version => status == 200 && text == content(file, version),
    };
    versions.iter().find(holds).copied()
}

/// The process numbers its lines: each is the next one, or the first of a new start. With
/// fewer than `lines_max`, the log's first line is among them.
pub(crate) fn broken_lines(id: &str, text: &str, lines_max: usize) -> Option<String> {
    let numbers: Vec<Option<u64>> = text.lines().map(|line| line.parse().ok()).collect();
    if let Some(first) = numbers.first()
        && numbers.len() < lines_max
        && *first != Some(0)
    {
        return Some(format!("{id}: its log begins with {first:?}"));
    }
    let breaks = |pair: &&[Option<u64>]| match pair {
        [Some(before), Some(after)] => *after != before + 1 && *after != 0,
        _ => true,
    };
    let broken: Vec<_> = numbers.windows(2).filter(breaks).collect();
    (!broken.is_empty()).then(|| format!("{id}: lines {broken:?}"))
}

/// One container for each sandbox that was started, in the phase of its row, and no
/// other. `phases` is of all rows that are not deleted, by sandbox.
pub(crate) fn wrong_containers(
    mut phases: BTreeMap<String, String>,
    containers: &[Container],
) -> Vec<String> {
    let mut wrong = Vec::new();
    for container in containers {
        let state = match container.state.as_str() {
            "running" | "paused" => container.state.as_str(),
            _ => "stopped",
        };
        match phases.remove(&container.sandbox) {
            Some(phase) if phase == state => {}
            other => wrong
                .push(format!("an orphan, a second one or a false one: {container:?} {other:?}")),
        }
    }
    let missing = phases.iter().filter(|(_, phase)| *phase != "stopped");
    wrong.extend(missing.map(|missing| format!("a container is missing: {missing:?}")));
    wrong
}

/// Every transition begins where the one before ended, numbered without a gap, up to
/// the row itself; and no sandbox was lost or given up. `log` is in order, by project.
pub(crate) fn wrong_log(log: &[Past]) -> Vec<String> {
    let mut wrong = Vec::new();
    for past in log.chunk_by(|one, next| one.uid == next.uid) {
        let (mut generation, mut from) = (0, None);
        for one in past {
            if (one.generation, &one.from) != (generation + 1, &from) {
                wrong.push(format!("after {generation} to {from:?}: {one:?}"));
            }
            if matches!(one.by.as_deref(), Some("lost" | "faulted")) {
                wrong.push(format!("given up or lost: {one:?}"));
            }
            (generation, from) = (one.generation, Some(one.to.clone()));
        }
        let row = past.last().map(|one| (one.last, Some(one.phase.clone())));
        if row != Some((generation, from)) {
            wrong.push(format!("the row is not where its log ends: {:?}", past.last()));
        }
    }
    wrong
}

#[cfg(test)]
#[path = "verdict/tests.rs"]
mod tests;
