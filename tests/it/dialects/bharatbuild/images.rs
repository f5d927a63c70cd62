//! The eight types of projects: a program in each language, and what comes with it.

use sandtree_testkit::until;
use serde_json::json;

use super::super::HAS_ALL;
use super::{Bharat, data, setup};

/// A type, a file with a program, how it is run, and what comes with the image.
struct Type {
    name: &'static str,
    file: &'static str,
    program: &'static str,
    run: &'static str,
    tools: &'static str,
    /// Its image is built with the others; else only for a soak.
    is_at_hand: bool,
}

#[rustfmt::skip]
const TYPES: [Type; 7] = [
    Type { name: "node",   file: "main.js",   program: "console.log('hello')",
           run: "node main.js",               tools: "npm --version",                         is_at_hand: true },
    Type { name: "python", file: "main.py",   program: "print('hello')",
           run: "python main.py",             tools: "pip --version",                         is_at_hand: true },
    Type { name: "java",   file: "Main.java", program: "class Main { public static void main(String[] a) { System.out.println(\"hello\"); } }",
           run: "javac Main.java && java Main", tools: "mvn --version && gradle --version",   is_at_hand: false },
    Type { name: "go",     file: "main.go",   program: "package main\nfunc main() { println(\"hello\") }",
           run: "go run main.go 2>&1",        tools: "go version",                            is_at_hand: false },
    Type { name: "rust",   file: "main.rs",   program: "fn main() { println!(\"hello\"); }",
           run: "rustc main.rs && ./main",    tools: "cargo --version",                       is_at_hand: false },
    Type { name: "ruby",   file: "main.rb",   program: "puts 'hello'",
           run: "ruby main.rb",               tools: "bundle --version && gem --version",     is_at_hand: false },
    Type { name: "php",    file: "main.php",  program: "<?php echo \"hello\\n\";",
           run: "php main.php",               tools: "composer --version",                    is_at_hand: false },
];

#[tokio::test]
async fn a_program_of_every_type_runs() {
    let wanted = TYPES.iter().filter(|kind| kind.is_at_hand || *HAS_ALL);
    for Type { name, file, program, run, tools, .. } in wanted {
        let server = setup().start().await;
        let bharat = Bharat { client: server.client(), server, id: (*name).to_owned() };
        let body = json!({ "project_type": name, "memory_limit": "1g", "cpu_limit": 2 });
        let _ = bharat.post("create", &body).await.expect(200);
        bharat.write(file, program).await;
        let events = bharat.exec(run).await;
        assert_eq!(data(&events, "stdout"), ["hello"], "{name}: {events:?}");
        let events = bharat.exec(tools).await;
        let exit = events.iter().find(|event| event["type"] == "exit");
        assert_eq!(exit.expect("an exit")["data"], 0, "{name}: {events:?}");
    }
}

#[tokio::test]
async fn a_static_project_is_served_by_nginx_where_the_preview_leads() {
    let server = setup().start().await;
    let bharat = Bharat { client: server.client(), server, id: "site".to_owned() };
    let _ = bharat.post("create", &json!({ "project_type": "static" })).await.expect(200);
    bharat.write("index.html", "<a href=\"/b.html\">b</a>").await;
    let path = bharat.path("exec");
    let call = bharat.client.request(hyper::Method::POST, &path);
    let lines = call.json(&json!({ "command": "nginx", "timeout": 600 })).lines().await;
    until("nginx to listen", async || {
        bharat.client.get("/api/v1/preview/site/").await.status == 200
    })
    .await;
    let page = bharat.client.get("/api/v1/preview/site/index.html").await.expect(200).text();
    assert_eq!(page, "<a href=\"/api/v1/preview/site/b.html\">b</a>");
    drop(lines);
}
