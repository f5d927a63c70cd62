//! Hostile code at every way from a sandbox to the server: the socket of its home, the
//! output of commands, the log, the terminal, the preview. The server neither ends nor
//! grows, the project goes on, and others do not notice.

use std::path::PathBuf;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use hyper::Method;
use sandtree_testkit::{Client, LONG, Response, TestServer, until, within};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

const MIB: u64 = 1024 * 1024;

/// A server with two running projects: `p`, which is hostile, and `other`.
struct Field {
    server: TestServer,
    client: Client,
    /// What belongs to the sandbox of `p`, on the host.
    dir: PathBuf,
}

impl Field {
    async fn new() -> Self {
        let setup = TestServer::setup(env!("CARGO_BIN_EXE_sandtree"));
        let server = setup.env("SANDTREE_TREE__LOG_FILE_BYTES", "1048576").start().await;
        let client = server.client();
        let other = json!({ "id": "other", "profile": "small", "start": true });
        let _ = client.post("/v1/projects", &other).await.expect(201);
        let own = json!({ "id": "p", "start": true });
        let made = client.post("/v1/projects", &own).await.expect(201).json();
        let sandbox = made["sandbox"]["uid"].as_str().expect("a sandbox");
        let dir = server.data_dir().join("sandboxes").join(sandbox);
        let field = Self { server, client, dir };
        // What is allocated once is there from now on.
        field.assert_both_work().await;
        field
    }

    async fn exec(&self, project: &str, body: &Value) -> Response {
        self.client.post(&format!("/v1/projects/{project}/exec"), body).await
    }

    /// Runs a script while other commands run as well: they keep the socket listening.
    async fn python(&self, script: &str) -> String {
        let body = json!({ "argv": ["python3", "-"], "stdin": script, "timeout": "2m" });
        let others = async {
            loop {
                self.assert_works("p").await;
            }
        };
        let ran = tokio::select! {
            ran = self.exec("p", &body) => ran.expect(200).json(),
            never = others => match never {},
        };
        assert_eq!(ran["exit_code"], 0, "{ran}");
        ran["stdout"].as_str().expect("a text").to_owned()
    }

    async fn assert_works(&self, project: &str) {
        let ran = self.exec(project, &json!({ "command": "echo ok" })).await;
        assert_eq!(ran.expect(200).json()["stdout"], "ok\n", "{project}");
    }

    async fn assert_both_work(&self) {
        let _ = self.client.get("/health").await.expect(200);
        self.assert_works("p").await;
        self.assert_works("other").await;
    }

    /// That the server has not grown by more than this since it had `before` bytes.
    fn assert_no_growth(&self, before: u64, most: u64) {
        let grown = self.server.resident_bytes().saturating_sub(before);
        assert!(grown <= most, "the server has grown by {} KiB", grown / 1024);
    }
}

/// What every script needs: a connection to the socket, as soon as it listens, and frames.
const WIRE: &str = "
import json, os, socket, struct, time
def dial():
    end = time.monotonic() + 60
    while True:
        it = socket.socket(socket.AF_UNIX)
        it.settimeout(60)
        try:
            it.connect('/.sandtree/home/sock')
            return it
        except (ConnectionRefusedError, FileNotFoundError, PermissionError):
            it.close()
            if time.monotonic() > end: raise
def frame(payload, kind=0, length=None):
    return bytes([kind]) + struct.pack('<I', len(payload) if length is None else length) + payload
def hello(token='0' * 64, role='control', version=1):
    return frame(json.dumps({'version': version, 'token': token, 'role': role}).encode())
def say(data):
    it = dial()
    try:
        it.sendall(data)
        heard = it.recv(1)
    except (BrokenPipeError, ConnectionResetError):
        heard = b''
    it.close()
    return heard
";

/// Code in a sandbox can send sockets of its own to the server's. Whoever closes the last
/// reference of one that lingers waits for it, and here that would be the server.
#[tokio::test]
async fn sockets_that_linger_hold_up_nobody() {
    let mut field = Field::new().await;
    let script = format!(
        "{WIRE}
deaf = socket.create_server(('127.0.0.1', 0))
dialled = []
for n in range(32):
    one = socket.create_connection(deaf.getsockname())
    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 3600))
    one.setblocking(False)
    try:
        while True: one.send(bytes(1 << 16))
    except BlockingIOError: pass
    it = dial()
    socket.send_fds(it, [b'x'], [one.fileno()])
    one.close()
    dialled.append(it)
