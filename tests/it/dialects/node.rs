//! Clients in JavaScript, run by Node.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::cache_dir;

/// What a client was installed from; written when it is, into what npm makes.
const INSTALLED: &str = "node_modules/.installed";
/// What npm reads.
const LOCK: &str = "package-lock.json";

/// Runs a script of the client in `tests/clients/{client}` with arguments; what it said.
///
/// # Panics
///
/// When what it needs cannot be had, or it fails.
pub(crate) async fn run(client: &'static str, script: &'static str, args: Vec<String>) -> String {
    let done = tokio::task::spawn_blocking(move || {
        let script = installed(client).join(script);
        Command::new("timeout").args(["240", "node"]).arg(script).args(args).output()
    });
    let output = done.await.expect("a script that ends").expect("node can be run");
    let said = both(&output);
    assert!(output.status.success(), "{client}: {said}");
    said
}

/// A copy of a client with what it depends on beside it, fetched once by npm. Two tests
/// that want the same one wait for each other.
fn installed(client: &str) -> PathBuf {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(client);
    let to = cache_dir().join(client);
    fs::create_dir_all(&to).expect("a directory for the client");
    let lock = File::create(to.join(".lock")).expect("a lock");
    lock.lock().expect("the lock of the client");
    for file in fs::read_dir(&from).expect("the client").map(|file| file.expect("a file")) {
        // What npm makes, if somebody ran it there.
        if file.path().is_file() {
            fs::copy(file.path(), to.join(file.file_name())).expect("a copy of the client");
        }
    }
    let wanted = fs::read(from.join(LOCK)).expect("what to install");
    if fs::read(to.join(INSTALLED)).ok().as_ref() != Some(&wanted) {
        install(&to);
        fs::write(to.join(INSTALLED), wanted).expect("a note that it is installed");
    }
    to
}

fn install(client: &Path) {
    let npm = ["300", "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix"];
    let output = Command::new("timeout").args(npm).arg(client).output().expect("npm can be run");
    assert!(output.status.success(), "npm does not fetch it: {}", both(&output));
}

fn both(output: &Output) -> String {
    let [said, error] = [&output.stdout, &output.stderr].map(|it| String::from_utf8_lossy(it));
    format!("{said}{error}")
}
