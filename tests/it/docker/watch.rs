//! Watching the files of a real sandbox.

use std::collections::BTreeSet;

use sandtree_testkit::{Client, Sse, until};
use serde_json::{Value, json};

use crate::support::{Project, server};

/// A stream of changes.
struct Watch(Sse);

impl Watch {
    async fn open(client: &Client, project: &Project, query: &str) -> Self {
        let path = project.path(&format!("watch?{query}"));
        let mut watch = Self(client.request(hyper::Method::GET, &path).events().await);
        let (kind, ready) = watch.next().await;
        assert_eq!(kind, "ready", "{ready}");
        watch
    }

    async fn next(&mut self) -> (String, Value) {
        let event = self.0.next().await.expect("an event");
        (event.event.clone(), event.json())
    }

    /// What is told until this path is.
    async fn until(&mut self, path: &str) -> Vec<String> {
        let mut told = Vec::new();
        loop {
            let (kind, what) = self.next().await;
            if what["path"] == path {
                return told;
            }
            let text = |field: &str| what[field].as_str().unwrap_or_default().to_owned();
            told.push(match kind.as_str() {
                "renamed" => format!("renamed {} {}", text("from"), text("to")),
                _ => format!("{kind} {}", text("path")),
            });
        }
    }
}

/// Without what may be told again after a while.
fn once(told: &[String]) -> Vec<&str> {
    told.iter().map(String::as_str).filter(|one| !one.starts_with("modified ")).collect()
}

#[tokio::test]
async fn changes_from_inside_and_outside_are_told() {
    let server = server().start().await;
    let client = server.client();
    let project = Project::small(&client, "watch").await;
    project.sh("mkdir -p src/old node_modules; echo 1 > src/old/a; echo 1 > gone").await;
    let mut watch = Watch::open(&client, &project, "exclude=node_modules").await;

    project.sh("echo 2 > src/old/a; mv src/old src/new; rm gone; echo x > node_modules/x").await;
    project.sh("mkdir -p d/e && echo x > d/e/f && touch end").await;
    let told = watch.until("end").await;
    assert!(told.contains(&"modified src/old/a".to_owned()), "{told:?}");
    let expected =
        ["renamed src/old src/new", "removed gone", "created d", "created d/e", "created d/e/f"];
    assert_eq!(once(&told), expected);

    // The host's own writes are renames into the place.
    project.write("src/new/host", "x").await;
    assert!(watch.until("src/new/host").await.is_empty());
    project.sh("git 2>/dev/null; echo y > src/new/host; touch end2").await;
    assert_eq!(watch.until("end2").await, ["modified src/new/host"]);

    let mut below = Watch::open(&client, &project, "path=src&recursive=false").await;
    project.sh("echo x > src/new/deep; echo x > top; echo x > src/end").await;
    assert!(below.until("src/end").await.is_empty());
}

#[tokio::test]
async fn a_flood_is_told_to_the_last_file_or_said_to_be_lost() {
    let server = server().start().await;
    let client = server.client();
    let project = Project::small(&client, "flood").await;
    let mut watch = Watch::open(&client, &project, "").await;
    project.sh("for d in $(seq 20); do mkdir $d; (cd $d; seq 250 | xargs touch); done").await;
    project.sh("touch end").await;
    let mut created = BTreeSet::new();
    let mut lost = false;
    loop {
        let (kind, what) = watch.next().await;
        let path = what["path"].as_str().unwrap_or_default().to_owned();
        match kind.as_str() {
            "created" if path == "end" => break,
            "created" => drop(created.insert(path)),
            "modified" => {}
            "overflow" => {
                lost = true;
                // It may have come after the last file.
                project.sh("rm end; touch end").await;
            }
            "removed" if path == "end" => {}
            _ => panic!("{kind} {what}"),
        }
    }
    assert!(lost || created.len() == 20 * 251, "{} are told", created.len());
}

#[tokio::test]
async fn a_watch_ends_with_its_sandbox_and_does_not_keep_it() {
    let server = server().start().await;
    let client = server.client();
    let body = json!({"id": "idle", "profile": "small", "start": true, "idle_timeout": "2s"});
    let project = Project::create(&client, &body).await;
    let mut watch = Watch::open(&client, &project, "").await;
    project.wait_for("stopped").await;
    let (kind, problem) = watch.next().await;
    assert_eq!((kind.as_str(), &problem["status"]), ("error", &json!(502)), "{problem}");
    assert!(watch.0.next().await.is_none());
    assert_eq!(project.get("watch").await.problem().0, "wrong-phase");

    // A client that goes away frees its place in the kernel.
    project.operate("start").await;
    for _ in 0..40 {
        drop(Watch::open(&client, &project, "").await);
    }
    until("a place to watch", async || project.get("watch?path=none").await.status == 404).await;
}