print('sent', one.family.name)
# Somebody has to stay deaf meanwhile.
if not os.fork(): time.sleep(3600)
"
    );
    assert_eq!(field.python(&script).await, "sent AF_INET\n");
    field.assert_both_work().await;
    assert!(field.server.is_alive());
}

/// Each inotify instance makes whoever closes it wait for all processors. A hundred come
/// with every message, and as many messages as the sandbox can send.
#[tokio::test]
async fn descriptors_whose_closing_waits_hold_up_nobody() {
    let mut field = Field::new().await;
    let flood = format!(
        "{WIRE}
import ctypes
libc = ctypes.CDLL(None)
sent = 0
while True:
    them = [it for it in (libc.inotify_init1(0) for _ in range(100)) if it >= 0]
    for one in them: libc.inotify_add_watch(one, b'/tmp', 2)
    try:
        it = dial()
        socket.send_fds(it, [b'x'], them)
        it.close()
        sent += len(them)
    except OSError: pass
    for one in them: os.close(one)
    if sent >= 1000:
        print('a thousand', flush=True)
        sent = 0
"
    );
    let body = json!({ "argv": ["python3", "-c", flood] });
    let _ = field.client.put("/v1/projects/p/process", &body).await.expect(201);
    until("a thousand to be sent", async || {
        // Commands keep the socket listening.
        field.assert_both_work().await;
        let logs = field.client.get("/v1/projects/p/process/logs").await.text();
        assert!(!logs.contains("Traceback"), "{logs}");
        logs.contains("a thousand")
    })
    .await;
    for _ in 0..50 {
        field.assert_both_work().await;
    }
    let _ = field.client.delete("/v1/projects/p/process").await.expect(200);
    field.assert_both_work().await;
    assert!(field.server.is_alive());
}

#[tokio::test]
async fn false_hellos_and_garbage_are_heard_by_nobody() {
    let mut field = Field::new().await;
    let before = field.server.resident_bytes();
    let script = format!(
        "{WIRE}
deep = b'{{\"version\":' + b'[' * 400
said = [
    hello(), hello(token=''), hello(token='f' * 64), hello(version=65535), hello(version=0),
    hello(role={{'stream': 1}}), hello(role={{'stream': 1 << 40 | 1}}), hello(role={{'stream': -1}}),
    hello(role='odd'), hello(token='0' * 400), hello(token='0' * 100000),
    frame(b''), frame(b'{{}}'), frame(b'null'), frame(b'\\xff\\xfe'), frame(deep), frame(b'[' * 500),
    frame(b'', 0, 0xffffffff), frame(b'', 0, 0x7fffffff), frame(b'x' * 100, 4, 1 << 20),
    frame(b'x', 1), frame(b'', 3), frame(b'x', 3, 1), frame(b'x', 200), bytes(5), b'\\xff' * 64,
    b'GET / HTTP/1.1\\r\\nhost: localhost\\r\\n\\r\\n', os.urandom(1 << 16),
]
said += [hello(role={{'stream': (1 << 40) + n}}) for n in range(300)]
said += [os.urandom(64) for _ in range(300)]
heard = [data for data in said if say(data + b'x' * 64)]
print(len(said), heard)
# A name of the first stream, over and over, while the server waits for this very command.
pair = [dial() for _ in range(32)]
for number, it in enumerate(pair): it.sendall(hello(role={{'stream': number}})[:-1])
for it in pair: it.close()
"
    );
    assert_eq!(field.python(&script).await, "628 []\n");
    field.assert_both_work().await;
    assert!(field.server.is_alive());
    field.assert_no_growth(before, 16 * MIB);
    assert!(field.server.log().contains("refused a false hello"), "{}", field.server.log());
}

