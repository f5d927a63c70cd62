//! Tests of the whole crate, on real directories.

mod deep;
mod files;
mod hostile;
mod model;
mod race;
mod trees;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::process::{getegid, geteuid};
use tempfile::TempDir;

use crate::{
    Entry, Existing, ExtractOptions, Limits, Manner, Owner, Parents, Precondition, Workspace,
    WorkspaceError, WorkspacePath,
};

/// What no operation on a workspace may ever read or change.
pub(crate) const SECRET: &[u8] = b"SECRET: outside of the workspace";

pub(crate) const LIMITS: Limits = Limits { bytes_max: 1 << 24, entries_max: 10_000 };

pub(crate) const EXTRACT: ExtractOptions = ExtractOptions {
    format: None,
    limits: LIMITS,
    ratio_max: 200,
    existing: Existing::Replace,
    manner: Manner::AsIs,
};

/// A workspace beside its staging directory and a directory that is none of its business.
pub(crate) struct Fixture {
    pub(crate) workspace: Workspace,
    pub(crate) owner: Owner,
    dir: TempDir,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("outside")).unwrap();
        fs::write(dir.path().join("outside/secret"), SECRET).unwrap();
        let owner = if is_root() {
            Owner { uid: 12_345, gid: 12_346 }
        } else {
            Owner { uid: geteuid().as_raw(), gid: getegid().as_raw() }
        };
        let workspace =
            Workspace::create(&dir.path().join("ws"), &dir.path().join("staging"), owner).unwrap();
        Self { workspace, owner, dir }
    }

    /// A path on the host, as code in the sandbox would see it beneath its workspace.
    pub(crate) fn host(&self, path: &str) -> PathBuf {
        self.dir.path().join("ws").join(path)
    }

    pub(crate) fn outside(&self) -> PathBuf {
        self.dir.path().join("outside")
    }

    pub(crate) fn staging(&self) -> PathBuf {
        self.dir.path().join("staging")
    }

    pub(crate) fn link(&self, target: impl AsRef<Path>, path: &str) {
        std::os::unix::fs::symlink(target, self.host(path)).unwrap();
    }

    pub(crate) fn write(&self, path: &str, content: &[u8]) -> Result<Entry, WorkspaceError> {
        write(&self.workspace, path, content)
    }

    pub(crate) fn read(&self, path: &str) -> Result<Vec<u8>, WorkspaceError> {
        read(&self.workspace, path)
    }

    /// Nothing outside was touched, and nothing was left behind.
    pub(crate) fn check(&self) {
        assert_eq!(names(&self.outside()), ["secret"]);
        assert_eq!(fs::read(self.outside().join("secret")).unwrap(), SECRET);
        assert_eq!(names(&self.staging()), [""; 0]);
    }
}

pub(crate) fn is_root() -> bool {
    geteuid().is_root()
}

pub(crate) fn path(text: &str) -> WorkspacePath {
    WorkspacePath::parse(text).unwrap()
}

pub(crate) fn write(
    workspace: &Workspace,
    to: &str,
    content: &[u8],
) -> Result<Entry, WorkspaceError> {
    let mut staged = workspace.stage(content.len() as u64)?;
    staged.write_all(content)?;
    workspace.commit(staged, &path(to), &Precondition::None, Parents::Create)
}

pub(crate) fn read(workspace: &Workspace, from: &str) -> Result<Vec<u8>, WorkspaceError> {
    let (mut file, _) = workspace.open_file(&path(from))?;
    let mut content = Vec::new();
    file.read_to_end(&mut content)?;
    Ok(content)
}

pub(crate) fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Everything there is to know about a tree, to tell whether it changed.
pub(crate) fn fingerprint(dir: &Path) -> BTreeMap<PathBuf, (u32, u32, i64, i64, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut left = vec![dir.to_path_buf()];
    while let Some(path) = left.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        let content = if meta.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
        if meta.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        found.insert(path, (meta.mode(), meta.uid(), meta.ctime(), meta.ctime_nsec(), content));
    }
    found
}
