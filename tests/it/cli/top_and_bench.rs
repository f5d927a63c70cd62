//! `sandtree top` and `sandtree bench`.

use sandtree_testkit::Pty;
use serde_json::json;

use super::scripted::Scripted;
use super::{PROGRAM, command_at, finish, interrupt, run, url};
use crate::support::{Project, server};

#[tokio::test]
async fn top_shows_what_running_projects_use() {
    let server = server().start().await;
    let project = Project::small(&server.client(), "busy").await;
    run(&server, &["project", "create", "quiet", "--profile", "small"]).await.ok();
    project.put_process(&json!({ "command": "while :; do :; done" })).await;

    let usages = run(&server, &["top", "--json"]).await.ok().json();
    assert_eq!(usages.len(), 1, "only projects that run: {usages:?}");
    assert_eq!(usages[0]["id"], "busy");
    assert!(usages[0]["cpu_percent"].as_f64().expect("a number") > 0.0, "{usages:?}");
    assert!(usages[0]["memory_bytes"].as_u64().expect("a number") > 0, "{usages:?}");
    let table = run(&server, &["top"]).await.ok().text();
    assert!(table.starts_with("ID ") && table.lines().count() == 2, "{table}");

    let mut pty = Pty::spawn(PROGRAM, &["top", "--server", &url(&server)], (80, 24));
    pty.wait_for_screen("the project", |screen| {
        let busy = screen.lines().find(|line| line.starts_with("busy"));
        screen.starts_with("1 running") && busy.is_some_and(|line| line.matches('%').count() == 2)
    })
    .await;
    pty.type_text("q");
    assert_eq!(pty.wait_for_exit().await.code(), Some(0));
    pty.wait_for_screen("the screen as it was", |screen| !screen.contains("busy")).await;
    assert!(!pty.is_raw(), "the terminal is as it was");
}

#[tokio::test]
async fn bench_measures_and_leaves_nothing_behind() {
    let server = server().start().await;
    let few = ["bench", "--profile", "small", "--execs", "5", "--creates", "1", "--time", "100ms"];
    let table = run(&server, &few).await.ok().text();
    for row in ["exec of true", "create to first output", "status"] {
        assert!(table.contains(row), "{row} is missing in {table}");
    }
    let measured = run(&server, &[&few[..], &["--json"]].concat()).await.ok().json();
    assert_eq!(measured[0]["exec"]["samples"], 5, "{measured:?}");
    assert!(measured[0]["status"]["per_second"].as_f64().expect("a number") > 0.0);
    server.assert_no_leftovers();
}

#[tokio::test]
async fn top_is_left_while_the_server_hangs() {
    for key in ["q", "\x03"] {
        let mut scripted = Scripted::start().await;
        let mut pty = Pty::spawn(PROGRAM, &["top", "--server", &scripted.url], (80, 24));
        scripted.asked("GET /v1/projects?").await.answer(&json!({})).await;
        pty.wait_for_screen("nothing that runs", |screen| screen.starts_with("0 running")).await;
        let _unanswered = scripted.asked("GET /v1/projects?").await;
        pty.type_text(key);
        assert_eq!(pty.wait_for_exit().await.code(), Some(0), "{key:?}");
        assert!(!pty.is_raw(), "the terminal is as it was");
    }
}

#[tokio::test]
async fn bench_has_something_to_measure() {
    let none = command_at("http://127.0.0.1:1", &["bench", "--time", "0s"]).spawn();
    finish(none.expect("the program")).await.failed(2, "from 10ms to 1h");
}

#[tokio::test]
async fn bench_that_made_nothing_leaves_nothing_to_remove() {
    let server = server().start().await;
    for arguments in [["--server", "http://127.0.0.1:1"], ["--profile", "no-such-profile"]] {
        let failed = run(&server, &[&["bench"], &arguments[..]].concat()).await;
        assert!(failed.code != 0 && !failed.stderr.contains("not removed"), "{failed:?}");
    }
}

#[tokio::test]
async fn bench_that_is_interrupted_twice_ends_and_says_what_is_left() {
    let mut scripted = Scripted::start().await;
    let child = command_at(&scripted.url, &["bench"]).spawn().expect("the program");
    scripted.asked("POST /v1/projects ").await.answer(&json!({})).await;
    let _unanswered = scripted.asked("/exec ").await;
    interrupt(&child);
    let _unanswered_too = scripted.asked("DELETE /v1/projects/bench-").await;
    interrupt(&child);
    finish(child).await.failed(130, "not removed: sandtree project rm bench-");
}
