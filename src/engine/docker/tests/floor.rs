//! The security floor: as the daemon understood it, and as it is felt inside.

use bollard::models::{ContainerInspectResponse, HostConfig, MountPoint};
use sandtree_actors::ports::Engine as _;
use sandtree_model::profile::{Capability, Network};

use super::bench::Bench;

async fn inspected(bench: &Bench, container: &str) -> ContainerInspectResponse {
    bench.raw.inspect_container(container, None).await.unwrap()
}

fn mount<'a>(mounts: &'a [MountPoint], target: &str) -> &'a MountPoint {
    let found = mounts.iter().find(|mount| mount.destination.as_deref() == Some(target));
    found.unwrap_or_else(|| panic!("{target} is mounted"))
}

#[tokio::test]
async fn the_daemon_understood_the_whole_floor() {
    let bench = Bench::new().await;
    let spec = bench.spec("");
    let container = bench.docker.create(&spec).await.unwrap();
    let seen = inspected(&bench, &container).await;
    let config = seen.config.unwrap();
    let host = seen.host_config.unwrap();

    assert_eq!(seen.name.unwrap(), format!("/sandtree-{}", spec.sandbox));
    let labels = config.labels.unwrap();
    assert_eq!(labels["sandtree.instance"], bench.instance.as_str());
    assert_eq!(labels["sandtree.sandbox"], spec.sandbox.as_str());
    assert_eq!(config.user.as_deref(), Some("12345:12346"));
    assert_eq!(config.entrypoint.unwrap(), ["/.sandtree/init"]);
    assert_eq!(config.cmd.unwrap_or_default(), Vec::<String>::new(), "the image's is not used");
    assert_eq!(config.hostname.as_deref(), Some("sandbox"));
    assert_eq!(config.working_dir.as_deref(), Some("/workspace"));
    assert_eq!(config.stop_signal.as_deref(), Some("SIGTERM"));
    assert_eq!(config.healthcheck.unwrap().test.unwrap(), ["NONE"]);
    assert_eq!(config.tty, Some(false));
    let env = config.env.unwrap_or_default();
    assert!(env.iter().all(|text| text.starts_with("PATH=") || text == "FROM_IMAGE=1"), "{env:?}");

    let mounts = seen.mounts.unwrap();
    for (target, writable) in [
        ("/.sandtree/init", false),
        ("/.sandtree/home", false),
        ("/workspace", true),
        ("/etc/motd", false),
    ] {
        let mount = mount(&mounts, target);
        assert_eq!(mount.rw, Some(writable), "{target}");
        assert_eq!(mount.propagation.as_deref(), Some("rprivate"), "{target}");
    }
    assert_eq!(mounts.len(), 4, "and nothing else, no volume of the image either");
    confined(&host);
    bounded(&host);
}

fn confined(host: &HostConfig) {
    assert_eq!(host.readonly_rootfs, Some(true));
    assert_eq!(host.privileged, Some(false));
    assert_eq!(host.cap_drop.as_deref(), Some(&["ALL".to_owned()][..]));
    assert_eq!(host.cap_add.clone().unwrap_or_default(), Vec::<String>::new());
    let security = host.security_opt.clone().unwrap();
    assert_eq!(security.len(), 2, "no-new-privileges and seccomp");
    assert_eq!(security[0], "no-new-privileges");
    let profile = security[1].strip_prefix("seccomp=").unwrap();
    let profile: serde_json::Value = serde_json::from_str(profile).unwrap();
    assert_eq!(profile["defaultAction"], "SCMP_ACT_ERRNO");
    assert_eq!(host.network_mode.as_deref(), Some("none"));
    assert_eq!(host.ipc_mode.as_deref(), Some("private"));
    for (name, mode) in
        [("pid", &host.pid_mode), ("uts", &host.uts_mode), ("user", &host.userns_mode)]
    {
        assert_eq!(mode.as_deref().unwrap_or_default(), "", "{name} namespace");
    }
    assert_eq!(host.devices.clone().unwrap_or_default(), Vec::new());
    assert_eq!(host.device_requests.clone().unwrap_or_default(), Vec::new());
    assert_eq!(host.binds.clone().unwrap_or_default(), Vec::<String>::new());
    assert_eq!(host.group_add.clone().unwrap_or_default(), Vec::<String>::new());
    assert!(!host.publish_all_ports.unwrap_or(false));
    assert!(
        host.masked_paths
            .as_ref()
            .is_some_and(|paths| paths.iter().any(|path| path == "/proc/kcore"))
    );
    assert!(
        host.readonly_paths
            .as_ref()
            .is_some_and(|paths| paths.iter().any(|path| path == "/proc/sys"))
    );
}

