//! Paths and links that lead out of the workspace, also while they change.

use std::path::{Path, PathBuf};

use hyper::Method;
use sandtree_testkit::TestServer;
use serde_json::json;

use crate::support::{Project, server};

/// What must never be read or changed.
const SECRET: &str = "the secret outside of the workspace";

/// Secrets where links out of the workspace would lead on this machine: beside the
/// workspace, and at an absolute path.
struct Outside {
    beside: PathBuf,
    absolute: PathBuf,
}

impl Outside {
    async fn plant(server: &TestServer, project: &Project) -> Self {
        let shown = project.show().await;
        let sandbox = shown["sandbox"]["uid"].as_str().expect("a sandbox");
        let dir = server.data_dir().join("sandboxes").join(sandbox);
        let outside =
            Self { beside: dir.join("secret"), absolute: server.data_dir().join("secret") };
        for path in [&outside.beside, &outside.absolute] {
            std::fs::write(path, SECRET).expect("a secret outside");
        }
        outside
    }

    fn assert_untouched(&self) {
        for path in [&self.beside, &self.absolute] {
            let now = std::fs::read_to_string(path).expect("the secret");
            assert_eq!(now, SECRET, "{} was changed", path.display());
            let dir = path.parent().expect("a directory");
            assert!(!dir.join("written").exists(), "written beside {}", path.display());
        }
        assert!(!Path::new("/tmp/sandtree-was-here").exists());
    }
}

#[tokio::test]
async fn paths_that_lead_out_or_are_no_paths_are_refused() {
    let server = server().start().await;
    let client = server.client();
    let project = Project::create(&client, &json!({ "id": "demo" })).await;
    let (long, deep) = ("a".repeat(256), "a/".repeat(3000));
    for path in [
        "..",
        "../secret",
        "a/../../secret",
        "%2e%2e/secret",
        "%2E%2E%2Fsecret",
        "..%2f..%2fsecret",
        "%2e%2e%2f%2e%2e%2f%2e%2e%2fetc/passwd",
        "/etc/passwd",
        "%2Fetc%2Fpasswd",
        "./a",
        "a/./b",
        "a%00b",
        "%00",
        "%ff%fe",
        "%c0%ae%c0%ae/secret",
        long.as_str(),
        deep.as_str(),
    ] {
        let short: String = path.chars().take(40).collect();
        for method in [Method::GET, Method::PUT, Method::DELETE] {
            let call = client.request(method.clone(), &project.path(&format!("files/{path}")));
            let call = call.body("application/octet-stream", "written");
            let answer = call.send().await;
            assert!(matches!(answer.status, 400 | 403 | 404 | 414), "{method} {short}: {answer:?}");
            if answer.status == 400 {
                assert_eq!(answer.problem().1["field"], "path", "{method} {short}: {answer:?}");
            }
        }
    }
    assert_eq!(entries(&project).await, "[]", "something was written");
}

async fn entries(project: &Project) -> String {
    project.get("tree").await.expect(200).json()["entries"].to_string()
}

#[tokio::test]
async fn paths_in_bodies_are_held_to_the_same_rules() {
    let server = server().start().await;
    let project = Project::create(&server.client(), &json!({ "id": "demo" })).await;
    project.write("here.txt", "here").await;
    for bad in ["../out", "/etc/passwd", "a/../../out", "a\u{0}b", "", "."] {
        for (route, body) in [
            ("files:mkdir", json!({ "path": bad })),
            ("files:move", json!({ "from": "here.txt", "to": bad })),
            ("files:move", json!({ "from": bad, "to": "there.txt" })),
            ("files:copy", json!({ "from": "here.txt", "to": bad })),
            ("files:copy", json!({ "from": bad, "to": "there.txt" })),
        ] {
            let answer = project.client.post(&format!("/v1/projects/demo/{route}"), &body).await;
            assert!(matches!(answer.status, 400..=409), "{route} {body}: {answer:?}");
            let _ = answer.problem();
        }
    }
    assert_eq!(project.read("here.txt").await, "here");
}

