//! The preview: where it is, what it does to headers, pages and scripts, and what is told
//! when there is none.

use futures_util::{SinkExt as _, StreamExt as _};
use hyper::Method;
use sandtree_testkit::{Client, LONG, Lines, Response, within};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::{Bharat, setup};
use crate::support::Project;

/// Starts a server by a command and waits until it says that it listens. It lives as long as
/// the lines of the command are kept.
async fn serve(bharat: &Bharat, port: u16) -> Lines {
    bharat.write("server.js", include_str!("../../../fixtures/dev_server.js")).await;
    let run = "NODE_PATH=/usr/share/nodejs exec node server.js $1\n";
    bharat.write("run.sh", run).await;
    let path = bharat.path("exec");
    let call = bharat.client.request(Method::POST, &path);
    let body = json!({ "command": format!("sh run.sh {port}"), "timeout": 600 });
    let mut lines = call.json(&body).lines().await;
    loop {
        let line = lines.next().await.expect("the server's output");
        if line.contains("Server running on port") {
            return lines;
        }
    }
}

async fn look(client: &Client, path: &str) -> Response {
    client.get(&format!("/api/v1/preview/{path}")).await
}

#[tokio::test]
async fn the_preview_finds_the_port_that_the_server_announces() {
    let bharat = Bharat::running("p").await;
    let before = bharat.get("preview").await.expect(200).json();
    assert_eq!((&before["active_port"], &before["auto_detected"]), (&Value::Null, &json!(false)));
    assert_eq!((&before["port"], &before["status"]), (&json!(3000), &json!("running")));
    let origin = format!("http://{}", bharat.client.address());
    assert_eq!(before["url"], "/api/v1/preview/p/");
    assert_eq!(before["preview_url"], format!("{origin}/api/v1/preview/p/_port/3000/"));
    assert_eq!(before["direct_url"], before["preview_url"]);
    assert_eq!(before["routing_method"], "reverse_proxy");
    let other = bharat.get("preview?port=8000").await.expect(200).json();
    assert_eq!(other["preview_url"], format!("{origin}/api/v1/preview/p/_port/8000/"));

    let _server = serve(&bharat, 4173).await;
    let after = bharat.get("preview").await.expect(200).json();
    assert_eq!((&after["active_port"], &after["auto_detected"]), (&json!(4173), &json!(true)));
    let seen = look(&bharat.client, "p/some/path?a=b").await.expect(200).json();
    assert_eq!((&seen["port"], &seen["url"]), (&json!(4173), &json!("/some/path?a=b")));

    let ports = bharat.get("ports").await.expect(200).json();
    assert_eq!((&ports["project_id"], &ports["active_port"]), (&json!("p"), &json!(4173)));
    let url = format!("{origin}/api/v1/preview/p/_port/4173/");
    assert_eq!(ports["preview_urls"]["4173"], url, "the port is added to those exposed");
    assert_eq!(ports["port_mappings"]["4173"], bharat.client.address().port());
    let direct = look(&bharat.client, "p/_port/4173/x").await.expect(200).json();
    assert_eq!(direct["url"], "/x");
    let _ = look(&bharat.client, "p/_port/4174/x").await.expect(503);
    let _ = look(&bharat.client, "p/_port/zero/x").await.expect(404);
    // The native API shows it and can change it.
    let native = Project::existing(&bharat.client, "p").show().await;
    assert_eq!(native["labels"]["bharatbuild.active_port"], "4173");

    let report = look(&bharat.client, "p/_status").await.expect(200).json();
    assert_eq!((&report["ready"], &report["port"]), (&json!(true), &json!(4173)));
    assert_eq!((&report["project_id"], &report["status"]), (&json!("p"), &json!("running")));
}

