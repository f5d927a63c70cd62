use sandtree_wire::*;
use tokio::io::AsyncWriteExt;

use crate::server::*;

#[tokio::test]
async fn a_broken_control_connection_is_dialled_again() {
    let mut sandbox = Sandbox::start().await;
    let pid = sandbox.start_job(process(1, "sleep 1000")).await.pid;
    let hostile: [&[u8]; 3] = [&[7, 0, 0, 0, 0], &[0, 1, 0, 0, 0, b'x'], &[0, 0, 0, 0x80, 0]];
    for bytes in hostile {
        sandbox.control.write_all(bytes).await.unwrap();
        sandbox.accept_control().await;
        assert_eq!(sandbox.jobs[0].pid, pid);
    }
}

#[tokio::test]
async fn stats_count_what_runs() {
    let mut sandbox = Sandbox::start().await;
    let running = sandbox.begin(exec(texts(&["sleep", "1000"]))).await;
    let Reply::Stats(stats) = sandbox.ask(Request::Stats).await else { panic!("no stats") };
    assert_eq!(stats.execs, 1);
    assert!(stats.pids >= 2 && stats.memory_bytes > 0, "{stats:?}");
    drop(running);
}

#[tokio::test]
async fn stop_ends_everything_and_says_so() {
    let mut sandbox = Sandbox::start().await;
    let lifeline = Lifeline::new(&sandbox.home);
    let script = format!(
        "{}; trap 'echo bye >&9; exit' TERM; echo up; while :; do sleep 0.01; done",
        lifeline.hold()
    );
    let state = sandbox.start_job(process(1, &script)).await;
    sandbox.attach(&state, 0).await.until("up\n").await;
    assert_eq!(sandbox.stop().code(), Some(0));
    assert_eq!(lifeline.cut().await, "bye\n");
}

#[tokio::test]
async fn what_ignores_a_stop_is_killed_after_the_configured_grace() {
    let mut sandbox = Sandbox::start().await;
    let configuration = Configuration {
        env: [("PATH".to_owned(), "/usr/bin:/bin".to_owned())].into(),
        execs_max: 1,
        stop_grace_ms: Some(200),
    };
    let configured = sandbox.ask(Request::Configure(configuration)).await;
    assert!(matches!(configured, Reply::Configured { .. }), "{configured:?}");
    let lifeline = Lifeline::new(&sandbox.home);
    let script = format!(
        "{}; trap 'echo told >&9' TERM; echo up; while :; do echo tick >&9; sleep 0.05; done",
        lifeline.hold()
    );
    let state = sandbox.start_job(process(1, &script)).await;
    sandbox.attach(&state, 0).await.until("up\n").await;
    assert_eq!(sandbox.stop().code(), Some(0));
    let text = lifeline.cut().await;
    let Some((_, after)) = text.split_once("told") else { panic!("no TERM: {text}") };
    // The grace without a configuration would be worth 160 of them.
    assert!(after.matches("tick").count() < 100, "{text}");
}

#[tokio::test]
async fn without_a_token_init_says_so_and_leaves() {
    let home = tempfile::tempdir().unwrap();
    for token in [None, Some(""), Some("zz"), Some(&*"g".repeat(64))] {
        if let Some(token) = token {
            std::fs::write(home.path().join(TOKEN_NAME), token).unwrap();
        }
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_sandtree-init"))
            .arg(home.path())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(66), "{token:?}");
        assert!(output.stderr.starts_with(b"sandtree-init: "));
    }
}

#[tokio::test]
async fn nothing_runs_before_the_configuration() {
    let mut sandbox = Sandbox::start().await;
    sandbox.control.shutdown().await.unwrap();
    // The next connection gets a request where the configuration belongs.
    let listener = sandbox.listener.as_ref().unwrap();
    let (mut connection, _) = soon("a dial", listener.accept()).await.unwrap();
    let mut buffer = Vec::new();
    let _: Hello = read_message(&mut connection, &mut buffer).await.unwrap();
    write_message(&mut connection, &Welcome { version: VERSION }).await.unwrap();
    let request = Numbered { id: 1, body: Request::Stats };
    write_message(&mut connection, &request).await.unwrap();
    let answer = soon("the end", read_frame(&mut connection, &mut buffer)).await;
    assert!(answer.is_err());
    sandbox.accept_control().await;
}
