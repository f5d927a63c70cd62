//! The life cycle as it is when nothing goes wrong.

use std::sync::Arc;

use futures_util::future::join_all;
use sandtree_model::project::Idempotency;
use sandtree_model::{LimitsPatch, Principal};
use sandtree_testkit::{FaultPlan, InitTrouble, Op, When};

use crate::world::*;

#[tokio::test]
async fn a_project_goes_round_its_life_cycle_and_every_move_is_written_down() {
    let world = World::new();
    let tree = world.spawn().await;
    let made = tree.stopped("demo").await;
    assert!(made.project.container.is_none());
    assert!(world.engine.containers().is_empty(), "what is not started has no container");
    for (operation, phase) in [
        (Operation::Start, Phase::Running),
        (Operation::Pause, Phase::Paused),
        (Operation::Resume, Phase::Running),
        (Operation::Restart, Phase::Running),
        (Operation::Stop, Phase::Stopped),
    ] {
        let view = tree.operate("demo", operation).await.expect("an operation that makes sense");
        assert_eq!(view.project.phase, phase, "{operation:?}");
    }
    let before = world.store.row(&made.project.uid);
    tree.operate("demo", DELETE).await.expect("a deletion");
    assert!(world.engine.containers().is_empty(), "a deleted project has no container");
    assert!(matches!(tree.get("demo").await, Err(Failure::Refused(Refusal::NotFound { .. }))));

    use Phase::*;
    let went = [
        Creating, Stopped, Starting, Running, Pausing, Paused, Resuming, Running, Stopping,
        Stopped, Starting, Running, Stopping, Stopped, Deleting, Deleted,
    ];
    assert_eq!(world.store.phases(&made.project.uid), went);
    assert_eq!(world.store.row(&made.project.uid).generation, before.generation + 2);
    assert_eq!(world.engine.count(Op::Create), 1, "a stop keeps the container");
    world.store.assert_sound();
}

#[tokio::test]
async fn a_discarded_sandbox_leaves_its_files_and_the_next_start_makes_a_new_one() {
    let world = World::new();
    let tree = world.spawn().await;
    let first = tree.running("demo").await;
    for _ in 0..2 {
        let view = tree.operate("demo", Operation::Discard).await.expect("a discard");
        assert_eq!(view.project.phase, Phase::Stopped);
        assert!(view.project.container.is_none(), "{view:?}");
        assert!(world.engine.containers().is_empty(), "the container is gone");
    }
    let again = tree.operate("demo", Operation::Start).await.expect("a start");
    assert_eq!(again.project.sandbox, first.project.sandbox, "the workspace is the same");
    assert_eq!(world.engine.count(Op::Create), 2);
    world.store.assert_sound();
}

#[tokio::test]
async fn every_operation_may_be_repeated() {
    let world = World::new();
    let tree = world.spawn().await;
    tree.stopped("demo").await;
    for operation in [Operation::Start, Operation::Pause, Operation::Resume, Operation::Stop] {
        let first = tree.operate("demo", operation).await.expect("the first time");
        let again = tree.operate("demo", operation).await.expect("the second time");
        assert_eq!(again.project.generation, first.project.generation, "{operation:?}");
    }
    tree.operate("demo", DELETE).await.expect("the first time");
    let again = tree.operate("demo", DELETE).await;
    assert!(matches!(again, Ok(_) | Err(Failure::Refused(Refusal::NotFound { .. }))), "{again:?}");
}

#[tokio::test]
async fn operations_that_make_no_sense_are_refused_and_change_nothing() {
    let world = World::new();
    let tree = world.spawn().await;
    tree.stopped("stopped").await;
    tree.paused("paused").await;
    for (id, operation) in [
        ("stopped", Operation::Pause),
        ("stopped", Operation::Resume),
        ("paused", Operation::Start),
    ] {
        let before = tree.get(id).await.expect("the project").project.generation;
        let refused = tree.operate(id, operation).await;
        let is_refused = matches!(refused, Err(Failure::Refused(Refusal::WrongPhase { .. })));
        assert!(is_refused, "{operation:?} of {id}: {refused:?}");
        assert_eq!(tree.get(id).await.expect("the project").project.generation, before);
    }
    let nobody = tree.operate("nobody", Operation::Start).await;
    assert!(matches!(nobody, Err(Failure::Refused(Refusal::NotFound { .. }))), "{nobody:?}");
}

#[tokio::test]
async fn fifty_racing_starts_make_one_container() {
    let world = World::new();
    let tree = world.spawn().await;
    let made = tree.stopped("demo").await;
    let starts: Vec<_> = (0..50).map(|_| tree.begin("demo", Operation::Start)).collect();
    for start in starts {
        let view = start.await.expect("no panic").expect("a start");
        assert_eq!(view.project.phase, Phase::Running);
    }
    assert_eq!(world.engine.count(Op::Create), 1);
    assert_eq!(world.engine.count(Op::Start), 1);
    assert_runs_once(&world, &made.project.sandbox);
}

