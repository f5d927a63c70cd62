//! Panics of tasks that somebody waits for.
//!
//! A program of its own: crash points belong to the whole process.

#[path = "it/world.rs"]
#[expect(dead_code, unused_imports, reason = "shared with `it`, which uses all of it")]
mod world;

use sandtree_actors::ViewRequest;
use sandtree_actors::crash::{self, Point};

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

async fn open_terminal(tree: &Running) -> Answer<()> {
    let request = ViewRequest { cols: None, rows: None, after: None, leave_grace: None };
    tree.call(move |tree| async move { tree.open_terminal(&key("demo"), request).await.map(drop) })
        .await
}
