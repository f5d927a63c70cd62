//! What files are for, with nobody in the way.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use super::{Fixture, LIMITS, SECRET, is_root, names, path};
use crate::{
    BadPath, Existing, Kind, Limit, ListOptions, Parents, Precondition, Recursive, Workspace,
    WorkspaceError, WorkspacePath,
};

fn all() -> ListOptions {
    ListOptions { limit: 1000, after_name: None }
}

#[test]
fn a_written_file_reads_back_and_belongs_to_the_owner() {
    let fixture = Fixture::new();
    let entry = fixture.write("a/b/c.txt", b"hello").unwrap();
    assert_eq!(
        (entry.name.as_str(), entry.size, entry.mode, entry.kind),
        ("c.txt", 5, 0o644, Kind::File)
    );
    assert_eq!(fixture.read("a/b/c.txt").unwrap(), b"hello");
    for name in ["a", "a/b", "a/b/c.txt"] {
        let meta = fs::metadata(fixture.host(name)).unwrap();
        assert_eq!((meta.uid(), meta.gid()), (fixture.owner.uid, fixture.owner.gid), "{name}");
    }
    assert_eq!(fs::metadata(fixture.host("a")).unwrap().mode() & 0o7777, 0o755);
    fixture.check();
}

#[test]
fn stat_and_open_tell_the_same_as_the_write() {
    let fixture = Fixture::new();
    let written = fixture.write("f", b"x").unwrap();
    assert_eq!(fixture.workspace.stat(&path("f")).unwrap(), written);
    assert_eq!(fixture.workspace.open_file(&path("f")).unwrap().1, written);
}

#[test]
fn a_rewrite_keeps_the_mode_but_no_special_bits() {
    let fixture = Fixture::new();
    fixture.write("run.sh", b"1").unwrap();
    fs::set_permissions(fixture.host("run.sh"), fs::Permissions::from_mode(0o4751)).unwrap();
    assert_eq!(fixture.write("run.sh", b"2").unwrap().mode, 0o751);
    assert_eq!(fs::metadata(fixture.host("run.sh")).unwrap().mode() & 0o7777, 0o751);
    let mut staged = fixture.workspace.stage(10).unwrap().with_mode(0o6700);
    staged.write_all(b"3").unwrap();
    let entry = fixture
        .workspace
        .commit(staged, &path("run.sh"), &Precondition::None, Parents::Require)
        .unwrap();
    assert_eq!(entry.mode, 0o700);
    assert_eq!(fs::metadata(fixture.host("run.sh")).unwrap().mode() & 0o7777, 0o700);
}

#[test]
fn a_dropped_file_leaves_nothing() {
    let fixture = Fixture::new();
    let mut staged = fixture.workspace.stage(10).unwrap();
    staged.write_all(b"half").unwrap();
    assert_eq!(names(&fixture.staging()).len(), 1);
    drop(staged);
    fixture.check();
}

#[test]
fn a_staged_file_holds_no_more_than_it_was_given() {
    let fixture = Fixture::new();
    let mut staged = fixture.workspace.stage(4).unwrap();
    staged.write_all(b"1234").unwrap();
    let error = WorkspaceError::from(staged.write_all(b"5").unwrap_err());
    assert!(matches!(error, WorkspaceError::OverLimit { what: Limit::Bytes, max: 4 }), "{error:?}");
}

#[test]
fn every_change_changes_the_tag() {
    let fixture = Fixture::new();
    let first = fixture.write("f", b"one").unwrap().etag;
    let second = fixture.write("f", b"two").unwrap().etag;
    assert_ne!(first, second);
    fixture.workspace.set_mode(&path("f"), 0o600).unwrap();
    assert_ne!(fixture.workspace.stat(&path("f")).unwrap().etag, second);
}

#[test]
fn preconditions_compare_with_what_a_read_shows() {
    let fixture = Fixture::new();
    let commit = |to: &str, condition: &Precondition| {
        let staged = fixture.workspace.stage(0).unwrap();
        fixture.workspace.commit(staged, &path(to), condition, Parents::Create)
    };
    let refused = |outcome: Result<_, WorkspaceError>| match outcome {
        Err(WorkspaceError::PreconditionFailed { actual }) => actual,
        outcome => panic!("{outcome:?}"),
    };

    assert_eq!(refused(commit("f", &Precondition::IfMatchAny)), None);
    assert_eq!(refused(commit("x/y/f", &Precondition::IfMatchAny)), None);
    assert!(!fixture.host("x").exists(), "a failed condition makes no parents");
    let first = commit("f", &Precondition::IfNoneMatchAny).unwrap().etag;
    assert_eq!(refused(commit("f", &Precondition::IfNoneMatchAny)), Some(first.clone()));
    let second = commit("f", &Precondition::IfMatch(first.clone())).unwrap().etag;
    assert_eq!(refused(commit("f", &Precondition::IfMatch(first))), Some(second.clone()));

    fixture.link("f", "l");
    assert_eq!(fixture.workspace.open_file(&path("l")).unwrap().1.etag, second);
    commit("l", &Precondition::IfMatch(second.clone())).unwrap();
    assert_eq!(
        fixture.workspace.stat(&path("l")).unwrap().kind,
        Kind::File,
        "the link is replaced"
    );
    assert_eq!(fixture.workspace.stat(&path("f")).unwrap().etag, second, "its target is not");
    fixture.check();
}

