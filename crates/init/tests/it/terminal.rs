use sandtree_wire::*;

use crate::server::*;

fn terminal(script: &str) -> JobSpec {
    JobSpec { job: Job::Terminal, ..process(1, script) }
}

#[tokio::test]
async fn a_terminal_echoes_and_knows_its_size() {
    let mut sandbox = Sandbox::start().await;
    // A signal may interrupt the shell in its `read`, which then finds nothing.
    let script = "tty; trap 'stty size' WINCH; stty size; line=; \
                  until [ \"$line\" = bye ]; do read line; echo got $line; done";
    let state = sandbox.start_job(terminal(script)).await;
    let mut attached = sandbox.attach(&state, 0).await;
    attached.until("24 80\r\n").await;
    assert!(attached.text().starts_with("/dev/pts/"), "{}", attached.text());
    attached.type_in("hello\n").await;
    attached.until("hello\r\ngot hello\r\n").await;
    let size = Size { cols: 132, rows: 50 };
    assert_eq!(sandbox.ask(Request::Resize(size)).await, Reply::Done);
    attached.type_in("x\n").await;
    attached.until("50 132\r\n").await;
    attached.type_in("bye\n").await;
    assert_eq!(attached.until_end().await, ExitStatus::Code(0));
}

#[tokio::test]
async fn ctrl_c_reaches_the_foreground() {
    let mut sandbox = Sandbox::start().await;
    let script = "trap 'echo; echo INT; exit' INT; echo up; while :; do sleep 0.01; done";
    let state = sandbox.start_job(terminal(script)).await;
    let mut attached = sandbox.attach(&state, 0).await;
    attached.until("up\r\n").await;
    attached.type_in("\u{3}").await;
    attached.until("INT\r\n").await;
}

#[tokio::test]
async fn a_terminal_loses_no_byte_of_much_output() {
    let mut sandbox = Sandbox::start().await;
    let ring_bytes = 8 * 1024 * 1024;
    let state = sandbox.start_job(JobSpec { ring_bytes, ..terminal("seq 1 300000") }).await;
    let mut attached = sandbox.attach(&state, 0).await;
    assert_eq!(attached.until_end().await, ExitStatus::Code(0));
    let written: String = (1..=300_000).map(|number| format!("{number}\r\n")).collect();
    assert!(attached.text() == written, "{} of {}", attached.output.len(), written.len());
}

#[tokio::test]
async fn a_terminal_waits_for_a_reader_that_is_slow_and_loses_nothing_for_it() {
    let mut sandbox = Sandbox::start().await;
    let spec = JobSpec { ring_bytes: 32 * 1024, ..terminal("seq 1 100000") };
    let state = sandbox.start_job(spec).await;
    let mut attached = sandbox.attach(&state, 0).await;
    let status = loop {
        if let Some(status) = attached.step().await {
            break status;
        }
        // Something else between any two reads.
        assert_eq!(sandbox.ask(Request::Resize(Size { cols: 80, rows: 24 })).await, Reply::Done);
    };
    assert_eq!(status, ExitStatus::Code(0));
    let written: String = (1..=100_000).map(|number| format!("{number}\r\n")).collect();
    assert!(attached.text() == written && attached.gaps.is_empty(), "{:?}", attached.gaps);
}

#[tokio::test]
async fn a_terminal_waits_for_nobody_who_does_not_read() {
    let mut sandbox = Sandbox::start().await;
    let bytes: usize = (1..=100_000).map(|number| format!("{number}\r\n").len()).sum();
    for (epoch, readers) in [(1, 0), (2, 1)] {
        let spec = JobSpec { epoch, ring_bytes: 32 * 1024, ..terminal("seq 1 100000") };
        let state = sandbox.start_job(spec).await;
        let mut stalled = Vec::new();
        for _ in 0..readers {
            stalled.push(sandbox.attach(&state, 0).await);
        }
        let ended = sandbox.job_ended().await;
        assert_eq!((ended.epoch, ended.end), (epoch, bytes as u64));
        for mut reader in stalled {
            assert_eq!(reader.until_end().await, ExitStatus::Code(0));
            assert!(!reader.gaps.is_empty(), "what was not read in time is told as lost");
        }
    }
}

#[tokio::test]
async fn ctrl_c_ends_a_flood_that_waits_for_its_reader() {
    let mut sandbox = Sandbox::start().await;
    let script = "trap 'echo; echo INT; exit 3' INT; yes flood";
    let state = sandbox.start_job(terminal(script)).await;
    let mut attached = sandbox.attach(&state, 0).await;
    attached.until("flood\r\n").await;
    attached.type_in("\u{3}").await;
    attached.until("INT\r\n").await;
    assert_eq!(attached.until_end().await, ExitStatus::Code(3));
    assert!(attached.gaps.is_empty(), "{:?}", attached.gaps);
}

#[tokio::test]
async fn a_closed_terminal_hangs_up_and_ends_what_ignores_it() {
    let mut sandbox = Sandbox::start().await;
    let lifeline = Lifeline::new(&sandbox.home);
    let script = format!(
        "{}; (trap '' HUP; sleep 1000) & \
         (trap 'echo hup >&9; exit' HUP; echo up; while :; do sleep 0.01; done) & read line",
        lifeline.hold()
    );
    let state = sandbox.start_job(terminal(&script)).await;
    sandbox.attach(&state, 0).await.until("up\r\n").await;
    sandbox.ask(Request::StopJob { job: Job::Terminal, epoch: 1, grace_ms: 5000 }).await;
    assert_eq!(sandbox.job_ended().await.ended, Some(ExitStatus::Signal(libc::SIGHUP)));
    assert_eq!(lifeline.cut().await, "hup\n");
}

#[tokio::test]
async fn a_shell_that_closes_its_terminal_may_open_it_again() {
    let mut sandbox = Sandbox::start().await;
    let script = "tty=$(tty); exec <&- >&- 2>&-; sleep 0.1; exec <$tty >$tty; echo back";
    let state = sandbox.start_job(terminal(script)).await;
    let mut attached = sandbox.attach(&state, 0).await;
    assert_eq!(attached.until_end().await, ExitStatus::Code(0));
    assert_eq!(attached.text(), "back\r\n");
}
