//! A real PostgreSQL server of a test's own: in a fresh directory, on a unix
//! socket in it and a free port of the loopback, as durable as one in production.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, geteuid, kill_process};
use tempfile::TempDir;

use crate::small_disk::SmallDisk;
use crate::wait::until;

/// Where Debian and Ubuntu have the programs, one directory for each version.
const VERSIONS: &str = "/usr/lib/postgresql";
/// Who runs the server when the tests are root's, which PostgreSQL refuses to be.
const USERS: [&str; 2] = ["postgres", "nobody"];
/// Settings that keep what it writes ahead small.
const LITTLE_LOG: &str = "min_wal_size = 8MB\nmax_wal_size = 16MB\n";
/// The user, and the database, of the server.
const NAME: &str = "sandtree";

/// A server under test; when it is dropped, it ends and its data is gone.
pub struct TestPostgres {
    dir: TempDir,
    /// Where its data is: in its directory, or on a disk of the test's.
    data: PathBuf,
    bin: PathBuf,
    port: u16,
    /// Uid and gid of the processes, if not our own.
    user: Option<(u32, u32)>,
    postmaster: Option<Child>,
}

impl TestPostgres {
    /// Starts one with an empty database.
    ///
    /// # Panics
    ///
    /// When PostgreSQL is not installed, or does not start.
    pub async fn start() -> Self {
        Self::start_with(None).await
    }

    /// As [`TestPostgres::start`], with its data on a disk that can be filled, and as
    /// little as possible of what it writes ahead.
    ///
    /// # Panics
    ///
    /// As [`TestPostgres::start`].
    pub async fn start_on(disk: &SmallDisk) -> Self {
        Self::start_with(Some(disk)).await
    }

    async fn start_with(disk: Option<&SmallDisk>) -> Self {
        let bin = programs().unwrap_or_else(|| {
            panic!("there is no PostgreSQL in {VERSIONS}: run scripts/ensure-tools, or `make test`")
        });
        let dir = tempfile::Builder::new().prefix("sandtree-pg-").tempdir();
        let dir = dir.expect("a directory for PostgreSQL");
        let user = geteuid().is_root().then(unprivileged);
        for path in [Some(dir.path()), disk.map(SmallDisk::path)].into_iter().flatten() {
            if let Some((uid, gid)) = &user {
                chown(path, Some(*uid), Some(*gid)).expect("its owner set");
            }
        }
        let data = disk.map_or(dir.path(), SmallDisk::path).join("data");
        // A port that was free a moment ago.
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let port = free.expect("a free port").port();
        let mut server = Self { dir, data, bin, port, user, postmaster: None };
        server.init(if disk.is_some() { LITTLE_LOG } else { "" });
        server.restart().await;
        server.psql("postgres", &format!("CREATE DATABASE {NAME}"));
        server
    }

    /// Whether PostgreSQL is installed.
    #[must_use]
    pub fn is_installed() -> bool {
        programs().is_some()
    }

    /// Its database, over the unix socket.
    #[must_use]
    pub fn url(&self) -> String {
        let dir = self.dir.path().display();
        format!("postgres://{NAME}@localhost:{}/{NAME}?host={dir}", self.port)
    }

    /// Its database, over a TCP port of the loopback: its own, or a proxy's before it.
    #[must_use]
    pub fn url_at(&self, port: u16) -> String {
        format!("postgres://{NAME}@127.0.0.1:{port}/{NAME}")
    }

    /// Its TCP port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Runs a statement in its database with psql; what that shows.
    ///
    /// # Panics
    ///
    /// When it fails.
    pub fn sql(&self, text: &str) -> String {
        self.psql(NAME, text)
    }

    /// Writes so much ahead, as transactions would, until it has no room for more and
    /// gives up: its own word for that is a panic.
    pub fn panic_for_room(&self) {
        let piece = "SELECT pg_logical_emit_message(false, 'filler', repeat('x', 1000000))";
        let text = format!("{piece} FROM generate_series(1, 1000)");
        let said = self.try_psql(NAME, &text).expect_err("a log without an end");
        assert!(said.contains("No space left on device"), "{said}");
    }

    /// Waits until it takes connections, and starts it as often as it ends by itself.
    pub async fn revive(&mut self) {
        until("PostgreSQL to take connections", async || {
            let postmaster = self.postmaster.as_mut().expect("a PostgreSQL that was started");
            if postmaster.try_wait().is_ok_and(|ended| ended.is_some()) {
                self.spawn();
            }
            self.is_ready()
        })
        .await;
    }

    /// Kills it as a power cut would: every process of it at once.
    pub async fn kill9(&mut self) {
        let postmaster = self.postmaster.take().expect("a PostgreSQL that runs");
        let children = kill_all(postmaster);
        // The next one refuses to start while one of these has the memory they shared.
        until("PostgreSQL's processes to be gone", async || {
            !children.iter().any(|child| is_alive(*child))
        })
        .await;
    }

    /// Every process of it stands still: its port takes connections, and nothing answers.
    pub fn freeze(&self) {
        self.processes().into_iter().for_each(|pid| signal(pid, Signal::STOP));
    }

    /// It goes on.
    pub fn thaw(&self) {
        self.processes().into_iter().for_each(|pid| signal(pid, Signal::CONT));
    }

    fn processes(&self) -> Vec<u32> {
        let postmaster = self.postmaster.as_ref().expect("a PostgreSQL that runs").id();
        [postmaster].into_iter().chain(children(postmaster)).collect()
    }

