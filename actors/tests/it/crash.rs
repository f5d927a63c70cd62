//! A tree that crashes at any point, and the next one that finishes its work.

use sandtree_model::Move;
use sandtree_testkit::{FaultPlan, LONG, Op, StoreFault, StorePlan, When, until};

use crate::world::*;

/// What was going on when the tree crashed.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// A call of the engine that had not been done, or had been.
    Engine(Op, When),
    /// A transition that had not been committed, or had been.
    Store(Move, When),
}

use When::{After, Before};

/// An operation, the moments in which it can be cut off, and where it leads. Before
/// its intent is committed nothing has happened.
struct Case {
    operation: Operation,
    intent: Move,
    moments: &'static [Moment],
    outcome: Phase,
}

const CASES: &[Case] = &[
    Case {
        operation: Operation::Start,
        intent: Move::StartAsked,
        moments: &[
            Moment::Store(Move::StartAsked, After),
            Moment::Engine(Op::EnsureImage, Before),
            Moment::Engine(Op::Create, Before),
            Moment::Engine(Op::Create, After),
            Moment::Engine(Op::Start, Before),
            Moment::Engine(Op::Start, After),
            Moment::Store(Move::InitReady, Before),
            Moment::Store(Move::InitReady, After),
        ],
        outcome: Phase::Running,
    },
    Case {
        operation: Operation::Pause,
        intent: Move::PauseAsked,
        moments: &[
            Moment::Store(Move::PauseAsked, After),
            Moment::Engine(Op::Pause, Before),
            Moment::Engine(Op::Pause, After),
            Moment::Store(Move::Paused, Before),
            Moment::Store(Move::Paused, After),
        ],
        outcome: Phase::Paused,
    },
    Case {
        operation: Operation::Resume,
        intent: Move::ResumeAsked,
        moments: &[
            Moment::Store(Move::ResumeAsked, After),
            Moment::Engine(Op::Resume, Before),
            Moment::Engine(Op::Resume, After),
            Moment::Store(Move::Resumed, Before),
            Moment::Store(Move::Resumed, After),
        ],
        outcome: Phase::Running,
    },
    Case {
        operation: Operation::Stop,
        intent: Move::StopAsked,
        moments: &[
            Moment::Store(Move::StopAsked, After),
            Moment::Engine(Op::Stop, Before),
            Moment::Engine(Op::Stop, After),
            Moment::Store(Move::Stopped, Before),
            Moment::Store(Move::Stopped, After),
        ],
        outcome: Phase::Stopped,
    },
    Case {
        operation: Operation::Restart,
        intent: Move::StopAsked,
        moments: &[
            Moment::Store(Move::StopAsked, After),
            Moment::Engine(Op::Stop, After),
            Moment::Store(Move::Stopped, Before),
            Moment::Store(Move::Stopped, After),
            Moment::Store(Move::StartAsked, After),
            Moment::Engine(Op::Start, After),
            Moment::Store(Move::InitReady, Before),
        ],
        outcome: Phase::Running,
    },
    Case {
        operation: DELETE,
        intent: Move::DeleteAsked,
        moments: &[
            Moment::Store(Move::DeleteAsked, After),
            Moment::Engine(Op::Remove, Before),
            Moment::Engine(Op::Remove, After),
            Moment::Store(Move::Removed, Before),
            Moment::Store(Move::Removed, After),
        ],
        outcome: Phase::Deleted,
    },
];

async fn cut_off_at_every_moment(operation: Operation) {
    let case = CASES.iter().find(|case| case.operation == operation).expect("a case");
    for moment in case.moments {
        let world = World::new();
        let view = crash_at(&world, case.operation, *moment).await;
        let tree = world.spawn().await;
        settles(&world, &tree, &view, case.outcome, &format!("{moment:?}")).await;
    }
}

