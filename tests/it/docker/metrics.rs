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

/// The bounds of the page with the keys of their sizes.
fn keys_of_bounds() -> Vec<(&'static str, &'static str)> {
    let rows = PAGE.lines().filter(|line| line.starts_with("| "));
    let bound_and_key = |row: &'static str| {
        let bound = row.split("sandtree_bound_used{bound=\"").nth(1)?.split('"').next()?;
        let size = row.split(" | ").nth(1)?;
        let key = size.strip_prefix('`').and_then(|key| key.strip_suffix('`'));
        assert!(key.is_some() || bound == "store_writers", "{bound} has no key: {row}");
        Some((bound, key?))
    };
    rows.filter_map(bound_and_key).collect()
}

#[tokio::test]
async fn the_size_of_every_bound_is_in_the_configuration() {
    let bounds = keys_of_bounds();
    assert!(bounds.len() >= 24, "{bounds:?}");
    // None of them is so by itself.
    let size = |key: &str| if key.ends_with("_bytes") { "70000" } else { "63" };
    let mut server = server();
    for (_, key) in &bounds {
        let name = format!("SANDTREE_{}", key.replace('.', "__").to_uppercase());
        server = server.env(&name, size(key));
    }
    let server = server.start().await;
    let client = server.client();
    Project::small(&client, "one").await;
    let text = client.get("/metrics").await.text();
    for (bound, key) in bounds {
        let line = format!("sandtree_bound_max{{bound=\"{bound}\"}} {}", size(key));
        assert!(text.lines().any(|shown| shown == line), "{key}: no {line} in {text}");
    }
}
