//! What has had its time.

use std::time::Duration;

use sandtree_actors::ports::SandboxSpec;
use sandtree_model::durations::Timeout;
use sandtree_model::profile::Expiry;
use sandtree_testkit::{Op, until};

use crate::world::*;

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_project_that_idles_too_long_is_stopped() {
    let world = World::new().profile(|profile| profile.idle_timeout = Timeout::After(10 * MINUTE));
    let tree = world.spawn().await;
    tree.running("demo").await;
    world.clock.advance(9 * MINUTE);
    assert_eq!(tree.get("demo").await.expect("it").project.phase, Phase::Running);
    world.clock.advance(MINUTE);
    let stopped = tree.wait_for("demo", Phase::Stopped).await;
    assert!(stopped.project.reason.contains("idle"), "{}", stopped.project.reason);
}

#[tokio::test]
async fn a_command_in_flight_is_activity_and_a_status_read_is_not() {
    let world = World::new().profile(|profile| profile.idle_timeout = Timeout::After(10 * MINUTE));
    let tree = world.spawn().await;
    tree.running("busy").await;
    tree.running("looked-at").await;
    let sandbox = tree.call(|tree| async move { tree.sandbox(&key("busy")).await });
    let held = sandbox.await.map_err(|failure| failure.to_string()).expect("its sandbox");
    for _ in 0..3 {
        world.clock.advance(4 * MINUTE);
        let _ = tree.get("looked-at").await;
    }
    tree.wait_for("looked-at", Phase::Stopped).await;
    assert_eq!(tree.get("busy").await.expect("it").project.phase, Phase::Running);
    drop(held);
    world.clock.advance(10 * MINUTE);
    tree.wait_for("busy", Phase::Stopped).await;
}

#[tokio::test]
async fn a_project_that_lived_its_time_is_stopped_whatever_it_does() {
    let world = World::new().profile(|profile| profile.max_lifetime = Timeout::After(10 * MINUTE));
    let tree = world.spawn().await;
    tree.running("demo").await;
    let sandbox = tree.call(|tree| async move { tree.sandbox(&key("demo")).await });
    let _held = sandbox.await.map_err(|failure| failure.to_string()).expect("its sandbox");
    world.clock.advance(10 * MINUTE);
    let stopped = tree.wait_for("demo", Phase::Stopped).await;
    assert!(stopped.project.reason.contains("lifetime"), "{}", stopped.project.reason);
}

#[tokio::test]
async fn a_project_whose_profile_says_so_is_deleted_when_its_time_is_over() {
    let world = World::new().profile(|profile| {
        profile.idle_timeout = Timeout::After(10 * MINUTE);
        profile.expiry = Expiry::Delete;
    });
    let tree = world.spawn().await;
    let container = tree.running("demo").await.project.container.clone().expect("a container").id;
    world.clock.advance(10 * MINUTE);
    tree.wait_until_gone("demo").await;
    until("its container to be gone", async || !world.engine.has(&container)).await;
}

#[tokio::test]
async fn a_project_that_rested_too_long_is_deleted_without_being_in_memory() {
    let mut world =
        World::new().profile(|profile| profile.stopped_retention = Timeout::After(60 * MINUTE));
    world.settings.passivate_after = MINUTE;
    let tree = world.spawn().await;
    tree.stopped("old").await;
    tree.running("up").await;
    world.clock.advance(30 * MINUTE);
    until("it to be let go", async || tree.tree.live_projects() == 1).await;
    tree.stopped("young").await;
    world.clock.advance(30 * MINUTE);
    tree.wait_until_gone("old").await;
    assert_eq!(tree.get("young").await.expect("it").project.phase, Phase::Stopped);
    assert_eq!(tree.get("up").await.expect("it").project.phase, Phase::Running);
}

#[tokio::test]
async fn a_project_that_is_used_while_it_rests_is_kept() {
    let world =
        World::new().profile(|profile| profile.stopped_retention = Timeout::After(60 * MINUTE));
    let tree = world.spawn().await;
    tree.stopped("used").await;
    tree.stopped("unused").await;
    let files = tree.call(|tree| async move { tree.files(&key("used")).await });
    let held = files.await.map_err(|failure| failure.to_string()).expect("its files");
    world.clock.advance(90 * MINUTE);
    tree.wait_until_gone("unused").await;
    assert_eq!(tree.get("used").await.expect("it").project.phase, Phase::Stopped);
    drop(held);
    world.clock.advance(60 * MINUTE);
    tree.wait_until_gone("used").await;
}

