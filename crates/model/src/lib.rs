//! What Sandtree is about, as plain values: ids, the life cycle, limits and
//! profiles, and the rows that the repository keeps.
//!
//! Nothing here waits, reads or writes; everything can be tested by calling it.

pub mod announced;
pub mod command_policy;
pub mod durations;
pub mod escapes;
pub mod event;
pub mod ids;
pub mod lifecycle;
pub mod limits;
pub mod process;
pub mod profile;
pub mod project;
pub mod refusal;

pub use event::{Event, EventId, Transition};
pub use ids::{InstanceId, Principal, ProjectId, ProjectKey, ProjectUid, SandboxUid, TenantId};
pub use lifecycle::{Move, Phase, Target};
pub use limits::{Limits, LimitsPatch};
pub use process::{ExitStatus, ProcessRecord, ProcessSpec, RestartPolicy};
pub use profile::{Network, Profile, ProfileName};
pub use project::{Container, NewProject, Project, ProjectPatch, Settings};
pub use refusal::{Answer, Failure, Fault, Refusal};
