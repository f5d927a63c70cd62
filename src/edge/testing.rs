//! An edge over a real tree with a fake engine, for tests of handlers.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use sandtree_actors::Tree;
use sandtree_testkit::{FakeEngine, FaultPlan, MemoryStore, TestClock};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use warp::http::{HeaderMap, Request};

use super::auth::Gate;
use super::context::{Context, EdgeSettings, Parts};
use super::front::Front;
use super::reply::Response;
use crate::config::{Config, Overrides, Secret};

/// A front and what is behind it.
pub(crate) struct Edge {
    pub(crate) front: Front,
    pub(crate) context: Context,
    pub(crate) engine: FakeEngine,
    _directory: tempfile::TempDir,
}

/// A response that was read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// The body, if it is JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The slug of a problem document.
    pub(crate) fn problem(&self) -> String {
        let kind = self.json()["type"].as_str().unwrap_or_default().to_owned();
        kind.rsplit('/').next().unwrap_or_default().to_owned()
    }
}

impl Edge {
    /// An edge that needs no key.
    pub(crate) async fn open() -> Self {
        Self::with(None, EdgeSettings::default()).await
    }

    /// An edge with a key or without, and with these settings.
    pub(crate) async fn with(key: Option<&str>, settings: EdgeSettings) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut config = Config::load(&Overrides::default(), []).unwrap();
        config.move_to(directory.path());
        let settings = EdgeSettings {
            dialects: Arc::clone(&config.dialects),
            run: Arc::clone(&config.run),
            ..settings
        };
        let owner = rustix::process::getuid().as_raw();
        for profile in config.profiles.values_mut() {
            profile.user = sandtree_model::profile::User::Fixed { uid: owner, gid: owner };
        }
        let instance = "instance000000000000".parse().unwrap();
        let tree_settings = config.tree_settings(instance, true, directory.path().join("init"));
        let engine = FakeEngine::new(FaultPlan::none());
        let (store, clock) = (MemoryStore::default(), TestClock::default());
        let tree =
            Tree::spawn(tree_settings, Arc::new(engine.clone()), Arc::new(store), Arc::new(clock));
        let gate = Gate::new(key.map(Secret::new).as_ref(), &settings);
        let context = Context::new(Parts {
            tree: tree.await.unwrap(),
            places: super::places::Places::new(&settings),
            settings,
            shutdown: CancellationToken::new(),
            tasks: TaskTracker::new(),
            dialects: super::dialects::State::default(),
            metrics: None,
        });
        Self { front: Front::new(gate, &context), context, engine, _directory: directory }
    }

    /// Sends a request to `localhost` and leaves the body of the response to the test.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Response {
        let mut request = Request::builder().method(method).uri(path);
        if !headers.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", "localhost:8080");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = Full::new(Bytes::copy_from_slice(body.as_bytes()));
        self.front.answer(request.body(body).unwrap()).await
    }

    /// Sends a request and reads the response.
    pub(crate) async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let (parts, body) = self.send(method, path, headers, body).await.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    /// Sends JSON, or nothing.
    pub(crate) async fn json(&self, method: &str, path: &str, body: &str) -> Answer {
        let media = [("content-type", "application/json")];
        self.ask(method, path, if body.is_empty() { &[] } else { &media }, body).await
    }
}
