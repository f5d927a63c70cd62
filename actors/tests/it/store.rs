//! Stores that do not take what they are given.

use sandtree_model::Move;
use sandtree_testkit::{StoreFault, StorePlan, When};

use crate::world::*;

#[tokio::test]
async fn a_write_that_fails_is_told_and_nothing_was_done() {
    let world = World::new();
    let tree = world.spawn().await;
    let before = tree.stopped("demo").await;
    world.store.plan(StorePlan::none().away_for(1));
    let failed = tree.operate("demo", Operation::Start).await;
    assert!(matches!(failed, Err(Failure::Faulted(Fault::StoreAway(_)))), "{failed:?}");
    assert_eq!(world.store.row(&before.project.uid).phase, Phase::Stopped);
    assert!(world.engine.containers().is_empty(), "no intent, no container");
    tree.operate("demo", Operation::Start).await.expect("a start");
}

#[tokio::test]
async fn a_store_that_is_away_in_the_middle_is_tried_again() {
    let world = World::new();
    let tree = world.spawn().await;
    let view = tree.stopped("demo").await;
    world.store.plan(StorePlan::none().at(Move::InitReady, When::Before, StoreFault::Away));
    let _ = tree.operate("demo", Operation::Start).await;
    tree.wait_for("demo", Phase::Running).await;
    assert_runs_once(&world, &view.project.sandbox);
    world.store.assert_sound();
}

#[tokio::test]
async fn a_commit_whose_answer_was_lost_is_not_made_twice() {
    for by in [Move::StartAsked, Move::InitReady] {
        let world = World::new();
        let tree = world.spawn().await;
        let view = tree.stopped("demo").await;
        world.store.plan(StorePlan::none().at(by, When::After, StoreFault::Away));
        let _ = tree.operate("demo", Operation::Start).await;
        sandtree_testkit::until(&format!("running, though {by} was not answered"), async || {
            world.store.row(&view.project.uid).phase == Phase::Running
        })
        .await;
        tree.operate("demo", Operation::Stop).await.expect("a stop");
        let phases = world.store.phases(&view.project.uid);
        let starts = phases.iter().filter(|phase| **phase == Phase::Starting).count();
        assert_eq!(starts, 1, "{by}: {phases:?}");
        world.store.assert_sound();
    }
}

#[tokio::test]
async fn a_store_adapter_that_panics_is_survived() {
    let world = World::new();
    let tree = world.spawn().await;
    tree.stopped("left").await;
    tree.stopped("right").await;
    world.store.plan(StorePlan::none().at(Move::StartAsked, When::Before, StoreFault::Panic));
    let failed = tree.operate("left", Operation::Start).await;
    assert!(matches!(failed, Err(Failure::Faulted(_))), "{failed:?}");
    tree.operate("right", Operation::Start).await.expect("the next write");
    tree.operate("left", Operation::Start).await.expect("the same again");
}

#[tokio::test]
async fn writes_that_race_share_transactions() {
    let world = World::new();
    let tree = world.spawn().await;
    let creates: Vec<_> = (0..200)
        .map(|n| {
            let request = named(&format!("project-{n}"));
            tree.begin_call(|tree| async move { tree.create(&tester(), request).await })
        })
        .collect();
    for create in creates {
        create.await.expect("no panic").expect("a project");
    }
    let batches = world.store.batches();
    assert_eq!(batches.iter().sum::<usize>(), 400, "a row and a move for each");
    assert!(batches.len() < 400, "not one was shared: {batches:?}");
}

#[tokio::test]
async fn a_project_that_could_not_be_read_at_the_start_is_roused_when_the_store_is_back() {
    let world = World::new();
    let tree = world.spawn().await;
    let view = tree.running("demo").await;
    tree.crash().await;
    world.store.plan(StorePlan::none().unread(2));
    // Nobody asks for it; without its actors it would idle for ever.
    let _tree = world.spawn().await;
    let init = world.engine.init(&view.project.sandbox);
    init.until("a second handshake", |init| init.handshakes() == 2).await;
}