#[tokio::test]
async fn the_socket_cannot_be_replaced_and_tells_no_token() {
    let field = Field::new().await;
    let said = field
        .python(
            "import os
home = '/.sandtree/home'
print(sorted(os.listdir(home)))
for what in (lambda: os.unlink(home + '/sock'), lambda: os.rename(home + '/sock', '/tmp/sock'),
             lambda: open(home + '/token', 'w'), lambda: os.mkdir(home + '/x'),
             lambda: open('/.sandtree/init', 'r+b'), lambda: open('/proc/1/mem', 'rb'),
             lambda: open('/proc/1/environ', 'rb').read(), lambda: os.listdir('/proc/1/fd'),
             lambda: os.kill(1, 0) or os.kill(1, 9) or open('/proc/1/maps').read() or 1/0):
    try: what(); print('done')
    except OSError: print('refused')
",
        )
        .await;
    let mut lines = said.lines();
    assert_eq!(lines.next(), Some("['sock']"), "the token was for one handshake");
    assert!(lines.all(|line| line == "refused"), "{said}");
    field.assert_both_work().await;
}

#[tokio::test]
async fn a_socket_that_nobody_needs_does_not_listen_and_no_command_is_lost_for_it() {
    let field = Field::new().await;
    let rounds = 3;
    let script = format!(
        "{WIRE}
def listens():
    it = socket.socket(socket.AF_UNIX)
    try: it.connect('/.sandtree/home/sock')
    except (ConnectionRefusedError, FileNotFoundError, PermissionError): return False
    finally: it.close()
    return True
for _ in range({rounds}):
    while listens(): time.sleep(0.02)
    print('shut', flush=True)
    while not listens(): pass
    print('open', flush=True)
"
    );
    let body = json!({ "argv": ["python3", "-c", script] });
    let _ = field.client.put("/v1/projects/p/process", &body).await.expect(201);
    let said = async |word: &str, times: usize| {
        let logs = field.client.get("/v1/projects/p/process/logs").await.text();
        assert!(!logs.contains("Traceback"), "{logs}");
        logs.matches(word).count() >= times
    };
    for round in 1..=rounds {
        until("the socket to be shut", async || said("shut", round).await).await;
        // Many at once, and all of them find it shut.
        let commands = (0..16).map(|_| field.assert_works("p"));
        futures_util::future::join_all(commands).await;
        until("the socket to be seen open", async || said("open", round).await).await;
    }
}

#[tokio::test]
async fn floods_of_connections_disturb_nobody() {
    let mut field = Field::new().await;
    let before = field.server.resident_bytes();
    let flood = format!(
        "{WIRE}
for _ in range(3000): dial().close()
end = time.monotonic() + 20
held = []
print('flooding', flush=True)
while time.monotonic() < end:
    while len(held) < 200: held.append(dial())
    try: held[0].sendall(b'\\0')
    except OSError: pass
    held.pop(0).close()
print('over', flush=True)
"
    );
    let body = json!({ "argv": ["python3", "-c", flood] });
    let _ = field.client.put("/v1/projects/p/process", &body).await.expect(201);
    let said = async |word: &str| {
        let logs = field.client.get("/v1/projects/p/process/logs").await.text();
        logs.contains(word)
    };
    until("the flood to begin", async || said("flooding").await).await;
    for _ in 0..10 {
        field.assert_works("other").await;
    }
    for _ in 0..5 {
        field.assert_works("p").await;
    }
    assert!(!said("over").await, "the flood ended too early to show anything");
    let _ = field.client.delete("/v1/projects/p/process").await.expect(200);
    field.assert_both_work().await;
    assert!(field.server.is_alive());
    field.assert_no_growth(before, 16 * MIB);
}

#[tokio::test]
async fn connections_that_are_held_open_keep_nobody_from_running_commands() {
    let mut field = Field::new().await;
    let before = field.server.resident_bytes();
    let holder = format!(
        "{WIRE}
def is_closed(it):
    try: return it.recv(1) == b''
    except BlockingIOError: return False
    except OSError: return True
held = []
rounds = 0
while True:
    held = [it for it in held if not is_closed(it)]
    while len(held) < 64:
        it = dial()
        it.setblocking(False)
        held.append(it)
    rounds += 1
    if rounds == 100: print('holding', flush=True)
"
    );
    let body = json!({ "argv": ["python3", "-c", holder] });
    let _ = field.client.put("/v1/projects/p/process", &body).await.expect(201);
    let client = field.client.clone();
    until("all places to be taken", async || {
        let logs = client.get("/v1/projects/p/process/logs").await.text();
        assert!(!logs.contains("Traceback"), "{logs}");
        logs.contains("holding")
    })
    .await;
    for _ in 0..10 {
        field.assert_both_work().await;
    }
    let _ = field.client.delete("/v1/projects/p/process").await.expect(200);
    field.assert_both_work().await;
    assert!(field.server.is_alive());
    field.assert_no_growth(before, 16 * MIB);
}

