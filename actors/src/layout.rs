//! Where a sandbox keeps what on the host.
//!
//! ```text
//! <data>/sandboxes/<sandbox uid>/
//!   workspace/   the project's files, mounted at /workspace
//!   staging/     files being written, on the same file system
//!   home/        init's socket and one-time token
//!   etc/         passwd and group, mounted read-only
//!   log/         the process's log
//!   screen       the terminal's last saved screen
//! ```

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use sandtree_model::SandboxUid;

/// The directory of one sandbox.
#[derive(Debug, Clone)]
pub(crate) struct SandboxDir(PathBuf);

impl SandboxDir {
    pub(crate) fn new(data_dir: &Path, sandbox: &SandboxUid) -> Self {
        Self(data_dir.join("sandboxes").join(sandbox.as_str()))
    }

    pub(crate) fn root(&self) -> &Path {
        &self.0
    }

    pub(crate) fn workspace(&self) -> PathBuf {
        self.0.join("workspace")
    }

    pub(crate) fn staging(&self) -> PathBuf {
        self.0.join("staging")
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.0.join("home")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.0.join("log")
    }

    pub(crate) fn screen(&self) -> PathBuf {
        self.0.join("screen")
    }

    /// Path of a generated file for `/etc`.
    pub(crate) fn etc(&self, name: &str) -> PathBuf {
        self.0.join("etc").join(name)
    }

    /// Makes the directory and its `/etc` files: the sandbox's uid gets a name,
    /// whatever the image knows. May be repeated.
    ///
    /// # Errors
    ///
    /// When the disk does not take it.
    pub(crate) fn prepare(&self, (uid, gid): (u32, u32)) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.0)?;
        DirBuilder::new().recursive(true).mode(0o755).create(self.0.join("etc"))?;
        let sandbox_user = if uid == 0 {
            String::new()
        } else {
            format!("sandbox:x:{uid}:{gid}:sandbox:/home/sandbox:/bin/sh\n")
        };
        let sandbox_group = if gid == 0 { String::new() } else { format!("sandbox:x:{gid}:\n") };
        write_readable(
            &self.etc("passwd"),
            &format!(
                "root:x:0:0:root:/root:/bin/sh\n{sandbox_user}\
                 nobody:x:65534:65534:nobody:/nonexistent:/bin/false\n"
            ),
        )?;
        write_readable(
            &self.etc("group"),
            &format!("root:x:0:\ntty:x:5:\n{sandbox_group}nogroup:x:65534:\n"),
        )
    }
}

/// Writes a file that the sandbox can read, whatever the server's umask is.
fn write_readable(path: &Path, content: &str) -> io::Result<()> {
    fs::write(path, content)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644))
}
