//! An engine that costs next to nothing: its containers are entries of a table.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use sandtree_actors::ports::{
    ContainerState, Engine, EngineError, Happening, SandboxSpec, Seen, Usage,
};
use sandtree_model::SandboxUid;

use crate::inits::Inits;

/// A handle on the engine; clones share its containers, which outlive every tree.
#[derive(Clone)]
pub(crate) struct TableEngine {
    inits: Arc<Inits>,
    /// A container's id is its sandbox's.
    containers: Arc<Mutex<HashMap<Box<str>, Container>>>,
}

struct Container {
    sandbox: SandboxUid,
    home: PathBuf,
    runs: bool,
}

impl TableEngine {
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self { inits: Arc::new(Inits::spawn()?), containers: Arc::default() })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, Container>> {
        self.containers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seen(&self, container: &Container) -> Seen {
        let (runs, not) =
            (ContainerState::Running, ContainerState::NotRunning { out_of_memory: false });
        Seen {
            sandbox: container.sandbox.clone(),
            container: container.sandbox.as_str().into(),
            state: if container.runs { runs } else { not },
            init_pid: container.runs.then(|| self.inits.pid()),
        }
    }

    /// Starts or ends the init of a container that is there.
    fn set(&self, id: &str, runs: bool) -> Result<(), EngineError> {
        let mut containers = self.lock();
        let container = containers.get_mut(id).ok_or(EngineError::Gone)?;
        if container.runs == runs {
            return Ok(());
        }
        container.runs = runs;
        let home = &container.home;
        let ordered = if runs { self.inits.start(home) } else { self.inits.end(home) };
        ordered.map_err(|error| EngineError::Away(error.to_string().into()))
    }
}

fn unable() -> EngineError {
    EngineError::Refused("this engine cannot do that".into())
}

#[async_trait]
impl Engine for TableEngine {
    async fn ensure_image(&self, _image: &str) -> Result<(), EngineError> {
        Ok(())
    }

    async fn image_user(&self, _image: &str) -> Result<(u32, u32), EngineError> {
        Err(unable())
    }

    async fn create(&self, spec: &SandboxSpec) -> Result<Box<str>, EngineError> {
        let id: Box<str> = spec.sandbox.as_str().into();
        let (sandbox, home) = (spec.sandbox.clone(), spec.home.clone());
        let container = Container { sandbox, home, runs: false };
        self.lock().entry(id.clone()).or_insert(container);
        Ok(id)
    }

    async fn start(&self, container: &str) -> Result<(), EngineError> {
        self.set(container, true)
    }

    async fn stop(&self, container: &str, _grace: Duration) -> Result<(), EngineError> {
        // One that does not exist is left alone.
        self.set(container, false).or(Ok(()))
    }

    async fn remove(&self, container: &str) -> Result<(), EngineError> {
        self.stop(container, Duration::ZERO).await?;
        self.lock().remove(container);
        Ok(())
    }

    async fn pause(&self, _container: &str) -> Result<(), EngineError> {
        Err(unable())
    }

    async fn resume(&self, _container: &str) -> Result<(), EngineError> {
        Err(unable())
    }

    async fn inspect(&self, sandbox: &SandboxUid) -> Result<Option<Seen>, EngineError> {
        Ok(self.lock().get(sandbox.as_str()).map(|container| self.seen(container)))
    }

    async fn list(&self) -> Result<Vec<Seen>, EngineError> {
        Ok(self.lock().values().map(|container| self.seen(container)).collect())
    }

    async fn stats(&self, _container: &str) -> Result<Usage, EngineError> {
        Err(unable())
    }

    async fn events(&self) -> Result<BoxStream<'static, Happening>, EngineError> {
        Ok(stream::pending().boxed())
    }

    async fn ping(&self) -> Result<(), EngineError> {
        Ok(())
    }
}
