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
        assert_eq!(rule["action"], "SCMP_ACT_ALLOW");
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
