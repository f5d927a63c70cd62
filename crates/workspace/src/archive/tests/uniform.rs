//! Archives that are taken without a trace of who packed them, and every way of packing.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;

use tar::EntryType;

use super::{Forge, gzip, skipped};
use crate::tests::{EXTRACT, Fixture, names, path};
use crate::{
    ArchiveError, BadPath, ExtractOptions, Manner, SkipReason, WorkspacePath, check_archive,
    uniform_mode,
};

const UNIFORM: ExtractOptions = ExtractOptions { manner: Manner::Uniform, ..EXTRACT };

#[test]
fn a_mode_says_what_all_may_do_and_nothing_special() {
    for (mode, uniform) in [
        (0o000, 0o644),
        (0o600, 0o644),
        (0o444, 0o644),
        (0o700, 0o755),
        (0o010, 0o755),
        (0o4755, 0o755),
        (0o7777, 0o777),
        (0o666, 0o666),
    ] {
        assert_eq!(uniform_mode(mode), uniform, "{mode:o}");
    }
}

#[test]
fn a_name_that_leads_out_ends_the_extraction_and_the_check_before_it() {
    for (name, why) in [
        ("/abs", BadPath::Absolute),
        ("../up", BadPath::DotDot),
        ("a/../../up", BadPath::DotDot),
        ("a/..", BadPath::DotDot),
    ] {
        let fixture = Fixture::new();
        let forged = Forge::default().file("good", b"x").symlink(name, "good");
        let into = WorkspacePath::root();
        let extracted = fixture.workspace.archive_in(forged.0.as_slice(), &into, &UNIFORM);
        let checked = check_archive(forged.0.as_slice(), &UNIFORM);
        for error in [extracted.map(drop).unwrap_err(), checked.unwrap_err()] {
            let is_told = matches!(&error, ArchiveError::BadMember { name: told, why: told_why }
                if told == name && *told_why == why);
            assert!(is_told, "{name}: {error:?}");
        }
        assert!(check_archive(forged.0.as_slice(), &EXTRACT).is_ok(), "{name} would be skipped");
    }
}

#[test]
fn of_two_members_of_one_name_the_first_is_taken() {
    let fixture = Fixture::new();
    fixture.write("old", b"from before").unwrap();
    let forged = Forge::default()
        .file("old", b"new")
        .file("a", b"first")
        .file("./a", b"second")
        .symlink("a", "old")
        .member(EntryType::Directory, b"d/", b"", b"")
        .member(EntryType::Directory, b"d/", b"", b"");
    let into = WorkspacePath::root();
    let summary = fixture.workspace.archive_in(forged.0.as_slice(), &into, &UNIFORM).unwrap();
    assert_eq!(skipped(&summary), [("./a", SkipReason::Exists), ("a", SkipReason::Exists)]);
    assert_eq!(fixture.read("a").unwrap(), b"first");
    assert_eq!(fixture.read("old").unwrap(), b"new", "what was there before has no say");
    let meta = fs::metadata(fixture.host("a")).unwrap();
    assert_eq!((meta.mtime(), meta.mode() & 0o7777), (0, 0o755));
}

#[test]
fn links_stay_in_the_directory_and_lead_through_no_link() {
    let fixture = Fixture::new();
    let forged = Forge::default()
        .file("dir/file", b"x")
        .symlink("good", "dir/file")
        .symlink("dir/up", "../good")
        .symlink("door", "dir")
        .symlink("chain", "good")
        .symlink("out", "../beside")
        .symlink("through", "door/file")
        .symlink("back", "door/../good");
    let into = path("into");
    let summary = fixture.workspace.archive_in(forged.0.as_slice(), &into, &UNIFORM).unwrap();
    let left = ["out", "through", "back"].map(|name| (name, SkipReason::LinkLeaves));
    assert_eq!(skipped(&summary), left);
    assert_eq!(names(&fixture.host("into")), ["chain", "dir", "door", "good"]);
    fixture.check();
}

#[test]
fn every_packing_is_told_by_its_beginning() {
    let forged = Forge::default().file("a/b", b"content");
    let mut bz2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    bz2.write_all(&forged.0).unwrap();
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
    xz.write_all(&forged.0).unwrap();
    let zst = zstd::encode_all(forged.0.as_slice(), 1).unwrap();
    let packed = [
        ("tar", forged.0.clone()),
        ("gz", gzip(&forged.0)),
        ("bz2", bz2.finish().unwrap()),
        ("xz", xz.finish().unwrap()),
        ("zst", zst),
    ];
    for (form, bytes) in packed {
        let fixture = Fixture::new();
        let into = WorkspacePath::root();
        let summary = fixture.workspace.archive_in(bytes.as_slice(), &into, &EXTRACT).unwrap();
        assert_eq!(
            (summary.files, fixture.read("a/b").unwrap()),
            (1, b"content".to_vec()),
            "{form}"
        );
        let cut = &bytes[..bytes.len() - 10];
        assert!(check_archive(cut, &EXTRACT).is_err(), "{form}: cut short");
    }
}

#[test]
fn a_window_that_would_take_too_much_memory_is_refused() {
    // One frame that asks for a window of 2 GiB: magic, descriptor, window, an empty last block.
    let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x01, 0x00, 0x00];
    let refused = check_archive(frame.as_slice(), &EXTRACT);
    assert!(matches!(refused, Err(ArchiveError::Unreadable(_))), "{refused:?}");
}
