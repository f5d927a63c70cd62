use sandtree_wire::*;
use tokio::io::AsyncWriteExt;

use crate::server::*;

#[tokio::test]
async fn output_and_exit_code_come_back_apart() {
    let mut sandbox = Sandbox::start().await;
    let finished = sandbox.run_sh("echo out; echo err >&2; exit 7").await;
    assert_eq!(finished.stdout(), "out\n");
    assert_eq!(finished.stderr, b"err\n");
    assert_eq!(finished.code(), 7);
    assert!(!finished.timed_out);
    let finished = sandbox.run_sh("kill -9 $$").await;
    assert_eq!(finished.status, Some(ExitStatus::Signal(9)));
}

#[tokio::test]
async fn large_output_arrives_whole() {
    let mut sandbox = Sandbox::start().await;
    let finished = sandbox.run_sh("seq 1 400000; seq 1 1000 >&2").await;
    let expected: String = (1..=400_000).map(|number| format!("{number}\n")).collect();
    assert!(finished.stdout() == expected, "{} bytes", finished.stdout.len());
    assert_eq!(finished.stderr.iter().filter(|byte| **byte == b'\n').count(), 1000);
}

#[tokio::test]
async fn input_reaches_the_command_and_its_end_too() {
    let mut sandbox = Sandbox::start().await;
    let mut running = sandbox.begin(ExecSpec { stdin: true, ..exec(texts(&["cat"])) }).await;
    let (mut reader, mut writer) = running.connection.split();
    let write = async {
        for _ in 0..20 {
            let piece = vec![b'x'; DATA_BYTES_MAX];
            write_frame(&mut writer, Kind::Data, [&piece, &[]]).await.unwrap();
        }
        write_frame(&mut writer, Kind::End, [&[], &[]]).await.unwrap();
    };
    let (finished, ()) = tokio::join!(Finished::read(&mut reader), write);
    assert_eq!((finished.stdout.len(), finished.code()), (20 * DATA_BYTES_MAX, 0));
}

#[tokio::test]
async fn another_program_runs_where_the_first_is_not_there() {
    let mut sandbox = Sandbox::start().await;
    for (argv, output) in [
        (["/no/such/shell", "-c", "echo first"], "otherwise\n"),
        (["/etc/passwd", "-c", "echo first"], "otherwise\n"),
        (["/bin/sh", "-c", "echo first"], "first\n"),
    ] {
        let argv_otherwise = texts(&["echo", "otherwise"]);
        let spec = ExecSpec { argv_otherwise, ..exec(texts(&argv)) };
        let finished = sandbox.run(spec).await;
        assert_eq!((finished.stdout(), finished.code()), (output, 0), "{argv:?}");
    }
}

#[tokio::test]
async fn a_command_can_write_to_a_terminal() {
    let mut sandbox = Sandbox::start().await;
    let tty = |script: &str| ExecSpec { tty: true, stdin: true, ..exec(sh(script)) };
    let script = "test -t 1 && test -t 2 && echo both; stty size <&1; cat; \
                  echo error >&2; : < /dev/tty && echo controls; exit 7";
    let finished = sandbox.run(tty(script)).await;
    assert_eq!(finished.stdout(), "both\r\n24 80\r\nerror\r\ncontrols\r\n");
    assert_eq!((finished.code(), finished.stderr.len()), (7, 0));

    let finished = sandbox.run(tty("seq 1 200000")).await;
    let expected: String = (1..=200_000).map(|number| format!("{number}\r\n")).collect();
    assert!(finished.stdout() == expected, "{} bytes", finished.stdout.len());

    let finished = sandbox.run(tty("setsid sleep 1000 & echo started")).await;
    assert_eq!((finished.stdout(), finished.code()), ("started\r\n", 0), "who stays holds it");
    let spec = ExecSpec { timeout_ms: Some(100), ..tty("echo begun; sleep 1000") };
    let finished = sandbox.run(spec).await;
    assert_eq!((finished.stdout(), finished.timed_out), ("begun\r\n", true));
}

#[tokio::test]
async fn without_input_it_is_empty() {
    let mut sandbox = Sandbox::start().await;
    let finished = sandbox.run(exec(texts(&["cat"]))).await;
    assert_eq!((finished.stdout(), finished.code()), ("", 0));
}

#[tokio::test]
async fn a_command_that_does_not_read_its_input_still_ends() {
    let mut sandbox = Sandbox::start().await;
    let spec = ExecSpec { stdin: true, ..exec(sh("exec 0<&-; echo closed; sleep 0.1; echo end")) };
    let mut running = sandbox.begin(spec).await;
    for _ in 0..3 {
        running.data(&vec![0; DATA_BYTES_MAX]).await;
    }
    let finished = running.finish().await;
    assert_eq!((finished.stdout(), finished.code()), ("closed\nend\n", 0));
}

