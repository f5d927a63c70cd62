//! The main job, from an empty machine to a server that was killed and is back.

use serde_json::json;

use crate::support::{Project, run, server};

/// Serves the workspace on loopback and counts its requests.
const APP: &str = include_str!("../../fixtures/count.py");

#[tokio::test]
async fn a_project_is_worked_on_and_survives_the_servers_death() {
    let mut server = server().start().await;
    let project = Project::running(&server.client(), "demo").await;
    upload(&project).await;
    run_commands(&project).await;
    let pid = start_process(&project).await;
    let shell = open_terminal(&project).await;
    let answer = project.preview(8000, "").await.expect(200).text();
    assert_eq!(answer, "request 1\n");
    let before = project.show().await;

    server.kill9().await;
    server.restart().await;
    let project = Project::existing(&server.client(), "demo");
    let after = project.wait_for("running").await;
    assert_eq!(after["generation"], before["generation"], "nothing moved");
    assert_eq!(after["sandbox"], before["sandbox"]);
    project.wait_for_exec().await;
    assert_eq!(project.process().await["pid"], pid);
    assert_eq!(project.preview(8000, "").await.expect(200).text(), "request 2\n");
    find_terminal(&project, &shell).await;
    assert_eq!(project.read("notes/first.txt").await, "hello\n");
    assert_eq!(project.sh("cat notes/first.txt").await, "hello\n");

    project.delete().await;
    assert_eq!(project.get("").await.status, 404);
    server.assert_no_leftovers();
}

/// One file, and an archive of two.
async fn upload(project: &Project) {
    project.write("notes/first.txt", "hello\n").await;
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("count.py"), APP).expect("a file");
    std::fs::write(dir.path().join("data.txt"), "1\n2\n3\n").expect("a file");
    let dir = dir.path().to_str().expect("a path in UTF-8");
    let archive = run("tar", &["-C", dir, "-cz", "count.py", "data.txt"]);
    let path = project.path("archive?path=app");
    let taken = project.client.put_bytes(&path, "application/gzip", archive).await.expect(200);
    assert_eq!(project.read("app/data.txt").await, "1\n2\n3\n", "{}", taken.text());
}

async fn run_commands(project: &Project) {
    assert_eq!(project.sh("wc -l < app/data.txt").await.trim(), "3");
    let body = json!({ "argv": ["sh", "-c", "cat; echo oops >&2; exit 3"], "stdin": "in" });
    let done = project.post("exec", &body).await.expect(200).json();
    assert_eq!(done["stdout"], "in");
    assert_eq!(done["stderr"], "oops\n");
    assert_eq!(done["exit_code"], 3);
    assert_eq!(done["timed_out"], false);

    let body = json!({ "command": "echo one; echo two" });
    let call = project.client.request(hyper::Method::POST, &project.path("exec")).json(&body);
    let mut events = call.events().await;
    let exit = events.find("the command's end", |event| event.event == "exit").await;
    assert_eq!(exit.json()["exit_code"], 0);
}

async fn start_process(project: &Project) -> serde_json::Value {
    let body = json!({ "argv": ["python3", "-u", "app/count.py"], "restart": "on-failure" });
    let process = project.put_process(&body).await;
    assert_eq!(process["state"], "running");
    let again = project.put_process(&body).await;
    assert_eq!(again["pid"], process["pid"], "the same spec is the same process");
    process["pid"].clone()
}

/// Leaves something in the shell that only this very shell knows; its pid.
async fn open_terminal(project: &Project) -> String {
    let mut terminal = project.client.terminal(&project.id, "cols=80&rows=24").await;
    terminal.type_text("KEPT=marmalade; echo shell=$$.\r").await;
    let screen = terminal.wait_for_screen("the shell's pid", |s| shell_pid(s).is_some()).await;
    shell_pid(&screen).expect("just seen")
}

async fn find_terminal(project: &Project, shell: &str) {
    let mut terminal = project.client.terminal(&project.id, "cols=80&rows=24").await;
    let seen = format!("shell={shell}.");
    terminal.wait_for_screen("the screen from before", |screen| screen.contains(&seen)).await;
    terminal.type_text("clear; echo \"<$KEPT>\" shell=$$.\r").await;
    let screen = terminal.wait_for_screen("the variable", |s| s.contains("<marmalade>")).await;
    assert_eq!(shell_pid(&screen).as_deref(), Some(shell));
}

/// The digits in `shell=123.`; what was typed has none.
fn shell_pid(screen: &str) -> Option<String> {
    let shown = screen.split("shell=").skip(1).filter_map(|rest| rest.split_once('.'));
    let mut pids = shown.map(|(pid, _)| pid);
    pids.find(|pid| !pid.is_empty() && pid.bytes().all(|c| c.is_ascii_digit())).map(str::to_owned)
}
