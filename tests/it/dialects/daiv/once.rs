//! `POST /run/commands/` (contract 1.3): what the first version did.

use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sandtree_testkit::{Client, Response, until};
use serde_json::{Value, json};

use super::archive::{file, packed, tar, unpacked};
use super::{GENERAL, SMALL, nothing_is_left, server};
use crate::support::run;

const RUN_ID: &str = "f47ac10b-58cc-4372-a567-0e02b2c3d479";

async fn commands(client: &Client, body: &Value) -> Response {
    let mut whole = json!({ "run_id": RUN_ID, "base_image": SMALL, "archive": "" });
    for (name, value) in body.as_object().into_iter().flatten() {
        whole[name] = value.clone();
    }
    client.post("/run/commands/", &whole).await
}

#[tokio::test]
async fn all_commands_run_and_what_the_last_one_changed_comes_back() {
    let server = server().start().await;
    let client = server.client();
    let archive = tar(&[file("top/old", "old"), file("top/sub/a", "a"), file("top/.dot/b", "b")]);
    for (form, archive) in packed(&archive) {
        let body = json!({
            "archive": STANDARD.encode(archive), "workdir": "top",
            "commands": [
                "echo first > earlier",
                "cat old; echo err >&2; echo new > new; echo x > sub/a; echo y > .dot/b; rm old; ln -s new link; mkdir dir; mkfifo dir/pipe; exit 7",
            ],
        });
        let answer = commands(&client, &body).await.expect(200).json();
        let last = &answer["results"][1];
        assert_eq!(
            (&last["output"], &last["exit_code"]),
            (&json!("olderr\n"), &json!(7)),
            "{form}"
        );
        assert_eq!(answer["results"][0]["exit_code"], 0);
        let changed = unpacked(answer["archive"].as_str().expect("an archive"));
        let expected = [("new", "new\n"), ("sub/a", "x\n")];
        assert_eq!(
            changed,
            expected.map(|(name, text)| (name.to_owned(), text.to_owned())),
            "{form}"
        );
    }
    nothing_is_left(&server).await;
}

#[tokio::test]
async fn a_run_without_an_archive_a_change_or_a_command_is_a_run() {
    let server = server().start().await;
    let client = server.client();
    for (body, results) in [
        (
            json!({ "commands": ["exit 3", "pwd"] }),
            vec![("exit 3", "", 3), ("pwd", "/workspace\n", 0)],
        ),
        (json!({ "commands": [] }), vec![]),
        (json!({ "commands": ["pwd"], "workdir": "/tmp" }), vec![("pwd", "/tmp\n", 0)]),
        (json!({ "commands": ["false | true"], "workdir": null }), vec![("false | true", "", 1)]),
    ] {
        let answer = commands(&client, &body).await.expect(200).json();
        let results: Vec<_> = results
            .into_iter()
            .map(|(command, output, code)| {
                json!({ "command": command, "output": output, "exit_code": code })
            })
            .collect();
        assert_eq!(answer, json!({ "results": results, "archive": null }), "{body}");
    }
    let body = json!({ "commands": ["true"], "workdir": "no/such" });
    let answer = commands(&client, &body).await.expect(200).json();
    assert_eq!(answer["results"][0]["exit_code"], 127, "{answer}");
    nothing_is_left(&server).await;
}

#[tokio::test]
async fn what_is_no_archive_is_told_and_runs_nothing() {
    let server = server().start().await;
    let body = json!({ "commands": ["true"], "archive": STANDARD.encode("no tar".repeat(200)) });
    let refused = commands(&server.client(), &body).await;
    assert!(refused.status == 400 && refused.json()["detail"].is_string(), "{}", refused.text());
    for (field, value, kind) in [
        ("archive", Value::Null, "bytes_type"),
        ("archive", json!("a"), "base64_decode"),
        ("run_id", json!("6ba7b810-9dad-11d1-80b4-00c04fd430c8"), "uuid_version"),
        ("run_id", json!("x"), "uuid_parsing"),
        ("commands", Value::Null, "list_type"),
        ("base_image", Value::Null, "string_type"),
    ] {
        let mut body = json!({ "commands": ["true"] });
        body[field] = value;
        let refused = commands(&server.client(), &body).await.expect(422).json();
        assert_eq!(refused["detail"][0]["type"], kind, "{field}");
    }
    nothing_is_left(&server).await;
}

#[tokio::test]
async fn a_run_that_takes_too_long_ends() {
    let short = server().env("SANDTREE_DIALECTS__DAIV__RUN_TIMEOUT", "3s");
    let server = short.start().await;
    let body = json!({ "commands": ["sleep 1000"] });
    let refused = commands(&server.client(), &body).await.expect(500).json();
    assert_eq!(refused, json!({ "detail": "Execution timed out after 3s" }));
    nothing_is_left(&server).await;
}

#[tokio::test]
async fn runs_go_on_side_by_side() {
    let server = server().start().await;
    let run = |n: u32| {
        let client = server.client();
        tokio::spawn(async move {
            let body = json!({ "commands": [format!("echo {n} > x; cat x")] });
            commands(&client, &body).await.expect(200).json()
        })
    };
    for (n, run) in (0..4).map(run).collect::<Vec<_>>().into_iter().enumerate() {
        let answer = run.await.expect("an answer");
        assert_eq!(answer["results"][0]["output"], format!("{n}\n"));
        let changed = unpacked(answer["archive"].as_str().expect("an archive"));
        assert_eq!(changed, [("x".to_owned(), format!("{n}\n"))]);
    }
    nothing_is_left(&server).await;
}

