//! Stores that do not take what they are given.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use sandtree_model::Move;
use sandtree_testkit::{LONG, Op, StoreFault, StorePlan, When, until};

use crate::world::*;

/// The longest that a store takes: it answers a moment before its time is up.
const LATEST: Duration = Duration::from_secs(29);

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
        until(&format!("running, though {by} was not answered"), async || {
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
    let mut world = World::new();
    world.settings.batch_max = 16;
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
    assert!(batches.iter().all(|writes| *writes <= 16), "one is too large: {batches:?}");
}

/// A tree in the test's own runtime, whose clock jumps to the next timer whenever all wait.
async fn in_paused_time(world: &mut World) -> Tree {
    world.settings.boot_timeout = LONG;
    let (engine, store) = (Arc::new(world.engine.clone()), Arc::new(world.store.clone()));
    let tree = Tree::spawn(world.settings.clone(), engine, store, Arc::new(world.clock.clone()));
    tree.await.expect("a tree")
}

async fn start(tree: &Tree, id: &str) -> View {
    let request = CreateRequest { start: true, ..named(id) };
    tree.create(&tester(), request).await.expect("a project that starts").0
}

async fn operate(tree: &Tree, id: &str, operation: Operation) -> Answer<View> {
    tree.operate(&tester(), &key(id), operation).await
}

fn is_store_away<T>(outcome: &Answer<T>) -> bool {
    matches!(outcome, Err(Failure::Faulted(Fault::StoreAway(_))))
}

#[tokio::test(start_paused = true)]
async fn a_write_that_nobody_waits_for_any_more_has_its_place_until_it_is_decided() {
    const PLACES: usize = 4;
    let mut world = World::new();
    world.settings.writes_waiting_max = PLACES;
    let tree = in_paused_time(&mut world).await;
    world.store.plan(StorePlan::none().nth(1, When::Before, StoreFault::Hang));
    let create = async |id: String| tree.create(&tester(), named(&id)).await.map(drop);
    let creates = (0..PLACES).map(|nth| create(format!("given-up-{nth}")));
    for given_up in join_all(creates).await {
        assert!(is_store_away(&given_up), "{given_up:?}");
    }
    let refused = create("one-too-many".to_owned()).await;
    assert!(matches!(refused, Err(Failure::Refused(Refusal::Busy { .. }))), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_silent_fails_no_project_and_ends_no_sandbox() {
    for by in [Move::PauseAsked, Move::Paused] {
        let mut world = World::new();
        let tree = in_paused_time(&mut world).await;
        let view = start(&tree, "demo").await;
        // Longer than its writer waits.
        world.store.plan(StorePlan::none().at(by, When::Before, StoreFault::Late(LATEST * 2)));
        let told = operate(&tree, "demo", Operation::Pause).await;
        assert!(is_store_away(&told), "{by}: {told:?}");
        let paused = tree.wait_for(&key("demo"), Phase::Paused, LONG).await.expect("a project");
        let phases = world.store.phases(&view.project.uid);
        assert_eq!(paused.project.phase, Phase::Paused, "{by}: {phases:?}");
        assert!(!phases.contains(&Phase::Failed), "{by}: {phases:?}");
        assert_eq!(world.engine.count(Op::Stop), 0, "{by}: the sandbox was ended");
        world.store.assert_sound();
    }
}

/// Has something written that waits behind a write of the project `other`, and is still on
/// its way when its asker has given up.
async fn decided_late<T: std::fmt::Debug>(
    world: &World,
    tree: &Tree,
    writing: impl Future<Output = Answer<T>>,
) {
    let late = StoreFault::Late(LATEST);
    let plan = StorePlan::none().nth(1, When::Before, late).nth(2, When::Before, late);
    world.store.plan(plan);
    let before = async {
        // It is in doubt as well, and of no interest.
        let _ = operate(tree, "other", Operation::Pause).await;
    };
    let writing = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        writing.await
    };
    let (told, ()) = tokio::join!(writing, before);
    assert!(is_store_away(&told), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_comes_after_its_asker_gave_up_is_gone_on_from() {
    let mut world = World::new();
    let tree = in_paused_time(&mut world).await;
    let (demo, _) = (start(&tree, "demo").await, start(&tree, "other").await);
    decided_late(&world, &tree, operate(&tree, "demo", Operation::Stop)).await;
    let stopped = tree.wait_for(&key("demo"), Phase::Stopped, LONG * 4).await.expect("a project");
    assert_eq!(stopped.project.phase, Phase::Stopped, "nobody goes on from what was committed");
    assert_eq!(stopped.project.uid, demo.project.uid);
    operate(&tree, "demo", Operation::Start).await.expect("a start");
    world.store.assert_sound();
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

#[tokio::test(start_paused = true)]
async fn a_project_that_is_made_after_its_asker_gave_up_is_taken_back() {
    let mut world = World::new();
    let tree = in_paused_time(&mut world).await;
    start(&tree, "other").await;
    decided_late(&world, &tree, tree.create(&tester(), named("demo"))).await;
    until("the project to be made and deleted", async || {
        let rows = world.store.rows();
        rows.iter().any(|row| row.key == key("demo") && row.phase == Phase::Deleted)
    })
    .await;
    world.store.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn a_process_that_is_recorded_after_its_asker_gave_up_is_started() {
    let mut world = World::new();
    let tree = in_paused_time(&mut world).await;
    let (demo, _) = (start(&tree, "demo").await, start(&tree, "other").await);
    decided_late(&world, &tree, tree.put_process(&key("demo"), serving())).await;
    let init = world.engine.init(&demo.project.sandbox);
    until("the process that is recorded to run", async || {
        let recorded = world.store.row(&demo.project.uid).process.map(|record| record.epoch);
        recorded.is_some() && init.jobs().first().map(|job| job.epoch) == recorded
    })
    .await;
}
