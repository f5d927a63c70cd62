//! Clients of daiv-sandbox.

use std::io::Read as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::Method;
use serde_json::{Value, json};

use super::SMALL;
use super::token::strangers;
use super::worker::{Acts, Worker};

/// What they do.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Act {
    Run,
    Files,
    Once,
    Life,
}

impl Acts for Act {
    const OFTEN: &'static [Self] = &[Self::Run, Self::Files];
    const SELDOM: &'static [Self] = &[Self::Once, Self::Life];

    async fn perform(self, worker: &mut Worker) {
        let session = session(worker).await;
        match self {
            Self::Run => run(worker, &session).await,
            Self::Files => files(worker, &session).await,
            Self::Once => once(worker).await,
            // The next act makes another one.
            Self::Life => Self::leave(worker).await,
        }
    }

    async fn leave(worker: &mut Worker) {
        let Some(session) = worker.session.take() else { return };
        let path = format!("/session/{session}/?force=true");
        let _ = worker.client.request(Method::DELETE, &path).send().await.expect(204);
    }
}

/// The session of the client, made when it has none.
async fn session(worker: &mut Worker) -> String {
    if worker.session.is_none() {
        let body = json!({ "base_image": SMALL });
        let made = worker.client.post("/session/", &body).await.expect(200).json();
        worker.session = Some(made["session_id"].as_str().expect("an id").to_owned());
    }
    worker.session.clone().expect("just made")
}

async fn run(worker: &mut Worker, session: &str) {
    let token = worker.token(session);
    let body = json!({ "commands": [format!("{} | tee last", token.echo()), "cat last"] });
    let done = worker.client.post(&format!("/session/{session}/"), &body).await.expect(200).json();
    for result in done["results"].as_array().expect("results") {
        assert_eq!(result["output"], format!("{}\n", token.text()), "{done}");
    }
    assert_eq!(done["results"].as_array().map(Vec::len), Some(2));
}

async fn files(worker: &mut Worker, session: &str) {
    let token = worker.token(session);
    let path = format!("/workspace/repo/{}", worker.own_project());
    let content = STANDARD.encode(token.text());
    let written = fs(worker, session, "write", &json!({ "path": path, "content": content })).await;
    assert_eq!(written["ok"], true, "{written}");
    let read = fs(worker, session, "read", &json!({ "path": path })).await;
    assert_eq!(read["content"], token.text(), "{read}");
    let look = json!({ "path": "/workspace/repo", "pattern": "tok[.]" });
    let found = fs(worker, session, "grep", &look).await;
    let all = found["matches"].to_string();
    assert!(all.contains(token.text()), "{found}");
    assert!(strangers(&all, session).is_empty(), "{found}");
    let removed = fs(worker, session, "delete", &json!({ "path": path })).await;
    assert_eq!(removed["removed"], true, "{removed}");
}

async fn fs(worker: &Worker, session: &str, op: &str, body: &Value) -> Value {
    let path = format!("/session/{session}/fs/{op}");
    worker.client.post(&path, body).await.expect(200).json()
}

/// A sandbox for one request.
async fn once(worker: &mut Worker) {
    let token = worker.token(&worker.name.clone());
    let body = json!({
        "run_id": "f47ac10b-58cc-4372-a567-0e02b2c3d479", "base_image": SMALL, "archive": "",
        "commands": [format!("{} | tee out", token.echo())],
    });
    let done = worker.client.post("/run/commands/", &body).await.expect(200).json();
    let said = format!("{}\n", token.text());
    assert_eq!(done["results"][0]["output"], said, "{done}");
    assert_eq!(only_file(done["archive"].as_str().expect("an archive")), ("out".to_owned(), said));
}

/// The one file that an archive has.
fn only_file(archive: &str) -> (String, String) {
    let archive = STANDARD.decode(archive).expect("base64");
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(archive.as_slice()));
    let mut files = archive.entries().expect("a tar").map(|member| {
        let mut member = member.expect("a member");
        let path = member.path().expect("a path").display().to_string();
        let mut text = String::new();
        member.read_to_string(&mut text).expect("a text");
        (path, text)
    });
    let file = files.next().expect("a file");
    assert!(files.next().is_none(), "more than one file");
    file
}
