//! The Docker engine, over its socket.
//!
//! ```text
//! Engine calls ─► Docker ─► call::Daemon ─► bollard ─► the daemon's socket
//!                   │         lanes, deadlines, errors
//!                   ├─ floor    what a container is made of
//!                   ├─ images   found, under an alias, or fetched; `image_user` who they are for
//!                   ├─ view     inspect, list, stats and events, in our words
//!                   └─ facts    what kind of daemon it is
//! ```
//!
//! A daemon that is away, slow or restarted is a normal condition: every call
//! ends within its deadline, every call can be repeated, and the next one
//! connects anew. Nothing is stopped, frozen or removed whose label does not
//! name this instance.
//!
//! Bollard logs the bodies of requests at level debug; keep its target at
//! [`LOG_DIRECTIVE`].

mod call;
mod facts;
mod floor;
mod image_user;
mod images;
#[cfg(test)]
mod tests;
mod view;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder, StopContainerOptionsBuilder,
};
use futures_util::stream::BoxStream;
use sandtree_actors::Fullness;
use sandtree_actors::ports::{
    ContainerState, Engine, EngineError, Happening, SandboxSpec, Seen, Usage,
};
use sandtree_model::{InstanceId, SandboxUid};
use tokio::time::{Instant, sleep};

use call::{Daemon, Lane, Trouble};
pub use facts::DaemonFacts;
use floor::Ground;
pub use floor::{INSTANCE_LABEL, SANDBOX_LABEL};
use images::{ImageRules, Images, unavailable};
use view::{Found, Owner};

/// The directive that keeps bollard from logging the bodies of requests.
pub const LOG_DIRECTIVE: &str = "bollard=info";
/// Where the daemon listens unless the configuration says otherwise.
pub const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";
/// Longest grace period that a stop can have: the daemon counts in an `int`.
const GRACE_MAX: Duration = Duration::from_secs(24 * 3600);
/// Attempts at a create while the name's last holder is being removed, or another
/// create of the same sandbox is on its way.
const CREATE_ATTEMPTS: u32 = 10;
/// Pause after the first of them; grows with each.
const CREATE_PAUSE: Duration = Duration::from_millis(20);
/// Longest id of a container, in bytes; the daemon's have 64.
const CONTAINER_ID_BYTES_MAX: usize = 128;
/// Time between two looks at a container that is being removed.
const REMOVAL_POLL: Duration = Duration::from_millis(50);

/// How to reach the daemon and how long to wait for it.
#[derive(Debug, Clone)]
pub struct DockerConfig {
    /// Its socket: a path, or `unix://` and a path.
    pub host: Box<str>,
    /// Whose containers are looked after.
    pub instance: InstanceId,
    /// Longest time of a request; a stop has its grace period on top.
    pub request_timeout: Duration,
    /// Most requests at once, stops counted apart.
    pub concurrency_max: usize,
    /// Most open files of one process in a sandbox. A daemon that itself may not
    /// have so many, and may not raise that, cannot start sandboxes.
    pub open_files_max: u32,
    /// Most images that are fetched at once.
    pub pulls_max: usize,
    /// Most images that are remembered to be on this machine.
    pub images_known_max: usize,
    /// Longest time in which an image is fetched.
    pub pull_timeout: Duration,
    /// Longest time until a registry begins to answer.
    pub pull_begin_timeout: Duration,
    /// Images to use instead of those that are not on this machine.
    pub image_aliases: BTreeMap<Box<str>, Box<str>>,
}

impl DockerConfig {
    /// The defaults for the containers of `instance`.
    #[must_use]
    pub fn new(instance: InstanceId) -> Self {
        Self {
            host: DEFAULT_HOST.into(),
            instance,
            request_timeout: Duration::from_secs(30),
            concurrency_max: 32,
            open_files_max: 16_384,
            pulls_max: 4,
            images_known_max: 256,
            pull_timeout: Duration::from_secs(300),
            pull_begin_timeout: Duration::from_secs(15),
            image_aliases: BTreeMap::new(),
        }
    }
}

/// The configuration names a daemon that cannot be talked to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the Docker host {0:?} is not the path of a unix socket, such as {DEFAULT_HOST}")]
pub struct BadHost(pub Box<str>);

