//! The real server as a process of its own, on a data directory of the test.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};

use crate::client::Client;
use crate::docker;
use crate::wait::{LONG, until, within};

/// Lines of the server's log that a failure shows.
const LOG_LINES_MAX: usize = 200;

/// Any port of loopback that is free.
const ANY_PORT: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0));

/// How a server is started.
#[derive(Debug, Clone)]
pub struct ServerSetup {
    binary: PathBuf,
    env: Vec<(String, String)>,
}

impl ServerSetup {
    /// Sets a variable, such as `SANDTREE_TREE__JANITOR_INTERVAL`.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.push((name.to_owned(), value.into()));
        self
    }

    /// Starts it on a fresh data directory.
    pub async fn start(self) -> TestServer {
        self.start_in(&std::env::temp_dir()).await
    }

    /// As [`ServerSetup::start`], with its data directory below another one.
    pub async fn start_in(self, parent: &Path) -> TestServer {
        let dir = tempfile::tempdir_in(parent).expect("a directory for the server");
        let running = Running::start(&self, dir.path(), ANY_PORT).await;
        let running = running.expect("a server that starts");
        TestServer { setup: self, dir, address: running.address, running: Some(running) }
    }
}

/// A server under test, with its data directory and its containers. When it is
/// dropped, it is killed and all containers of its instance are removed.
pub struct TestServer {
    setup: ServerSetup,
    dir: TempDir,
    /// Where it listens, or did when it ran.
    address: SocketAddr,
    running: Option<Running>,
}

impl TestServer {
    /// Starts from the path of the program: `env!("CARGO_BIN_EXE_sandtree")`.
    #[must_use]
    pub fn setup(binary: impl Into<PathBuf>) -> ServerSetup {
        let level = ("SANDTREE_LOG__LEVEL".to_owned(), "info".to_owned());
        ServerSetup { binary: binary.into(), env: vec![level] }
    }

    /// Its data directory.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        self.dir.path()
    }

    /// A client of its own; a server that was started again needs a new one.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(self.running().address)
    }

    /// Memory that its process occupies, in bytes.
    #[must_use]
    pub fn resident_bytes(&self) -> u64 {
        self.status_bytes("VmRSS:")
    }

    /// The part of it that is its own: not the pages of its program, of which more are in memory
    /// the more of its code has run.
    #[must_use]
    pub fn own_bytes(&self) -> u64 {
        self.status_bytes("RssAnon:")
    }

    fn status_bytes(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.running().pid));
        let status = status.expect("the server's status");
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kib.expect("a number of kibibytes") * 1024
    }

    /// Whether its process runs.
    pub fn is_alive(&mut self) -> bool {
        let running = self.running.as_mut();
        running.is_some_and(|running| matches!(running.child.try_wait(), Ok(None)))
    }

    /// The last lines of its log.
    #[must_use]
    pub fn log(&self) -> String {
        self.running.as_ref().map(|running| running.log.text()).unwrap_or_default()
    }

    /// Kills it as a power cut would: SIGKILL, and nothing else.
    pub async fn kill9(&mut self) {
        let mut running = self.running.take().expect("a server that runs");
        within(LONG, "the killed server to be gone", running.child.kill()).await.expect("a kill");
    }

    /// Asks it to end with SIGTERM, and waits until it has.
    pub async fn terminate(&mut self) -> ExitStatus {
        let mut running = self.running.take().expect("a server that runs");
        kill_process(running.pid, Signal::TERM).expect("a signal to the server");
        within(LONG, "the server to end", running.child.wait()).await.expect("its exit status")
    }

    /// Starts it on the same data directory; it must not run.
    pub async fn restart(&mut self) {
        assert!(self.running.is_none(), "the server still runs");
        let running = Running::start(&self.setup, self.dir.path(), ANY_PORT).await;
        let running = running.expect("a server that starts again");
        self.address = running.address;
        self.running = Some(running);
    }

    /// As [`TestServer::restart`], at the same address, for clients that stay.
    pub async fn restart_in_place(&mut self) {
        assert!(self.running.is_none(), "the server still runs");
        let mut running = None;
        // The port may be somebody's for a moment.
        until("the server to start at its old address", async || {
            running = Running::start(&self.setup, self.dir.path(), self.address).await.ok();
            running.is_some()
        })
        .await;
        self.running = running;
    }

    /// As [`TestServer::restart`], with these variables for this one time; whether it
    /// lived long enough to tell its address.
    pub async fn restart_with(&mut self, env: &[(&str, String)]) -> bool {
        assert!(self.running.is_none(), "the server still runs");
        let setup = env
            .iter()
            .fold(self.setup.clone(), |setup, (name, value)| setup.env(name, value.clone()));
        self.running = Running::start(&setup, self.dir.path(), ANY_PORT).await.ok();
        self.address = self.running.as_ref().map_or(self.address, |running| running.address);
        self.running.is_some()
    }

    /// Waits until it ends by itself; whether it has within `limit`.
    pub async fn ends_within(&mut self, limit: Duration) -> bool {
        let running = self.running.as_mut().expect("a server that runs");
        let has_ended = tokio::time::timeout(limit, running.child.wait()).await.is_ok();
        if has_ended {
            self.running = None;
        }
        has_ended
    }

    /// Open descriptors and threads of its process.
    #[must_use]
    pub fn descriptors_and_threads(&self) -> (usize, usize) {
        let count = |what: &str| {
            let dir = std::fs::read_dir(format!("/proc/{}/{what}", self.running().pid));
            dir.expect("the server's own directory in /proc").count()
        };
        (count("fd"), count("task"))
    }

    /// Tries to start a second server on the same data directory.
    ///
    /// # Errors
    ///
    /// How it ended and what it said, when it refused.
    pub async fn second_server(&self) -> Result<(), String> {
        let mut second = Running::start(&self.setup, self.dir.path(), ANY_PORT).await?;
        within(LONG, "the second server to be gone", second.child.kill()).await.expect("a kill");
        Ok(())
    }

    /// Its containers, in any state.
    #[must_use]
    pub fn containers(&self) -> Vec<docker::Container> {
        self.instance().map(|instance| docker::containers_of(&instance)).unwrap_or_default()
    }

    /// That there is no container and no sandbox's directory any more.
    pub fn assert_no_leftovers(&self) {
        let containers = self.containers();
        assert!(containers.is_empty(), "containers are left: {containers:?}");
        let dirs = std::fs::read_dir(self.dir.path().join("sandboxes"));
        let dirs: Vec<_> = dirs.into_iter().flatten().flatten().map(|dir| dir.path()).collect();
        assert!(dirs.is_empty(), "directories are left: {dirs:?}");
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("a server that runs")
    }

    fn instance(&self) -> Option<String> {
        let text = std::fs::read_to_string(self.dir.path().join("instance")).ok()?;
        let instance = text.trim().to_owned();
        (!instance.is_empty()).then_some(instance)
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the server's log ---\n{}---", self.log());
        }
        if let Some(running) = &mut self.running {
            running.end();
        }
        if let Some(instance) = self.instance() {
            docker::remove_all_of(&instance);
        }
        let removed = std::fs::remove_dir_all(self.dir.path());
        if !std::thread::panicking() {
            removed.expect("a data directory that nobody uses any more");
        }
    }
}

