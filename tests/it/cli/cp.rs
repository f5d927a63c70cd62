//! `sandtree cp`.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Stdio;

use sandtree_testkit::{Pty, SmallDisk};
use tokio::io::AsyncWriteExt as _;

use super::scripted::Scripted;
use super::{run, run_with};
use crate::support::{Project, server};

fn mode_of(path: &Path) -> u32 {
    fs::metadata(path).expect("a file").permissions().mode() & 0o777
}

/// A folder with a program, a link, and an empty folder.
fn folder(at: &Path) {
    fs::create_dir_all(at.join("sub/empty")).expect("folders");
    fs::write(at.join("a.txt"), "a").expect("a file");
    fs::write(at.join("sub/run.sh"), "#!/bin/sh\necho ran\n").expect("a program");
    fs::set_permissions(at.join("sub/run.sh"), fs::Permissions::from_mode(0o755)).expect("a mode");
    symlink("a.txt", at.join("link")).expect("a link");
}

fn assert_is_folder(at: &Path) {
    assert_eq!(fs::read_to_string(at.join("link")).expect("a file behind a link"), "a");
    assert_eq!(fs::read_link(at.join("link")).expect("a link"), Path::new("a.txt"));
    assert_eq!(mode_of(&at.join("sub/run.sh")), 0o755);
    assert!(at.join("sub/empty").is_dir(), "an empty folder");
}

#[tokio::test]
async fn files_go_both_ways_with_their_permissions() {
    let server = server().start().await;
    run(&server, &["project", "create", "demo", "--profile", "small"]).await.ok();
    let dir = tempfile::tempdir().expect("a directory");
    let path = |name: &str| dir.path().join(name).to_str().expect("a text").to_owned();
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| (n.wrapping_mul(n) / 11 % 256) as u8).collect();
    fs::write(path("data"), &bytes).expect("a file");
    fs::set_permissions(path("data"), fs::Permissions::from_mode(0o750)).expect("a mode");

    run(&server, &["cp", &path("data"), "demo:"]).await.ok();
    run(&server, &["cp", &path("data"), "demo:deep/er/"]).await.ok();
    run(&server, &["cp", &path("data"), "demo:deep/other name?"]).await.ok();
    run(&server, &["cp", "demo:data", &path("back")]).await.ok();
    assert!(fs::read(path("back")).expect("a file") == bytes, "another content");
    assert_eq!(mode_of(Path::new(&path("back"))), 0o750);
    fs::create_dir(path("into")).expect("a folder");
    for source in ["demo:deep/er/data", "demo:deep/other name?"] {
        run(&server, &["cp", source, &path("into")]).await.ok();
    }
    assert!(fs::read(path("into/data")).expect("a file") == bytes, "another content");
    assert!(fs::read(path("into/other name?")).expect("a file") == bytes, "another content");

    run_with(&server, &["cp", "-", "demo:piped"], b"from a pipe").await.ok();
    assert_eq!(
        run(&server, &["cp", "demo:/workspace/piped", "-"]).await.ok().text(),
        "from a pipe"
    );
    let left: Vec<_> = fs::read_dir(dir.path()).expect("names").flatten().collect();
    assert_eq!(left.len(), 3, "nothing is left on the way: {left:?}");
}

#[tokio::test]
async fn folders_go_both_ways_and_land_where_cp_would_put_them() {
    let server = server().start().await;
    let project = Project::small(&server.client(), "demo").await;
    let dir = tempfile::tempdir().expect("a directory");
    let path = |name: &str| dir.path().join(name).to_str().expect("a text").to_owned();
    folder(&dir.path().join("prog"));

    run(&server, &["cp", &path("prog"), "demo:"]).await.ok();
    run(&server, &["cp", &path("prog"), "demo:new"]).await.ok();
    run(&server, &["cp", &path("prog"), "demo:new"]).await.ok();
    run(&server, &["cp", &path("prog/."), "demo:flat"]).await.ok();
    let ran = project.sh("for d in prog new new/prog flat; do $d/sub/run.sh; done").await;
    assert_eq!(ran, "ran\n".repeat(4));

    run(&server, &["cp", "demo:prog", &path("one")]).await.ok();
    run(&server, &["cp", "demo:prog", &path("one")]).await.ok();
    run(&server, &["cp", "demo:prog/.", &path("two")]).await.ok();
    run(&server, &["cp", "demo:", &path("all")]).await.ok();
    for name in ["one", "one/prog", "two", "all/new/prog"] {
        assert_is_folder(&dir.path().join(name));
    }

    symlink("/etc/passwd", path("prog/outside")).expect("a link");
    let partly = run(&server, &["cp", &path("prog"), "demo:partly"]).await;
    partly.failed(1, "outside");
    assert_eq!(project.sh("partly/sub/run.sh").await, "ran\n", "the rest is there");
}

