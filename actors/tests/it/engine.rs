//! Engines that are away, refuse, or let others lay hands on containers.

use std::time::Duration;

use sandtree_actors::ports::EngineError;
use sandtree_testkit::{FaultPlan, LONG, Mischief, Op, Trouble, When, within};

use crate::world::*;

fn away() -> EngineError {
    EngineError::Away("planned".into())
}

#[tokio::test]
async fn an_engine_that_is_away_is_told_and_the_work_is_done_when_it_is_back() {
    let world = World::new();
    let tree = world.spawn().await;
    tree.stopped("demo").await;
    world.engine.go_away();
    let refused = tree.operate("demo", Operation::Start).await;
    assert!(matches!(refused, Err(Failure::Faulted(Fault::EngineAway(_)))), "{refused:?}");
    let readiness = tree.call(|tree| async move { tree.readiness().await }).await;
    assert!(readiness.iter().any(|(_, state)| state.is_err()), "{readiness:?}");

    world.engine.come_back();
    let view = tree.wait_for("demo", Phase::Running).await;
    assert_runs_once(&world, &view.project.sandbox);
    world.store.assert_sound();
}

#[tokio::test]
async fn however_many_ask_whether_it_is_ready_the_engine_is_asked_once_at_a_time() {
    let world = World::new();
    let tree = world.spawn().await;
    let nth = world.engine.count(Op::Ping) + 1;
    let hang = FaultPlan::none().hang(Op::Ping, u32::try_from(nth).expect("few"), When::Before);
    world.engine.plan(hang);
    let (sender, all_ask) = tokio::sync::oneshot::channel();
    let asking = tree.begin_call(|tree| async move {
        let answers = futures_util::future::join_all((0..20).map(|_| tree.readiness()));
        // Polled after all of those.
        let have_asked = async { sender.send(()) };
        futures_util::future::join(answers, have_asked).await.0
    });
    within(LONG, "all to ask", all_ask).await.expect("a tree that lives");
    world.engine.release();
    let answers = within(LONG, "the answers", asking).await.expect("no panic");
    assert!(answers.iter().flatten().all(|(_, state)| state.is_ok()), "{answers:?}");
    assert_eq!(world.engine.count(Op::Ping), nth);
    let _ = tree.call(|tree| async move { tree.readiness().await }).await;
    assert_eq!(world.engine.count(Op::Ping), nth + 1, "an answer is not kept");
}

#[tokio::test]
async fn reads_and_files_do_not_need_the_engine() {
    let world = World::new();
    let tree = world.spawn().await;
    tree.stopped("demo").await;
    world.engine.go_away();
    assert_eq!(tree.get("demo").await.expect("the project").project.phase, Phase::Stopped);
    let files = tree.call(|tree| async move { tree.files(&key("demo")).await.map(|_| ()) }).await;
    files.expect("the files");
}

#[tokio::test]
async fn whatever_call_an_engine_does_not_answer_the_project_gets_where_it_was_asked_to_be() {
    for (op, operation, phase) in [
        (Op::Create, Operation::Start, Phase::Running),
        (Op::Start, Operation::Start, Phase::Running),
        (Op::Inspect, Operation::Start, Phase::Running),
        (Op::Stop, Operation::Stop, Phase::Stopped),
        (Op::Pause, Operation::Pause, Phase::Paused),
        (Op::Resume, Operation::Resume, Phase::Running),
    ] {
        for when in [When::Before, When::After] {
            let world = World::new();
            let tree = world.spawn().await;
            begin_before(&tree, operation).await;
            let nth = u32::try_from(world.engine.count(op)).expect("few") + 1;
            world.engine.plan(FaultPlan::none().at(op, nth, when, Trouble::Fail(away())));
            // That the engine was away is told, or was overcome.
            let _ = tree.operate("demo", operation).await;
            let view = tree.wait_for("demo", phase).await;
            let made = world.engine.containers();
            assert_eq!(made.len(), 1, "{op:?} {when:?}: {made:?}");
            assert_eq!(made[0].sandbox, view.project.sandbox);
            world.store.assert_sound();
        }
    }
}

/// The project `demo`, in a phase in which the operation makes sense.
async fn begin_before(tree: &Running, operation: Operation) {
    match operation {
        Operation::Start => tree.stopped("demo").await,
        Operation::Resume => tree.paused("demo").await,
        Operation::Stop
        | Operation::Restart
        | Operation::Pause
        | Operation::Discard
        | Operation::Delete { .. } => tree.running("demo").await,
    };
}

