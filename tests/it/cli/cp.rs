//! `sandtree cp`.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

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
    for (arguments, code, said) in [
        (["demo:none", "."], 1, "demo:none"),
        (["nobody:a", "."], 1, "does not exist"),
        (["./none", "demo:"], 1, "./none"),
        (["demo:a", "demo:b"], 2, "this machine"),
        (["./a", "./b"], 2, "in a project"),
        (["-", "demo:"], 2, "name the file"),
        (["demo:/etc/passwd", "."], 2, "/workspace"),
        (["demo:../x", "."], 1, ".."),
        ([&path("big"), "demo:big"], 1, "1000000"),
    ] {
        let arguments = [&["cp"], &arguments[..]].concat();
        run(&server, &arguments).await.failed(code, said);
    }
}
