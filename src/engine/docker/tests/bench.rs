//! A real daemon, an image and sandboxes of one test's own; dropping it removes
//! every container of its instance and its image.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::TryStreamExt as _;
use rand::Rng as _;
use sandtree_actors::ports::{Engine, SandboxSpec};
use sandtree_model::profile::Network;
use sandtree_model::{InstanceId, Limits, SandboxUid};
use tempfile::TempDir;

use crate::engine::docker::{Docker, DockerConfig};

const MIB: u64 = 1 << 20;
/// Longest time until a sandbox has done what a test waits for.
const PATIENCE: Duration = Duration::from_secs(30);

/// One test's place.
pub(super) struct Bench {
    pub(super) docker: Docker,
    pub(super) raw: bollard::Docker,
    pub(super) instance: InstanceId,
    /// An image without files that declares what images may declare.
    pub(super) image: Box<str>,
    pub(super) root: TempDir,
}

impl Bench {
    pub(super) async fn new() -> Self {
        Self::with(|_| ()).await
    }

    pub(super) async fn with(change: impl FnOnce(&mut DockerConfig)) -> Self {
        let instance: InstanceId = uid().parse().unwrap();
        let mut config = DockerConfig::new(instance.clone());
        change(&mut config);
        let raw = raw();
        let image: Box<str> = format!("sandtree-test:{instance}").into();
        import(&raw, instance.as_str()).await;
        let docker = Docker::connect(config).unwrap();
        Self { docker, raw, instance, image, root: tempfile::tempdir().unwrap() }
    }

    /// A sandbox of the default profile, with `mode` for the probe.
    pub(super) fn spec(&self, mode: &str) -> SandboxSpec {
        let sandbox: SandboxUid = uid().parse().unwrap();
        let dir = self.root.path().join(sandbox.as_str());
        let (home, workspace) = (dir.join("home"), dir.join("workspace"));
        fs::create_dir_all(&home).unwrap();
        fs::create_dir_all(&workspace).unwrap();
        fs::set_permissions(&workspace, fs::Permissions::from_mode(0o777)).unwrap();
        fs::write(workspace.join("mode"), mode).unwrap();
        fs::write(dir.join("motd"), "hello\n").unwrap();
        SandboxSpec {
            sandbox,
            image: self.image.clone(),
            user: (12_345, 12_346),
            read_only_root: true,
            capabilities: Vec::new(),
            network: Network::None,
            runtime: "".into(),
            limits: Limits {
                memory_bytes: 64 * MIB,
                cpu_millis: 500,
                pids: 64,
                tmp_bytes: 8 * MIB,
            },
            init: probe().to_owned(),
            home,
            workspace,
            home_dir: "/home/sandbox".into(),
            kept_home: None,
            files: BTreeMap::from([("/etc/motd".into(), dir.join("motd"))]),
        }
    }

    /// Creates and starts a sandbox and waits for the probe's report.
    pub(super) async fn run(&self, spec: &SandboxSpec) -> (Box<str>, Report) {
        let container = self.docker.create(spec).await.unwrap();
        self.docker.start(&container).await.unwrap();
        (container, report(spec).await)
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let (instance, image) = (self.instance.clone(), self.image.clone());
        let clean = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async move {
                let docker = Docker::connect(DockerConfig::new(instance)).unwrap();
                for seen in docker.list().await.unwrap() {
                    docker.remove(&seen.container).await.unwrap();
                }
                let _ = raw()
                    .remove_image(
                        &image,
                        None::<bollard::query_parameters::RemoveImageOptions>,
                        None,
                    )
                    .await;
            });
        };
        let _ = std::thread::spawn(clean).join();
    }
}

/// What the probe wrote down.
pub(super) struct Report(HashMap<String, String>);

impl Report {
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.get(name).unwrap_or_else(|| panic!("the probe says nothing of {name}"))
    }
}

async fn report(spec: &SandboxSpec) -> Report {
    let path = spec.workspace.join("report");
    let text = until(|| async { fs::read_to_string(&path).ok() }).await;
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    Report(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

/// Asks again until there is an answer.
pub(super) async fn until<T, F: Future<Output = Option<T>>>(mut ask: impl FnMut() -> F) -> T {
    let asked = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.expect("an answer in time")
}

/// Twenty random characters.
pub(super) fn uid() -> String {
    const LETTERS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let mut random = rand::rng();
    (0..20).map(|_| char::from(LETTERS[random.random_range(0..LETTERS.len())])).collect()
}

pub(super) fn raw() -> bollard::Docker {
    let socket = "/var/run/docker.sock";
    bollard::Docker::connect_with_unix(socket, 60, bollard::API_DEFAULT_VERSION).unwrap()
}

/// An image of an empty archive, which tries what an image can try.
async fn import(raw: &bollard::Docker, tag: &str) {
    let changes = [
        "ENV FROM_IMAGE=1",
        "VOLUME /data",
        "HEALTHCHECK CMD /nothing",
        "CMD [\"of\",\"the\",\"image\"]",
    ];
    let options = CreateImageOptionsBuilder::default()
        .from_src("-")
        .repo("sandtree-test")
        .tag(tag)
        .changes(changes.map(str::to_owned).to_vec())
        .build();
    let archive = bollard::body_full(vec![0_u8; 1024].into());
    raw.create_image(Some(options), Some(archive), None).try_collect::<Vec<_>>().await.unwrap();
}

/// The probe, compiled once for all tests, which are processes of their own: it stays
/// where the build's files are.
pub(super) fn probe() -> &'static Path {
    static PROBE: OnceLock<PathBuf> = OnceLock::new();
    PROBE.get_or_init(|| {
        let source =
            Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src/engine/docker/tests/probe.rs"));
        let path = Path::new(env!("OUT_DIR")).join("probe");
        let changed_at = |path: &Path| fs::metadata(path).and_then(|it| it.modified()).ok();
        if changed_at(&path) > changed_at(source) {
            return path;
        }
        let fresh = tempfile::Builder::new().tempfile_in(env!("OUT_DIR")).unwrap();
        let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
        let done = Command::new(rustc)
            .args(["--edition=2024", "-Cpanic=abort", "-Ctarget-feature=+crt-static"])
            .arg("-o")
            .args([fresh.path(), source])
            .status();
        assert!(done.unwrap().success(), "the probe compiles");
        // Another test may have been faster; they are the same.
        fs::rename(fresh.into_temp_path(), &path).unwrap();
        path
    })
}
