use sandtree_wire::*;

use crate::server::*;

#[tokio::test]
async fn a_job_outlives_the_server_and_no_byte_is_missing() {
    let mut sandbox = Sandbox::start().await;
    let script = "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo $i; done; read line; echo $line";
    let state = sandbox.start_job(process(1, script)).await;
    let mut before = sandbox.attach(&state, 0).await;
    before.until("10\n").await;
    sandbox.restart_server().await;
    let [again] = &*sandbox.jobs else { panic!("{:?}", sandbox.jobs) };
    assert_eq!((again.pid, again.epoch, again.ended), (state.pid, 1, None));
    let again = *again;
    let mut after = sandbox.attach(&again, before.next).await;
    let expected: String = (1..=3000).map(|number| format!("{number}\n")).collect();
    while after.next < expected.len() as u64 {
        assert_eq!(after.step().await, None);
    }
    after.type_in("fin\n").await;
    assert_eq!(after.until_end().await, ExitStatus::Code(0));
    assert_eq!(before.text() + &after.text(), expected + "fin\n");
    assert!(before.gaps.is_empty() && after.gaps.is_empty());
}

#[tokio::test]
async fn a_job_that_ends_while_the_server_is_away_is_kept() {
    let mut sandbox = Sandbox::start().await;
    let lifeline = Lifeline::new(&sandbox.home);
    let script = format!("{}; echo up; read go; echo late; exit 5", lifeline.hold());
    let state = sandbox.start_job(process(1, &script)).await;
    let mut attached = sandbox.attach(&state, 0).await;
    attached.until("up\n").await;
    attached.type_in("go\n").await;
    sandbox.server_dies();
    lifeline.cut().await;
    sandbox.server_returns().await;
    // Its pipes may be closed a moment before its end is known.
    let state = match sandbox.jobs[0].ended {
        Some(_) => sandbox.jobs[0],
        None => sandbox.job_ended().await,
    };
    assert_eq!((state.ended, state.end), (Some(ExitStatus::Code(5)), 8));
    let mut attached = sandbox.attach(&state, 3).await;
    assert_eq!(attached.until_end().await, ExitStatus::Code(5));
    assert_eq!(attached.text(), "late\n");
    // All of it is durable: it is forgotten, but its epoch is not started again.
    let durable = Request::Durable { job: Job::Process, epoch: 1, offset: 8 };
    assert_eq!(sandbox.ask(durable).await, Reply::Done);
    sandbox.restart_server().await;
    assert!(sandbox.jobs.is_empty());
    assert_eq!(sandbox.start_job(process(1, "echo twice")).await.ended, state.ended);
}

#[tokio::test]
async fn starts_are_idempotent_and_epochs_only_rise() {
    let mut sandbox = Sandbox::start().await;
    let state = sandbox.start_job(process(5, "sleep 1000")).await;
    assert_eq!(sandbox.start_job(process(5, "sleep 1000")).await, state);
    for (epoch, errno) in [(4, libc::ESTALE), (6, libc::EBUSY)] {
        let reply = sandbox.ask(Request::StartJob(process(epoch, "true"))).await;
        let Reply::Refused(error) = reply else { panic!("{reply:?}") };
        assert_eq!(error.errno, errno);
    }
    let stop = |epoch| Request::StopJob { job: Job::Process, epoch, grace_ms: 60_000 };
    // Another start than the running one is left alone.
    assert_eq!(sandbox.ask(stop(4)).await, Reply::Done);
    assert!(is_alive(state.pid));
    assert_eq!(sandbox.ask(stop(5)).await, Reply::Done);
    assert_eq!(sandbox.job_ended().await.ended, Some(ExitStatus::Signal(libc::SIGTERM)));
    assert_eq!(sandbox.start_job(process(6, "exit 2")).await.epoch, 6);
    assert_eq!(sandbox.job_ended().await.ended, Some(ExitStatus::Code(2)));
}

