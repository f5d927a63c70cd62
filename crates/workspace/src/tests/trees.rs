//! What trees are for, with nobody in the way.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use super::{Fixture, LIMITS, names, path};
use crate::{
    BadPath, Existing, Limit, Limits, Parents, Recursive, TreeOptions, WorkspaceError,
    WorkspacePath,
};

fn whole_tree() -> TreeOptions {
    TreeOptions { depth_max: 64, entries_max: 1000, prune: Vec::new() }
}

#[test]
fn remove_takes_files_links_and_trees() {
    let fixture = Fixture::new();
    let workspace = &fixture.workspace;
    fixture.write("d/e/f", b"x").unwrap();
    fixture.link(fixture.outside(), "d/link");
    assert!(matches!(workspace.remove(&path("d"), Recursive::No), Err(WorkspaceError::NotEmpty)));
    workspace.remove(&path("d/link"), Recursive::No).unwrap();
    fixture.link(fixture.outside(), "d/e/link");
    workspace.remove(&path("d"), Recursive::Yes).unwrap();
    assert!(matches!(workspace.remove(&path("d"), Recursive::Yes), Err(WorkspaceError::NotFound)));
    workspace.mkdir(&path("empty"), Parents::Require).unwrap();
    workspace.remove(&path("empty"), Recursive::No).unwrap();
    assert_eq!(names(&fixture.host("")), [""; 0]);
    fixture.check();
}

#[test]
fn rename_replaces_only_when_asked() {
    let fixture = Fixture::new();
    let rename = |from, to, existing| fixture.workspace.rename(&path(from), &path(to), existing);
    fixture.write("a", b"a").unwrap();
    fixture.write("b", b"b").unwrap();
    fixture.write("d/x", b"x").unwrap();
    assert!(matches!(rename("a", "b", Existing::Keep), Err(WorkspaceError::Exists)));
    rename("a", "b", Existing::Replace).unwrap();
    assert_eq!(fixture.read("b").unwrap(), b"a");
    assert!(matches!(rename("b", "d", Existing::Replace), Err(WorkspaceError::NotAFile { .. })));
    assert!(matches!(rename("d", "b", Existing::Replace), Err(WorkspaceError::NotADirectory)));
    assert!(matches!(rename("gone", "z", Existing::Keep), Err(WorkspaceError::NotFound)));
    assert!(matches!(rename("b", "gone/z", Existing::Keep), Err(WorkspaceError::NotFound)));
    assert!(matches!(
        rename("d", "d/e", Existing::Keep),
        Err(WorkspaceError::BadPath(BadPath::IntoItself))
    ));
    fixture.write("full/y", b"y").unwrap();
    assert!(matches!(rename("d", "full", Existing::Replace), Err(WorkspaceError::NotEmpty)));
    rename("d", "moved", Existing::Keep).unwrap();
    assert_eq!(fixture.read("moved/x").unwrap(), b"x");
    fixture.check();
}

#[test]
fn copies_are_whole_and_have_the_owner() {
    let fixture = Fixture::new();
    fixture.write("d/e/f", b"content").unwrap();
    fixture.workspace.set_mode(&path("d/e/f"), 0o700).unwrap();
    fixture.link("e/f", "d/link");
    fixture.workspace.mkdir(&path("d/empty"), Parents::Require).unwrap();
    let copied =
        fixture.workspace.copy(&path("d"), &path("d/copy"), Existing::Keep, &LIMITS).unwrap();
    assert_eq!(
        (copied.files, copied.directories, copied.links, copied.bytes, copied.skipped),
        (1, 3, 1, 7, 0)
    );
    assert_eq!(fixture.read("d/copy/e/f").unwrap(), b"content");
    assert_eq!(fixture.read("d/copy/link").unwrap(), b"content");
    let meta = fs::metadata(fixture.host("d/copy/e/f")).unwrap();
    assert_eq!((meta.uid(), meta.mode() & 0o7777), (fixture.owner.uid, 0o700));
    assert_eq!(fs::symlink_metadata(fixture.host("d/copy/link")).unwrap().uid(), fixture.owner.uid);
    assert_eq!(fs::metadata(fixture.host("d/copy")).unwrap().uid(), fixture.owner.uid);
    fixture.check();
}

