//! Archives as honest programs make them.

mod hostile;
mod uniform;

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{Builder, EntryType, Header};

use crate::tests::{EXTRACT, Fixture, LIMITS, path};
use crate::{
    ArchiveError, ArchiveFormat, ArchiveSummary, Existing, ExtractOptions, Kind, Limit, Limits,
    SkipReason, Workspace, WorkspacePath,
};

/// An archive with names and targets byte for byte, however wrong.
#[derive(Default)]
struct Forge(Vec<u8>);

impl Forge {
    fn member(mut self, kind: EntryType, name: &[u8], target: &[u8], content: &[u8]) -> Self {
        let mut header = Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header.as_old_mut().linkname[..target.len()].copy_from_slice(target);
        header.set_entry_type(kind);
        header.set_mode(0o7755);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000_000);
        header.set_size(content.len() as u64);
        header.set_cksum();
        let mut builder = Builder::new(&mut self.0);
        builder.append(&header, content).unwrap();
        // Without the end mark, so that more can follow.
        let length = builder.get_ref().len();
        drop(builder);
        self.0.truncate(length);
        self
    }

    fn file(self, name: &str, content: &[u8]) -> Self {
        self.member(EntryType::Regular, name.as_bytes(), b"", content)
    }

    fn symlink(self, name: &str, target: &str) -> Self {
        self.member(EntryType::Symlink, name.as_bytes(), target.as_bytes(), b"")
    }

    fn extract(&self, fixture: &Fixture) -> Result<ArchiveSummary, ArchiveError> {
        fixture.workspace.archive_in(self.0.as_slice(), &WorkspacePath::root(), &EXTRACT)
    }
}