#[tokio::test]
async fn planted_links_and_special_files_lead_nowhere() {
    let server = server().start().await;
    let project = Project::running(&server.client(), "demo").await;
    let outside = Outside::plant(&server, &project).await;
    let absolute = outside.absolute.display();
    project
        .sh(&format!(
            "ln -s ../secret beside; ln -s {absolute} absolute; ln -s .. up; ln -s / root; \
             ln -s /proc/self/root magic; ln -s /etc/passwd passwd; ln -s loop loop; \
             mkfifo fifo; mkdir dir; ln -s ../.. dir/up; ln -s up/secret twice"
        ))
        .await;
    for path in [
        "beside",
        "absolute",
        "passwd",
        "loop",
        "twice",
        "fifo",
        "up/secret",
        "root/etc/passwd",
        "magic/etc/passwd",
        "dir/up/secret",
        "up/home/sock",
        "root/tmp/sandtree-was-here",
    ] {
        let answer = project.get(&format!("files/{path}")).await;
        assert!((400..500).contains(&answer.status), "GET {path}: {answer:?}");
        assert!(!answer.text().contains(SECRET) && !answer.text().contains("root:x:0"), "{path}");
    }
    for path in ["up/written", "dir/up/written", "root/tmp/sandtree-was-here", "magic/tmp/written"]
    {
        let path = project.path(&format!("files/{path}"));
        let answer = project.client.put_bytes(&path, "text/plain", "written").await;
        assert!((400..500).contains(&answer.status), "PUT {path}: {answer:?}");
        let answer = project.client.delete(&path).await;
        assert!((400..500).contains(&answer.status), "DELETE {path}: {answer:?}");
    }
    // In the last place a link is replaced, and a link is what is removed.
    project.write("beside", "a file now").await;
    assert_eq!(project.sh("test ! -L beside && cat beside").await, "a file now");
    let _ = project.client.delete(&project.path("files/up?recursive=true")).await.expect(204);
    let archive = project.get("archive?format=tar").await.expect(200);
    assert!(!archive.text().contains(SECRET), "the archive has the secret");
    outside.assert_untouched();
}

/// Exchanges a directory and a link to the world outside, as fast as it can.
const SWAPPER: &str = include_str!("../../fixtures/swapper.py");
/// Requests of each kind during the race.
const READS: usize = 1500;
const WRITES: usize = 300;

#[tokio::test]
async fn links_that_are_swapped_in_during_requests_lead_nowhere() {
    let server = server().start().await;
    let project = Project::running(&server.client(), "demo").await;
    let outside = Outside::plant(&server, &project).await;
    project.write("swapper.py", SWAPPER).await;
    for target in ["..".to_owned(), server.data_dir().display().to_string()] {
        let argv = json!(["python3", "-u", "swapper.py", target]);
        project.put_process(&json!({ "argv": argv })).await;
        sandtree_testkit::until("the swapping", async || project.log().await.contains("swapping"))
            .await;
        let seen = tokio::join!(reads(&project), writes(&project), archives(&project));
        assert!(seen.0 > 0, "the race was never lost by the link: nothing was tested");
        outside.assert_untouched();
        let _ = project.client.delete(&project.path("process")).await.expect(200);
        let _ = project.sh("rm -rf swap other; true").await;
    }
    project.wait_for("running").await;
}

/// How many reads saw the file inside.
async fn reads(project: &Project) -> usize {
    let mut inside = 0;
    for n in 0..READS {
        let path = if n % 3 == 0 { "tree?path=swap" } else { "files/swap/secret" };
        let answer = project.get(path).await;
        assert!(answer.status < 500, "{path}: {answer:?}");
        assert!(!answer.text().contains(SECRET), "{path} showed the secret");
        assert!(!answer.text().contains("\"sock\""), "{path} listed what is outside");
        inside += usize::from(answer.status == 200);
    }
    inside
}

async fn writes(project: &Project) {
    for n in 0..WRITES {
        let path = project.path("files/swap/written");
        let answer = match n % 4 {
            0 => project.client.delete(&path).await,
            1 => project.client.delete(&project.path("files/swap/deep?recursive=true")).await,
            2 => {
                let body = json!({ "from": "swapper.py", "to": "swap/written", "overwrite": true });
                project.client.post("/v1/projects/demo/files:copy", &body).await
            }
            _ => project.client.put_bytes(&path, "text/plain", "written").await,
        };
        assert!(answer.status < 500, "{path}: {answer:?}");
    }
}

async fn archives(project: &Project) {
    for _ in 0..20 {
        let answer = project.get("archive?format=tar").await;
        assert!(answer.status < 500, "{answer:?}");
        assert!(!answer.text().contains(SECRET), "the archive showed the secret");
    }
}
