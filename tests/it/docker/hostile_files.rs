//! Hostile files: whatever code in a sandbox plants, and whatever path a client names,
//! nothing outside the workspace is ever read or written.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::Method;
use sandtree_testkit::{Client, Response, TestServer, until, within};
use serde_json::{Value, json};
use tar::EntryType;

use super::bad_input::parse_raw;

const SECRET: &str = "kept-out-of-every-workspace-7f3a";
/// Longest time of one request about files; one that hangs is a failure of its own.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// A server with secrets around the workspace of its project `p`, and a project
/// `victim` with one in its own.
struct Field {
    server: TestServer,
    client: Client,
    /// The workspace of `p`, on the host.
    workspace: PathBuf,
    /// The name of the other project's sandbox.
    victim: String,
    /// What is in the data directory.
    around: BTreeSet<String>,
}

impl Field {
    async fn new() -> Self {
        let server = TestServer::setup(env!("CARGO_BIN_EXE_sandtree")).start().await;
        let client = server.client();
        let data = server.data_dir();
        std::fs::write(data.join("secret.txt"), SECRET).expect("a secret");
        std::fs::create_dir(data.join("sub")).expect("a directory");
        std::fs::write(data.join("sub/keep.txt"), SECRET).expect("a secret");
        let victim = made(&client, json!({ "id": "victim", "profile": "small", "start": true }));
        let victim = victim.await;
        let kept = "/v1/projects/victim/files/secret.txt";
        let _ = client.put_bytes(kept, "text/plain", SECRET).await.expect(201);
        let own = made(&client, json!({ "id": "p", "start": true })).await;
        let workspace = data.join("sandboxes").join(own).join("workspace");
        assert!(workspace.is_dir(), "the layout of the data directory is another one");
        let around = names_in(data);
        Self { server, client, workspace, victim, around }
    }

    /// Runs Python in the sandbox of `p`; what it wrote.
    async fn python(&self, script: &str) -> String {
        let body = json!({ "argv": ["python3", "-"], "stdin": script });
        let ran = self.client.post("/v1/projects/p/exec", &body).await.expect(200).json();
        assert_eq!(ran["exit_code"], 0, "{script}: {ran}");
        ran["stdout"].as_str().expect("a text").to_owned()
    }

    /// Sends a request about the files of `p`; an answer has to come, and no secret in it.
    /// A transfer may break off while what it transfers is taken away.
    async fn ask(
        &self,
        method: &str,
        path: &str,
        body: Option<(&str, Vec<u8>)>,
    ) -> Option<Response> {
        let what = format!("{method} {path}");
        let target = format!("/v1/projects/p/{path}");
        let mut call = self.client.request(method.parse().expect("a method"), &target);
        if let Some((media, bytes)) = body {
            call = call.body(media, bytes);
        }
        let answer = within(ANSWER_MAX, &what, call.try_send()).await.ok()?;
        assert!(!holds_secret(&answer.body), "{what} tells the secret: {}", answer.text());
        assert!(answer.status < 500, "{what}: {} {}", answer.status, answer.text());
        if answer.status >= 400 && method != "HEAD" {
            let _ = answer.problem();
        }
        Some(answer)
    }

    async fn json(&self, path: &str, body: &Value) -> Option<Response> {
        self.ask("POST", path, Some(("application/json", body.to_string().into_bytes()))).await
    }

    /// As [`Field::ask`], for a request that cannot break off; its status.
    async fn status(&self, method: &str, path: &str, body: Option<(&str, Vec<u8>)>) -> u16 {
        let answer = self.ask(method, path, body).await;
        answer.unwrap_or_else(|| panic!("{method} {path} broke off")).status
    }

    /// That everything around the workspace is as it was, and no secret is in it.
    async fn assert_untouched(&self) {
        let data = self.server.data_dir();
        for path in ["secret.txt", "sub/keep.txt"] {
            let now = std::fs::read_to_string(data.join(path));
            assert_eq!(now.ok().as_deref(), Some(SECRET), "{path} was changed");
        }
        assert_eq!(names_in(&data.join("sub")), BTreeSet::from(["keep.txt".to_owned()]));
        let now = names_in(data);
        assert_eq!(now, self.around, "something was made or removed in the data directory");
        assert!(!Path::new("/planted.txt").exists(), "something was made in the host's root");
        let tree = self.client.get("/v1/projects/victim/tree?depth=9").await.expect(200).json();
        assert_eq!(tree["entries"].as_array().map(Vec::len), Some(1), "the other project: {tree}");
        let kept = self.client.get("/v1/projects/victim/files/secret.txt").await.expect(200);
        assert_eq!(kept.text(), SECRET);
        self.assert_no_secret_inside();
    }

