use std::collections::BTreeSet;

use serde_json::Value;

fn profile() -> Value {
    serde_json::from_str(super::seccomp()).unwrap()
}

fn names(rule: &Value) -> impl Iterator<Item = &str> {
    rule["names"].as_array().unwrap().iter().map(|name| name.as_str().unwrap())
}

/// Calls that no sandbox may make, whatever its arguments.
const NEVER: &[&str] = &[
    "mount",
    "umount2",
    "pivot_root",
    "chroot",
    "move_mount",
    "open_tree",
    "fsopen",
    "fsconfig",
    "fsmount",
    "mount_setattr",
    "unshare",
    "setns",
    "keyctl",
    "add_key",
    "request_key",
    "bpf",
    "perf_event_open",
    "userfaultfd",
    "io_uring_setup",
    "io_uring_enter",
    "io_uring_register",
    "init_module",
    "finit_module",
    "delete_module",
    "kexec_load",
    "kexec_file_load",
    "reboot",
    "swapon",
    "swapoff",
    "syslog",
    "acct",
    "quotactl",
    "iopl",
    "ioperm",
    "open_by_handle_at",
    "name_to_handle_at",
    "fanotify_init",
    "kcmp",
    "pidfd_getfd",
    "process_madvise",
    "settimeofday",
    "clock_settime",
    "adjtimex",
    "clock_adjtime",
    "sethostname",
    "setdomainname",
    "vhangup",
    "lookup_dcookie",
    "nfsservctl",
    "uselib",
    "ustat",
    "vm86",
    "modify_ldt",
    "memfd_secret",
    "socketcall",
    "ipc",
    "mbind",
    "move_pages",
    "migrate_pages",
];

#[test]
fn what_is_not_named_is_refused() {
    let profile = profile();
    assert_eq!(profile["defaultAction"], "SCMP_ACT_ERRNO");
    for architecture in profile["archMap"].as_array().unwrap() {
        assert_eq!(architecture["subArchitectures"], serde_json::json!([]), "no second word size");
    }
    for rule in profile["syscalls"].as_array().unwrap() {
        for never in NEVER {
            assert!(names(rule).all(|name| name != *never), "{never}");
        }
    }
}

#[test]
fn calls_with_a_condition_have_no_rule_without_one() {
    let profile = profile();
    let rules = profile["syscalls"].as_array().unwrap();
    let plain = rules.iter().filter(|rule| rule["args"].is_null());
    let mut seen = BTreeSet::new();
    for rule in plain {
        for name in names(rule) {
            assert!(seen.insert(name.to_owned()), "{name} is named once");
        }
    }
    for rule in rules.iter().filter(|rule| !rule["args"].is_null()) {
        assert!(names(rule).all(|name| !seen.contains(name)), "{rule}");
        let does_nothing = rule["action"] == "SCMP_ACT_ERRNO" && rule["errnoRet"] == 0;
        assert!(rule["action"] == "SCMP_ACT_ALLOW" || does_nothing, "{rule}");
    }
}

#[test]
fn no_new_namespace_fits_through_the_mask_of_clone() {
    let profile = profile();
    let rules = profile["syscalls"].as_array().unwrap();
    let clone =
        rules.iter().filter(|rule| names(rule).any(|name| name == "clone")).collect::<Vec<_>>();
    assert_eq!(clone.len(), 1);
    let mask = clone[0]["args"][0]["value"].as_u64().unwrap();
    let every_new = [1_u64 << 17, 1 << 25, 1 << 26, 1 << 27, 1 << 28, 1 << 29, 1 << 30];
    assert_eq!(mask, every_new.iter().sum::<u64>(), "mount, cgroup, uts, ipc, user, pid, net");
    assert_eq!(clone[0]["args"][0]["op"], "SCMP_CMP_MASKED_EQ");
}

#[test]
fn every_option_of_a_socket_but_one_may_be_set() {
    let profile = profile();
    let rules = profile["syscalls"].as_array().unwrap();
    let of_sockets = |rule: &&Value| names(rule).any(|name| name == "setsockopt");
    let fits = |rule: &Value, level: u64, option: u64| {
        rule["args"].as_array().unwrap().iter().all(|arg| {
            let given = if arg["index"] == 1 { level } else { option };
            let value = arg["value"].as_u64().unwrap();
            match arg["op"].as_str().unwrap() {
                "SCMP_CMP_EQ" => given == value,
                "SCMP_CMP_LE" => given <= value,
                "SCMP_CMP_MASKED_EQ" => given & value == arg["valueTwo"].as_u64().unwrap(),
                other => panic!("{other}"),
            }
        })
    };
    let actions = |level, option| {
        let fitting = rules.iter().filter(of_sockets).filter(|rule| fits(rule, level, option));
        fitting.map(|rule| rule["action"].as_str().unwrap()).collect::<Vec<_>>()
    };
    const SOL_SOCKET: u64 = 1;
    const SO_LINGER: u64 = 13;
    for option in 0..128 {
        let expected = if option == SO_LINGER { "SCMP_ACT_ERRNO" } else { "SCMP_ACT_ALLOW" };
        assert_eq!(actions(SOL_SOCKET, option), [expected], "{option}");
    }
    // The kernel looks at 32 bits of each.
    let high = 1 << 32;
    for (level, option) in
        [(SOL_SOCKET, SO_LINGER | high), (SOL_SOCKET | high, SO_LINGER), (SOL_SOCKET | high, 2)]
    {
        assert!(actions(level, option).is_empty(), "{level:#x} {option:#x}");
    }
}
