//! The server under test, and what is asked of it.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::bulk;
use crate::docker::Docker;
use crate::http::Http;

/// The profile of every sandbox here.
const PROFILE: &str = "small";
/// Longest time until the server says where it listens.
const START_MAX: Duration = Duration::from_secs(30);
/// Longest time until it has ended.
const END_MAX: Duration = Duration::from_secs(30);
/// Longest time until its pool is full, and the pause between two looks.
const FULL_MAX: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A server on a data directory of its own.
pub(crate) struct Server {
    pub(crate) http: Http,
    pub(crate) address: String,
    child: Child,
    data: TempDir,
}

/// A project that runs.
pub(crate) struct Project {
    pub(crate) id: String,
    pub(crate) container: String,
}

impl Server {
    pub(crate) async fn start(docker: &Docker) -> anyhow::Result<Self> {
        Self::start_with(docker, &[]).await
    }

    /// Starts it with these variables.
    pub(crate) async fn start_with(docker: &Docker, env: &[(&str, &str)]) -> anyhow::Result<Self> {
        Self::launch(fresh_data()?, docker, env).await
    }

    /// Starts it on what an earlier one has left.
    pub(crate) async fn start_on(data: TempDir, docker: &Docker) -> anyhow::Result<Self> {
        Self::launch(data, docker, &[]).await
    }

    /// Starts one that keeps so many sandboxes ready; its pool fills meanwhile, see
    /// [`Server::filled`].
    pub(crate) async fn start_pooled(docker: &Docker, pool: usize) -> anyhow::Result<Self> {
        let size = format!("SANDTREE_POOL__SIZES__{}", PROFILE.to_ascii_uppercase());
        Self::start_with(docker, &[(&size, &pool.to_string())]).await
    }

    async fn launch(data: TempDir, docker: &Docker, env: &[(&str, &str)]) -> anyhow::Result<Self> {
        let names = std::env::vars_os().map(|(name, _)| name);
        let ours = names.filter(|name| name.as_encoded_bytes().starts_with(b"SANDTREE_"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_sandtree"));
        for name in ours {
            command.env_remove(name);
        }
        let mut child = command
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(data.path())
            .env("SANDTREE_DOCKER__HOST", docker.host())
            .env("SANDTREE_LOG__LEVEL", "warn")
            .envs(env.iter().copied())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("starting the server")?;
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().context("the server has no output")?);
        timeout(START_MAX, stdout.read_line(&mut line)).await.context("the server is silent")??;
        let address = line.trim().strip_prefix("http://").context("the server did not start")?;
        let http = Http::tcp(address).await?;
        Ok(Self { http, address: address.to_owned(), child, data })
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u64 {
        self.child.id().map_or(0, u64::from)
    }

    /// Waits until its pool holds so many sandboxes.
    pub(crate) async fn filled(&mut self, pool: usize) -> anyhow::Result<()> {
        let line = format!("sandtree_pool_ready{{profile=\"{PROFILE}\"}} {pool}");
        let full = async {
            while !self.http.text("/metrics").await?.lines().any(|one| one == line) {
                sleep(LOOK_EVERY).await;
            }
            anyhow::Ok(())
        };
        timeout(FULL_MAX, full).await.context("the pool does not fill")?
    }

    /// Creates a project of the small profile that runs when this returns.
    pub(crate) async fn create(&mut self, id: &str) -> anyhow::Result<Project> {
        self.create_with(id, json!({})).await
    }

    /// Creates a project that runs when this returns; `settings` come first.
    pub(crate) async fn create_with(
        &mut self,
        id: &str,
        settings: Value,
    ) -> anyhow::Result<Project> {
        let mut body = json!({ "id": id, "profile": PROFILE, "start": true });
        for (name, value) in settings.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        let made = self.http.post("/v1/projects", &body).await?;
        let container = made["sandbox"]["container_id"].as_str().context("no container")?;
        Ok(Project { id: id.to_owned(), container: container.to_owned() })
    }

    /// Sends a file as a body; how long it took.
    pub(crate) async fn upload(&self, path: &str, file: &Path) -> anyhow::Result<Duration> {
        let (address, path, file) = (self.address.clone(), path.to_owned(), file.to_owned());
        tokio::task::spawn_blocking(move || bulk::send(&address, &path, &file)).await?
    }

    /// Keeps a body in a file, on the disk when this returns; how long it took.
    pub(crate) async fn download(&self, path: &str, file: &Path) -> anyhow::Result<Duration> {
        let (address, path, file) = (self.address.clone(), path.to_owned(), file.to_owned());
        tokio::task::spawn_blocking(move || bulk::receive(&address, &path, &file)).await?
    }

    /// Runs a command and answers the document of its end.
    pub(crate) async fn exec(&mut self, id: &str, argv: &[&str]) -> anyhow::Result<Value> {
        let path = format!("/v1/projects/{id}/exec");
        let done = self.http.post(&path, &json!({ "argv": argv })).await?;
        ensure!(done["exit_code"] == 0, "{argv:?} ended with {done}");
        Ok(done)
    }

    pub(crate) async fn delete(&mut self, id: &str) -> anyhow::Result<()> {
        self.http.delete(&format!("/v1/projects/{id}")).await
    }

    /// A directory of the bench's own on the same file system as the server's data.
    pub(crate) fn scratch(&self) -> anyhow::Result<TempDir> {
        let parent = self.data.path().parent().unwrap_or(Path::new("/"));
        Ok(TempDir::with_prefix_in("bench-", parent)?)
    }

    /// Ends the server and keeps what it made.
    pub(crate) async fn stop(mut self) -> anyhow::Result<TempDir> {
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        pid.map_or(Ok(()), |pid| kill_process(pid, Signal::TERM))?;
        timeout(END_MAX, self.child.wait()).await.context("the server does not end")??;
        Ok(self.data)
    }

    /// Ends the server and removes whatever it made.
    pub(crate) async fn end(self) -> anyhow::Result<()> {
        let instance = std::fs::read_to_string(self.data.path().join("instance"))?;
        let data = self.stop().await?;
        let mut docker = Docker::connect().await?;
        docker.remove_labelled("sandtree.instance", instance.trim()).await?;
        Ok(data.close()?)
    }
}

/// On a real disk: on a temporary file system, a durable write costs nothing.
fn fresh_data() -> anyhow::Result<TempDir> {
    Ok(TempDir::with_prefix_in("bench-", env!("CARGO_TARGET_TMPDIR"))?)
}
