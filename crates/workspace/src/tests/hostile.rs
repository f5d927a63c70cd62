//! What code in the sandbox can plant. Each test ends with a look at what must not have changed.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;

use rustix::fs::{CWD, FileType, Mode, mkfifoat, mknodat};

use super::{EXTRACT, Fixture, LIMITS, is_root, path};
use crate::{
    ArchiveFormat, Existing, Kind, ListOptions, Parents, Recursive, TreeOptions, Workspace,
    WorkspaceError, WorkspacePath,
};

/// Everything that can be done with one path.
fn every_operation(
    workspace: &Workspace,
    name: &str,
) -> Vec<(&'static str, Result<(), WorkspaceError>)> {
    let at = path(name);
    let list = ListOptions { limit: 10, after_name: None };
    let tree = TreeOptions { depth_max: 9, entries_max: 99, prune: Vec::new() };
    let archive = |outcome: Result<_, crate::ArchiveError>| match outcome {
        Ok(_) => Ok(()),
        Err(crate::ArchiveError::Workspace(error)) => Err(error),
        Err(error) => panic!("{error:?}"),
    };
    vec![
        ("stat", workspace.stat(&at).map(|_| ())),
        ("open_file", workspace.open_file(&at).map(|_| ())),
        ("list", workspace.list(&at, &list).map(|_| ())),
        ("tree", workspace.tree(&at, &tree).map(|_| ())),
        (
            "archive_out",
            archive(
                workspace.archive_out(&at, ArchiveFormat::Tar, Vec::new(), &LIMITS).map(|_| ()),
            ),
        ),
        ("archive_in", archive(workspace.archive_in(&[][..], &at, &EXTRACT).map(|_| ()))),
        ("write", super::write(workspace, name, b"overwritten").map(|_| ())),
        ("mkdir", workspace.mkdir(&at, Parents::Create)),
        ("set_mode", workspace.set_mode(&at, 0o777)),
        ("copy", workspace.copy(&at, &path("copy"), Existing::Replace, &LIMITS).map(|_| ())),
        ("rename", workspace.rename(&at, &path("moved"), Existing::Replace)),
        ("remove", workspace.remove(&at, Recursive::Yes)),
    ]
}

#[test]
fn no_operation_goes_through_a_link_out_of_the_workspace() {
    let fixture = Fixture::new();
    let outside = super::fingerprint(&fixture.outside());
    fixture.link(fixture.outside(), "absolute");
    fixture.link("../outside", "relative");
    fixture.link("../ws/../outside", "winding");
    fixture.link("relative", "indirect");
    fixture.link("/proc/self/root", "magic");
    fs::create_dir(fixture.host("d")).unwrap();
    fixture.link("../../outside", "d/nested");
    for parent in ["absolute", "relative", "winding", "indirect", "d/nested"] {
        for (operation, outcome) in every_operation(&fixture.workspace, &format!("{parent}/secret"))
        {
            assert!(
                matches!(outcome, Err(WorkspaceError::Escapes)),
                "{operation} {parent}: {outcome:?}"
            );
        }
        for (operation, outcome) in every_operation(&fixture.workspace, &format!("{parent}/new")) {
            assert!(
                matches!(outcome, Err(WorkspaceError::Escapes)),
                "{operation} {parent}: {outcome:?}"
            );
        }
    }
    for (operation, outcome) in every_operation(&fixture.workspace, "magic/etc/hostname") {
        assert!(matches!(outcome, Err(WorkspaceError::Escapes)), "{operation}: {outcome:?}");
    }
    assert_eq!(super::fingerprint(&fixture.outside()), outside);
    fixture.check();
}