#[tokio::test]
async fn delete_wins_over_all_that_waits() {
    let world = World::with(FaultPlan::none().hang(Op::Start, 1, When::Before));
    let tree = world.spawn().await;
    tree.stopped("demo").await;
    let mut others = vec![tree.begin("demo", Operation::Start)];
    world.engine.hangs().await;
    for operation in [Operation::Stop, Operation::Start, Operation::Restart, Operation::Stop] {
        others.push(tree.begin("demo", operation));
    }
    let delete = tree.begin("demo", DELETE);
    world.engine.release();
    delete.await.expect("no panic").expect("a deletion");
    for other in others {
        // Before the deletion, some may have come true.
        let _ = other.await.expect("an answer, whatever it is");
    }
    tree.wait_until_gone("demo").await;
    assert!(world.engine.containers().is_empty());
    world.store.assert_sound();
}

#[tokio::test]
async fn a_stop_ends_a_start_that_waits_for_its_init() {
    let world = World::with(FaultPlan::none().init(1..=1, InitTrouble::NeverDials));
    let tree = world.spawn().await;
    tree.stopped("demo").await;
    let start = tree.begin("demo", Operation::Start);
    world.engine.reached(Op::Start, 1).await;
    let stopped = tree.operate("demo", Operation::Stop).await.expect("a stop");
    assert_eq!(stopped.project.phase, Phase::Stopped);
    let overtaken = start.await.expect("no panic");
    assert!(matches!(overtaken, Err(Failure::Refused(Refusal::Conflict { .. }))), "{overtaken:?}");
}

#[tokio::test]
async fn an_id_may_be_used_again_after_its_deletion() {
    let world = World::new();
    let tree = world.spawn().await;
    let first = tree.running("demo").await;
    tree.operate("demo", DELETE).await.expect("a deletion");
    let second = tree.running("demo").await;
    assert_ne!(first.project.uid, second.project.uid);
    assert_ne!(first.project.sandbox, second.project.sandbox);
    assert_eq!(world.store.phases(&second.project.uid)[0], Phase::Creating);
}

