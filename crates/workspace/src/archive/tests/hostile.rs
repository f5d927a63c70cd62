//! Archives as no honest program would make them.

use std::fs;
use std::os::unix::fs::MetadataExt;

use tar::{Builder, EntryType, Header};

use super::{Forge, gzip, skipped};
use crate::tests::{EXTRACT, Fixture, names, path};
use crate::{ArchiveError, BadPath, ExtractOptions, Limit, Limits, SkipReason, WorkspacePath};

#[test]
fn names_that_leave_are_skipped_and_told() {
    let fixture = Fixture::new();
    let deep = "d/".repeat(49);
    let summary = Forge::default()
        .file("../escaped", b"x")
        .file("a/../../escaped", b"x")
        .file("/tmp/sandtree-escaped", b"x")
        .member(EntryType::Regular, b"bad\xff", b"", b"x")
        .file(".", b"x")
        .file(&deep, b"")
        .file("good", b"x")
        .extract(&fixture)
        .unwrap();
    assert_eq!(
        skipped(&summary),
        [
            ("../escaped", SkipReason::BadName(BadPath::DotDot)),
            ("a/../../escaped", SkipReason::BadName(BadPath::DotDot)),
            ("/tmp/sandtree-escaped", SkipReason::BadName(BadPath::Absolute)),
            ("bad\u{fffd}", SkipReason::BadName(BadPath::NotUtf8)),
            (".", SkipReason::BadName(BadPath::Root)),
        ]
    );
    assert_eq!((summary.files, summary.directories), (1, 1));
    assert!(!std::path::Path::new("/tmp/sandtree-escaped").exists());
    assert!(!fixture.outside().join("../escaped").exists());
    fixture.check();
}

#[test]
fn names_over_the_limits_of_paths_are_skipped() {
    let fixture = Fixture::new();
    let mut archive = Builder::new(Vec::new());
    for name in ["d/".repeat(64) + "f", "x".repeat(256), "x/".repeat(3000) + "f"] {
        let mut header = Header::new_gnu();
        header.set_size(1);
        archive.append_data(&mut header, name, &b"x"[..]).unwrap();
    }
    let archive = archive.into_inner().unwrap();
    let summary =
        fixture.workspace.archive_in(archive.as_slice(), &WorkspacePath::root(), &EXTRACT).unwrap();
    let why: Vec<_> = summary.skipped.iter().map(|skipped| skipped.why).collect();
    assert_eq!(
        why,
        [BadPath::TooDeep, BadPath::ComponentTooLong, BadPath::TooLong].map(SkipReason::BadName)
    );
    assert!(summary.skipped.iter().all(|skipped| skipped.name.chars().count() <= 256));
}

#[test]
fn links_are_kept_only_when_they_stay_inside() {
    let fixture = Fixture::new();
    let summary = Forge::default()
        .symlink("d/in", "../f")
        .symlink("d/self", "..")
        .symlink("dangling", "nowhere")
        .symlink("absolute", "/etc")
        .symlink("up", "..")
        .symlink("d/winding", "x/../../../outside")
        .symlink("empty", "")
        .member(EntryType::Link, b"hard", b"d/in", b"")
        .extract(&fixture)
        .unwrap();
    assert_eq!(summary.links, 3);
    assert_eq!(
        skipped(&summary),
        [
            ("absolute", SkipReason::LinkLeaves),
            ("up", SkipReason::LinkLeaves),
            ("d/winding", SkipReason::LinkLeaves),
            ("empty", SkipReason::LinkLeaves),
            ("hard", SkipReason::HardLink),
        ]
    );
    // What counts is the workspace, not the directory that is extracted into.
    let archive = Forge::default().symlink("up", "..").0;
    let summary = fixture.workspace.archive_in(archive.as_slice(), &path("sub"), &EXTRACT).unwrap();
    assert_eq!(summary.links, 1);
    fixture.check();
}

#[test]
fn no_member_is_written_through_a_link() {
    let fixture = Fixture::new();
    fixture.link(fixture.outside(), "planted");
    fixture.write("real/f", b"old").unwrap();
    let summary = Forge::default()
        .symlink("way", "real")
        .file("way/f", b"new")
        .file("planted/secret", b"new")
        .file("planted/new/f", b"new")
        .member(EntryType::Directory, b"planted/", b"", b"")
        .extract(&fixture)
        .unwrap();
    assert_eq!(
        skipped(&summary),
        [
            ("way/f", SkipReason::Blocked),
            ("planted/secret", SkipReason::Blocked),
            ("planted/new/f", SkipReason::Blocked),
            ("planted/", SkipReason::Exists),
        ]
    );
    assert_eq!(fixture.read("real/f").unwrap(), b"old");
    fixture.check();
}