    fn assert_no_secret_inside(&self) {
        let mut dirs = vec![self.workspace.clone()];
        while let Some(dir) = dirs.pop() {
            for entry in std::fs::read_dir(&dir).expect("a directory") {
                let entry = entry.expect("an entry");
                let kind = entry.file_type().expect("a kind");
                if kind.is_dir() {
                    dirs.push(entry.path());
                } else if kind.is_file() {
                    let bytes = std::fs::read(entry.path()).expect("a file");
                    assert!(!holds_secret(&bytes), "{} has the secret", entry.path().display());
                }
            }
        }
    }
}

/// Makes a project; its sandbox's name.
async fn made(client: &Client, body: Value) -> String {
    let made = client.post("/v1/projects", &body).await.expect(201).json();
    made["sandbox"]["uid"].as_str().unwrap_or_else(|| panic!("no sandbox in {made}")).to_owned()
}

fn holds_secret(bytes: &[u8]) -> bool {
    bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes())
}

/// Names in a directory, but for the files of the database that come and go.
fn names_in(dir: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(dir).expect("a directory");
    let names = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into());
    names.filter(|name: &String| !name.contains(".db")).collect()
}

fn plain(text: &str) -> Option<(&'static str, Vec<u8>)> {
    Some(("text/plain", text.as_bytes().to_vec()))
}

#[tokio::test]
async fn paths_that_lead_out_are_refused_however_they_are_written() {
    let field = Field::new().await;
    let long_name = "a".repeat(256);
    let long_path = vec!["a".repeat(200); 21].join("/");
    let deep = vec!["a"; 65].join("/");
    let bad = [
        "..",
        "../secret.txt",
        "../../../secret.txt",
        "a/../../../../secret.txt",
        "%2e%2e/%2e%2e/%2e%2e/secret.txt",
        "%2e%2e%2f%2e%2e%2f%2e%2e%2fsecret.txt",
        "..%2F..%2F..%2Fsecret.txt",
        "..%2f../..%2fsecret.txt",
        "/etc/passwd",
        "%2Fetc%2Fpasswd",
        "%2f%2fetc%2fpasswd",
        "a%00b",
        "%00",
        "secret.txt%00.png",
        "%ff%fe",
        "%c0%ae%c0%ae%c0%afsecret.txt",
        "%ed%a0%80",
        ".",
        "./a",
        "a/./b",
        "%2e",
        long_name.as_str(),
        long_path.as_str(),
        deep.as_str(),
    ];
    for path in bad {
        let file = format!("files/{path}");
        for (method, body) in [("GET", None), ("PUT", plain("x")), ("DELETE", None)] {
            let answer = field.ask(method, &file, body).await.expect("an answer").expect(400);
            let (kind, document) = answer.problem();
            assert_eq!((kind.as_str(), &document["field"]), ("invalid-field", &json!("path")));
        }
        let encoded = path.replace('/', "%2F");
        for query in ["tree", "archive"] {
            let status = field.status("GET", &format!("{query}?path={encoded}"), None).await;
            // In a query, what is no UTF-8 becomes a replacement character: a name like others.
            assert!([400, 404].contains(&status), "{query} of {path}: {status}");
        }
    }
    for name in ["%252e%252e%252fsecret.txt", "..%5c..%5csecret.txt", "%2e%2e%2e", "~", "%0a"] {
        let file = format!("files/{name}");
        assert_eq!(field.status("GET", &file, None).await, 404, "{name} is a name like others");
        assert_eq!(field.status("PUT", &file, plain("mine")).await, 201, "{name}");
        let read = field.ask("GET", &file, None).await.expect("an answer");
        assert_eq!(read.text(), "mine", "{name}");
    }
    field.assert_untouched().await;
}