#[test]
fn copy_takes_single_files_and_links_too() {
    let fixture = Fixture::new();
    let copy =
        |from, to, existing| fixture.workspace.copy(&path(from), &path(to), existing, &LIMITS);
    fixture.write("f", b"one").unwrap();
    fixture.link("f", "l");
    assert_eq!(copy("f", "g", Existing::Keep).unwrap().files, 1);
    assert_eq!(copy("l", "m", Existing::Keep).unwrap().links, 1);
    assert_eq!(fs::read_link(fixture.host("m")).unwrap().to_str(), Some("f"));
    assert!(matches!(copy("f", "g", Existing::Keep), Err(WorkspaceError::Exists)));
    copy("f", "g", Existing::Replace).unwrap();
    assert!(matches!(copy("gone", "x", Existing::Keep), Err(WorkspaceError::NotFound)));
    fixture.check();
}

#[test]
fn a_copy_over_its_limits_copies_nothing() {
    let fixture = Fixture::new();
    for name in ["d/a", "d/b", "d/c"] {
        fixture.write(name, &[0; 100]).unwrap();
    }
    let copy = |bytes_max, entries_max| {
        let limits = Limits { bytes_max, entries_max };
        fixture.workspace.copy(&path("d"), &path("e"), Existing::Keep, &limits)
    };
    assert!(matches!(
        copy(299, 10),
        Err(WorkspaceError::OverLimit { what: Limit::Bytes, max: 299 })
    ));
    assert!(matches!(
        copy(300, 2),
        Err(WorkspaceError::OverLimit { what: Limit::Entries, max: 2 })
    ));
    assert!(!fixture.host("e").exists());
    assert_eq!(copy(300, 3).unwrap().files, 3);
    fixture.check();
}

#[test]
fn a_tree_is_ordered_pruned_and_cut() {
    let fixture = Fixture::new();
    for name in ["b/x/y", "a", "node_modules/m/index.js", "b.txt"] {
        fixture.write(name, b"").unwrap();
    }
    let tree = |start: &WorkspacePath, options| {
        let tree = fixture.workspace.tree(start, &options).unwrap();
        (
            tree.entries.into_iter().map(|entry| entry.path).collect::<Vec<_>>().join(" "),
            tree.truncated,
        )
    };
    let root = WorkspacePath::root();
    let pruned = TreeOptions { prune: vec!["node_modules".into()], ..whole_tree() };
    assert_eq!(tree(&root, pruned.clone()), ("a b b/x b/x/y b.txt node_modules".into(), false));
    assert_eq!(tree(&path("b"), whole_tree()), ("b/x b/x/y".into(), false));
    let shallow = TreeOptions { depth_max: 1, ..whole_tree() };
    assert_eq!(tree(&root, shallow), ("a b b.txt node_modules".into(), false));
    let (_, truncated) = tree(&root, TreeOptions { entries_max: 3, ..pruned });
    assert!(truncated);
}

#[test]
fn usage_counts_what_is_allocated_once() {
    let fixture = Fixture::new();
    fixture.write("f", &[1; 100_000]).unwrap();
    let single = fixture.workspace.usage(100).unwrap();
    assert!(single.bytes >= 100_000 && single.entries == 1 && !single.truncated, "{single:?}");
    fs::hard_link(fixture.host("f"), fixture.host("g")).unwrap();
    let double = fixture.workspace.usage(100).unwrap();
    assert_eq!((double.bytes, double.entries), (single.bytes, 2));
    assert!(fixture.workspace.usage(1).unwrap().truncated);
    fs::File::create(fixture.host("holes")).unwrap().set_len(1 << 40).unwrap();
    assert_eq!(fixture.workspace.usage(100).unwrap().bytes, single.bytes);
}

#[test]
fn the_sweep_removes_what_is_old_and_nothing_else() {
    let fixture = Fixture::new();
    fs::create_dir_all(fixture.staging().join("grave/deep")).unwrap();
    fs::write(fixture.staging().join("grave/deep/f"), b"x").unwrap();
    std::os::unix::fs::symlink(fixture.outside(), fixture.staging().join("link")).unwrap();
    let staged = fixture.workspace.stage(1).unwrap();
    assert_eq!(fixture.workspace.sweep_staging(Duration::from_secs(3600)).unwrap(), 0);
    drop(staged);
    assert_eq!(fixture.workspace.sweep_staging(Duration::ZERO).unwrap(), 2);
    fixture.check();
}

#[test]
fn a_tree_that_its_owner_made_read_only_is_removed() {
    // As the module cache of Go does; it matters for a server without privileges.
    let fixture = Fixture::new();
    fixture.write("d/e/f", b"").unwrap();
    for name in ["d/e", "d"] {
        fixture.workspace.set_mode(&path(name), 0o500).unwrap();
    }
    fixture.workspace.remove(&path("d"), Recursive::Yes).unwrap();
    assert!(!fixture.host("d").exists());
    fixture.check();
}
