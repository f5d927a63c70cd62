//! Bodies that are no JSON objects, or too large.

use super::*;

/// Routes that read JSON.
const JSON_ROUTES: [(&str, &str); 9] = [
    ("POST", "/v1/projects"),
    ("PATCH", "/v1/projects/p"),
    ("POST", "/v1/projects/p/exec"),
    ("PUT", "/v1/projects/p/process"),
    ("POST", "/v1/projects/p/process/signal"),
    ("POST", "/v1/projects/p/files:mkdir"),
    ("POST", "/v1/projects/p/files:move"),
    ("POST", "/v1/projects/p/files:copy"),
    ("POST", "/v1/projects/p/files:batch"),
];

#[tokio::test]
async fn bodies_that_are_not_json_objects_are_refused_on_every_route() {
    let (_server, client) = start().await;
    let deep = format!("{}1{}", "[".repeat(500), "]".repeat(500));
    let broken: [&[u8]; 9] = [
        b"{",
        b"nope",
        b"{} {}",
        b"\xff\xfe",
        b"{\"a\": \"\xff\"}",
        b"[]",
        b"null",
        b"7",
        deep.as_bytes(),
    ];
    for (method, path) in JSON_ROUTES {
        let request = || client.request(method.parse().expect("a method"), path);
        for media in ["text/plain", "application/xml", "application/jsonp"] {
            let answer = request().body(media, "{}").send().await;
            let wrong = wrong(&answer, 415, "unsupported-media", "Content-Type");
            assert!(wrong.is_none(), "{method} {path} as {media}: {wrong:?}");
        }
        for text in broken {
            let answer = request().body("application/json", text.to_vec()).send().await;
            let shown = String::from_utf8_lossy(&text[..text.len().min(20)]);
            assert_eq!(answer.status, 400, "{method} {path} {shown}: {}", answer.text());
            let (kind, document) = answer.problem();
            let is_expected = ["malformed-body", "invalid-field"].contains(&kind.as_str());
            assert!(is_expected, "{method} {path} {shown}: {document}");
        }
    }
    let listed = client.get("/v1/projects").await.expect(200).json();
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(1), "nothing was made: {listed}");
    still_serves(&client).await;
}

/// A request whose body comes in chunks, so that nothing tells its length.
fn chunked(method: &str, path: &str, media: &str, bytes: usize) -> Vec<u8> {
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {media}\r\n\
         connection: close\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    let chunk = format!("400\r\n{}\r\n", " ".repeat(1024)).repeat(bytes / 1024);
    format!("{head}{chunk}0\r\n\r\n").into_bytes()
}

#[tokio::test]
async fn bodies_that_are_too_large_are_refused_with_their_limit() {
    let (_server, client) = start().await;
    let (file, archive) = ("/v1/projects/p/files/a", "/v1/projects/p/archive");
    let mut rows = vec![
        ("PUT", file, "application/octet-stream", 65536),
        ("PUT", archive, "application/x-tar", 65536),
    ];
    for (method, path) in JSON_ROUTES {
        let limit =
            if path.ends_with("/exec") || path.ends_with("batch") { 16 << 20 } else { 4096 };
        rows.push((method, path, "application/json", limit));
    }
    for (method, path, media, limit) in rows {
        let announced = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {media}\r\n\
             connection: close\r\ncontent-length: {}\r\n\r\n",
            limit + 1
        );
        let streamed = chunked(method, path, media, limit + 4096);
        for (how, request) in [("announced", announced.into_bytes()), ("in chunks", streamed)] {
            if path == archive && how == "in chunks" {
                continue; // Blanks are no archive, which is told first.
            }
            let (status, document) = parse_raw(&client.raw(&request, QUIET).await);
            assert_eq!(status, 413, "{method} {path} {how}: {document}");
            assert_eq!(document["limit"], limit, "{method} {path} {how}: {document}");
            assert_eq!(document["type"], "https://sandtree.dev/problems/too-large");
        }
    }
    let none = client.get(file).await.expect(404);
    assert_eq!(none.problem().0, "not-found");
    still_serves(&client).await;
}
