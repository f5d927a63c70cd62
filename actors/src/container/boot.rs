//! From `starting` to `running`: a container with our init in it, linked and configured.

use std::sync::Arc;
use std::time::Duration;

use sandtree_model::project::Container;
use sandtree_model::{Answer, Fault, Move, Project};
use sandtree_wire::{Configuration, JobState};

use super::work::{Change, Work, engine_fault};
use super::{ContainerMsg, Up};
use crate::context::Context;
use crate::crash::{self, Point};
use crate::disk::on_disk;
use crate::link::Link;
use crate::ports::{ContainerState, EngineError, SandboxSpec, Seen};
use crate::shape::{Shape, fingerprint};
use crate::stages::timed;

/// Containers that are made for one start.
const START_ATTEMPTS: u32 = 3;
/// Connections of init that may break while it is configured.
const LINK_ATTEMPTS: u32 = 3;
/// How often the engine is asked whether a silent sandbox still lives.
const LIFE_SIGN_EVERY: Duration = Duration::from_secs(2);

impl Work {
    /// Makes the sandbox run, and commits that it does.
    pub(super) async fn boot(&self, row: &Project) -> Answer<()> {
        let spec = Shape::of(&row.settings).spec(&self.context, &row.sandbox, row.owner)?;
        let made_with = fingerprint(&spec);
        let (id, link) = match self.is_up_already(row, &made_with) {
            Some(up) => up,
            None => self.start_container(row, &spec, &made_with).await?,
        };
        let started_at = self.context.clock.now();
        timed("configure", self.bring_up_link(link, true)).await?;
        let container = Container { id, made_with, started_at };
        self.live.touch();
        crash::at(Point::Linked).await;
        self.commit(
            Move::InitReady,
            Change { container: Some(Some(container)), ..Change::default() },
        )
        .await
    }

    /// The container and the link of a sandbox that came from the pool: there is nothing
    /// to ask the engine.
    fn is_up_already(&self, row: &Project, made_with: &str) -> Option<(Box<str>, Arc<Link>)> {
        let container = row.container.as_ref().filter(|it| &*it.made_with == made_with)?;
        Some((container.id.clone(), self.home.vouched_link()?))
    }

    /// Makes a container run, and waits for its init.
    async fn start_container(
        &self,
        row: &Project,
        spec: &SandboxSpec,
        made_with: &str,
    ) -> Answer<(Box<str>, Arc<Link>)> {
        let (dir, mounted) = (self.context.sandbox_dir(&row.sandbox), spec.clone());
        on_disk(move || dir.prepare(&mounted)).await?;
        let id = self.running_container(row, spec, made_with).await?;
        let Some(link) = timed("dial_home", self.wait_for_link(row)).await? else {
            return Err(Fault::Sandbox("it ended as soon as it was started".into()).into());
        };
        let seen = self.inspect(row).await?;
        self.check_identity(row, seen.and_then(|seen| seen.init_pid))?;
        Ok((id, link))
    }

    /// Makes a container run that was made with these settings, and answers its id. One
    /// that somebody removes meanwhile is made anew.
    async fn running_container(
        &self,
        row: &Project,
        spec: &SandboxSpec,
        made_with: &str,
    ) -> Answer<Box<str>> {
        for _ in 0..START_ATTEMPTS {
            let id = match self.usable(row, made_with).await? {
                Some(seen) if seen.state == ContainerState::Running => return Ok(seen.container),
                Some(seen) => seen.container,
                None => self.create_container(spec).await?,
            };
            match self.start(row, &id).await? {
                Ok(()) => return Ok(id),
                Err(EngineError::Gone) => {
                    // Its name is free when this has ended.
                    let removed = self.context.engine.remove(&id);
                    self.engine(removed).await.map_err(engine_fault)?;
                }
                Err(error) => return Err(engine_fault(error).into()),
            }
        }
        Err(Fault::Engine("the container is removed as often as it is made".into()).into())
    }