/// The Docker engine.
pub struct Docker {
    daemon: Arc<Daemon>,
    images: Arc<Images>,
    instance: InstanceId,
    open_files_max: u32,
}

impl Docker {
    /// Prepares the client. The daemon need not run yet.
    ///
    /// # Errors
    ///
    /// [`BadHost`] when the host is not a unix socket: sandboxes need
    /// directories of this machine, so the daemon has to be on it.
    pub fn connect(config: DockerConfig) -> Result<Self, BadHost> {
        let socket = config.host.strip_prefix("unix://").unwrap_or(&config.host);
        if !socket.starts_with('/') {
            return Err(BadHost(config.host));
        }
        let daemon = Daemon::new(socket, config.request_timeout, config.concurrency_max);
        let daemon = Arc::new(daemon);
        let rules = ImageRules {
            aliases: config.image_aliases,
            pull_timeout: config.pull_timeout,
            pull_begin_timeout: config.pull_begin_timeout,
            pulls_max: config.pulls_max.max(1),
            known_max: config.images_known_max,
        };
        let images = Images::new(Arc::clone(&daemon), rules);
        let DockerConfig { instance, open_files_max, .. } = config;
        Ok(Self { daemon, images, instance, open_files_max })
    }

    /// What kind of daemon answers, and what should be changed about it.
    ///
    /// # Errors
    ///
    /// See [`EngineError`].
    pub async fn facts(&self) -> Result<DaemonFacts, EngineError> {
        let client = self.daemon.client()?;
        let version = self.daemon.ask("version", client.version()).await?;
        let info = self.daemon.ask("info", client.info()).await?;
        Ok(DaemonFacts::new(version, info))
    }

    /// The container that has the name of this sandbox's, whoever owns it.
    async fn found(&self, name: &str) -> Result<Option<Found>, EngineError> {
        let client = self.daemon.client()?;
        match self.daemon.ask("inspect", client.inspect_container(name, None)).await {
            Ok(answer) => Ok(Some(Found::new(answer, &self.instance))),
            Err(Trouble::Gone(_)) => Ok(None),
            Err(trouble) => Err(trouble.into()),
        }
    }

    /// A container that may be stopped, frozen or removed: one of ours.
    async fn ours(&self, container: &str) -> Result<Option<Found>, EngineError> {
        check_container(container)?;
        let Some(found) = self.found(container).await? else { return Ok(None) };
        match found.owner {
            Owner::Ours(_) => Ok(Some(found)),
            Owner::Other => Err(foreign(container)),
        }
    }

    /// What a create is answered when the name is taken: our own container, or
    /// nothing when the taker is on its way out and the name will be free.
    async fn taker(&self, spec: &SandboxSpec) -> Result<Option<Box<str>>, EngineError> {
        let name = container_name(&spec.sandbox);
        let Some(found) = self.found(&name).await? else { return Ok(None) };
        match &found.owner {
            Owner::Ours(sandbox) if *sandbox == spec.sandbox && !found.is_leaving => {
                Ok(Some(found.id))
            }
            Owner::Ours(sandbox) if *sandbox == spec.sandbox => {
                self.remove(&found.id).await?;
                Ok(None)
            }
            Owner::Ours(_) | Owner::Other => Err(foreign(&name)),
        }
    }

    /// The id of a new container, or nothing when its name is taken.
    async fn try_create(&self, spec: &SandboxSpec) -> Result<Option<Box<str>>, EngineError> {
        let image = self.images.local(&spec.image).await?;
        let image = image.ok_or_else(|| unavailable(&spec.image, "it has not been fetched"))?;
        let ground =
            Ground { instance: &self.instance, open_files_max: self.open_files_max, image: &image };
        let body = floor::body(spec, &ground)?;
        let name = container_name(&spec.sandbox);
        let options = CreateContainerOptionsBuilder::default().name(&name).build();
        let client = self.daemon.client()?;
        let request = client.create_container(Some(options), body);
        match self.daemon.ask("create", request).await {
            Ok(created) => {
                for warning in created.warnings {
                    tracing::debug!(container = created.id, warning, "the daemon warns");
                }
                Ok(Some(created.id.into()))
            }
            Err(Trouble::Conflict(_)) => Ok(None),
            Err(Trouble::Gone(why)) => {
                self.images.forget(&spec.image);
                Err(unavailable(&spec.image, &why))
            }
            Err(trouble) => Err(trouble.into()),
        }
    }

