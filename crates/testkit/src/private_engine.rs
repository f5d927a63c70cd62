//! A Docker daemon of the test's own, which may be stopped, killed, frozen and starved.

use std::path::{Path, PathBuf};
use std::process::{Command as Blocking, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::wait::{LONG, until, within};

/// Time that the daemon has to end when its test is over.
const END_MAX: Duration = Duration::from_secs(30);

/// A daemon with its own data, sockets and containers. When it is dropped, all of it goes.
pub struct PrivateEngine {
    dir: TempDir,
    /// Which runs the containers, and outlives the daemon.
    containerd: Child,
    daemon: Option<Child>,
}

impl PrivateEngine {
    /// Starts one that holds the image of the small profile. With `live_restore`, its
    /// containers outlive it; with `disk_bytes`, its disk is that small.
    pub async fn start(live_restore: bool, disk_bytes: Option<u64>) -> Self {
        // Paths of sockets are short, so this is not below a test's own directory.
        let dir = tempfile::Builder::new().prefix("engine").tempdir_in("/tmp");
        let dir = dir.expect("a directory for the daemon");
        let config = format!(r#"{{ "live-restore": {live_restore} }}"#);
        std::fs::write(dir.path().join("daemon.json"), config).expect("its configuration");
        std::fs::create_dir(dir.path().join("root")).expect("its data root");
        let containerd = start_containerd(dir.path());
        let mut engine = Self { dir, containerd, daemon: None };
        if let Some(bytes) = disk_bytes {
            let size = format!("size={bytes},mode=0711");
            let root = engine.root();
            let root = root.to_str().expect("a plain path");
            run("mount", &["-t", "tmpfs", "-o", &size, "tmpfs", root]).expect("a small disk");
        }
        engine.resume().await;
        let image = engine.dir.path().join("image.tar");
        let image = image.to_str().expect("a plain path");
        crate::docker::docker(&["save", "--output", image, "sandtree/small:latest"])
            .expect("the small image, which images/build makes");
        engine.docker(&["load", "--input", image]).expect("an image that loads");
        engine
    }

    /// For `SANDTREE_DOCKER__HOST`.
    #[must_use]
    pub fn host(&self) -> String {
        format!("unix://{}", self.dir.path().join("docker.sock").display())
    }

    /// Where the daemon keeps its data.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    /// Runs `docker` against this daemon.
    ///
    /// # Errors
    ///
    /// What it said on standard error.
    pub fn docker(&self, arguments: &[&str]) -> Result<String, String> {
        crate::docker::docker(&[&["--host", &self.host()], arguments].concat())
    }

    /// Starts the daemon, which does not run, and waits until it answers.
    pub async fn resume(&mut self) {
        assert!(self.daemon.is_none(), "the daemon runs already");
        let dir = self.dir.path();
        let log = std::fs::File::options().create(true).append(true).open(dir.join("log"));
        // A daemon without a bridge removes the one that it finds, which may be another
        // daemon's: this one finds a network without any.
        let daemon = Command::new("unshare")
            .args(["--net", "--", "dockerd"])
            .arg("--config-file")
            .arg(dir.join("daemon.json"))
            .arg("--data-root")
            .arg(dir.join("root"))
            .arg("--exec-root")
            .arg(dir.join("exec"))
            .arg("--pidfile")
            .arg(dir.join("pid"))
            .args(["--host", &self.host(), "--bridge=none", "--iptables=false"])
            .args(["--ip-forward=false", "--ip-masq=false", "--shutdown-timeout=10"])
            .arg("--containerd")
            .arg(dir.join("containerd.sock"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.expect("a log of the daemon's own"))
            .spawn();
        self.daemon = Some(daemon.expect("a daemon that can be run"));
        until("the daemon to answer", async || self.docker(&["version"]).is_ok()).await;
    }

    /// Stops the daemon in order.
    pub async fn stop(&mut self) {
        self.signal(Signal::TERM);
        self.ended().await;
    }

    /// Kills the daemon.
    pub async fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.ended().await;
        // What it left would keep the next one from starting.
        let _ = std::fs::remove_file(self.dir.path().join("pid"));
    }

    /// The daemon does nothing any more, and its sockets take connections.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// The daemon goes on.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let daemon = self.daemon.as_ref().expect("a daemon that runs");
        let pid = daemon.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        kill_process(pid.expect("a daemon that runs"), signal).expect("a signal to the daemon");
    }

    async fn ended(&mut self) {
        let mut daemon = self.daemon.take().expect("a daemon that runs");
        within(LONG, "the daemon to end", daemon.wait()).await.expect("its end");
    }

    /// Removes the containers, wherever the test has left the daemon.
    fn remove_containers(&self) {
        let listed = self.docker(&["ps", "--all", "--quiet"]).unwrap_or_default();
        let ids: Vec<&str> = listed.lines().collect();
        if !ids.is_empty() {
            // What is left after this is killed below.
            let _ = self.docker(&[&["rm", "--force"], ids.as_slice()].concat());
        }
    }
}

impl Drop for PrivateEngine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            let from = log.len().saturating_sub(4000);
            eprintln!("--- the daemon's log ---\n{}---", log.get(from..).unwrap_or(&log));
        }
        if self.daemon.is_some() {
            self.thaw();
            self.remove_containers();
            self.signal(Signal::TERM);
            let pid = self.daemon.as_ref().and_then(Child::id).map(|pid| pid.to_string());
            wait_for_end(&pid.expect("a daemon that runs"));
        }
        // It may have ended by itself.
        let _ = self.containerd.start_kill();
        end_shims(self.dir.path());
        unmount_below(self.dir.path());
    }
}

