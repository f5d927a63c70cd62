//! The sections of the configuration. Reading a key here is what makes it exist.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sandtree_model::limits::RANGES;
use sandtree_model::profile::{Capability, Expiry, User};
use sandtree_model::project::{ENV_BYTES_MAX, ENV_ENTRIES_MAX};
use sandtree_model::{Limits, Network, Profile, ProfileName};
use warp::http::Uri;

use super::layers::Key;
use super::reader::Reader;
use crate::store::postgres::PostgresConfig;

/// File of the store in the data directory, unless the configuration names another.
const STORE_FILE: &str = "sandtree.db";

pub(super) const KIB: u64 = 1024;
pub(super) const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;
const TIB: u64 = 1024 * GIB;
pub(super) const MINUTE: u64 = 60;
pub(super) const HOUR: u64 = 60 * MINUTE;

/// `[server]`: where and how requests are taken.
#[derive(Debug, Clone)]
pub struct Server {
    /// Where the server listens; port 0 picks a free one.
    pub listen: SocketAddr,
    /// Directory of everything that the server keeps.
    pub data_dir: PathBuf,
    /// Previews are served below this domain too.
    pub preview_domain: Option<Box<str>>,
    /// Host names that this server answers to.
    pub allowed_hosts: Vec<Box<str>>,
    /// Web origins whose pages may use the API, besides the server's own.
    pub allowed_origins: Vec<Box<str>>,
    /// Most connections at once.
    pub connections_max: usize,
    /// Longest time in which a request's head has to arrive.
    pub header_timeout: Duration,
    /// Most headers of one request.
    pub headers_max: usize,
    /// Largest JSON body, in bytes.
    pub json_bytes_max: u64,
    /// Largest file in one upload, in bytes.
    pub file_bytes_max: u64,
    /// Largest archive in one upload, in bytes.
    pub archive_bytes_max: u64,
    /// Most archives that are packed or unpacked at once.
    pub archives_max: usize,
    /// Most uploads that are written in large blocks at once.
    pub fast_uploads_max: usize,
    /// Most searches of files at once.
    pub searches_max: usize,
    /// Most connections to the ports of one sandbox at once.
    pub preview_connections_max: usize,
    /// Largest message of a WebSocket client, in bytes.
    pub websocket_message_bytes_max: usize,
    /// Longest `timeout` of a request that waits for a phase.
    pub wait_max: Duration,
    /// Time that requests have left when the server is told to end.
    pub shutdown_deadline: Duration,
}

/// `[docker]`: how the engine is reached.
#[derive(Debug, Clone)]
pub struct Docker {
    /// The daemon's socket.
    pub host: Box<str>,
    /// Longest time of one request.
    pub request_timeout: Duration,
    /// Most requests at once.
    pub concurrency_max: usize,
    /// Most open files of one process in a sandbox.
    pub open_files_max: u32,
    /// Most images that are fetched at once.
    pub pulls_max: usize,
    /// Most images that are remembered.
    pub images_known_max: usize,
    /// Longest time in which an image is fetched.
    pub pull_timeout: Duration,
    /// Longest time until a registry begins to answer.
    pub pull_begin_timeout: Duration,
    /// `[images.aliases]`: images to use instead of others.
    pub image_aliases: BTreeMap<Box<str>, Box<str>>,
}