#[tokio::test]
async fn of_racing_creates_of_one_id_one_succeeds() {
    let world = World::new();
    let tree = world.spawn().await;
    let create = |tree: Tree| async move { tree.create(&tester(), named("demo")).await };
    let creates: Vec<_> = (0..10).map(|_| tree.begin_call(create)).collect();
    let mut made = 0;
    for create in creates {
        match create.await.expect("no panic") {
            Ok(_) => made += 1,
            Err(Failure::Refused(Refusal::Exists { .. })) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(made, 1);
}

#[tokio::test]
async fn two_tenants_may_use_the_same_id() {
    let world = World::new();
    let tree = world.spawn().await;
    let by = |tenant: &str| Principal { tenant: tenant.parse().expect("an id"), name: "t".into() };
    let mut uids = Vec::new();
    for tenant in ["left", "right"] {
        let by = by(tenant);
        let request = CreateRequest { start: true, ..named("demo") };
        let made = tree.call(|tree| async move { tree.create(&by, request).await }).await;
        uids.push(made.expect("a project of each").0.project.uid.clone());
    }
    assert_ne!(uids[0], uids[1]);
    let (left, key) = (by("left"), key_of("left", "demo"));
    let deleted = tree.call(|tree| async move { tree.operate(&left, &key, DELETE).await }).await;
    deleted.expect("a deletion");
    let right = key_of("right", "demo");
    let other = tree.call(|tree| async move { tree.get(&right).await }).await;
    assert_eq!(other.expect("the other one's").project.phase, Phase::Running);
    assert!(tree.get("demo").await.is_err(), "a third tenant has none");
}

#[tokio::test]
async fn an_idempotency_key_finds_what_it_made() {
    let world = World::new();
    let tree = Arc::new(world.spawn().await);
    let promise = |hash: u8| Idempotency { key: "once".into(), request_sha256: [hash; 32] };
    let create = |hash: u8| {
        let request =
            CreateRequest { idempotency: Some(promise(hash)), ..CreateRequest::default() };
        tree.call(|tree| async move { tree.create(&tester(), request).await })
    };
    let (first, is_new) = create(1).await.expect("a project");
    assert!(is_new);
    let (again, is_new) = create(1).await.expect("the same project");
    assert!(!is_new);
    assert_eq!(first.project.uid, again.project.uid);
    let other = create(2).await.map(|_| ());
    assert!(matches!(other, Err(Failure::Refused(Refusal::Conflict { .. }))), "{other:?}");
}

#[tokio::test]
async fn changed_limits_and_images_make_a_new_container_at_the_next_start() {
    let world = World::new();
    let tree = world.spawn().await;
    let first = tree.running("demo").await.project.container.clone().expect("a container");
    let limits = LimitsPatch { pids: Some(99), ..LimitsPatch::default() };
    let patch = PatchRequest { limits, ..PatchRequest::default() };
    let patched = tree.call(|tree| async move { tree.patch(&key("demo"), patch).await }).await;
    assert_eq!(patched.expect("a patch").project.settings.limits.pids, 99);
    let same = tree.get("demo").await.expect("the project");
    assert_eq!(same.project.container.as_ref().expect("a container").id, first.id);
    let restarted = tree.operate("demo", Operation::Restart).await.expect("a restart");
    let second = restarted.project.container.clone().expect("a container");
    assert_ne!(second.id, first.id);

    let patch = PatchRequest { image: Some("another:1".into()), ..PatchRequest::default() };
    let patched = tree.call(|tree| async move { tree.patch(&key("demo"), patch).await }).await;
    assert_eq!(&*patched.expect("a patch").project.settings.image, "another:1");
    let restarted = tree.operate("demo", Operation::Restart).await.expect("a restart");
    assert_ne!(restarted.project.container.as_ref().expect("a container").id, second.id);
    assert_runs_once(&world, &restarted.project.sandbox);
    let patch = PatchRequest { image: Some("../x".into()), ..PatchRequest::default() };
    let refused = tree.call(|tree| async move { tree.patch(&key("demo"), patch).await }).await;
    assert!(matches!(refused, Err(Failure::Refused(Refusal::Invalid { .. }))), "{refused:?}");
}

#[tokio::test]
async fn changes_that_are_made_at_once_are_all_kept() {
    let world = World::new();
    let tree = world.spawn().await;
    tree.create(named("demo")).await.expect("a project");
    let names = || (0..50).map(|number| Box::<str>::from(format!("label-{number}")));
    let patches = names().map(|name| {
        let labels = [(name, Some("kept".into()))].into();
        let patch = PatchRequest { labels, ..PatchRequest::default() };
        tree.call(|tree| async move { tree.patch(&key("demo"), patch).await })
    });
    for patched in join_all(patches).await {
        patched.expect("a patch");
    }
    let kept = tree.get("demo").await.expect("the project").project.settings.labels.clone();
    assert_eq!(kept, names().map(|name| (name, "kept".into())).collect());
}

#[tokio::test]
async fn the_environment_reaches_init_and_its_changes_too() {
    let world = World::new();
    let tree = world.spawn().await;
    let env = |value: &str| [("NAME".into(), value.into())].into_iter().collect();
    let request = CreateRequest { start: true, env: env("one"), ..named("demo") };
    let made = tree.create(request).await.expect("a project");
    let init = world.engine.init(&made.project.sandbox);
    let knows = |value: &str| {
        let value = value.to_owned();
        move |init: &sandtree_testkit::FakeInit| {
            init.configuration().is_some_and(|it| it.env.get("NAME") == Some(&value))
        }
    };
    init.until("the environment", knows("one")).await;
    let env = [("NAME".into(), Some("two".into()))].into();
    let patch = PatchRequest { env, ..PatchRequest::default() };
    let patched = tree.call(|tree| async move { tree.patch(&key("demo"), patch).await }).await;
    patched.expect("a patch");
    init.until("the changed environment", knows("two")).await;
}

#[tokio::test]
async fn an_environment_that_changes_during_a_start_reaches_the_init_that_comes_up() {
    let world = World::new();
    let tree = world.spawn().await;
    let view = tree.stopped("demo").await;
    world.engine.plan(FaultPlan::none().hang(Op::Start, 1, When::Before));
    let starting = tree.begin("demo", Operation::Start);
    world.engine.hangs().await;
    let env = [("NAME".into(), Some("late".into()))].into();
    let patch = PatchRequest { env, ..PatchRequest::default() };
    let patched = tree.call(|tree| async move { tree.patch(&key("demo"), patch).await }).await;
    patched.expect("a patch");
    world.engine.release();
    starting.await.expect("no panic").expect("a start");
    let told = world.engine.init(&view.project.sandbox).configuration().expect("a configuration");
    assert_eq!(told.env.get("NAME").map(String::as_str), Some("late"), "{told:?}");
}

#[tokio::test]
async fn the_environment_of_a_paused_project_changes_at_once_and_init_knows_when_it_is_thawed() {
    let world = World::new();
    let tree = world.spawn().await;
    let view = tree.paused("demo").await;
    let env = [("NAME".into(), Some("late".into()))].into();
    let patch = PatchRequest { env, ..PatchRequest::default() };
    let patched = tree.call(|tree| async move { tree.patch(&key("demo"), patch).await }).await;
    patched.expect("a patch that does not wait for what is frozen");
    tree.operate("demo", Operation::Resume).await.expect("a resume");
    let told = world.engine.init(&view.project.sandbox).configuration().expect("a configuration");
    assert_eq!(told.env.get("NAME").map(String::as_str), Some("late"), "{told:?}");
}
