//! What kind of daemon it is, and what an operator should change about it.

use bollard::models::{SystemInfo, SystemVersion};
use serde::Serialize;

/// The oldest API that everything used here exists in.
const API_OLDEST: (u32, u32) = (1, 41);

/// What a daemon says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct DaemonFacts {
    /// Its version, such as `20.10.24`.
    pub version: Box<str>,
    /// The newest API that it speaks, such as `1.41`.
    pub api_version: Box<str>,
    /// The kernel under it.
    pub kernel: Box<str>,
    /// Version of the control groups, `1` or `2`.
    pub cgroup_version: Box<str>,
    /// How it stores images and layers.
    pub storage_driver: Box<str>,
    /// The OCI runtime that is used unless a profile names another.
    pub default_runtime: Box<str>,
    /// Names of the OCI runtimes that profiles may use, in order.
    pub runtimes: Vec<Box<str>>,
    /// Whether sandboxes survive a restart of the daemon.
    pub live_restore: bool,
    /// Its security features, such as `name=seccomp,profile=default`.
    pub security_options: Vec<Box<str>>,
    /// Processors of its machine.
    pub cpus: u64,
    /// Memory of its machine, in bytes.
    pub memory_bytes: u64,
    /// What should be changed about it, each as one sentence for an operator.
    pub advice: Vec<Box<str>>,
}

impl DaemonFacts {
    pub(super) fn new(version: SystemVersion, info: SystemInfo) -> Self {
        let advice = advice(&version, &info);
        let mut runtimes =
            info.runtimes.unwrap_or_default().into_keys().map(boxed).collect::<Vec<_>>();
        runtimes.sort_unstable();
        Self {
            version: text(version.version),
            api_version: text(version.api_version),
            kernel: text(info.kernel_version),
            cgroup_version: text(info.cgroup_version.map(|version| version.to_string())),
            storage_driver: text(info.driver),
            default_runtime: text(info.default_runtime),
            runtimes,
            live_restore: info.live_restore_enabled.unwrap_or(false),
            security_options: info
                .security_options
                .unwrap_or_default()
                .into_iter()
                .map(boxed)
                .collect(),
            cpus: number(info.ncpu),
            memory_bytes: number(info.mem_total),
            advice,
        }
    }
}

fn advice(version: &SystemVersion, info: &SystemInfo) -> Vec<Box<str>> {
    let security = info.security_options.as_deref().unwrap_or_default();
    let has =
        |name: &str| security.iter().any(|option| option.starts_with(&format!("name={name}")));
    let off = |enforced: Option<bool>| enforced == Some(false);
    let faults = [
        (
            api_version(version).is_none_or(|api| api < API_OLDEST),
            "the daemon is older than API 1.41 (Docker 20.10): upgrade it",
        ),
        (
            info.live_restore_enabled != Some(true),
            "live-restore is off, so a restart of the daemon ends every sandbox: set \
             \"live-restore\": true in /etc/docker/daemon.json and reload the daemon",
        ),
        (
            !has("seccomp"),
            "the daemon has no seccomp, so sandboxes may make every system call: use a kernel and \
             a daemon that have it",
        ),
        (
            has("userns") || has("rootless"),
            "the daemon maps user ids, so the owners of workspaces would not be those of the \
             sandboxes: turn userns-remap or rootless mode off",
        ),
        (
            off(info.memory_limit),
            "the kernel does not limit memory: boot it with cgroup_enable=memory",
        ),
        (
            off(info.swap_limit),
            "the kernel does not limit swap, so a sandbox can use more than its memory: boot it \
             with swapaccount=1 or turn swap off",
        ),
        (off(info.pids_limit), "the kernel does not limit processes: enable its pids controller"),
        (off(info.cpu_cfs_quota), "the kernel does not limit processor time: enable CFS bandwidth"),
    ];
    faults.into_iter().filter(|(applies, _)| *applies).map(|(_, text)| text.into()).collect()
}

fn api_version(version: &SystemVersion) -> Option<(u32, u32)> {
    let (major, minor) = version.api_version.as_deref()?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn text(text: Option<String>) -> Box<str> {
    text.unwrap_or_default().into()
}

fn boxed(text: String) -> Box<str> {
    text.into()
}

fn number(number: Option<i64>) -> u64 {
    number.and_then(|number| u64::try_from(number).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn healthy() -> (SystemVersion, SystemInfo) {
        let version =
            SystemVersion { api_version: Some("1.41".to_owned()), ..SystemVersion::default() };
        let info = SystemInfo {
            live_restore_enabled: Some(true),
            security_options: Some(vec!["name=seccomp,profile=default".to_owned()]),
            ..SystemInfo::default()
        };
        (version, info)
    }

    #[test]
    fn a_healthy_daemon_needs_no_advice() {
        let (version, info) = healthy();
        assert_eq!(DaemonFacts::new(version, info).advice, Vec::<Box<str>>::new());
    }

    #[test]
    fn each_fault_has_its_advice() {
        let (version, info) = healthy();
        let faults = [
            ("live-restore", SystemInfo { live_restore_enabled: Some(false), ..info.clone() }),
            ("seccomp", SystemInfo { security_options: None, ..info.clone() }),
            ("swap", SystemInfo { swap_limit: Some(false), ..info.clone() }),
            ("processes", SystemInfo { pids_limit: Some(false), ..info }),
        ];
        for (word, info) in faults {
            let advice = DaemonFacts::new(version.clone(), info).advice;
            assert!(advice.len() == 1 && advice[0].contains(word), "{word}: {advice:?}");
        }
        let old = SystemVersion { api_version: Some("1.9".to_owned()), ..version };
        assert!(DaemonFacts::new(old, healthy().1).advice[0].contains("1.41"));
    }
}
