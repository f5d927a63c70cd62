use std::fs;
use std::path::Path;

use sandtree_wire::*;
use tempfile::TempDir;
use tokio::net::UnixStream;

use crate::server::*;

/// A directory that init watches.
struct Watched {
    _sandbox: Sandbox,
    dir: TempDir,
    connection: UnixStream,
    buffer: Vec<u8>,
}

impl Watched {
    async fn start(prepare: impl FnOnce(&Path), change: impl FnOnce(&mut WatchSpec)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        prepare(dir.path());
        let mut spec = WatchSpec {
            path: dir.path().to_str().unwrap().to_owned(),
            exclude: Vec::new(),
            recursive: true,
            directories_max: 1000,
        };
        change(&mut spec);
        let mut sandbox = Sandbox::start().await;
        let connection = sandbox.open(Stream::Watch(spec)).await;
        Self { _sandbox: sandbox, dir, connection, buffer: Vec::new() }
    }

    async fn ready(prepare: impl FnOnce(&Path)) -> Self {
        let mut watched = Self::start(prepare, |_| {}).await;
        assert!(matches!(watched.next().await, WatchEvent::Ready { .. }));
        watched
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.dir.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        fs::write(self.path(path), text).unwrap();
    }

    async fn next(&mut self) -> WatchEvent {
        let read = read_message(&mut self.connection, &mut self.buffer);
        soon("an event", read).await.unwrap()
    }

    /// All that is told until this file's making is; it is made here. That a file was written
    /// may be told again after a while; here it is not.
    async fn until_made(&mut self, end: &str) -> Vec<String> {
        let mut told: Vec<String> = Vec::new();
        for one in self.all_until_made(end).await {
            let path = &one[1..];
            let is_repeated = |before: &&String| &before[1..] == path && !before.starts_with('-');
            if !one.starts_with('~') || !told.iter().rev().any(|before| is_repeated(&before)) {
                told.push(one);
            }
        }
        told
    }

    async fn all_until_made(&mut self, end: &str) -> Vec<String> {
        self.write(end, "");
        let mut told = Vec::new();
        loop {
            let changes = match self.next().await {
                WatchEvent::Changes(changes) => changes,
                other => panic!("{other:?} after {told:?}"),
            };
            for change in changes {
                if change.path == end {
                    return told;
                }
                told.push(shown(&change));
            }
        }
    }
}

fn shown(Change { path, is_dir, what }: &Change) -> String {
    let slash = if *is_dir { "/" } else { "" };
    match what {
        WhatChanged::Created => format!("+{path}{slash}"),
        WhatChanged::Modified => format!("~{path}{slash}"),
        WhatChanged::Removed => format!("-{path}{slash}"),
        WhatChanged::Renamed { from } => format!("{from}>{path}{slash}"),
    }
}

#[tokio::test]
async fn what_happens_to_files_is_told_in_its_order() {
    let mut watched = Watched::ready(|dir| {
        fs::create_dir_all(dir.join("a/b")).unwrap();
        fs::write(dir.join("a/b/old"), "").unwrap();
        fs::write(dir.join("gone"), "").unwrap();
    })
    .await;
    watched.write("a/b/new", "x");
    watched.write("a/b/old", "x");
    watched.write("a/b/old", "y");
    fs::remove_file(watched.path("gone")).unwrap();
    fs::rename(watched.path("a/b/old"), watched.path("moved")).unwrap();
    let told = watched.until_made("end").await;
    assert_eq!(told, ["+a/b/new", "~a/b/old", "-gone", "a/b/old>moved"]);
}

#[tokio::test]
async fn many_writes_are_told_once() {
    let mut watched = Watched::ready(|dir| fs::write(dir.join("f"), "").unwrap()).await;
    for round in 0..5000 {
        watched.write("f", &round.to_string());
    }
    let told = watched.all_until_made("end").await;
    assert!(!told.is_empty() && told.len() < 2500, "{} for 5000 writes", told.len());
    assert!(told.iter().all(|change| change == "~f"), "{told:?}");
}

#[tokio::test]
async fn what_is_made_in_a_new_directory_at_once_is_not_missed() {
    let mut watched = Watched::ready(|_| {}).await;
    for number in 0..50 {
        fs::create_dir_all(watched.path(&format!("n{number}/x/y"))).unwrap();
        watched.write(&format!("n{number}/x/y/f"), "x");
    }
    let told = watched.until_made("end").await;
    for number in 0..50 {
        for path in [format!("+n{number}/x/y/"), format!("+n{number}/x/y/f")] {
            assert!(told.contains(&path), "{path} is not in {told:?}");
        }
    }
    // From then on it is watched like any other.
    watched.write("n7/x/y/f", "more");
    assert_eq!(watched.until_made("end2").await, ["~n7/x/y/f"]);
}

