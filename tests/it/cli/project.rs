//! `sandtree project`, and what holds for every command: errors, keys, help.

use sandtree_testkit::LONG;
use tokio::process::Command;

use super::{PROGRAM, Ran, command, command_at, finish, run};
use crate::support::server;

#[tokio::test]
async fn projects_are_made_listed_started_stopped_and_removed() {
    let server = server().start().await;
    let made = run(&server, &["project", "create", "one", "--profile", "small", "--start"]).await;
    assert_eq!(made.ok().text(), "one\n");
    let made = run(&server, &["project", "create", "two", "-l", "team=blue", "--json"]).await;
    assert_eq!(made.ok().json()[0]["phase"], "stopped");
    let chosen = run(&server, &["project", "create"]).await.ok().text();
    assert_eq!(chosen.lines().count(), 1, "{chosen}");

    let list = run(&server, &["project", "ls"]).await.ok().text();
    assert!(list.starts_with("ID ") && !list.contains('\x1b'), "no colour in a pipe: {list}");
    let lines: Vec<_> = list.lines().map(|line| line.split_whitespace().collect()).collect();
    let shows = |id, phase| lines.iter().any(|line: &Vec<_>| line[..2] == [id, phase]);
    assert!(shows("one", "running") && shows("two", "stopped"), "{list}");
    let ids = run(&server, &["project", "ls", "-q", "--phase", "running"]).await.ok().text();
    assert_eq!(ids, "one\n");
    let blue = run(&server, &["project", "ls", "--json", "-l", "team=blue"]).await.ok().json();
    assert_eq!((blue.len(), &blue[0]["id"]), (1, &"two".into()));

    let started = run(&server, &["project", "start", "two", "one"]).await.ok();
    assert_eq!(started.text(), "two\none\n");
    let stopped = run(&server, &["project", "stop", "--json", "one"]).await.ok().json();
    assert_eq!(stopped[0]["phase"], "stopped");
    for (operation, phase) in [("restart", "running"), ("pause", "paused"), ("resume", "running")] {
        let done = run(&server, &["project", operation, "--json", "two"]).await.ok().json();
        assert_eq!(done[0]["phase"], phase, "{operation}");
    }
    let removed = run(&server, &["project", "rm", "one", "none", "two", chosen.trim()]).await;
    let removed = removed.failed(1, "project \"none\" does not exist");
    assert_eq!(removed.text(), format!("one\ntwo\n{chosen}"), "the others are removed");
    run(&server, &["project", "create", "three"]).await.ok();
    let removed = run(&server, &["project", "rm", "--json", "three"]).await.ok().json();
    assert_eq!(removed, [serde_json::json!({ "id": "three", "phase": "deleted" })]);
    assert_eq!(run(&server, &["project", "ls", "-q"]).await.ok().text(), "");
    server.assert_no_leftovers();
}

#[tokio::test]
async fn what_goes_wrong_is_told_with_what_to_do_and_an_exit_code() {
    let server = server().env("SANDTREE_AUTH__ADMIN_KEY", "open-sesame").start().await;
    let ls = ["project", "ls"];
    run(&server, &ls).await.failed(7, "SANDTREE_API_KEY");
    run(&server, &["project", "ls", "--key", "wrong"]).await.failed(7, "SANDTREE_API_KEY");
    let keyed = command(&server, &ls).env("SANDTREE_API_KEY", "open-sesame").spawn();
    finish(keyed.expect("the program")).await.ok();

    let away = run(&server, &["project", "ls", "--server", "http://127.0.0.1:1"]).await;
    away.failed(6, "sandtree serve");
    run(&server, &["project", "ls", "--server", "https://x"]).await.failed(2, "TLS");
    run(&server, &["project", "create", "--memory", "lots"]).await.failed(2, "lots");
    let key = ["--key", "open-sesame"];
    let bad = run(&server, &[&["project", "create", "Not-An-Id"], &key[..]].concat()).await;
    bad.failed(1, "id");
    let no_shell = run(&server, &["shell", "x"]).await;
    no_shell.failed(125, "sandtree exec");
}

#[tokio::test]
async fn help_has_every_command_and_completions_are_what_shells_read() {
    let run = async |arguments: &[&str]| -> Ran {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).kill_on_drop(true);
        let output = tokio::time::timeout(LONG, command.output()).await.expect("in time");
        let output = output.expect("the program");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        Ran { code: output.status.code().unwrap_or(-1), stdout: output.stdout, stderr }
    };
    let help = run(&["--help"]).await.ok().text();
    for word in ["exec", "shell", "logs", "cp", "top", "bench", "completions", "Exit codes"] {
        assert!(help.contains(word), "{word} is missing in {help}");
    }
    let help = run(&["exec", "--help"]).await.ok().text();
    assert!(help.contains("SANDTREE_URL") && help.contains("SANDTREE_API_KEY"), "{help}");
    for (shell, word) in [("bash", "complete -F"), ("zsh", "#compdef"), ("fish", "complete -c")] {
        let text = run(&["completions", shell]).await.ok().text();
        assert!(text.contains(word) && text.contains("shell"), "{shell}: {text}");
    }
    run(&["completions", "tcsh"]).await.failed(2, "bash");
}

#[tokio::test]
async fn output_that_cannot_be_written_is_a_failure() {
    let full = || std::fs::File::options().write(true).open("/dev/full").expect("a full device");
    for arguments in [&["openapi"][..], &["completions", "bash"], &["config", "check"]] {
        let full_out = command_at("", arguments).env_remove("SANDTREE_URL").stdout(full()).spawn();
        finish(full_out.expect("the program")).await.failed(1, "standard output");
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let gone = command_at("", arguments).env_remove("SANDTREE_URL").stdout(writer).spawn();
        let gone = finish(gone.expect("the program")).await;
        assert_eq!((gone.code, gone.stderr.as_str()), (141, ""), "{arguments:?}");
    }
    // Where nothing can be said, the exit code is still the right one.
    let rm = ["project", "rm", "one", "two"];
    let mute = command_at("http://127.0.0.1:1", &rm).stderr(full()).spawn();
    assert_eq!(finish(mute.expect("the program")).await.code, 6);
}
