//! Files and folders.

use hyper::Method;
use serde_json::{Value, json};

use super::{Project, detail, general};

#[tokio::test]
async fn files_and_folders_are_made_read_moved_and_removed() {
    let server = general().start().await;
    let project = Project::create(&server.client(), "demo").await;
    let content = json!({ "content": "print(1)\n" });
    #[rustfmt::skip]
    let steps: &[(Method, &str, Value, &str)] = &[
        (Method::PUT,    "files/write?file_path=src/app.py", content.clone(), "WROTE: src/app.py"),
        (Method::POST,   "files/write?file_path=src/app.py", content.clone(), "WROTE: src/app.py"),
        (Method::PUT,    "files/write", json!({ "path": "a.txt", "content": "a" }), "WROTE: a.txt"),
        (Method::POST,   "files/write", json!({ "file_path": "b.txt", "content": "b" }), "WROTE: b.txt"),
        (Method::POST,   "files/create", json!({ "path": "new.txt", "content": "n" }), "CREATED_FILE: new.txt"),
        (Method::POST,   "files/create?file_path=empty.txt", json!({}), "CREATED_FILE: empty.txt"),
        (Method::POST,   "files/create", json!({ "path": "lib", "type": "folder" }), "CREATED_FOLDER: lib"),
        (Method::POST,   "folders/create?folder_path=deep/er", json!({}), "CREATED_FOLDER: deep/er"),
        (Method::POST,   "folders/create?folder_path=deep/er", json!({}), "CREATED_FOLDER: deep/er"),
        (Method::POST,   "files/rename", json!({ "old_path": "new.txt", "new_path": "moved/new.txt" }), "RENAMED: new.txt -> moved/new.txt"),
        (Method::POST,   "files/rename", json!({ "from": "lib", "to": "lib2" }), "RENAMED: lib -> lib2"),
        (Method::PUT,    "files/write?file_path=q.txt", json!({ "path": "body.txt", "content": "q" }), "WROTE: q.txt"),
        (Method::PUT,    "files/write?file_path=./dot/./c.txt", content.clone(), "WROTE: ./dot/./c.txt"),
        (Method::DELETE, "files/delete?file_path=b.txt", json!({}), "DELETED_FILE: b.txt"),
        (Method::DELETE, "folders/delete?folder_path=deep", json!({}), "DELETED_FOLDER: deep"),
    ];
    for (method, path, body, result) in steps {
        let call = project.client.request(method.clone(), &project.path(path)).json(body);
        let said = call.send().await.expect(200).json();
        assert_eq!(said, json!({ "result": result }), "{method} {path}");
    }
    let listed = project.get("files").await.expect(200).json();
    let files = ["a.txt", "dot/c.txt", "empty.txt", "moved/new.txt", "q.txt", "src/app.py"];
    assert_eq!(listed, json!({ "project_name": "demo", "files": files }));
    for (path, content) in [
        ("src/app.py", "print(1)\n"),
        ("./src/app.py", "print(1)\n"),
        ("absent.txt", ""),
        ("no/where", ""),
        ("src/app.py/no", ""),
    ] {
        let read = project.get(&format!("files/read?file_path={path}")).await.expect(200).json();
        let expected = json!({ "project_name": "demo", "file_path": path, "content": content });
        assert_eq!(read, expected);
    }
}

