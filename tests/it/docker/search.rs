//! Searching what code in a sandbox has written.

use std::collections::BTreeSet;

use sandtree_testkit::until;
use serde_json::{Value, json};

use crate::support::{Project, server};

/// Makes a tree of 2000 files, of which every tenth has what is searched for.
const PLANT: &str = r#"
mkdir -p src/deep node_modules .git
i=0
while [ $i -lt 2000 ]; do
    word=hay
    [ $((i % 10)) -eq 0 ] && word=needle
    printf 'first\n%s %d\n' $word $i > src/deep/$i.txt
    i=$((i + 1))
done
echo needle > node_modules/x.js
echo needle > .git/x
printf 'needle\0' > src/binary
ln -s / src/out
ln -s /etc/passwd src/passwd
"#;

/// Swaps a directory for a link out of the workspace and back, until the file `end` appears.
const SWAP: &str = r"
mkdir -p swapped && echo needle > swapped/file
while [ ! -e end ]; do
    mv swapped kept && ln -s /etc swapped && rm swapped && mv kept swapped
done
";

async fn found(project: &Project, query: &str) -> Value {
    project.get(&format!("search?{query}")).await.expect(200).json()
}

fn paths(found: &Value) -> BTreeSet<String> {
    let matches = found["matches"].as_array().expect("a list");
    matches.iter().map(|one| one["path"].as_str().expect("a path").to_owned()).collect()
}

#[tokio::test]
async fn a_tree_that_the_sandbox_made_is_searched() {
    let server = server().start().await;
    let project = Project::small(&server.client(), "search").await;
    project.sh(PLANT).await;

    let all = found(&project, "q=needle&exclude=node_modules&exclude=.git").await;
    assert_eq!(
        (all["matches"].as_array().map(Vec::len), &all["truncated"]),
        (Some(200), &json!(false))
    );
    assert_eq!(all["skipped"]["binary"], 1, "{}", all["skipped"]);
    let line = &all["matches"][0];
    assert_eq!(
        (&line["path"], &line["line"], &line["column"], &line["text"]),
        (&json!("src/deep/0.txt"), &json!(2), &json!(1), &json!("needle 0"))
    );
    let cut = found(&project, "q=needle&max=50").await;
    assert_eq!(
        (cut["matches"].as_array().map(Vec::len), &cut["truncated"]),
        (Some(50), &json!(true))
    );
    assert!(paths(&found(&project, "q=needle").await).contains(".git/x"));

    // Links are names, and nothing behind them is found.
    assert!(paths(&found(&project, "q=root:").await).is_empty());
    let links = paths(&found(&project, "kind=symlink").await);
    assert_eq!(links, BTreeSet::from(["src/out".to_owned(), "src/passwd".to_owned()]));
    assert_eq!(project.get("search?q=root&path=src/passwd").await.problem().0, "outside-workspace");

    project.operate("stop").await;
    let names = found(&project, "glob=src/**/19?0.txt").await;
    assert_eq!(paths(&names).len(), 10, "{names}");
}

#[tokio::test]
async fn no_race_leads_a_search_out_of_the_workspace() {
    let server = server().start().await;
    let project = Project::small(&server.client(), "races").await;
    project.put_process(&json!({ "command": SWAP })).await;
    until("the swapping to begin", async || !paths(&found(&project, "q=needle").await).is_empty())
        .await;
    for _ in 0..200 {
        // Only what is in the workspace can be told; what is swapped just now may be missing.
        let found = found(&project, "q=root:%7Cneedle").await;
        for path in paths(&found) {
            assert!(matches!(path.as_str(), "swapped/file" | "kept/file"), "{path}");
        }
    }
    project.write("end", "").await;
}
