//! `POST /session/{id}/fs/{op}` but for the searches (contract 1.5): bodies, replies and codes,
//! operation by operation.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Session, server};

/// A body, and what the reply has to be without the words of its error.
pub(super) type Row = (Value, Value);

pub(super) async fn check(session: &Session, op: &str, rows: &[Row]) {
    for (body, expected) in rows {
        let mut reply = session.fs(op, body).await;
        if let Some(error) = reply["error"].as_object_mut() {
            let message = error.remove("message");
            assert!(message.is_some_and(|it| it.is_string()), "{op} {body}: no message");
        }
        assert_eq!(reply, *expected, "{op} {body}");
    }
}

pub(super) fn code(code: &str) -> Value {
    json!({ "code": code })
}

pub(super) fn names(all: &[(&str, bool)]) -> Value {
    all.iter()
        .map(|(path, is_dir)| json!({ "path": format!("/workspace/{path}"), "is_dir": is_dir }))
        .collect()
}

/// Paths that no operation takes.
const BAD_PATHS: [&str; 7] = [
    "repo/a",
    "/etc/passwd",
    "/workspace/../etc/passwd",
    "/workspace/repo/..",
    "/workspace/a\u{0}",
    "/workspace/a\n",
    "/workspace/a\r",
];

#[tokio::test]
async fn a_path_is_absolute_and_in_the_workspace_for_every_operation() {
    let server = server().start().await;
    let session = Session::small(&server.client()).await;
    for path in BAD_PATHS {
        for op in ["ls", "read", "grep", "glob", "write", "edit", "delete"] {
            let body =
                json!({ "path": path, "pattern": "x", "content": "", "old": "a", "new": "b" });
            assert_eq!(
                session.fs(op, &body).await["error"]["code"],
                "invalid_path",
                "{op} {path:?}"
            );
        }
    }
    for (op, code) in [
        ("ls", None),
        ("grep", None),
        ("glob", None),
        ("read", Some("invalid_path")),
        ("write", Some("invalid_path")),
        ("edit", Some("invalid_path")),
        ("delete", Some("invalid_path")),
    ] {
        let body =
            json!({ "path": "/workspace/", "pattern": "x", "content": "", "old": "a", "new": "b" });
        assert_eq!(session.fs(op, &body).await["error"]["code"], json!(code), "{op}");
    }
}

#[tokio::test]
async fn ls_is_one_level_with_dotfiles() {
    let server = server().start().await;
    let session = Session::small(&server.client()).await;
    session.ok("mkdir -p d/deep; touch .dot a; ln -s d link; ln -s nowhere broken").await;
    let none = |error| json!({ "entries": [], "error": code(error) });
    let all = [
        ("repo/.dot", false),
        ("repo/a", false),
        ("repo/broken", false),
        ("repo/d", true),
        ("repo/link", true),
    ];
    check(
        &session,
        "ls",
        &[
            (
                json!({ "path": "/workspace/repo" }),
                json!({ "entries": names(&all), "error": null }),
            ),
            (json!({ "path": "/workspace/repo/a" }), none("not_a_directory")),
            (json!({ "path": "/workspace/repo/b" }), none("not_found")),
        ],
    )
    .await;
}

