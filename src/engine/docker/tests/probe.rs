//! Stands in for init in the tests of the Docker engine: writes down what it
//! sees and what it may do in its sandbox, then waits for TERM. Compiled by the
//! tests themselves, statically and without dependencies.
//!
//! The file `/workspace/mode` can ask for something else: `stubborn` ignores
//! TERM, `hog` uses memory until it is ended, `end` returns 3.

use std::ffi::{c_int, c_long};
use std::fmt::Write as _;
use std::fs;
use std::io::Error;
use std::process::Command;

unsafe extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
    fn signal(number: c_int, handler: usize) -> usize;
    fn pause() -> c_int;
    fn _exit(code: c_int) -> !;
}

extern "C" fn leave(_: c_int) {
    unsafe { _exit(0) }
}

fn main() {
    if std::env::args().nth(1).as_deref() == Some("child") {
        return;
    }
    let mode = fs::read_to_string("/workspace/mode").unwrap_or_default();
    if mode != "stubborn" {
        unsafe { signal(15, leave as extern "C" fn(c_int) as usize) };
    }
    let text = report();
    fs::write("/workspace/report.part", text).unwrap();
    fs::rename("/workspace/report.part", "/workspace/report").unwrap();
    match mode.as_str() {
        "hog" => hog(),
        "end" => std::process::exit(3),
        _ => loop {
            unsafe { pause() };
        },
    }
}

fn hog() {
    let mut kept = Vec::new();
    loop {
        kept.push(vec![1_u8; 1 << 20]);
    }
}

fn report() -> String {
    let mut text = String::new();
    let status = fs::read_to_string("/proc/self/status").unwrap();
    for name in ["Uid", "Gid", "CapEff", "CapPrm", "CapBnd", "NoNewPrivs", "Seccomp"] {
        let value = status.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
        let _ = writeln!(text, "{name}={}", value.unwrap_or_default().trim().replace('\t', " "));
    }
    for path in ["/at-root", "/tmp/x", "/run/x", "/home/sandbox/x", "/workspace/x", "/data/x", "/.sandtree/home/x", "/etc/motd"] {
        let _ = writeln!(text, "write {path}={}", code(fs::write(path, "x")));
    }
    for dir in ["/tmp", "/home/sandbox", "/run"] {
        let copy = format!("{dir}/copy");
        let copied = fs::copy("/.sandtree/init", &copy);
        let run = copied.and_then(|_| Command::new(&copy).arg("child").status());
        let _ = writeln!(text, "run {dir}={}", code(run));
    }
    let limits = fs::read_to_string("/proc/self/limits").unwrap();
    for name in ["Max open files", "Max core file size"] {
        let line = limits.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        let values = line.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
        let _ = writeln!(text, "{name}={values}");
    }
    let net = fs::read_to_string("/proc/net/dev").unwrap();
    let names = net.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name.trim());
    let _ = writeln!(text, "interfaces={}", names.collect::<Vec<_>>().join(" "));
    let hostname = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let _ = writeln!(text, "hostname={}", hostname.trim());
    let _ = writeln!(text, "cwd={}", std::env::current_dir().unwrap().display());
    let _ = writeln!(text, "pid={}", std::process::id());
    let _ = writeln!(text, "motd={}", fs::read_to_string("/etc/motd").unwrap_or_default().trim());
    for (name, outcome) in attempts() {
        let _ = writeln!(text, "call {name}={outcome}");
    }
    text
}

fn code<T>(outcome: Result<T, Error>) -> i32 {
    outcome.err().map_or(0, |error| error.raw_os_error().unwrap_or(-1))
}

#[cfg(not(target_arch = "x86_64"))]
fn attempts() -> Vec<(&'static str, i32)> {
    Vec::new()
}

/// System calls by number, and the error that each gives; 0 is success.
#[cfg(target_arch = "x86_64")]
fn attempts() -> Vec<(&'static str, i32)> {
    const NEW_USER: c_long = 0x1000_0000;
    let call = |number: c_long, a: c_long, b: c_long, c: c_long| {
        let answer = unsafe { syscall(number, a, b, c, 0 as c_long, 0 as c_long) };
        if answer == -1 { Error::last_os_error().raw_os_error().unwrap() } else { 0 }
    };
    vec![
        ("mount", call(165, 0, 0, 0)),
        ("umount2", call(166, 0, 0, 0)),
        ("unshare", call(272, NEW_USER, 0, 0)),
        ("setns", call(308, 0, 0, 0)),
        ("clone_newuser", call(56, NEW_USER | 17, 0, 0)),
        ("clone3", call(435, 0, 0, 0)),
        ("keyctl", call(250, 0, 0, 0)),
        ("add_key", call(248, 0, 0, 0)),
        ("request_key", call(249, 0, 0, 0)),
        ("bpf", call(321, 0, 0, 0)),
        ("perf_event_open", call(298, 0, 0, 0)),
        ("userfaultfd", call(323, 0, 0, 0)),
        ("io_uring_setup", call(425, 1, 0, 0)),
        ("io_setup", call(206, 1, 0, 0)),
        ("pivot_root", call(155, 0, 0, 0)),
        ("chroot", call(161, 0, 0, 0)),
        ("init_module", call(175, 0, 0, 0)),
        ("open_by_handle_at", call(304, 0, 0, 0)),
        ("name_to_handle_at", call(303, 0, 0, 0)),
        ("socket_vsock", call(41, 40, 1, 0)),
        ("socket_vsock_with_high_bits", call(41, 40 | 1 << 32, 1, 0)),
        ("socket_alg", call(41, 38, 5, 0)),
        ("socket_packet", call(41, 17, 3, 0)),
        ("socket_netlink_netfilter", call(41, 16, 3, 12)),
        ("socket_unix", call(41, 1, 1, 0)),
        ("socket_inet", call(41, 2, 1, 0)),
        ("socket_inet6", call(41, 10, 1, 0)),
        ("socket_netlink_route", call(41, 16, 3, 0)),
        // None has a socket: 9, EBADF, is what the kernel says.
        ("setsockopt_linger", call(54, -1, 1, 13)),
        ("setsockopt_linger_with_high_bits", call(54, -1, 1, 13 | 1 << 32)),
        ("setsockopt_linger_of_a_high_level", call(54, -1, 1 | 1 << 32, 13)),
        ("setsockopt_reuseaddr", call(54, -1, 1, 2)),
        ("setsockopt_reuseport", call(54, -1, 1, 15)),
        ("setsockopt_passcred", call(54, -1, 1, 16)),
        ("setsockopt_busy_poll", call(54, -1, 1, 46)),
        ("setsockopt_timestamp_new", call(54, -1, 1, 63)),
        ("setsockopt_timeout_new", call(54, -1, 1, 66)),
        ("setsockopt_nodelay", call(54, -1, 6, 1)),
        ("setsockopt_only_six", call(54, -1, 41, 26)),
        ("prlimit_self", call(302, 0, 7, 0)),
        ("prlimit_pid", call(302, 1, 7, 0)),
        ("personality_ask", call(135, 0xffff_ffff, 0, 0)),
        ("personality_no_randomize", call(135, 0x4_0000, 0, 0)),
    ]
}