/// Runs a tree until it is at this moment of the operation, and crashes it there.
async fn crash_at(world: &World, operation: Operation, moment: Moment) -> View {
    let tree = world.spawn().await;
    let view = match operation {
        Operation::Start => tree.stopped("demo").await,
        Operation::Resume => tree.paused("demo").await,
        Operation::Stop
        | Operation::Restart
        | Operation::Pause
        | Operation::Discard
        | Operation::Delete { .. } => tree.running("demo").await,
    };
    match moment {
        Moment::Engine(op, when) => {
            let nth = u32::try_from(world.engine.count(op)).expect("few") + 1;
            world.engine.plan(FaultPlan::none().hang(op, nth, when));
        }
        Moment::Store(by, when) => {
            world.store.plan(StorePlan::none().at(by, when, StoreFault::Hang));
        }
    }
    let _cut_off = tree.begin("demo", operation);
    match moment {
        Moment::Engine(..) => world.engine.hangs().await,
        Moment::Store(..) => world.store.hangs().await,
    }
    tree.crash().await;
    world.engine.plan(FaultPlan::none());
    world.store.plan(StorePlan::none());
    view
}

/// That a tree brings the project where it was asked to be, by itself.
async fn settles(world: &World, tree: &Running, view: &View, outcome: Phase, moment: &str) {
    until(&format!("{outcome} after a crash at {moment}"), async || {
        world.store.row(&view.project.uid).phase == outcome
    })
    .await;
    let state = world.engine.state_of(&view.project.sandbox);
    if outcome == Phase::Deleted {
        assert!(world.engine.containers().is_empty(), "{moment}: a container is left");
    } else if outcome == Phase::Stopped {
        let is_stopped = matches!(state, Some(ContainerState::NotRunning { .. }));
        assert!(is_stopped, "{moment}: {state:?}");
    } else if outcome == Phase::Paused {
        assert_eq!(state, Some(ContainerState::Paused), "{moment}");
    } else {
        assert_runs_once(world, &view.project.sandbox);
        let waiting = tree
            .call(|tree| async move { tree.wait_for(&key("demo"), Phase::Running, LONG).await });
        waiting.await.expect("the project");
    }
    world.store.assert_sound();
}

#[tokio::test]
async fn a_start_that_is_cut_off_anywhere_is_finished() {
    cut_off_at_every_moment(Operation::Start).await;
}

#[tokio::test]
async fn a_pause_that_is_cut_off_anywhere_is_finished() {
    cut_off_at_every_moment(Operation::Pause).await;
}

#[tokio::test]
async fn a_resume_that_is_cut_off_anywhere_is_finished() {
    cut_off_at_every_moment(Operation::Resume).await;
}

#[tokio::test]
async fn a_stop_that_is_cut_off_anywhere_is_finished() {
    cut_off_at_every_moment(Operation::Stop).await;
}

#[tokio::test]
async fn a_restart_that_is_cut_off_anywhere_ends_in_a_running_project() {
    cut_off_at_every_moment(Operation::Restart).await;
}

#[tokio::test]
async fn a_delete_that_is_cut_off_anywhere_is_finished() {
    cut_off_at_every_moment(DELETE).await;
}

#[tokio::test]
async fn an_operation_that_is_cut_off_before_its_intent_never_happened() {
    for case in CASES {
        let world = World::new();
        let view = crash_at(&world, case.operation, Moment::Store(case.intent, Before)).await;
        let tree = world.spawn().await;
        let after = tree.get("demo").await.expect("the project");
        assert_eq!(after.project.phase, view.project.phase, "{:?}", case.operation);
        assert_eq!(after.project.generation, view.project.generation, "{:?}", case.operation);
    }
}

#[tokio::test]
async fn a_create_that_is_cut_off_is_finished() {
    for (start, by, outcome) in
        [(false, Move::Created, Phase::Stopped), (true, Move::StartAsked, Phase::Running)]
    {
        for when in [Before, After] {
            let world = World::new();
            let tree = world.spawn().await;
            world.store.plan(StorePlan::none().at(by, when, StoreFault::Hang));
            let request = CreateRequest { start, ..named("demo") };
            let _cut_off =
                tree.begin_call(|tree| async move { tree.create(&tester(), request).await });
            world.store.hangs().await;
            tree.crash().await;
            let tree = world.spawn().await;
            let view = tree.wait_for("demo", outcome).await;
            assert_eq!(world.engine.containers().len(), usize::from(start), "{when:?}");
            assert_eq!(world.store.phases(&view.project.uid)[0], Phase::Creating);
            world.store.assert_sound();
        }
    }
}

