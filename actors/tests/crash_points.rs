//! Every crash point of `src/crash.rs`, visited and recovered from.
//!
//! A program of its own: points belong to the whole process.

#[path = "it/world.rs"]
#[expect(dead_code, unused_imports, reason = "shared with `it`, which uses all of it")]
mod world;

use std::collections::BTreeMap;

use sandtree_actors::ViewRequest;
use sandtree_actors::crash::{self, HANG, Point};
use sandtree_model::durations::Span;
use sandtree_model::process::WhenFull;
use sandtree_model::{ProcessSpec, RestartPolicy};
use sandtree_testkit::until;
use sandtree_wire::Job;
use sandtree_workspace::{Parents, WorkspacePath};

use world::*;

/// What leads past a point, and what has to be true once the next tree has recovered.
enum Way {
    /// A project that is made and started.
    Create,
    /// An operation on a project in this phase, and the phase it leads to.
    Operate(Phase, Operation, Phase),
    /// A process that is put.
    Process,
    /// A line that the process writes.
    Output,
    /// A terminal that is opened.
    Shell,
    /// A directory that is made in the workspace.
    File,
}

/// A point without a way is a point that nobody has shown to be survived.
fn way_to(point: Point) -> Way {
    use Phase::{Deleted, Paused, Running, Stopped};
    match point {
        Point::WorkspaceMade => Way::Create,
        // Nothing was written: it never happened.
        Point::BeforeCommit => Way::Operate(Stopped, Operation::Start, Stopped),
        Point::AfterCommit
        | Point::ContainerCreated
        | Point::TokenWritten
        | Point::ContainerStarted
        | Point::Linked => Way::Operate(Stopped, Operation::Start, Running),
        Point::ContainerPaused => Way::Operate(Running, Operation::Pause, Paused),
        Point::ContainerResumed => Way::Operate(Paused, Operation::Resume, Running),
        Point::ContainerStopped => Way::Operate(Running, Operation::Stop, Stopped),
        Point::ContainerRemoved | Point::FilesRemoved => Way::Operate(Running, DELETE, Deleted),
        Point::ProcessRecorded | Point::ProcessStarted => Way::Process,
        Point::OutputDurable => Way::Output,
        Point::ShellStarted => Way::Shell,
        Point::FileWritten => Way::File,
    }
}

#[tokio::test]
async fn every_crash_point_is_visited_and_recovered_from() {
    for point in Point::ALL {
        let world = World::new();
        visit(&world, *point).await;
    }
    assert_eq!(crash::reached(), Point::ALL, "each was reached once, in its turn");
}

async fn visit(world: &World, point: Point) {
    let tree = world.spawn().await;
    let way = way_to(point);
    match way {
        Way::Create => {}
        Way::Operate(Phase::Stopped, ..) => drop(tree.stopped("demo").await),
        Way::Operate(Phase::Paused, ..) => drop(tree.paused("demo").await),
        Way::Operate(..) | Way::Process | Way::Output | Way::Shell | Way::File => {
            drop(tree.running("demo").await);
        }
    }
    crash::arm(point, 0, HANG).expect("a build with crash points");
    let visited = crash::reached().len();
    begin(&tree, &way);
    until(point.name(), async || crash::reached().len() > visited).await;
    tree.crash().await;
    let tree = world.spawn().await;
    recovered(world, &tree, &way, point.name()).await;
    world.store.assert_sound();
}

/// Begins what will be cut off.
fn begin(tree: &Running, way: &Way) {
    match way {
        Way::Create => {
            let request = CreateRequest { start: true, ..named("demo") };
            drop(tree.begin_call(|tree| async move { tree.create(&tester(), request).await }));
        }
        Way::Operate(_, operation, _) => drop(tree.begin("demo", *operation)),
        Way::Process | Way::Output => {
            drop(tree.begin_call(|tree| async move {
                tree.put_process(&key("demo"), counting()).await
            }));
        }
        Way::Shell => {
            drop(tree.begin_call(|tree| async move {
                tree.open_terminal(&key("demo"), view()).await.map(drop)
            }));
        }
        Way::File => drop(tree.begin_call(|tree| make_directory(tree, "made"))),
    }
}

