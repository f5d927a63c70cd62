use super::*;

const UID: &str = "abcdefghij0123456789";

fn gate(key: Option<&str>) -> Gate {
    let settings = EdgeSettings {
        preview_domain: Some("preview.example".into()),
        allowed_origins: vec!["https://ide.example".into()],
        ..EdgeSettings::default()
    };
    Gate::new(key.map(Secret::new).as_ref(), &settings)
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(*name, value.parse().unwrap());
    }
    headers
}

fn admit(
    gate: &Gate,
    method: &Method,
    path: &str,
    pairs: &[(&'static str, &str)],
) -> Result<Admitted, u16> {
    let mut headers = headers(pairs);
    let admitted = gate.admit(method, &path.parse().unwrap(), &mut headers);
    admitted.map_err(|problem| problem.kind().status)
}

#[test]
fn the_key_is_needed_everywhere_but_where_nothing_is_told() {
    let gate = gate(Some("sesame"));
    let host = ("host", "sandtree.example:80");
    for (path, pairs, expected) in [
        ("/v1/projects", vec![host], Err(401)),
        ("/v1/projects", vec![host, ("x-api-key", "sesame")], Ok("key:admin")),
        ("/v1/projects", vec![host, ("authorization", "bearer sesame")], Ok("key:admin")),
        ("/v1/projects", vec![host, ("authorization", "Basic sesame")], Err(401)),
        (
            "/v1/projects",
            vec![host, ("x-api-key", "sesam"), ("authorization", "Bearer sesame")],
            Err(401),
        ),
        ("/v1/projects", vec![host, ("x-api-key", "")], Err(401)),
        ("/metrics", vec![host], Err(401)),
        ("/health", vec![host], Ok("")),
        ("/ready", vec![host], Ok("")),
        ("/openapi.json", vec![host], Ok("")),
        ("/health/x", vec![host], Err(401)),
    ] {
        let admitted = admit(&gate, &Method::GET, path, &pairs);
        let name = admitted.map(|admitted| admitted.principal.map_or("".into(), |by| by.name));
        assert_eq!(name, expected.map(Into::into), "{path} {pairs:?}");
    }
}

#[test]
fn the_key_does_not_travel_on() {
    let mut headers =
        headers(&[("host", "localhost"), ("x-api-key", "sesame"), ("authorization", "Bearer app")]);
    gate(Some("sesame")).admit(&Method::GET, &Uri::from_static("/v1/x"), &mut headers).unwrap();
    assert!(!headers.contains_key(API_KEY));
    assert_eq!(headers[AUTHORIZATION], "Bearer app");
}

#[test]
fn without_a_key_only_known_hosts_are_answered() {
    let gate = gate(None);
    for (host, expected) in [
        ("127.0.0.1:8080", true),
        ("[::1]:8080", true),
        ("localhost:8080", true),
        ("LocalHost.", true),
        ("a.localhost", true),
        ("evil.example", false),
        ("127.0.0.1.evil.example", false),
        ("localhost.evil.example:8080", false),
        ("preview.example", false),
    ] {
        let admitted = admit(&gate, &Method::GET, "/v1/projects", &[("host", host)]);
        assert_eq!(admitted.map_err(|status| assert_eq!(status, 421)).is_ok(), expected, "{host}");
    }
    for pairs in [vec![], vec![("host", "localhost"), ("host", "localhost")]] {
        assert_eq!(admit(&gate, &Method::GET, "/", &pairs), Err(400), "{pairs:?}");
    }
}

#[test]
fn pages_of_other_origins_are_refused() {
    let gate = gate(None);
    let host = ("host", "localhost:8080");
    let link = [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")];
    for (method, extra, expected) in [
        (Method::POST, vec![], true),
        (Method::POST, vec![("origin", "http://localhost:8080")], true),
        (Method::POST, vec![("origin", "http://localhost:3000")], false),
        (Method::POST, vec![("origin", "https://evil.example")], false),
        (Method::POST, vec![("origin", "null")], false),
        (Method::POST, vec![("origin", "https://ide.example")], true),
        (Method::GET, vec![("origin", "https://evil.example"), ("upgrade", "websocket")], false),
        (Method::GET, vec![("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors")], false),
        (Method::GET, vec![("sec-fetch-site", "same-site"), ("sec-fetch-mode", "no-cors")], false),
        (Method::GET, vec![("sec-fetch-site", "none")], true),
        (Method::GET, link.to_vec(), true),
        (Method::POST, link.to_vec(), false),
    ] {
        let pairs: Vec<_> = std::iter::once(host).chain(extra).collect();
        let admitted = admit(&gate, &method, "/v1/projects", &pairs);
        assert_eq!(
            admitted.map_err(|status| assert_eq!(status, 403)).is_ok(),
            expected,
            "{method} {pairs:?}"
        );
    }
}

#[test]
fn an_allowed_origin_may_see_answers_and_ask_first_without_a_key() {
    let gate = gate(Some("sesame"));
    let pairs = [("host", "api.example"), ("origin", "https://ide.example")];
    let asked = admit(&gate, &Method::OPTIONS, "/v1/projects", &pairs).unwrap();
    assert_eq!(
        (asked.principal, asked.cors),
        (None, Some(HeaderValue::from_static("https://ide.example")))
    );
    assert_eq!(admit(&gate, &Method::POST, "/v1/projects", &pairs), Err(401));
}

#[test]
fn a_host_name_below_the_preview_domain_is_a_preview() {
    let gate = gate(None);
    let host = format!("3000-{UID}.preview.example:8080");
    let pairs = [("host", host.as_str()), ("origin", "https://anything.example")];
    let preview = admit(&gate, &Method::POST, "/health", &pairs).unwrap().preview;
    assert_eq!(preview, Some(PreviewHost { port: 3000, project: UID.parse().unwrap() }));
    for bad in ["x", "0-abcdefghij0123456789", "70000-abcdefghij0123456789", "3000-short", "80"] {
        let host = format!("{bad}.preview.example");
        assert_eq!(admit(&gate, &Method::GET, "/", &[("host", &host)]), Err(421), "{bad}");
    }
    let keyed = self::gate(Some("sesame"));
    assert_eq!(admit(&keyed, &Method::GET, "/health", &pairs), Err(401));
}

#[test]
fn targets_that_are_no_path_are_refused() {
    let host = [("host", "localhost")];
    for target in ["localhost:80", "*"] {
        assert_eq!(admit(&gate(None), &Method::CONNECT, target, &host), Err(400), "{target}");
        assert_eq!(admit(&gate(None), &Method::OPTIONS, target, &host), Err(400), "{target}");
    }
    assert!(admit(&gate(None), &Method::GET, "http://localhost/v1", &[]).is_ok());
}

#[test]
fn pages_of_every_origin_are_let_in_at_the_previews_of_one_dialect_and_nowhere_else() {
    let preview = "/api/v1/preview/p/x";
    let evil = [
        ("host", "localhost:80"),
        ("origin", "https://evil.example"),
        ("sec-fetch-site", "cross-site"),
    ];
    let open = gate(None);
    for method in [Method::GET, Method::POST, Method::OPTIONS] {
        let admitted = admit(&open, &method, preview, &evil).unwrap();
        assert_eq!(admitted.cors, None, "the preview says itself who may read it");
        for path in
            ["/api/v1/containers/p/exec", "/api/v1/previews", "/api/v1/preview", "/v1/projects"]
        {
            assert_eq!(admit(&open, &method, path, &evil), Err(403), "{method} {path}");
        }
    }
    let rebound = [("host", "evil.example"), ("origin", "http://evil.example")];
    assert_eq!(admit(&open, &Method::GET, preview, &rebound), Err(421));
}

#[test]
fn a_preview_says_itself_that_a_key_is_missing_where_only_it_can() {
    let locked = gate(Some("sesame"));
    let host = ("host", "sandtree.example");
    let preview = "/api/v1/preview/p/x";
    let nobody =
        |method, pairs: &[_]| admit(&locked, method, preview, pairs).map(|it| it.principal);
    assert_eq!(nobody(&Method::GET, &[host]), Err(401));
    assert_eq!(nobody(&Method::POST, &[host]), Err(401));
    assert_eq!(nobody(&Method::GET, &[host, ("upgrade", "websocket")]), Ok(None));
    assert_eq!(nobody(&Method::OPTIONS, &[host]), Ok(None));
    let upgrade = [host, ("upgrade", "websocket")];
    assert_eq!(admit(&locked, &Method::GET, "/api/v1/containers/p/status", &upgrade), Err(401));
}
