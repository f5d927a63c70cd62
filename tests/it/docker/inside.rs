//! The security floor, looked at from inside a sandbox of the default profile.

use serde_json::{Value, json};

use crate::support::{Project, server};

/// Forks until it may not, and says how often it could and why it ended. What a command
/// leaves running lives on, so it leaves nothing.
const FORK_UNTIL_REFUSED: &str = r"
import os, signal, time
made, why = [], 'no limit'
try:
    while len(made) < 2000:
        made.append(os.fork())
        if made[-1] == 0:
            time.sleep(60)
            os._exit(0)
except OSError as error:
    why = error.errno
for pid in made:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
print(len(made), why)
";

/// Twice itself, for ever, below a shell that does not end.
const FORK_BOMB: &str = "bomb() { bomb | bomb & }; bomb; while :; do :; done";

/// Touches a gibibyte.
const MEMORY_HOG: &str = "kept = bytearray(b'x') * (1 << 30)";

/// Tries to change the limits of init.
const PRLIMIT_OF_INIT: &str = r"
import resource
resource.prlimit(1, resource.RLIMIT_NOFILE, (10, 10))
";

impl Project {
    async fn python(&self, program: &str) -> Value {
        let body = json!({ "argv": ["python3", "-c", program], "timeout": "1m" });
        self.post("exec", &body).await.expect(200).json()
    }

    /// That a command is refused; each row is named when it is not.
    async fn refuses(&self, commands: &[&str]) {
        for command in commands {
            let done = self.exec(command).await;
            assert_ne!(done["exit_code"], 0, "{command} works: {done}");
        }
    }

    /// When init was started, in ticks of the kernel: another one means another init.
    async fn init_started_at(&self) -> String {
        self.sh("cut -d ' ' -f 22 /proc/1/stat").await
    }
}

/// The value of a field of `/proc/<pid>/status`.
fn field<'a>(status: &'a str, name: &str) -> &'a str {
    let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.unwrap_or_else(|| panic!("no {name} in {status}")).trim()
}

#[tokio::test]
async fn a_program_in_a_sandbox_has_no_privilege() {
    let server = server().start().await;
    let project = Project::running(&server.client(), "plain").await;
    for pid in ["self", "1"] {
        let status = project.sh(&format!("cat /proc/{pid}/status")).await;
        for name in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(field(&status, name), "0000000000000000", "{name} of {pid}");
        }
        assert_eq!(field(&status, "NoNewPrivs"), "1", "of {pid}");
        assert_eq!(field(&status, "Seccomp"), "2", "of {pid}");
        for name in ["Uid", "Gid"] {
            let ids: Vec<&str> = field(&status, name).split_whitespace().collect();
            assert!(!ids.contains(&"0"), "{name} of {pid}: {ids:?}");
        }
    }
    assert_ne!(project.sh("id -u").await.trim(), "0");
    project
        .refuses(&[
            "mount -t tmpfs none /workspace",
            "mount --bind /tmp /workspace",
            "unshare --user true",
            "unshare --mount true",
            "unshare --net true",
            "chroot / true",
            "mknod /tmp/null c 1 3",
            "chown 0 /workspace",
        ])
        .await;
}

#[tokio::test]
async fn a_sandbox_sees_its_own_files_and_no_network() {
    let server = server().start().await;
    let project = Project::running(&server.client(), "closed").await;
    project.refuses(&["touch /x", "touch /usr/bin/x", "touch /etc/x", "echo >> /etc/passwd"]).await;
    project.sh("echo w > /workspace/w && echo t > /tmp/t && echo h > ~/h").await;
    assert_eq!(project.sh("cat /workspace/w /tmp/t ~/h").await, "w\nt\nh\n");

    let devices = project.sh("cat /proc/net/dev").await;
    let names: Vec<&str> = devices
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, _)| name.trim())
        .collect();
    assert_eq!(names, ["lo"]);

    let find = r"find / \( -path /proc -o -path /sys \) -prune -o -type s -print 2>/dev/null || :";
    let sockets = project.sh(find).await;
    let strange = sockets.lines().find(|socket| !socket.starts_with("/.sandtree/home/"));
    assert_eq!(strange, None, "a socket that is not the sandbox's own");
    let mounts = project.sh("cat /proc/self/mountinfo").await;
    assert!(!mounts.contains("docker.sock") && !mounts.contains("containerd.sock"), "{mounts}");
    let devices = project.sh("find /dev -type b 2>/dev/null || :").await;
    assert_eq!(devices, "", "no device of the machine");
}