/// `[tree]`: bounds of the whole server.
#[derive(Debug, Clone)]
pub struct Tree {
    /// First uid and gid of sandboxes that have their own.
    pub uid_first: u32,
    /// How many there are.
    pub uid_count: u32,
    /// See the field of the same name of [`sandtree_actors::TreeSettings`],
    /// as for all that follow.
    pub boot_timeout: Duration,
    /// What a sandbox can reach at most.
    pub network_max: Network,
    /// Longest time of one operation that a client waits for.
    pub operation_timeout: Duration,
    /// Most requests in flight for one project.
    pub project_requests_max: usize,
    /// Most requests in flight for one tenant.
    pub tenant_requests_max: usize,
    /// Most operations of the engine in flight.
    pub engine_operations_max: usize,
    /// Most commands at once in one sandbox.
    pub execs_max: u32,
    /// Bytes of a terminal's output that are kept.
    pub terminal_ring_bytes: usize,
    /// Most viewers of one terminal.
    pub terminal_viewers_max: usize,
    /// Bytes of a process's output that its sandbox keeps.
    pub log_ring_bytes: u64,
    /// Size of one file of a process's log.
    pub log_file_bytes: u64,
    /// Files of a process's log that are kept.
    pub log_files: u32,
    /// Events of a project that are kept in memory.
    pub events_kept: usize,
    /// A project at rest leaves memory after so long.
    pub passivate_after: Duration,
    /// Time between two rounds of the janitor.
    pub janitor_interval: Duration,
    /// Most watches of one sandbox's files at once.
    pub watches_max: usize,
    /// Input that one shell has not taken, in messages.
    pub terminal_input_max: usize,
    /// Most requests that wait to be written to one init.
    pub link_requests_max: usize,
    /// Most replies and streams that one init owes.
    pub link_owed_max: usize,
    /// Most connections of one sandbox that wait to be closed.
    pub home_closing_max: usize,
    /// Most writes in one transaction.
    pub batch_max: usize,
    /// Most writes that wait for a transaction.
    pub writes_waiting_max: usize,
}

/// `[pool]`: started sandboxes that wait for a create.
#[derive(Debug, Clone)]
pub struct Pool {
    /// `[pool.sizes]`: how many, by profile.
    pub sizes: BTreeMap<ProfileName, usize>,
    /// Most that are being made at once.
    pub refills_max: usize,
}

/// `[log]`: how log lines are written.
#[derive(Debug, Clone)]
pub struct Log {
    /// As JSON rather than as text.
    pub json: bool,
    /// Directives of what is logged.
    pub level: Box<str>,
}

/// `[store]`: where state is kept.
#[derive(Debug, Clone)]
pub struct Store {
    /// In which database.
    pub place: StorePlace,
    /// Most connections that read.
    pub readers_max: u32,
    /// How long a start waits for a database that is away.
    pub start_timeout: Duration,
}

/// A database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StorePlace {
    /// A file.
    Sqlite(PathBuf),
    /// A server, by a URL that may hold a password.
    Postgres(Secret),
}

/// A text that is not printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

