//! Clients of the native API.

use serde_json::json;

use super::shared::{COMMON_FILE, check_common, common, preview};
use super::worker::{Acts, Worker};
use crate::support::Project;

/// What they do.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Act {
    Exec,
    Own,
    Common,
    Terminal,
    Preview,
    Run,
    Life,
}

impl Acts for Act {
    const OFTEN: &'static [Self] =
        &[Self::Exec, Self::Own, Self::Common, Self::Terminal, Self::Preview];
    const SELDOM: &'static [Self] = &[Self::Run, Self::Life];

    async fn perform(self, worker: &mut Worker) {
        let project = worker.shared_project();
        match self {
            Self::Exec => exec(worker, project).await,
            Self::Own => own_file(worker, project).await,
            Self::Common => common_file(worker, project).await,
            Self::Terminal => terminal(worker, project).await,
            Self::Preview => {
                let seen = worker.client.get(&preview(project)).await.expect(200);
                assert_eq!(seen.text(), project);
            }
            Self::Run => run(worker).await,
            Self::Life => life(worker).await,
        }
    }
}

async fn exec(worker: &mut Worker, project: &str) {
    let token = worker.token(project);
    let said = Project::existing(&worker.client, project).sh(&token.echo()).await;
    assert_eq!(said, format!("{}\n", token.text()));
}

async fn own_file(worker: &mut Worker, project: &str) {
    let (token, file) = (worker.token(project), worker.own_file());
    let project = Project::existing(&worker.client, project);
    project.write(&file, token.text()).await;
    assert_eq!(project.read(&file).await, token.text());
    assert_eq!(project.sh(&format!("cat {file}")).await, token.text());
}

async fn common_file(worker: &mut Worker, project: &str) {
    let token = worker.token(project);
    let it = Project::existing(&worker.client, project);
    it.write(COMMON_FILE, &common(&token)).await;
    check_common(project, &it.read(COMMON_FILE).await);
}

async fn terminal(worker: &mut Worker, project: &str) {
    let token = worker.token(project);
    let mut terminal = worker.client.terminal(project, "cols=120&rows=40").await;
    terminal.type_text(&format!("{}\r", token.echo())).await;
    let has = |output: &[u8]| token.is_in(&String::from_utf8_lossy(output));
    terminal.wait_for_output(token.text(), has).await;
}

/// A sandbox for one request.
async fn run(worker: &mut Worker) {
    let token = worker.token(&worker.name.clone());
    let body = json!({ "profile": "small", "commands": [format!("{} | tee out", token.echo())] });
    let done = worker.client.post("/v1/run", &body).await.expect(200).json();
    assert_eq!(done["results"][0]["stdout"], format!("{}\n", token.text()), "{done}");
}

/// A project from its creation to its end.
async fn life(worker: &mut Worker) {
    let project = worker.own_project();
    let it = Project::small(&worker.client, &project).await;
    exec(worker, &project).await;
    for operation in ["pause", "resume", "stop", "start"] {
        it.operate(operation).await;
    }
    exec(worker, &project).await;
    it.delete().await;
}
