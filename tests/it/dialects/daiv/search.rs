//! `POST /session/{id}/fs/grep` and `fs/glob` (contract 1.5).

use serde_json::{Value, json};

use super::fs::{check, code, names};
use super::{Session, server};

#[tokio::test]
async fn grep_takes_extended_expressions_and_prunes() {
    let server = server().start().await;
    let session = Session::small(&server.client()).await;
    session
        .ok("printf 'foo\\nbar.baz\\nfoooo\\n' > a.py; echo foo > b.txt; mkdir -p node_modules .git t/x sub/target
             echo foo > node_modules/c.py; echo foo > .git/d.py; echo foo > t/x/e.py
             echo foo > sub/target/f.py; echo foo > .dot.py; printf 'foo\\0' > binary")
        .await;
    let hit = |path: &str, line: u32, text: &str| json!({ "path": format!("/workspace/repo/{path}"), "line": line, "text": text });
    let some =
        |matches: Vec<Value>| json!({ "matches": matches, "truncated": false, "error": null });
    let none = |error| json!({ "matches": [], "truncated": false, "error": code(error) });
    let find = |pattern: &str, more: Value| {
        let mut body = json!({ "pattern": pattern, "path": "/workspace/repo" });
        for (name, value) in more.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        body
    };
    let all = vec![
        hit(".dot.py", 1, "foo"),
        hit("a.py", 1, "foo"),
        hit("node_modules/c.py", 1, "foo"),
        hit("t/x/e.py", 1, "foo"),
    ];
    check(
        &session,
        "grep",
        &[
            (find("^foo$", json!({ "glob": "*.py" })), some(all)),
            (find("^foo$", json!({ "glob": "a*" })), some(vec![hit("a.py", 1, "foo")])),
            (find("fo{3,}", json!({})), some(vec![hit("a.py", 3, "foooo")])),
            (find("(bar|qux)\\.b", json!({})), some(vec![hit("a.py", 2, "bar.baz")])),
            (
                find("^foo$", json!({ "glob": "*.py", "exclude": ["t", "node_*"] })),
                some(vec![hit(".dot.py", 1, "foo"), hit("a.py", 1, "foo")]),
            ),
            (
                find("foo", json!({ "path": "/workspace/repo/b.txt" })),
                some(vec![hit("b.txt", 1, "foo")]),
            ),
            (find("nothing", json!({})), some(vec![])),
            (find("(", json!({})), none("invalid_pattern")),
            (find("x", json!({ "path": "/workspace/absent" })), none("not_found")),
        ],
    )
    .await;
    session.ok("seq 200 > many").await;
    let many = session.fs("grep", &find(".", json!({ "glob": "many" }))).await;
    assert_eq!(
        (many["matches"].as_array().map(Vec::len), &many["truncated"]),
        (Some(200), &json!(false))
    );
    session.ok("seq 201 > many").await;
    let more = session.fs("grep", &find(".", json!({ "glob": "many" }))).await;
    assert_eq!(
        (more["matches"].as_array().map(Vec::len), &more["truncated"]),
        (Some(200), &json!(true))
    );
}

/// The folders that searches do not look into, as the contract lists them; `*` was filled in.
const PRUNED: [&str; 29] = [
    ".git",
    ".hg",
    ".svn",
    ".idea",
    ".vs",
    "__pycache__",
    ".ruff_cache",
    ".mypy_cache",
    ".pytest_cache",
    ".pyre",
    ".pytype",
    ".hypothesis",
    ".ipynb_checkpoints",
    "my.egg-info",
    ".eggs",
    ".next",
    ".nuxt",
    ".svelte-kit",
    ".turbo",
    ".parcel-cache",
    ".angular",
    ".vite",
    ".astro",
    ".docusaurus",
    ".cache",
    ".phpunit.cache",
    ".gradle",
    "target",
    "obj",
];

/// Makes folders with a file in each; the paths of those files that a search finds.
async fn looked_into(session: &Session, folders: &[&str]) -> [Vec<String>; 2] {
    let names = folders.join(" ");
    session.ok(&format!("for d in {names}; do mkdir -p $d; echo here > $d/f; done")).await;
    let body = json!({ "pattern": "here", "path": "/workspace/repo" });
    let grep = session.fs("grep", &body).await;
    let body = json!({ "pattern": "**/f", "path": "/workspace/repo" });
    let glob = session.fs("glob", &body).await;
    [grep, glob].map(|reply| {
        let matches = reply["matches"].as_array().expect("matches").iter();
        let path = |found: &Value| found["path"].as_str().expect("a path").to_owned();
        let mut paths: Vec<_> = matches.map(path).collect();
        paths.sort();
        paths
    })
}

#[tokio::test]
async fn what_tools_make_is_not_searched_and_what_others_wrote_is() {
    let server = server().start().await;
    let session = Session::small(&server.client()).await;
    let others = ["node_modules", ".venv", "vendor", "src"];
    let folders = [&PRUNED[..], &others].concat();
    let expected =
        [".venv", "node_modules", "src", "vendor"].map(|d| format!("/workspace/repo/{d}/f"));
    for found in looked_into(&session, &folders).await {
        assert_eq!(found, expected);
    }
}

#[tokio::test]
async fn a_setting_replaces_the_folders_that_are_not_searched() {
    let own = server().env("SANDTREE_DIALECTS__DAIV__PRUNE_DIRS", "src,*.d");
    let server = own.start().await;
    let session = Session::small(&server.client()).await;
    for found in looked_into(&session, &["src", "x.d", ".git"]).await {
        assert_eq!(found, ["/workspace/repo/.git/f"]);
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_told_if_it_is_a_file() {
    let server = server().start().await;
    let session = Session::small(&server.client()).await;
    session.ok("mkdir d; echo x > d/f; echo x > a; chmod 0 d").await;
    let body = json!({ "pattern": "x", "path": "/workspace/repo" });
    let skipped = session.fs("grep", &body).await;
    assert_eq!(skipped["error"], Value::Null, "{skipped}");
    assert_eq!(skipped["matches"].as_array().map(Vec::len), Some(1), "{skipped}");
    session.ok("chmod 0 a").await;
    for path in ["/workspace/repo", "/workspace/repo/a"] {
        let told = session.fs("grep", &json!({ "pattern": "x", "path": path })).await;
        assert_eq!(told["error"]["code"], "exec_failed", "{path}: {told}");
    }
    let told = session.fs("read", &json!({ "path": "/workspace/repo/a" })).await;
    assert_eq!(told["error"]["code"], "permission_denied", "{told}");
}

#[tokio::test]
async fn glob_goes_across_folders_with_two_stars_alone() {
    let server = server().start().await;
    let session = Session::small(&server.client()).await;
    session
        .ok("mkdir -p s/t .git node_modules; touch a.py b.txt .c.py s/d.py s/t/e.py .git/f.py
             touch node_modules/g.py 'x[1.py' x1.py x2.py")
        .await;
    let find = |pattern: &str| json!({ "pattern": pattern, "path": "/workspace/repo" });
    let some = |all: &[(&str, bool)]| json!({ "matches": names(all), "error": null });
    let none = |error| json!({ "matches": [], "error": code(error) });
    let below = json!({ "pattern": "*.py", "path": "/workspace/repo/s" });
    let excluded = json!({ "pattern": "**/d.py", "path": "/workspace/repo", "exclude": ["s"] });
    check(
        &session,
        "glob",
        &[
            (find("[ab].*"), some(&[("repo/a.py", false), ("repo/b.txt", false)])),
            (find("?.py"), some(&[("repo/a.py", false)])),
            (find("x[!1].py"), some(&[("repo/x2.py", false)])),
            (find("x[1.py"), some(&[("repo/x[1.py", false)])),
            (find(".*.py"), some(&[("repo/.c.py", false)])),
            (find("s/*"), some(&[("repo/s/d.py", false), ("repo/s/t", true)])),
            (
                find("**/[d-g].py"),
                some(&[
                    ("repo/node_modules/g.py", false),
                    ("repo/s/d.py", false),
                    ("repo/s/t/e.py", false),
                ]),
            ),
            (below, some(&[("repo/s/d.py", false)])),
            (excluded, some(&[])),
            (json!({ "pattern": "*", "path": "/workspace/repo/a.py" }), none("not_a_directory")),
            (json!({ "pattern": "*", "path": "/workspace/absent" }), none("not_found")),
        ],
    )
    .await;
}