#[tokio::test]
async fn pages_and_scripts_come_with_paths_that_lead_to_the_preview() {
    let bharat = Bharat::running("p").await;
    let _server = serve(&bharat, 3000).await;
    let page = look(&bharat.client, "p/").await.expect(200);
    let expected = "<!doctype html><script type=\"module\" src=\"/api/v1/preview/p/src/main.js\"></script>\
                    <a href=\"/api/v1/preview/p/next\">next</a>";
    assert_eq!(page.text(), expected);
    let script = look(&bharat.client, "p/src/main.js").await.expect(200).text();
    assert_eq!(script, "import x from \"/api/v1/preview/p/@vite/client\"; fetch(\"/api/users\");");
    let by_port = look(&bharat.client, "p/_port/3000/src/main.js").await.expect(200).text();
    assert!(by_port.starts_with("import x from \"/api/v1/preview/p/_port/3000/@vite/client\""));
    let data = look(&bharat.client, "p/data.json").await.expect(200).text();
    assert_eq!(data, "{\"path\":\"/src/x\"}", "data is nobody's page");

    let moved = look(&bharat.client, "p/redirect").await.expect(302);
    assert_eq!(moved.header("location"), Some("/api/v1/preview/p/next"));
    let moved = look(&bharat.client, "p?a=b").await.expect(308);
    assert_eq!(moved.header("location"), Some("/api/v1/preview/p/?a=b"));
}

#[tokio::test]
async fn pages_of_every_origin_may_use_it_and_nothing_else() {
    let bharat = Bharat::running("p").await;
    let _server = serve(&bharat, 3000).await;
    let from = async |method: Method, path: &str, more: &[(&str, &str)]| {
        let mut call = bharat.client.request(method, path);
        call = call
            .header("origin", "https://elsewhere.example")
            .header("sec-fetch-site", "cross-site");
        for (name, value) in more {
            call = call.header(name, value);
        }
        call.send().await
    };
    let framed = from(Method::GET, "/api/v1/preview/p/framed", &[]).await.expect(200);
    assert_eq!(framed.header("access-control-allow-origin"), Some("*"));
    assert_eq!(framed.header("x-frame-options"), None);
    let policies: Vec<_> = framed.headers.get_all("content-security-policy").iter().collect();
    assert_eq!(policies, ["frame-ancestors *", "default-src 'self'"]);

    for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS] {
        let seen = from(method.clone(), "/api/v1/preview/p/x", &[]).await.expect(200).json();
        assert_eq!(seen["method"], method.as_str());
    }
    let head = from(Method::HEAD, "/api/v1/preview/p/x", &[]).await.expect(200);
    assert_eq!((head.header("content-type"), head.body.len()), (Some("application/json"), 0));
    let asked = [("access-control-request-method", "PUT")];
    let preflight = from(Method::OPTIONS, "/api/v1/preview/p/x", &asked).await.expect(204);
    assert_eq!(preflight.header("access-control-allow-origin"), Some("*"));
    assert!(preflight.header("access-control-allow-methods").unwrap().contains("PUT"));

    for path in ["/api/v1/containers/p/status", "/v1/projects", "/v1/projects/p/ports/3000/x"] {
        let _ = from(Method::GET, path, &[]).await.expect(403);
    }
}

#[tokio::test]
async fn what_is_wrong_has_its_status() {
    let bharat = Bharat::running("p").await;
    let unknown = look(&bharat.client, "none/").await.expect(404);
    assert_eq!(unknown.json(), json!({ "detail": "Container not found" }));
    assert_eq!(unknown.header("access-control-allow-origin"), Some("*"));
    let _ = look(&bharat.client, "none/_status").await.expect(404);

    let quiet = look(&bharat.client, "p/").await.expect(503);
    assert!(quiet.json()["detail"].as_str().unwrap().contains("3000"), "{quiet:?}");
    assert_eq!(quiet.header("retry-after"), Some("1"));
    let report = look(&bharat.client, "p/_status").await.expect(200).json();
    assert_eq!(report["ready"], false);

    let server = serve(&bharat, 3000).await;
    let _ = look(&bharat.client, "p/broken").await.expect(502);
    drop(server);
    let _ = bharat.post_empty("stop").await.expect(200);
    let _ = look(&bharat.client, "p/").await.expect(503);
    let report = look(&bharat.client, "p/_status").await.expect(200).json();
    assert_eq!((&report["ready"], &report["status"]), (&json!(false), &json!("stopped")));
}