/// Links whose target is outside, or nowhere.
async fn plant_links(field: &Field) -> Vec<String> {
    let data = field.server.data_dir().display().to_string();
    let victim = &field.victim;
    let script = format!(
        "import os\n\
         links = {{\n\
         'rel': '../../../secret.txt', 'abs': '{data}/secret.txt',\n\
         'rel-dir': '../../..', 'abs-dir': '{data}', 'root': '/', 'parent': '..',\n\
         'other': '../../{victim}/workspace', 'other-abs': '{data}/sandboxes/{victim}/workspace',\n\
         'staging': '../staging', 'loop': 'loop', 'ping': 'pong', 'pong': 'ping',\n\
         'proc-root': '/proc/self/root', 'proc-cwd': '/proc/self/cwd', 'fd': '/proc/self/fd/3',\n\
         'init-root': '/proc/1/root', 'passwd': '/etc/passwd', 'hop': 'rel-dir/sub',\n\
         }}\n\
         for name, target in links.items(): os.symlink(target, name)\n\
         print(' '.join(links))\n"
    );
    field.python(&script).await.split_whitespace().map(str::to_owned).collect()
}

#[tokio::test]
async fn links_that_a_sandbox_plants_lead_nowhere() {
    let field = Field::new().await;
    let names = plant_links(&field).await;
    assert_eq!(names.len(), 18);
    for name in &names {
        // Itself, and what it would lead to if it led anywhere.
        for path in ["", "/secret.txt", "/sub/keep.txt", "/keep.txt", "/planted.txt", "/etc/passwd"]
        {
            let file = format!("files/{name}{path}");
            for method in ["GET", "HEAD"] {
                let status = field.status(method, &file, None).await;
                assert!([403, 404, 409].contains(&status), "{method} {file}: {status}");
            }
            if path.is_empty() || path == "/etc/passwd" {
                continue; // The link itself is replaced below.
            }
            for (method, body) in [("PUT", plain("planted")), ("DELETE", None)] {
                let status = field.status(method, &file, body).await;
                assert!([403, 404, 409].contains(&status), "{method} {file}: {status}");
            }
        }
        let through = format!("{name}/made");
        for (what, body) in [
            ("files:mkdir", json!({ "path": &through })),
            ("files:move", json!({ "from": format!("{name}/secret.txt"), "to": "mine" })),
            ("files:copy", json!({ "from": format!("{name}/secret.txt"), "to": "mine" })),
            ("files:copy", json!({ "from": format!("{name}/sub"), "to": "mine" })),
        ] {
            let status = field.json(what, &body).await.expect("an answer").status;
            assert!([403, 404, 409].contains(&status), "{what} {body}: {status}");
        }
        for query in ["tree", "archive"] {
            let status = field.status("GET", &format!("{query}?path={name}&"), None).await;
            assert!([200, 403, 404, 409].contains(&status), "{query} of {name}: {status}");
        }
        let archive = member(b"planted.txt", EntryType::Regular, "", b"planted");
        let archive = Some(("application/x-tar", finished(&[archive])));
        let status = field.status("PUT", &format!("archive?path={name}"), archive).await;
        assert!([403, 404, 409].contains(&status), "an archive into {name}: {status}");
    }
    let whole = field.status("GET", "archive?format=tar", None).await;
    assert_eq!((whole, field.status("GET", "tree?depth=64", None).await), (200, 200));
    field.assert_untouched().await;
    for name in &names {
        let copy = json!({ "from": name, "to": format!("copy-of-{name}") });
        let copied = field.json("files:copy", &copy).await.expect("an answer");
        assert!([200, 403].contains(&copied.status), "{name}: {}", copied.text());
        let file = format!("files/{name}");
        assert!([201, 204].contains(&field.status("PUT", &file, plain("mine")).await), "{name}");
        let read = field.ask("GET", &file, None).await.expect("an answer");
        assert_eq!(read.text(), "mine", "the link {name} was replaced by a file");
    }
    field.assert_untouched().await;
}

