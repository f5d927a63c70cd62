//! What a container is made of: the security floor of every sandbox, as the
//! daemon's configuration. Nothing here asks the daemon, so all of it can be
//! read and tested as one value.

use std::collections::HashMap;
use std::path::Path;
use std::sync::OnceLock;

use bollard::models::{
    ContainerCreateBody, HealthConfig, HostConfig, HostConfigLogConfig, Mount, MountBindOptions,
    MountBindOptionsPropagationEnum, MountType, ResourcesUlimits, RestartPolicy,
    RestartPolicyNameEnum,
};
use sandtree_actors::ports::{EngineError, SandboxSpec};
use sandtree_model::profile::Network;
use sandtree_model::{InstanceId, Limits};

use super::images::Image;

/// The label that names the instance whose container it is.
pub const INSTANCE_LABEL: &str = "sandtree.instance";
/// The label that names the sandbox whose container it is.
pub const SANDBOX_LABEL: &str = "sandtree.sandbox";
/// Most directories that an image may declare as volumes.
const VOLUMES_MAX: usize = 16;

/// The system calls that a sandbox may make: an allow-list that is stricter than
/// the daemon's own. Programs of another word size than the machine's are ended.
const SECCOMP: &str = include_str!("seccomp.json");

/// What a container's configuration needs to know besides its sandbox.
pub(super) struct Ground<'a> {
    /// Whose containers they are.
    pub(super) instance: &'a InstanceId,
    /// Most open files of one process.
    pub(super) open_files_max: u32,
    /// The image, by a name that the daemon has.
    pub(super) image: &'a Image,
}

/// The configuration of the container of `spec`.
///
/// # Errors
///
/// [`EngineError::Refused`] when a path on the host is not UTF-8, or when the
/// image declares too many volumes.
pub(super) fn body(
    spec: &SandboxSpec,
    ground: &Ground<'_>,
) -> Result<ContainerCreateBody, EngineError> {
    let (uid, gid) = spec.user;
    Ok(ContainerCreateBody {
        image: Some(ground.image.name.to_string()),
        hostname: Some("sandbox".to_owned()),
        user: Some(format!("{uid}:{gid}")),
        entrypoint: Some(vec![sandtree_wire::INIT.to_owned()]),
        cmd: Some(Vec::new()),
        working_dir: Some(sandtree_wire::WORKSPACE.to_owned()),
        stop_signal: Some("SIGTERM".to_owned()),
        labels: Some(HashMap::from([
            (INSTANCE_LABEL.to_owned(), ground.instance.to_string()),
            (SANDBOX_LABEL.to_owned(), spec.sandbox.to_string()),
        ])),
        // An image's own check would start a program in the sandbox every few seconds.
        healthcheck: Some(HealthConfig { test: some(&["NONE"]), ..HealthConfig::default() }),
        attach_stdin: Some(false),
        attach_stdout: Some(false),
        attach_stderr: Some(false),
        open_stdin: Some(false),
        tty: Some(false),
        host_config: Some(host_config(spec, ground)?),
        ..ContainerCreateBody::default()
    })
}

fn host_config(spec: &SandboxSpec, ground: &Ground<'_>) -> Result<HostConfig, EngineError> {
    let network = match spec.network {
        Network::None => "none",
        Network::Bridge => "bridge",
    };
    let added = spec.capabilities.iter().map(|capability| capability.as_str().to_owned());
    Ok(HostConfig {
        mounts: Some(mounts(spec)?),
        tmpfs: Some(tmpfs(spec, &ground.image.volumes)?),
        readonly_rootfs: Some(spec.read_only_root),
        privileged: Some(false),
        devices: Some(Vec::new()),
        cap_drop: some(&["ALL"]),
        cap_add: Some(added.collect()),
        security_opt: Some(vec!["no-new-privileges".to_owned(), format!("seccomp={}", seccomp())]),
        network_mode: Some(network.to_owned()),
        ipc_mode: Some("private".to_owned()),
        runtime: Some(spec.runtime.to_string()).filter(|runtime| !runtime.is_empty()),
        // Init writes nothing; a log without a bound would fill the host's disk.
        log_config: Some(HostConfigLogConfig { typ: Some("none".to_owned()), config: None }),
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::NO),
            maximum_retry_count: None,
        }),
        auto_remove: Some(false),
        init: Some(false),
        oom_score_adj: Some(0),
        ulimits: Some(vec![ulimit("nofile", ground.open_files_max), ulimit("core", 0)]),
        ..limited(&spec.limits)
    })
}