fn bounded(host: &HostConfig) {
    assert_eq!(host.memory, Some(64 << 20));
    assert_eq!(host.memory_swap, host.memory);
    assert_eq!(host.nano_cpus, Some(500_000_000));
    assert_eq!(host.cpu_shares, Some(512));
    assert_eq!(host.pids_limit, Some(64));
    assert_eq!(host.oom_score_adj, Some(0));
    assert_ne!(host.oom_kill_disable, Some(true));
    assert_eq!(host.log_config.as_ref().unwrap().typ.as_deref(), Some("none"));
    assert_eq!(host.init, Some(false));
    assert_eq!(host.auto_remove, Some(false));
    let restart = host.restart_policy.as_ref().unwrap().name.unwrap();
    assert_eq!(restart.to_string(), "no");
    let tmpfs = host.tmpfs.as_ref().unwrap();
    let mut paths = tmpfs.keys().map(String::as_str).collect::<Vec<_>>();
    paths.sort_unstable();
    assert_eq!(paths, ["/data", "/home/sandbox", "/run", "/tmp"]);
    for (path, options) in tmpfs {
        for option in ["nosuid", "nodev", "size=8388608"] {
            assert!(options.split(',').any(|has| has == option), "{path}: {option}");
        }
    }
    let ulimits = host.ulimits.as_ref().unwrap();
    let core = ulimits.iter().find(|limit| limit.name.as_deref() == Some("core")).unwrap();
    assert_eq!((core.soft, core.hard), (Some(0), Some(0)));
}

#[tokio::test]
async fn the_floor_holds_inside() {
    let bench = Bench::new().await;
    let (_, report) = bench.run(&bench.spec("")).await;
    let expected = [
        ("Uid", "12345 12345 12345 12345"),
        ("Gid", "12346 12346 12346 12346"),
        ("CapEff", "0000000000000000"),
        ("CapPrm", "0000000000000000"),
        ("CapBnd", "0000000000000000"),
        ("NoNewPrivs", "1"),
        ("Seccomp", "2"),
        ("write /at-root", "30"),
        ("write /.sandtree/home/x", "30"),
        ("write /etc/motd", "30"),
        ("write /tmp/x", "0"),
        ("write /run/x", "0"),
        ("write /home/sandbox/x", "0"),
        ("write /data/x", "0"),
        ("write /workspace/x", "0"),
        ("run /tmp", "0"),
        ("run /home/sandbox", "0"),
        ("run /run", "13"),
        ("Max open files", "16384 16384"),
        ("Max core file size", "0 0"),
        ("interfaces", "lo"),
        ("hostname", "sandbox"),
        ("cwd", "/workspace"),
        ("pid", "1"),
        ("motd", "hello"),
    ];
    for (name, value) in expected {
        assert_eq!(report.get(name), value, "{name}");
    }
}

#[cfg(target_arch = "x86_64")]
#[tokio::test]
async fn the_profile_of_system_calls_holds_inside() {
    let bench = Bench::new().await;
    let (_, report) = bench.run(&bench.spec("")).await;
    let refused = [
        "mount",
        "umount2",
        "unshare",
        "setns",
        "clone_newuser",
        "keyctl",
        "add_key",
        "request_key",
        "bpf",
        "perf_event_open",
        "userfaultfd",
        "io_uring_setup",
        "pivot_root",
        "chroot",
        "init_module",
        "open_by_handle_at",
        "name_to_handle_at",
        "socket_vsock",
        "socket_vsock_with_high_bits",
        "socket_alg",
        "socket_packet",
        "socket_netlink_netfilter",
        "prlimit_pid",
        "personality_no_randomize",
        "setsockopt_linger_with_high_bits",
        "setsockopt_linger_of_a_high_level",
    ];
    for name in refused {
        assert_eq!(report.get(&format!("call {name}")), "1", "{name} is EPERM");
    }
    for name in ["clone3", "io_setup"] {
        assert_eq!(report.get(&format!("call {name}")), "38", "{name} is ENOSYS");
    }
    let allowed = [
        "socket_unix",
        "socket_inet",
        "socket_inet6",
        "socket_netlink_route",
        "prlimit_self",
        "personality_ask",
        "setsockopt_linger",
    ];
    for name in allowed {
        assert_eq!(report.get(&format!("call {name}")), "0", "{name}");
    }
    let of_sockets = [
        "setsockopt_reuseaddr",
        "setsockopt_reuseport",
        "setsockopt_passcred",
        "setsockopt_busy_poll",
        "setsockopt_timestamp_new",
        "setsockopt_timeout_new",
        "setsockopt_nodelay",
        "setsockopt_only_six",
    ];
    for name in of_sockets {
        assert_eq!(report.get(&format!("call {name}")), "9", "{name} reaches the kernel");
    }
}

#[tokio::test]
async fn a_profile_can_add_its_five_capabilities_and_no_more() {
    let bench = Bench::new().await;
    let all = [
        Capability::Chown,
        Capability::DacOverride,
        Capability::Fowner,
        Capability::Setgid,
        Capability::Setuid,
    ];
    let spec = sandtree_actors::ports::SandboxSpec {
        user: (0, 0),
        capabilities: all.to_vec(),
        read_only_root: false,
        network: Network::Bridge,
        ..bench.spec("")
    };
    let (container, report) = bench.run(&spec).await;
    assert_eq!(report.get("CapBnd"), "00000000000000cb");
    assert_eq!(report.get("CapEff"), "00000000000000cb");
    assert_eq!(report.get("NoNewPrivs"), "1");
    assert_eq!(report.get("write /at-root"), "0");
    assert_eq!(report.get("interfaces").split(' ').count(), 2, "lo and one more");
    let host = inspected(&bench, &container).await.host_config.unwrap();
    assert_eq!(host.network_mode.as_deref(), Some("bridge"));
    assert_eq!(host.privileged, Some(false));
}