#[tokio::test]
async fn a_job_that_ignores_term_is_killed_with_its_tree() {
    let mut sandbox = Sandbox::start().await;
    let lifeline = Lifeline::new(&sandbox.home);
    let script = format!(
        "{}; trap '' TERM; setsid sleep 1000 & echo up; while :; do sleep 1; done",
        lifeline.hold()
    );
    let state = sandbox.start_job(process(1, &script)).await;
    sandbox.attach(&state, 0).await.until("up\n").await;
    sandbox.ask(Request::StopJob { job: Job::Process, epoch: 1, grace_ms: 50 }).await;
    let ended = sandbox.job_ended().await;
    assert_eq!(ended.ended, Some(ExitStatus::Signal(libc::SIGKILL)));
    lifeline.cut().await;
}

#[tokio::test]
async fn what_a_job_leaves_behind_ends_with_it() {
    let mut sandbox = Sandbox::start().await;
    let lifeline = Lifeline::new(&sandbox.home);
    let script = format!("{}; setsid sleep 1000 & echo last; exit 4", lifeline.hold());
    let state = sandbox.start_job(process(1, &script)).await;
    let ended = sandbox.job_ended().await;
    assert_eq!((ended.ended, ended.end), (Some(ExitStatus::Code(4)), 5));
    lifeline.cut().await;
    let mut attached = sandbox.attach(&state, 0).await;
    attached.until_end().await;
    assert_eq!(attached.text(), "last\n");
}

#[tokio::test]
async fn a_signal_reaches_a_job_and_a_bad_one_does_not() {
    let mut sandbox = Sandbox::start().await;
    let missing = sandbox.ask(Request::SignalJob { job: Job::Process, signal: 1 }).await;
    assert!(matches!(missing, Reply::Refused(StartError { errno: libc::ESRCH, .. })));
    let script = "trap 'echo caught; exit' USR1; echo up; while :; do sleep 0.01; done";
    let state = sandbox.start_job(process(1, script)).await;
    let mut attached = sandbox.attach(&state, 0).await;
    attached.until("up\n").await;
    for signal in [0, -9, 1000] {
        let reply = sandbox.ask(Request::SignalJob { job: Job::Process, signal }).await;
        assert!(
            matches!(reply, Reply::Refused(StartError { errno: libc::EINVAL, .. })),
            "{signal}"
        );
    }
    let reply = sandbox.ask(Request::SignalJob { job: Job::Process, signal: libc::SIGUSR1 }).await;
    assert_eq!(reply, Reply::Done);
    attached.until("caught\n").await;
}

#[tokio::test]
async fn standard_error_is_told_apart_and_records_rise_in_time() {
    let mut sandbox = Sandbox::start().await;
    let state = sandbox.start_job(process(1, "echo a; sleep 0.05; echo b >&2")).await;
    sandbox.job_ended().await;
    let mut connection = sandbox.attach(&state, 0).await.connection;
    let mut heads = Vec::new();
    let mut buffer = Vec::new();
    for expected in [b"a\n", b"b\n"] {
        let frame = soon("a record", read_frame(&mut connection, &mut buffer)).await.unwrap();
        let (head, bytes) = frame.record().unwrap();
        assert_eq!(bytes, expected);
        heads.push(head);
    }
    assert_eq!((heads[0].stream, heads[1].stream), (1, 2));
    assert!(heads[1].at > heads[0].at + 40_000, "{heads:?}");
}

#[tokio::test]
async fn the_first_command_that_exists_is_the_job() {
    let mut sandbox = Sandbox::start().await;
    let argv_choices = vec![texts(&["no-such-shell", "-l"]), texts(&["echo", "second"])];
    let state = sandbox.start_job(JobSpec { argv_choices, ..process(1, "") }).await;
    let mut attached = sandbox.attach(&state, 0).await;
    attached.until_end().await;
    assert_eq!(attached.text(), "second\n");
    let argv_choices = vec![texts(&["no-such-shell"]), texts(&["nor-this"])];
    let spec = JobSpec { argv_choices, ..process(2, "") };
    let Reply::Refused(error) = sandbox.ask(Request::StartJob(spec)).await else { panic!() };
    assert_eq!(error.what, "run `no-such-shell` or `nor-this`");
}
