//! A project as the repository keeps it, and the changes it accepts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::durations::Timeout;
use crate::ids::{ProjectKey, ProjectUid, SandboxUid};
use crate::lifecycle::{Phase, Target};
use crate::limits::Limits;
use crate::process::ProcessRecord;
use crate::profile::{Network, ProfileName};

/// Most variables in a project's environment.
pub const ENV_ENTRIES_MAX: usize = 256;
/// Most bytes of all names and values of an environment.
pub const ENV_BYTES_MAX: usize = 64 * 1024;
/// Most labels of a project.
pub const LABELS_MAX: usize = 64;
/// Most bytes of a label's name or value.
pub const LABEL_BYTES_MAX: usize = 256;

/// Names and values.
pub type Texts = BTreeMap<Box<str>, Box<str>>;

/// Names and values to set; a name without a value is one to remove.
pub type TextsPatch = BTreeMap<Box<str>, Option<Box<str>>>;

/// These with some of them set, and some removed.
#[must_use]
pub fn patched(mut texts: Texts, patch: TextsPatch) -> Texts {
    for (name, value) in patch {
        match value {
            Some(value) => texts.insert(name, value),
            None => texts.remove(&name),
        };
    }
    texts
}

/// What a tenant may set on a project; all of it has a value from the start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// What its maker calls it, where that can be no id: see [`crate::ids::ProjectId::of_name`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Box<str>>,
    /// The profile it was made from.
    pub profile: ProfileName,
    /// The image of its sandbox.
    pub image: Box<str>,
    /// Variables of every program in the sandbox.
    pub env: Texts,
    /// The tenant's own notes.
    pub labels: Texts,
    /// What its sandbox may use.
    pub limits: Limits,
    /// What its sandbox can reach.
    pub network: Network,
    /// Stopped after so long without activity.
    pub idle_timeout: Timeout,
    /// Stopped so long after its start.
    pub max_lifetime: Timeout,
}

/// The container of a sandbox, from the engine's create until its remove.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// The engine's id.
    pub id: Box<str>,
    /// Fingerprint of the settings it was made with; where the project's differ,
    /// the next start makes a new container.
    pub made_with: Box<str>,
    /// When it was last started, in microseconds since 1970.
    pub started_at: u64,
}

/// A project: one row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Project {
    /// Its identity.
    pub uid: ProjectUid,
    /// Its address.
    #[serde(skip, default = "unaddressed")]
    pub key: ProjectKey,
    /// Where its sandbox is in its life cycle.
    pub phase: Phase,
    /// Rises by one with every persisted transition; 1 is the first.
    pub generation: u64,
    /// Where it was last asked to be.
    pub target: Target,
    /// Why it is in this phase, in words for people.
    pub reason: Box<str>,
    /// What the tenant set.
    pub settings: Settings,
    /// The sandbox that owns the workspace directory.
    pub sandbox: SandboxUid,
    /// The uid and gid on the host that own the workspace.
    pub owner: (u32, u32),
    /// The sandbox's container, while there is one.
    pub container: Option<Container>,
    /// The one long-running command, once there was one.
    pub process: Option<ProcessRecord>,
    /// Microseconds since 1970.
    pub created_at: u64,
    /// Microseconds since 1970, of the last transition or change of settings.
    pub updated_at: u64,
    /// Microseconds since 1970, of the last activity that was written down.
    pub active_at: u64,
}

impl Project {
    /// Whether nothing has to be done about it after a restart of the server: its
    /// phase is at rest, and not only passed by on the way of a restart.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        let is_half_restarted = self.phase == Phase::Stopped && self.target == Target::Running;
        self.phase.is_at_rest() && !is_half_restarted
    }
}

fn unaddressed() -> ProjectKey {
    ProjectKey {
        tenant: "unknown".parse().expect("a valid id"),
        id: "unknown".parse().expect("a valid id"),
    }
}

/// What the store needs to make a row.
#[derive(Debug, Clone)]
pub struct NewProject {
    /// Its identity, fresh.
    pub uid: ProjectUid,
    /// Its address.
    pub key: ProjectKey,
    /// Where it is asked to be once it exists.
    pub target: Target,
    /// What the tenant set.
    pub settings: Settings,
    /// Its sandbox's identity, fresh.
    pub sandbox: SandboxUid,
    /// A fixed owner of the workspace; without one the store takes the next
    /// number of the instance's range.
    pub owner: Option<(u32, u32)>,
    /// A container that runs already in this sandbox, from the pool.
    pub container: Option<Container>,
    /// Makes a repeated request find the first one's project.
    pub idempotency: Option<Idempotency>,
    /// Who asked.
    pub principal: Box<str>,
    /// When, in microseconds since 1970.
    pub at: u64,
}

/// A client's promise that two requests are one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// The header's value, at most 255 bytes.
    pub key: Box<str>,
    /// Hash of the request, so that a key used for another request is refused.
    pub request_sha256: [u8; 32],
}

/// A change of settings; what is absent stays as it is. Settings that make the
/// container take effect at its next start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProjectPatch {
    /// Replaces the image.
    pub image: Option<Box<str>>,
    /// Replaces the environment.
    pub env: Option<Texts>,
    /// Replaces the labels.
    pub labels: Option<Texts>,
    /// Replaces the limits.
    pub limits: Option<Limits>,
    /// Replaces the idle timeout.
    pub idle_timeout: Option<Timeout>,
    /// Replaces the maximum lifetime.
    pub max_lifetime: Option<Timeout>,
    /// When, in microseconds since 1970.
    pub at: u64,
}
