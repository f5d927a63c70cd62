//! xterm.js in a headless Chromium, attached to the terminals of two dialects. What is done
//! there and what the screen has to show is in `tests/clients/xterm/scenario.js`.

use sandtree_testkit::ServerSetup;
use serde_json::json;

use super::node;
use crate::support::server;

/// Where the page is from. Not from the server, as with any web IDE; nothing listens there,
/// because the browser is given the page by the script that drives it.
const PAGE: &str = "http://localhost:4100";

/// A server that takes requests of the page, with bash, vi and less in the sandboxes.
fn setup(profile: &str) -> ServerSetup {
    let general = "sandtree/general:latest";
    server()
        .env("SANDTREE_SERVER__ALLOWED_ORIGINS", PAGE)
        .env(&format!("SANDTREE_PROFILES__{profile}__IMAGE"), general)
        .env(&format!("SANDTREE_PROFILES__{profile}__NETWORK"), "none")
}

/// Uses the terminal at a path in the browser.
async fn use_terminal(dialect: &str, address: String) {
    let args = vec![dialect.to_owned(), PAGE.to_owned(), address];
    let said = node::run("xterm", "scenario.js", args).await;
    assert!(said.contains("the screen showed all that it had to"), "{said}");
}

#[tokio::test]
async fn a_browser_uses_the_terminal_of_the_builder() {
    let server = setup("BUILDER").start().await;
    let client = server.client();
    let body = json!({ "id": "demo", "profile": "builder" });
    let _ = client.post("/v1/projects", &body).await.expect(201);
    let _ = client.post_empty("/projects/demo/runtime/start").await.expect(200);
    let address = format!("ws://{}/projects/demo/runtime/ws/terminal", client.address());
    use_terminal("builder", address).await;
}

#[tokio::test]
async fn a_browser_uses_the_terminal_of_the_terminal_server() {
    let server = setup("TERMINAL_SERVER").start().await;
    let session = server.client().post_empty("/api/v1/sessions").await.expect(200).json();
    let address = session["websocket_url"].as_str().expect("an address").to_owned();
    use_terminal("terminal_server", address).await;
}
