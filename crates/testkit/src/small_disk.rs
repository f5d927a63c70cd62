//! A file system of a few megabytes, which a test can fill.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// What is written in one piece to fill it.
const PIECE: [u8; 4096] = [0; 4096];

/// A small file system of the test's own; when it is dropped, it is gone.
pub struct SmallDisk(TempDir);

impl SmallDisk {
    /// Mounts one.
    ///
    /// # Panics
    ///
    /// When the tests are not root's, who alone can mount.
    #[must_use]
    pub fn mount(bytes: u64) -> Self {
        let is_root = rustix::process::geteuid().is_root();
        assert!(is_root, "only root can mount a small file system: run this test as root");
        let dir = tempfile::tempdir().expect("a directory to mount on");
        let options = format!("size={bytes},mode=0700");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "sandtree-test"]).arg(dir.path());
        let mounted = mount.status().expect("mount can be run");
        assert!(mounted.success(), "a file system in memory cannot be mounted: {mounted}");
        Self(dir)
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Leaves no byte free.
    pub fn fill(&self) {
        let mut ballast = File::create(self.ballast()).expect("a file");
        while ballast.write(&PIECE).is_ok_and(|written| written > 0) {}
    }

    /// Makes room again.
    pub fn free(&self) {
        std::fs::remove_file(self.ballast()).expect("the ballast");
    }

    fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, because whoever failed a test may still have a file open.
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}