/// A process that says a hundred lines. It never comes back by itself: what was asked for
/// has to run for having been asked for.
fn counting() -> ProcessSpec {
    ProcessSpec {
        argv: ["count", "100"].map(Into::into).to_vec(),
        cwd: None,
        env: BTreeMap::new(),
        restart: RestartPolicy::Never,
        stop_grace: Span::from_secs(1),
        when_full: WhenFull::Gap,
    }
}

fn view() -> ViewRequest {
    ViewRequest { cols: Some(80), rows: Some(24), after: None, leave_grace: None }
}

async fn make_directory(tree: Tree, name: &'static str) {
    let files = tree.files(&key("demo")).await.expect("the files");
    let path = WorkspacePath::parse(name).expect("a path");
    let made = files.write(move |workspace| (workspace.mkdir(&path, Parents::Require), Vec::new()));
    made.await.expect("a directory");
}

/// That the next tree has everything as it was asked for, or as if never asked.
async fn recovered(world: &World, tree: &Running, way: &Way, point: &str) {
    match way {
        Way::Create => arrives(world, tree, Phase::Running, point).await,
        Way::Operate(_, operation, phase) => {
            arrives(world, tree, *phase, point).await;
            // And it may be asked again.
            if *phase != Phase::Deleted {
                tree.operate("demo", *operation).await.unwrap_or_else(|it| panic!("{point}: {it}"));
            }
        }
        Way::Process | Way::Output => {
            arrives(world, tree, Phase::Running, point).await;
            every_line_is_there_once(world, tree, point).await;
        }
        Way::Shell => {
            arrives(world, tree, Phase::Running, point).await;
            let init = world.engine.init(&tree.get("demo").await.expect("it").project.sandbox);
            let shells = init.jobs().iter().filter(|job| job.job == Job::Terminal).count();
            assert_eq!(shells, 1, "{point}");
            let shown = async || tree.get("demo").await.expect("it").terminal.is_some();
            until(&format!("{point}: the shell that was started"), shown).await;
        }
        Way::File => {
            arrives(world, tree, Phase::Running, point).await;
            let sandbox = tree.get("demo").await.expect("it").project.sandbox.clone();
            let made = world.dir.path().join(format!("sandboxes/{sandbox}/workspace/made"));
            assert!(made.is_dir(), "{point}: what was written is gone");
            tree.call(|tree| make_directory(tree, "next")).await;
        }
    }
}

/// That the project comes to this phase by itself, and the engine with it.
async fn arrives(world: &World, tree: &Running, phase: Phase, point: &str) {
    if phase == Phase::Deleted {
        tree.wait_until_gone("demo").await;
        assert!(world.engine.containers().is_empty(), "{point}: a container is left");
        return;
    }
    let view = tree.wait_for("demo", phase).await;
    let containers = world.engine.containers();
    assert!(containers.len() <= 1, "{point}: {containers:?}");
    if phase == Phase::Running {
        assert_runs_once(world, &view.project.sandbox);
        // Linked, too: whoever leases waits for the link.
        let leased = tree.call(|tree| async move { tree.sandbox(&key("demo")).await.map(drop) });
        leased.await.unwrap_or_else(|failure| panic!("{point}: {failure}"));
    }
}

/// The one process runs, or has been started again, and its log is whole.
async fn every_line_is_there_once(world: &World, tree: &Running, point: &str) {
    let view = tree.get("demo").await.expect("the project");
    let init = world.engine.init(&view.project.sandbox);
    init.until(&format!("{point}: the process"), |init| init.jobs().len() == 1).await;
    let expected: String = (0..100).map(|line| format!("line {line}\n")).collect();
    assert_eq!(tree.log("demo", expected.len()).await, expected, "{point}");
}
