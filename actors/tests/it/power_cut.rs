//! What was answered, or is relied on later, is on the disk: a power cut right after it
//! takes none of it.
//!
//! A workspace is looked at without a tree: each of its changes has to be on the disk by
//! itself, and not because something else was synced a moment later.

use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use sandtree_actors::{Cursor, LogSettings, LogWriter};
use sandtree_testkit::{BlockDisk, FakeInit, StoreFault, StorePlan, When};
use sandtree_wire::{Job, RecordHead};
use sandtree_workspace::{
    ArchiveFormat, Existing, ExtractOptions, Limits, Manner, Owner, Parents, Precondition,
    Recursive, Workspace, WorkspacePath,
};

use crate::world::*;

const LIMITS: Limits = Limits { bytes_max: 1 << 24, entries_max: 1000 };

const AS_IT_IS: ExtractOptions = ExtractOptions {
    format: None,
    limits: LIMITS,
    ratio_max: 200,
    existing: Existing::Replace,
    manner: Manner::AsIs,
};

/// A change, in words; how it is made; and whether a directory has it.
type Case = (&'static str, fn(&Workspace), fn(&Path) -> bool);

/// Each begins where the ones before it have led.
const CASES: &[Case] = &[
    ("a file", |it| write(it, "file", "one"), |at| has(at, "file", "one")),
    ("another version of it", |it| write(it, "file", "two"), |at| has(at, "file", "two")),
    (
        "a file in new directories",
        |it| write(it, "new/dir/file", "deep"),
        |at| has(at, "new/dir/file", "deep"),
    ),
    ("a large file", |it| write_large(it, "large"), |at| is_large(&at.join("large"))),
    (
        "directories",
        |it| it.mkdir(&path("made/deep"), Parents::Create).expect("directories"),
        |at| at.join("made/deep").is_dir(),
    ),
    ("a copy of a file", |it| copy(it, "file", "copy"), |at| has(at, "copy", "two")),
    ("a copy of a tree", |it| copy(it, "new", "tree"), |at| has(at, "tree/dir/file", "deep")),
    (
        "a move into another directory",
        |it| it.rename(&path("copy"), &path("made/moved"), Existing::Keep).expect("a move"),
        |at| has(at, "made/moved", "two") && !at.join("copy").exists(),
    ),
    (
        "permissions",
        |it| it.set_mode(&path("file"), 0o640).expect("permissions"),
        |at| {
            at.join("file").metadata().is_ok_and(|meta| meta.permissions().mode() & 0o777 == 0o640)
        },
    ),
    ("what an archive holds", unpack, |at| has(at, "unpacked/dir/file", "deep")),
    ("a batch", batch, |at| (0..20).all(|n| has(at, &format!("batch/{n}"), "one of many"))),
    (
        "the removal of a file",
        |it| it.remove(&path("file"), Recursive::No).expect("a removal"),
        |at| !at.join("file").exists(),
    ),
    (
        "the removal of a tree",
        |it| it.remove(&path("tree"), Recursive::Yes).expect("a removal"),
        |at| !at.join("tree").exists(),
    ),
];

fn path(text: &str) -> WorkspacePath {
    WorkspacePath::parse(text).expect("a path")
}

fn put(workspace: &Workspace, to: &str, content: &[u8]) {
    let mut staged = workspace.stage(LIMITS.bytes_max).expect("room");
    staged.write_all(content).expect("room");
    let written = workspace.commit(staged, &path(to), &Precondition::None, Parents::Create);
    written.expect("a file");
}

fn write(workspace: &Workspace, to: &str, content: &str) {
    put(workspace, to, content.as_bytes());
}

fn write_large(workspace: &Workspace, to: &str) {
    put(workspace, to, &large());
}

/// Enough for the disk to begin before its end.
fn large() -> Vec<u8> {
    (0..9 << 20).map(|byte: u32| (byte % 251) as u8).collect()
}

fn is_large(file: &Path) -> bool {
    std::fs::read(file).is_ok_and(|content| content == large())
}

fn has(dir: &Path, file: &str, content: &str) -> bool {
    std::fs::read_to_string(dir.join(file)).is_ok_and(|there| there == content)
}

fn copy(workspace: &Workspace, from: &str, to: &str) {
    workspace.copy(&path(from), &path(to), Existing::Keep, &LIMITS).expect("a copy");
}

fn unpack(workspace: &Workspace) {
    let mut tar = Vec::new();
    let packed = workspace.archive_out(&path("new"), ArchiveFormat::Tar, &mut tar, &LIMITS);
    packed.expect("an archive");
    let taken = workspace.archive_in(tar.as_slice(), &path("unpacked"), &AS_IT_IS);
    assert_eq!(taken.expect("an archive").files, 1);
}

fn batch(workspace: &Workspace) {
    let batched = workspace.batched();
    (0..20).for_each(|n| write(&batched, &format!("batch/{n}"), "one of many"));
    batched.sync().expect("a disk that works");
}

fn workspace_on(disk: &BlockDisk) -> Workspace {
    let meta = disk.path().metadata().expect("the disk");
    let owner = Owner { uid: meta.uid(), gid: meta.gid() };
    let (dir, staging) = (disk.path().join("workspace"), disk.path().join("staging"));
    Workspace::create(&dir, &staging, owner).expect("a workspace")
}

#[test]
fn a_disk_whose_power_is_cut_has_what_was_synced_and_nothing_else() {
    let disk = BlockDisk::mount();
    std::fs::write(disk.path().join("synced"), "synced").expect("a file");
    let root = std::fs::File::open(disk.path()).expect("the disk");
    rustix::fs::syncfs(&root).expect("a disk that works");
    std::fs::write(disk.path().join("not"), "not synced").expect("a file");
    std::fs::write(disk.path().join("synced"), "changed").expect("a file");
    let left = disk.after_a_power_cut();
    assert!(!left.path().join("not").exists(), "it was in memory alone");
    assert!(!has(&left.path(), "synced", "changed"), "so was this");
    assert!(has(&disk.path(), "not", "not synced"), "the disk itself goes on");
}

#[test]
fn every_change_of_a_workspace_is_on_the_disk_once_it_is_answered() {
    let disk = BlockDisk::mount();
    let workspace = workspace_on(&disk);
    for (what, change, is_there) in CASES {
        change(&workspace);
        let left = disk.after_a_power_cut();
        assert!(is_there(&left.path().join("workspace")), "{what}: not on the disk");
    }
}

#[test]
fn what_a_log_has_synced_is_on_the_disk_through_every_rotation() {
    let disk = BlockDisk::mount();
    let settings = LogSettings { file_bytes: 1000, files: 3 };
    let open = |disk: &BlockDisk| {
        LogWriter::open(&disk.path().join("sandbox/log"), settings).expect("a log")
    };
    let mut writer = open(&disk);
    for nth in 0..8 {
        let head = RecordHead { offset: nth * 300, at: 1, stream: 1 };
        writer.append(1, head, &[b'x'; 300]).expect("a record");
        writer.sync().expect("a disk that works");
        let synced = Some(Cursor { epoch: 1, offset: (nth + 1) * 300 });
        assert_eq!(writer.end(), synced);
        let left = disk.after_a_power_cut();
        assert_eq!(open(&left).end(), synced, "record {nth} is not on the disk");
    }
}

#[tokio::test]
async fn init_is_told_to_forget_only_what_is_on_the_disk() {
    let disk = BlockDisk::mount();
    let mut world = World::new();
    world.settings.data_dir = disk.path();
    let tree = world.spawn().await;
    let sandbox = tree.running("demo").await.project.sandbox.clone();
    let put = |tree: Tree| async move { tree.put_process(&key("demo"), serving()).await };
    tree.call(put).await.expect("a process");
    let init = world.engine.init(&sandbox);
    for nth in 0..10 {
        init.say(Job::Process, b"what the disk gets in its own time\n");
        let said = init.jobs()[0].end;
        let is_told = |init: &FakeInit| init.jobs()[0].kept_from == said;
        init.until("the word that it is durable", is_told).await;
        let left = disk.after_a_power_cut();
        let log = left.path().join("sandboxes").join(sandbox.as_str()).join("log");
        let log = LogWriter::open(&log, LogSettings::default()).expect("a log");
        assert_eq!(log.end().map(|end| end.offset), Some(said), "line {nth} is nowhere");
    }
    tree.crash().await;
}

#[tokio::test]
async fn a_project_of_one_request_is_noted_on_the_disk_before_it_is_made() {
    let disk = BlockDisk::mount();
    let mut world = World::new();
    world.settings.data_dir = disk.path();
    let tree = world.spawn().await;
    world.store.plan(StorePlan::none().nth(1, When::Before, StoreFault::Hang));
    let _cut_off =
        tree.begin_call(|tree| async move { tree.once(&tester(), named("demo")).await.map(drop) });
    world.store.hangs().await;
    let left = disk.after_a_power_cut();
    let notes = std::fs::read_dir(left.path().join("once")).map_or(0, Iterator::count);
    assert_eq!(notes, 1, "the next server would not know that nobody needs it");
    tree.crash().await;
}