impl Secret {
    /// Keeps a text secret.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The text; whoever asks keeps it out of logs.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

pub(super) fn server(r: &mut Reader) -> Server {
    let key = |name| Key::of(["server", name]);
    Server {
        listen: listen(r, &key("listen")),
        data_dir: r.text(&key("data_dir"), "a path", not_empty).into_string().into(),
        preview_domain: Some(r.text(&key("preview_domain"), "a host name, or empty", |text| {
            if text.is_empty() { Ok(()) } else { host_name(text).map(drop) }
        }))
        .filter(|domain| !domain.is_empty()),
        allowed_hosts: r.list(&key("allowed_hosts"), "a list of host names", host_name),
        allowed_origins: r.list(
            &key("allowed_origins"),
            "a list of origins, such as https://ide.example.com",
            origin,
        ),
        connections_max: r.count(&key("connections_max"), 1..=1_000_000),
        header_timeout: r.span(&key("header_timeout"), 1..=10 * MINUTE),
        headers_max: r.count(&key("headers_max"), 16..=1000),
        json_bytes_max: r.number(&key("json_bytes_max"), KIB..=64 * MIB),
        file_bytes_max: r.number(&key("file_bytes_max"), KIB..=TIB),
        archive_bytes_max: r.number(&key("archive_bytes_max"), KIB..=TIB),
        archives_max: r.count(&key("archives_max"), 1..=1024),
        fast_uploads_max: r.count(&key("fast_uploads_max"), 0..=65_536),
        searches_max: r.count(&key("searches_max"), 1..=1024),
        preview_connections_max: r.count(&key("preview_connections_max"), 1..=65_536),
        websocket_message_bytes_max: r.count(&key("websocket_message_bytes_max"), KIB..=64 * MIB),
        wait_max: r.span(&key("wait_max"), 1..=HOUR),
        shutdown_deadline: r.span(&key("shutdown_deadline"), 0..=10 * MINUTE),
    }
}

pub(super) fn admin_key(r: &mut Reader) -> Option<Secret> {
    let allowed = "up to 1024 characters of printable ASCII, or empty";
    let text = r.text(&Key::dotted("auth.admin_key"), allowed, |text| {
        let fine = text.len() <= 1024 && text.bytes().all(|byte| byte.is_ascii_graphic());
        fine.then_some(()).ok_or_else(|| "is not a key that a header can carry".to_owned())
    });
    (!text.is_empty()).then_some(Secret(text))
}

pub(super) fn store(r: &mut Reader, data_dir: &Path) -> Store {
    let allowed = "sqlite: and a path, sqlite: alone, or postgres://user@host:port/database";
    let url = r.text(&Key::dotted("store.url"), allowed, |text| {
        let fine = sqlite_path(text).is_some() || PostgresConfig::is_url(text);
        fine.then_some(()).ok_or_else(|| "is not the URL of a store".to_owned())
    });
    let place = match sqlite_path(&url) {
        Some("") => StorePlace::Sqlite(data_dir.join(STORE_FILE)),
        Some(path) => StorePlace::Sqlite(path.into()),
        None => StorePlace::Postgres(Secret(url)),
    };
    Store {
        place,
        readers_max: r.small(&Key::dotted("store.readers_max"), 1..=256),
        start_timeout: r.span(&Key::dotted("store.start_timeout"), 0..=10 * MINUTE),
    }
}

fn sqlite_path(url: &str) -> Option<&str> {
    let path = url.strip_prefix("sqlite:")?;
    Some(path.strip_prefix("//").unwrap_or(path))
}

pub(super) fn docker(r: &mut Reader) -> Docker {
    let key = |name| Key::of(["docker", name]);
    Docker {
        host: r.text(&key("host"), "unix:// and a path", |text| {
            let path = text.strip_prefix("unix://").unwrap_or(text);
            path.starts_with('/').then_some(()).ok_or_else(|| "is not a unix socket".to_owned())
        }),
        request_timeout: r.span(&key("request_timeout"), 1..=10 * MINUTE),
        concurrency_max: r.count(&key("concurrency_max"), 1..=1024),
        open_files_max: r.small(&key("open_files_max"), 256..=1_048_576),
        pulls_max: r.count(&key("pulls_max"), 1..=256),
        images_known_max: r.count(&key("images_known_max"), 1..=65_536),
        pull_timeout: r.span(&key("pull_timeout"), 1..=HOUR),
        pull_begin_timeout: r.span(&key("pull_begin_timeout"), 1..=10 * MINUTE),
        image_aliases: r.texts(
            &Key::dotted("images.aliases"),
            "the name of an image",
            |_, text| image(text),
        ),
    }
}

pub(super) fn tree(r: &mut Reader) -> Tree {
    let key = |name| Key::of(["tree", name]);
    Tree {
        uid_first: r.small(&key("uid_first"), 1000..=4_000_000_000),
        uid_count: r.small(&key("uid_count"), 1..=4_000_000_000),
        boot_timeout: r.span(&key("boot_timeout"), 1..=10 * MINUTE),
        network_max: network(r, &key("network_max")),
        operation_timeout: r.span(&key("operation_timeout"), 1..=HOUR),
        project_requests_max: r.count(&key("project_requests_max"), 1..=100_000),
        tenant_requests_max: r.count(&key("tenant_requests_max"), 1..=1_000_000),
        engine_operations_max: r.count(&key("engine_operations_max"), 1..=1024),
        execs_max: r.small(&key("execs_max"), 1..=1024),
        terminal_ring_bytes: r.count(&key("terminal_ring_bytes"), 4 * KIB..=64 * MIB),
        terminal_viewers_max: r.count(&key("terminal_viewers_max"), 1..=1024),
        log_ring_bytes: r.number(&key("log_ring_bytes"), 64 * KIB..=256 * MIB),
        log_file_bytes: r.number(&key("log_file_bytes"), 64 * KIB..=16 * GIB),
        log_files: r.small(&key("log_files"), 2..=1000),
        events_kept: r.count(&key("events_kept"), 16..=65_536),
        passivate_after: r.span(&key("passivate_after"), 1..=HOUR),
        janitor_interval: r.span(&key("janitor_interval"), 1..=HOUR),
        watches_max: r.count(&key("watches_max"), 1..=100),
        terminal_input_max: r.count(&key("terminal_input_max"), 1..=4096),
        link_requests_max: r.count(&key("link_requests_max"), 16..=65_536),
        link_owed_max: r.count(&key("link_owed_max"), 16..=65_536),
        home_closing_max: r.count(&key("home_closing_max"), 1..=4096),
        batch_max: r.count(&key("batch_max"), 1..=10_000),
        writes_waiting_max: r.count(&key("writes_waiting_max"), 16..=1_000_000),
    }
}

pub(super) fn pool(r: &mut Reader) -> Pool {
    Pool {
        sizes: r.counts(&Key::dotted("pool.sizes"), 0..=1000),
        refills_max: r.count(&Key::dotted("pool.refills_max"), 1..=64),
    }
}

pub(super) fn log(r: &mut Reader) -> Log {
    let format = r.text(&Key::dotted("log.format"), "text or json", |text| match text {
        "text" | "json" => Ok(()),
        _ => Err("is not a format".to_owned()),
    });
    let allowed = "directives of the tracing crate";
    let level = r.text(&Key::dotted("log.level"), allowed, |text| {
        let parsed = text.parse::<tracing_subscriber::filter::targets::Targets>();
        parsed.map(drop).map_err(|error| error.to_string())
    });
    Log { json: &*format == "json", level }
}

pub(super) fn profiles(r: &mut Reader) -> BTreeMap<ProfileName, Profile> {
    let mut profiles = BTreeMap::new();
    for name in r.profiles() {
        let profile = profile(r, &name);
        profiles.insert(name, profile);
    }
    profiles
}

fn network(r: &mut Reader, key: &Key) -> Network {
    r.read(key, "none or bridge", Network::None, |leaf| {
        word(leaf.value.as_str().unwrap_or_default())
    })
}

fn profile(r: &mut Reader, name: &str) -> Profile {
    let key = |field| Key::of(["profiles", name, field]);
    let capabilities = "a list of CHOWN, DAC_OVERRIDE, FOWNER, SETUID, SETGID";
    let runtime = "the name of a runtime, or empty";
    Profile {
        image: r.text(&key("image"), "the name of an image", image),
        user: r.read(
            &key("user"),
            "own, image, or a uid and a gid in numbers, such as 1000:1000",
            User::Own,
            |leaf| User::try_from(leaf.value.as_str().unwrap_or_default().to_owned()),
        ),
        read_only_root: r.flag(&key("read_only_root")),
        capabilities: r.list(&key("capabilities"), capabilities, word::<Capability>),
        network: network(r, &key("network")),
        runtime: r.text(&key("runtime"), runtime, |text| {
            let fine = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            text.chars().all(fine).then_some(()).ok_or_else(|| "is not a name".to_owned())
        }),
        limits: limits(r, name),
        env: env(r, name),
        shells: r.list(&key("shells"), "a list of absolute paths", |text| {
            let fine = text.starts_with('/') && !text.contains('\0');
            fine.then(|| text.into()).ok_or_else(|| format!("{text:?} is not an absolute path"))
        }),
        idle_timeout: r.timeout(&key("idle_timeout")),
        max_lifetime: r.timeout(&key("max_lifetime")),
        stop_grace: sandtree_model::durations::Span(r.span(&key("stop_grace"), 0..=HOUR)),
        restarts_max: r.small(&key("restarts_max"), 0..=100),
        expiry: r.read(&key("expiry"), "stop or delete", Expiry::Stop, |leaf| {
            word(leaf.value.as_str().unwrap_or_default())
        }),
        stopped_retention: r.timeout(&key("stopped_retention")),
        stopped_max: r.small(&key("stopped_max"), 0..=1_000_000),
    }
}

fn limits(r: &mut Reader, name: &str) -> Limits {
    let [memory_bytes, cpu_millis, pids, tmp_bytes] =
        RANGES.map(|(field, range)| r.number(&Key::of(["profiles", name, "limits", field]), range));
    Limits { memory_bytes, cpu_millis, pids, tmp_bytes }
}

fn env(r: &mut Reader, name: &str) -> BTreeMap<Box<str>, Box<str>> {
    let key = Key::of(["profiles", name, "env"]);
    let env = r.texts(&key, "a variable's name and a text without NUL", |name, text| {
        let fine = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let named = !name.starts_with(|c: char| c.is_ascii_digit()) && name.chars().all(fine);
        (named && !text.contains('\0'))
            .then_some(())
            .ok_or_else(|| "cannot be a variable".to_owned())
    });
    let bytes: usize = env.iter().map(|(name, text)| name.len() + text.len()).sum();
    if env.len() > ENV_ENTRIES_MAX || bytes > ENV_BYTES_MAX {
        let most = format!("{ENV_ENTRIES_MAX} variables and {ENV_BYTES_MAX} bytes");
        r.fault(&key, format!("is too large; allowed: at most {most}"));
    }
    env
}

/// A word of an enum of the model.
fn word<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(text.into()).map_err(|_| format!("{text:?} is not one of them"))
}

