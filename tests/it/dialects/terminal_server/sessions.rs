//! Create, show, delete; tokens; limits per user; health.

use hyper::Method;
use serde_json::{Value, json};

use super::{SESSIONS, connect, create, id, small, stdin, stdout};
use crate::support::{Project, server};

/// Other documents of this system have sessions here.
const SESSION_OF_DAIV: &str = "/session";

#[tokio::test]
async fn a_token_is_needed_and_the_socket_needs_its_session() {
    let server = small().env("SANDTREE_AUTH__ADMIN_KEY", "sesame").start().await;
    let client = server.client();
    for (header, value) in [("authorization", ""), ("authorization", "Bearer wrong")] {
        let call = client.request(Method::POST, SESSIONS);
        let call = if value.is_empty() { call } else { call.header(header, value) };
        let refused = call.send().await.expect(401).json();
        assert!(refused["detail"].is_string(), "{refused}");
    }
    let call = client.request(Method::POST, SESSIONS).header("authorization", "Bearer sesame");
    let name = id(&call.send().await.expect(200).json());
    let mut socket = connect(&client, &name).await;
    socket.send(stdin("echo o''k\n")).await;
    socket.wait_for("ok", stdout).await;
    let wrong = client.websocket(&format!("/ws/terminal/{name}?token=wrong")).await;
    assert_eq!(wrong.err(), Some(403), "a wrong key is worse than none");
    drop(client.websocket(&format!("/ws/terminal/{name}?token=sesame")).await.expect("a socket"));
    for method in [Method::GET, Method::DELETE] {
        let path = format!("{SESSIONS}/{name}");
        let _ = client.request(method, &path).send().await.expect(401);
    }
    let health = client.get("/api/v1/health").await.expect(200).json();
    assert_eq!(health, json!({ "status": "healthy", "version": env!("CARGO_PKG_VERSION") }));
}

#[tokio::test]
async fn without_a_token_sessions_are_apart_where_the_configuration_lets_them_be() {
    let server = small()
        .env("SANDTREE_AUTH__ADMIN_KEY", "sesame")
        .env("SANDTREE_DIALECTS__TERMINAL_SERVER__ANONYMOUS", "true")
        .start()
        .await;
    let client = server.client();
    let with_key = client.with_header("x-api-key", "sesame");
    let (theirs, ours) = (id(&create(&client).await), id(&create(&with_key).await));
    for (client, session, status) in [
        (&client, &theirs, 200),
        (&client, &ours, 404),
        (&with_key, &ours, 200),
        (&with_key, &theirs, 404),
    ] {
        let shown = client.get(&format!("{SESSIONS}/{session}")).await;
        assert_eq!(shown.status, status, "{session}: {shown:?}");
    }
    for session in [theirs, ours] {
        let mut socket = connect(&client, &session).await;
        socket.send(stdin("echo o''k\n")).await;
        socket.wait_for("ok", stdout).await;
    }
}

#[tokio::test]
async fn a_user_has_so_many_sessions_and_makes_so_many_in_an_hour() {
    let server = small()
        .env("SANDTREE_DIALECTS__TERMINAL_SERVER__SESSIONS_PER_USER_MAX", "2")
        .env("SANDTREE_DIALECTS__TERMINAL_SERVER__SESSIONS_PER_HOUR_MAX", "3")
        .start()
        .await;
    let client = server.client();
    let ask = |user: &'static str| {
        let client = client.clone();
        async move { client.post(SESSIONS, &json!({ "userId": user })).await }
    };
    let at_once = tokio::join!(ask("ann"), ask("ann"), ask("ann"));
    let mut statuses = [at_once.0.status, at_once.1.status, at_once.2.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 429], "two of three at once");
    let refused = ask("ann").await.expect(429);
    assert!(refused.header("retry-after").is_some());
    assert!(refused.json()["detail"].as_str().expect("a text").contains("2 per user"));
    let bob = ask("bob").await.expect(200).json();
    let gone = client.delete(&format!("{SESSIONS}/{}", id(&bob))).await;
    assert_eq!(gone.status, 200, "another user has sessions of his own");
    // What was refused does not count: she has made two, and makes her third.
    for made in [at_once.0, at_once.1, at_once.2].into_iter().filter(|made| made.status == 200) {
        let ended = client.delete(&format!("{SESSIONS}/{}", id(&made.json()))).await;
        assert_eq!(ended.status, 200);
    }
    let third = ask("ann").await.expect(200).json();
    let _ = client.delete(&format!("{SESSIONS}/{}", id(&third))).await.expect(200);
    let fourth = ask("ann").await.expect(429).json();
    assert!(fourth["detail"].as_str().expect("a text").contains("within an hour"), "{fourth}");
    for user in ["", "a\nb"] {
        let refused = client.post(SESSIONS, &json!({ "userId": user })).await.expect(422).json();
        assert_eq!(refused["detail"][0]["loc"], json!(["body", "userId"]), "{user:?}");
    }
}