#[test]
fn a_link_in_the_last_place_is_handled_and_not_its_target() {
    let outside_links = ["/etc/hostname", "../outside/secret", "../outside"];
    for target in outside_links {
        let fixture = Fixture::new();
        let before = super::fingerprint(&fixture.outside());
        fixture.link(target, "l");
        let workspace = &fixture.workspace;
        let entry = workspace.stat(&path("l")).unwrap();
        assert_eq!((entry.kind, entry.link_target.as_deref()), (Kind::Symlink, Some(target)));
        assert!(
            matches!(workspace.open_file(&path("l")), Err(WorkspaceError::Escapes)),
            "{target}"
        );
        assert!(matches!(
            workspace.set_mode(&path("l"), 0o777),
            Err(WorkspaceError::NotAFile { found: Kind::Symlink })
        ));
        workspace.copy(&path("l"), &path("m"), Existing::Keep, &LIMITS).unwrap();
        assert_eq!(fs::read_link(fixture.host("m")).unwrap().to_str(), Some(target));
        workspace.remove(&path("m"), Recursive::Yes).unwrap();
        workspace.rename(&path("l"), &path("n"), Existing::Keep).unwrap();
        fixture.write("n", b"file").unwrap();
        assert_eq!(workspace.stat(&path("n")).unwrap().kind, Kind::File);
        assert_eq!(super::fingerprint(&fixture.outside()), before);
        fixture.check();
    }
}

#[test]
fn links_inside_are_followed_for_reading_and_in_parents() {
    let fixture = Fixture::new();
    fixture.write("d/f", b"inside").unwrap();
    fixture.link("d", "dir");
    fixture.link("d/f", "file");
    fixture.link("../d/f", "d/up");
    for name in ["dir/f", "file", "d/up", "dir/up"] {
        assert_eq!(fixture.read(name).unwrap(), b"inside", "{name}");
    }
    fixture.write("dir/g", b"new").unwrap();
    assert_eq!(fixture.read("d/g").unwrap(), b"new");
    fixture.write("dir/x/y", b"new").unwrap();
    assert_eq!(fixture.read("d/x/y").unwrap(), b"new");
}

#[test]
fn loops_and_dangling_links_end() {
    let fixture = Fixture::new();
    fixture.link("b", "a");
    fixture.link("a", "b");
    fixture.link("self", "self");
    fixture.link("nowhere", "dangling");
    for name in ["a", "self"] {
        assert!(matches!(fixture.read(name), Err(WorkspaceError::Escapes)), "{name}");
        assert!(
            matches!(fixture.read(&format!("{name}/x")), Err(WorkspaceError::Escapes)),
            "{name}"
        );
        assert!(
            matches!(fixture.write(&format!("{name}/x"), b""), Err(WorkspaceError::Escapes)),
            "{name}"
        );
    }
    assert!(matches!(fixture.read("dangling"), Err(WorkspaceError::NotFound)));
    // The parent cannot be made where a link is, and the link's target is not made in its stead.
    assert!(matches!(fixture.write("dangling/x", b""), Err(WorkspaceError::NotADirectory)));
    assert!(!fixture.host("nowhere").exists());
    fixture.write("self", b"replaced").unwrap();
    assert_eq!(fixture.read("self").unwrap(), b"replaced");
    fixture.check();
}

