//! Projects of one request.

use sandtree_actors::Once;
use sandtree_actors::ports::EngineError;
use std::time::Duration;

use sandtree_testkit::{FaultPlan, Op, Trouble, When, until};

use crate::world::{Operation, Phase, Running, World, named, tester};

async fn once(tree: &Running, id: &str) -> Once {
    let request = named(id);
    let made = tree.call(|tree| async move { tree.once(&tester(), request).await }).await;
    let (once, view) = made.expect("a project");
    assert_eq!(view.project.phase, Phase::Running);
    once
}

fn notes(world: &World) -> usize {
    std::fs::read_dir(world.settings.data_dir.join("once")).map_or(0, Iterator::count)
}

async fn until_nothing_is_left(world: &World, tree: &Running, id: &str) {
    tree.wait_until_gone(id).await;
    until("no container and no note", async || {
        world.engine.containers().is_empty() && notes(world) == 0
    })
    .await;
    world.store.assert_sound();
}

#[tokio::test]
async fn a_project_of_one_request_ends_with_it() {
    let world = World::new();
    let tree = world.spawn().await;
    let held = once(&tree, "a").await;
    assert_eq!((world.engine.containers().len(), notes(&world)), (1, 1));
    tree.call(|_| async move { drop(held) }).await;
    until_nothing_is_left(&world, &tree, "a").await;
}

#[tokio::test]
async fn one_whose_request_is_gone_before_it_is_made_ends_as_well() {
    let slow = Trouble::Delay(Duration::from_millis(300));
    let world = World::with(FaultPlan::none().at(Op::Start, 1, When::Before, slow));
    let tree = world.spawn().await;
    // The client goes away while the engine is at work, whose start takes longer.
    let asked = tree.call(|tree| async move {
        let (by, request) = (tester(), named("a"));
        let made = tree.once(&by, request);
        tokio::time::timeout(Duration::from_millis(100), made).await.map(|made| made.is_ok())
    });
    assert!(asked.await.is_err(), "it was made too early");
    until_nothing_is_left(&world, &tree, "a").await;
}

#[tokio::test]
async fn one_that_its_server_left_behind_is_deleted_by_the_next_in_whatever_phase() {
    for stopped in [false, true] {
        let world = World::new();
        let tree = world.spawn().await;
        tree.running("kept").await;
        let held = once(&tree, "a").await;
        if stopped {
            tree.operate("a", Operation::Stop).await.expect("a stop");
        }
        tree.crash().await;
        // Outside of any tree, as a server that is killed: nothing happens.
        std::thread::spawn(|| drop(held)).join().expect("no panic");
        assert_eq!(notes(&world), 1, "stopped: {stopped}");

        let tree = world.spawn().await;
        tree.wait_until_gone("a").await;
        until("one container and no note", async || {
            world.engine.containers().len() == 1 && notes(&world) == 0
        })
        .await;
        tree.wait_for("kept", Phase::Running).await;
        world.store.assert_sound();
    }
}

#[tokio::test]
async fn one_that_a_client_deleted_is_no_trouble() {
    let world = World::new();
    let tree = world.spawn().await;
    let held = once(&tree, "a").await;
    tree.operate("a", Operation::Delete { keep_files: false }).await.expect("a delete");
    // Another project may have the id by now, and stays.
    tree.stopped("a").await;
    tree.call(|_| async move { drop(held) }).await;
    until("no note", async || notes(&world) == 0).await;
    assert_eq!(tree.get("a").await.expect("the other one").project.phase, Phase::Stopped);
}

#[tokio::test]
async fn one_that_cannot_be_made_leaves_nothing() {
    let world = World::new();
    let refused = EngineError::Refused("planned".into());
    world.engine.plan(FaultPlan::none().fail_all(Op::Create, 1..=u32::MAX, refused));
    let tree = world.spawn().await;
    let failed = tree.call(|tree| async move { tree.once(&tester(), named("a")).await.map(drop) });
    failed.await.expect_err("an engine that refuses");
    until_nothing_is_left(&world, &tree, "a").await;
}