#[tokio::test]
async fn a_copy_that_cannot_be_is_refused_with_its_reason() {
    let server = server().env("SANDTREE_SERVER__FILE_BYTES_MAX", "1000000").start().await;
    run(&server, &["project", "create", "demo", "--profile", "small"]).await.ok();
    let dir = tempfile::tempdir().expect("a directory");
    let path = |name: &str| dir.path().join(name).to_str().expect("a text").to_owned();
    fs::write(path("big"), vec![0; 20_000_000]).expect("a file");
    fs::write(path("file"), "").expect("a file");
    run(&server, &["cp", &path("file"), "demo:folder/"]).await.ok();
    for (arguments, code, said) in [
        (["demo:none", "."], 1, "demo:none"),
        (["nobody:a", "."], 1, "does not exist"),
        (["./none", "demo:"], 1, "./none"),
        (["demo:a", "demo:b"], 2, "this machine"),
        (["./a", "./b"], 2, "in a project"),
        (["-", "demo:"], 2, "name the file"),
        (["demo:/etc/passwd", "."], 2, "/workspace"),
        (["demo:../x", "."], 1, ".."),
        (["demo:folder", &path("file")], 1, "file: not a directory"),
        ([&path("big"), "demo:big"], 1, "1000000"),
    ] {
        let arguments = [&["cp"], &arguments[..]].concat();
        run(&server, &arguments).await.failed(code, said);
    }
}

#[tokio::test]
async fn a_target_that_is_a_link_or_a_pipe_stays_what_it_is() {
    let server = server().start().await;
    run(&server, &["project", "create", "demo", "--profile", "small"]).await.ok();
    run_with(&server, &["cp", "-", "demo:data"], b"new").await.ok();
    let dir = tempfile::tempdir().expect("a directory");
    let path = |name: &str| dir.path().join(name).to_str().expect("a text").to_owned();

    fs::write(path("real"), "old").expect("a file");
    symlink("real", path("link")).expect("a link");
    run(&server, &["cp", "demo:data", &path("link")]).await.ok();
    assert_eq!(fs::read_link(path("link")).expect("still a link"), Path::new("real"));
    assert_eq!(fs::read_to_string(path("real")).expect("a file"), "new");
    symlink("nowhere", path("dangling")).expect("a link");
    run(&server, &["cp", "demo:data", &path("dangling")]).await.failed(1, "dangling");
    assert!(Path::new(&path("dangling")).is_symlink());

    // A device, such as /dev/null, is treated alike.
    crate::support::run("mkfifo", &[&path("pipe")]);
    let mut reader = tokio::process::Command::new("cat");
    reader.arg(path("pipe")).stdout(Stdio::piped()).kill_on_drop(true);
    let reader = reader.spawn().expect("cat");
    run(&server, &["cp", "demo:data", &path("pipe")]).await.ok();
    assert_eq!(super::finish(reader).await.ok().text(), "new");
    let pipe = fs::symlink_metadata(path("pipe")).expect("still there");
    assert!(pipe.file_type().is_fifo(), "{pipe:?}");
}