#[test]
fn special_files_are_told_and_never_opened() {
    let fixture = Fixture::new();
    fs::create_dir(fixture.host("d")).unwrap();
    mkfifoat(CWD, fixture.host("d/fifo"), Mode::RWXU).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(fixture.host("d/socket")).unwrap();
    let mut specials = vec!["d/fifo", "d/socket"];
    // The device of `/dev/zero`; not every place lets root make it.
    let zero = rustix::fs::makedev(1, 5);
    if mknodat(CWD, fixture.host("d/zero"), FileType::CharacterDevice, Mode::RWXU, zero).is_ok() {
        specials.push("d/zero");
    }
    let workspace = &fixture.workspace;
    for name in &specials {
        assert_eq!(workspace.stat(&path(name)).unwrap().kind, Kind::Other, "{name}");
        let special = |outcome: Result<(), WorkspaceError>| {
            assert!(
                matches!(outcome, Err(WorkspaceError::NotAFile { found: Kind::Other })),
                "{name}: {outcome:?}"
            );
        };
        special(workspace.open_file(&path(name)).map(|_| ()));
        special(workspace.set_mode(&path(name), 0o777));
        special(workspace.copy(&path(name), &path("copy"), Existing::Replace, &LIMITS).map(|_| ()));
    }
    let copied = workspace.copy(&path("d"), &path("copy"), Existing::Keep, &LIMITS).unwrap();
    assert_eq!((copied.skipped, copied.files), (specials.len() as u64, 0));
    let summary =
        workspace.archive_out(&path("d"), ArchiveFormat::Tar, Vec::new(), &LIMITS).unwrap();
    assert_eq!((summary.skipped_total, summary.files), (specials.len() as u64, 0));
    assert!(summary.skipped.iter().all(|skipped| skipped.why == crate::SkipReason::Special));
    fixture.write("d/fifo", b"a file now").unwrap();
    assert_eq!(fixture.read("d/fifo").unwrap(), b"a file now");
    workspace.remove(&path("d"), Recursive::Yes).unwrap();
    fixture.check();
}

#[test]
fn names_that_are_not_utf8_are_listed_and_go_with_their_directory() {
    let fixture = Fixture::new();
    fs::create_dir(fixture.host("d")).unwrap();
    let raw = std::ffi::OsStr::from_bytes(b"bad\xff");
    fs::write(fixture.host("d").join(raw), b"x").unwrap();
    let listing =
        fixture.workspace.list(&path("d"), &ListOptions { limit: 9, after_name: None }).unwrap();
    assert_eq!(
        (listing.entries[0].name.as_str(), listing.entries[0].name_is_lossy),
        ("bad\u{fffd}", true)
    );
    let options = TreeOptions { depth_max: 9, entries_max: 9, prune: Vec::new() };
    assert!(
        fixture.workspace.tree(&WorkspacePath::root(), &options).unwrap().entries[1].path_is_lossy
    );
    fixture.workspace.copy(&path("d"), &path("e"), Existing::Keep, &LIMITS).unwrap();
    assert_eq!(fs::read(fixture.host("e").join(raw)).unwrap(), b"x");
    fixture.workspace.remove(&path("d"), Recursive::Yes).unwrap();
    assert!(!fixture.host("d").exists());
    fixture.check();
}

#[test]
fn paging_ends_even_among_names_that_look_alike() {
    let fixture = Fixture::new();
    for raw in [&b"a"[..], b"\xfe", b"\xff", b"z"] {
        fs::write(fixture.host("").join(std::ffi::OsStr::from_bytes(raw)), b"").unwrap();
    }
    let mut after = None;
    for _ in 0..4 {
        let options = ListOptions { limit: 1, after_name: after };
        let listing = fixture.workspace.list(&WorkspacePath::root(), &options).unwrap();
        match listing.entries.first() {
            Some(entry) => after = Some(entry.name.clone()),
            None => return,
        }
    }
    panic!("no end of pages");
}

#[test]
fn times_that_cannot_be_written_down_are_clamped() {
    let fixture = Fixture::new();
    fixture.write("f", b"").unwrap();
    let times = |seconds| rustix::fs::Timestamps {
        last_access: rustix::fs::Timespec { tv_sec: 0, tv_nsec: 0 },
        last_modification: rustix::fs::Timespec { tv_sec: seconds, tv_nsec: 0 },
    };
    for seconds in [i64::MAX, 1 << 40, -5, i64::MIN] {
        rustix::fs::utimensat(
            CWD,
            fixture.host("f"),
            &times(seconds),
            rustix::fs::AtFlags::empty(),
        )
        .unwrap();
        let modified = fixture.workspace.stat(&path("f")).unwrap().modified;
        let seconds = modified.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        assert!(seconds < 253_402_300_800, "{seconds}");
    }
}