fn pack(workspace: &Workspace, start: &WorkspacePath, format: ArchiveFormat) -> Vec<u8> {
    let mut out = Vec::new();
    workspace.archive_out(start, format, &mut out, &LIMITS).unwrap();
    out
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn skipped(summary: &ArchiveSummary) -> Vec<(&str, SkipReason)> {
    summary.skipped.iter().map(|skipped| (skipped.name.as_str(), skipped.why)).collect()
}

#[test]
fn what_goes_out_comes_in_the_same() {
    for format in [ArchiveFormat::Tar, ArchiveFormat::TarGz] {
        let fixture = Fixture::new();
        let long = format!("d/{}/{}", "x".repeat(200), "y".repeat(255));
        fixture.write("d/e/f", b"content").unwrap();
        fixture.write(&long, b"long name").unwrap();
        fixture.write("d/é ü", b"").unwrap();
        fixture.workspace.set_mode(&path("d/e/f"), 0o750).unwrap();
        fixture.workspace.mkdir(&path("d/empty"), crate::Parents::Require).unwrap();
        fixture.link("e/./f", "d/link");
        fixture.link("z".repeat(300), "d/long-link");
        let archive = pack(&fixture.workspace, &path("d"), format);
        let summary =
            fixture.workspace.archive_in(archive.as_slice(), &path("in/new"), &EXTRACT).unwrap();
        assert_eq!(
            (summary.files, summary.directories, summary.links, summary.bytes),
            (3, 3, 2, 16)
        );
        assert_eq!(summary.skipped, []);
        assert_eq!(
            pack(&fixture.workspace, &path("in/new"), format),
            archive,
            "the same files give the same bytes"
        );
        let meta = fs::metadata(fixture.host("in/new/e/f")).unwrap();
        assert_eq!((meta.uid(), meta.mode() & 0o7777), (fixture.owner.uid, 0o750));
        assert_eq!(
            fs::read_link(fixture.host("in/new/link")).unwrap().to_str(),
            Some("e/./f"),
            "word for word"
        );
        fixture.check();
    }
}

#[test]
fn a_single_file_is_an_archive_of_one() {
    let fixture = Fixture::new();
    fixture.write("d/f", b"x").unwrap();
    let archive = pack(&fixture.workspace, &path("d/f"), ArchiveFormat::Tar);
    assert_eq!(
        fixture.workspace.archive_in(archive.as_slice(), &path("in"), &EXTRACT).unwrap().files,
        1
    );
    assert_eq!(fixture.read("in/f").unwrap(), b"x");
}

#[test]
fn tar_itself_reads_what_we_write_and_we_read_what_it_writes() {
    let fixture = Fixture::new();
    let long = format!("d/{}", "n".repeat(180));
    fixture.write(&long, b"long").unwrap();
    fixture.write("d/f", b"content").unwrap();
    fixture.link("f", "d/link");
    let tar = |args: &[&str]| std::process::Command::new("tar").args(args).output();
    let archive = fixture.staging().join("out.tar");
    fs::write(&archive, pack(&fixture.workspace, &path("d"), ArchiveFormat::Tar)).unwrap();
    let archive = archive.to_str().unwrap();
    let Ok(listed) = tar(&["-tf", archive]) else {
        return;
    };
    let mut listed: Vec<_> = std::str::from_utf8(&listed.stdout).unwrap().lines().collect();
    listed.sort_unstable();
    assert_eq!(listed, ["f", "link", &"n".repeat(180)]);
    for format in ["gnu", "pax", "v7", "ustar"] {
        let names: &[&str] = if format == "v7" { &["f", "link"] } else { &["."] };
        let format = format!("--format={format}");
        let dir = fixture.host("d");
        let args = [&["-C", dir.to_str().unwrap(), &format, "-czf", archive], names].concat();
        if !tar(&args).unwrap().status.success() {
            continue;
        }
        let into = path(&format!("in{format}"));
        let summary = fixture
            .workspace
            .archive_in(fs::File::open(archive).unwrap(), &into, &EXTRACT)
            .unwrap();
        assert_eq!((summary.links, summary.skipped_total), (1, 0), "{format}");
        assert_eq!(fixture.read(&format!("{into}/link")).unwrap(), b"content");
    }
    fs::remove_file(archive).unwrap();
    fixture.check();
}

#[test]
fn what_exists_is_replaced_kept_or_merged() {
    let fixture = Fixture::new();
    fixture.write("d/f", b"old").unwrap();
    fixture.write("dir/x", b"x").unwrap();
    fixture.link("d/f", "l");
    let archive = Forge::default()
        .member(EntryType::Directory, b"d/", b"", b"")
        .file("d/f", b"new")
        .file("l", b"new");
    let keep = ExtractOptions { existing: Existing::Keep, ..EXTRACT };
    let summary =
        fixture.workspace.archive_in(archive.0.as_slice(), &WorkspacePath::root(), &keep).unwrap();
    assert_eq!(skipped(&summary), [("d/f", SkipReason::Exists), ("l", SkipReason::Exists)]);
    assert_eq!(fixture.read("d/f").unwrap(), b"old");
    assert_eq!(archive.extract(&fixture).unwrap().files, 2);
    assert_eq!(fixture.read("d/f").unwrap(), b"new");
    assert_eq!(fixture.workspace.stat(&path("l")).unwrap().kind, Kind::File);
    let summary = Forge::default()
        .file("dir", b"in the way")
        .file("d/f/g", b"below a file")
        .extract(&fixture)
        .unwrap();
    assert_eq!(skipped(&summary), [("dir", SkipReason::Exists), ("d/f/g", SkipReason::Blocked)]);
    fixture.check();
}

#[test]
fn what_is_no_archive_is_unreadable() {
    let fixture = Fixture::new();
    let mut whole = Forge::default().file("f", &[7; 2000]).0;
    let cut = whole[..1500].to_vec();
    whole.extend([0; 1024]);
    let packed = gzip(&whole);
    let mut forged = packed.clone();
    let checksum = forged.len() - 8;
    forged[checksum] ^= 1;
    let rows: [(&str, &[u8]); 6] = [
        ("text", &b"<html>".repeat(200)),
        ("cut content", &cut),
        ("cut header", &whole[..300]),
        ("cut gzip", &packed[..packed.len() - 1]),
        ("wrong checksum", &forged),
        ("one byte", b"\x1f"),
    ];
    for (row, bytes) in rows {
        let outcome = fixture.workspace.archive_in(bytes, &path(row), &EXTRACT);
        assert!(matches!(outcome, Err(ArchiveError::Unreadable(_))), "{row}: {outcome:?}");
    }
    assert!(!fixture.host("cut content/f").exists());
    fixture.check();
}

#[test]
fn gzip_in_several_parts_is_read_to_its_end() {
    let fixture = Fixture::new();
    let whole = Forge::default().file("a", b"1").file("b", b"2").0;
    let (left, right) = whole.split_at(700);
    let archive = [gzip(left), gzip(right)].concat();
    let summary =
        fixture.workspace.archive_in(archive.as_slice(), &WorkspacePath::root(), &EXTRACT).unwrap();
    assert_eq!(summary.files, 2);
}

#[test]
fn a_failed_archive_has_no_end() {
    let fixture = Fixture::new();
    for name in ["d/a", "d/b"] {
        fixture.write(name, &[7; 1000]).unwrap();
    }
    for format in [ArchiveFormat::Tar, ArchiveFormat::TarGz] {
        let mut out = Vec::new();
        let limits = Limits { bytes_max: 1500, entries_max: 10 };
        let outcome = fixture.workspace.archive_out(&path("d"), format, &mut out, &limits);
        assert!(matches!(outcome, Err(ArchiveError::OverLimit { what: Limit::Bytes, max: 1500 })));
        match format {
            // One header and two blocks of content, and no block of zeros.
            ArchiveFormat::Tar => assert_eq!(out.len(), 512 + 1024),
            ArchiveFormat::TarGz => {
                let outcome =
                    flate2::read::GzDecoder::new(out.as_slice()).read_to_end(&mut Vec::new());
                assert!(outcome.is_err());
            }
        }
    }
}

#[test]
fn a_writer_that_fails_is_told_from_a_workspace_that_fails() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let fixture = Fixture::new();
    fixture.write("f", b"x").unwrap();
    let root = WorkspacePath::root();
    let outcome = fixture.workspace.archive_out(&root, ArchiveFormat::Tar, Closed, &LIMITS);
    assert!(matches!(outcome, Err(ArchiveError::Unwritable(_))));
    let outcome =
        fixture.workspace.archive_out(&path("gone"), ArchiveFormat::Tar, Vec::new(), &LIMITS);
    assert!(matches!(outcome, Err(ArchiveError::Workspace(crate::WorkspaceError::NotFound))));
}

#[test]
fn some_files_of_a_directory_go_out_and_what_vanished_is_skipped() {
    let fixture = Fixture::new();
    for (path, content) in [("d/a", "1"), ("d/e/b", "22"), ("d/c", "333"), ("d/large", "4444")] {
        let path = fixture.host(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    std::os::unix::fs::symlink(fixture.outside().join("secret"), fixture.host("d/link")).unwrap();
    let files = ["e/b", "a", "gone", "link", "large"].map(path);
    let mut out = Vec::new();
    let limits = Limits { bytes_max: 6, ..LIMITS };
    let summary = fixture
        .workspace
        .archive_files_out(&path("d"), &files, ArchiveFormat::Tar, &mut out, &limits)
        .unwrap();
    assert_eq!((summary.files, summary.bytes, summary.skipped_total), (2, 3, 3));
    let mut archive = tar::Archive::new(out.as_slice());
    let names: Vec<_> = archive
        .entries()
        .unwrap()
        .map(|entry| String::from_utf8(entry.unwrap().path_bytes().into_owned()).unwrap())
        .collect();
    assert_eq!(names, ["e/b", "a"]);
}