#[tokio::test]
async fn a_directory_that_is_renamed_is_watched_under_its_new_name() {
    let mut watched = Watched::ready(|dir| fs::create_dir_all(dir.join("a/b")).unwrap()).await;
    fs::rename(watched.path("a"), watched.path("c")).unwrap();
    assert_eq!(watched.until_made("end").await, ["a>c/"]);
    watched.write("c/b/f", "x");
    assert_eq!(watched.until_made("end2").await, ["+c/b/f"]);
    // Made and renamed before anybody could look.
    fs::create_dir(watched.path("d")).unwrap();
    fs::rename(watched.path("d"), watched.path("e")).unwrap();
    watched.write("e/f", "x");
    let told = watched.until_made("end3").await;
    assert!(told.contains(&"+e/f".to_owned()), "{told:?}");
}

#[tokio::test]
async fn a_directory_that_is_moved_away_is_not_watched_any_more() {
    let away = tempfile::tempdir_in(std::env::temp_dir()).unwrap();
    let mut watched = Watched::ready(|dir| fs::create_dir_all(dir.join("a/b")).unwrap()).await;
    fs::rename(watched.path("a"), away.path().join("a")).unwrap();
    assert_eq!(watched.until_made("end").await, ["-a/"]);
    fs::write(away.path().join("a/b/f"), "x").unwrap();
    assert!(watched.until_made("end2").await.is_empty());
    fs::rename(away.path().join("a"), watched.path("again")).unwrap();
    let told = watched.until_made("end3").await;
    assert_eq!(told, ["+again/", "+again/b/", "+again/b/f"]);
}

#[tokio::test]
async fn what_is_excluded_is_neither_told_nor_watched() {
    let prepare = |dir: &Path| fs::create_dir_all(dir.join("node_modules/x")).unwrap();
    let exclude = |spec: &mut WatchSpec| {
        spec.exclude = vec!["node_modules".into(), "*.pyc".into()];
    };
    let mut watched = Watched::start(prepare, exclude).await;
    assert_eq!(watched.next().await, WatchEvent::Ready { directories: 1 });
    watched.write("node_modules/x/f", "x");
    watched.write("a.pyc", "x");
    watched.write("a.py", "x");
    fs::create_dir_all(watched.path("d/node_modules/y")).unwrap();
    watched.write("d/node_modules/y/f", "x");
    assert_eq!(watched.until_made("end").await, ["+a.py", "+d/"]);
}

#[tokio::test]
async fn one_level_is_all_that_is_watched_where_that_is_asked_for() {
    let prepare = |dir: &Path| fs::create_dir(dir.join("a")).unwrap();
    let mut watched = Watched::start(prepare, |spec| spec.recursive = false).await;
    assert_eq!(watched.next().await, WatchEvent::Ready { directories: 1 });
    watched.write("a/f", "x");
    fs::create_dir(watched.path("b")).unwrap();
    assert_eq!(watched.until_made("end").await, ["+b/"]);
}

#[tokio::test]
async fn more_directories_than_are_watched_are_told_once() {
    let prepare = |dir: &Path| {
        (0..5).for_each(|number| fs::create_dir(dir.join(number.to_string())).unwrap());
    };
    let mut watched = Watched::start(prepare, |spec| spec.directories_max = 3).await;
    assert_eq!(watched.next().await, WatchEvent::Ready { directories: 3 });
    assert_eq!(watched.next().await, WatchEvent::Limited { directories: 3 });
    fs::create_dir(watched.path("more")).unwrap();
    assert_eq!(watched.until_made("end").await, ["+more/"]);
}

#[tokio::test]
async fn more_than_can_be_told_is_an_overflow_and_watching_goes_on() {
    let mut watched = Watched::ready(|_| {}).await;
    // Nobody reads meanwhile: more than the kernel keeps, init holds back and the connection
    // takes.
    let kept = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    for number in 0..kept.trim().parse::<u32>().unwrap() + 20_000 {
        watched.write(&number.to_string(), "");
    }
    fs::create_dir(watched.path("new")).unwrap();
    loop {
        match watched.next().await {
            WatchEvent::Overflow => break,
            WatchEvent::Changes(_) => {}
            other => panic!("{other:?}"),
        }
    }
    // There may be another, if the first came while files were being made.
    watched.write("new/f", "x");
    loop {
        match watched.next().await {
            WatchEvent::Changes(changes) if changes.iter().any(|c| c.path == "new/f") => break,
            WatchEvent::Changes(_) => {}
            WatchEvent::Overflow => watched.write("new/f", "again"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_directory_that_is_not_there_or_goes_away_ends_it() {
    let mut watched = Watched::start(|_| {}, |spec| spec.path.push_str("/none")).await;
    let WatchEvent::Failed(error) = watched.next().await else { panic!("watched") };
    assert_eq!(error.errno, libc::ENOENT);

    let prepare = |dir: &Path| fs::create_dir(dir.join("a")).unwrap();
    let mut watched = Watched::start(prepare, |spec| spec.path.push_str("/a")).await;
    assert_eq!(watched.next().await, WatchEvent::Ready { directories: 1 });
    fs::remove_dir(watched.path("a")).unwrap();
    let WatchEvent::Failed(error) = watched.next().await else { panic!("still watched") };
    assert_eq!(error.errno, libc::ENOENT);
}
