//! The directory of everything that the server keeps: made, locked, and told apart.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rand::Rng as _;
use rustix::fs::{FlockOperation, flock};
use sandtree_model::InstanceId;
use sandtree_model::ids::UID_CHARS;
use sha2::{Digest, Sha256};

/// The file that a running server keeps locked.
const LOCK: &str = "lock";
/// The file with the instance's id.
const INSTANCE: &str = "instance";
/// The directory of the programs that sandboxes are given.
const BIN: &str = "bin";
/// Letters of an instance's id.
const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another server uses it.
    #[error("another server uses the data directory {}", .0.display())]
    InUse(PathBuf),
    /// Its instance file holds no id.
    #[error("{} does not hold an instance's id", .0.display())]
    BadInstance(PathBuf),
    /// The system says no.
    #[error("{} cannot be used", path.display())]
    Io {
        /// What.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

/// A data directory that is ours until it is dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    instance: InstanceId,
    _lock: File,
}

impl DataDir {
    /// Makes the directory if it is missing, for its owner alone, and locks it.
    ///
    /// # Errors
    ///
    /// See [`DataDirError`].
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| DataDirError::Io { path, source }
        };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(at(path))?;
        let path = path.canonicalize().map_err(at(path))?;
        let lock_path = path.join(LOCK);
        let lock = OpenOptions::new().create(true).append(true).mode(0o600).open(&lock_path);
        let lock = lock.map_err(at(&lock_path))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
            rustix::io::Errno::WOULDBLOCK => DataDirError::InUse(path.clone()),
            error => at(&lock_path)(error.into()),
        })?;
        let instance = instance(&path.join(INSTANCE))?;
        Ok(Self { path, instance, _lock: lock })
    }

    /// The directory, without links.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The installation that it belongs to.
    #[must_use]
    pub fn instance(&self) -> &InstanceId {
        &self.instance
    }

    /// Writes a program out, under a name of its own for each content, so that sandboxes
    /// which run an older one keep it.
    ///
    /// # Errors
    ///
    /// [`DataDirError::Io`].
    pub fn install(&self, name: &str, program: &[u8]) -> Result<PathBuf, DataDirError> {
        let bin = self.path.join(BIN);
        let hash = Sha256::digest(program)
            .iter()
            .take(8)
            .fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
        let path = bin.join(format!("{name}-{hash}"));
        let write = || {
            DirBuilder::new().recursive(true).mode(0o755).create(&bin)?;
            if std::fs::read(&path).is_ok_and(|there| there == program) {
                return std::fs::set_permissions(&path, Permissions::from_mode(0o755));
            }
            write_whole(&path, program, 0o755)
        };
        write().map_err(|source| DataDirError::Io { path: path.clone(), source })?;
        Ok(path)
    }
}

fn instance(path: &Path) -> Result<InstanceId, DataDirError> {
    let read = |path: &Path| -> io::Result<String> {
        let mut text = String::new();
        File::open(path)?.take(1024).read_to_string(&mut text)?;
        Ok(text)
    };
    let bad = || DataDirError::BadInstance(path.to_owned());
    let io = |source| DataDirError::Io { path: path.to_owned(), source };
    match read(path) {
        Ok(text) => text.trim().parse().map_err(|_| bad()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut random = rand::rng();
            let letter = |_| char::from(LETTERS[random.random_range(0..LETTERS.len())]);
            let text: String = (0..UID_CHARS).map(letter).collect();
            write_whole(path, format!("{text}\n").as_bytes(), 0o600).map_err(io)?;
            text.parse().map_err(|_| bad())
        }
        Err(error) => Err(io(error)),
    }
}

/// Writes a file so that it is there as a whole or not at all, even after a power loss.
fn write_whole(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let staged = path.with_extension("new");
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(mode).open(&staged)?;
    file.write_all(content)?;
    // The mode of `open` is cut by the umask.
    file.set_permissions(Permissions::from_mode(mode))?;
    file.sync_all()?;
    drop(file);
    std::fs::rename(&staged, path)?;
    path.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_made_for_its_owner_and_keeps_its_instance() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("a/b");
        let first = DataDir::open(&path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        let instance = first.instance().clone();
        drop(first);
        assert_eq!(*DataDir::open(&path).unwrap().instance(), instance);
    }

    #[test]
    fn its_instance_is_on_the_disk_before_anybody_is_told() {
        let disk = sandtree_testkit::BlockDisk::mount();
        let instance = DataDir::open(&disk.path()).unwrap().instance().clone();
        let left = disk.after_a_power_cut();
        assert_eq!(*DataDir::open(&left.path()).unwrap().instance(), instance);
    }

    #[test]
    fn a_second_server_is_told_so() {
        let scratch = tempfile::tempdir().unwrap();
        let first = DataDir::open(scratch.path()).unwrap();
        let second = DataDir::open(scratch.path()).unwrap_err();
        assert!(matches!(second, DataDirError::InUse(_)), "{second:?}");
        drop(first);
        assert!(DataDir::open(scratch.path()).is_ok());
    }

    #[test]
    fn a_damaged_instance_is_not_replaced() {
        let scratch = tempfile::tempdir().unwrap();
        std::fs::write(scratch.path().join(INSTANCE), "").unwrap();
        let opened = DataDir::open(scratch.path()).unwrap_err();
        assert!(matches!(opened, DataDirError::BadInstance(_)), "{opened:?}");
    }

    #[test]
    fn a_program_is_written_once_under_a_name_of_its_own() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = DataDir::open(scratch.path()).unwrap();
        let one = directory.install("init", b"one").unwrap();
        assert_eq!(one.metadata().unwrap().permissions().mode() & 0o777, 0o755);
        assert_eq!(directory.install("init", b"one").unwrap(), one);
        assert_ne!(directory.install("init", b"two").unwrap(), one);
        std::fs::write(&one, "torn").unwrap();
        directory.install("init", b"one").unwrap();
        assert_eq!(std::fs::read(&one).unwrap(), b"one");
    }
}
