//! Trees deeper than any path, and wider than any page.

use std::fs;

use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};

use super::{Fixture, LIMITS, path};
use crate::{
    ArchiveFormat, Existing, Limit, Recursive, SkipReason, TreeOptions, WorkspaceError,
    WorkspacePath,
};

/// Nests directories the way code in a sandbox would: one by one, through descriptors.
fn nest(fixture: &Fixture, start: &str, levels: usize) {
    fs::create_dir(fixture.host(start)).unwrap();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let mut dir = openat(CWD, fixture.host(start), flags, Mode::empty()).unwrap();
    for _ in 0..levels {
        mkdirat(&dir, "d", Mode::RWXU).unwrap();
        openat(&dir, "f", OFlags::CREATE | OFlags::WRONLY, Mode::RUSR).unwrap();
        dir = openat(&dir, "d", flags, Mode::empty()).unwrap();
    }
}

#[test]
fn a_tree_of_thousands_of_levels_is_removed() {
    let fixture = Fixture::new();
    nest(&fixture, "deep", 1000);
    fixture.workspace.remove(&path("deep"), Recursive::Yes).unwrap();
    assert!(!fixture.host("deep").exists());
    fixture.check();
}

#[test]
fn walks_end_at_the_deepest_path_and_say_so() {
    let fixture = Fixture::new();
    nest(&fixture, "deep", 100);
    let options = TreeOptions { depth_max: usize::MAX, entries_max: 1000, prune: Vec::new() };
    let tree = fixture.workspace.tree(&WorkspacePath::root(), &options).unwrap();
    let levels = tree.entries.iter().map(|entry| entry.path.split('/').count()).max();
    assert_eq!(levels, Some(64));
    assert!(fixture.workspace.usage(1000).unwrap().truncated);
    let copied = fixture.workspace.copy(&path("deep"), &path("copy"), Existing::Keep, &LIMITS);
    assert!(
        matches!(copied, Err(WorkspaceError::OverLimit { what: Limit::Depth, .. })),
        "{copied:?}"
    );
    let root = WorkspacePath::root();
    let summary =
        fixture.workspace.archive_out(&root, ArchiveFormat::Tar, Vec::new(), &LIMITS).unwrap();
    assert_eq!(summary.skipped.first().map(|skipped| skipped.why), Some(SkipReason::TooDeep));
    fixture.check();
}

#[test]
fn wide_and_bushy_trees_are_removed() {
    let fixture = Fixture::new();
    fs::create_dir(fixture.host("bush")).unwrap();
    for number in 0..1100 {
        // More directories with content than one pass notes.
        fs::create_dir(fixture.host(&format!("bush/{number}"))).unwrap();
        fs::write(fixture.host(&format!("bush/{number}/f")), b"").unwrap();
    }
    fixture.workspace.remove(&path("bush"), Recursive::Yes).unwrap();
    assert!(!fixture.host("bush").exists());
    fixture.check();
}
