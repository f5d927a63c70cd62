//! Containers as the daemon shows them, in the tree's words.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use bollard::errors::Error;
use bollard::models::{
    ContainerInspectResponse, ContainerMemoryStats, ContainerStateStatusEnum,
    ContainerStatsResponse, ContainerSummary, ContainerSummaryStateEnum, EventMessage,
};
use bollard::query_parameters::{
    EventsOptions, EventsOptionsBuilder, ListContainersOptions, ListContainersOptionsBuilder,
    StatsOptionsBuilder,
};
use futures_util::future::ready;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt};
use sandtree_actors::ports::{ContainerState, Happening, Seen, Usage, WhatHappened};
use sandtree_model::{InstanceId, SandboxUid};

use super::floor::{INSTANCE_LABEL, SANDBOX_LABEL};

/// Whose a container is, by its labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Owner {
    /// This instance's, for a sandbox.
    Ours(SandboxUid),
    /// Somebody else's.
    Other,
}

/// One container, inspected.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) id: Box<str>,
    pub(super) owner: Owner,
    pub(super) state: ContainerState,
    /// Whether it is being removed, or was not removed completely.
    pub(super) is_leaving: bool,
    init_pid: Option<u32>,
}

impl Found {
    pub(super) fn new(answer: ContainerInspectResponse, instance: &InstanceId) -> Self {
        use ContainerStateStatusEnum as Status;
        let labels = answer.config.and_then(|config| config.labels).unwrap_or_default();
        let state = answer.state.unwrap_or_default();
        let status = state.status.unwrap_or(Status::EMPTY);
        let out_of_memory = state.oom_killed.unwrap_or(false);
        let pid = state.pid.and_then(|pid| u32::try_from(pid).ok());
        Self {
            // One without an id cannot be acted on, so it is as good as foreign.
            owner: if answer.id.is_some() { owner(&labels, instance) } else { Owner::Other },
            id: answer.id.unwrap_or_default().into(),
            state: match status {
                Status::RUNNING | Status::RESTARTING | Status::STOPPING => ContainerState::Running,
                Status::PAUSED => ContainerState::Paused,
                Status::EMPTY
                | Status::CREATED
                | Status::REMOVING
                | Status::EXITED
                | Status::DEAD => ContainerState::NotRunning { out_of_memory },
            },
            is_leaving: matches!(status, Status::REMOVING | Status::DEAD),
            init_pid: pid.filter(|pid| *pid != 0),
        }
    }

    /// What the tree sees of it: nothing, if it is not ours.
    pub(super) fn seen(self) -> Option<Seen> {
        let Owner::Ours(sandbox) = self.owner else { return None };
        let Self { id: container, state, init_pid, .. } = self;
        Some(Seen { sandbox, container, state, init_pid })
    }
}

fn owner(labels: &HashMap<String, String>, instance: &InstanceId) -> Owner {
    let is_ours = labels.get(INSTANCE_LABEL).is_some_and(|label| label == instance.as_str());
    match labels.get(SANDBOX_LABEL).and_then(|sandbox| sandbox.parse().ok()) {
        Some(sandbox) if is_ours => Owner::Ours(sandbox),
        _ => Owner::Other,
    }
}

/// Every container of the instance, running or not.
pub(super) fn list_options(instance: &InstanceId) -> ListContainersOptions {
    let filters = HashMap::from([("label", vec![label(instance)])]);
    ListContainersOptionsBuilder::default().all(true).filters(&filters).build()
}

pub(super) fn listed(summary: ContainerSummary) -> Option<Seen> {
    use ContainerSummaryStateEnum as State;
    let state = match summary.state? {
        State::RUNNING | State::RESTARTING | State::STOPPING => ContainerState::Running,
        State::PAUSED => ContainerState::Paused,
        State::EMPTY | State::CREATED | State::EXITED | State::REMOVING | State::DEAD => {
            ContainerState::NotRunning { out_of_memory: false }
        }
    };
    let sandbox = summary.labels?.get(SANDBOX_LABEL)?.parse().ok()?;
    Some(Seen { sandbox, container: summary.id?.into(), state, init_pid: None })
}

/// One reading of a container's use; nothing when it does not run.
pub(super) async fn one_stats(
    client: &bollard::Docker,
    container: &str,
) -> Result<Option<Usage>, Error> {
    let options = StatsOptionsBuilder::default().stream(false).one_shot(true).build();
    match client.stats(container, Some(options)).boxed().next().await {
        Some(reading) => reading.map(usage),
        None => Ok(None),
    }
}

fn usage(reading: ContainerStatsResponse) -> Option<Usage> {
    let memory = reading.memory_stats?;
    let cpu_ns = reading.cpu_stats?.cpu_usage?.total_usage?;
    Some(Usage {
        cpu_us: cpu_ns / 1000,
        memory_bytes: without_caches(&memory)?,
        pids: reading.pids_stats?.current?,
    })
}

/// Memory without the file pages that the kernel can drop: the first name is
/// that of control groups version 1, the second that of version 2.
fn without_caches(memory: &ContainerMemoryStats) -> Option<u64> {
    let stats = memory.stats.as_ref();
    let inactive = ["total_inactive_file", "inactive_file"];
    let caches = inactive.iter().find_map(|name| stats?.get(*name));
    Some(memory.usage?.saturating_sub(caches.copied().unwrap_or(0)))
}

/// Happenings of the instance's containers from this moment on, so that nothing
/// is missed between the call and the first poll of the stream.
pub(super) fn event_options(instance: &InstanceId) -> EventsOptions {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let since = format!("{}.{:09}", now.as_secs(), now.subsec_nanos());
    let actions = ACTIONS.iter().map(|(action, _)| (*action).to_owned()).collect();
    let filters = HashMap::from([
        ("type", vec!["container".to_owned()]),
        ("label", vec![label(instance)]),
        ("event", actions),
    ]);
    EventsOptionsBuilder::default().since(&since).filters(&filters).build()
}

/// The happenings of a stream of events; it ends with the first error.
pub(super) fn happenings(
    events: impl Stream<Item = Result<EventMessage, Error>> + Send + 'static,
) -> BoxStream<'static, Happening> {
    events
        .take_while(|event| ready(event.is_ok()))
        .filter_map(|event| ready(event.ok().and_then(happening)))
        .boxed()
}

/// Actions of the daemon and what they mean to the tree.
const ACTIONS: [(&str, WhatHappened); 6] = [
    ("die", WhatHappened::Died),
    ("oom", WhatHappened::OutOfMemory),
    ("pause", WhatHappened::Paused),
    ("unpause", WhatHappened::Resumed),
    ("start", WhatHappened::Started),
    ("destroy", WhatHappened::Removed),
];

fn happening(event: EventMessage) -> Option<Happening> {
    let action = event.action?;
    let (_, what) = ACTIONS.iter().find(|(name, _)| *name == action)?;
    let sandbox = event.actor?.attributes?.get(SANDBOX_LABEL)?.parse().ok()?;
    Some(Happening { sandbox, what: *what })
}

fn label(instance: &InstanceId) -> String {
    format!("{INSTANCE_LABEL}={instance}")
}
