//! What is in the data directory is what `docs/OPERATIONS.md` says.

use std::path::Path;

use sandtree_testkit::until;
use serde_json::json;

use crate::support::{Project, server};

/// The page, as it is in this tree.
const PAGE: &str = include_str!("../../../docs/OPERATIONS.md");

/// Whether the page's list of the directory has a name.
fn is_told(name: &str) -> bool {
    let list = PAGE.split("```text\n").nth(1).and_then(|rest| rest.split("```").next());
    // Each line begins with one name or more, and its words follow after a gap.
    list.expect("the list of the directory").lines().any(|line| {
        let names = line.trim_start().split("  ").next().unwrap_or_default();
        names.split(", ").any(|told| {
            let told = told.split('/').next().unwrap_or_default();
            // What SQLite has beside its file is listed by its ending.
            told == name || (told.starts_with('-') && name == format!("sandtree.db{told}"))
        })
    })
}

/// Names in a directory that the page does not have.
fn untold(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).expect("a directory").flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| !is_told(name)).collect()
}

#[tokio::test]
async fn everything_in_the_data_directory_is_on_the_page() {
    let server = server().env("SANDTREE_POOL__SIZES__SMALL", "1").start().await;
    let client = server.client();
    let project = Project::small(&client, "demo").await;
    project.put_process(&json!({ "command": "echo one; exec sleep 600" })).await;
    until("a line of the log", async || project.log().await == "one\n").await;
    let once = json!({ "commands": ["true"], "profile": "small" });
    let ran = client.post("/v1/run", &once).await.expect(200).json();
    assert_eq!(ran["results"][0]["exit_code"], 0, "{ran}");

    assert_eq!(untold(server.data_dir()), Vec::<String>::new());
    let sandboxes = std::fs::read_dir(server.data_dir().join("sandboxes")).expect("sandboxes");
    for sandbox in sandboxes.flatten() {
        assert_eq!(untold(&sandbox.path()), Vec::<String>::new(), "{sandbox:?}");
    }
}