#[tokio::test]
async fn what_cannot_be_done_is_an_error_and_nothing_is_touched() {
    let server = general().start().await;
    let project = Project::create(&server.client(), "demo").await;
    let text = json!({ "content": "ERROR: this is a text" });
    let _ = project.put("files/write?file_path=e.txt", &text).await.expect(200);
    let _ = project.post("folders/create?folder_path=dir", &json!({})).await.expect(200);
    let read = project.get("files/read?file_path=e.txt").await.expect(200).json();
    assert_eq!(read["content"], "ERROR: this is a text", "a text is no error");
    #[rustfmt::skip]
    let rows: &[(Method, &str, Value, u16, &str)] = &[
        (Method::GET,    "files/read?file_path=dir", json!({}), 400, "ERROR: dir is not a file"),
        (Method::GET,    "files/read?file_path=.", json!({}), 400, "ERROR: . is not a file"),
        (Method::GET,    "files/read?file_path=", json!({}), 400, "ERROR: "),
        (Method::GET,    "files/read?file_path=../x", json!({}), 400, "ERROR: "),
        (Method::GET,    "files/read?file_path=/etc/passwd", json!({}), 400, "ERROR: "),
        (Method::PUT,    "files/write?file_path=../x", text.clone(), 400, "ERROR: "),
        (Method::PUT,    "files/write?file_path=/etc/x", text.clone(), 400, "ERROR: "),
        (Method::PUT,    "files/write?file_path=a%00b", text.clone(), 400, "ERROR: "),
        (Method::PUT,    "files/write?file_path=dir", text.clone(), 400, "ERROR: dir is not a file"),
        (Method::PUT,    "files/write?file_path=e.txt/x", text.clone(), 400, "ERROR: "),
        (Method::POST,   "files/create?file_path=e.txt", json!({}), 409, "ERROR: e.txt exists already"),
        (Method::POST,   "files/rename", json!({ "from": "absent", "to": "x" }), 400, "ERROR: it does not exist"),
        (Method::POST,   "files/rename", json!({ "from": "e.txt", "to": "dir" }), 409, "ERROR: "),
        (Method::POST,   "files/rename", json!({ "from": "e.txt", "to": "../x" }), 400, "ERROR: "),
        (Method::POST,   "files/rename", json!({ "from": "dir", "to": "dir/in/it" }), 400, "ERROR: "),
        (Method::POST,   "files/create", json!({ "path": "dir", "type": "file" }), 409, "ERROR: dir exists already"),
        (Method::DELETE, "files/delete?file_path=absent", json!({}), 400, "ERROR: File does not exist"),
        (Method::DELETE, "files/delete?file_path=.", json!({}), 400, "ERROR: "),
        (Method::DELETE, "folders/delete?folder_path=absent", json!({}), 400, "ERROR: Folder does not exist"),
        (Method::POST,   "folders/create?folder_path=e.txt", json!({}), 400, "ERROR: "),
    ];
    for (method, path, body, status, words) in rows {
        let call = project.client.request(method.clone(), &project.path(path)).json(body);
        let refused = call.send().await.expect(*status);
        assert!(detail(&refused).starts_with(words), "{method} {path}: {}", refused.text());
    }
    for (path, body, field) in [
        ("files/write?file_path=x", json!({}), "content"),
        ("files/write", json!({ "content": "x" }), "file_path"),
        ("files/rename", json!({ "from": "x" }), "new_path"),
        ("files/create", json!({ "content": "x" }), "file_path"),
        ("files/create", json!({ "path": "x", "type": "socket" }), "type"),
        ("folders/create", json!({}), "folder_path"),
    ] {
        let refused = project.post(path, &body).await.expect(422).json();
        assert_eq!(refused["detail"][0]["loc"], json!(["body", field]), "{path}: {refused}");
    }
    let listed = project.get("files").await.expect(200).json();
    assert_eq!(listed["files"], json!(["e.txt"]));
    for (method, path, parameter) in [
        (Method::GET, "files/read", "file_path"),
        (Method::GET, "files/read?file_path=a&file_path=b", "file_path"),
        (Method::DELETE, "files/delete", "file_path"),
        (Method::DELETE, "folders/delete", "folder_path"),
    ] {
        let call = project.client.request(method, &project.path(path));
        let missing = call.send().await.expect(422).json();
        let fault = &missing["detail"][0];
        assert_eq!(fault["loc"], json!(["query", parameter]), "{path}: {missing}");
        assert!(fault["msg"].as_str().is_some_and(|it| it.starts_with(parameter)), "{missing}");
    }
}

#[tokio::test]
async fn who_reads_while_others_write_sees_one_whole_content() {
    let server = general().start().await;
    let project = Project::create(&server.client(), "demo").await;
    let content = |letter: &str| json!({ "content": letter.repeat(500_000) });
    let path = "files/write?file_path=big.txt";
    let _ = project.put(path, &content("a")).await.expect(200);
    let write = async |letter: &str| {
        for _ in 0..20 {
            let _ = project.put(path, &content(letter)).await.expect(200);
        }
    };
    let read = async {
        for _ in 0..40 {
            let read = project.get("files/read?file_path=big.txt").await.expect(200).json();
            let text = read["content"].as_str().expect("a text");
            let first = text.chars().next().expect("it was never empty");
            assert!(text.len() == 500_000 && text.chars().all(|c| c == first), "a torn file");
        }
    };
    tokio::join!(write("a"), write("b"), read);
}

#[tokio::test]
async fn a_removal_says_what_it_removed_and_a_rename_that_fails_leaves_nothing() {
    let server = general().start().await;
    let project = Project::create(&server.client(), "demo").await;
    let text = json!({ "content": "x" });
    let _ = project.put("files/write?file_path=src/a.py", &text).await.expect(200);
    let _ = project.put("files/write?file_path=b.py", &text).await.expect(200);
    let refused = project.delete("folders/delete?folder_path=b.py").await.expect(400);
    assert_eq!(detail(&refused), "ERROR: b.py is not a folder");
    let removed = project.delete("files/delete?file_path=src").await.expect(200).json();
    assert_eq!(removed["result"], "DELETED_FOLDER: src");
    let rename = json!({ "old_path": "nope", "new_path": "new/dir/x" });
    let _ = project.post("files/rename", &rename).await.expect(400);
    let tree = project.client.get("/v1/projects/demo/tree?depth=9").await.expect(200).json();
    let paths: Vec<_> =
        tree["entries"].as_array().expect("entries").iter().map(|it| &it["path"]).collect();
    assert_eq!(paths, ["b.py"]);
}

#[tokio::test]
async fn a_link_out_of_the_project_leads_nowhere() {
    let server = general().start().await;
    let project = Project::started(&server.client(), "demo").await;
    let plant = "import os\nos.symlink('/etc', 'etc')\nos.symlink('/etc/passwd', 'passwd')";
    let body = json!({ "command": "python", "args": ["-c", plant] });
    let done = project.post("runtime/exec", &body).await.expect(200).json();
    assert_eq!(done["return_code"], 0, "{done}");
    for path in ["passwd", "etc/passwd"] {
        let refused = project.get(&format!("files/read?file_path={path}")).await.expect(400);
        assert!(detail(&refused).starts_with("ERROR: "), "{path}: {}", refused.text());
    }
    let refused = project.put("files/write?file_path=etc/x", &json!({ "content": "x" })).await;
    assert!(detail(&refused.expect(400)).starts_with("ERROR: "));
}
