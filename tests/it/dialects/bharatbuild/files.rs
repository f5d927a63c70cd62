//! Files: both shapes of lists and batches, and paths that lead elsewhere.

use hyper::Method;
use serde_json::{Value, json};

use super::{Bharat, data, setup};

#[tokio::test]
async fn a_file_is_written_and_read() {
    let bharat = Bharat::running("p").await;
    let body = json!({ "path": "src/App.tsx", "content": "export default 1\n" });
    let written = bharat.post("files", &body).await.expect(200).json();
    assert_eq!(written, json!({ "success": true, "path": "src/App.tsx" }));
    for path in ["files/src/App.tsx", "files/src%2FApp.tsx"] {
        let read = bharat.get(path).await.expect(200).json();
        let expected = json!({ "path": "src/App.tsx", "content": "export default 1\n" });
        assert_eq!(read, expected, "{path}");
    }
    assert_eq!(data(&bharat.exec("cat src/App.tsx").await, "stdout"), ["export default 1"]);
    for path in ["files/absent", "files/src", "files/src/App.tsx/x"] {
        let answer = bharat.get(path).await.expect(404).json();
        assert_eq!(answer, json!({ "detail": "File not found" }), "{path}");
    }
}

#[tokio::test]
async fn a_list_has_directories_first_and_hides_what_tools_make() {
    let bharat = Bharat::running("p").await;
    for path in ["zoo/a", "b.txt", "a.txt", "src/App.tsx", "node_modules/x/index.js", ".env"] {
        bharat.write(path, "12345").await;
    }
    let entry = |name: &str, kind: &str, size: u64| json!({ "name": name, "path": name, "type": kind, "size": size });
    let expected = json!([
        entry("src", "directory", 0),
        entry("zoo", "directory", 0),
        entry(".env", "file", 5),
        entry("a.txt", "file", 5),
        entry("b.txt", "file", 5),
    ]);
    let object = bharat.get("files").await.expect(200).json();
    assert_eq!(object, json!({ "files": expected }), "the guide's shape, and the default path");
    assert_eq!(bharat.get("files?format=array&path=.").await.expect(200).json(), expected);
    let below = bharat.get("files?path=src").await.expect(200).json();
    let app = json!({ "name": "App.tsx", "path": "src/App.tsx", "type": "file", "size": 5 });
    assert_eq!(below, json!({ "files": [app] }));
    assert_eq!(bharat.get("files?path=absent").await.expect(200).json(), json!({ "files": [] }));
}

#[tokio::test]
async fn a_setting_gives_the_shape_that_the_hook_reads() {
    let array = setup().env("SANDTREE_DIALECTS__BHARATBUILD__FILES_FORMAT", "array");
    let bharat = Bharat::with(array, "p").await;
    bharat.write("a", "").await;
    assert!(bharat.get("files?path=.").await.expect(200).json().is_array());
    assert!(bharat.get("files?format=object").await.expect(200).json()["files"].is_array());
    let _ = bharat.get("files?format=xml").await.expect(422);
}

#[tokio::test]
async fn a_batch_is_answered_in_the_shape_it_came_in() {
    let bharat = Bharat::running("p").await;
    let file = |path: &str| json!({ "path": path, "content": path });
    let bare = json!([file("package.json"), file("src/a.ts"), file("src/b.ts")]);
    let answer = bharat.post("files/batch", &bare).await.expect(200).json();
    assert_eq!((&answer["success"], &answer["files_written"]), (&json!(true), &json!(3)));

    let named = json!({ "files": [file("c"), file("../out"), file("d/e")] });
    let answer = bharat.post("files/batch", &named).await.expect(200).json();
    assert_eq!((&answer["total"], &answer["success"]), (&json!(3), &json!(2)));
    assert_eq!(answer["files_written"], 2);
    let results = answer["results"].as_array().unwrap();
    assert_eq!(results[0], json!({ "path": "c", "success": true }));
    assert_eq!((&results[1]["path"], &results[1]["success"]), (&json!("../out"), &json!(false)));
    assert!(results[1]["error"].is_string());
    assert_eq!(bharat.get("files/d/e").await.expect(200).json()["content"], "d/e");
    for bad in [json!(3), json!({ "files": 3 }), json!([{ "path": "x" }])] {
        let _ = bharat.post("files/batch", &bad).await.expect(422);
    }
}

#[tokio::test]
async fn files_are_verified() {
    let bharat = Bharat::running("p").await;
    bharat.write("src/a.ts", "").await;
    let verify = async |paths: Value| {
        bharat.post("files/verify", &json!({ "paths": paths })).await.expect(200).json()
    };
    assert_eq!(
        verify(json!(["src/a.ts", "src"])).await,
        json!({ "all_exist": true, "existing": ["src/a.ts", "src"], "missing": [], "total": 2 })
    );
    assert_eq!(
        verify(json!(["src/a.ts", "b", "../x"])).await,
        json!({ "all_exist": false, "existing": ["src/a.ts"], "missing": ["b", "../x"], "total": 3 })
    );
}

#[tokio::test]
async fn a_path_out_of_the_workspace_is_400_and_touches_nothing() {
    let bharat = Bharat::running("p").await;
    bharat.exec("ln -s / out && ln -s .. up").await;
    for path in ["../a", "a/../../b", "/tmp/a", "/workspace2/a", "out/tmp/a", "up/a", "", "a\0b"] {
        let body = json!({ "path": path, "content": "x" });
        let answer = bharat.post("files", &body).await.expect(400).json();
        assert!(answer["detail"].as_str().unwrap().starts_with("Invalid file path"), "{path}");
    }
    for path in [
        "files/..%2F..%2Fa",
        "files/out/etc/hostname",
        "files/a%00b",
        "files/a%ffb",
        "files?path=../..",
        "files?path=out",
        "files?path=a%00b",
    ] {
        let answer = bharat.get(path).await.expect(400).json();
        assert!(answer["detail"].as_str().unwrap().starts_with("Invalid file path"), "{path}");
    }
    assert_eq!(data(&bharat.exec("ls /tmp").await, "stdout"), [""; 0]);
    // Below its own place a path may be whole.
    bharat.write("/workspace/b", "x").await;
    assert_eq!(bharat.get("files/b").await.expect(200).json()["content"], "x");
}

#[tokio::test]
async fn files_of_nobody_are_404_with_what_to_do_first() {
    let server = setup().start().await;
    let client = server.client();
    let file = json!({ "path": "a", "content": "" });
    for (below, body) in [("files", file.clone()), ("files/batch", json!([file]))] {
        let path = format!("/api/v1/containers/none/{below}");
        let answer = client.post(&path, &body).await.expect(404).json();
        let first = json!({ "detail": "Container not found. Create project first." });
        assert_eq!(answer, first, "{below}");
    }
    for below in ["files", "files/a"] {
        let answer =
            client.get(&format!("/api/v1/containers/none/{below}")).await.expect(404).json();
        assert_eq!(answer, json!({ "detail": "Container not found" }), "{below}");
    }
    let paths = json!({ "paths": ["a"] });
    let answer = client.post("/api/v1/containers/none/files/verify", &paths).await;
    assert_eq!(answer.expect(404).json(), json!({ "detail": "Container not found" }));
    let odd = client.request(Method::POST, "/api/v1/containers/none/files/other");
    let _ = odd.json(&json!({})).send().await.expect(405);
}
