//! Projects that are the same in three dialects: a name of theirs is an id of the core.

use hyper::Method;
use sandtree_testkit::{Client, until};
use serde_json::json;

use super::token::{Token, strangers};
use super::worker::Worker;

/// The shared projects. They run as long as a round lasts.
pub(crate) const PROJECTS: [&str; 3] = ["demo-1", "demo-2", "demo-3"];
/// The port on which each of them serves its files.
pub(crate) const PORT: u16 = 8000;
/// A file of every shared project: its name.
pub(crate) const NAME_FILE: &str = "name.txt";
/// A file that all clients write.
pub(crate) const COMMON_FILE: &str = "common.txt";
/// Lines of the common file: more than one page of memory, so a torn one would show.
const COMMON_LINES: usize = 400;

/// Makes and starts them, each with a server of its files.
pub(crate) async fn create(client: &Client) {
    for project in PROJECTS {
        let body = json!({ "id": project, "profile": "builder" });
        let _ = client.post("/v1/projects", &body).await.expect(201);
        let path = |below: &str| format!("/projects/{project}/{below}");
        let _ = client.post_empty(&path("runtime/start")).await.expect(200);
        let name = json!({ "content": project });
        let _ = client.put(&path("files/write?file_path=name.txt"), &name).await.expect(200);
        let serve = json!({ "command": "python", "args": ["-m", "http.server", PORT.to_string()] });
        let _ = client.post(&path("runtime/run"), &serve).await.expect(200);
        // Its preview is for pages of every origin, so it has to be asked for.
        let create = format!("/api/v1/containers/{project}/create");
        let _ = client.post(&create, &json!({ "project_type": "python" })).await.expect(200);
        until("its files to be served", async || client.get(&preview(project)).await.status == 200)
            .await;
    }
}

/// Where the native API serves the name of a shared project from within its sandbox.
pub(crate) fn preview(project: &str) -> String {
    format!("/v1/projects/{project}/ports/{PORT}/{NAME_FILE}")
}

/// A content of the common file, all of one token.
pub(crate) fn common(token: &Token) -> String {
    format!("{}\n", token.text()).repeat(COMMON_LINES)
}

/// That a content of the common file is whole, and somebody's of this project.
pub(crate) fn check_common(project: &str, content: &str) {
    let strangers = strangers(content, project);
    assert!(strangers.is_empty(), "{strangers:?} in the common file of {project}");
    let first = content.lines().next().unwrap_or_default();
    let whole = format!("{first}\n").repeat(COMMON_LINES);
    assert!(content == whole, "the common file of {project} is torn: {content}");
}

/// That a client's own file is seen by the native API as it was written in its dialect.
pub(crate) async fn check_own(worker: &Worker, project: &str, token: &Token) {
    let path = format!("/v1/projects/{project}/files/{}", worker.own_file());
    assert_eq!(worker.client.get(&path).await.expect(200).text(), token.text(), "{path}");
}

/// That every file in every shared project was meant for it.
pub(crate) async fn check(client: &Client) {
    for project in PROJECTS {
        let files = client.get(&format!("/projects/{project}/files")).await.expect(200).json();
        let files = files["files"].as_array().expect("a list").clone();
        assert!(files.len() > 2, "nobody wrote into {project}: {files:?}");
        for file in files.iter().map(|file| file.as_str().expect("a name")) {
            let path = format!("/api/v1/containers/{project}/files/{file}");
            let content = client.get(&path).await.expect(200).json()["content"].to_string();
            let strangers = strangers(&content, project);
            assert!(strangers.is_empty(), "{strangers:?} in {file} of {project}");
        }
    }
}

/// Deletes each of them in another dialect.
pub(crate) async fn delete(client: &Client) {
    let [one, two, three] = PROJECTS;
    for path in [
        format!("/admin/projects/{one}"),
        format!("/api/v1/containers/{two}?delete_files=true"),
        format!("/v1/projects/{three}"),
    ] {
        let answer = client.request(Method::DELETE, &path).send().await;
        assert!(matches!(answer.status, 200 | 204), "{path}: {answer:?}");
    }
}