#[tokio::test]
async fn read_pages_texts_and_tells_bytes_from_them() {
    let server = server().start().await;
    let session = Session::small(&server.client()).await;
    session
        .ok("printf 'one\\ntwo\\nthree\\n' > text; printf 'a\\r\\nb' > dos; : > empty; mkdir d
             printf '\\377\\000' > bytes; head -c 512000 /dev/zero | tr '\\0' '\\377' > most
             cp most more; printf '\\377' >> more; ln -s /etc/passwd out; mkfifo pipe")
        .await;
    let reply = |content: &str, encoding: &str, total: Value, end: Value| {
        json!({
            "content": content, "encoding": encoding, "total_lines": total, "end_line": end,
            "truncated": false, "error": null,
        })
    };
    let text =
        |content: &str, total: u32, end: u32| reply(content, "utf-8", total.into(), end.into());
    let none = |error| {
        json!({
            "content": null, "encoding": null, "total_lines": null, "end_line": null,
            "truncated": false, "error": code(error),
        })
    };
    let of = |name: &str| json!({ "path": format!("/workspace/repo/{name}") });
    let page = |offset: i64, limit: i64| json!({ "path": "/workspace/repo/text", "offset": offset, "limit": limit });
    let reminder = "System reminder: File exists but has empty contents";
    let most = STANDARD.encode(vec![0xff; 512_000]);
    check(
        &session,
        "read",
        &[
            (of("text"), text("one\ntwo\nthree", 3, 3)),
            (page(0, 1), text("one", 3, 1)),
            (page(1, 1), text("two", 3, 2)),
            (page(2, 9), text("three", 3, 3)),
            (page(3, 1), none("invalid_offset")),
            (of("dos"), text("a\nb", 2, 2)),
            (of("empty"), reply(reminder, "utf-8", Value::Null, Value::Null)),
            (of("bytes"), reply("/wA=", "base64", Value::Null, Value::Null)),
            (of("most"), reply(&most, "base64", Value::Null, Value::Null)),
            (of("more"), none("too_large")),
            (of("d"), none("is_a_directory")),
            (of("absent"), none("not_found")),
            (of("text/below"), none("not_a_directory")),
            (of("out"), none("permission_denied")),
            (of("pipe"), none("exec_failed")),
        ],
    )
    .await;
    let past = session.fs("read", &page(9, 1)).await;
    assert_eq!(past["error"]["message"], "Line offset 9 exceeds file length (3 lines)");
}

#[tokio::test]
async fn a_page_has_two_thousand_lines_unless_it_is_said() {
    let server = server().start().await;
    let session = Session::small(&server.client()).await;
    session.ok("seq 2001 > many").await;
    let page = session.fs("read", &json!({ "path": "/workspace/repo/many" })).await;
    let content = page["content"].as_str().expect("a text");
    assert!(content.starts_with("1\n2\n") && content.ends_with("\n2000"), "{}", content.len());
    let told = [&page["total_lines"], &page["end_line"], &page["truncated"]];
    assert_eq!(told, [&json!(2001), &json!(2000), &json!(false)]);
}

#[tokio::test]
async fn a_page_that_is_too_long_is_cut_at_its_last_whole_line() {
    let server = server().start().await;
    let session = Session::small(&server.client()).await;
    session.ok("yes 0123456789 | head -n 100000 > long; tr -d '\\n' < long > line").await;
    let body = json!({ "path": "/workspace/repo/long", "offset": 5, "limit": 90000 });
    let cut = session.fs("read", &body).await;
    let whole = 512_000 / 11;
    assert_eq!(
        (&cut["truncated"], &cut["end_line"], &cut["total_lines"]),
        (&json!(true), &json!(5 + whole), &json!(100_000))
    );
    let content = cut["content"].as_str().expect("a text");
    assert!(content.starts_with("0123456789\n") && content.ends_with("the rest of the file.]"));
    let body = json!({ "path": "/workspace/repo/line" });
    let cut = session.fs("read", &body).await;
    assert_eq!((&cut["truncated"], &cut["end_line"]), (&json!(true), &json!(0)));
}

#[tokio::test]
async fn write_makes_what_is_not_there_and_nothing_else() {
    let server = server().start().await;
    let session = Session::small(&server.client()).await;
    session.ok("echo old > file; mkdir d; ln -s /etc out").await;
    let body = |name: &str, content: &str, mode: Option<u32>| {
        let mut body = json!({ "path": format!("/workspace/repo/{name}"), "content": content });
        if let Some(mode) = mode {
            body["mode"] = mode.into();
        }
        body
    };
    let made = json!({ "ok": true, "error": null });
    let none = |error| json!({ "ok": false, "error": code(error) });
    check(
        &session,
        "write",
        &[
            (body("n/e/w", "aGk=\n", None), made.clone()),
            (body("empty", "", None), made.clone()),
            (body("mine", "aGk=", Some(0o600)), made.clone()),
            (body("run", "aGk=", Some(0o700)), made.clone()),
            (body("special", "aGk=", Some(0o4755)), made),
            (body("file", "aGk=", None), none("already_exists")),
            (body("d", "aGk=", None), none("already_exists")),
            (body("file/below", "aGk=", None), none("not_a_directory")),
            (body("out/x", "aGk=", None), none("permission_denied")),
        ],
    )
    .await;
    assert_eq!(session.ok("cat n/e/w mine file").await, "hihiold\n");
    let stat = session.ok("stat -c '%n %a %u:%g' n n/e/w mine run special").await;
    let expected = "n 755 1000:1000\nn/e/w 644 1000:1000\nmine 644 1000:1000\n\
                    run 755 1000:1000\nspecial 755 1000:1000\n";
    assert_eq!(stat, expected);
}

#[tokio::test]
async fn edit_replaces_one_text_or_all_of_them() {
    let server = server().start().await;
    let session = Session::small(&server.client()).await;
    session
        .ok("printf 'a b a\\n' > text; chmod 700 text; printf 'x\\r\\ny\\r\\n' > dos
             printf '\\377' > bytes; mkdir d; printf 'end' > last")
        .await;
    let body = |name: &str, old: &str, new: &str, all: bool| json!({ "path": format!("/workspace/repo/{name}"), "old": old, "new": new, "replace_all": all });
    let done = |count: u32| json!({ "occurrences": count, "error": null });
    let none = |error| json!({ "occurrences": null, "error": code(error) });
    check(
        &session,
        "edit",
        &[
            (body("text", "a", "c", false), none("multiple_occurrences")),
            (body("text", "b", "c", false), done(1)),
            (body("text", "a", "d", true), done(2)),
            (body("dos", "x\ny", "z\nz", false), done(1)),
            (body("text", "none", "", false), none("string_not_found")),
            (body("bytes", "a", "b", false), none("not_a_text_file")),
            (body("d", "a", "b", false), none("is_a_directory")),
            (body("absent", "a", "b", false), none("not_found")),
        ],
    )
    .await;
    let shown = session.ok("cat text; od -c dos | head -n 1; stat -c %a text").await;
    assert_eq!(shown, "d c d\n0000000   z  \\r  \\n   z  \\r  \\n\n644\n");
    let message = async |name, old| {
        session.fs("edit", &body(name, old, "x", false)).await["error"]["message"].clone()
    };
    assert_eq!(message("text", "none").await, "string_not_found");
    let hint = message("last", "end\n").await;
    assert!(hint.as_str().is_some_and(|it| it.contains("newline")), "{hint}");
    let many = message("text", "d").await;
    assert!(many.as_str().is_some_and(|it| it.starts_with("String appears 2 times")), "{many}");
}

#[tokio::test]
async fn delete_removes_files_and_what_is_not_there_is_removed() {
    let server = server().start().await;
    let session = Session::small(&server.client()).await;
    session.ok("touch file; mkdir d; ln -s /etc/passwd link").await;
    let of = |name: &str| json!({ "path": format!("/workspace/repo/{name}") });
    let done = |removed: bool| json!({ "removed": removed, "ok": true, "error": null });
    let none = |error| json!({ "removed": false, "ok": false, "error": code(error) });
    check(
        &session,
        "delete",
        &[
            (of("file"), done(true)),
            (of("file"), done(false)),
            (of("no/such/folder"), done(false)),
            (of("link"), done(true)),
            (of("d"), none("is_a_directory")),
        ],
    )
    .await;
    assert_eq!(session.ok("ls").await, "d\n");
}
