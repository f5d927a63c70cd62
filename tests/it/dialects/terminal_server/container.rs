//! The container: hardening, and its limits from inside.

use sandtree_testkit::docker::docker;
use serde_json::{Value, json};

use super::{connect, create, id, small, stdin, stdout};
use crate::support::server;

#[tokio::test]
async fn the_container_is_hardened_as_listed() {
    let server = small().start().await;
    let client = server.client();
    let session = create(&client).await;
    let container = session["containerId"].as_str().expect("a container");
    let inspected = docker(&["inspect", container]).expect("the container");
    let inspected: Value = serde_json::from_str(&inspected).expect("JSON");
    let (config, host) = (&inspected[0]["Config"], &inspected[0]["HostConfig"]);
    let mib = 1024 * 1024;
    for (what, found, wanted) in [
        ("network none", &host["NetworkMode"], json!("none")),
        ("read-only root", &host["ReadonlyRootfs"], json!(true)),
        ("memory", &host["Memory"], json!(512 * mib)),
        ("no swap", &host["MemorySwap"], json!(512 * mib)),
        ("CPU weight", &host["CpuShares"], json!(512)),
        ("CPU limit", &host["NanoCpus"], json!(500_000_000)),
        ("processes", &host["PidsLimit"], json!(100)),
        ("user nobody:nogroup", &config["User"], json!("65534:65534")),
        ("no capabilities", &host["CapDrop"], json!(["ALL"])),
        ("not privileged", &host["Privileged"], json!(false)),
    ] {
        assert_eq!(*found, wanted, "{what}");
    }
    let options = host["SecurityOpt"].to_string();
    assert!(options.contains("no-new-privileges"), "{options}");
    let tmp = host["Tmpfs"]["/tmp"].as_str().expect("a tmpfs at /tmp");
    assert!(tmp.contains(&format!("size={}", 100 * mib)), "{tmp}");
}

#[tokio::test]
async fn its_limits_hold_for_what_is_typed() {
    let server = server().start().await;
    let client = server.client();
    let name = id(&create(&client).await);
    let mut socket = connect(&client, &name).await;
    // More than 512 MiB of memory.
    socket.send(stdin("python3 -c 'x = bytearray(600 << 20)'; echo \"<$?>\"\n")).await;
    socket.wait_for("<137>", stdout).await;
    // More than 100 processes: those that there are go on, and so does the shell.
    let forks = r"import os, signal, time\nborn = []\ntry:\n  while len(born) < 200:\n    pid = os.fork()\n    if pid == 0: time.sleep(1000)\n    born.append(pid)\nexcept BlockingIOError: print('<refused', 80 < len(born) < 100, '>')\nfor pid in born: os.kill(pid, signal.SIGKILL)";
    socket.send(stdin(&format!("python3 -c $'{}'\n", forks.replace('\'', "\\'")))).await;
    socket.wait_for("<refused True >", stdout).await;
    socket.send(stdin("echo st''ill\n")).await;
    socket.wait_for("still", stdout).await;
}
