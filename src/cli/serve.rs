//! `sandtree serve`: everything is opened, the server runs, everything is closed.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use sandtree_actors::Tree;
use sandtree_actors::ports::{StoreError, SystemClock};
use sandtree_model::InstanceId;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::Failed;
use crate::config::{Config, Store, StorePlace};
use crate::data_dir::DataDir;
use crate::edge::auth::Gate;
use crate::edge::context::{Context, Parts};
use crate::edge::front::Front;
use crate::edge::metrics;
use crate::edge::places::Places;
use crate::engine::docker::{Docker, DockerConfig};
use crate::open_files;
use crate::server::{self, Bounds, Ending};
use crate::store::postgres::{Postgres, PostgresConfig};
use crate::store::sqlite::{Sqlite, SqliteConfig};
use crate::store::{Bounds as StoreBounds, OwnerRange, Persistent};
use crate::telemetry;

/// Time between two rounds of tidying up metrics.
const UPKEEP: Duration = Duration::from_secs(5);
/// Time that the tree has at least to end its actors.
const TREE_END_MIN: Duration = Duration::from_secs(2);

/// Threads that block, besides those of archives and searches, which can hold one each for long.
const BLOCKING_THREADS: usize = 512;

/// Runs the server until it is told to end.
pub(super) fn serve(mut config: Config) -> Result<(), Failed> {
    telemetry::install(&config.log).map_err(other)?;
    let open_files = open_files::raise_limit();
    tracing::debug!(?open_files, "the most files that may be open");
    sandtree_actors::crash::arm_from_environment();
    let data_dir = DataDir::open(&config.server.data_dir)?;
    config.move_to(data_dir.path());
    let threads = BLOCKING_THREADS + config.server.archives_max + config.server.searches_max;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(threads)
        .build();
    let outcome = runtime.map_err(other)?.block_on(run(config, &data_dir));
    drop(data_dir);
    outcome
}

async fn run(config: Config, data_dir: &DataDir) -> Result<(), Failed> {
    let address = config.server.listen;
    let wrong = |source| Failed::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(wrong)?;
    let address = listener.local_addr().map_err(wrong)?;
    let handle = metrics::install().map_err(other)?;
    let store = open_store(&config).await?;
    let tree = build_tree(&config, data_dir, Arc::clone(&store)).await?;

    let (ending, tasks) = (Ending::default(), TaskTracker::new());
    let settings = config.edge_settings();
    let context = Context::new(Parts {
        tree: tree.clone(),
        places: Places::new(&settings),
        settings,
        shutdown: ending.soon.clone(),
        tasks: tasks.clone(),
        dialects: crate::edge::dialects::State::default(),
        metrics: Some(handle.clone()),
    });
    let gate = Gate::new(config.admin_key.as_ref(), &context.settings);
    let front = Front::new(gate, &context);
    drop(context);
    let background =
        [tokio::spawn(upkeep(handle)), tokio::spawn(follow_signals(ending.clone(), tree.clone()))];

    announce(address);
    server::serve(listener, front, bounds(&config), ending, tasks).await;
    let started = Instant::now();
    tree.shut_down(config.server.shutdown_deadline.max(TREE_END_MIN)).await;
    store.close().await;
    background.iter().for_each(tokio::task::JoinHandle::abort);
    tracing::info!(took = ?started.elapsed(), "ended; sandboxes go on");
    Ok(())
}

/// The tree over the engine and the store of the configuration.
async fn build_tree(
    config: &Config,
    data_dir: &DataDir,
    store: Arc<dyn Persistent>,
) -> Result<Tree, Failed> {
    let instance = data_dir.instance().clone();
    let is_ours = store.instance(&instance).await? == instance;
    if !is_ours {
        tracing::error!(
            %instance,
            "the store belongs to another data directory: nothing is adopted or swept"
        );
    }
    if crate::init::PROGRAM.is_empty() {
        tracing::error!("this build has no init in it: no sandbox will start");
    }
    let init = data_dir.install("init", crate::init::PROGRAM)?;
    let settings = config.tree_settings(instance.clone(), is_ours, init);
    let engine = Arc::new(Docker::connect(docker(config, instance)).map_err(other)?);
    let clock = Arc::new(SystemClock::default());
    tokio::spawn(advise(Arc::clone(&engine)));
    Tree::spawn(settings, engine, store, clock).await.map_err(other)
}

/// Tells the operator what the engine could do better, such as keeping sandboxes
/// alive when it is restarted itself.
async fn advise(engine: Arc<Docker>) {
    match engine.facts().await {
        Ok(facts) => facts.advice.iter().for_each(|advice| tracing::warn!("{advice}")),
        Err(error) => tracing::warn!(%error, "the container engine tells nothing of itself"),
    }
}

fn docker(config: &Config, instance: InstanceId) -> DockerConfig {
    let docker = config.docker.clone();
    DockerConfig {
        host: docker.host,
        instance,
        request_timeout: docker.request_timeout,
        concurrency_max: docker.concurrency_max,
        open_files_max: docker.open_files_max,
        pulls_max: docker.pulls_max,
        images_known_max: docker.images_known_max,
        pull_timeout: docker.pull_timeout,
        pull_begin_timeout: docker.pull_begin_timeout,
        image_aliases: docker.image_aliases,
    }
}

/// The store, in the database that the configuration names.
async fn open_store(config: &Config) -> Result<Arc<dyn Persistent>, StoreError> {
    let owners = OwnerRange { first: config.tree.uid_first, count: config.tree.uid_count };
    let bounds = StoreBounds { owners, ..StoreBounds::default() };
    match &config.store.place {
        StorePlace::Sqlite(file) => {
            let readers_max = config.store.readers_max;
            let settings = SqliteConfig { bounds, readers_max, ..SqliteConfig::new(file) };
            Ok(Arc::new(Sqlite::open(settings).await?))
        }
        StorePlace::Postgres(url) => {
            let Store { readers_max, start_timeout, .. } = config.store;
            let settings = PostgresConfig::new(url.reveal());
            let settings = PostgresConfig { bounds, readers_max, start_timeout, ..settings };
            Ok(Arc::new(Postgres::open(settings).await?))
        }
    }
}

fn bounds(config: &Config) -> Bounds {
    Bounds {
        connections_max: config.server.connections_max,
        header_timeout: config.server.header_timeout,
        headers_max: config.server.headers_max,
        shutdown_deadline: config.server.shutdown_deadline,
    }
}

/// The first line on standard output is the address: scripts wait for it.
fn announce(address: std::net::SocketAddr) {
    let mut out = std::io::stdout().lock();
    // A reader that is gone already is no reason to end.
    let _ = writeln!(out, "http://{address}").and_then(|()| out.flush());
    tracing::info!(%address, "listening");
}

/// The first signal ends the server in order, the second at once.
async fn follow_signals(ending: Ending, tree: Tree) {
    let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    let (Ok(mut terminate), Ok(mut interrupt)) = signals else {
        tracing::error!("signals cannot be followed");
        return;
    };
    for token in [ending.soon, ending.now] {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("told to end");
        tree.end_soon();
        token.cancel();
    }
}

async fn upkeep(handle: PrometheusHandle) {
    let mut rounds = tokio::time::interval(UPKEEP);
    loop {
        rounds.tick().await;
        handle.run_upkeep();
    }
}

fn other(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Failed {
    Failed::Other(error.into())
}
