//! A file system on a disk of the test's own, whose power a test can cut.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// Size of the disk; its file takes only what is written to it.
const BYTES: u64 = 64 * 1024 * 1024;
/// What the kernel would write by itself every few seconds waits for longer than a test
/// takes, so that only what somebody has synced is on the disk.
const MOUNT_OPTIONS: &str = "loop,commit=300";
/// Nothing of it is made later, in the background.
const MAKE_OPTIONS: &str = "lazy_itable_init=0,lazy_journal_init=0";

/// A file system (ext4) on a disk that is a file. When it is dropped, it is gone.
pub struct BlockDisk(TempDir);

impl BlockDisk {
    /// Makes and mounts one.
    ///
    /// # Panics
    ///
    /// When the tests are not root's, who alone can mount, or the kernel has no loop devices.
    #[must_use]
    pub fn mount() -> Self {
        let is_root = rustix::process::geteuid().is_root();
        assert!(is_root, "only root can mount a file system: run this test as root");
        let disk = Self::without_content();
        let device = File::create(disk.device()).and_then(|file| file.set_len(BYTES));
        device.expect("a file for the disk");
        run(Command::new("mkfs.ext4").args(["-q", "-F", "-E", MAKE_OPTIONS]).arg(disk.device()));
        disk.attach();
        disk
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.0.path().join("mounted")
    }

    /// What a power cut at this moment would leave, as a disk of its own: all that was
    /// synced, and nothing that is only in the kernel's memory.
    #[must_use]
    pub fn after_a_power_cut(&self) -> Self {
        let left = Self::without_content();
        std::fs::copy(self.device(), left.device()).expect("a copy of the disk");
        left.attach();
        left
    }

    fn without_content() -> Self {
        let dir = tempfile::Builder::new().prefix("disk").tempdir();
        let disk = Self(dir.expect("a directory for the disk"));
        std::fs::create_dir(disk.path()).expect("a directory to mount on");
        disk
    }

    fn device(&self) -> PathBuf {
        self.0.path().join("device")
    }

    fn attach(&self) {
        let mut mount = Command::new("mount");
        run(mount.args(["-t", "ext4", "-o", MOUNT_OPTIONS]).arg(self.device()).arg(self.path()));
    }
}

impl Drop for BlockDisk {
    fn drop(&mut self) {
        // Lazily, because whoever failed a test may still have a file open.
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

fn run(command: &mut Command) {
    let done = command.stdin(Stdio::null()).output();
    let done = done.unwrap_or_else(|error| panic!("{command:?} cannot be run: {error}"));
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{command:?}: {said}");
}