    /// Ends it as an administrator would who does not wait for its clients.
    pub fn stop(&mut self) {
        let mut postmaster = self.postmaster.take().expect("a PostgreSQL that runs");
        signal(postmaster.id(), Signal::INT);
        postmaster.wait().expect("the end of PostgreSQL");
    }

    /// Starts it again on the same data; it must not run.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub async fn restart(&mut self) {
        assert!(self.postmaster.is_none(), "PostgreSQL still runs");
        self.spawn();
        until("PostgreSQL to start", async || {
            let postmaster = self.postmaster.as_mut().expect("just started");
            if let Ok(Some(status)) = postmaster.try_wait() {
                let log = fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
                panic!("PostgreSQL ended with {status}:\n{log}");
            }
            self.is_ready()
        })
        .await;
    }

    fn spawn(&mut self) {
        let log = fs::File::options().create(true).append(true).open(self.dir.path().join("log"));
        let log = log.expect("PostgreSQL's log");
        let mut command = self.program("postgres");
        command
            .arg("-D")
            .arg(&self.data)
            .arg("-k")
            .arg(self.dir.path())
            .args(["-p", &self.port.to_string(), "-c", "listen_addresses=127.0.0.1"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("its log twice"))
            .stderr(log);
        self.postmaster = Some(command.spawn().expect("PostgreSQL's server"));
    }

    fn init(&self, more: &str) {
        let mut initdb = self.program("initdb");
        // Only what it makes here is not synced; the server syncs all that it writes.
        let made = initdb
            .args(["--no-sync", "-A", "trust", "-E", "UTF8", "--locale=C", "--wal-segsize=4"])
            .args(["-U", NAME, "-D"])
            .arg(&self.data)
            .output()
            .expect("initdb");
        let said = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success(), "initdb: {said}");
        let config = "fsync = on\nsynchronous_commit = on\nfull_page_writes = on\nautovacuum = on\n\
                      max_connections = 40\nshared_buffers = 32MB\n";
        let path = self.data.join("postgresql.auto.conf");
        fs::write(path, format!("{config}{more}")).expect("PostgreSQL's settings");
    }

    fn is_ready(&self) -> bool {
        let mut ask = self.program("pg_isready");
        let ask = ask
            .args(["-q", "-U", NAME, "-d", "postgres", "-h"])
            .arg(self.dir.path())
            .args(["-p", &self.port.to_string()]);
        ask.status().is_ok_and(|status| status.success())
    }

    fn psql(&self, database: &str, text: &str) -> String {
        self.try_psql(database, text).unwrap_or_else(|said| panic!("{text}: {said}"))
    }

    fn try_psql(&self, database: &str, text: &str) -> Result<String, String> {
        let mut psql = self.program("psql");
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", NAME, "-d", database]);
        psql.arg("-h").arg(self.dir.path()).args(["-p", &self.port.to_string(), "-c", text]);
        let done = psql.output().expect("psql");
        if done.status.success() {
            Ok(String::from_utf8_lossy(&done.stdout).trim().to_owned())
        } else {
            Err(String::from_utf8_lossy(&done.stderr).into_owned())
        }
    }

    /// A program as its unprivileged user, which ends when the test's process does.
    fn program(&self, name: &str) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        if let Some((uid, gid)) = &self.user {
            command.arg("--reuid").arg(uid.to_string()).arg("--regid").arg(gid.to_string());
            command.arg("--clear-groups");
        }
        command.arg(self.bin.join(name)).current_dir(self.dir.path());
        command.env_clear().env("LC_ALL", "C").env("PATH", "/usr/bin:/bin");
        command
    }
}

impl Drop for TestPostgres {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            let from = log.len().saturating_sub(4096);
            eprintln!("--- PostgreSQL's log ---\n{}---", log.get(from..).unwrap_or(&log));
        }
        if let Some(postmaster) = self.postmaster.take() {
            // Its data goes as well, so nothing has to be saved.
            kill_all(postmaster);
        }
    }
}

/// The programs of the newest version that is installed.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir(VERSIONS).ok()?.flatten();
    let numbered = versions.filter_map(|version| {
        let number: u32 = version.file_name().to_str()?.parse().ok()?;
        let bin = version.path().join("bin");
        bin.join("postgres").exists().then_some((number, bin))
    });
    numbered.max().map(|(_, bin)| bin)
}

/// Uid and gid of somebody who is not root.
fn unprivileged() -> (u32, u32) {
    let users = fs::read_to_string("/etc/passwd").expect("the users of this machine");
    let find = |name: &&str| {
        let line = users.lines().find(|line| line.starts_with(&format!("{name}:")))?;
        let mut fields = line.split(':').skip(2).map(str::parse);
        Some((fields.next()?.ok()?, fields.next()?.ok()?))
    };
    USERS.iter().find_map(find).expect("a user who may run PostgreSQL")
}

/// Kills a server with all of its processes; these are no children of ours, so
/// they are answered.
fn kill_all(mut postmaster: Child) -> Vec<u32> {
    let pid = postmaster.id();
    let children = children(pid);
    signal(pid, Signal::KILL);
    children.iter().for_each(|child| signal(*child, Signal::KILL));
    postmaster.wait().expect("the end of PostgreSQL");
    children
}

fn children(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let text = text.unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

fn is_alive(pid: u32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    // A zombie holds nothing any more.
    !stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with(['Z', 'X']))
}

fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // It may have ended by itself.
        let _ = kill_process(pid, signal);
    }
}
