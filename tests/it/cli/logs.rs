//! `sandtree logs`.

use std::process::Stdio;

use sandtree_testkit::{LONG, within};
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::scripted::Scripted;
use super::{command, command_at, finish, run};
use crate::support::{Project, server};

#[tokio::test]
async fn the_log_is_printed_and_followed_to_the_processes_end() {
    let server = server().start().await;
    let project = Project::small(&server.client(), "demo").await;
    run(&server, &["logs", "nobody"]).await.failed(1, "does not exist");
    let script = "echo one; echo two >&2; read line < gate; echo three; exit 4";
    project.sh("mkfifo gate").await;
    project.put_process(&json!({ "command": script })).await;

    let mut child = command(&server, &["logs", "-f", "demo"]).spawn().expect("a program");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let first = within(LONG, "the first line", lines.next_line()).await.expect("a line");
    assert_eq!(first.as_deref(), Some("one"));
    project.sh("echo go > gate").await;
    let second = within(LONG, "the second line", lines.next_line()).await.expect("a line");
    assert_eq!(second.as_deref(), Some("three"));
    let followed = finish(child).await.ok();
    assert!(followed.stderr.contains("two\n"), "{followed:?}");
    assert!(followed.stderr.contains("exit code 4"), "it ends with the process: {followed:?}");

    let all = run(&server, &["logs", "demo"]).await.ok();
    assert_eq!(all.text(), "one\nthree\n");
    let stderr = run(&server, &["logs", "demo", "--stream", "stderr"]).await.ok();
    assert!(stderr.text().is_empty() && stderr.stderr.starts_with("two\n"), "{stderr:?}");
    let last = run(&server, &["logs", "demo", "-n", "1", "-T"]).await.ok().text();
    let (time, line) = last.split_once(' ').expect("a time and a line");
    assert!(time.ends_with('Z') && line == "three\n", "{last}");
    let records = run(&server, &["logs", "demo", "--json"]).await.ok().json();
    assert_eq!(records.len(), 4, "three records and the end: {records:?}");
    let cursor = records[1]["cursor"].as_str().expect("a cursor");
    let rest = run(&server, &["logs", "demo", "--after", cursor]).await.ok();
    assert_eq!(rest.text(), "three\n");
}

#[tokio::test]
async fn a_log_that_is_followed_goes_on_after_the_server_was_killed() {
    let mut server = server().start().await;
    let project = Project::small(&server.client(), "demo").await;
    project.sh("mkfifo gate").await;
    // Half of the lines wait until the server has been killed.
    let script = "seq 1 500; read line < gate; seq 501 1000; exit 0";
    project.put_process(&json!({ "command": script })).await;
    let mut following = command(&server, &["logs", "-f", "demo"]);
    // What it says of the server is for who looks into a failure.
    let mut child = following.stderr(Stdio::inherit()).spawn().expect("a program");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut numbers = Vec::new();
    let mut next = async || {
        let line = within(LONG, "the next line", lines.next_line()).await.expect("a line");
        line.map(|line| line.parse::<u32>().expect("a number"))
    };
    while numbers.len() < 500 {
        numbers.extend(next().await);
    }
    server.kill9().await;
    server.restart_in_place().await;
    let project = Project::existing(&server.client(), "demo");
    project.wait_for_exec().await;
    project.sh("echo go > gate").await;
    while let Some(number) = next().await {
        numbers.push(number);
    }
    assert_eq!(numbers, (1..=1000).collect::<Vec<_>>(), "every line once");
    finish(child).await.ok();
}

#[tokio::test]
async fn a_log_that_is_followed_ends_although_the_end_was_missed() {
    let line = |text: &str| json!({ "cursor": "1:4", "stream": "stdout", "text": text });
    let ended = json!({ "cursor": "1:4", "ended": { "epoch": 1, "exit_code": 0 } });
    let alive = json!({ "alive": true });
    let mut scripted = Scripted::start().await;
    let child = command_at(&scripted.url, &["logs", "-f", "demo"]).spawn().expect("the program");

    let mut follow = scripted.asked("/process/logs?follow=true").await;
    let running = json!({ "state": "running", "epoch": 1 });
    follow.say(&[&line("one\n"), &ended]).await;
    scripted.asked("/process ").await.answer(&running).await;
    // The log knows of the end before the process does.
    scripted.asked("/process ").await.answer(&running).await;
    follow.say(&[&alive]).await;
    scripted.asked("/process ").await.answer(&json!({ "state": "ended", "epoch": 1 })).await;
    let rest = scripted.asked("/process/logs?after=1%3A4 ").await;
    rest.answer(&line("late\n")).await;
    assert_eq!(finish(child).await.ok().text(), "one\nlate\n");
}

#[tokio::test]
async fn a_log_that_is_followed_waits_for_a_process_and_says_so() {
    let server = server().start().await;
    let project = Project::small(&server.client(), "demo").await;
    let mut child = command(&server, &["logs", "-f", "demo"]).spawn().expect("a program");
    let mut notes = BufReader::new(child.stderr.take().expect("piped")).lines();
    let note = within(LONG, "a note", notes.next_line()).await.expect("a line");
    assert!(note.is_some_and(|note| note.contains("no process yet")));
    project.put_process(&json!({ "command": "echo begun" })).await;
    assert_eq!(finish(child).await.ok().text(), "begun\n");
}