    /// Waits until a container that is being removed is gone.
    async fn wait_removed(&self, container: &str) -> Result<(), EngineError> {
        let end = Instant::now() + self.daemon.request_timeout;
        while self.found(container).await?.is_some() {
            if Instant::now() >= end {
                let why = format!("container {container} is still being removed");
                return Err(EngineError::Away(why.into()));
            }
            sleep(REMOVAL_POLL).await;
        }
        Ok(())
    }

    async fn thaw(&self, container: &str) -> Result<(), Trouble> {
        let client = self.daemon.client()?;
        self.daemon.ask("unpause", client.unpause_container(container)).await
    }

    /// The outcome of a request that was to bring a container into a state: one
    /// that is there already, whoever brought it there, is as good.
    async fn outcome(
        &self,
        container: &str,
        wanted: ContainerState,
        answer: Result<(), Trouble>,
    ) -> Result<(), EngineError> {
        match answer {
            Ok(()) => Ok(()),
            Err(Trouble::Conflict(why) | Trouble::Refused(why)) => {
                match self.found(container).await?.map(|found| found.state) {
                    Some(state) if state == wanted => Ok(()),
                    None | Some(ContainerState::NotRunning { .. }) => Err(EngineError::Gone),
                    Some(_) => Err(EngineError::Refused(why)),
                }
            }
            Err(trouble) => Err(trouble.into()),
        }
    }
}

#[async_trait]
impl Engine for Docker {
    async fn ensure_image(&self, image: &str) -> Result<(), EngineError> {
        self.images.ensure(image).await.map(drop)
    }

    async fn image_user(&self, image: &str) -> Result<(u32, u32), EngineError> {
        let image = self.images.ensure(image).await?;
        self.user_of(&image).await
    }

    async fn create(&self, spec: &SandboxSpec) -> Result<Box<str>, EngineError> {
        for attempt in 1..=CREATE_ATTEMPTS {
            if let Some(created) = self.try_create(spec).await? {
                return Ok(created);
            }
            if let Some(taker) = self.taker(spec).await? {
                return Ok(taker);
            }
            // A name is taken a while before the container that takes it can be seen.
            sleep(CREATE_PAUSE * attempt).await;
        }
        let name = container_name(&spec.sandbox);
        Err(EngineError::Refused(format!("the name {name} is taken again and again").into()))
    }

    async fn start(&self, container: &str) -> Result<(), EngineError> {
        check_container(container)?;
        let client = self.daemon.client()?;
        match self.daemon.ask("start", client.start_container(container, None)).await {
            // What keeps a start from happening is worth more than its outcome.
            Err(Trouble::Refused(why)) => Err(EngineError::Refused(why)),
            answer => self.outcome(container, ContainerState::Running, answer).await,
        }
    }

    async fn stop(&self, container: &str, grace: Duration) -> Result<(), EngineError> {
        let Some(found) = self.ours(container).await? else { return Ok(()) };
        match found.state {
            ContainerState::NotRunning { .. } => return Ok(()),
            ContainerState::Paused => accept_state(self.thaw(&found.id).await)?,
            ContainerState::Running => {}
        }
        let grace = grace.min(GRACE_MAX);
        let seconds = grace.as_secs() + u64::from(grace.subsec_nanos() > 0);
        let options = StopContainerOptionsBuilder::default()
            .t(i32::try_from(seconds).unwrap_or(i32::MAX))
            .build();
        let limit = grace + self.daemon.request_timeout;
        let client = self.daemon.client()?;
        let request = client.stop_container(&found.id, Some(options));
        match self.daemon.ask_within("stop", Lane::Slow, limit, request).await {
            Ok(()) | Err(Trouble::Gone(_)) => Ok(()),
            Err(trouble) => Err(trouble.into()),
        }
    }