#[tokio::test]
async fn special_files_never_make_a_request_hang() {
    let field = Field::new().await;
    let said = field
        .python(
            "import os, socket, stat\n\
             os.mkfifo('fifo')\n\
             socket.socket(socket.AF_UNIX).bind('socket')\n\
             for kind in (stat.S_IFCHR, stat.S_IFBLK):\n\
             \ttry: os.mknod('device', kind | 0o666, os.makedev(1, 3)); print('made')\n\
             \texcept OSError as error: print(error.strerror)\n\
             os.symlink('/dev/zero', 'zero'); os.symlink('fifo', 'to-fifo')\n",
        )
        .await;
    assert_eq!(said.matches("Operation not permitted").count(), 2, "{said}");
    for name in ["fifo", "socket", "to-fifo", "zero"] {
        let file = format!("files/{name}");
        for method in ["GET", "HEAD"] {
            let status = field.status(method, &file, None).await;
            assert!([403, 409].contains(&status), "{method} {name}: {status}");
        }
        let below = format!("files/{name}/a");
        for (method, body) in [("GET", None), ("PUT", plain("x")), ("DELETE", None)] {
            let status = field.status(method, &below, body).await;
            assert!([403, 404, 409].contains(&status), "{method} {below}: {status}");
        }
    }
    let tree = field.ask("GET", "tree", None).await.expect("an answer").json();
    let others = tree["entries"].as_array().into_iter().flatten();
    assert_eq!(others.filter(|entry| entry["kind"] == "other").count(), 2, "{tree}");
    let archive = field.ask("GET", "archive?format=tar", None).await.expect("a whole archive");
    assert!(archive.body.len() < 64 * 1024, "{} bytes", archive.body.len());
    let copy = json!({ "from": "fifo", "to": "copy" });
    let copied = field.json("files:copy", &copy).await.expect("an answer");
    assert!([403, 409].contains(&copied.status), "{}", copied.text());
    for name in ["fifo", "socket"] {
        assert_eq!(field.status("DELETE", &format!("files/{name}"), None).await, 204);
    }
    field.assert_untouched().await;
}

/// Swaps `d`, a directory, for `l`, a link out of the workspace, as fast as it can, and
/// each of some files for a link to a secret.
const SWAPPER: &str = "
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
data = sys.argv[1]
os.makedirs('d/sub'); os.makedirs('e/sub')
for dir in ('d', 'e'):
    for name in ('secret.txt', 'sub/keep.txt'):
        open(f'{dir}/{name}', 'w').write('decoy')
os.symlink('../../..', 'l'); os.symlink(data, 'm')
open('f', 'w').write('decoy'); os.symlink('../../../secret.txt', 'g')
rounds = 0
while True:
    for one, other in ((b'd', b'l'), (b'e', b'm'), (b'f', b'g')):
        if libc.renameat2(-100, one, -100, other, 2) != 0:
            print('failed', os.strerror(ctypes.get_errno()), flush=True)
            sys.exit(1)
    rounds += 1
    if rounds == 100: print('swapping', flush=True)
";

async fn start_swapper(field: &Field) {
    let data = field.server.data_dir().display().to_string();
    let body = json!({ "argv": ["python3", "-c", SWAPPER, data], "cwd": "/workspace" });
    let _ = field.client.put("/v1/projects/p/process", &body).await.expect(201);
    let client = field.client.clone();
    until("the swapper to swap", async || {
        let logs = client.get("/v1/projects/p/process/logs").await.text();
        assert!(!logs.contains("failed"), "{logs}");
        logs.contains("swapping")
    })
    .await;
}