fn listen(r: &mut Reader, key: &Key) -> SocketAddr {
    let allowed = "an address with a port, such as 127.0.0.1:8080";
    let fallback = SocketAddr::from(([127, 0, 0, 1], 0));
    r.read(key, allowed, fallback, |leaf| {
        let text = leaf.value.as_str().unwrap_or_default();
        let text = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
        let text = text.unwrap_or_else(|| leaf.value.as_str().unwrap_or_default().to_owned());
        text.parse().map_err(|_| "is not an address with a port".to_owned())
    })
}

fn not_empty(text: &str) -> Result<(), String> {
    let fine = !text.is_empty() && !text.contains('\0');
    fine.then_some(()).ok_or_else(|| "is empty".to_owned())
}

pub(super) fn image(text: &str) -> Result<(), String> {
    let fine = |c: char| c.is_ascii_alphanumeric() || "._-/:@".contains(c);
    let named = !text.is_empty() && text.len() <= 512 && text.chars().all(fine);
    named.then_some(()).ok_or_else(|| "is not the name of an image".to_owned())
}

fn host_name(text: &str) -> Result<Box<str>, String> {
    let fine = |c: char| c.is_ascii_alphanumeric() || "-.".contains(c);
    let named = !text.is_empty() && !text.starts_with('.') && text.chars().all(fine);
    match named {
        true => Ok(text.to_ascii_lowercase().into()),
        false => Err(format!("{text:?} is not a host name without a port")),
    }
}

pub(super) fn origin(text: &str) -> Result<Box<str>, String> {
    let uri = text.parse::<Uri>().map_err(|_| format!("{text:?} is not an origin"))?;
    let web = matches!(uri.scheme_str(), Some("http" | "https"));
    match uri.authority().filter(|_| web && !text.ends_with('/') && uri.path() == "/") {
        Some(_) => Ok(text.to_ascii_lowercase().into()),
        None => Err(format!("{text:?} is not an origin")),
    }
}
