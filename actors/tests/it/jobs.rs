//! Commands, the process and the terminal, and what of them outlives a tree.

use std::collections::BTreeMap;

use bytes::Bytes;
use sandtree_actors::{ExecOutput, ProcessState, TerminalItem, ViewRequest, Viewer};
use sandtree_model::durations::Span;
use sandtree_model::process::WhenFull;
use sandtree_model::{ExitStatus, ProcessSpec, RestartPolicy};
use sandtree_testkit::{FaultPlan, InitTrouble, LONG, until, within};
use sandtree_wire::{ExecSpec, Job};

use crate::world::*;

fn command(argv: &[&str]) -> ExecSpec {
    let argv = argv.iter().map(ToString::to_string).collect();
    ExecSpec { argv, ..ExecSpec::default() }
}

#[derive(Debug, Default, PartialEq)]
struct Output {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    status: Option<ExitStatus>,
    timed_out: bool,
}

async fn run(tree: Tree, spec: ExecSpec) -> Answer<Output> {
    let sandbox = tree.sandbox(&key("demo")).await?;
    let mut exec = sandbox.exec(spec).await?;
    let mut output = Output::default();
    loop {
        match exec.next().await? {
            ExecOutput::Started { .. } => {}
            ExecOutput::Stdout(bytes) => output.stdout.extend_from_slice(&bytes),
            ExecOutput::Stderr(bytes) => output.stderr.extend_from_slice(&bytes),
            ExecOutput::Failed(_) => return Ok(output),
            ExecOutput::Exited { status, timed_out } => {
                (output.status, output.timed_out) = (Some(status), timed_out);
                return Ok(output);
            }
        }
    }
}

#[tokio::test]
async fn commands_are_run_and_their_streams_kept_apart() {
    let world = World::new();
    let tree = world.spawn().await;
    tree.running("demo").await;
    let code = |code| Some(ExitStatus::Code(code));
    for (argv, stdout, stderr, status) in [
        (&["echo", "a", "b"][..], "a b\n", "", code(0)),
        (&["complain", "c"], "", "c\n", code(0)),
        (&["exit", "42"], "", "", code(42)),
        (&["no-such-program"], "", "", None),
    ] {
        let spec = command(argv);
        let output = tree.call(|tree| run(tree, spec)).await.expect("a command");
        assert_eq!(output.stdout, stdout.as_bytes(), "{argv:?}");
        assert_eq!(output.stderr, stderr.as_bytes(), "{argv:?}");
        assert_eq!(output.status, status, "{argv:?}");
    }
    let slow = ExecSpec { timeout_ms: Some(50), ..command(&["hang"]) };
    let output = tree.call(|tree| run(tree, slow)).await.expect("a command");
    assert!(output.timed_out);
    assert_eq!(output.status, Some(ExitStatus::Signal(9)));
}

#[tokio::test]
async fn an_older_init_runs_what_it_can() {
    let world = World::with(FaultPlan::none().init(1..=1, InitTrouble::Old));
    let tree = world.spawn().await;
    tree.running("demo").await;
    let otherwise = command(&["echo", "otherwise"]).argv;
    let spec = ExecSpec { argv_otherwise: otherwise, ..command(&["echo", "first"]) };
    let output = tree.call(|tree| run(tree, spec)).await.expect("a command");
    assert_eq!(output.stdout, b"otherwise\n", "it knows one program");
    let spec = ExecSpec { tty: true, ..command(&["echo", "a"]) };
    let refused = tree.call(|tree| run(tree, spec)).await;
    assert!(matches!(refused, Err(Failure::Refused(Refusal::Conflict { .. }))), "{refused:?}");
}

#[tokio::test]
async fn much_output_comes_whole() {
    let world = World::new();
    let tree = world.spawn().await;
    tree.running("demo").await;
    let bytes = 3_000_001;
    let spec = command(&["flood", &bytes.to_string()]);
    let output = tree.call(|tree| run(tree, spec)).await.expect("a command");
    assert_eq!(output.stdout.len(), bytes);
}

