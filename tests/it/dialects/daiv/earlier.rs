//! The fields of version 0.4, which its last clients may still send.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::archive::{file, tar};
use super::{GENERAL, SMALL, Session, assert_detail, server};

/// Runs a command on an archive; the whole reply.
async fn run(session: &Session, command: &str, archive: Option<&[u8]>) -> Value {
    let archive = archive.map(|archive| STANDARD.encode(archive));
    let body = json!({ "commands": [command], "archive": archive });
    session.post("", &body).await.expect(200).json()
}

fn patch(reply: &Value) -> String {
    let text = reply["patch"].as_str().unwrap_or_else(|| panic!("no patch in {reply}"));
    String::from_utf8(STANDARD.decode(text).expect("base64")).expect("a patch of texts")
}

#[tokio::test]
async fn a_patch_tells_what_the_commands_changed() {
    let server = server().start().await;
    let body = json!({ "base_image": GENERAL, "extract_patch": true });
    let session = Session::start(&server.client(), &body).await;
    let text = "a line that is long enough to be known again\n".repeat(5);
    let archive = tar(&[
        file("kept", "1\n"),
        file("changed", "1\n"),
        file("moved", &text),
        file(".gitignore", "*.log\n"),
        file("tracked.log", "1\n"),
    ]);
    let command = "echo 2 >> changed; git mv -f moved away 2>/dev/null || mv moved away
                   printf '\\000\\001' > bytes; echo x > new.log; echo 2 >> tracked.log";
    let reply = run(&session, command, Some(&archive)).await;
    let shown = patch(&reply);
    for part in [
        "diff --git a/changed b/changed",
        "+2\n",
        "rename from moved\nrename to away",
        "GIT binary patch",
        "diff --git a/tracked.log b/tracked.log",
    ] {
        assert!(shown.contains(part), "{part} is not in {shown}");
    }
    assert!(!shown.contains("new.log") && !shown.contains("a/kept"), "{shown}");

    // It can be applied to what the archive was.
    let apply = format!(
        "rm -rf /workspace/tmp/t && mkdir /workspace/tmp/t && cd /workspace/tmp/t && git init -q
         printf '1\\n' > changed; printf '1\\n' > tracked.log; printf '%s' \"$M\" > moved
         for i in 1 2 3 4 5; do echo 'a line that is long enough to be known again'; done > moved
         echo {} | base64 -d | git apply && cat changed && ls",
        reply["patch"].as_str().expect("base64")
    );
    assert_eq!(session.ok(&apply).await, "1\n2\naway\nbytes\nchanged\ntracked.log\n");

    let same = run(&session, "true", None).await;
    assert_eq!(same["patch"], Value::Null, "nothing has changed since");
}

#[tokio::test]
async fn a_session_that_did_not_ask_for_patches_has_none() {
    let server = server().start().await;
    let session = Session::small(&server.client()).await;
    let reply = run(&session, "touch a", None).await;
    assert_eq!(reply.as_object().map(|keys| keys.contains_key("patch")), Some(false));
    let body = json!({ "base_image": SMALL, "extract_patch": true });
    let without_git = Session::start(&server.client(), &body).await;
    let reply = run(&without_git, "touch a", None).await;
    assert_eq!(reply["patch"], Value::Null, "no git, no patch");
}

#[tokio::test]
async fn an_archive_is_added_to_what_is_there_or_replaces_it() {
    let server = server().start().await;
    let archive = tar(&[file("from/archive", "1")]);
    for (ephemeral, expected) in [(false, "from\nmine\n"), (true, "from\n")] {
        let body = json!({ "base_image": SMALL, "ephemeral": ephemeral });
        let session = Session::start(&server.client(), &body).await;
        session.ok("touch mine").await;
        let reply = run(&session, "ls", Some(&archive)).await;
        assert_eq!(reply["results"][0]["output"], expected, "ephemeral: {ephemeral}");
        let reply = run(&session, "ls", Some(b"")).await;
        assert_eq!(reply["results"][0]["output"], expected, "an empty archive is none");
    }
    let session = Session::small(&server.client()).await;
    let hostile = STANDARD.encode(tar(&[file("../x", "1")]));
    let refused = session.post("", &json!({ "commands": ["touch a"], "archive": hostile })).await;
    let words = "archive is invalid: member `../x`: path has a `..` component";
    assert_detail(&refused, 422, words);
    assert_eq!(session.ok("ls").await, "", "no command was run");
}