struct Running {
    child: Child,
    pid: Pid,
    address: SocketAddr,
    log: Log,
}

impl Running {
    /// Kills it, and waits until it can write nothing more.
    fn end(&mut self) {
        // It may have ended by itself, and who looks after it may have seen that.
        let _ = self.child.start_kill();
        let _ = waitid(WaitId::Pid(self.pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
    }

    /// Starts the server and waits for its address; what it said instead.
    async fn start(setup: &ServerSetup, dir: &Path, listen: SocketAddr) -> Result<Self, String> {
        let mut command = Command::new(&setup.binary);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("SANDTREE_") {
                command.env_remove(name);
            }
        }
        let mut child = command
            .args(["serve", "--listen", &listen.to_string(), "--data-dir"])
            .arg(dir)
            .envs(setup.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("{} cannot be run: {error}", setup.binary.display()))?;
        let log = Log::follow(child.stderr.take().expect("piped"));
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let first = within(LONG, "the server's address", lines.next_line()).await;
        let pid = child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        match (first.ok().flatten(), pid) {
            (Some(line), Some(pid)) => Ok(Self { child, pid, address: address_in(&line), log }),
            _ => {
                // Its end closes the pipe, which ends the log.
                let status = within(LONG, "the server's end", child.wait()).await;
                log.ended().await;
                Err(format!("ended with {status:?}: {}", log.text()))
            }
        }
    }
}

/// The address in a line such as `http://127.0.0.1:8080`.
fn address_in(line: &str) -> SocketAddr {
    let text = line.rsplit_once("//").map_or(line, |(_, rest)| rest).trim_end_matches('/');
    text.parse().unwrap_or_else(|_| panic!("the server's first line is no address: {line:?}"))
}

/// The last lines of a log, collected as they come.
#[derive(Clone)]
struct Log {
    lines: Arc<Mutex<VecDeque<String>>>,
    ended: tokio::sync::watch::Receiver<bool>,
}

impl Log {
    fn follow(from: impl AsyncRead + Send + Unpin + 'static) -> Self {
        let lines: Arc<Mutex<VecDeque<String>>> = Arc::default();
        let (sender, ended) = tokio::sync::watch::channel(false);
        let kept = Arc::clone(&lines);
        tokio::spawn(async move {
            let mut from = BufReader::new(from).lines();
            while let Ok(Some(line)) = from.next_line().await {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                if kept.len() == LOG_LINES_MAX {
                    kept.pop_front();
                }
                kept.push_back(line);
            }
            // The server under test may be gone before whoever asked.
            let _ = sender.send(true);
        });
        Self { lines, ended }
    }

    async fn ended(&self) {
        let mut ended = self.ended.clone();
        // What was collected by then is what there is.
        let _ = tokio::time::timeout(Duration::from_secs(5), ended.wait_for(|ended| *ended)).await;
    }

    fn text(&self) -> String {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().fold(String::new(), |text, line| text + line + "\n")
    }
}