#[tokio::test]
async fn a_running_sandbox_is_adopted_as_it_is() {
    for is_crash in [true, false] {
        let world = World::new();
        let tree = world.spawn().await;
        let before = tree.running("demo").await;
        if is_crash {
            tree.crash().await;
        } else {
            tree.shut_down().await;
        }
        assert_runs_once(&world, &before.project.sandbox);
        let tree = world.spawn().await;
        let init = world.engine.init(&before.project.sandbox);
        init.until("a second handshake", |init| init.handshakes() == 2).await;
        let after = tree.wait_for("demo", Phase::Running).await;
        assert_eq!(after.project.generation, before.project.generation, "nothing moved");
        assert_eq!(world.engine.count(Op::Start), 1, "it was not started again");
    }
}

#[tokio::test]
async fn a_request_about_a_project_that_was_not_reconciled_yet_waits_for_that_project() {
    let world = World::new();
    let tree = world.spawn().await;
    for id in ["one", "two", "three"] {
        tree.running(id).await;
    }
    tree.crash().await;
    let tree = world.spawn().await;
    let stopped = tree.operate("two", Operation::Stop).await.expect("a stop at once");
    assert_eq!(stopped.project.phase, Phase::Stopped);
    for id in ["one", "three"] {
        tree.wait_for(id, Phase::Running).await;
    }
}

#[tokio::test]
async fn what_happened_while_no_tree_was_there_is_found() {
    use sandtree_testkit::Mischief;
    for (what, outcome) in [
        (Mischief::Dies, Phase::Running),
        (Mischief::IsRemoved, Phase::Running),
        (Mischief::IsPaused, Phase::Paused),
    ] {
        let world = World::new();
        let tree = world.spawn().await;
        let view = tree.running("demo").await;
        tree.crash().await;
        world.engine.behind(&view.project.sandbox, what);
        let tree = world.spawn().await;
        until(&format!("{outcome} after {what:?}"), async || {
            let row = world.store.row(&view.project.uid);
            row.phase == outcome && row.generation > view.project.generation
        })
        .await;
        tree.wait_for("demo", outcome).await;
        assert_eq!(world.engine.containers().len(), 1);
        world.store.assert_sound();
    }
}

#[tokio::test]
async fn a_tree_that_starts_while_the_engine_is_away_settles_when_it_is_back() {
    let world = World::new();
    let tree = world.spawn().await;
    let before = tree.running("demo").await;
    tree.crash().await;
    world.engine.go_away();
    let tree = world.spawn().await;
    let reading = tree.get("demo").await.expect("the row, at once");
    assert_eq!(reading.project.phase, Phase::Running);
    world.engine.come_back();
    let init = world.engine.init(&before.project.sandbox);
    init.until("a second handshake", |init| init.handshakes() >= 2).await;
    tree.operate("demo", Operation::Stop).await.expect("a stop");
}

#[tokio::test]
async fn a_sandbox_whose_socket_cannot_be_opened_is_settled_as_soon_as_it_can() {
    let world = World::new();
    let tree = world.spawn().await;
    let before = tree.running("demo").await;
    tree.crash().await;
    let sandboxes = world.dir.path().join("sandboxes");
    let home = sandboxes.join(before.project.sandbox.as_str()).join("home");
    std::fs::rename(&home, home.with_extension("away")).expect("a home that is moved away");
    std::fs::write(&home, "in its place").expect("a file");
    let tree = world.spawn().await;
    let refused = tree.operate("demo", Operation::Pause).await;
    assert!(matches!(refused, Err(Failure::Faulted(Fault::Disk(_)))), "{refused:?}");
    std::fs::remove_file(&home).expect("a file that is removed");
    std::fs::rename(home.with_extension("away"), &home).expect("a home that is back");
    let init = world.engine.init(&before.project.sandbox);
    init.until("a second handshake", |init| init.handshakes() == 2).await;
    let after = tree.get("demo").await.expect("the project");
    assert_eq!(after.project.generation, before.project.generation, "nothing moved");
}
