//! Clients of the AI Project Builder.

use hyper::Method;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::shared::{COMMON_FILE, check_common, check_own, common};
use super::token::Token;
use super::worker::{Acts, Worker, echoes};
use crate::socket::Socket;

/// What they do.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Act {
    Exec,
    Own,
    Common,
    Terminal,
    Life,
}

impl Acts for Act {
    const OFTEN: &'static [Self] = &[Self::Exec, Self::Own, Self::Common, Self::Terminal];
    const SELDOM: &'static [Self] = &[Self::Life];

    async fn perform(self, worker: &mut Worker) {
        let project = worker.shared_project();
        match self {
            Self::Exec => exec(worker, project).await,
            Self::Own => own_file(worker, project).await,
            Self::Common => common_file(worker, project).await,
            Self::Terminal => terminal(worker, project).await,
            Self::Life => life(worker).await,
        }
    }
}

async fn post(worker: &Worker, project: &str, below: &str, body: &Value) -> Value {
    let path = format!("/projects/{project}/{below}");
    worker.client.post(&path, body).await.expect(200).json()
}

async fn exec(worker: &mut Worker, project: &str) {
    let token = worker.token(project);
    let done = post(worker, project, "runtime/exec", &python(&token)).await;
    assert_eq!(done, json!({ "return_code": 0, "stdout": token.text(), "stderr": "" }));
}

/// A command that says a token.
fn python(token: &Token) -> Value {
    json!({ "command": "python", "args": ["-c", format!("print('{}')", token.text())] })
}

async fn own_file(worker: &mut Worker, project: &str) {
    let (token, file) = (worker.token(project), worker.own_file());
    write(worker, project, &file, token.text()).await;
    assert_eq!(read(worker, project, &file).await, token.text());
    check_own(worker, project, &token).await;
}

async fn common_file(worker: &mut Worker, project: &str) {
    let token = worker.token(project);
    write(worker, project, COMMON_FILE, &common(&token)).await;
    check_common(project, &read(worker, project, COMMON_FILE).await);
}

async fn write(worker: &Worker, project: &str, file: &str, content: &str) {
    let path = format!("/projects/{project}/files/write?file_path={file}");
    let written = worker.client.put(&path, &json!({ "content": content })).await.expect(200);
    assert_eq!(written.json()["result"], format!("WROTE: {file}"));
}

async fn read(worker: &Worker, project: &str, file: &str) -> String {
    let path = format!("/projects/{project}/files/read?file_path={file}");
    let read = worker.client.get(&path).await.expect(200).json();
    assert_eq!((&read["project_name"], &read["file_path"]), (&json!(project), &json!(file)));
    read["content"].as_str().expect("a text").to_owned()
}

async fn terminal(worker: &mut Worker, project: &str) {
    let token = worker.token(project);
    let path = format!("/projects/{project}/runtime/ws/terminal?cols=120&rows=40");
    let mut socket = Socket::open(&worker.client, &path).await;
    echoes(&mut socket, &token, Message::text(format!("{}\r", token.echo())), raw).await;
}

fn raw(message: &Message) -> Vec<u8> {
    message.clone().into_data().into()
}

/// A project from its creation to its end, with a process and its log.
async fn life(worker: &mut Worker) {
    let project = worker.own_project();
    let token = worker.token(&project);
    let made = json!({ "id": project, "profile": "builder" });
    let _ = worker.client.post("/v1/projects", &made).await.expect(201);
    let started = post(worker, &project, "runtime/start", &json!({})).await;
    assert_eq!(
        (&started["status"], &started["project_name"]),
        (&json!("running"), &json!(project))
    );
    let script = format!("import time\nprint('{}', flush=True)\ntime.sleep(600)", token.text());
    let process = json!({ "command": "python", "args": ["-c", script] });
    let _ = post(worker, &project, "runtime/run", &process).await;
    let path = format!("/projects/{project}/runtime/ws/logs");
    let mut log = Socket::open(&worker.client, &path).await;
    assert_eq!(log.next().await, Message::text(token.text()), "{project}");
    let _ = post(worker, &project, "runtime/stop", &json!({})).await;
    for path in [format!("/projects/{project}/runtime"), format!("/admin/projects/{project}")] {
        let _ = worker.client.request(Method::DELETE, &path).send().await.expect(200);
    }
}
