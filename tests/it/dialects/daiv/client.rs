//! The sequence of requests that the DAIV client makes, with its rules of trying again, while
//! the server dies under it.

use std::time::Duration;

use hyper::Method;
use sandtree_testkit::{Client, LONG, Response, within};
use serde_json::{Value, json};

use super::archive::{file, form, tar};
use super::{GENERAL, server};

/// Statuses after which the client asks again, as after any error of the connection.
const RETRYABLE: [u16; 8] = [408, 409, 425, 429, 500, 502, 503, 504];
/// Time between two attempts.
const PAUSE: Duration = Duration::from_millis(50);

/// The client: one base URL, its key, and attempts until there is an answer.
struct Daiv(Client);

impl Daiv {
    async fn send(&self, method: Method, path: &str, body: Option<(&str, Vec<u8>)>) -> Response {
        let mut pause = tokio::time::interval(PAUSE);
        let answered = async {
            loop {
                pause.tick().await;
                let call = self.0.request(method.clone(), path);
                let call = match &body {
                    Some((media, bytes)) => call.body(media, bytes.clone()),
                    None => call,
                };
                match call.try_send().await {
                    // A session that is seeded already is what was asked for.
                    Ok(answer) if answer.status == 409 && path.ends_with("/seed/") => {
                        return answer;
                    }
                    Ok(answer) if !RETRYABLE.contains(&answer.status) => return answer,
                    Ok(_) | Err(_) => {}
                }
            }
        };
        within(LONG, "an answer", answered).await
    }

    async fn post(&self, path: &str, body: &Value) -> Value {
        let body = Some(("application/json", body.to_string().into_bytes()));
        self.send(Method::POST, path, body).await.expect(200).json()
    }
}

#[tokio::test]
async fn the_clients_sequence_works_and_outlasts_the_servers_death() {
    let mut server = server().env("SANDTREE_AUTH__ADMIN_KEY", "secret").start().await;
    let daiv = Daiv(server.client().with_header("x-api-key", "secret"));

    // It sends fields that are known no longer.
    let start = json!({
        "base_image": GENERAL, "dockerfile": null, "egress": null, "environment": { "CI": "1" },
        "memory_bytes": null, "cpus": null,
    });
    let made = daiv.post("/session/", &start).await;
    let session = format!("/session/{}/", made["session_id"].as_str().expect("an id"));

    let (media, seed) = form(&[
        ("repo_archive", &tar(&[file("src/app.py", "print('hello')\n")])),
        ("skills_archive", &tar(&[file("skill.md", "be kind\n")])),
    ]);
    let path = format!("{session}seed/");
    let seeded = daiv.send(Method::POST, &path, Some((&media, seed.clone()))).await;
    assert_eq!(seeded.status, 204);
    let again = daiv.send(Method::POST, &path, Some((&media, seed))).await;
    assert_eq!(again.json(), json!({ "detail": "Session already seeded" }), "which is success");

    server.kill9().await;
    server.restart_in_place().await;
    let warm = daiv.send(Method::GET, &session, None).await;
    assert_eq!(warm.status, 204);

    let run = json!({ "commands": ["python3 src/app.py", "echo $CI"], "fail_fast": true });
    let ran = daiv.post(&session, &run).await;
    assert_eq!(ran["results"][0]["output"], "hello\n");
    assert_eq!(ran["results"][1]["output"], "1\n");

    let repo = "/workspace/repo";
    let fs = async |op: &str, body: Value| daiv.post(&format!("{session}fs/{op}"), &body).await;
    let listed = fs("ls", json!({ "path": repo })).await;
    assert_eq!(listed["entries"], json!([{ "path": "/workspace/repo/src", "is_dir": true }]));
    let found = fs("grep", json!({ "pattern": "hel+o", "path": repo })).await;
    assert_eq!(found["matches"][0]["line"], 1);
    let app = "/workspace/repo/src/app.py";
    let edited = fs("edit", json!({ "path": app, "old": "hello", "new": "world" })).await;
    assert_eq!(edited, json!({ "occurrences": 1, "error": null }));
    let skill = fs("read", json!({ "path": "/workspace/skills/skill.md" })).await;
    assert_eq!(skill["content"], "be kind");
    assert_eq!(daiv.post(&session, &run).await["results"][0]["output"], "world\n");

    let closed = daiv.send(Method::DELETE, &format!("{session}?force=false"), None).await;
    assert_eq!(closed.status, 204);
    assert_eq!(daiv.post(&session, &run).await["results"][0]["output"], "world\n");
    let removed = daiv.send(Method::DELETE, &format!("{session}?force=true"), None).await;
    assert_eq!(removed.status, 204);
    let gone = daiv.send(Method::GET, &session, None).await;
    assert_eq!(gone.status, 404, "which is gone for the client");
}
