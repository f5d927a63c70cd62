//! The configuration: `config/default.toml`, then a file, the environment and flags.
//!
//! Every key is read in [`sections`], which makes it exist; the built-in file gives
//! each its default, and says what it is for. All faults are found in one go.

pub mod dialects;
mod layers;
mod reader;
pub mod run;
pub mod sections;
mod show;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sandtree_actors::TreeSettings;
use sandtree_model::{InstanceId, Profile, ProfileName};

use crate::edge::context::EdgeSettings;
use dialects::Dialects;
use layers::{Key, Leaf, Leaves, Source};
use reader::Reader;
use run::Run;
pub use sections::{Docker, Log, Pool, Secret, Server, Store, StorePlace, Tree};

/// The defaults, which are also the documentation of every key.
const BUILT_IN: [&str; 6] = [
    include_str!("../config/default.toml"),
    include_str!("../config/run.toml"),
    include_str!("../config/dialects/builder.toml"),
    include_str!("../config/dialects/bharatbuild.toml"),
    include_str!("../config/dialects/terminal_server.toml"),
    include_str!("../config/dialects/daiv.toml"),
];

/// The last number that can be a uid.
const UID_MAX: u32 = u32::MAX - 1;

/// The whole configuration, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// `[server]`.
    pub server: Server,
    /// The key of `[auth]`, if there is one.
    pub admin_key: Option<Secret>,
    /// `[store]`.
    pub store: Store,
    /// `[docker]` and `[images]`.
    pub docker: Docker,
    /// `[profiles]`, each complete.
    pub profiles: BTreeMap<ProfileName, Profile>,
    /// `[tree]`.
    pub tree: Tree,
    /// `[pool]`.
    pub pool: Pool,
    /// `[run]`.
    pub run: Arc<Run>,
    /// `[dialects]`.
    pub dialects: Arc<Dialects>,
    /// `[log]`.
    pub log: Log,
    leaves: BTreeMap<Key, Leaf>,
}

/// What the command line says about the configuration.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// A file that is laid over the defaults.
    pub file: Option<PathBuf>,
    /// `--listen`.
    pub listen: Option<String>,
    /// `--data-dir`.
    pub data_dir: Option<String>,
    /// `--database-url`.
    pub database_url: Option<String>,
}

/// One thing that is wrong with the configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// The key, unless the whole source is wrong.
    pub key: Option<Key>,
    /// Where it was written.
    pub source: Source,
    /// What was written, without secrets.
    pub value: Option<String>,
    /// What is wrong with it, and what is allowed.
    pub problem: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => write!(f, "{key}")?,
            None => write!(f, "{}", self.source)?,
        }
        if let Some(value) = &self.value {
            write!(f, " = {value}")?;
        }
        if self.key.is_some() {
            write!(f, " ({})", self.source)?;
        }
        write!(f, ": {}", self.problem)
    }
}

/// Everything that is wrong with the configuration, one fault in a line.
#[derive(Debug, Clone, PartialEq)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|fault| writeln!(f, "{fault}"))
    }
}

impl std::error::Error for Faults {}