    async fn remove(&self, container: &str) -> Result<(), EngineError> {
        let Some(found) = self.ours(container).await? else { return Ok(()) };
        if found.state == ContainerState::Paused {
            accept_state(self.thaw(&found.id).await)?;
        }
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        let client = self.daemon.client()?;
        let request = client.remove_container(&found.id, Some(options));
        let limit = self.daemon.request_timeout;
        match self.daemon.ask_within("remove", Lane::Slow, limit, request).await {
            Ok(()) | Err(Trouble::Gone(_)) => Ok(()),
            Err(Trouble::Conflict(_)) => self.wait_removed(&found.id).await,
            Err(trouble) => Err(trouble.into()),
        }
    }

    async fn pause(&self, container: &str) -> Result<(), EngineError> {
        let found = self.ours(container).await?.ok_or(EngineError::Gone)?;
        match found.state {
            ContainerState::NotRunning { .. } => Err(EngineError::Gone),
            ContainerState::Paused => Ok(()),
            ContainerState::Running => {
                let client = self.daemon.client()?;
                let answer = self.daemon.ask("pause", client.pause_container(&found.id)).await;
                self.outcome(&found.id, ContainerState::Paused, answer).await
            }
        }
    }

    async fn resume(&self, container: &str) -> Result<(), EngineError> {
        let found = self.ours(container).await?.ok_or(EngineError::Gone)?;
        match found.state {
            ContainerState::NotRunning { .. } => Err(EngineError::Gone),
            ContainerState::Running => Ok(()),
            ContainerState::Paused => {
                let answer = self.thaw(&found.id).await;
                self.outcome(&found.id, ContainerState::Running, answer).await
            }
        }
    }

    async fn inspect(&self, sandbox: &SandboxUid) -> Result<Option<Seen>, EngineError> {
        let found = self.found(&container_name(sandbox)).await?;
        Ok(found.and_then(Found::seen).filter(|seen| seen.sandbox == *sandbox))
    }

    /// One request however many there are, so process ids and whether memory ran
    /// out are left to [`Engine::inspect`].
    async fn list(&self) -> Result<Vec<Seen>, EngineError> {
        let client = self.daemon.client()?;
        let request = client.list_containers(Some(view::list_options(&self.instance)));
        let listed = self.daemon.ask("list", request).await?;
        Ok(listed.into_iter().filter_map(view::listed).collect())
    }

    async fn stats(&self, container: &str) -> Result<Usage, EngineError> {
        check_container(container)?;
        let client = self.daemon.client()?;
        let usage = self.daemon.ask("stats", view::one_stats(client, container)).await?;
        usage.ok_or(EngineError::Gone)
    }

    async fn events(&self) -> Result<BoxStream<'static, Happening>, EngineError> {
        let options = view::event_options(&self.instance);
        // Bollard asks when the stream is first polled; whether the daemon is
        // there has to be known now.
        self.ping().await?;
        let client = self.daemon.client()?.clone().with_timeout(self.daemon.request_timeout);
        Ok(view::happenings(client.events(Some(options))))
    }

    async fn ping(&self) -> Result<(), EngineError> {
        let client = self.daemon.client()?;
        self.daemon.ask("ping", client.ping()).await?;
        Ok(())
    }

    fn fullness(&self) -> Vec<Fullness> {
        self.daemon.fullness().into_iter().chain(self.images.fullness()).collect()
    }
}

fn container_name(sandbox: &SandboxUid) -> String {
    format!("sandtree-{sandbox}")
}

fn foreign(container: &str) -> EngineError {
    let why = format!("the container {container} does not belong to this instance; left alone");
    EngineError::Refused(why.into())
}

/// A container that was thawed or removed by somebody else meanwhile is as good.
fn accept_state(answer: Result<(), Trouble>) -> Result<(), EngineError> {
    match answer {
        Ok(()) | Err(Trouble::Gone(_) | Trouble::Conflict(_)) => Ok(()),
        Err(trouble) => Err(trouble.into()),
    }
}

/// Ids become part of a path that bollard normalises: `../images/x` would ask
/// for something else.
fn check_container(id: &str) -> Result<(), EngineError> {
    let fits = id.len() <= CONTAINER_ID_BYTES_MAX
        && id.starts_with(|c: char| c.is_ascii_alphanumeric())
        && id.bytes().all(|c| c.is_ascii_alphanumeric() || b"_.-".contains(&c));
    if fits {
        return Ok(());
    }
    Err(EngineError::Refused("what was named is not the id of a container".into()))
}
