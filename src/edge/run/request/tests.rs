use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::config::{Config, Overrides};
use crate::edge::body::parse_json;

fn parse(body: &Value) -> Result<Plan, Problem> {
    let settings = Config::load(&Overrides::default(), []).unwrap().run;
    plan(parse_json(body.to_string().as_bytes())?, &settings)
}

#[test]
fn commands_become_a_plan() {
    let plan = parse(&json!({
        "profile": "small", "env": {"A": "1"}, "limits": {"pids": 64}, "cwd": "src/x",
        "files": [
            {"path": "a", "content": "hi", "mode": "0755"}, {"path": "b", "base64": "AAE="},
        ],
        "archive": "eA==", "commands": ["make", "make test"], "timeout": "5s", "fail_fast": true,
    }))
    .unwrap();
    assert_eq!(plan.create.profile.as_deref(), Some("small"));
    assert_eq!(plan.create.limits.pids, Some(64));
    assert_eq!(plan.files[0].content, b"hi");
    assert_eq!((plan.files[0].mode, plan.files[1].content.as_slice()), (Some(0o755), &[0, 1][..]));
    assert_eq!(plan.archive.as_deref(), Some(&b"x"[..]));
    assert_eq!(plan.commands[1].argv, ["/bin/sh", "-c", "make test"]);
    assert_eq!(plan.cwd.as_deref(), Some("/workspace/src/x"));
    assert_eq!(plan.make_dir.as_str(), "src/x");
    assert!(plan.fail_fast && plan.time_max == Duration::from_secs(5));
    let wanted = plan.wanted.unwrap();
    assert_eq!((wanted.dir.as_str(), wanted.changed), ("src/x", Some(ChangedBy::Anything)));
}

#[test]
fn code_becomes_a_file_and_the_commands_of_its_language() {
    let code = |code: Value| parse(&json!({ "code": code, "cwd": "d" })).unwrap();
    let plan = code(json!({"language": "python", "source": "print(1)"}));
    assert_eq!(plan.files[0].path.as_str(), "d/main.py");
    assert_eq!(plan.commands.len(), 1);
    assert_eq!(plan.commands[0].shown, "python3 main.py");
    assert_eq!((plan.create.profile.as_deref(), &plan.create.image), (Some("default"), &None));

    let plan = code(json!({"language": "node", "source": "", "dependencies": ["left-pad@1"]}));
    assert_eq!(plan.commands[0].argv.last().unwrap(), "left-pad@1");
    assert!(plan.commands[0].must_succeed);
    assert_eq!(plan.commands[1].argv, ["node", "main.js"]);

    let plan = code(json!({"language": "ruby", "source": ""}));
    assert_eq!(plan.create.image.as_deref(), Some("ruby:3.2-alpine"));
    for language in ["python", "node", "bash", "ruby", "php", "go"] {
        code(json!({"language": language, "source": ""}));
    }
    let own = parse(&json!({"code": {"language": "ruby", "source": ""}, "profile": "small"}));
    assert_eq!(own.unwrap().create.image, None, "the request's profile has an image");
}

#[test]
fn what_comes_back_is_chosen() {
    let wanted = |body: Value| parse(&body).unwrap().wanted;
    assert_eq!(wanted(json!({"commands": ["x"], "collect": "none"})), None);
    assert_eq!(wanted(json!({"commands": ["x"], "cwd": "/tmp"})), None, "out of reach");
    assert_eq!(wanted(json!({"commands": ["x"], "cwd": "/workspaces"})), None);
    let globs = wanted(json!({"commands": ["x"], "collect": ["*.txt"], "hidden": true})).unwrap();
    assert_eq!((globs.changed, globs.include), (None, vec![Glob::new("*.txt")]));
    assert!(globs.hidden && globs.dir.is_root());
    let dir = wanted(json!({"commands": ["x"], "cwd": "/workspace/a"})).unwrap().dir;
    assert_eq!(dir.as_str(), "a");
}

#[test]
fn what_is_wrong_is_named() {
    let many = vec!["x"; COMMANDS_MAX + 1];
    let python = |dependencies: Value| json!({"code": {"language": "python", "source": "", "dependencies": dependencies}});
    for (body, field) in [
        (json!({}), "commands"),
        (json!({"commands": []}), "commands"),
        (json!({"commands": many}), "commands"),
        (json!({"commands": ["x", "y\0"]}), "commands[1]"),
        (json!({"commands": ["x"], "code": {"language": "python", "source": ""}}), "code"),
        (json!({"commands": ["x"], "timeout": "2h"}), "timeout"),
        (json!({"commands": ["x"], "timeout": "0s"}), "timeout"),
        (json!({"commands": ["x"], "archive": "?"}), "archive"),
        (json!({"commands": ["x"], "cwd": "../x"}), "cwd"),
        (json!({"commands": ["x"], "cwd": "/workspace/../etc"}), "cwd"),
        (json!({"commands": ["x"], "cwd": ""}), "cwd"),
        (json!({"commands": ["x"], "collect": "all"}), "collect"),
        (json!({"commands": ["x"], "collect": []}), "collect"),
        (json!({"commands": ["x"], "collect": ["[z-a]"]}), "collect"),
        (json!({"commands": ["x"], "files": [{"path": "/a", "content": ""}]}), "files[0].path"),
        (json!({"commands": ["x"], "files": [{"path": "a"}]}), "files[0].content"),
        (json!({"commands": ["x"], "limits": {"cpus": 1}}), "limits.cpus"),
        (json!({"commands": ["x"], "shell": "bash"}), "shell"),
        (json!({"code": {"language": "cobol", "source": ""}}), "code.language"),
        (json!({"code": {"language": "bash", "source": ""}, "cwd": "/tmp"}), "cwd"),
        (
            json!({"code": {"language": "bash", "source": "", "dependencies": ["x"]}}),
            "code.dependencies",
        ),
        (python(json!(["-r", "x"])), "code.dependencies"),
        (python(json!([""])), "code.dependencies"),
    ] {
        let problem = parse(&body).unwrap_err();
        assert_eq!(problem.document()["field"], field, "{body}: {problem:?}");
        assert_eq!(problem.document()["status"], 400, "{body}");
    }
}
