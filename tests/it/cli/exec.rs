//! `sandtree exec`.

use sandtree_testkit::{LONG, until, within};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::ChildStdout;

use super::{command, interrupt, run, run_with};
use crate::support::{Project, server};

#[tokio::test]
async fn output_exit_code_and_input_are_as_if_the_command_ran_here() {
    let server = server().start().await;
    let project = Project::small(&server.client(), "demo").await;
    let script = "echo out; echo err >&2; exit 7";
    let ran = run(&server, &["exec", "demo", "-c", script]).await;
    assert_eq!((ran.code, ran.text().as_str(), ran.stderr.as_str()), (7, "out\n", "err\n"));
    let ran = run(&server, &["exec", "-e", "A=b c", "demo", "sh", "-c", "echo $A; pwd"]).await;
    assert_eq!(ran.ok().text(), "b c\n/workspace\n");

    let bytes: Vec<u8> = (0..1_000_000_u32).map(|n| (n.wrapping_mul(n) / 7 % 256) as u8).collect();
    let back = run_with(&server, &["exec", "demo", "cat"], &bytes).await.ok();
    assert!(back.stdout == bytes, "{} bytes came back", back.stdout.len());
    let back = run_with(&server, &["exec", "-n", "demo", "cat"], b"not for it").await.ok();
    assert_eq!(back.text(), "");
    let ran = run_with(&server, &["exec", "demo", "true"], &vec![b'x'; 17 << 20]).await;
    ran.failed(125, "sandtree cp");

    run(&server, &["exec", "demo", "no-such-program"]).await.failed(127, "no-such-program");
    run(&server, &["exec", "demo", "-c", "kill -9 $$"]).await.failed(137, "");
    run(&server, &["exec", "-t", "300ms", "demo", "sleep", "600"]).await.failed(124, "--timeout");
    run(&server, &["exec", "nobody", "true"]).await.failed(125, "sandtree project ls");
    let json = run(&server, &["exec", "--json", "demo", "-c", "echo hi; exit 3"]).await;
    assert_eq!((json.code, &json.json()[0]["stdout"]), (3, &"hi\n".into()));

    project.operate("stop").await;
    run(&server, &["exec", "demo", "true"]).await.failed(125, "sandtree project start");
}

#[tokio::test]
async fn output_is_live_and_ctrl_c_ends_the_command() {
    let server = server().start().await;
    let project = Project::small(&server.client(), "demo").await;
    let script = "echo $$ > pid; echo begun; exec sleep 600";
    let mut child = command(&server, &["exec", "demo", "-c", script]).spawn().expect("a program");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let first = within(LONG, "the first line", lines.next_line()).await.expect("a line");
    assert_eq!(first.as_deref(), Some("begun"), "before the command has ended");

    interrupt(&child);
    let status = within(LONG, "the program to end", child.wait()).await.expect("a status");
    assert_eq!(status.code(), Some(130));
    until("the command to be gone", async || {
        project.exec("kill -0 $(cat pid)").await["exit_code"] != 0
    })
    .await;
}

#[tokio::test]
async fn a_reader_that_has_seen_enough_ends_the_command() {
    let server = server().start().await;
    let project = Project::small(&server.client(), "demo").await;
    let script = "echo $$ > pid; exec yes";
    let mut child = command(&server, &["exec", "demo", "-c", script]).spawn().expect("a program");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let first = within(LONG, "the first line", lines.next_line()).await.expect("a line");
    assert_eq!(first.as_deref(), Some("y"));
    drop(lines);
    let status = within(LONG, "the program to end", child.wait()).await.expect("a status");
    assert_eq!(status.code(), Some(141));
    until("the command to be gone", async || {
        project.exec("kill -0 $(cat pid)").await["exit_code"] != 0
    })
    .await;
}

#[tokio::test]
async fn a_reader_of_the_errors_that_has_seen_enough_ends_the_command() {
    let server = server().start().await;
    Project::small(&server.client(), "demo").await;
    let script = "yes >&2";
    let mut child = command(&server, &["exec", "demo", "-c", script]).spawn().expect("a program");
    drop(child.stderr.take());
    let status = within(LONG, "the program to end", child.wait()).await.expect("a status");
    assert_eq!(status.code(), Some(141));
}

#[tokio::test]
async fn a_signal_ends_it_while_its_reader_takes_nothing() {
    let server = server().start().await;
    let project = Project::small(&server.client(), "demo").await;
    let script = "echo $$ > pid; exec yes";
    let mut child = command(&server, &["exec", "demo", "-c", script]).spawn().expect("a program");
    let mut output = child.stdout.take().expect("piped");
    let mut first = [0; 2];
    let read = within(LONG, "the first line", output.read_exact(&mut first)).await;
    assert_eq!((read.expect("a line"), &first), (2, b"y\n"));
    // Nothing is read from here on, so that it waits in a write.
    until("the pipe to be full", async || is_full(&output)).await;
    interrupt(&child);
    let status = within(LONG, "the program to end", child.wait()).await.expect("a status");
    assert_eq!(status.code(), Some(130));
    until("the command to be gone", async || {
        project.exec("kill -0 $(cat pid)").await["exit_code"] != 0
    })
    .await;
}

/// Whether there is no room for another page, so that whoever writes has to wait.
fn is_full(pipe: &ChildStdout) -> bool {
    let size = rustix::pipe::fcntl_getpipe_size(pipe).expect("a pipe") as u64;
    rustix::io::ioctl_fionread(pipe).expect("a pipe") > size - 4096
}

#[tokio::test]
async fn a_time_of_any_length_is_refused_by_the_server_and_not_by_a_panic() {
    let server = server().start().await;
    Project::small(&server.client(), "demo").await;
    let long = ["exec", "--json", "-t", "18446744073709551615s", "demo", "true"];
    run(&server, &long).await.failed(125, "timeout");
}