#[tokio::test]
async fn init_cannot_be_read_replaced_or_ended_from_inside() {
    let server = server().start().await;
    let project = Project::running(&server.client(), "init").await;
    let (before, started) = (project.show().await, project.init_started_at().await);
    project
        .refuses(&[
            "cat /proc/1/environ",
            "head -c 1 /proc/1/mem",
            "cat /proc/1/maps",
            "ls -l /proc/1/fd/",
            "readlink /proc/1/exe",
            "cat /.sandtree/home/token",
            "touch /.sandtree/x",
            "touch /.sandtree/home/x",
            "rm -f /.sandtree/init",
            "echo x >> /.sandtree/init",
            "mv /.sandtree /tmp/gone",
        ])
        .await;
    let done = project.python(PRLIMIT_OF_INIT).await;
    assert!(done["stderr"].as_str().is_some_and(|said| said.contains("PermissionError")), "{done}");

    for signal in ["KILL", "TERM", "INT", "STOP", "HUP", "SEGV"] {
        // The kernel may say yes; what counts is that nothing happens.
        project.exec(&format!("kill -{signal} 1")).await;
        assert_eq!(project.init_started_at().await, started, "after {signal}");
    }
    let after = project.show().await;
    assert_eq!(after["phase"], "running");
    assert_eq!(after["generation"], before["generation"], "nothing moved");
    assert_eq!(after["sandbox"], before["sandbox"]);
}

#[tokio::test]
async fn too_many_processes_are_refused_and_init_lives() {
    let server = server().start().await;
    let client = server.client();
    let body = json!({ "id": "bomb", "start": true, "limits": { "pids": 64 } });
    let project = Project::create(&client, &body).await;
    let (before, started) = (project.show().await, project.init_started_at().await);

    let done = project.python(FORK_UNTIL_REFUSED).await;
    let said = done["stdout"].as_str().expect("a text").trim().to_owned();
    let (made, why) = said.split_once(' ').unwrap_or_else(|| panic!("{done}"));
    assert_eq!(why, "11", "EAGAIN: {done}");
    let made: u32 = made.parse().expect("a number");
    assert!((32..64).contains(&made), "{made} of 64");

    let body = json!({ "argv": ["bash", "-c", FORK_BOMB], "timeout": "5s" });
    let bombed = project.post("exec", &body).await.expect(200).json();
    assert_eq!(bombed["timed_out"], true, "{}", bombed["exit_code"]);
    project.wait_for_exec().await;
    assert_eq!(project.init_started_at().await, started, "the same init");
    assert_eq!(project.show().await["generation"], before["generation"], "nothing moved");
    let left = project.sh("ls -d /proc/[0-9]* | wc -l").await;
    assert!(left.trim().parse::<u32>().expect("a number") < 16, "{left} processes are left");
    let _ = client.get("/health").await.expect(200);
}

#[tokio::test]
async fn too_much_memory_ends_the_program_and_the_project_runs_on() {
    let server = server().start().await;
    let client = server.client();
    let limits = json!({ "memory_bytes": 128 << 20 });
    let body = json!({ "id": "hog", "start": true, "limits": limits });
    let project = Project::create(&client, &body).await;
    project.write("kept.txt", "kept\n").await;

    let body = json!({ "argv": ["python3", "-c", MEMORY_HOG], "timeout": "1m" });
    let answer = project.post("exec", &body).await;
    // Whom the kernel chooses is its business: the program, or the sandbox as a whole.
    match answer.status {
        200 => assert_eq!(answer.json()["exit_code"], 137, "{answer:?}"),
        status => assert_eq!((status, answer.problem().0.as_str()), (502, "sandbox-unreachable")),
    }
    project.wait_for_exec().await;
    project.wait_for("running").await;
    assert_eq!(project.sh("cat kept.txt").await, "kept\n");
    let _ = client.get("/health").await.expect(200);
}

#[tokio::test]
async fn two_sandboxes_have_nothing_in_common() {
    let server = server().start().await;
    let client = server.client();
    let one = Project::running(&client, "one").await;
    let two = Project::running(&client, "two").await;
    assert_ne!(one.sh("id -u").await, two.sh("id -u").await, "a uid for each");
    one.write("mine-alone.txt", "mine").await;
    one.sh("echo mine > /tmp/mine-alone.txt; echo mine > ~/mine-alone.txt").await;
    one.put_process(&json!({ "argv": ["sleep", "12345"] })).await;

    let find = "find / -path /proc -prune -o -name 'mine-alone*' -print 2>/dev/null || :";
    assert_eq!(two.sh(find).await, "");
    assert_eq!(one.sh(find).await.lines().count(), 3, "the search finds what is there");
    let commands = two.sh("cat /proc/[0-9]*/cmdline | tr '\\0' ' '").await;
    assert!(!commands.contains("12345"), "a process of another sandbox: {commands}");
}