#[tokio::test]
async fn a_body_may_be_anything_that_says_nothing_or_who_it_is_for() {
    let server =
        small().env("SANDTREE_DIALECTS__TERMINAL_SERVER__SESSIONS_PER_USER_MAX", "9").start().await;
    let client = server.client();
    for (media, text) in [
        ("application/json", ""),
        ("application/x-www-form-urlencoded", ""),
        ("application/json", "{}"),
        ("application/json", r#"{"userId": "ann", "more": 1}"#),
        ("application/json", r#"{"user_id": "ann"}"#),
    ] {
        let call = client.request(Method::POST, SESSIONS).body(media, text);
        let made = call.send().await.expect(200).json();
        let shown = client.get(&format!("{SESSIONS}/{}", id(&made))).await.expect(200).json();
        assert_eq!(shown, made, "{media} {text:?}");
    }
    for text in ["[]", "ann", r#"{"userId": 1}"#] {
        let call = client.request(Method::POST, SESSIONS).body("application/json", text);
        let refused = call.send().await.expect(422).json();
        assert_eq!(refused["detail"][0]["loc"][0], "body", "{text}: {refused}");
    }
}

#[tokio::test]
async fn the_defaults_are_those_of_the_seed() {
    let server = server().start().await;
    let client = server.client();
    let ask = async |user: &str| client.post(SESSIONS, &json!({ "userId": user })).await;
    let mut first = Value::Null;
    for _ in 0..3 {
        first = ask("ann").await.expect(200).json();
    }
    let fourth = ask("ann").await.expect(429).json();
    assert_eq!(fourth["detail"], "Session limit reached: 3 per user; end one first");
    assert_eq!(first["idle_timeout"], "5m");

    let listed = client.get("/v1/projects?label=sandtree.user:ann").await.expect(200).json();
    let project = listed["items"][0]["id"].as_str().expect("a session's project").to_owned();
    let native = Project::existing(&client, &project).show().await;
    for (what, wanted) in [
        ("profile", "terminal_server"),
        ("image", "sandtree/general:latest"),
        ("idle_timeout", "5m"),
        ("max_lifetime", "1h"),
    ] {
        assert_eq!(native[what], wanted, "{what}");
    }
    // By default there is no limit within an hour.
    for _ in 0..11 {
        let made = ask("bob").await.expect(200).json();
        let _ = client.delete(&format!("{SESSIONS}/{}", id(&made))).await.expect(200);
    }
}

#[tokio::test]
async fn the_address_of_a_socket_is_where_the_client_reached_the_server() {
    let server = small().env("SANDTREE_SERVER__ALLOWED_HOSTS", "ide.example.com").start().await;
    let client = server.client();
    for (forwarded, scheme) in [("http", "ws"), ("https", "wss"), ("gopher", "ws")] {
        let call = client.request(Method::POST, SESSIONS).header("host", "ide.example.com");
        let made = call.header("x-forwarded-proto", forwarded).send().await.expect(200).json();
        let url = format!("{scheme}://ide.example.com/ws/terminal/{}", id(&made));
        assert_eq!(made["websocket_url"], url, "{forwarded}");
    }
}

#[tokio::test]
async fn what_other_documents_of_the_system_say_is_not_served() {
    let server = small().start().await;
    let client = server.client();
    let moved = client.post(SESSION_OF_DAIV, &json!({})).await.expect(307);
    assert_eq!(moved.header("location"), Some("/session/"), "that is another system's");
    for (method, path, status) in [
        (Method::POST, "/sessions", 404),
        (Method::GET, "/healthz", 404),
        (Method::GET, SESSIONS, 405),
        (Method::GET, "/api/v1/sessions/sess_abc123", 404),
        (Method::DELETE, "/api/v1/sessions/sess_abc123", 404),
        (Method::PUT, "/api/v1/sessions/sess_abc123", 405),
        (Method::POST, "/api/v1/health", 405),
    ] {
        let _ = client.request(method, path).send().await.expect(status);
    }
}

#[tokio::test]
async fn a_session_is_no_project_of_other_clients() {
    let server = small().start().await;
    let client = server.client();
    let session = id(&create(&client).await);
    assert_eq!(client.get("/projects").await.expect(200).json(), json!([]));
    assert_eq!(client.get("/admin/runtimes").await.expect(200).json(), json!([]));
    let _ = client.delete(&format!("{SESSIONS}/{session}")).await.expect(200);
}
