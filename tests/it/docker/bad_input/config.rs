//! A configuration that cannot be used.

use sandtree_testkit::{LONG, within};

use super::BINARY;

/// What a server says that is started with this configuration file, and has to refuse.
async fn refused_config(text: &str) -> String {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("config.toml");
    std::fs::write(&file, text).expect("a file");
    let mut command = tokio::process::Command::new(BINARY);
    command.args(["serve", "--listen", "127.0.0.1:0", "--config"]).arg(&file);
    command.arg("--data-dir").arg(dir.path().join("data")).kill_on_drop(true);
    let output = within(LONG, "a refusal of the configuration", command.output()).await;
    let output = output.expect("a program that runs");
    assert!(!output.status.success(), "it started with {text}");
    assert!(output.stdout.is_empty(), "it told an address");
    assert!(!dir.path().join("data").exists(), "it made its directory");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn a_configuration_with_faults_is_refused_and_all_of_them_are_named() {
    let said = refused_config(
        "[server]\nodd_key = 1\nheaders_max = 5\nheader_timeout = \"10\"\n\
         [tree]\nboot_timeout = \"1000y\"\nexecs_max = -1\n\
         [profiles.default]\nnetwork = \"host\"\ncapabilities = [\"SYS_ADMIN\"]\nprivileged = true\n\
         [profiles.default.limits]\npids = 1\n\
         [odd_section]\nx = 1\n",
    )
    .await;
    for name in [
        "server.odd_key",
        "server.headers_max",
        "server.header_timeout",
        "tree.boot_timeout",
        "tree.execs_max",
        "profiles.default.network",
        "profiles.default.capabilities",
        "profiles.default.privileged",
        "profiles.default.limits.pids",
        "odd_section",
    ] {
        assert!(said.contains(name), "{name} is not named:\n{said}");
    }
    let broken = refused_config("[server\n").await;
    assert!(broken.contains("config.toml"), "{broken}");
}
