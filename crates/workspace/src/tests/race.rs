//! Code in the sandbox swaps a directory for a link out of the workspace, as fast as it can, while
//! the API works there.
//!
//! A confinement that looks first and acts later is broken within a few hundred rounds of these.

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::{EXTRACT, Fixture, LIMITS, SECRET, fingerprint, path};
use crate::{
    ArchiveFormat, Existing, Limits, ListOptions, Parents, Recursive, TreeOptions, Workspace,
    WorkspaceError, WorkspacePath,
};

const ROUNDS: u32 = 300;

/// Swaps the two paths of each pair until the work is done, and at least once for each round.
fn while_swapping(pairs: &[(PathBuf, PathBuf)], work: impl FnOnce() + Send) {
    let done = AtomicBool::new(false);
    let swaps = AtomicU64::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                for (left, right) in pairs {
                    // Fails while the work has moved or removed one of them.
                    if renameat_with(CWD, left, CWD, right, RenameFlags::EXCHANGE).is_ok() {
                        swaps.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        });
        let worker = scope.spawn(work);
        let outcome = worker.join();
        done.store(true, Ordering::Relaxed);
        outcome.unwrap();
    });
    assert!(swaps.load(Ordering::Relaxed) > 0);
}

/// A fixture where `d` is a directory and `l` a link to `outside`, both with a `secret` and an
/// `inner/secret`.
fn prepared(target: &str) -> Fixture {
    let fixture = Fixture::new();
    std::fs::create_dir(fixture.outside().join("inner")).unwrap();
    std::fs::write(fixture.outside().join("inner/secret"), SECRET).unwrap();
    fixture.write("d/secret", b"harmless").unwrap();
    fixture.write("d/inner/secret", b"harmless").unwrap();
    let target = if target.is_empty() { fixture.outside() } else { PathBuf::from(target) };
    symlink(target, fixture.host("l")).unwrap();
    fixture
}

fn check_bytes(bytes: &[u8]) {
    assert!(!bytes.windows(SECRET.len()).any(|window| window == SECRET), "the secret came out");
}

fn every_target(round: impl Fn(&Workspace, u32) + Sync) {
    for target in ["", "../outside"] {
        let fixture = prepared(target);
        let before = fingerprint(&fixture.outside());
        let workspace = fixture.workspace.batched();
        while_swapping(&[(fixture.host("d"), fixture.host("l"))], || {
            for number in 0..ROUNDS {
                round(&workspace, number);
            }
        });
        assert_eq!(fingerprint(&fixture.outside()), before, "{target}");
        assert_eq!(super::names(&fixture.staging()), [""; 0]);
    }
}

#[test]
fn reads_never_see_the_outside() {
    every_target(|workspace, _| {
        for name in ["d/secret", "d/inner/secret", "l/secret", "l/inner/secret"] {
            if let Ok(content) = super::read(workspace, name) {
                assert_eq!(content, b"harmless");
            }
            let _ = workspace.stat(&path(name));
        }
        let tree = TreeOptions { depth_max: 9, entries_max: 99, prune: Vec::new() };
        let tree = workspace.tree(&WorkspacePath::root(), &tree).unwrap();
        assert!(
            tree.entries
                .iter()
                .filter(|entry| entry.path.ends_with("secret"))
                .all(|entry| entry.size == 8)
        );
        if let Ok(listing) = workspace.list(&path("d"), &ListOptions { limit: 9, after_name: None })
        {
            assert!(
                listing
                    .entries
                    .iter()
                    .filter(|entry| entry.name == "secret")
                    .all(|entry| entry.size == 8)
            );
        }
    });
}

#[test]
fn writes_never_land_outside() {
    every_target(|workspace, number| {
        let _ = super::write(workspace, "d/secret", b"harmless");
        let _ = super::write(workspace, "l/inner/secret", b"harmless");
        let _ = super::write(workspace, &format!("d/new/{number}/deep/f"), b"harmless");
        let _ = workspace.mkdir(&path(&format!("d/made/{number}")), Parents::Create);
        let _ = workspace.set_mode(&path("d/secret"), 0o600 + number % 8);
        let _ = workspace.set_mode(&path("d/inner"), 0o700 + number % 8);
    });
}

#[test]
fn removals_and_moves_never_reach_outside() {
    every_target(|workspace, number| {
        let _ = super::write(workspace, "d/inner/secret", b"harmless");
        let _ = super::write(workspace, "d/secret", b"harmless");
        match number % 4 {
            0 => drop(workspace.remove(&path("d/secret"), Recursive::No)),
            1 => drop(workspace.remove(&path("d/inner"), Recursive::Yes)),
            2 => drop(workspace.rename(&path("d/inner"), &path("moved"), Existing::Replace)),
            _ => drop(workspace.rename(&path("d/secret"), &path("l/gone"), Existing::Replace)),
        }
        if let Ok(content) = super::read(workspace, "moved/secret") {
            assert_eq!(content, b"harmless");
        }
        let _ = workspace.remove(&path("moved"), Recursive::Yes);
    });
}

#[test]
fn copies_never_take_from_outside() {
    every_target(|workspace, _| {
        let _ = super::write(workspace, "tree/f", b"harmless");
        let _ = workspace.copy(&path("d"), &path("copy"), Existing::Keep, &LIMITS);
        let _ = workspace.copy(&path("d/secret"), &path("file"), Existing::Replace, &LIMITS);
        let _ = workspace.copy(&path("tree"), &path("d/tree"), Existing::Keep, &LIMITS);
        for name in ["copy/secret", "copy/inner/secret", "file"] {
            if let Ok(content) = super::read(workspace, name) {
                assert_eq!(content, b"harmless");
            }
        }
        let _ = workspace.remove(&path("copy"), Recursive::Yes);
    });
}

