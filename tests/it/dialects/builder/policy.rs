//! 4.2, the policy of REST commands, row by row. Its answer is 422 `command_rejected`, and no
//! process starts.

use sandtree_testkit::TestServer;
use serde_json::{Value, json};

use super::{Project, general};

/// What the policy finds anywhere in an argument or in the directory.
const BLOCKED: [&str; 20] = [
    ";", "&&", "||", "|", "`", "$(", "..", "~", "sudo", "ssh", "scp", "curl", "wget", "rm -rf",
    "chmod", "chown", "pkill", "kill", "umount", "mount",
];

/// What is said of a command that is rejected; nothing of one that is not.
async fn rejected(project: &Project, body: &Value) -> Option<String> {
    let answer = project.post("runtime/exec", body).await;
    if answer.status == 200 {
        return None;
    }
    let answer = answer.expect(422).json();
    let said = answer["detail"].as_str().expect("a text").to_owned();
    assert_eq!(answer, json!({ "error": "command_rejected", "detail": said }), "{body}");
    Some(said)
}

async fn started() -> (TestServer, Project) {
    let server = general().start().await;
    let project = Project::started(&server.client(), "demo").await;
    (server, project)
}

#[tokio::test]
async fn a_pattern_is_blocked_wherever_it_stands() {
    let (_server, project) = started().await;
    for pattern in BLOCKED {
        let inside = format!("a{pattern}b");
        let wanted = Some(format!("Blocked pattern detected: {pattern}"));
        for body in [
            json!({ "command": "python", "args": [inside] }),
            json!({ "command": "python", "args": ["fine", pattern] }),
            json!({ "command": "python", "args": [], "cwd": inside }),
        ] {
            assert_eq!(rejected(&project, &body).await, wanted, "{body}");
        }
        let command = json!({ "command": format!("python{pattern}") });
        assert!(rejected(&project, &command).await.is_some(), "{command}");
    }
}

#[tokio::test]
async fn programs_of_the_list_run_and_no_others() {
    let (_server, project) = started().await;
    for command in
        ["python", "pip", "flask", "uvicorn", "streamlit", "pytest", "npm", "npx", "node"]
    {
        let args = if command == "pip" { json!(["list"]) } else { json!(["--version"]) };
        let body = json!({ "command": command, "args": args });
        assert_eq!(rejected(&project, &body).await, None, "{body}");
    }
    for command in ["python3", "bash", "sh", "/usr/bin/python", "Python", "python -V", "env"] {
        let wanted = Some(format!("Command not allowed: {command}"));
        assert_eq!(rejected(&project, &json!({ "command": command })).await, wanted);
    }
    for command in ["", "  "] {
        let wanted = Some("Command cannot be empty".to_owned());
        assert_eq!(rejected(&project, &json!({ "command": command })).await, wanted);
    }
    #[rustfmt::skip]
    let rows = [
        (json!({ "command": "python", "args": ["skill.py"] }), Some("Blocked pattern detected: kill")),
        (json!({ "command": "python", "args": ["src/app.py"] }), None),
        (json!({ "command": "python", "args": ["-V"], "cwd": "/etc" }), Some("Absolute paths are not allowed")),
        (json!({ "command": "python", "args": ["-V"], "cwd": "/workspace" }), Some("Absolute paths are not allowed")),
    ];
    for (body, wanted) in rows {
        assert_eq!(rejected(&project, &body).await.as_deref(), wanted, "{body}");
    }
}

#[tokio::test]
async fn pip_takes_requirements_unless_it_is_strict() {
    let strict = general().env("SANDTREE_DIALECTS__BUILDER__STRICT_PIP", "true").start().await;
    let strict = (Project::started(&strict.client(), "demo").await, strict);
    let (_server, project) = started().await;
    // Nothing can be fetched, so what may run fails at once instead of in its retries.
    let _ = project.put("files/write?file_path=r.txt", &json!({ "content": "" })).await.expect(200);
    for (arguments, odd, odd_when_strict) in [
        (json!(["list"]), None, None),
        (json!(["freeze"]), None, None),
        (json!(["install", "-r", "r.txt"]), None, Some("r.txt")),
        (json!(["install", "pip"]), None, Some("pip")),
        (json!(["install", "pip>=20,<99"]), None, Some("pip>=20,<99")),
        (json!(["pip"]), Some("pip"), Some("pip")),
        (json!(["install", "--target", "x"]), Some("--target"), Some("--target")),
        (json!(["install", "git+https://a"]), Some("git+https://a"), Some("git+https://a")),
        (json!(["uninstall", "pip"]), Some("uninstall"), Some("uninstall")),
        (json!(["--help"]), Some("--help"), Some("--help")),
    ] {
        let body = json!({ "command": "pip", "args": arguments });
        let said =
            |odd: Option<&str>| odd.map(|it| format!("Argument not allowed for 'pip': {it}"));
        assert_eq!(rejected(&project, &body).await, said(odd), "{body}");
        assert_eq!(rejected(&strict.0, &body).await, said(odd_when_strict), "strict: {body}");
    }
}