#[tokio::test]
async fn an_engine_that_is_away_during_a_deletion_does_not_leave_a_container() {
    let world = World::with(FaultPlan::none().fail(Op::Remove, 1, away()));
    let tree = world.spawn().await;
    tree.running("demo").await;
    let _ = tree.operate("demo", DELETE).await;
    tree.wait_until_gone("demo").await;
    assert!(world.engine.containers().is_empty());
}

#[tokio::test]
async fn an_engine_that_refuses_fails_the_project_which_can_be_started_again() {
    let refused = EngineError::Refused("no space left on device".into());
    let world = World::with(FaultPlan::none().fail(Op::Create, 1, refused));
    let tree = world.spawn().await;
    tree.stopped("demo").await;
    let failed = tree.operate("demo", Operation::Start).await;
    assert!(matches!(failed, Err(Failure::Faulted(Fault::Engine(_)))), "{failed:?}");
    let view = tree.get("demo").await.expect("the project");
    assert_eq!(view.project.phase, Phase::Failed);
    assert!(view.project.reason.contains("no space left"), "{}", view.project.reason);
    tree.operate("demo", Operation::Start).await.expect("a start");
}

#[tokio::test]
async fn an_image_that_cannot_be_had_is_told_and_leaves_nothing() {
    let none = EngineError::Image { image: "image".into(), why: "no such image".into() };
    let world = World::with(FaultPlan::none().fail_all(Op::EnsureImage, 1..=u32::MAX, none));
    let tree = world.spawn().await;
    let failed = tree.create(CreateRequest { start: true, ..named("demo") }).await;
    assert!(matches!(failed, Err(Failure::Faulted(Fault::Image { .. }))), "{failed:?}");
    tree.wait_until_gone("demo").await;
    assert!(world.engine.containers().is_empty());
}

#[tokio::test]
async fn a_slow_engine_is_waited_for() {
    let slow = Trouble::Delay(Duration::from_millis(300));
    let world = World::with(FaultPlan::none().at(Op::Start, 1, When::After, slow));
    let tree = world.spawn().await;
    tree.running("demo").await;
}

#[tokio::test]
async fn what_happens_behind_our_back_has_its_outcome() {
    for (what, outcome, is_same_container) in [
        (Mischief::Dies, Phase::Running, true),
        (Mischief::RunsOutOfMemory, Phase::Running, true),
        (Mischief::IsRemoved, Phase::Running, false),
        (Mischief::IsPaused, Phase::Paused, true),
    ] {
        let world = World::new();
        let tree = world.spawn().await;
        let before = tree.running("demo").await;
        world.engine.behind(&before.project.sandbox, what);
        let after = wait_for_more(&tree, &before, outcome).await;
        let id = |view: &View| view.project.container.as_ref().map(|it| it.id.clone());
        assert_eq!(id(&before) == id(&after), is_same_container, "{what:?}");
        assert_eq!(world.engine.containers().len(), 1, "{what:?}");
        world.store.assert_sound();
    }
}

#[tokio::test]
async fn a_sandbox_that_is_thawed_behind_our_back_runs() {
    let world = World::new();
    let tree = world.spawn().await;
    let paused = tree.paused("demo").await;
    world.engine.behind(&paused.project.sandbox, Mischief::IsResumed);
    tree.wait_for("demo", Phase::Running).await;
}

/// Waits until the project has made further moves and is in a phase.
async fn wait_for_more(tree: &Running, before: &View, phase: Phase) -> View {
    let id = before.project.key.id.as_str().to_owned();
    sandtree_testkit::until(&format!("{id} to be {phase} again"), async || {
        let now = tree.get(&id).await.expect("the project").project.clone();
        now.generation > before.project.generation && now.phase == phase
    })
    .await;
    tree.get(&id).await.expect("the project")
}

