//! Archives of the tests, honest ones and others.

use std::io::{Read as _, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tar::{Builder, EntryType, Header};

/// One member: its name is written as it is, whatever it leads to.
pub(super) struct Member<'a> {
    pub(super) name: &'a str,
    pub(super) kind: EntryType,
    pub(super) link: &'a str,
    pub(super) mode: u32,
    pub(super) content: &'a str,
}

pub(super) fn file<'a>(name: &'a str, content: &'a str) -> Member<'a> {
    Member { name, kind: EntryType::Regular, link: "", mode: 0o644, content }
}

pub(super) fn link<'a>(name: &'a str, link: &'a str) -> Member<'a> {
    Member { kind: EntryType::Symlink, link, ..file(name, "") }
}

/// A plain tar.
pub(super) fn tar(members: &[Member<'_>]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for member in members {
        let mut header = Header::new_gnu();
        header.set_entry_type(member.kind);
        header.set_mode(member.mode);
        header.set_size(member.content.len() as u64);
        header.set_mtime(1_000_000_000);
        header.set_uid(4242);
        let old = header.as_old_mut();
        old.name[..member.name.len()].copy_from_slice(member.name.as_bytes());
        old.linkname[..member.link.len()].copy_from_slice(member.link.as_bytes());
        header.set_cksum();
        builder.append(&header, member.content.as_bytes()).expect("a member");
    }
    builder.into_inner().expect("a tar")
}

/// The same tar in every form that is told apart.
pub(super) fn packed(tar: &[u8]) -> [(&'static str, Vec<u8>); 5] {
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gz.write_all(tar).expect("gzip");
    let mut bz2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::default());
    bz2.write_all(tar).expect("bzip2");
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 6);
    xz.write_all(tar).expect("xz");
    [
        ("tar", tar.to_vec()),
        ("tar.gz", gz.finish().expect("gzip")),
        ("tar.bz2", bz2.finish().expect("bzip2")),
        ("tar.xz", xz.finish().expect("xz")),
        ("tar.zst", zstd::encode_all(tar, 0).expect("zstd")),
    ]
}

/// A form with these files, and its media type.
pub(super) fn form(parts: &[(&str, &[u8])]) -> (String, Vec<u8>) {
    let boundary = "a-boundary-of-the-tests";
    let mut body = Vec::new();
    for (name, content) in parts {
        let head = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"; \
             filename=\"{name}.tar\"\r\nContent-Type: application/x-tar\r\n\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    (format!("multipart/form-data; boundary={boundary}"), body)
}

/// The regular files of a tar.gz in base64.
pub(super) fn unpacked(text: &str) -> Vec<(String, String)> {
    let bytes = STANDARD.decode(text).expect("base64");
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(bytes.as_slice()));
    let mut files: Vec<_> = archive
        .entries()
        .expect("a tar")
        .map(|entry| {
            let mut entry = entry.expect("a member");
            assert!(entry.header().entry_type().is_file());
            let name = String::from_utf8(entry.path_bytes().into_owned()).expect("a name");
            let mut content = String::new();
            entry.read_to_string(&mut content).expect("a text");
            (name, content)
        })
        .collect();
    files.sort();
    files
}