#[tokio::test]
async fn a_websocket_is_carried_or_closed_with_its_code() {
    let bharat = Bharat::running("p").await;
    assert_eq!(closed(&bharat.client, "none/socket").await, 1008);
    assert_eq!(closed(&bharat.client, "p/socket").await, 1013);

    let _server = serve(&bharat, 3000).await;
    let socket = bharat.client.websocket("/api/v1/preview/p/socket").await;
    let mut socket = socket.unwrap_or_else(|status| panic!("the preview answered {status}"));
    socket.send(Message::text("hello")).await.expect("a message that is taken");
    let back = within(LONG, "the echo", socket.next()).await;
    assert_eq!(back.expect("an echo").expect("a message"), Message::text("hello"));
    socket.close(None).await.expect("a farewell");

    // A server that breaks the connection off instead of answering.
    assert_eq!(closed(&bharat.client, "p/broken").await, 1011);
}

/// The code that a WebSocket is closed with.
async fn closed(client: &Client, path: &str) -> u16 {
    let socket = client.websocket(&format!("/api/v1/preview/{path}")).await;
    let mut socket = socket.unwrap_or_else(|status| panic!("{path} answered {status}"));
    let message = within(LONG, "the close frame", socket.next()).await;
    match message {
        Some(Ok(Message::Close(Some(frame)))) => frame.code.into(),
        other => panic!("{path}: {other:?}"),
    }
}

#[tokio::test]
async fn a_websocket_without_a_key_is_accepted_and_closed_as_denied() {
    let keyed = setup().env("SANDTREE_AUTH__ADMIN_KEY", "0123456789abcdef0123456789abcdef");
    let server = keyed.start().await;
    assert_eq!(closed(&server.client(), "p/socket").await, 4003);
    let denied = look(&server.client(), "p/").await.expect(401);
    assert!(denied.json()["detail"].is_string());
    let client = server.client();
    let preflight = client.request(Method::OPTIONS, "/api/v1/preview/p/x");
    let preflight = preflight
        .header("origin", "https://elsewhere.example")
        .header("access-control-request-method", "GET");
    assert_eq!(preflight.send().await.expect(204).header("access-control-allow-origin"), Some("*"));
    let options = client.request(Method::OPTIONS, "/api/v1/preview/p/x").send().await;
    let _ = options.expect(401);
}

#[tokio::test]
async fn urls_are_as_clients_reach_the_server() {
    let public =
        setup().env("SANDTREE_DIALECTS__BHARATBUILD__PUBLIC_URL", "https://ide.example.com");
    let bharat = Bharat::with(public, "p").await;
    let made = bharat.post("create", &json!({})).await.expect(200).json();
    let primary = "https://ide.example.com/api/v1/preview/p/";
    assert_eq!(made["preview_urls"]["primary"], primary);
    assert_eq!(made["port_mappings"]["3000"], 443);
}

#[tokio::test]
async fn what_was_not_made_by_this_system_has_no_preview_here() {
    let server = setup().start().await;
    let client = server.client();
    let body = json!({ "id": "native", "start": true });
    let _ = client.post("/v1/projects", &body).await.expect(201);
    for path in ["", "_status", "_port/8000/"] {
        let call = client.request(Method::GET, &format!("/api/v1/preview/native/{path}"));
        let answer = call.header("origin", "http://evil.example").send().await;
        assert_eq!(answer.status, 404, "{path}: {answer:?}");
    }
}