#[tokio::test]
async fn names_of_any_length_and_any_bytes_are_copied() {
    let server = server().start().await;
    let project = Project::small(&server.client(), "demo").await;
    let dir = tempfile::tempdir().expect("a directory");
    let long = "n".repeat(255);
    let there = dir.path().join(&long);
    let text = there.to_str().expect("a text");
    fs::write(&there, "long").expect("a file");
    run(&server, &["cp", text, "demo:"]).await.ok();
    fs::remove_file(&there).expect("a file");
    run(&server, &["cp", &format!("demo:{long}"), text]).await.ok();
    assert_eq!(fs::read_to_string(&there).expect("a file"), "long");

    let odd = dir.path().join(OsStr::from_bytes(b"caf\xe9 \n"));
    fs::write(&odd, "odd").expect("a file");
    let copy = async |from: &OsStr, to: &OsStr| {
        let mut command = super::command(&server, &["cp"]);
        super::finish(command.arg(from).arg(to).spawn().expect("the program")).await
    };
    copy(odd.as_os_str(), OsStr::new("demo:odd")).await.ok();
    assert_eq!(project.sh("cat odd").await, "odd");
    fs::remove_file(&odd).expect("a file");
    copy(OsStr::new("demo:odd"), odd.as_os_str()).await.ok();
    assert_eq!(fs::read_to_string(&odd).expect("a file"), "odd");
    copy(odd.as_os_str(), OsStr::new("demo:")).await.failed(2, "name the target");
    copy(OsStr::from_bytes(b"demo:\xe9"), OsStr::new(".")).await.failed(2, "UTF-8");

    // What is told of them does not reach the terminal as it is.
    let tricky = dir.path().join("tricky");
    fs::create_dir(&tricky).expect("a folder");
    let pipe = tricky.join("a\x1b[31mb");
    crate::support::run("mkfifo", &[pipe.to_str().expect("a text")]);
    let told = copy(tricky.as_os_str(), OsStr::new("demo:tricky")).await.failed(1, "a[31mb");
    assert!(!told.stderr.contains('\x1b'), "{told:?}");

    // A folder brings them along.
    project.sh("mkdir tree && touch \"tree/$(printf 'caf\\351')\"").await;
    let tree = dir.path().join("tree");
    copy(OsStr::new("demo:tree"), tree.as_os_str()).await.ok();
    assert!(tree.join(OsStr::from_bytes(b"caf\xe9")).is_file());
}

#[tokio::test]
async fn a_file_that_does_not_know_its_size_is_copied_whole() {
    let server = server().start().await;
    run(&server, &["project", "create", "demo", "--profile", "small"]).await.ok();
    run(&server, &["cp", "/proc/self/status", "demo:status"]).await.ok();
    let status = run(&server, &["cp", "demo:status", "-"]).await.ok().text();
    assert!(status.starts_with("Name:\tsandtree"), "{status:?}");
}

#[tokio::test]
async fn a_copy_whose_server_goes_does_not_wait_for_its_input() {
    let mut scripted = Scripted::start().await;
    let mut copy = super::command_at(&scripted.url, &["cp", "-", "demo:file"]);
    let mut child = copy.stdin(Stdio::piped()).spawn().expect("the program");
    let mut open = child.stdin.take().expect("piped");
    open.write_all(b"a beginning").await.expect("a program that reads");
    drop(scripted.asked("PUT /v1/projects/demo/files/file").await);
    super::finish(child).await.failed(6, "broke");
    drop(open);
}

#[tokio::test]
async fn what_is_told_of_a_copy_is_the_size_of_the_file_and_where_there_was_no_room() {
    let server = server().start().await;
    run(&server, &["project", "create", "demo", "--profile", "small"]).await.ok();
    run_with(&server, &["cp", "-", "demo:large"], &vec![b'x'; 9 << 20]).await.ok();
    run_with(&server, &["cp", "-", "demo:data"], b"new").await.ok();
    let disk = SmallDisk::mount(4 << 20);
    let path = |name: &str| disk.path().join(name).to_str().expect("a text").to_owned();
    let arguments = ["cp", "demo:data", &path("data"), "--server", &super::url(&server)];
    let mut pty = Pty::spawn(super::PROGRAM, &arguments, (80, 24));
    pty.wait_for_screen("its size", |screen| screen.contains("sandtree: 3 B copied")).await;
    assert_eq!(pty.wait_for_exit().await.code(), Some(0));
    run(&server, &["cp", "demo:large", &path("large")]).await.failed(1, &path("large"));
    let left: Vec<_> = fs::read_dir(disk.path()).expect("names").flatten().collect();
    assert_eq!(left.len(), 1, "nothing is left on the way: {left:?}");
}
