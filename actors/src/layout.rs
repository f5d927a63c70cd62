//! Where a sandbox keeps what on the host.
//!
//! ```text
//! <data>/sandboxes/<sandbox uid>/
//!   workspace/   the project's files, mounted at /workspace
//!   staging/     files being written, on the same file system
//!   home/        init's socket and one-time token
//!   etc/         passwd and group, mounted read-only
//!   user/        the home directory, where the root file system is kept as well
//!   log/         the process's log
//!   screen       the terminal's last saved screen
//!   init.sha256  hash of the token: what init has to prove
//! ```

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::process::geteuid;
use sandtree_model::SandboxUid;

use crate::ports::SandboxSpec;

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

    /// The home directory of the sandbox's user, where it is kept.
    pub(crate) fn user_home(&self) -> PathBuf {
        self.0.join("user")
    }

    /// Path of a generated file for `/etc`.
    pub(crate) fn etc(&self, name: &str) -> PathBuf {
        self.0.join("etc").join(name)
    }

    /// Makes the directory. May be repeated.
    ///
    /// # Errors
    ///
    /// When the disk does not take it.
    pub(crate) fn make(&self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.0)
    }

    /// Makes what is mounted of it besides the workspace and init's own: the `/etc` files,
    /// in which the sandbox's uid has a name whatever the image knows, and the home
    /// directory, if it is kept. May be repeated.
    ///
    /// # Errors
    ///
    /// When the disk does not take it.
    pub(crate) fn prepare(&self, spec: &SandboxSpec) -> io::Result<()> {
        self.make()?;
        if let Some(home) = &spec.kept_home {
            make_home(home, spec.user)?;
        }
        DirBuilder::new().recursive(true).mode(0o755).create(self.0.join("etc"))?;
        let (uid, gid) = spec.user;
        let sandbox_user = if uid == 0 {
            String::new()
        } else {
            format!("sandbox:x:{uid}:{gid}:sandbox:{}:/bin/sh\n", spec.home_dir)
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

/// Makes the home directory once: what is in it later is the sandbox's business.
fn make_home(home: &Path, (uid, gid): (u32, u32)) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(home) {
        Ok(()) if geteuid().is_root() => std::os::unix::fs::lchown(home, Some(uid), Some(gid)),
        // Without privileges, sandboxes run as the server does.
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Writes a file that the sandbox can read, whatever the server's umask is.
fn write_readable(path: &Path, content: &str) -> io::Result<()> {
    fs::write(path, content)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644))
}
