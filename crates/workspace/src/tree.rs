//! Looking at many files at a time: trees and disk usage.

use std::collections::HashSet;
use std::time::SystemTime;

use rustix::fs::Stat;

use crate::confine::{self, DIRECTORY, Links};
use crate::entry::{self, Kind, MODE_BITS, lossy};
use crate::error::WorkspaceError;
use crate::path::WorkspacePath;
use crate::walk::{DEPTH_MAX, Entered, Step, Walk};
use crate::workspace::Workspace;

/// How much of a tree to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeOptions {
    /// Levels below the start; 1 tells the start's own entries. More than 64 is 64.
    pub depth_max: usize,
    /// Entries in all.
    pub entries_max: usize,
    /// Directories of these names are told without their content, such as `node_modules`.
    pub prune: Vec<String>,
}

/// A tree, directories before their content, ordered by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    /// What is in it, without the start itself.
    pub entries: Vec<TreeEntry>,
    /// Entries are missing because there are more than `entries_max`, or because a directory cannot
    /// be read.
    pub truncated: bool,
}

/// One entry of a [`Tree`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeEntry {
    /// The path from the workspace on.
    pub path: String,
    /// The path on disk is not UTF-8, and `path` only resembles it.
    pub path_is_lossy: bool,
    /// What it is. Links are told, never followed.
    pub kind: Kind,
    /// Bytes of content; for a link the length of its target.
    pub size: u64,
    /// Permission bits, at most `0o777`.
    pub mode: u32,
    /// When the content last changed, as the sandbox tells it.
    pub modified: SystemTime,
}

/// What a workspace takes on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes that are allocated, so holes are free and a file with two names counts once.
    pub bytes: u64,
    /// Files, directories, links and the rest together.
    pub entries: u64,
    /// There is more than was counted: too many entries, too deep, or not readable.
    pub truncated: bool,
}

impl Workspace {
    /// Tells what is in a directory and below.
    ///
    /// # Errors
    ///
    /// [`WorkspaceError::NotFound`], [`WorkspaceError::NotADirectory`],
    /// [`WorkspaceError::Escapes`].
    pub fn tree(
        &self,
        path: &WorkspacePath,
        options: &TreeOptions,
    ) -> Result<Tree, WorkspaceError> {
        let start = confine::open(&self.inner.root, path.as_str(), DIRECTORY, Links::Follow)?;
        let mut walk = Walk::new(start, options.entries_max)?;
        let depth_max = options.depth_max.min(DEPTH_MAX);
        let mut tree = Tree { entries: Vec::new(), truncated: false };
        while let Some(step) = walk.next()? {
            let pruned = options.prune.iter().any(|name| name.as_bytes() == step.name.to_bytes());
            if step.kind() == Kind::Directory && step.depth < depth_max && !pruned {
                tree.truncated |= walk.enter(&step)? == Entered::Unreadable;
            }
            tree.entries.push(tree_entry(path, &step));
        }
        tree.truncated |= walk.is_cut();
        Ok(tree)
    }

    /// Adds up what the workspace takes on disk, looking at no more than `entries_max` entries.
    ///
    /// # Errors
    ///
    /// [`WorkspaceError::Io`] when the disk fails.
    pub fn usage(&self, entries_max: usize) -> Result<Usage, WorkspaceError> {
        let start = confine::open(&self.inner.root, "", DIRECTORY, Links::Refuse)?;
        let mut walk = Walk::new(start, entries_max)?;
        let mut usage = Usage::default();
        let mut seen = HashSet::new();
        while let Some(step) = walk.next()? {
            usage.entries += 1;
            if step.kind() == Kind::Directory {
                usage.truncated |=
                    matches!(walk.enter(&step)?, Entered::TooDeep | Entered::Unreadable);
            } else if step.stat.st_nlink > 1 && !seen.insert(step.stat.st_ino) {
                continue;
            }
            usage.bytes = usage.bytes.saturating_add(allocated(&step.stat));
        }
        usage.truncated |= walk.is_cut();
        Ok(usage)
    }
}

fn allocated(stat: &Stat) -> u64 {
    u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512)
}

fn tree_entry(start: &WorkspacePath, step: &Step) -> TreeEntry {
    let (below, path_is_lossy) = lossy(&step.path);
    let path = if start.is_root() { below } else { format!("{start}/{below}") };
    TreeEntry {
        path,
        path_is_lossy,
        kind: step.kind(),
        size: entry::size(&step.stat),
        mode: step.stat.st_mode & MODE_BITS,
        modified: entry::modified(&step.stat),
    }
}
