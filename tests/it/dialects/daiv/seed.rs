//! `POST /session/{id}/seed/`: archives of any form, and what hostile ones come to.

use hyper::Method;
use tar::EntryType;

use super::archive::{Member, file, form, link, packed, tar};
use super::{Session, assert_detail, server};

#[tokio::test]
async fn every_form_of_an_archive_is_told_by_its_beginning() {
    let server = server().start().await;
    let plain = tar(&[file("a.txt", "one\n"), file("b/c.txt", "two\n")]);
    for (form, archive) in packed(&plain) {
        let session = Session::small(&server.client()).await;
        let answer = session.seed(&[("repo_archive", &archive), ("skills_archive", &plain)]).await;
        assert_eq!((answer.status, answer.body.len()), (204, 0), "{form}: {}", answer.text());
        let shown = session.ok("cat a.txt b/c.txt ../skills/b/c.txt").await;
        assert_eq!(shown, "one\ntwo\ntwo\n", "{form}");
        let broken = &archive[..archive.len() / 2];
        let other = Session::small(&server.client()).await;
        let refused = other.seed(&[("skills_archive", &plain), ("repo_archive", broken)]).await;
        let detail = refused.json()["detail"].clone();
        let detail = detail.as_str().unwrap_or_default();
        let is_told = detail.starts_with("repo_archive is invalid: ");
        assert!(refused.status == 422 && is_told, "{form}: {}", refused.text());
        assert_eq!(other.ok("ls /workspace/skills").await, "", "nothing is written of either");
        session.done(Method::DELETE, "?force=true").await;
        other.done(Method::DELETE, "?force=true").await;
    }
}

#[tokio::test]
async fn a_session_is_seeded_once() {
    let server = server().start().await;
    let session = Session::small(&server.client()).await;
    let archive = tar(&[file("a", "1")]);
    let words = "At least one of repo_archive and skills_archive must be provided";
    assert_detail(&session.seed(&[]).await, 422, words);
    assert_detail(&session.seed(&[("other", &archive)]).await, 422, words);
    assert_detail(&session.post("seed/", &serde_json::json!({})).await, 422, words);
    let empty = session.seed(&[("repo_archive", b"")]).await;
    assert_detail(&empty, 422, "repo_archive is invalid: empty file");
    session.seeded(&[("repo_archive", &archive)]).await;
    let again = session.seed(&[("skills_archive", &archive)]).await;
    assert_detail(&again, 409, "Session already seeded");
    let nobody = Session { id: "0".repeat(64), ..session };
    let (media, body) = form(&[("repo_archive", &archive)]);
    let call = nobody.client.request(Method::POST, &nobody.path("seed/"));
    assert_detail(
        &call.body(&media, body).send().await,
        404,
        "Session not found or already closed",
    );
}

#[tokio::test]
async fn what_is_there_before_a_seed_stays() {
    let server = server().start().await;
    let session = Session::small(&server.client()).await;
    session.ok("mkdir d; echo mine > d/mine").await;
    session.seeded(&[("repo_archive", &tar(&[file("d/theirs", "theirs\n")]))]).await;
    assert_eq!(session.ok("cat d/mine d/theirs").await, "mine\ntheirs\n");
    // Where it is written down that it was seeded is nothing that a command could remove.
    session.ok("rm -rf ~/* ~/.[!.]* /workspace/*/*").await;
    let again = session.seed(&[("repo_archive", &tar(&[file("a", "1")]))]).await;
    assert_detail(&again, 409, "Session already seeded");
}

#[tokio::test]
async fn a_part_that_is_no_file_is_a_fault_of_the_form() {
    let server = server().start().await;
    let session = Session::small(&server.client()).await;
    let body =
        "--b\r\nContent-Disposition: form-data; name=\"repo_archive\"\r\n\r\ntext\r\n--b--\r\n";
    let call = session.client.request(Method::POST, &session.path("seed/"));
    let answer = call.body("multipart/form-data; boundary=b", body).send().await.expect(422).json();
    let fault = &answer["detail"][0];
    assert_eq!(fault["msg"], "Value error, Expected UploadFile, received: <class 'str'>");
    assert_eq!(fault["loc"], serde_json::json!(["body", "repo_archive"]));
}

#[tokio::test]
async fn what_is_unpacked_does_not_tell_who_packed_it() {
    let server = server().start().await;
    let session = Session::small(&server.client()).await;
    let archive = tar(&[
        Member { mode: 0o4700, ..file("run", "#!") },
        Member { mode: 0o600, ..file("deep/down/secret", "s") },
        Member { mode: 0o444, ..file("read", "r") },
        file("read", "second of its name"),
    ]);
    session.seeded(&[("repo_archive", &archive)]).await;
    let stat = session.ok("stat -c '%n %a %u:%g %Y' run deep/down/secret read").await;
    let expected = "run 755 1000:1000 0\ndeep/down/secret 644 1000:1000 0\nread 644 1000:1000 0\n";
    assert_eq!(stat, expected);
    assert_eq!(session.ok("stat -c '%U:%G %a' deep; cat read").await, "sandbox:sandbox 755\nr");
}

#[tokio::test]
async fn a_name_that_leads_out_ends_the_whole_archive() {
    let server = server().start().await;
    let session = Session::small(&server.client()).await;
    for name in ["/etc/passwd", "../x", "a/../../x", "a/.."] {
        let archive = tar(&[file("first", "1"), file(name, "hostile")]);
        let refused = session.seed(&[("repo_archive", &archive)]).await;
        let text = refused.text();
        assert!(refused.status == 422 && text.contains("repo_archive is invalid: "), "{text}");
    }
    assert_eq!(session.ok("find /workspace -type f").await, "", "nothing was unpacked");
}

#[tokio::test]
async fn links_stay_inside_and_special_files_are_left_out() {
    let server = server().start().await;
    let session = Session::small(&server.client()).await;
    let special = |name, kind| Member { kind, ..file(name, "") };
    let archive = tar(&[
        file("dir/file", "1"),
        link("good", "dir/file"),
        link("dir/up", "../good"),
        link("absolute", "/etc/passwd"),
        link("out", "../skills"),
        link("far", "dir/../../x"),
        link("door", "dir"),
        link("through", "door/file"),
        link("back", "door/../good"),
        file("door/inside", "below a link"),
        Member { kind: EntryType::Link, ..link("hard", "dir/file") },
        special("pipe", EntryType::Fifo),
        special("device", EntryType::Char),
        special("disk", EntryType::Block),
    ]);
    session.seeded(&[("repo_archive", &archive)]).await;
    let found = session.ok("find . | sort").await;
    assert_eq!(found, ".\n./dir\n./dir/file\n./dir/up\n./door\n./good\n");
}

#[tokio::test]
async fn a_bomb_is_refused() {
    // Packed first: it takes longer than a connection is kept for the next request.
    let bombs = packed(&tar(&[file("zeros", &"\0".repeat(16 * 1024 * 1024))]));
    let server = server().start().await;
    let session = Session::small(&server.client()).await;
    for (form, archive) in bombs.into_iter().skip(1) {
        let refused = session.seed(&[("repo_archive", &archive)]).await;
        let text = refused.text();
        let is_told = text.contains("unpacks to more than 200 times its size");
        assert!(refused.status == 422 && is_told, "{form}: {text}");
    }
    assert_eq!(session.ok("ls").await, "");
}
