//! The arrows between crates point one way, and only the server touches the outside
//! world: read from what cargo knows, not from what a page says.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

/// Each crate, which crates of ours it may use, and what it must not know.
const RULES: [(&str, &[&str], &[&str]); 6] = [
    ("sandtree-model", &[], &["tokio", "rustix", "bollard", "sqlx", "warp", "hyper", "ractor"]),
    ("sandtree-wire", &[], &["rustix", "bollard", "sqlx", "warp", "hyper", "ractor"]),
    ("sandtree-workspace", &[], &["tokio", "bollard", "sqlx", "warp", "hyper", "ractor"]),
    ("sandtree-init", &["sandtree-wire"], &["bollard", "sqlx", "warp", "hyper", "ractor"]),
    ("sandtree-client", &[], &["bollard", "sqlx", "warp", "ractor", "clap"]),
    (
        "sandtree-actors",
        &["sandtree-model", "sandtree-wire", "sandtree-workspace"],
        &["bollard", "sqlx", "warp", "hyper", "tokio-tungstenite"],
    ),
];

#[test]
fn the_arrows_between_crates_point_one_way() {
    let uses = dependencies();
    for (package, allowed, forbidden) in RULES {
        for used in &uses[package] {
            let is_ours = used.starts_with("sandtree");
            assert!(!is_ours || allowed.contains(&used.as_str()), "{package} uses {used}");
            assert!(!forbidden.contains(&used.as_str()), "{package} uses {used}");
        }
    }
}

/// What every crate of the workspace is built with, tests left out.
fn dependencies() -> BTreeMap<String, Vec<String>> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut metadata = Command::new(cargo);
    metadata.args(["metadata", "--no-deps", "--format-version", "1"]);
    let output = metadata.current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let used = |package: &Value| {
        let all = package["dependencies"].as_array().into_iter().flatten();
        all.filter(|used| used["kind"].is_null()).map(|used| text(&used["name"])).collect()
    };
    let packages = metadata["packages"].as_array().expect("packages").iter();
    packages.map(|package| (text(&package["name"]), used(package))).collect()
}
