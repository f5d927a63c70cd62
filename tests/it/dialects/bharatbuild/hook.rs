//! A client that others could have written: a React hook, rendered by React under Node.

use std::path::{Path, PathBuf};
use std::process::Output;

use super::setup;
use crate::support::cache_dir;

/// The hook, what it is driven by, and what npm has to fetch for it.
const SOURCES: [&str; 4] =
    ["package.json", "package-lock.json", "useContainerExecution.js", "scenario.js"];

/// A copy of the hook with React beside it, fetched once by npm.
///
/// # Panics
///
/// When it cannot be had.
fn hook() -> PathBuf {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/react-hook");
    let to = cache_dir().join("react-hook");
    std::fs::create_dir_all(&to).expect("a directory for the hook");
    let lock = "package-lock.json";
    let is_installed = to.join("node_modules/react").is_dir()
        && std::fs::read(from.join(lock)).ok() == std::fs::read(to.join(lock)).ok();
    for name in SOURCES {
        std::fs::copy(from.join(name), to.join(name)).expect("a copy of the hook");
    }
    if !is_installed {
        let npm = ["300", "npm", "ci", "--no-audit", "--no-fund", "--prefix"];
        let output = run("timeout", &npm, &to);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "npm does not fetch React:\n{said}");
    }
    to
}

fn run(program: &str, arguments: &[&str], last: &Path) -> Output {
    let output = std::process::Command::new(program).args(arguments).arg(last).output();
    output.unwrap_or_else(|error| panic!("{program} cannot be run: {error}"))
}

#[tokio::test]
async fn a_react_hook_reads_what_it_expects_from_every_answer() {
    let setup = setup().env("SANDTREE_DIALECTS__BHARATBUILD__FILES_FORMAT", "array");
    let server = setup.start().await;
    let url = format!("http://{}", server.client().address());
    let done = tokio::task::spawn_blocking(move || {
        let scenario = hook().join("scenario.js");
        std::process::Command::new("timeout").args(["120", "node"]).arg(scenario).arg(url).output()
    });
    let output = done.await.expect("a scenario that ends").expect("node can be run");
    let said = String::from_utf8_lossy(&output.stdout);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{error}");
    assert!(said.contains("the hook saw what it expects"), "{said}{error}");
}
