//! Files and archives as clients see them, over a real tree.

use std::io::Read as _;

use serde_json::{Value, json};

use crate::edge::testing::{Answer, Edge};

async fn edge() -> Edge {
    let edge = Edge::open().await;
    assert_eq!(edge.json("POST", "/v1/projects", r#"{"id": "p"}"#).await.status, 201);
    edge
}

fn file(path: &str) -> String {
    format!("/v1/projects/p/files/{path}")
}

async fn put(edge: &Edge, path: &str, text: &str) -> Answer {
    edge.ask("PUT", &file(path), &[], text).await
}

async fn post(edge: &Edge, what: &str, body: &Value) -> Answer {
    edge.json("POST", &format!("/v1/projects/p/files:{what}"), &body.to_string()).await
}

#[tokio::test]
async fn a_file_is_written_read_and_removed() {
    let edge = edge().await;
    let made = put(&edge, "src/a%20b.txt?mode=0755", "0123456789").await;
    assert_eq!(made.status, 201, "{made:?}");
    let etag = made.headers["etag"].to_str().unwrap().to_owned();
    assert_eq!(put(&edge, "src/a%20b.txt", "0123456789").await.status, 204);

    let read = edge.ask("GET", &file("src/a%20b.txt"), &[], "").await;
    assert_eq!((read.status, &read.body[..]), (200, &b"0123456789"[..]));
    assert_ne!(read.headers["etag"], etag, "a file written again is another one");
    assert_eq!(read.headers["content-length"], "10");
    assert_eq!(read.headers["content-type"], "application/octet-stream");
    assert_eq!(read.headers["x-content-type-options"], "nosniff");
    let etag = read.headers["etag"].to_str().unwrap();

    let head = edge.ask("HEAD", &file("src/a%20b.txt"), &[("range", "bytes=1-2")], "").await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.headers["content-length"], "10");

    let known = [("if-none-match", etag)];
    assert_eq!(edge.ask("GET", &file("src/a%20b.txt"), &known, "").await.status, 304);
    let removed = edge.ask("DELETE", &file("src/a%20b.txt"), &[("if-match", "\"x\"")], "").await;
    assert_eq!((removed.status, removed.problem().as_str()), (412, "precondition-failed"));
    let expected = [("if-match", etag)];
    assert_eq!(edge.ask("DELETE", &file("src/a%20b.txt"), &expected, "").await.status, 204);
    assert_eq!(edge.ask("GET", &file("src/a%20b.txt"), &[], "").await.status, 404);
}

#[tokio::test]
async fn a_part_of_a_file_is_sent() {
    let edge = edge().await;
    put(&edge, "a", "0123456789").await;
    let part = async |range| edge.ask("GET", &file("a"), &[("range", range)], "").await;
    let middle = part("bytes=2-4").await;
    assert_eq!((middle.status, &middle.body[..]), (206, &b"234"[..]));
    assert_eq!(middle.headers["content-range"], "bytes 2-4/10");
    assert_eq!(&part("bytes=-3").await.body[..], b"789");
    assert_eq!(part("bytes=0-1,3-4").await.status, 200);
    let outside = part("bytes=10-").await;
    assert_eq!((outside.status, outside.problem().as_str()), (416, "range-not-satisfiable"));
    assert_eq!(outside.headers["content-range"], "bytes */10");
}

#[tokio::test]
async fn a_large_file_passes_in_pieces() {
    let edge = edge().await;
    let text = "0123456789abcdef".repeat(100_000);
    assert_eq!(put(&edge, "large", &text).await.status, 201);
    let read = edge.ask("GET", &file("large"), &[], "").await;
    assert_eq!(read.body, text);
}

#[tokio::test]
async fn a_path_out_of_the_workspace_is_refused() {
    let edge = edge().await;
    for path in [
        "%2e%2e/x",
        "a/%2e%2e/%2e%2e/x",
        "..%2fx",
        "%2Fetc%2Fpasswd",
        "/etc/passwd",
        "a%00b",
        "%ff",
        ".",
    ] {
        for method in ["GET", "PUT", "DELETE"] {
            let answer = edge.ask(method, &file(path), &[], "x").await;
            assert_eq!((answer.status, &answer.json()["field"]), (400, &json!("path")), "{path}");
        }
    }
    let long = "x".repeat(300);
    assert_eq!(put(&edge, &long, "x").await.status, 400);
    // Decoded once: this is a name with percent signs.
    assert_eq!(put(&edge, "%252e%252e", "x").await.status, 201);
    assert_eq!(edge.ask("GET", &file("%252e%252e"), &[], "").await.status, 200);
}

#[tokio::test]
async fn what_is_no_file_says_so() {
    let edge = edge().await;
    put(&edge, "dir/a", "x").await;
    for (method, path, status, problem) in [
        ("GET", "dir", 409, "wrong-kind"),
        ("GET", "dir/", 409, "wrong-kind"),
        ("GET", "", 409, "wrong-kind"),
        ("GET", "dir/a/b", 409, "wrong-kind"),
        ("PUT", "dir", 409, "wrong-kind"),
        ("PUT", "new/", 400, "invalid-field"),
        ("PUT", "", 400, "invalid-field"),
        ("DELETE", "dir", 409, "not-empty"),
        ("DELETE", "", 400, "invalid-field"),
        ("DELETE", "none", 404, "not-found"),
        ("DELETE", "dir?recursiv=true", 400, "invalid-field"),
    ] {
        let answer = edge.ask(method, &file(path), &[], "x").await;
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (status, problem),
            "{method} {path}"
        );
    }
    assert_eq!(edge.ask("DELETE", &file("dir?recursive=true"), &[], "").await.status, 204);
    let other = edge.ask("GET", "/v1/projects/other/files/a", &[], "").await;
    assert_eq!(other.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_out_of_the_workspace_leads_nowhere() {
    let edge = edge().await;
    let archive = tar_with_link("out", "/etc/passwd");
    let summary = upload(&edge, "/v1/projects/p/archive", "application/x-tar", archive).await;
    let summary = summary.json();
    assert_eq!((&summary["links"], &summary["skipped_total"]), (&json!(0), &json!(1)));
    assert_eq!(summary["skipped"][0]["name"], "out");
    assert_eq!(edge.ask("GET", &file("out"), &[], "").await.status, 404);
    let archive = tar_with_link("loop", "loop");
    upload(&edge, "/v1/projects/p/archive", "application/x-tar", archive).await;
    let followed = edge.ask("GET", &file("loop"), &[], "").await;
    assert_eq!((followed.status, followed.problem().as_str()), (403, "outside-workspace"));
}

/// A tar of one symbolic link.
fn tar_with_link(name: &str, target: &str) -> Vec<u8> {
    let mut header = [0u8; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[100..107].copy_from_slice(b"0000777");
    header[124..135].copy_from_slice(b"00000000000");
    header[148..156].copy_from_slice(b"        ");
    header[156] = b'2';
    header[157..157 + target.len()].copy_from_slice(target.as_bytes());
    header[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut tar = header.to_vec();
    tar.extend_from_slice(&[0; 1024]);
    tar
}

#[tokio::test]
async fn an_upload_has_its_bounds() {
    let settings = crate::edge::context::EdgeSettings {
        file_bytes_max: 4,
        ..crate::edge::context::EdgeSettings::default()
    };
    let edge = Edge::with(None, settings).await;
    edge.json("POST", "/v1/projects", r#"{"id": "p"}"#).await;
    assert_eq!(put(&edge, "a", "1234").await.status, 201);
    let large = put(&edge, "a", "12345").await;
    assert_eq!((large.status, &large.json()["limit"]), (413, &json!(4)));
    let coded = edge.ask("PUT", &file("a"), &[("content-encoding", "gzip")], "x").await;
    assert_eq!(coded.status, 415);
    let new = [("if-none-match", "*")];
    assert_eq!(edge.ask("PUT", &file("a"), &new, "x").await.status, 412);
    assert_eq!(edge.ask("PUT", &file("b"), &new, "x").await.status, 201);
}

#[tokio::test]
async fn files_are_made_moved_copied_and_listed() {
    let edge = edge().await;
    assert_eq!(post(&edge, "mkdir", &json!({"path": "a/b"})).await.status, 201);
    assert_eq!(post(&edge, "mkdir", &json!({"path": "a/b"})).await.status, 204);
    let strict = json!({"path": "x/y", "parents": false});
    assert_eq!(post(&edge, "mkdir", &strict).await.status, 404);
    put(&edge, "a/one", "1").await;
    assert_eq!(post(&edge, "copy", &json!({"from": "a", "to": "c"})).await.json()["bytes"], 1);
    let again = post(&edge, "move", &json!({"from": "a/one", "to": "c/one"})).await;
    assert_eq!((again.status, again.problem().as_str()), (409, "exists"));
    let over = json!({"from": "a/one", "to": "c/one", "overwrite": true});
    assert_eq!(post(&edge, "move", &over).await.status, 204);
    let inside = post(&edge, "move", &json!({"from": "c", "to": "c/d"})).await;
    assert_eq!(inside.status, 400, "{inside:?}");

    let tree = edge.json("GET", "/v1/projects/p/tree?depth=2", "").await.json();
    let paths: Vec<_> =
        tree["entries"].as_array().unwrap().iter().map(|entry| &entry["path"]).collect();
    assert_eq!(paths, ["a", "a/b", "c", "c/b", "c/one"]);
    assert_eq!(tree["truncated"], false);
    let first = edge.json("GET", "/v1/projects/p/tree?path=c&limit=1", "").await.json();
    assert_eq!((&first["entries"][0]["path"], &first["next"]), (&json!("c/b"), &json!("b")));
    let rest = edge.json("GET", "/v1/projects/p/tree?path=c&after=b", "").await.json();
    let entry = &rest["entries"][0];
    assert_eq!(
        (&entry["path"], &entry["kind"], &entry["size"]),
        (&json!("c/one"), &json!("file"), &json!(1))
    );
    let file = edge.ask("GET", "/v1/projects/p/files/c/one", &[], "").await;
    assert_eq!(entry["etag"], file.headers["etag"].to_str().unwrap());
}

#[tokio::test]
async fn a_batch_is_one_request() {
    let edge = edge().await;
    let batch = json!({"operations": [
        {"op": "write", "path": "a/b", "content": "hi"},
        {"op": "delete", "path": "none"},
        {"op": "mkdir", "path": "c"},
    ]});
    let done = post(&edge, "batch", &batch).await;
    assert_eq!(done.status, 200);
    let statuses: Vec<_> =
        done.json()["results"].as_array().unwrap().iter().map(|r| r["status"].clone()).collect();
    assert_eq!(statuses, ["done", "failed", "skipped"]);
    assert_eq!(&edge.ask("GET", &file("a/b"), &[], "").await.body[..], b"hi");
    let wrong = post(&edge, "batch", &json!({"operations": [{"op": "mkdir"}]})).await;
    assert_eq!((wrong.status, wrong.problem().as_str()), (400, "invalid-field"));
}

// As the next one.
#[tokio::test(flavor = "multi_thread")]
async fn an_archive_goes_out_and_comes_in_again() {
    let edge = edge().await;
    let large = "0123456789abcdef".repeat(50_000);
    put(&edge, "src/large", &large).await;
    put(&edge, "src/empty", "").await;
    for (format, media_type) in [("tar", "application/x-tar"), ("tar.gz", "application/gzip")] {
        let path = format!("/v1/projects/p/archive?path=src&format={format}");
        let archive = edge.ask("GET", &path, &[], "").await;
        assert_eq!(
            (archive.status, &archive.headers["content-type"]),
            (200, &media_type.parse().unwrap())
        );
        let path = format!("/v1/projects/p/archive?path=copy/{format}");
        let summary = upload(&edge, &path, media_type, archive.body.to_vec()).await;
        assert_eq!(summary.status, 200, "{summary:?}");
        let summary = summary.json();
        assert_eq!((&summary["files"], &summary["bytes"]), (&json!(2), &json!(large.len())));
        let copy = edge.ask("GET", &file(&format!("copy/{format}/large")), &[], "").await;
        assert_eq!(copy.body, large);
    }
    let broken = upload(&edge, "/v1/projects/p/archive", "application/x-tar", vec![7; 700]).await;
    assert_eq!((broken.status, broken.problem().as_str()), (400, "malformed-body"));
    let zip = upload(&edge, "/v1/projects/p/archive", "application/zip", vec![]).await;
    assert_eq!(zip.status, 415);
    let missing = edge.ask("GET", "/v1/projects/p/archive?path=none", &[], "").await;
    assert_eq!(missing.status, 404);
}

/// `Edge::ask` takes text; archives are bytes.
async fn upload(edge: &Edge, path: &str, media_type: &str, bytes: Vec<u8>) -> Answer {
    use http_body_util::BodyExt as _;
    let request = warp::http::Request::builder().method("PUT").uri(path);
    let request = request.header("host", "localhost").header("content-type", media_type);
    let body = http_body_util::Full::new(bytes::Bytes::from(bytes));
    let (parts, body) = edge.front.answer(request.body(body).unwrap()).await.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer { status: parts.status.as_u16(), headers: parts.headers, body }
}

// An archive is unpacked while it comes, which takes a thread beside the one that sends.
#[tokio::test(flavor = "multi_thread")]
async fn an_archive_that_unpacks_to_too_much_is_refused() {
    let edge = edge().await;
    let mut tar = Vec::new();
    // A header that promises more than any archive may hold.
    let mut header = tar_with_link("bomb", "")[..512].to_vec();
    header[124..135].copy_from_slice(b"77777777777");
    header[156] = b'0';
    header[148..156].copy_from_slice(b"        ");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    tar.extend_from_slice(&header);
    std::io::repeat(0).take(4096).read_to_end(&mut tar).unwrap();
    let answer = upload(&edge, "/v1/projects/p/archive", "application/x-tar", tar).await;
    assert!(matches!(answer.status, 400 | 413), "{answer:?}");
}