#[test]
fn a_file_never_replaces_a_directory() {
    let fixture = Fixture::new();
    fixture.write("d/f", b"x").unwrap();
    assert!(matches!(
        fixture.write("d", b"y"),
        Err(WorkspaceError::NotAFile { found: Kind::Directory })
    ));
    assert!(matches!(fixture.write("d/f/g", b"y"), Err(WorkspaceError::NotADirectory)));
    fixture.check();
}

#[test]
fn the_root_is_read_but_never_written() {
    let fixture = Fixture::new();
    let (workspace, root) = (&fixture.workspace, WorkspacePath::root());
    assert_eq!(workspace.stat(&root).unwrap().kind, Kind::Directory);
    assert!(workspace.list(&root, &all()).unwrap().entries.is_empty());
    assert!(matches!(
        workspace.open_file(&root),
        Err(WorkspaceError::NotAFile { found: Kind::Directory })
    ));
    workspace.mkdir(&root, Parents::Create).unwrap();
    let outcomes = [
        workspace.remove(&root, Recursive::Yes),
        workspace.rename(&root, &path("x"), Existing::Keep),
        workspace.rename(&path("x"), &root, Existing::Replace),
        workspace.copy(&root, &path("x"), Existing::Keep, &LIMITS).map(|_| ()),
        workspace.mkdir(&root, Parents::Require),
        workspace.set_mode(&root, 0),
    ];
    for outcome in outcomes.iter().take(2).chain(&outcomes[3..]) {
        assert!(matches!(outcome, Err(WorkspaceError::BadPath(BadPath::Root))), "{outcome:?}");
    }
}

#[test]
fn mkdir_makes_parents_only_when_asked() {
    let fixture = Fixture::new();
    let workspace = &fixture.workspace;
    assert!(matches!(
        workspace.mkdir(&path("a/b"), Parents::Require),
        Err(WorkspaceError::NotFound)
    ));
    workspace.mkdir(&path("a/b"), Parents::Create).unwrap();
    workspace.mkdir(&path("a/b"), Parents::Create).unwrap();
    assert!(matches!(workspace.mkdir(&path("a/b"), Parents::Require), Err(WorkspaceError::Exists)));
    fixture.write("f", b"").unwrap();
    assert!(matches!(
        workspace.mkdir(&path("f"), Parents::Create),
        Err(WorkspaceError::NotADirectory)
    ));
    fixture.check();
}

#[test]
fn a_listing_is_ordered_and_comes_in_pages() {
    let fixture = Fixture::new();
    for name in ["c", "a", "e", "b", "d"] {
        fixture.write(name, name.as_bytes()).unwrap();
    }
    let page = |after: Option<&str>| {
        let options = ListOptions { limit: 2, after_name: after.map(str::to_owned) };
        let listing = fixture.workspace.list(&WorkspacePath::root(), &options).unwrap();
        (
            listing.entries.into_iter().map(|entry| entry.name).collect::<Vec<_>>().join(" "),
            listing.more,
        )
    };
    assert_eq!(page(None), ("a b".into(), true));
    assert_eq!(page(Some("b")), ("c d".into(), true));
    assert_eq!(page(Some("d")), ("e".into(), false));
    assert_eq!(page(Some("e")), (String::new(), false));
}

#[test]
fn set_mode_sets_plain_bits_of_files_and_directories() {
    let fixture = Fixture::new();
    fixture.write("d/f", b"").unwrap();
    for (name, mode) in [("d/f", 0o600), ("d", 0o750)] {
        fixture.workspace.set_mode(&path(name), mode | 0o6000).unwrap();
        assert_eq!(fs::metadata(fixture.host(name)).unwrap().mode() & 0o7777, mode, "{name}");
    }
}

#[test]
fn a_batch_is_the_same_with_one_flush() {
    let fixture = Fixture::new();
    let batch = fixture.workspace.batched();
    for number in 0..50 {
        super::write(&batch, &format!("d/{number}"), b"x").unwrap();
    }
    batch.sync().unwrap();
    assert_eq!(fixture.workspace.list(&path("d"), &all()).unwrap().entries.len(), 50);
    fixture.check();
}

#[test]
fn create_is_idempotent_and_open_wants_both_directories() {
    let fixture = Fixture::new();
    fixture.write("f", b"kept").unwrap();
    let (dir, staging) = (fixture.host(""), fixture.staging());
    let again = Workspace::create(&dir, &staging, fixture.owner).unwrap();
    assert_eq!(super::read(&again, "f").unwrap(), b"kept");
    for made in [&dir, &staging] {
        assert_eq!(fs::metadata(made).unwrap().mode() & 0o7777, 0o700);
    }
    if is_root() {
        assert_eq!(fs::metadata(&dir).unwrap().uid(), fixture.owner.uid);
        assert_eq!(fs::metadata(&staging).unwrap().uid(), 0);
    }
    let missing = fixture.outside().join("missing");
    assert!(matches!(
        Workspace::open(&missing, &staging, fixture.owner),
        Err(WorkspaceError::NotFound)
    ));
    let file = fixture.outside().join("secret");
    assert!(matches!(
        Workspace::open(&file, &staging, fixture.owner),
        Err(WorkspaceError::NotADirectory)
    ));
    assert_eq!(fs::read(file).unwrap(), SECRET);
}