#[tokio::test]
async fn a_command_that_nobody_waits_for_is_given_up() {
    let world = World::new();
    let tree = world.spawn().await;
    let view = tree.running("demo").await;
    let init = world.engine.init(&view.project.sandbox);
    let waiting = tree.begin_call(|tree| run(tree, command(&["hang"])));
    init.until("the command", |init| init.execs() == 1).await;
    waiting.abort();
    init.until("its end", |init| init.execs() == 0).await;
}

#[tokio::test]
async fn one_command_too_many_is_busy_and_then_there_is_room() {
    let mut world = World::new();
    world.settings.execs_max = 4;
    let tree = world.spawn().await;
    let view = tree.running("demo").await;
    let init = world.engine.init(&view.project.sandbox);
    let hanging: Vec<_> =
        (0..4).map(|_| tree.begin_call(|tree| run(tree, command(&["hang"])))).collect();
    init.until("four commands", |init| init.execs() == 4).await;
    let fifth = tree.call(|tree| run(tree, command(&["true"]))).await;
    let Err(Failure::Refused(busy @ Refusal::Busy { .. })) = fifth else { panic!("{fifth:?}") };
    assert!(busy.to_string().starts_with("4 commands in one sandbox"), "{busy}");
    hanging[0].abort();
    until("room for a command", async || {
        tree.call(|tree| run(tree, command(&["true"]))).await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn commands_need_a_running_sandbox() {
    let world = World::new();
    let tree = world.spawn().await;
    tree.paused("demo").await;
    for operation in [None, Some(Operation::Stop)] {
        if let Some(operation) = operation {
            tree.operate("demo", operation).await.expect("an operation");
        }
        let refused = tree.call(|tree| run(tree, command(&["true"]))).await;
        let is_refused = matches!(refused, Err(Failure::Refused(Refusal::WrongPhase { .. })));
        assert!(is_refused, "{refused:?}");
    }
}

fn process(argv: &[&str], restart: RestartPolicy) -> ProcessSpec {
    ProcessSpec {
        argv: argv.iter().map(|word| (*word).into()).collect(),
        cwd: None,
        env: BTreeMap::new(),
        restart,
        stop_grace: Span::from_secs(1),
        when_full: WhenFull::Gap,
    }
}

async fn put(tree: &Running, spec: ProcessSpec) -> u64 {
    let put = tree.call(|tree| async move { tree.put_process(&key("demo"), spec).await });
    put.await.expect("a process").0.record.epoch
}

#[tokio::test]
async fn the_process_outlives_the_tree_and_its_log_has_every_line_once() {
    let world = World::new();
    let tree = world.spawn().await;
    let view = tree.running("demo").await;
    put(&tree, process(&["count", "100"], RestartPolicy::Never)).await;
    let expected: String = (0..100).map(|line| format!("line {line}\n")).collect();
    assert_eq!(tree.log("demo", expected.len()).await, expected);
    let init = world.engine.init(&view.project.sandbox);
    let pid = init.jobs()[0].pid;

    tree.crash().await;
    init.say(Job::Process, b"while nobody listened\n");
    let tree = world.spawn().await;
    let expected = expected + "while nobody listened\n";
    assert_eq!(tree.log("demo", expected.len()).await, expected);
    init.say(Job::Process, b"and after\n");
    let expected = expected + "and after\n";
    assert_eq!(tree.log("demo", expected.len()).await, expected);
    assert_eq!(init.jobs()[0].pid, pid);
    let found = tree.get("demo").await.expect("the project").process.expect("its process");
    assert_eq!(found.pid, Some(pid));
}

#[tokio::test]
async fn there_is_one_process_and_another_spec_replaces_it() {
    let world = World::new();
    let tree = world.spawn().await;
    let view = tree.running("demo").await;
    let init = world.engine.init(&view.project.sandbox);
    let first = put(&tree, process(&["serve"], RestartPolicy::Never)).await;
    let same = put(&tree, process(&["serve"], RestartPolicy::Never)).await;
    assert_eq!(first, same, "the same spec is the same process");
    let second = put(&tree, process(&["serve", "more"], RestartPolicy::Never)).await;
    assert!(second > first);
    assert_eq!(init.jobs().len(), 1);
    assert_eq!(init.jobs()[0].epoch, second);
}

#[tokio::test]
async fn a_stop_that_found_no_process_is_in_nobodys_way() {
    let world = World::new();
    let tree = world.spawn().await;
    tree.stopped("demo").await;
    let none = tree.call(|tree| async move { tree.stop_process(&key("demo")).await }).await;
    assert!(matches!(none, Err(Failure::Refused(Refusal::NotFound { .. }))), "{none:?}");
    tree.operate("demo", Operation::Start).await.expect("a start");
    let spec = process(&["serve"], RestartPolicy::Never);
    let put = tree.call(|tree| async move { tree.put_process(&key("demo"), spec).await }).await;
    assert_eq!(put.expect("a process").0.state, ProcessState::Running);
}

#[tokio::test]
async fn a_process_that_fails_is_started_again_if_that_was_asked_for() {
    let world = World::new();
    let tree = world.spawn().await;
    let view = tree.running("demo").await;
    let init = world.engine.init(&view.project.sandbox);
    let first = put(&tree, process(&["serve"], RestartPolicy::OnFailure)).await;
    init.end(Job::Process, sandtree_wire::ExitStatus::Code(1));
    init.until("a second start", |init| {
        init.jobs().iter().any(|job| job.epoch > first && job.ended.is_none())
    })
    .await;
    init.end(Job::Process, sandtree_wire::ExitStatus::Code(0));
    until("the process to have ended well", async || {
        let process = tree.get("demo").await.expect("it").process.expect("a process");
        process.state == ProcessState::Ended(ExitStatus::Code(0))
    })
    .await;
    until("its end to be recorded", async || {
        let record = world.store.row(&view.project.uid).process.expect("a record");
        !record.wanted && record.ended.is_some_and(|(status, _)| status.is_success())
    })
    .await;
}

#[tokio::test]
async fn a_process_with_a_restart_policy_comes_back_with_its_sandbox() {
    let world = World::new();
    let tree = world.spawn().await;
    let view = tree.running("demo").await;
    let first = put(&tree, process(&["serve"], RestartPolicy::OnFailure)).await;
    world.engine.behind(&view.project.sandbox, sandtree_testkit::Mischief::Dies);
    until("the process in a new epoch", async || {
        let process = tree.get("demo").await.expect("it").process.expect("a process");
        process.record.epoch > first && process.pid.is_some()
    })
    .await;
}

const SIZE: ViewRequest =
    ViewRequest { cols: Some(80), rows: Some(24), after: None, leave_grace: None };

async fn view(tree: &Running) -> Viewer {
    let opened = tree.call(|tree| async move { tree.open_terminal(&key("demo"), SIZE).await });
    opened.await.map_err(|failure| failure.to_string()).expect("a terminal")
}

/// Reads until the screen shows `text`. What repaints a screen may stand between two
/// pieces of output, so the bytes alone do not tell.
async fn read_until(viewer: &mut Viewer, text: &str) {
    let side = |count: Option<u16>| std::num::NonZeroU16::new(count?);
    let [rows, cols] = [SIZE.rows, SIZE.cols].map(|count| side(count).expect("a size above zero"));
    let mut screen = vt100::Parser::new(rows, cols, 0);
    within(LONG, &format!("{text:?} in the terminal"), async {
        while !screen.screen().contents().contains(text) {
            match viewer.next().await.expect("a terminal that goes on") {
                TerminalItem::Bytes(bytes) => screen.process(&bytes),
                TerminalItem::Ready { .. } | TerminalItem::Gap { .. } => {}
                TerminalItem::Exited(status) => panic!("ended with {status:?}"),
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_shell_that_is_to_go_with_its_viewers_goes_with_the_last() {
    let world = World::new();
    let tree = world.spawn().await;
    tree.running("demo").await;
    let asked = ViewRequest { leave_grace: Some(std::time::Duration::ZERO), ..SIZE };
    let open = || async {
        let opened =
            tree.call(move |tree| async move { tree.open_terminal(&key("demo"), asked).await });
        opened.await.map_err(|failure| failure.to_string()).expect("a terminal")
    };
    let (first, mut second) = (open().await, open().await);
    drop(first);
    second.input().write(Bytes::from_static(b"still here")).await.expect("keystrokes");
    read_until(&mut second, "still here").await;
    drop(second);
    until("the shell to end", async || {
        tree.get("demo").await.expect("the project").terminal.is_none()
    })
    .await;
}

#[tokio::test]
async fn a_viewer_of_a_deleted_project_is_not_left_waiting() {
    let world = World::new();
    let tree = world.spawn().await;
    tree.running("demo").await;
    let mut viewer = view(&tree).await;
    tree.operate("demo", Operation::Delete { keep_files: false }).await.expect("a deletion");
    within(LONG, "the viewer's end", async { while viewer.next().await.is_some() {} }).await;
}

#[tokio::test]
async fn two_viewers_see_one_shell() {
    let world = World::new();
    let tree = world.spawn().await;
    let project = tree.running("demo").await;
    let (mut left, mut right) = (view(&tree).await, view(&tree).await);
    left.input().write(Bytes::from_static(b"hello")).await.expect("keystrokes");
    read_until(&mut left, "hello").await;
    read_until(&mut right, "hello").await;
    assert_eq!(world.engine.init(&project.project.sandbox).jobs().len(), 1);
}

#[tokio::test]
async fn the_shell_outlives_the_tree_and_its_screen_too() {
    let world = World::new();
    let tree = world.spawn().await;
    let project = tree.running("demo").await;
    let mut viewer = view(&tree).await;
    viewer.input().write(Bytes::from_static(b"before")).await.expect("keystrokes");
    read_until(&mut viewer, "before").await;
    let init = world.engine.init(&project.project.sandbox);
    let pid = init.jobs()[0].pid;
    drop(viewer);
    tree.crash().await;
    init.say(Job::Terminal, b" meanwhile");
    let tree = world.spawn().await;
    tree.wait_for("demo", Phase::Running).await;
    let mut viewer = view(&tree).await;
    read_until(&mut viewer, "before meanwhile").await;
    assert_eq!(init.jobs()[0].pid, pid);
}

#[tokio::test]
async fn a_shell_that_ends_is_told_and_the_next_viewer_gets_a_new_one() {
    let world = World::new();
    let tree = world.spawn().await;
    let project = tree.running("demo").await;
    let mut viewer = view(&tree).await;
    viewer.input().write(Bytes::from_static(b"exit\n")).await.expect("keystrokes");
    let status = within(LONG, "the shell's end", async {
        loop {
            match viewer.next().await.expect("a terminal that ends with a status") {
                TerminalItem::Exited(status) => return status,
                TerminalItem::Ready { .. } | TerminalItem::Bytes(_) | TerminalItem::Gap { .. } => {}
            }
        }
    })
    .await;
    assert_eq!(status, ExitStatus::Code(0));
    let mut next = view(&tree).await;
    read_until(&mut next, "$ ").await;
    let jobs = world.engine.init(&project.project.sandbox).jobs();
    assert!(jobs.iter().any(|job| job.job == Job::Terminal && job.ended.is_none()), "{jobs:?}");
}

#[tokio::test]
async fn a_viewer_sets_the_size() {
    let world = World::new();
    let tree = world.spawn().await;
    let project = tree.running("demo").await;
    let viewer = view(&tree).await;
    viewer.input().resize(132, 50).await.expect("a size");
    let init = world.engine.init(&project.project.sandbox);
    let is_set = |init: &sandtree_testkit::FakeInit| {
        init.size().is_some_and(|size| (size.cols, size.rows) == (132, 50))
    };
    init.until("the size", is_set).await;
}