#[tokio::test]
async fn connections_that_say_little_or_nothing_are_closed() {
    let field = Field::new().await;
    let script = format!(
        "{WIRE}
silent, slow, half = dial(), dial(), dial()
half.sendall(hello()[:20])
ends = {{}}
for _ in range(600):
    for name, it in (('silent', silent), ('slow', slow), ('half', half)):
        if name in ends: continue
        try:
            if name == 'slow': it.sendall(b'\\0')
            it.settimeout(0.05)
            ends[name] = it.recv(1)
        except socket.timeout: pass
        except OSError: ends[name] = b''
    if len(ends) == 3: break
print(sorted(ends.items()))
"
    );
    let said = field.python(&script).await;
    assert_eq!(said, "[('half', b''), ('silent', b''), ('slow', b'')]\n");
    field.assert_both_work().await;
}

#[tokio::test]
async fn commands_that_kill_all_they_can_reach_end_and_leave_the_project_working() {
    let field = Field::new().await;
    let rows = [
        ("its parent", "import os\nos.kill(os.getppid(), 9)"),
        ("its group", "import os\nos.killpg(0, 9)"),
        ("everything", "import os\nos.kill(-1, 9)"),
        ("everything, many times", "import os\nfor _ in range(1000): os.kill(-1, 9)"),
        ("everything, stopped", "import os\nos.kill(-1, 19)"),
        (
            "init",
            "import os, signal\nfor n in range(1, 65):\n\tif n != 32 and n != 33:\n\t\ttry: os.kill(1, n)\n\t\texcept OSError: pass",
        ),
        (
            "a timeout, with orphans that ignore signals",
            "import os, signal\nfor _ in range(20):\n\tif os.fork() == 0:\n\t\tos.setsid()\n\t\tsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n\t\tos.close(1); os.close(2)\n\t\tsignal.pause()\nsignal.pause()",
        ),
    ];
    for (name, script) in rows {
        let body = json!({ "argv": ["python3", "-c", script], "timeout": "5s" });
        let ran = within(LONG, name, field.exec("p", &body)).await;
        assert!([200, 502].contains(&ran.status), "{name}: {} {}", ran.status, ran.text());
        within(LONG, name, field.assert_both_work()).await;
        let project = field.client.get("/v1/projects/p").await.expect(200).json();
        assert_eq!(project["phase"], "running", "{name}: {project}");
    }
    until("all that was left behind to be gone", async || {
        let stats = field.client.get("/v1/projects/p/stats").await.expect(200).json();
        stats["pids"]["used"].as_u64().is_some_and(|pids| pids <= 4)
    })
    .await;
}

#[tokio::test]
async fn output_of_commands_is_cut_and_costs_no_memory() {
    let field = Field::new().await;
    let before = field.server.resident_bytes();
    let flood = "head -c 200000000 /dev/zero | tr '\\0' x";
    let script = format!("{flood} & {flood} >&2; wait");
    let ran = field.exec("p", &json!({ "command": script })).await.expect(200).json();
    assert_eq!((&ran["truncated"], &ran["exit_code"]), (&json!(true), &json!(0)));
    for stream in ["stdout", "stderr"] {
        let length = ran[stream].as_str().map_or(0, str::len);
        assert_eq!(length, 8 * MIB as usize, "{stream}");
    }
    field.assert_both_work().await;
    field.assert_no_growth(before, 64 * MIB);
    // A client that goes away takes the flood with it.
    let body = json!({ "command": "yes" });
    let request = field.client.request(Method::POST, "/v1/projects/p/exec").json(&body);
    let mut events = request.events().await;
    let _ = events.find("some output", |event| event.event == "stdout").await;
    drop(events);
    until("the flood to end", async || {
        let ran = field.exec("p", &json!({ "command": "pgrep -x yes || true" })).await;
        ran.expect(200).json()["stdout"] == ""
    })
    .await;
    field.assert_no_growth(before, 64 * MIB);
}