#[test]
fn a_huge_sparse_file_is_over_the_limit_at_once() {
    let fixture = Fixture::new();
    fs::create_dir(fixture.host("d")).unwrap();
    fs::File::create(fixture.host("d/huge")).unwrap().set_len(1 << 42).unwrap();
    let copied = fixture.workspace.copy(&path("d"), &path("e"), Existing::Keep, &LIMITS);
    assert!(matches!(copied, Err(WorkspaceError::OverLimit { .. })), "{copied:?}");
    let packed = fixture.workspace.archive_out(&path("d"), ArchiveFormat::Tar, Vec::new(), &LIMITS);
    assert!(matches!(packed, Err(crate::ArchiveError::OverLimit { .. })), "{packed:?}");
    fixture.check();
}

#[test]
fn a_write_takes_nothing_but_the_name_from_a_planted_hard_link() {
    let fixture = Fixture::new();
    fixture.write("a", b"one").unwrap();
    fs::hard_link(fixture.host("a"), fixture.host("b")).unwrap();
    fixture.write("b", b"two").unwrap();
    assert_eq!(fixture.read("a").unwrap(), b"one");
    assert_eq!(fs::metadata(fixture.host("a")).unwrap().nlink(), 1);
}

#[test]
fn a_workspace_whose_directory_is_gone_answers() {
    let fixture = Fixture::new();
    fs::remove_dir(fixture.host("")).unwrap();
    assert!(matches!(fixture.read("f"), Err(WorkspaceError::NotFound)));
    assert!(matches!(fixture.write("f", b""), Err(WorkspaceError::NotFound)));
    assert!(matches!(fixture.write("d/f", b""), Err(WorkspaceError::NotFound)));
}

#[test]
fn mounts_inside_the_workspace_are_not_the_workspace() {
    let fixture = Fixture::new();
    let inside = fixture.host("mnt");
    fs::create_dir(&inside).unwrap();
    let bind = || {
        std::process::Command::new("mount")
            .arg("--bind")
            .arg(fixture.outside())
            .arg(&inside)
            .output()
    };
    // Needs root and mount(8); elsewhere there is nothing to test.
    if !is_root() || !bind().is_ok_and(|output| output.status.success()) {
        return;
    }
    let outcomes = every_operation(&fixture.workspace, "mnt/secret");
    let _ = fixture.workspace.remove(&path("mnt"), Recursive::Yes);
    let tree = fixture.workspace.usage(100);
    let copied = fixture.workspace.copy(&path("mnt"), &path("copy"), Existing::Keep, &LIMITS);
    let unmounted = std::process::Command::new("umount").arg(&inside).status();
    assert!(unmounted.is_ok_and(|status| status.success()));
    for (operation, outcome) in outcomes {
        assert!(matches!(outcome, Err(WorkspaceError::Escapes)), "{operation}: {outcome:?}");
    }
    assert!(tree.is_ok_and(|usage| usage.entries == 1));
    assert!(matches!(copied, Err(WorkspaceError::Escapes)), "{copied:?}");
    fixture.check();
}

#[test]
fn a_process_in_a_removed_directory_cannot_climb_out() {
    let fixture = Fixture::new();
    fixture.write("d/e/f", b"").unwrap();
    // What a removal does to a directory that a process in a sandbox works in.
    let script = r#"
        mkdir "$1/mnt" && mount --bind "$1/ws" "$1/mnt" && cd "$1/mnt/d/e" || exit 77
        ls .. >/dev/null || exit 78
        mv "$1/ws/d" "$1/staging/grave" || exit 79
        ls ../../../outside || ls ../.. || ls ..
    "#;
    let base = fixture.outside().join("..").canonicalize().unwrap();
    let output = std::process::Command::new("unshare")
        .args(["-m", "--propagation", "private", "sh", "-c", script, "sh"])
        .arg(base)
        .output();
    // Needs root and the right to mount; elsewhere there is nothing to test.
    if let Ok(output) = output.as_ref() {
        assert!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
    }
}