#[test]
fn archives_never_take_from_outside_or_write_there() {
    let mut archive = Vec::new();
    let source = Fixture::new();
    for name in ["d/secret", "d/inner/secret", "l/secret", "d/inner/x/y"] {
        source.write(name, b"harmless").unwrap();
    }
    source.link("secret", "d/link");
    source
        .workspace
        .archive_out(&WorkspacePath::root(), ArchiveFormat::Tar, &mut archive, &LIMITS)
        .unwrap();
    every_target(|workspace, number| {
        let mut out = Vec::new();
        let start = if number % 2 == 0 { WorkspacePath::root() } else { path("d") };
        let _ = workspace.archive_out(&start, ArchiveFormat::Tar, &mut out, &LIMITS);
        check_bytes(&out);
        if number % 8 == 0 {
            let into = if number % 16 == 0 { WorkspacePath::root() } else { path("d") };
            let _ = workspace.archive_in(archive.as_slice(), &into, &EXTRACT);
        }
    });
}

#[test]
fn a_file_swapped_for_a_link_is_never_followed_outside() {
    let fixture = prepared("");
    fixture.write("f", b"harmless").unwrap();
    fixture.link(fixture.outside().join("secret"), "g");
    let before = fingerprint(&fixture.outside());
    let workspace = fixture.workspace.batched();
    while_swapping(&[(fixture.host("f"), fixture.host("g"))], || {
        for number in 0..ROUNDS {
            for name in ["f", "g"] {
                if let Ok(content) = super::read(&workspace, name) {
                    assert_eq!(content, b"harmless");
                }
                let _ = workspace.set_mode(&path(name), 0o600 + number % 8);
                let _ = workspace.copy(&path(name), &path("copy"), Existing::Replace, &LIMITS);
            }
            if let Ok(content) = super::read(&workspace, "copy") {
                assert_eq!(content, b"harmless");
            }
            let mut out = Vec::new();
            workspace
                .archive_out(&WorkspacePath::root(), ArchiveFormat::Tar, &mut out, &LIMITS)
                .unwrap();
            check_bytes(&out);
            let _ = super::write(&workspace, "f", b"harmless");
            let _ = std::fs::remove_file(fixture.host("g"));
            let _ = symlink(fixture.outside().join("secret"), fixture.host("g"));
        }
    });
    assert_eq!(fingerprint(&fixture.outside()), before);
}

#[test]
fn a_link_whose_way_up_is_renamed_still_stays_inside() {
    // `a/b/up` points to `../../file`. Moving `b` to the top while the kernel resolves that link is
    // the classic way to make `..` climb too high; the kernel notices and the lookup is repeated.
    let fixture = Fixture::new();
    fixture.write("file", b"harmless").unwrap();
    fixture.write("a/b/x", b"").unwrap();
    std::fs::write(fixture.outside().parent().unwrap().join("file"), SECRET).unwrap();
    fixture.link("../../file", "a/b/up");
    fixture.link("a/b/up", "down");
    std::fs::create_dir(fixture.host("c")).unwrap();
    while_swapping(&[(fixture.host("a/b"), fixture.host("c"))], || {
        for _ in 0..ROUNDS * 4 {
            for name in ["a/b/up", "c/up", "down"] {
                match super::read(&fixture.workspace, name) {
                    Ok(content) => assert_eq!(content, b"harmless"),
                    Err(
                        WorkspaceError::NotFound | WorkspaceError::Escapes | WorkspaceError::Busy,
                    ) => {}
                    Err(error) => panic!("{error:?}"),
                }
            }
        }
    });
}

#[test]
fn a_tree_that_is_refilled_while_it_is_removed_is_gone_from_the_workspace() {
    let fixture = Fixture::new();
    let workspace = fixture.workspace.batched();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let _ = std::fs::create_dir_all(fixture.host("d/e/f"));
                let _ = std::fs::write(fixture.host("d/e/f/g"), b"x");
                let _ = symlink(fixture.outside(), fixture.host("d/e/link"));
            }
        });
        let mut removed = 0;
        while removed < ROUNDS {
            match workspace.remove(&path("d"), Recursive::Yes) {
                Ok(()) => removed += 1,
                Err(WorkspaceError::NotFound) => thread::yield_now(),
                Err(error) => panic!("{error:?}"),
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    workspace.sweep_staging(std::time::Duration::ZERO).unwrap();
    fixture.check();
}

#[test]
fn a_file_that_changes_size_still_gives_a_valid_archive() {
    let fixture = Fixture::new();
    fixture.write("a", &[7; 4096]).unwrap();
    fixture.write("b", b"after").unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let file = std::fs::OpenOptions::new().write(true).open(fixture.host("a")).unwrap();
            while !done.load(Ordering::Relaxed) {
                for size in [0, 100_000, 13, 70_000] {
                    file.set_len(size).unwrap();
                }
            }
        });
        for _ in 0..ROUNDS {
            let mut out = Vec::new();
            let limits = Limits { bytes_max: 1 << 20, entries_max: 10 };
            fixture
                .workspace
                .archive_out(&WorkspacePath::root(), ArchiveFormat::Tar, &mut out, &limits)
                .unwrap();
            let mut archive = tar::Archive::new(out.as_slice());
            let names: Vec<_> = archive
                .entries()
                .unwrap()
                .map(|member| String::from_utf8(member.unwrap().path_bytes().into_owned()).unwrap())
                .collect();
            assert_eq!(names, ["a", "b"]);
        }
        done.store(true, Ordering::Relaxed);
    });
    fixture.check();
}