#[test]
fn special_members_and_special_bits_stay_out() {
    let fixture = Fixture::new();
    let summary = Forge::default()
        .member(EntryType::Fifo, b"fifo", b"", b"")
        .member(EntryType::Char, b"char", b"", b"")
        .member(EntryType::Block, b"block", b"", b"")
        .member(EntryType::new(b'Z'), b"unknown", b"", b"payload")
        .member(EntryType::XGlobalHeader, b"pax_global_header", b"", b"20 comment=whatever\n")
        .member(EntryType::Directory, b"d/", b"", b"")
        .file("setuid", b"x")
        .extract(&fixture)
        .unwrap();
    assert!(skipped(&summary).iter().all(|(_, why)| *why == SkipReason::Special));
    assert_eq!(summary.skipped_total, 4);
    for name in ["setuid", "d"] {
        assert_eq!(fs::metadata(fixture.host(name)).unwrap().mode() & 0o7777, 0o755, "{name}");
    }
    assert_eq!(fs::metadata(fixture.host("setuid")).unwrap().mtime(), 1_000_000_000);
    assert_eq!(names(&fixture.host("")), ["d", "setuid"]);
    fixture.check();
}

#[test]
fn too_much_is_refused_before_it_is_written() {
    let fixture = Fixture::new();
    let archive = Forge::default().file("a", &[1; 600]).file("b", &[2; 600]);
    let extract = |bytes_max, entries_max| {
        let options = ExtractOptions { limits: Limits { bytes_max, entries_max }, ..EXTRACT };
        fixture.workspace.archive_in(archive.0.as_slice(), &path("in"), &options)
    };
    assert!(matches!(
        extract(1199, 9),
        Err(ArchiveError::OverLimit { what: Limit::Bytes, max: 1199 })
    ));
    assert!(matches!(
        extract(1200, 1),
        Err(ArchiveError::OverLimit { what: Limit::Entries, max: 1 })
    ));
    assert_eq!(extract(1200, 2).unwrap().files, 2);
    fixture.check();
}

#[test]
fn a_bomb_is_refused_by_its_ratio() {
    let fixture = Fixture::new();
    let archive = gzip(&Forge::default().file("zeros", &vec![0; 8 << 20]).0);
    assert!(archive.len() < 100_000);
    let outcome =
        fixture.workspace.archive_in(archive.as_slice(), &WorkspacePath::root(), &EXTRACT);
    assert!(matches!(outcome, Err(ArchiveError::Ratio { max: 200 })), "{outcome:?}");
    let patient = ExtractOptions { ratio_max: 2000, ..EXTRACT };
    assert_eq!(
        fixture
            .workspace
            .archive_in(archive.as_slice(), &WorkspacePath::root(), &patient)
            .unwrap()
            .files,
        1
    );
    fixture.check();
}

#[test]
fn names_and_attributes_cannot_fill_the_memory() {
    let fixture = Fixture::new();
    for kind in [EntryType::GNULongName, EntryType::GNULongLink, EntryType::XHeader] {
        let archive =
            Forge::default().member(kind, b"huge", b"", &vec![b'x'; 2 << 20]).file("f", b"");
        let outcome = archive.extract(&fixture);
        assert!(matches!(outcome, Err(ArchiveError::Header { .. })), "{kind:?}: {outcome:?}");
    }
    fixture.check();
}

#[test]
fn holes_cost_what_they_unpack_to_even_when_skipped() {
    let fixture = Fixture::new();
    let mut header = Header::new_gnu();
    header.as_old_mut().name[..4].copy_from_slice(b"/abs");
    header.set_entry_type(EntryType::GNUSparse);
    header.set_mode(0o644);
    header.set_size(0);
    let gnu = header.as_gnu_mut().unwrap();
    gnu.set_real_size(1 << 60);
    gnu.sparse[0].offset.copy_from_slice(b"\x80\0\0\0\x10\0\0\0\0\0\0\0");
    gnu.sparse[0].numbytes.copy_from_slice(b"00000000000\0");
    header.set_cksum();
    let mut archive = header.as_bytes().to_vec();
    archive.extend([0; 1024]);
    let outcome =
        fixture.workspace.archive_in(archive.as_slice(), &WorkspacePath::root(), &EXTRACT);
    assert!(
        matches!(outcome, Err(ArchiveError::OverLimit { .. } | ArchiveError::Unreadable(_))),
        "{outcome:?}"
    );
}

#[test]
fn skipped_names_are_counted_in_full_and_told_in_part() {
    let fixture = Fixture::new();
    let mut archive = Forge::default();
    for number in 0..150 {
        archive = archive.file(&format!("../{number}"), b"");
    }
    let summary = archive.extract(&fixture).unwrap();
    assert_eq!((summary.skipped_total, summary.skipped.len()), (150, crate::SKIPPED_MAX));
}
