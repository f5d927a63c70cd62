//! The pool: sandboxes that are ready before anybody asks for one.

use std::collections::BTreeMap;

use sandtree_actors::ports::EngineError;
use sandtree_model::LimitsPatch;
use sandtree_testkit::{FaultPlan, Mischief, Op, StoreFault, StorePlan, When, until};

use crate::world::{
    CreateRequest, Failure, Operation, Phase, Refusal, Running, SandboxUid, Tree, World,
    assert_runs_once, named, tester,
};

fn world(size: usize) -> World {
    let mut world = World::new();
    world.settings.pool_sizes = BTreeMap::from([("default".into(), size)]);
    world
}

fn started(id: &str) -> CreateRequest {
    CreateRequest { start: true, ..named(id) }
}

async fn ready(tree: &Running) -> usize {
    tree.call(|tree| async move { tree.pooled().await.values().sum() }).await
}

async fn until_ready(tree: &Running, wanted: usize) {
    until(&format!("{wanted} in the pool"), async || ready(tree).await == wanted).await;
}

fn sandboxes(world: &World) -> Vec<SandboxUid> {
    let mut uids: Vec<_> = world.engine.containers().into_iter().map(|seen| seen.sandbox).collect();
    uids.sort();
    uids
}

#[tokio::test]
async fn a_create_is_given_a_ready_sandbox_and_the_engine_is_not_asked() {
    let world = world(1);
    let tree = world.spawn().await;
    until_ready(&tree, 1).await;
    let pooled = sandboxes(&world).remove(0);
    let made = world.engine.count(Op::Create);
    // Nothing is refilled: what the engine is asked from here on is the create's.
    let away = EngineError::Away("planned".into());
    world.engine.plan(FaultPlan::none().fail_all(Op::EnsureImage, 1..=u32::MAX, away));
    let env = [("GREETING".into(), "hello".into())].into();
    let view = tree.create(CreateRequest { env, ..started("p") }).await.expect("a project");
    assert_eq!(view.project.sandbox, pooled);
    assert_eq!(world.engine.count(Op::Create), made);
    let told = world.engine.init(&pooled).configuration().expect("a configured init");
    assert_eq!(told.env["GREETING"], "hello");
    let phases = [Phase::Creating, Phase::Starting, Phase::Running];
    assert_eq!(world.store.phases(&view.project.uid), phases);
    world.store.assert_sound();
}

#[tokio::test]
async fn what_was_taken_is_made_anew_and_what_was_used_never_comes_back() {
    let world = world(2);
    let tree = world.spawn().await;
    until_ready(&tree, 2).await;
    let first = tree.create(started("p")).await.expect("a project").project.sandbox.clone();
    until_ready(&tree, 2).await;
    assert_eq!(sandboxes(&world).len(), 3);
    tree.operate("p", crate::world::DELETE).await.expect("a deletion");
    let second = tree.create(started("q")).await.expect("a project").project.sandbox.clone();
    assert_ne!(first, second);
    assert!(!sandboxes(&world).contains(&first));
}

#[tokio::test]
async fn other_settings_than_the_profiles_get_a_sandbox_of_their_own() {
    let world = world(1);
    let tree = world.spawn().await;
    until_ready(&tree, 1).await;
    let pooled = sandboxes(&world).remove(0);
    let limits = LimitsPatch { pids: Some(33), ..LimitsPatch::default() };
    let other = tree.create(CreateRequest { limits, ..started("p") }).await.expect("a project");
    assert_ne!(other.project.sandbox, pooled);
    let stopped = tree.create(named("q")).await.expect("a project");
    assert_ne!(stopped.project.sandbox, pooled);
    assert_eq!(ready(&tree).await, 1);
}

#[tokio::test]
async fn a_create_that_is_refused_gives_back_what_it_had_claimed() {
    let world = world(1);
    let tree = world.spawn().await;
    tree.create(named("p")).await.expect("a project");
    until_ready(&tree, 1).await;
    let before = sandboxes(&world);
    for _ in 0..5 {
        let refused = tree.create(started("p")).await.expect_err("a taken id");
        assert!(matches!(refused, Failure::Refused(Refusal::Exists { .. })), "{refused:?}");
    }
    until_ready(&tree, 1).await;
    assert_eq!(sandboxes(&world), before);
}

#[tokio::test]
async fn a_create_whose_commit_is_in_doubt_leaves_nothing_behind() {
    let world = world(1);
    let tree = world.spawn().await;
    until_ready(&tree, 1).await;
    world.store.plan(StorePlan::none().away_for(1));
    tree.create(started("p")).await.expect_err("a store that is away");
    until_ready(&tree, 1).await;
    tree.crash().await;
    let tree = world.spawn().await;
    until_ready(&tree, 1).await;
    until("one container", async || sandboxes(&world).len() == 1).await;
    let left = std::fs::read_dir(world.dir.path().join("pool")).expect("the pool's notes");
    assert_eq!(left.count(), 1);
}