fn limited(limits: &Limits) -> HostConfig {
    let memory = signed(limits.memory_bytes);
    HostConfig {
        memory: Some(memory),
        // Memory and swap together, so there is no swap.
        memory_swap: Some(memory),
        nano_cpus: Some(signed(limits.cpu_millis.saturating_mul(1_000_000))),
        cpu_shares: Some(signed((limits.cpu_millis * 1024 / 1000).clamp(2, 262_144))),
        pids_limit: Some(signed(limits.pids)),
        ..HostConfig::default()
    }
}

fn mounts(spec: &SandboxSpec) -> Result<Vec<Mount>, EngineError> {
    let mut mounts = vec![
        bind(&spec.init, sandtree_wire::INIT, true)?,
        bind(&spec.home, sandtree_wire::HOME, true)?,
        bind(&spec.workspace, sandtree_wire::WORKSPACE, false)?,
    ];
    if let Some(home) = &spec.kept_home {
        mounts.push(bind(home, &spec.home_dir, false)?);
    }
    for (target, source) in &spec.files {
        mounts.push(bind(source, target, true)?);
    }
    Ok(mounts)
}

/// A mount, never a `Binds` entry: those are split at colons, and the daemon
/// makes a directory where the source does not exist.
fn bind(source: &Path, target: &str, read_only: bool) -> Result<Mount, EngineError> {
    let source = source.to_str().ok_or_else(|| {
        EngineError::Refused(format!("the path {} is not UTF-8", source.display()).into())
    })?;
    Ok(Mount {
        typ: Some(MountType::BIND),
        source: Some(source.to_owned()),
        target: Some(target.to_owned()),
        read_only: Some(read_only),
        bind_options: Some(MountBindOptions {
            propagation: Some(MountBindOptionsPropagationEnum::RPRIVATE),
            ..MountBindOptions::default()
        }),
        ..Mount::default()
    })
}

/// Bounded temporary file systems. A directory that the image declares as a
/// volume would be a place without a bound, so under a read-only root it becomes
/// one of these too.
fn tmpfs(spec: &SandboxSpec, volumes: &[Box<str>]) -> Result<HashMap<String, String>, EngineError> {
    let (uid, gid) = spec.user;
    let size = spec.limits.tmp_bytes;
    let base = format!("rw,nosuid,nodev,size={size}");
    let own = format!("{base},exec,mode=700,uid={uid},gid={gid}");
    let mut tmpfs = HashMap::from([
        ("/tmp".to_owned(), format!("{base},exec,mode=1777")),
        ("/run".to_owned(), format!("{base},noexec,mode=755,uid={uid},gid={gid}")),
    ]);
    if spec.kept_home.is_none() {
        tmpfs.insert(spec.home_dir.to_string(), own.clone());
    }
    if volumes.len() > VOLUMES_MAX {
        let why = format!("the image declares more than {VOLUMES_MAX} volumes");
        return Err(EngineError::Refused(why.into()));
    }
    if spec.read_only_root {
        for volume in volumes.iter().filter(|volume| !is_mounted(spec, volume)) {
            tmpfs.entry(volume.to_string()).or_insert_with(|| own.clone());
        }
    }
    Ok(tmpfs)
}

fn is_mounted(spec: &SandboxSpec, path: &str) -> bool {
    let ours = [sandtree_wire::INIT, sandtree_wire::HOME, sandtree_wire::WORKSPACE];
    ours.contains(&path) || spec.files.contains_key(path) || *spec.home_dir == *path
}

fn ulimit(name: &str, most: u32) -> ResourcesUlimits {
    let most = Some(i64::from(most));
    ResourcesUlimits { name: Some(name.to_owned()), soft: most, hard: most }
}

/// The profile without white space: the daemon keeps it in each container's file.
fn seccomp() -> &'static str {
    static SMALL: OnceLock<String> = OnceLock::new();
    SMALL.get_or_init(|| {
        serde_json::from_str::<serde_json::Value>(SECCOMP)
            .expect("the profile is JSON; a test reads it")
            .to_string()
    })
}

fn some(texts: &[&str]) -> Option<Vec<String>> {
    Some(texts.iter().map(|text| (*text).to_owned()).collect())
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