#[tokio::test]
async fn of_too_many_that_rest_those_that_rested_longest_go() {
    let world = World::new().profile(|profile| profile.stopped_max = 2);
    let tree = world.spawn().await;
    for id in ["first", "second", "third", "fourth"] {
        tree.stopped(id).await;
        world.clock.advance(MINUTE);
    }
    tree.running("up").await;
    tree.wait_until_gone("first").await;
    tree.wait_until_gone("second").await;
    for id in ["third", "fourth"] {
        assert_eq!(tree.get(id).await.expect("it").project.phase, Phase::Stopped, "{id}");
    }
}

#[tokio::test]
async fn a_paused_project_is_left_alone() {
    let world = World::new().profile(|profile| profile.idle_timeout = Timeout::After(MINUTE));
    let tree = world.spawn().await;
    let paused = tree.paused("paused").await;
    tree.running("demo").await;
    world.clock.advance(MINUTE);
    tree.wait_for("demo", Phase::Stopped).await;
    assert_eq!(tree.get("paused").await.expect("it").project, paused.project);
}

#[tokio::test]
async fn the_sweep_removes_what_is_ours_and_belongs_to_nobody_and_nothing_else() {
    let world = World::new();
    let tree = world.spawn().await;
    let running = tree.running("running").await;
    let container = running.project.container.clone().expect("a container").id;
    let ours = world.engine.plant(spec("orphan00000000000000"), true);
    let theirs = world.engine.plant(spec("foreign0000000000000"), false);
    until("the orphan to be removed", async || !world.engine.has(&ours)).await;
    assert!(world.engine.has(&theirs), "another instance's container was removed");
    assert!(world.engine.has(&container), "a project's container was removed");
}

#[tokio::test]
async fn a_starting_tree_sweeps_at_once() {
    let mut world = World::new();
    world.settings.janitor_interval = 60 * MINUTE;
    let ours = world.engine.plant(spec("orphan00000000000000"), true);
    let _tree = world.spawn().await;
    until("the orphan to be removed", async || !world.engine.has(&ours)).await;
}

fn spec(sandbox: &str) -> SandboxSpec {
    SandboxSpec {
        sandbox: sandbox.parse().expect("a valid uid"),
        image: "image".into(),
        user: (1, 1),
        read_only_root: true,
        capabilities: Vec::new(),
        network: sandtree_model::Network::None,
        runtime: "".into(),
        limits: sandtree_model::Limits { memory_bytes: 1, cpu_millis: 1, pids: 1, tmp_bytes: 1 },
        init: "/init".into(),
        home: "/home".into(),
        workspace: "/workspace".into(),
        home_dir: "/home/sandbox".into(),
        kept_home: None,
        files: std::collections::BTreeMap::new(),
    }
}

#[tokio::test]
async fn a_project_at_rest_costs_no_actors_and_comes_back_when_it_is_asked_for() {
    let world = World::new();
    let tree = world.spawn().await;
    tree.stopped("resting").await;
    tree.running("running").await;
    assert_eq!(tree.tree.live_projects(), 2);
    world.clock.advance(world.settings.passivate_after);
    until("one project to be let go", async || tree.tree.live_projects() == 1).await;
    assert_eq!(tree.get("resting").await.expect("it").project.phase, Phase::Stopped);
    assert_eq!(tree.tree.live_projects(), 1, "a read spawns nothing");
    tree.operate("resting", Operation::Start).await.expect("a start");
    assert_eq!(tree.tree.live_projects(), 2);
}

#[tokio::test]
async fn a_disk_that_takes_long_to_sweep_holds_up_no_round() {
    let world = World::new();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let tree = world.spawn_on(runtime.worker_threads(2).max_blocking_threads(1)).await;
    // Of three looks, one came after another by the same actor was done, and so after the pool
    // had read from the disk what it has.
    until("the tree to have taken stock", async || world.engine.count(Op::List) >= 3).await;
    // Nothing that blocks is done any more.
    let (release, gate) = std::sync::mpsc::channel::<()>();
    tree.call(|_| async move { drop(tokio::task::spawn_blocking(move || gate.recv())) }).await;
    let before = world.engine.count(Op::List);
    // Each sweep for orphans is a round with a sweep of the disk.
    until("sweeps to go on", async || world.engine.count(Op::List) >= before + 3).await;
    drop(release);
}
