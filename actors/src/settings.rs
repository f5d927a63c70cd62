//! What the tree is told once, at its start.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use sandtree_model::{InstanceId, Network, Profile, ProfileName};

use crate::home::HomeBounds;

/// Settings of the whole tree. Every bound that it keeps is here.
#[derive(Debug, Clone)]
pub struct TreeSettings {
    /// Which installation this is.
    pub instance: InstanceId,
    /// Whether data directory and store belong to the same installation. Where they
    /// do not, projects can be looked at, and nothing is adopted, changed or removed.
    pub is_owner: bool,
    /// Where sandboxes keep their workspaces, sockets and logs.
    pub data_dir: PathBuf,
    /// The static init on the host.
    pub init: PathBuf,
    /// The profiles by name; the one named `default` is always there.
    pub profiles: BTreeMap<ProfileName, Profile>,
    /// Longest time from the engine's start until init has shaken hands.
    pub boot_timeout: Duration,
    /// What a sandbox can reach at most, whatever its profile or a request says.
    pub network_max: Network,
    /// Longest time of one operation that a client waits for.
    pub operation_timeout: Duration,
    /// Most requests in flight for one project; more are answered "busy".
    pub project_requests_max: usize,
    /// Most requests in flight for one tenant; more are answered "busy".
    pub tenant_requests_max: usize,
    /// Most operations of the engine that the tree has in flight.
    pub engine_operations_max: usize,
    /// Most commands at once in one sandbox.
    pub execs_max: u32,
    /// Bytes of a terminal's output that are kept for who comes back.
    pub terminal_ring_bytes: usize,
    /// Most viewers of one terminal.
    pub terminal_viewers_max: usize,
    /// Bytes of a process's output that init keeps while the server is away.
    pub log_ring_bytes: u64,
    /// Size of one file of a process's log.
    pub log_file_bytes: u64,
    /// Files of a process's log that are kept.
    pub log_files: u32,
    /// Events of a project that are kept in memory for who comes back.
    pub events_kept: usize,
    /// A project at rest that nobody asks about costs no actor after so long.
    pub passivate_after: Duration,
    /// Time between two rounds of the janitor.
    pub janitor_interval: Duration,
    /// Started sandboxes that wait to be claimed, by profile.
    pub pool_sizes: BTreeMap<ProfileName, usize>,
    /// Most sandboxes that are being made for the pool at once.
    pub pool_refills_max: usize,
    /// Most watches of one sandbox's files at once: each takes one of the 128 instances of
    /// inotify that the kernel lets the sandbox's uid have.
    pub watches_max: usize,
    /// Input that one shell has not taken yet, in pieces; beyond them, viewers wait.
    pub terminal_input_max: usize,
    /// Most requests that wait to be written to one init.
    pub link_requests_max: usize,
    /// Most replies, and most streams, that one init owes; more requests are refused.
    pub link_owed_max: usize,
    /// Most connections of one sandbox that have no place to be heard and wait to be
    /// closed; while there are so many, no more are accepted.
    pub home_closing_max: usize,
    /// Most writes in one durable transaction.
    pub batch_max: usize,
    /// Most writes that wait for a transaction; more are answered "busy".
    pub writes_waiting_max: usize,
}

impl TreeSettings {
    /// The bounds of one sandbox's home.
    pub(crate) fn home_bounds(&self) -> HomeBounds {
        HomeBounds {
            requests_max: self.link_requests_max,
            owed_max: self.link_owed_max,
            closing_max: self.home_closing_max,
        }
    }

    /// Values for tests and for a first try, everything below `data_dir`.
    #[must_use]
    pub fn with_defaults(
        instance: InstanceId,
        data_dir: PathBuf,
        init: PathBuf,
        profiles: BTreeMap<ProfileName, Profile>,
    ) -> Self {
        Self {
            instance,
            is_owner: true,
            data_dir,
            init,
            profiles,
            boot_timeout: Duration::from_secs(30),
            network_max: Network::Bridge,
            operation_timeout: Duration::from_secs(120),
            project_requests_max: 256,
            tenant_requests_max: 4096,
            engine_operations_max: 16,
            execs_max: 64,
            terminal_ring_bytes: 1024 * 1024,
            terminal_viewers_max: 64,
            log_ring_bytes: 8 * 1024 * 1024,
            log_file_bytes: 16 * 1024 * 1024,
            log_files: 4,
            events_kept: 256,
            passivate_after: Duration::from_secs(60),
            janitor_interval: Duration::from_secs(15),
            pool_sizes: BTreeMap::new(),
            pool_refills_max: 2,
            watches_max: 16,
            terminal_input_max: 64,
            link_requests_max: 256,
            link_owed_max: 2048,
            home_closing_max: 64,
            batch_max: 256,
            writes_waiting_max: 16_384,
        }
    }
}