/// One round of everything that the API can do with what is being swapped.
async fn attack(field: &Field, round: usize, statuses: &mut BTreeSet<(bool, u16)>) {
    for dir in ["d", "e"] {
        for path in [format!("{dir}/secret.txt"), format!("{dir}/sub/keep.txt"), "f".to_owned()] {
            if let Some(answer) = field.ask("GET", &format!("files/{path}"), None).await {
                statuses.insert((true, answer.status));
            }
        }
        let new = format!("{dir}/planted-{round}.txt");
        let archive = member(new.as_bytes(), EntryType::Regular, "", b"planted");
        let into = member(b"planted.txt", EntryType::Regular, "", b"planted");
        let tar = |members| Some(("application/x-tar", finished(members)));
        for (method, path, body) in [
            ("PUT", format!("files/{new}"), plain("planted")),
            ("PUT", format!("files/{dir}/secret.txt"), plain("planted")),
            ("DELETE", format!("files/{new}"), None),
            ("DELETE", format!("files/{dir}/sub?recursive=true"), None),
            ("GET", format!("tree?path={dir}&depth=3"), None),
            ("GET", format!("archive?path={dir}&format=tar"), None),
            ("PUT", "archive".to_owned(), tar(&[archive])),
            ("PUT", format!("archive?path={dir}"), tar(&[into])),
        ] {
            if let Some(answer) = field.ask(method, &path, body).await {
                statuses.insert((false, answer.status));
            }
        }
        for (what, body) in [
            ("files:mkdir", json!({ "path": format!("{dir}/sub/deep") })),
            (
                "files:move",
                json!({ "from": format!("{dir}/secret.txt"), "to": format!("moved-{round}") }),
            ),
            (
                "files:move",
                json!({ "from": format!("moved-{round}"), "to": format!("{dir}/back.txt"), "overwrite": true }),
            ),
            (
                "files:copy",
                json!({ "from": format!("{dir}/sub"), "to": format!("copied-{dir}-{round}") }),
            ),
            ("files:copy", json!({ "from": dir, "to": format!("all-{dir}-{round}") })),
            ("files:copy", json!({ "from": "f", "to": format!("{dir}/copy-{round}") })),
        ] {
            if let Some(answer) = field.json(what, &body).await {
                statuses.insert((false, answer.status));
            }
        }
    }
}

#[tokio::test]
async fn directories_that_are_swapped_for_links_never_let_the_api_out() {
    const ROUNDS: usize = 40;
    let field = Field::new().await;
    start_swapper(&field).await;
    let mut statuses = BTreeSet::new();
    for round in 0..ROUNDS {
        attack(&field, round, &mut statuses).await;
    }
    let process = field.client.get("/v1/projects/p/process").await.expect(200).json();
    assert_eq!(process["state"], "running", "it swapped all the time: {process}");
    let _ = field.client.delete("/v1/projects/p/process").await.expect(200);
    field.assert_untouched().await;
    // It met both sides, or the test shows nothing.
    assert!(statuses.iter().any(|(_, status)| *status < 300), "{statuses:?}");
    assert!(statuses.contains(&(true, 403)), "{statuses:?}");
}

/// One member of a tar, with a name and a link that no honest program would write.
fn member(name: &[u8], kind: EntryType, link: &str, content: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o6777);
    header.set_size(content.len() as u64);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn finished(members: &[Vec<u8>]) -> Vec<u8> {
    let mut archive = members.concat();
    archive.resize(archive.len() + 1024, 0);
    archive
}