/// As where systemd starts it: on its own, and not as a child of the daemon, whose
/// end it would share.
fn start_containerd(dir: &Path) -> Child {
    let config = dir.join("containerd.toml");
    let settings = "version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n";
    std::fs::write(&config, settings).expect("its configuration");
    let log = std::fs::File::create(dir.join("containerd.log")).expect("a log of its own");
    let started = Command::new("containerd")
        .arg("--config")
        .arg(config)
        .arg("--address")
        .arg(dir.join("containerd.sock"))
        .arg("--root")
        .arg(dir.join("containerd"))
        .arg("--state")
        .arg(dir.join("containerd-state"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .kill_on_drop(true)
        .spawn();
    started.expect("a containerd that can be run")
}

/// Ends shims, and their containers, that a daemon could not remove any more. Their
/// arguments name the directory.
fn end_shims(dir: &Path) {
    let name = dir.to_string_lossy().into_owned();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let arguments = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let arguments = String::from_utf8_lossy(&arguments).into_owned();
        let program = arguments.split('\0').next().unwrap_or_default();
        if !program.contains("containerd-shim") || !arguments.contains(&name) {
            continue;
        }
        let pid = entry.file_name().to_string_lossy().into_owned();
        let children = entry.path().join(format!("task/{pid}/children"));
        let children = std::fs::read_to_string(children).unwrap_or_default();
        for pid in children.split_whitespace().chain([pid.as_str()]) {
            // It may have ended by itself.
            let pid = pid.parse().ok().and_then(Pid::from_raw);
            let _ = pid.map(|pid| kill_process(pid, Signal::KILL));
        }
    }
}

/// What the daemon has mounted, and its small disk: the directory cannot go before.
fn unmount_below(dir: &Path) {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    let below: Vec<&str> = points.filter(|point| Path::new(point).starts_with(dir)).collect();
    for point in below.into_iter().rev() {
        // Nobody uses it any more, and one that stays is seen in the next run.
        let _ = run("umount", &["--lazy", point]);
    }
}

fn wait_for_end(pid: &str) {
    let limit = END_MAX.as_secs().to_string();
    // A zombie has ended; nobody waits for it here.
    let _ = run(
        "timeout",
        &[
            &limit,
            "sh",
            "-c",
            &format!(
                "while grep -q '^State:[[:space:]]*[RSDT]' /proc/{pid}/status 2>/dev/null; do sleep 0.1; done"
            ),
        ],
    );
}

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let ended = Blocking::new(program).args(arguments).stdin(Stdio::null()).output();
    let ended = ended.map_err(|error| format!("{program} cannot be run: {error}"))?;
    if ended.status.success() {
        Ok(())
    } else {
        Err(format!("{program} {arguments:?}: {}", String::from_utf8_lossy(&ended.stderr)))
    }
}