#[tokio::test]
async fn the_environment_is_exactly_what_was_configured() {
    let mut sandbox = Sandbox::start().await;
    let env =
        Env::from([("HOME".to_owned(), "/".to_owned()), ("A".to_owned(), "ö = x".to_owned())]);
    let finished = sandbox.run(ExecSpec { env, ..exec(texts(&["env"])) }).await;
    let mut lines: Vec<_> = finished.stdout().lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["A=ö = x", "HOME=/", "PATH=/usr/local/bin:/usr/bin:/bin"]);
}

#[tokio::test]
async fn a_program_starts_with_everything_at_its_default() {
    let mut sandbox = Sandbox::start().await;
    let script = "ls /proc/self/fd | tr '\\n' ' '; cat /proc/self/status | grep -E 'Sig(Blk|Ign|Cgt)'; \
                  umask; cat /proc/self/oom_score_adj";
    let finished = sandbox.run(exec(sh(script))).await;
    let none = "0000000000000000";
    let expected =
        format!("0 1 2 3 SigBlk:\t{none}\nSigIgn:\t{none}\nSigCgt:\t{none}\n0022\n200\n");
    assert_eq!(finished.stdout(), expected);
    let own = std::fs::read_to_string(format!("/proc/{}/oom_score_adj", sandbox.init.id()));
    assert_eq!(own.unwrap().trim(), "0");
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named() {
    let mut sandbox = Sandbox::start().await;
    let error = sandbox.failure(exec(texts(&["no-such-program"]))).await;
    assert_eq!(error.errno, libc::ENOENT);
    assert_eq!(error.what, "run `no-such-program`");
    let error = sandbox.failure(exec(texts(&["/etc/passwd"]))).await;
    assert_eq!((error.errno, &*error.what), (libc::EACCES, "run `/etc/passwd`"));
    let error = sandbox.failure(exec(vec![])).await;
    assert_eq!(error.errno, libc::EINVAL);
    let spec = ExecSpec { cwd: Some("/no/such".to_owned()), ..exec(sh("true")) };
    let error = sandbox.failure(spec).await;
    assert_eq!(error.errno, libc::ENOENT);
    assert_eq!(error.what, "enter the working directory `/no/such`");
}

#[tokio::test]
async fn a_signal_reaches_the_whole_group() {
    let mut sandbox = Sandbox::start().await;
    let lifeline = Lifeline::new(&sandbox.home);
    let script = format!("{}; sleep 1000 & echo up; wait", lifeline.hold());
    let mut running = sandbox.begin(exec(sh(&script))).await;
    running.until("up\n").await;
    let message = ExecInput::Signal(libc::SIGTERM);
    write_message(&mut running.connection, &message).await.unwrap();
    let finished = running.finish().await;
    assert_eq!(finished.status, Some(ExitStatus::Signal(libc::SIGTERM)));
    lifeline.cut().await;
}

/// A grandchild that has left its group, its session and its parents.
fn daemon(lifeline: &Lifeline) -> String {
    format!("({}; setsid setsid sh -c 'echo up; exec sleep 1000' &)", lifeline.hold())
}

#[tokio::test]
async fn a_timeout_kills_what_has_daemonised() {
    let mut sandbox = Sandbox::start().await;
    let lifeline = Lifeline::new(&sandbox.home);
    let script = format!("{}; sleep 1000", daemon(&lifeline));
    let spec = ExecSpec { timeout_ms: Some(300), ..exec(sh(&script)) };
    let finished = sandbox.run(spec).await;
    assert_eq!(finished.stdout(), "up\n");
    assert!(finished.timed_out);
    assert_eq!(finished.status, Some(ExitStatus::Signal(libc::SIGKILL)));
    lifeline.cut().await;
}

#[tokio::test]
async fn a_timeout_kills_what_forks_without_end() {
    let mut sandbox = Sandbox::start().await;
    let lifeline = Lifeline::new(&sandbox.home);
    let hop = "hop() { setsid sh -c \"$HOP\" & }";
    let env = Env::from([("HOP".to_owned(), format!("sleep 0.01; {hop}; hop"))]);
    let script = format!("{}; echo up; {hop}; hop; hop; hop; sleep 1000", lifeline.hold());
    let spec = ExecSpec { timeout_ms: Some(300), env, ..exec(sh(&script)) };
    assert!(sandbox.run(spec).await.timed_out);
    lifeline.cut().await;
}

#[tokio::test]
async fn a_closed_stream_kills_the_tree() {
    let mut sandbox = Sandbox::start().await;
    let lifeline = Lifeline::new(&sandbox.home);
    let script = format!("{}; {}; sleep 1000", lifeline.hold(), daemon(&lifeline));
    let mut running = sandbox.begin(exec(sh(&script))).await;
    running.until("up\n").await;
    drop(running);
    lifeline.cut().await;
}

#[tokio::test]
async fn a_closed_stream_is_seen_behind_input_that_nobody_reads() {
    let mut sandbox = Sandbox::start().await;
    let lifeline = Lifeline::new(&sandbox.home);
    let script = format!("{}; echo up; sleep 1000", lifeline.hold());
    let mut running = sandbox.begin(ExecSpec { stdin: true, ..exec(sh(&script)) }).await;
    running.until("up\n").await;
    for _ in 0..4 {
        running.data(&vec![0; 32 * 1024]).await;
    }
    drop(running);
    lifeline.cut().await;
}

#[tokio::test]
async fn what_a_command_leaves_running_neither_holds_it_up_nor_dies_with_it() {
    let mut sandbox = Sandbox::start().await;
    let lifeline = Lifeline::new(&sandbox.home);
    let script = format!("{}; sleep 1000 & echo $!", lifeline.hold());
    let finished = sandbox.run(exec(sh(&script))).await;
    assert_eq!(finished.code(), 0);
    let left: u32 = finished.stdout().trim().parse().unwrap();
    assert!(is_alive(left));
    assert!(sandbox.stop().success());
    lifeline.cut().await;
}

#[tokio::test]
async fn a_killed_subreaper_ends_the_exec_and_nothing_else() {
    let mut sandbox = Sandbox::start().await;
    let lifeline = Lifeline::new(&sandbox.home);
    let script = format!("{}; kill -9 $PPID; sleep 1000", lifeline.hold());
    let finished = sandbox.run(exec(sh(&script))).await;
    assert_eq!(finished.status, Some(ExitStatus::Signal(libc::SIGKILL)));
    lifeline.cut().await;
    assert_eq!(sandbox.run_sh("exit 3").await.code(), 3);
}

#[tokio::test]
async fn a_stopped_subreaper_cannot_save_its_tree() {
    let mut sandbox = Sandbox::start().await;
    let lifeline = Lifeline::new(&sandbox.home);
    let script = format!("{}; kill -STOP $PPID; sleep 1000", lifeline.hold());
    let spec = ExecSpec { timeout_ms: Some(100), ..exec(sh(&script)) };
    let finished = sandbox.run(spec).await;
    assert!(finished.timed_out);
    lifeline.cut().await;
}

#[tokio::test]
async fn above_the_limit_an_exec_is_refused_in_words() {
    let mut sandbox = Sandbox::start().await;
    let mut running = Vec::new();
    for _ in 0..EXECS_MAX {
        running.push(sandbox.begin(exec(texts(&["sleep", "1000"]))).await);
    }
    let error = sandbox.failure(exec(sh("true"))).await;
    assert_eq!(error.what, format!("run a command: {EXECS_MAX} run already"));
    let first = running.remove(0);
    signal(first.pid, libc::SIGKILL);
    first.finish().await;
    // The place is free once the stream is closed, which follows its last frame.
    let again = async {
        loop {
            let mut connection = sandbox.open(Stream::Exec(exec(sh("true")))).await;
            let mut buffer = Vec::new();
            let event: ExecEvent = read_message(&mut connection, &mut buffer).await.unwrap();
            if matches!(event, ExecEvent::Started { .. }) {
                break;
            }
        }
    };
    soon("a free place", again).await;
}

#[tokio::test]
async fn hostile_frames_end_only_their_own_stream() {
    let mut sandbox = Sandbox::start().await;
    let bystander = sandbox.begin(exec(sh("read line; echo done"))).await;
    let hostile: [&[u8]; 5] = [
        &[9, 0, 0, 0, 0],
        &[0, 0xff, 0xff, 0xff, 0xff],
        &[1, 1, 0, 1, 0],
        &[0, 2, 0, 0, 0, b'{', b'x'],
        &[4, 0, 0, 0, 0],
    ];
    for bytes in hostile {
        let folder = tempfile::tempdir().unwrap();
        let lifeline = Lifeline::new(&folder);
        let script = format!("{}; echo up; sleep 1000", lifeline.hold());
        let mut running = sandbox.begin(exec(sh(&script))).await;
        running.until("up\n").await;
        running.connection.write_all(bytes).await.unwrap();
        lifeline.cut().await;
    }
    assert_eq!(bystander.finish().await.stdout(), "done\n");
}