#[tokio::test]
async fn a_container_that_is_removed_right_before_its_start_is_made_anew() {
    // `docker rm --force` is seen as a death first: the removal overtakes the new start.
    for nth in [1, 2] {
        let removed = Trouble::Behind(Mischief::IsRemoved);
        let world = World::with(FaultPlan::none().at(Op::Start, nth, When::Before, removed));
        let tree = world.spawn().await;
        tree.stopped("demo").await;
        let started = tree.operate("demo", Operation::Start).await;
        let view = started.unwrap_or_else(|failure| panic!("start {nth}: {failure}"));
        if nth == 2 {
            world.engine.behind(&view.project.sandbox, Mischief::Dies);
            wait_for_more(&tree, &view, Phase::Running).await;
        }
        assert_runs_once(&world, &view.project.sandbox);
        world.store.assert_sound();
    }
}

#[tokio::test]
async fn a_container_that_is_lost_too_often_is_given_up() {
    let world = World::new().profile(|profile| profile.restarts_max = 2);
    let tree = world.spawn().await;
    let mut view = tree.running("demo").await;
    for _ in 0..2 {
        world.engine.behind(&view.project.sandbox, Mischief::Dies);
        view = wait_for_more(&tree, &view, Phase::Running).await;
    }
    world.engine.behind(&view.project.sandbox, Mischief::Dies);
    let failed = tree.wait_for("demo", Phase::Failed).await;
    assert!(failed.project.reason.contains("too often"), "{}", failed.project.reason);
    assert_eq!(world.engine.count(Op::Start), 3);

    // A start that somebody asks for is a start all the same.
    tree.operate("demo", Operation::Start).await.expect("a start");
}

#[tokio::test]
async fn losses_long_ago_do_not_count() {
    let world = World::new().profile(|profile| profile.restarts_max = 1);
    let tree = world.spawn().await;
    let mut view = tree.running("demo").await;
    for _ in 0..3 {
        world.engine.behind(&view.project.sandbox, Mischief::Dies);
        view = wait_for_more(&tree, &view, Phase::Running).await;
        world.clock.advance(Duration::from_secs(601));
    }
}

#[tokio::test]
async fn what_happened_while_the_engine_was_away_is_found_when_it_is_back() {
    // One that is frozen keeps its link: nothing but the taking of stock can find it.
    for (what, outcome) in [(Mischief::Dies, Phase::Running), (Mischief::IsPaused, Phase::Paused)] {
        let world = World::new();
        let tree = world.spawn().await;
        let before = tree.running("demo").await;
        world.engine.go_away();
        world.engine.behind(&before.project.sandbox, what);
        world.engine.come_back();
        let after = wait_for_more(&tree, &before, outcome).await;
        assert_eq!(world.engine.containers().len(), 1, "{what:?}: {after:?}");
        world.store.assert_sound();
    }
}

#[tokio::test]
async fn a_lost_container_spares_its_neighbour() {
    let world = World::new().profile(|profile| profile.restarts_max = 0);
    let tree = world.spawn().await;
    let (left, right) = (tree.running("left").await, tree.running("right").await);
    world.engine.behind(&left.project.sandbox, Mischief::Dies);
    tree.wait_for("left", Phase::Failed).await;
    let after = tree.get("right").await.expect("the neighbour");
    assert_eq!(after.project.generation, right.project.generation);
}

#[tokio::test]
async fn an_adapter_that_panics_disturbs_its_own_request_only() {
    let plan = FaultPlan::none().at(Op::Create, 2, When::Before, Trouble::Panic);
    let world = World::with(plan);
    let tree = world.spawn().await;
    let right = tree.running("right").await;
    tree.stopped("left").await;
    let failed = tree.operate("left", Operation::Start).await;
    assert!(matches!(failed, Err(Failure::Faulted(_))), "{failed:?}");
    assert_eq!(tree.get("right").await.expect("the neighbour").project, right.project);
    let again = tree.operate("left", Operation::Start).await.expect("a start");
    assert_runs_once(&world, &again.project.sandbox);
}

#[tokio::test]
async fn a_panic_of_the_adapter_does_not_end_the_watch_of_the_engine() {
    let plan = FaultPlan::none().at(Op::Events, 1, When::Before, Trouble::Panic);
    let world = World::with(plan);
    let tree = world.spawn().await;
    // Before there is a project: the taking of stock that follows would talk to its init,
    // and fail it if that is frozen in the middle.
    world.engine.reached(Op::Events, 2).await;
    let view = tree.running("demo").await;
    world.engine.behind(&view.project.sandbox, Mischief::IsPaused);
    tree.wait_for("demo", Phase::Paused).await;
}