#[tokio::test]
async fn a_process_that_floods_its_log_fills_neither_memory_nor_disk() {
    let field = Field::new().await;
    let before = field.server.resident_bytes();
    let flood = "head -c 100000000 /dev/zero | tr '\\0' x; yes 'a line' | head -c 20000000; \
                 yes | head -c 5000000 >&2; echo the end";
    let body = json!({ "command": flood });
    let _ = field.client.put("/v1/projects/p/process", &body).await.expect(201);
    until("the flood to end", async || {
        let process = field.client.get("/v1/projects/p/process").await.expect(200).json();
        process["state"] == "ended"
    })
    .await;
    until("the end of the log", async || {
        let logs =
            field.client.get("/v1/projects/p/process/logs?stream=stdout&tail=1").await.expect(200);
        logs.text().contains("the end")
    })
    .await;
    let files = std::fs::read_dir(field.dir.join("log")).expect("a log");
    let bytes: u64 =
        files.map(|file| file.and_then(|file| file.metadata()).expect("a file").len()).sum();
    assert!(bytes <= 5 * MIB, "the log takes {bytes} bytes");
    field.assert_both_work().await;
    field.assert_no_growth(before, 48 * MIB);
}

/// Sequences that emulators are known to stumble over.
const ESCAPES: &str = "
import os, random, sys
random.seed(7)
out = sys.stdout.buffer
parts = [b'\\x1b[65535;65535H', b'\\x1b[999999999999999999999C', b'\\x1b[0;0r', b'\\x1b[5;2r', b'\\x1b[1000L',
    b'\\x1b[99999M', b'\\x1b[99999P', b'\\x1b[99999@', b'\\x1b[65535S', b'\\x1b[65535T', b'\\x1bM', b'\\x1bD',
    b'\\x1b[?1049h', b'\\x1b[?1049l', b'\\x1b[?6h', b'\\x1b7', b'\\x1b8', b'\\x1b[8;65535;65535t',
    b'\\x1b[' + b'1;' * 5000 + b'm', b'\\x1b]0;' + b't' * 20000 + b'\\x07', b'\\x1b]52;c;' + b'A' * 9000,
    b'\\x1bP' + b'q' * 9000 + b'\\x1b\\\\', '\\u0301'.encode() * 300, '\\u4e2d\\u200d\\U0001f468'.encode() * 50,
    b'\\xff\\xfe\\x80', b'\\x00\\x08\\x7f\\x0e\\x0f', b'\\x1b[2J\\x1b[3J', b'\\x1bc', b'\\x1b#8', b'\\x9b31m',
    b'\\t' * 500, b'\\n' * 500, b'x' * 500, b'\\x1b[6n\\x1b[c\\x1b[>c\\x1bZ']
for _ in range(40000): out.write(random.choice(parts))
out.write(os.urandom(2000000))
out.write(b'\\x18\\x1bc\\r\\n')
out.flush()
open('flood-over', 'x')
";

#[tokio::test]
async fn a_flood_of_escape_sequences_harms_no_terminal() {
    let mut field = Field::new().await;
    let before = field.server.resident_bytes();
    let _ = field.client.put_bytes("/v1/projects/p/files/flood.py", "text/plain", ESCAPES).await;
    let viewer = field.client.websocket("/v1/projects/p/terminal?cols=80&rows=24").await;
    let mut viewer = viewer.expect("a terminal");
    let idle = field.client.websocket("/v1/projects/p/terminal?cols=2&rows=2").await;
    let typed = Message::binary(&b"stty -echo; python3 flood.py </dev/null\r"[..]);
    viewer.send(typed).await.expect("a terminal that takes keys");
    // A viewer that fell behind gets the screen instead, which is as small as `idle`
    // asked: the end is looked for where no viewer's pace can hide it.
    let reading = async {
        loop {
            let _ = viewer.next().await.expect("a terminal that lives").expect("a message");
        }
    };
    let over = until("the end of the flood", async || {
        field.client.get("/v1/projects/p/files/flood-over").await.status == 200
    });
    tokio::select! {
        () = over => {}
        () = reading => {}
    }
    drop(idle);
    let mut fresh = field.client.terminal("p", "cols=80&rows=24").await;
    // What the emulator answers to queries may stand on the line already.
    fresh.type_text("\u{3}\rstty sane; printf '\\033c'; echo still-$((40+2))\r").await;
    let _ = fresh.wait_for_screen("the shell", |screen| screen.contains("still-42")).await;
    field.assert_both_work().await;
    assert!(field.server.is_alive());
    field.assert_no_growth(before, 48 * MIB);
}