impl Config {
    /// Reads all layers.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with them.
    pub fn load(
        overrides: &Overrides,
        env: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Faults> {
        let mut faults = Vec::new();
        let mut leaves = Leaves::default();
        for text in BUILT_IN {
            leaves.add_toml(text, &Source::BuiltIn, &mut faults);
        }
        if let Some(path) = &overrides.file {
            add_file(&mut leaves, path, &mut faults);
        }
        leaves.add_env(env);
        for (key, flag, value) in [
            ("server.listen", "--listen", &overrides.listen),
            ("server.data_dir", "--data-dir", &overrides.data_dir),
            ("store.url", "--database-url", &overrides.database_url),
        ] {
            if let Some(value) = value {
                leaves.add(Key::dotted(key), value.as_str().into(), Source::Flag(flag));
            }
        }
        leaves.inherit();
        Self::read(Reader::new(leaves, faults))
    }

    fn read(mut reader: Reader) -> Result<Self, Faults> {
        let config = Self::sections(&mut reader);
        let (leaves, faults) = reader.finish();
        if faults.is_empty() { Ok(Self { leaves, ..config }) } else { Err(Faults(faults)) }
    }

    fn sections(r: &mut Reader) -> Self {
        let server = sections::server(r);
        let admin_key = sections::admin_key(r);
        if admin_key.is_none() && !server.listen.ip().is_loopback() {
            let problem = "is not a loopback address, which is all that is served while \
                           auth.admin_key is not set";
            r.fault(&Key::dotted("server.listen"), problem);
        }
        let tree = sections::tree(r);
        if tree.uid_first.checked_add(tree.uid_count).is_none_or(|end| end > UID_MAX) {
            let problem = format!("leads, with tree.uid_first, beyond the last uid, {UID_MAX}");
            r.fault(&Key::dotted("tree.uid_count"), problem);
        }
        let (profiles, pool) = (sections::profiles(r), sections::pool(r));
        for name in pool.sizes.keys().filter(|name| !profiles.contains_key(*name)) {
            let known = profiles.keys().map(|name| &**name).collect::<Vec<_>>().join(", ");
            let problem = format!("is of no profile; there are {known}");
            r.fault(&Key::of(["pool", "sizes", name]), problem);
        }
        let run = run::run(r);
        for (name, language) in &run.languages {
            if !profiles.contains_key(&language.profile) {
                let known = profiles.keys().map(|name| &**name).collect::<Vec<_>>().join(", ");
                let problem = format!("is no profile; there are {known}");
                r.fault(&Key::of(["run", "languages", name, "profile"]), problem);
            }
        }
        Self {
            run: run.into(),
            store: sections::store(r, &server.data_dir),
            server,
            admin_key,
            docker: sections::docker(r),
            profiles,
            tree,
            pool,
            dialects: dialects::dialects(r).into(),
            log: sections::log(r),
            leaves: BTreeMap::new(),
        }
    }

    /// Everything below the data directory is found at `path` instead: the same place,
    /// without links and with nothing relative in it.
    pub fn move_to(&mut self, path: &Path) {
        if let StorePlace::Sqlite(file) = &mut self.store.place
            && let Ok(below) = file.strip_prefix(&self.server.data_dir)
        {
            *file = path.join(below);
        }
        path.clone_into(&mut self.server.data_dir);
    }

    /// Every key with its value and source, one in a line; secrets are masked, and what
    /// is not built in is marked with a star.
    #[must_use]
    pub fn effective(&self) -> String {
        show::effective(&self.leaves)
    }

    /// What the edge needs of it.
    #[must_use]
    pub fn edge_settings(&self) -> EdgeSettings {
        let server = self.server.clone();
        EdgeSettings {
            json_bytes_max: server.json_bytes_max,
            file_bytes_max: server.file_bytes_max,
            archive_bytes_max: server.archive_bytes_max,
            archives_max: server.archives_max,
            fast_uploads_max: server.fast_uploads_max,
            searches_max: server.searches_max,
            preview_connections_max: server.preview_connections_max,
            websocket_message_bytes_max: server.websocket_message_bytes_max,
            wait_max: server.wait_max,
            preview_domain: server.preview_domain,
            allowed_hosts: server.allowed_hosts,
            allowed_origins: server.allowed_origins,
            run: Arc::clone(&self.run),
            dialects: Arc::clone(&self.dialects),
        }
    }

    /// The profiles within the bounds of the whole server.
    fn bounded_profiles(&self) -> BTreeMap<ProfileName, Profile> {
        let mut profiles = self.profiles.clone();
        for profile in profiles.values_mut() {
            profile.network = profile.network.min(self.tree.network_max);
        }
        profiles
    }

    /// What the tree needs of it.
    #[must_use]
    pub fn tree_settings(
        &self,
        instance: InstanceId,
        is_owner: bool,
        init: PathBuf,
    ) -> TreeSettings {
        let tree = &self.tree;
        TreeSettings {
            instance,
            is_owner,
            data_dir: self.server.data_dir.clone(),
            init,
            profiles: self.bounded_profiles(),
            network_max: tree.network_max,
            boot_timeout: tree.boot_timeout,
            operation_timeout: tree.operation_timeout,
            project_requests_max: tree.project_requests_max,
            tenant_requests_max: tree.tenant_requests_max,
            engine_operations_max: tree.engine_operations_max,
            execs_max: tree.execs_max,
            terminal_ring_bytes: tree.terminal_ring_bytes,
            terminal_viewers_max: tree.terminal_viewers_max,
            log_ring_bytes: tree.log_ring_bytes,
            log_file_bytes: tree.log_file_bytes,
            log_files: tree.log_files,
            events_kept: tree.events_kept,
            passivate_after: tree.passivate_after,
            janitor_interval: tree.janitor_interval,
            pool_sizes: self.pool.sizes.clone(),
            pool_refills_max: self.pool.refills_max,
            watches_max: tree.watches_max,
            terminal_input_max: tree.terminal_input_max,
            link_requests_max: tree.link_requests_max,
            link_owed_max: tree.link_owed_max,
            home_closing_max: tree.home_closing_max,
            batch_max: tree.batch_max,
            writes_waiting_max: tree.writes_waiting_max,
        }
    }
}

fn add_file(leaves: &mut Leaves, path: &Path, faults: &mut Vec<Fault>) {
    let source = Source::File(path.into());
    match std::fs::read_to_string(path) {
        Ok(text) => leaves.add_toml(&text, &source, faults),
        Err(error) => faults.push(Fault {
            key: None,
            source,
            value: None,
            problem: format!("cannot be read: {error}"),
        }),
    }
}

#[cfg(test)]
mod tests;
