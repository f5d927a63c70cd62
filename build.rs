//! Builds init, the static PID 1 of every sandbox, so that the server can carry it
//! inside itself. Checks, clippy and the documentation do without:
//! `SANDTREE_SKIP_INIT=1` says so, and clippy is recognised.

use std::env;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Everything of ours that ends up in init.
const SOURCES: [&str; 3] = ["crates/init", "crates/wire", "Cargo.lock"];
/// Small before fast: it is mapped into every sandbox. Of tokio least is done often; what is
/// left of it at its smallest lies in fewer of the pieces of 64 KiB that the kernel maps at once.
const PROFILE: [&str; 6] = [
    "profile.release.opt-level=\"s\"",
    "profile.release.package.tokio.opt-level=\"z\"",
    "profile.release.lto=\"fat\"",
    "profile.release.codegen-units=1",
    "profile.release.panic=\"abort\"",
    "profile.release.strip=true",
];
/// Static, and at a fixed address: it starts in an image that holds nothing else.
const RUSTFLAGS: &str = "-C target-feature=+crt-static -C relocation-model=static";
/// What a cargo needs of the environment. The rest is of the build that calls us.
const KEPT: [&str; 5] = ["PATH", "HOME", "CARGO_HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rustc-check-cfg=cfg(sandtree_init)");
    println!("cargo:rerun-if-env-changed=SANDTREE_SKIP_INIT");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=migrations");
    for source in SOURCES {
        println!("cargo:rerun-if-changed={source}");
    }
    if is_skipped() {
        return Ok(());
    }
    let init = build()?;
    println!("cargo:rustc-env=SANDTREE_INIT_PATH={}", init.display());
    println!("cargo:rustc-cfg=sandtree_init");
    Ok(())
}

fn is_skipped() -> bool {
    let wrapper = env::var_os("RUSTC_WORKSPACE_WRAPPER").unwrap_or_default();
    let is_clippy = Path::new(&wrapper).file_stem().is_some_and(|name| name == "clippy-driver");
    is_clippy || env::var_os("SANDTREE_SKIP_INIT").is_some_and(|value| value == "1")
}

fn build() -> Result<PathBuf, Box<dyn Error>> {
    let out = PathBuf::from(env::var("OUT_DIR")?);
    // target/<profile>/build/<package>/out: all profiles share one build of init.
    let target_dir = out.ancestors().nth(4).ok_or("OUT_DIR is not in a target folder")?;
    let target_dir = target_dir.join("init");
    let target = env::var("TARGET")?;
    let mut cargo = Command::new(env::var("CARGO")?);
    cargo.env_clear().env("RUSTFLAGS", RUSTFLAGS);
    for name in KEPT {
        if let Some(value) = env::var_os(name) {
            cargo.env(name, value);
        }
    }
    cargo.current_dir(env::var("CARGO_MANIFEST_DIR")?);
    cargo.args(["build", "--release", "--locked", "--package", "sandtree-init"]);
    cargo.args(["--target", &target]).arg("--target-dir").arg(&target_dir);
    for setting in PROFILE {
        cargo.args(["--config", setting]);
    }
    let built = cargo.output()?;
    if !built.status.success() {
        let errors = String::from_utf8_lossy(&built.stderr);
        return Err(format!("init was not built:\n{errors}").into());
    }
    Ok(target_dir.join(target).join("release/sandtree-init"))
}