/// Servers that break HTTP, each on a port of its own.
const SERVERS: &str = "
import os, socket, threading, time
def serve(port, answer):
    listener = socket.create_server(('127.0.0.1', port))
    while True:
        it, _ = listener.accept()
        threading.Thread(target=one, args=(it, answer), daemon=True).start()
def one(it, answer):
    try:
        it.recv(65536)
        answer(it)
    except OSError: pass
    it.close()
def endless(it, first, piece):
    it.sendall(first)
    while True: it.sendall(piece)
def slow(it):
    it.sendall(b'HTTP/1.1 200 OK\\r\\ncontent-length: 10\\r\\n\\r\\nabc')
    it.recv(1)
ok = b'HTTP/1.1 200 OK\\r\\n'
answers = [
    lambda it: it.sendall(os.urandom(4096)),
    lambda it: endless(it, ok, b'x: y\\r\\n'),
    lambda it: it.sendall(ok + b'x: ' + b'y' * 1000000 + b'\\r\\n\\r\\n'),
    lambda it: None,
    lambda it: it.sendall(b'HTTP/1.1 101 Switching Protocols\\r\\nupgrade: odd\\r\\nconnection: upgrade\\r\\n\\r\\n'),
    lambda it: it.sendall(b'HTTP/1.1 99999 OK\\r\\n\\r\\n'),
    lambda it: it.sendall(ok + b'content-length: -1\\r\\n\\r\\n'),
    lambda it: it.sendall(ok + b'content-length: 1\\r\\ncontent-length: 2\\r\\n\\r\\nab'),
    lambda it: endless(it, b'', b'\\0' * 4096),
    lambda it: it.sendall(ok + b'content-length: 10\\r\\n\\r\\nabc'),
    lambda it: it.sendall(ok + b'transfer-encoding: chunked\\r\\n\\r\\nzz\\r\\nabc'),
    lambda it: endless(it, ok + b'transfer-encoding: chunked\\r\\n\\r\\n', b'1;' + b'x' * 4096),
    slow,
]
for number, answer in enumerate(answers):
    threading.Thread(target=serve, args=(7000 + number, answer)).start()
print('serving', flush=True)
";

#[tokio::test]
async fn preview_servers_that_break_http_are_told_as_problems() {
    let mut field = Field::new().await;
    let before = field.server.resident_bytes();
    let body = json!({ "argv": ["python3", "-c", SERVERS] });
    let _ = field.client.put("/v1/projects/p/process", &body).await.expect(201);
    until("the servers to listen", async || {
        let logs = field.client.get("/v1/projects/p/process/logs").await.text();
        assert!(!logs.contains("Traceback"), "{logs}");
        logs.contains("serving")
    })
    .await;
    for _ in 0..5 {
        for port in 7000..7009 {
            let path = format!("/v1/projects/p/ports/{port}/");
            let answer = within(LONG, &path, field.client.get(&path)).await.expect(502);
            assert_eq!(answer.problem().0, "sandbox-unreachable", "{path}");
        }
        // A body that breaks off breaks the client's connection off as well.
        for port in 7009..7012 {
            let path = format!("/v1/projects/p/ports/{port}/");
            let call = field.client.request(Method::GET, &path);
            let answer = within(LONG, &path, call.try_send()).await;
            assert!(answer.is_err(), "{path} was whole: {answer:?}");
        }
        let request = b"GET /v1/projects/p/ports/7012/ HTTP/1.1\r\nhost: localhost\r\n\r\n";
        let answer = field.client.raw(request, Duration::from_millis(500)).await;
        let text = String::from_utf8_lossy(&answer);
        assert!(text.starts_with("HTTP/1.1 200") && text.ends_with("abc"), "{text}");
    }
    let nobody = field.client.get("/v1/projects/p/ports/6999/").await.expect(502);
    assert_eq!(nobody.problem().0, "nothing-listens");
    until("all connections to be given back", async || {
        let stats = field.client.get("/v1/projects/p/stats").await.expect(200).json();
        stats["network"]["connections"] == 0
    })
    .await;
    field.assert_both_work().await;
    assert!(field.server.is_alive());
    field.assert_no_growth(before, 16 * MIB);
}
