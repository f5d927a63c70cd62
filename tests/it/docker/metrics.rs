//! What `/metrics` shows is what `docs/OPERATIONS.md` says.

use std::collections::BTreeSet;

use sandtree_testkit::until;

use crate::support::{Project, server};

/// The page, as it is in this tree.
const PAGE: &str = include_str!("../../../docs/OPERATIONS.md");

/// Everything in the page's tables that is the name of a metric, with its label if one is
/// named: `sandtree_a`, `sandtree_b{bound="c"}`.
fn documented() -> BTreeSet<String> {
    let rows = PAGE.lines().filter(|line| line.starts_with("| "));
    let quoted = rows.flat_map(|row| row.split('`').skip(1).step_by(2));
    quoted.filter(|word| word.starts_with("sandtree_")).map(str::to_owned).collect()
}

/// The name of a line's metric without what a histogram adds, and its bound.
fn shown(line: &str) -> Option<(String, Option<String>)> {
    let name = line.split(['{', ' ']).next()?.trim_end_matches("_bucket");
    let name = name.trim_end_matches("_sum").trim_end_matches("_count");
    let bound = line.split("bound=\"").nth(1).and_then(|rest| rest.split('"').next());
    (!line.starts_with('#') && !line.is_empty())
        .then(|| (name.to_owned(), bound.map(str::to_owned)))
}

#[tokio::test]
async fn every_metric_of_the_page_is_shown_and_the_page_has_every_one() {
    let server = server().env("SANDTREE_POOL__SIZES__SMALL", "1").start().await;
    let client = server.client();
    let is_pooled = async || {
        let text = client.get("/metrics").await.text();
        text.contains("sandtree_pool_ready{profile=\"small\"} 1")
    };
    until("a pooled sandbox", is_pooled).await;
    Project::small(&client, "warm").await;
    Project::running(&client, "cold").await.sh("true").await;

    let text = client.get("/metrics").await.text();
    let mut names = BTreeSet::new();
    for (name, bound) in text.lines().filter_map(shown) {
        if name == "sandtree_bound_used" {
            let bound = bound.expect("which bound it is");
            names.insert(format!("{name}{{bound=\"{bound}\"}}"));
        }
        names.insert(name);
    }
    let documented = documented();
    let missing: Vec<_> = documented.difference(&names).collect();
    assert!(missing.is_empty(), "documented and not shown: {missing:?}");
    let untold: Vec<_> = names.difference(&documented).collect();
    assert!(untold.is_empty(), "shown and not documented: {untold:?}");
}