#[tokio::test]
async fn a_sandbox_that_was_given_away_as_the_server_died_has_one_project() {
    let world = world(1);
    let tree = world.spawn().await;
    until_ready(&tree, 1).await;
    let pooled = sandboxes(&world).remove(0);
    // The project is committed, and the pool was not told.
    world.store.plan(StorePlan::none().nth(1, When::After, StoreFault::Hang));
    let create = |tree: Tree| async move { tree.create(&tester(), started("p")).await };
    let _cut_off = tree.begin_call(create);
    world.store.hangs().await;
    tree.crash().await;
    let tree = world.spawn().await;
    let view = tree.wait_for("p", Phase::Running).await;
    assert_eq!(view.project.sandbox, pooled);
    until_ready(&tree, 1).await;
    let next = tree.create(started("q")).await.expect("a project");
    assert_ne!(next.project.sandbox, pooled, "it has two projects");
    assert_runs_once(&world, &pooled);
    world.store.assert_sound();
}

#[tokio::test]
async fn a_server_that_starts_takes_over_what_an_earlier_one_left() {
    let world = world(2);
    let tree = world.spawn().await;
    until_ready(&tree, 2).await;
    let used = tree.create(started("p")).await.expect("a project").project.sandbox.clone();
    until_ready(&tree, 2).await;
    let before = sandboxes(&world);
    tree.crash().await;
    let tree = world.spawn().await;
    until_ready(&tree, 2).await;
    tree.wait_for("p", Phase::Running).await;
    assert_eq!(sandboxes(&world), before);
    let next = tree.create(started("q")).await.expect("a project");
    assert!(before.contains(&next.project.sandbox) && next.project.sandbox != used);
    assert_runs_once(&world, &next.project.sandbox);
}

#[tokio::test]
async fn a_server_without_a_pool_removes_what_an_earlier_one_left() {
    let mut world = world(2);
    let tree = world.spawn().await;
    until_ready(&tree, 2).await;
    tree.crash().await;
    let half = world.dir.path().join("pool/half.new");
    std::fs::write(&half, "{").expect("a note that was being written");
    world.settings.pool_sizes.clear();
    let _tree = world.spawn().await;
    let dirs = || std::fs::read_dir(world.dir.path().join("sandboxes")).expect("a directory");
    let is_clean = || sandboxes(&world).is_empty() && dirs().count() == 0;
    until("nothing to be left", async || is_clean() && !half.exists()).await;
}

#[tokio::test]
async fn a_ready_sandbox_that_is_lost_is_replaced_and_not_given_away() {
    for mischief in [Mischief::Dies, Mischief::IsRemoved, Mischief::IsPaused] {
        let world = world(1);
        let tree = world.spawn().await;
        until_ready(&tree, 1).await;
        let lost = sandboxes(&world).remove(0);
        world.engine.behind(&lost, mischief);
        let is_replaced = async || ready(&tree).await == 1 && !sandboxes(&world).contains(&lost);
        until(&format!("another one after {mischief:?}"), is_replaced).await;
        let view = tree.create(started("p")).await.expect("a project");
        assert_ne!(view.project.sandbox, lost);
    }
}

#[tokio::test]
async fn a_claimed_sandbox_stops_starts_and_keeps_its_files() {
    let world = world(1);
    let tree = world.spawn().await;
    until_ready(&tree, 1).await;
    let view = tree.create(started("p")).await.expect("a project");
    let sandbox = view.project.sandbox.clone();
    let workspace = world.dir.path().join("sandboxes").join(sandbox.as_str()).join("workspace");
    std::fs::write(workspace.join("kept"), "kept").expect("a file");
    tree.operate("p", Operation::Stop).await.expect("a stop");
    tree.operate("p", Operation::Start).await.expect("a start");
    let again = tree.get("p").await.expect("a project");
    assert_eq!(
        again.project.container.as_ref().map(|it| &it.id),
        view.project.container.as_ref().map(|it| &it.id)
    );
    assert!(workspace.join("kept").exists());
    tree.operate("p", Operation::Restart).await.expect("a restart");
    assert_runs_once(&world, &sandbox);
}

#[tokio::test]
async fn a_hundred_creates_at_once_share_no_sandbox() {
    let world = world(5);
    let tree = world.spawn().await;
    until_ready(&tree, 5).await;
    let creates = (0..100).map(|number| {
        let request = started(&format!("p-{number}"));
        tree.begin_call(move |tree| async move { tree.create(&tester(), request).await })
    });
    let mut seen = std::collections::BTreeSet::new();
    for create in creates.collect::<Vec<_>>() {
        let (view, _) = create.await.expect("no panic").expect("a project");
        assert!(seen.insert(view.project.sandbox.clone()), "a sandbox has two projects");
    }
    until_ready(&tree, 5).await;
    world.store.assert_sound();
}

#[tokio::test]
async fn an_engine_that_cannot_make_one_is_not_asked_again_at_once() {
    let world = world(1);
    let none = EngineError::Image { image: "image".into(), why: "planned".into() };
    world.engine.plan(FaultPlan::none().fail_all(Op::EnsureImage, 1..=u32::MAX, none));
    let tree = world.spawn().await;
    world.engine.reached(Op::EnsureImage, 1).await;
    until("the attempt to be cleaned up", async || ready(&tree).await == 0).await;
    assert!(world.engine.count(Op::EnsureImage) <= 2);
    tree.create(named("p")).await.expect("creates go on");
}
