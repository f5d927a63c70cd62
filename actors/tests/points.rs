//! Panics and delays at crash points, of tasks that somebody waits for.
//!
//! A program of its own: crash points belong to the whole process.

#[path = "it/world.rs"]
#[expect(dead_code, unused_imports, reason = "shared with `it`, which uses all of it")]
mod world;

use std::time::Duration;

use sandtree_actors::crash::{self, Point};
use sandtree_actors::{Operation, ViewRequest};

use world::*;

#[tokio::test]
async fn a_panic_while_a_shell_is_opened_is_told_to_who_waits_for_it_and_the_next_is_opened() {
    let world = World::new();
    let tree = world.spawn().await;
    tree.running("demo").await;
    crash::arm(Point::ShellStarted, 0, "panic").expect("a build with crash points");
    let told = open_terminal(&tree).await;
    let panicked = |failure: &Failure| failure.to_string().contains("panicked");
    assert!(told.as_ref().is_err_and(panicked), "{told:?}");
    // Init has started that shell, of which nobody knows.
    open_terminal(&tree).await.expect("another shell");
}

#[tokio::test]
async fn a_deletion_is_answered_although_the_janitor_comes_by_right_after_it() {
    let mut world = World::new();
    world.settings.passivate_after = Duration::ZERO;
    world.settings.janitor_interval = Duration::from_millis(1);
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let tree = world.spawn_on(runtime.worker_threads(2)).await;
    tree.running("demo").await;
    // The second commit says that it is deleted; who did it is held up then.
    crash::arm(Point::AfterCommit, 1, "sleep(300)").expect("a build with crash points");
    let delete = Operation::Delete { keep_files: false };
    let deleted = tree.operate("demo", delete).await;
    assert!(deleted.is_ok(), "{deleted:?}");
}

async fn open_terminal(tree: &Running) -> Answer<()> {
    let request = ViewRequest { cols: None, rows: None, after: None, leave_grace: None };
    tree.call(move |tree| async move { tree.open_terminal(&key("demo"), request).await.map(drop) })
        .await
}
