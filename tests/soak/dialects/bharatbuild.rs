//! Clients of BharatBuild.

use serde_json::{Value, json};

use super::shared::{COMMON_FILE, NAME_FILE, PORT, check_common, check_own, common};
use super::worker::{Acts, Worker};

/// What they do.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Act {
    Exec,
    Batch,
    Own,
    Common,
    Preview,
    Life,
}

impl Acts for Act {
    const OFTEN: &'static [Self] =
        &[Self::Exec, Self::Batch, Self::Own, Self::Common, Self::Preview];
    const SELDOM: &'static [Self] = &[Self::Life];

    async fn perform(self, worker: &mut Worker) {
        let project = worker.shared_project();
        match self {
            Self::Exec => exec(worker, project).await,
            Self::Batch => batch(worker, project).await,
            Self::Own => own_file(worker, project).await,
            Self::Common => common_file(worker, project).await,
            Self::Preview => preview(worker, project).await,
            Self::Life => life(worker).await,
        }
    }
}

fn path(project: &str, below: &str) -> String {
    format!("/api/v1/containers/{project}/{below}")
}

async fn exec(worker: &mut Worker, project: &str) {
    let token = worker.token(project);
    let body = json!({ "command": format!("echo {}", token.text()) });
    assert_eq!(said(worker, project, "exec", &body).await, [token.text()]);
}

async fn batch(worker: &mut Worker, project: &str) {
    let [one, two] = [worker.token(project), worker.token(project)];
    let commands = [&one, &two].map(|token| format!("echo {}", token.text()));
    let heard = said(worker, project, "exec/batch", &json!({ "commands": commands })).await;
    assert_eq!(heard, [one.text(), two.text()]);
}

/// What a stream of events says as standard output.
async fn said(worker: &Worker, project: &str, below: &str, body: &Value) -> Vec<String> {
    let stream = worker.client.post(&path(project, below), body).await.expect(200).text();
    let data = stream.lines().filter_map(|line| line.strip_prefix("data: "));
    let events = data.map(|data| serde_json::from_str::<Value>(data).expect("an event"));
    let output = events.filter(|event| event["type"] == "stdout");
    output.map(|event| event["data"].as_str().expect("a text").to_owned()).collect()
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
    let body = json!({ "path": file, "content": content });
    let _ = worker.client.post(&path(project, "files"), &body).await.expect(200);
}

async fn read(worker: &Worker, project: &str, file: &str) -> String {
    let read = worker.client.get(&path(project, &format!("files/{file}"))).await.expect(200);
    read.json()["content"].as_str().expect("a text").to_owned()
}

async fn preview(worker: &mut Worker, project: &str) {
    let path = format!("/api/v1/preview/{project}/_port/{PORT}/{NAME_FILE}");
    assert_eq!(worker.client.get(&path).await.expect(200).text(), project);
}

/// A container from its creation to its end.
async fn life(worker: &mut Worker) {
    let project = worker.own_project();
    let body = json!({ "project_type": "python" });
    let made = worker.client.post(&path(&project, "create"), &body).await.expect(200).json();
    assert_eq!(made["project_id"], project);
    exec(worker, &project).await;
    let _ = worker.client.post_empty(&path(&project, "restart")).await.expect(200);
    exec(worker, &project).await;
    let gone = format!("/api/v1/containers/{project}?delete_files=true");
    let _ = worker.client.delete(&gone).await.expect(200);
}
