//! The security floor of every sandbox, as code inside of it finds it.

use std::collections::BTreeMap;

use serde_json::json;

use crate::support::{Project, server};

/// The fields of a `/proc/<pid>/status`.
fn fields(status: &str) -> BTreeMap<&str, &str> {
    status.lines().filter_map(|line| line.split_once(':')).map(|(k, v)| (k, v.trim())).collect()
}

#[tokio::test]
async fn commands_the_process_and_the_terminal_run_on_the_floor() {
    let server = server().start().await;
    let project = Project::running(&server.client(), "floor").await;
    let exec = project.sh("cat /proc/self/status").await;
    let body = json!({ "argv": ["sh", "-c", "cat /proc/self/status; sleep 1000"] });
    project.put_process(&body).await;
    sandtree_testkit::until("the process's status", async || {
        project.log().await.contains("nonvoluntary_ctxt_switches")
    })
    .await;
    let mut terminal = project.client.terminal("floor", "cols=80&rows=24").await;
    terminal.type_text("cat /proc/self/status > status.txt; echo do''ne\r").await;
    terminal.wait_for_screen("the end", |screen| screen.contains("done")).await;
    let (process, shell) = (project.log().await, project.read("status.txt").await);

    for (what, status) in [("exec", exec), ("process", process), ("terminal", shell)] {
        let fields = fields(&status);
        let uids: Vec<u32> =
            fields["Uid"].split_whitespace().map(|uid| uid.parse().expect("a uid")).collect();
        assert!(uids.iter().all(|uid| *uid != 0), "{what}: {status}");
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(fields[set], "0000000000000000", "{what}: {set}");
        }
        assert_eq!(fields["NoNewPrivs"], "1", "{what}");
        assert_eq!(fields["Seccomp"], "2", "{what}");
    }
}

#[tokio::test]
async fn the_world_of_a_sandbox_is_small() {
    let server = server().start().await;
    let limits = json!({ "pids": 64, "memory_bytes": 128 * 1024 * 1024 });
    let body = json!({ "id": "floor", "start": true, "limits": limits });
    let project = Project::create(&server.client(), &body).await;
    for (what, command, expected) in [
        ("the root cannot be written", "touch /x 2>/dev/null || echo refused", "refused\n"),
        ("nor can /usr", "touch /usr/bin/x 2>/dev/null || echo refused", "refused\n"),
        ("the temporary directory can", "touch /tmp/x && echo written", "written\n"),
        ("and the home", "touch \"$HOME/x\" && echo written", "written\n"),
        ("there is only loopback", "ls /sys/class/net", "lo\n"),
        ("there is no engine's socket", "ls /var/run/docker.sock /run/docker.sock 2>/dev/null", ""),
        ("no devices", "ls /dev/sda /dev/kmsg /dev/kvm /dev/mem 2>/dev/null", ""),
        ("its home is mounted read-only", "touch /.sandtree/home/x 2>/dev/null || echo no", "no\n"),
        ("so is init", "echo x 2>/dev/null >/.sandtree/init || echo no", "no\n"),
        ("the token is gone", "cat /.sandtree/home/token 2>/dev/null || echo gone", "gone\n"),
        ("init's environment", "cat /proc/1/environ 2>/dev/null || echo no", "no\n"),
        ("init's memory", "head -c1 /proc/1/mem 2>/dev/null || echo no", "no\n"),
        ("init's descriptors", "ls /proc/1/fd 2>/dev/null || echo no", "no\n"),
        ("init cannot be killed", "kill -9 1; sleep 0.1; echo alive", "alive\n"),
        ("nor told to end", "kill -TERM 1; sleep 0.1; echo alive", "alive\n"),
        ("nor frozen", "kill -STOP 1; sleep 0.1; echo alive", "alive\n"),
        ("mounts cannot be made", "mount -t tmpfs x /tmp 2>/dev/null || echo no", "no\n"),
        ("nor namespaces", "unshare -U true 2>/dev/null || echo no", "no\n"),
    ] {
        assert_eq!(stdout(&project, command).await, expected, "{what}: {command}");
    }
    assert_eq!(project.sh("echo ok").await, "ok\n", "after all of this");
}

/// What a command writes, however it ends.
async fn stdout(project: &Project, command: &str) -> String {
    project.exec(command).await["stdout"].as_str().expect("a text").to_owned()
}

#[tokio::test]
async fn the_limits_that_were_asked_for_hold() {
    let server = server().start().await;
    let limits =
        json!({ "pids": 64, "memory_bytes": 128 * 1024 * 1024, "tmp_bytes": 8 * 1024 * 1024 });
    let body = json!({ "id": "floor", "start": true, "limits": limits });
    let project = Project::create(&server.client(), &body).await;
    // Whatever version of control groups the machine has.
    let seen = async |v2: &str, v1: &str| {
        let command = format!("cat /sys/fs/cgroup/{v2} 2>/dev/null || cat /sys/fs/cgroup/{v1}");
        project.sh(&command).await.trim().to_owned()
    };
    assert_eq!(seen("pids.max", "pids/pids.max").await, "64");
    assert_eq!(seen("memory.max", "memory/memory.limit_in_bytes").await, "134217728");
    let full = stdout(&project, "head -c 9000000 /dev/zero > /tmp/big 2>/dev/null || echo full");
    assert_eq!(full.await, "full\n");
    let forked = project.exec("for i in $(seq 100); do sleep 5 & done; jobs | wc -l").await;
    assert_ne!(forked["stderr"], "", "a hundred processes where 64 are allowed: {forked}");
    sandtree_testkit::until("room for a command", async || {
        let answer = project.post("exec", &json!({ "argv": ["true"] })).await;
        answer.status == 200 && answer.json()["exit_code"] == 0
    })
    .await;
}

#[tokio::test]
async fn two_sandboxes_are_two_users_who_do_not_see_each_other() {
    let server = server().start().await;
    let client = server.client();
    let (left, right) =
        (Project::small(&client, "left").await, Project::small(&client, "right").await);
    let uid = async |project: &Project| project.sh("id -u").await.trim().to_owned();
    assert_ne!(uid(&left).await, uid(&right).await);
    left.write("mine.txt", "mine").await;
    assert_eq!(right.get("files/mine.txt").await.status, 404);
    assert_eq!(left.sh("stat -c %u mine.txt").await.trim(), uid(&left).await);
}