#[tokio::test]
async fn members_of_archives_that_lead_out_are_skipped_and_told() {
    let field = Field::new().await;
    let _ = field.python("import os\nos.symlink('../../..', 'planted-dir')").await;
    let data = field.server.data_dir().display().to_string();
    let (file, link, hard) = (EntryType::Regular, EntryType::Symlink, EntryType::Link);
    let absolute = format!("{data}/planted.txt");
    let rows: [(&[u8], EntryType, &str); 14] = [
        (b"../planted.txt", file, ""),
        (b"../../../planted.txt", file, ""),
        (b"a/../../../../planted.txt", file, ""),
        (b"/planted.txt", file, ""),
        (absolute.as_bytes(), file, ""),
        (b"bad\xff\xfename", file, ""),
        (b"hard", hard, "../../../secret.txt"),
        (b"hard-inside", hard, "good.txt"),
        (b"absolute-link", link, "/etc/passwd"),
        (b"link-out", link, "../../../secret.txt"),
        (b"planted-dir/planted.txt", file, ""),
        (b"character", EntryType::Char, ""),
        (b"block", EntryType::Block, ""),
        (b"pipe", EntryType::Fifo, ""),
    ];
    let mut members: Vec<_> =
        rows.iter().map(|(name, kind, to)| member(name, *kind, to, b"")).collect();
    members.push(member(b"good.txt", file, "", b"good"));
    members.push(member(b"in/a/link", link, "../../good.txt", b""));
    let body = Some(("application/x-tar", finished(&members)));
    let answer = field.ask("PUT", "archive", body).await.expect("an answer").expect(200).json();
    assert_eq!(answer["skipped_total"], rows.len(), "{answer}");
    assert_eq!((&answer["files"], &answer["links"]), (&json!(1), &json!(1)), "{answer}");
    for skipped in answer["skipped"].as_array().expect("a list") {
        assert!(skipped["why"].is_string() && skipped["name"].is_string(), "{skipped}");
    }
    let names = names_in(&field.workspace);
    assert_eq!(names, ["good.txt", "in", "planted-dir"].map(str::to_owned).into());
    let mode = field.python("import os\nprint(oct(os.stat('good.txt').st_mode & 0o7000))").await;
    assert_eq!(mode.trim(), "0o0", "no set-user-id bit is ever set");
    field.assert_untouched().await;
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

#[tokio::test]
async fn archives_that_grow_or_lie_are_refused() {
    const MIB: usize = 1024 * 1024;
    let field = Field::new().await;
    let before = field.server.resident_bytes();
    let zeros = member(b"zeros", EntryType::Regular, "", &vec![0; 96 * MIB]);
    let bomb = gzip(&finished(&[zeros]));
    assert!(bomb.len() < MIB, "{} bytes", bomb.len());
    let bomb_of_bombs = gzip(&bomb);
    let mut vast = tar::Header::new_gnu();
    vast.set_path("vast").expect("a name");
    vast.set_size(1 << 60);
    vast.set_cksum();
    let mut cut = member(b"cut", EntryType::Regular, "", &[1; 4096]);
    cut.truncate(2048);
    let attributes = member(b"x", EntryType::XHeader, "", &vec![b'a'; 8 * MIB]);
    let long_name = member(b"x", EntryType::GNULongName, "", &vec![b'a'; 8 * MIB]);
    let short = gzip(&finished(&[]));
    let rows: [(&str, &str, Vec<u8>, &[u16]); 9] = [
        ("a bomb", "application/gzip", bomb, &[413]),
        ("a bomb in a bomb", "application/gzip", bomb_of_bombs, &[400, 413]),
        ("a size that is a lie", "application/x-tar", vast.as_bytes().to_vec(), &[400, 413]),
        ("a member that is cut short", "application/x-tar", cut, &[400]),
        ("vast attributes", "application/x-tar", finished(&[attributes]), &[400, 413]),
        ("a vast name", "application/x-tar", finished(&[long_name]), &[400, 413]),
        ("gzip that is cut short", "application/gzip", short[..short.len() - 9].to_vec(), &[400]),
        ("garbage", "application/x-tar", vec![7; 4096], &[400]),
        ("garbage as gzip", "application/gzip", vec![7; 4096], &[400]),
    ];
    for (name, media, body, statuses) in rows {
        // Raw, since the answer may come while the archive is still being sent.
        let head = format!(
            "PUT /v1/projects/p/archive?path=in HTTP/1.1\r\nhost: localhost\r\n\
             connection: close\r\ncontent-type: {media}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let request = [head.as_bytes(), &body].concat();
        let answer = within(ANSWER_MAX, name, field.client.raw(&request, ANSWER_MAX)).await;
        let (status, document) = parse_raw(&answer);
        assert!(statuses.contains(&status), "{name}: {status} {document}");
        let expected = if status == 413 { "too-large" } else { "malformed-body" };
        let kind = document["type"].as_str().and_then(|kind| kind.rsplit('/').next());
        assert_eq!(kind, Some(expected), "{name}: {document}");
        assert!(status != 413 || document["limit"].is_u64(), "{name}: {document}");
    }
    let tree = field.ask("GET", "tree?depth=9", None).await.expect("an answer").json();
    let sizes = tree["entries"].as_array().into_iter().flatten().map(|entry| &entry["size"]);
    assert!(sizes.clone().all(|size| size.as_u64() < Some(64 * 1024)), "half a file: {tree}");
    let grown = field.server.resident_bytes().saturating_sub(before);
    assert!(grown < 32 * MIB as u64, "the server has grown by {grown} bytes");
    let staging = field.workspace.with_file_name("staging");
    until("what was staged to be swept", async || names_in(&staging).is_empty()).await;
    field.assert_untouched().await;
    let alive = field.client.request(Method::GET, "/health").send().await;
    assert_eq!(alive.status, 200);
}