    /// The sandbox's container, if it was made with these settings; any other is removed.
    async fn usable(&self, row: &Project, made_with: &str) -> Answer<Option<Seen>> {
        let Some(seen) = self.inspect(row).await? else {
            return Ok(None);
        };
        let is_known = row.container.as_ref().is_some_and(|container| {
            container.id == seen.container && &*container.made_with == made_with
        });
        if is_known && seen.state != ContainerState::Paused {
            return Ok(Some(seen));
        }
        let removed = self.context.engine.remove(&seen.container);
        self.engine(removed).await.map_err(engine_fault)?;
        Ok(None)
    }

    async fn create_container(&self, spec: &SandboxSpec) -> Answer<Box<str>> {
        let image = self.context.engine.ensure_image(&spec.image);
        tokio::select! {
            biased;
            had = image => had.map_err(engine_fault)?,
            () = self.cancel.cancelled() => return Err(self.overtaken()),
        }
        let created = self.engine(self.context.engine.create(spec));
        let id = timed("engine_create", created).await.map_err(engine_fault)?;
        crash::at(Point::ContainerCreated).await;
        Ok(id)
    }

    async fn start(&self, row: &Project, id: &str) -> Answer<Result<(), EngineError>> {
        let (home, owner) = (Arc::clone(&self.home), row.owner);
        on_disk(move || home.renew_token(owner)).await?;
        crash::at(Point::TokenWritten).await;
        let started = self.engine(self.context.engine.start(id));
        let started = timed("engine_start", started).await;
        crash::at(Point::ContainerStarted).await;
        Ok(started)
    }

    /// Waits until init has dialled home; `None` when the sandbox does not run any more.
    pub(super) async fn wait_for_link(&self, row: &Project) -> Answer<Option<Arc<Link>>> {
        let limit = self.context.settings.boot_timeout;
        let deadline = tokio::time::Instant::now() + limit;
        loop {
            tokio::select! {
                biased;
                link = self.home.link() => return Ok(Some(link?)),
                () = self.cancel.cancelled() => return Err(self.overtaken()),
                () = tokio::time::sleep(LIFE_SIGN_EVERY) => {}
            }
            let seen = self.inspect(row).await?;
            if seen.is_none_or(|seen| seen.state != ContainerState::Running) {
                return Ok(None);
            }
            if tokio::time::Instant::now() >= deadline {
                let what = "the handshake with the sandbox's init".into();
                return Err(Fault::TimedOut { what, limit }.into());
            }
        }
    }

    /// Configures init, and hands the link to the actors that use it.
    pub(super) async fn bring_up_link(&self, link: Arc<Link>, is_fresh: bool) -> Answer<()> {
        let mut link = link;
        for _ in 0..LINK_ATTEMPTS {
            match self.configure(&link).await {
                Ok(jobs) => {
                    // The actor that owns this task outlives it.
                    let _ = self.me.cast(ContainerMsg::Up(Up { link, jobs, is_fresh }));
                    return Ok(());
                }
                Err(failure) if !link.is_closed() => return Err(failure),
                // A connection may break at any time; init dials again if it lives.
                Err(_) => {
                    let ended = || Fault::Sandbox("it ended as it was being configured".into());
                    link = self.wait_for_link(&self.row()).await?.ok_or_else(ended)?;
                }
            }
        }
        Err(Fault::Sandbox("the connection to its init breaks again and again".into()).into())
    }

    /// Tells init what the row says now. Whoever changes it from here on has the link.
    async fn configure(&self, link: &Arc<Link>) -> Answer<Vec<JobState>> {
        // It is never closed.
        let _one = self.telling.acquire().await;
        self.live.lent.link(link);
        link.configure(configuration(&self.context, &self.row())).await
    }
}

/// What init is told of the project.
pub(super) fn configuration(context: &Context, row: &Project) -> Configuration {
    let env = row.settings.env.iter();
    Configuration {
        env: env.map(|(name, value)| (name.to_string(), value.to_string())).collect(),
        execs_max: context.settings.execs_max,
        stop_grace_ms: u64::try_from(context.stop_grace(row).as_millis()).ok(),
    }
}