/// An image of the tests that says whose it is; gone when it is dropped.
struct Of(String);

impl Of {
    fn user(user: &str, image: &str) -> Self {
        let name = format!("sandtree-test/user-{}", user.replace(':', "-"));
        let made = run("docker", &["create", image, "true"]);
        let container = String::from_utf8(made).expect("an id").trim().to_owned();
        let change = format!("USER {user}");
        let _ = run("docker", &["commit", "--change", &change, &container, &name]);
        let _ = run("docker", &["rm", &container]);
        Self(name)
    }
}

impl Drop for Of {
    fn drop(&mut self) {
        let _ = Command::new("docker").args(["rmi", "--force", &self.0]).output();
    }
}

#[tokio::test]
async fn a_run_is_of_the_images_own_user() {
    let server = server().start().await;
    let client = server.client();
    let [named, numbers, one] = [("games:staff", GENERAL), ("4321:4322", SMALL), ("4321", GENERAL)]
        .map(|(user, image)| Of::user(user, image));
    for (image, ids) in
        [(SMALL, "0 0"), (&named.0, "5 50"), (&numbers.0, "4321 4322"), (&one.0, "4321 0")]
    {
        let command = "touch x ~/y /tmp/z && echo $(id -u) $(id -g) && stat -c '%u %g' x top";
        let archive = STANDARD.encode(tar(&[file("top/a", "1")]));
        let body = json!({ "base_image": image, "archive": archive, "commands": [command] });
        let answer = commands(&client, &body).await.expect(200).json();
        let expected = format!("{ids}\n{ids}\n{ids}\n");
        assert_eq!(answer["results"][0]["output"], expected, "{image}: {answer}");
        let changed = unpacked(answer["archive"].as_str().expect("an archive"));
        assert_eq!(changed, [("x".to_owned(), String::new())], "{image}");
    }
    // Root can do here what installing packages needs.
    let chown =
        json!({ "commands": ["touch x && chown 5:5 x && chmod 4750 x && stat -c %u:%a x"] });
    let answer = commands(&client, &chown).await.expect(200).json();
    assert_eq!(answer["results"][0]["output"], "5:4750\n", "{answer}");

    let unknown = Of::user("nobody-knows", GENERAL);
    let body = json!({ "base_image": unknown.0, "commands": ["true"] });
    let failed = commands(&client, &body).await.expect(500).json();
    assert!(failed["detail"].as_str().unwrap().contains("nobody-knows"), "{failed}");
    nothing_is_left(&server).await;
}

#[tokio::test]
async fn a_run_gets_a_sandbox_of_the_pool_that_is_of_the_images_user_too() {
    let Of(image) = &Of::user("4323:4324", SMALL);
    let server = server()
        .env("SANDTREE_PROFILES__DAIV_RUN__IMAGE", image)
        .env("SANDTREE_POOL__SIZES__DAIV_RUN", "1")
        .start()
        .await;
    let client = server.client();
    let metric = async |line: &str| client.get("/metrics").await.text().contains(line);
    let ready = "sandtree_pool_ready{profile=\"daiv_run\"} 1";
    until(ready, async || metric(ready).await).await;
    let body = json!({ "base_image": image, "commands": ["touch x; echo $(id -u) $(id -g)"] });
    let answer = commands(&client, &body).await.expect(200).json();
    assert_eq!(answer["results"][0]["output"], "4323 4324\n", "{answer}");
    assert!(metric("outcome=\"hit\"").await, "it came from the pool");
}

#[tokio::test]
async fn root_of_a_run_has_five_capabilities_and_cannot_reach_its_init() {
    let server = server().start().await;
    for (command, expected) in [
        ("grep CapEff /proc/self/status", "CapEff:\t00000000000000cb\n"),
        ("grep CapBnd /proc/self/status", "CapBnd:\t00000000000000cb\n"),
        ("grep NoNewPrivs /proc/self/status", "NoNewPrivs:\t1\n"),
        ("cat /proc/1/environ 2>/dev/null || echo no", "no\n"),
        ("head -c1 /proc/1/mem 2>/dev/null || echo no", "no\n"),
        // Their numbers can be seen, with DAC_OVERRIDE, and nothing else of them.
        ("for f in /proc/1/fd/*; do readlink $f; cat < $f; done 2>/dev/null; echo no", "no\n"),
        ("cat /.sandtree/home/token 2>/dev/null || echo no", "no\n"),
        ("touch /.sandtree/home/x 2>/dev/null || echo no", "no\n"),
        ("mv /.sandtree/init /x 2>/dev/null || echo no", "no\n"),
        ("mount -t tmpfs x /tmp 2>/dev/null || echo no", "no\n"),
        ("mknod /tmp/x b 8 0 2>/dev/null || echo no", "no\n"),
        ("kill -9 1; echo alive", "alive\n"),
    ] {
        let body = json!({ "commands": [command] });
        let answer = commands(&server.client(), &body).await.expect(200).json();
        assert_eq!(answer["results"][0]["output"], expected, "{command}: {answer}");
    }
}

#[tokio::test]
async fn a_run_has_a_network_and_the_name_of_the_contract() {
    let server = server().start().await;
    let body = json!({ "commands": ["hostname", "ls /sys/class/net | grep -v lo", "cat"] });
    let answer = commands(&server.client(), &body).await.expect(200).json();
    let outputs: Vec<_> = (0..3).map(|n| answer["results"][n]["output"].clone()).collect();
    assert_eq!(outputs, ["sandbox\n", "eth0\n", ""], "{answer}");
}
