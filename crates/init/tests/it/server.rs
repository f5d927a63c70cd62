//! The server's side of the wire, as small as a test can use it.

use std::collections::BTreeMap;
use std::io::Read;
use std::process::{Child, Command, ExitStatus as ProcessStatus, Stdio};
use std::time::Duration;

use sandtree_wire::*;
use tempfile::TempDir;
use tokio::io::AsyncRead;
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

/// Nothing in these tests takes this long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
pub(crate) const EXECS_MAX: u32 = 4;
const TOKEN: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Waits, but not for ever.
pub(crate) async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    match timeout(PATIENCE, future).await {
        Ok(output) => output,
        Err(_) => panic!("{what} did not happen"),
    }
}

pub(crate) fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

pub(crate) fn sh(script: &str) -> Vec<String> {
    texts(&["sh", "-c", script])
}

pub(crate) fn exec(argv: Vec<String>) -> ExecSpec {
    ExecSpec { argv, cwd: Some("/".to_owned()), ..ExecSpec::default() }
}

pub(crate) fn process(epoch: u64, script: &str) -> JobSpec {
    JobSpec {
        job: Job::Process,
        epoch,
        argv_choices: vec![sh(script)],
        cwd: Some("/".to_owned()),
        env: Env::new(),
        size: Size { cols: 80, rows: 24 },
        ring_bytes: 1024 * 1024,
        block_when_full: false,
    }
}

/// Init, its home, and the control connection to it.
pub(crate) struct Sandbox {
    pub(crate) home: TempDir,
    pub(crate) listener: Option<UnixListener>,
    pub(crate) init: Child,
    pub(crate) control: UnixStream,
    pub(crate) jobs: Vec<JobState>,
    notices: Vec<Notice>,
    next_id: u64,
    buffer: Vec<u8>,
}

impl Sandbox {
    /// Starts init and configures it.
    pub(crate) async fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join(TOKEN_NAME), format!("{TOKEN}\n")).unwrap();
        let listener = UnixListener::bind(home.path().join(SOCKET_NAME)).unwrap();
        let init = Command::new(env!("CARGO_BIN_EXE_sandtree-init"))
            .arg(home.path())
            .env("SECRET_OF_INIT", "not for children")
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let control = accept(&listener, Role::Control).await;
        let mut sandbox = Self {
            home,
            listener: Some(listener),
            init,
            control,
            jobs: Vec::new(),
            notices: Vec::new(),
            next_id: 0,
            buffer: Vec::new(),
        };
        sandbox.configure().await;
        sandbox
    }

    /// Everything that a server does which takes over a running init.
    pub(crate) async fn restart_server(&mut self) {
        self.server_dies();
        self.server_returns().await;
    }

    pub(crate) fn server_dies(&mut self) {
        self.listener = None;
        let (closed, _) = UnixStream::pair().unwrap();
        self.control = closed;
        std::fs::remove_file(self.home.path().join(SOCKET_NAME)).unwrap();
    }

    pub(crate) async fn server_returns(&mut self) {
        let listener = UnixListener::bind(self.home.path().join(SOCKET_NAME)).unwrap();
        self.control = accept(&listener, Role::Control).await;
        self.listener = Some(listener);
        self.configure().await;
    }

    pub(crate) async fn accept_control(&mut self) {
        self.control = accept(self.listener.as_ref().unwrap(), Role::Control).await;
        self.configure().await;
    }

    async fn configure(&mut self) {
        let welcome = Welcome { version: VERSION };
        write_message(&mut self.control, &welcome).await.unwrap();
        let env = [("PATH", "/usr/local/bin:/usr/bin:/bin"), ("HOME", "/tmp")];
        let env = env.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let configuration =
            Configuration { env: BTreeMap::from(env), execs_max: EXECS_MAX, stop_grace_ms: None };
        match self.ask(Request::Configure(configuration)).await {
            Reply::Configured { jobs } => self.jobs = jobs,
            other => panic!("not configured: {other:?}"),
        }
    }

    /// Sends a request without waiting for its reply.
    pub(crate) async fn tell(&mut self, body: Request) -> u64 {
        self.next_id += 1;
        let id = self.next_id;
        write_message(&mut self.control, &Numbered { id, body }).await.unwrap();
        id
    }

    pub(crate) async fn ask(&mut self, body: Request) -> Reply {
        let id = self.tell(body).await;
        loop {
            match self.hear().await {
                FromInit::Reply(reply) => {
                    assert_eq!(reply.id, id);
                    return reply.body;
                }
                FromInit::Notice(notice) => self.notices.push(notice),
            }
        }
    }

    async fn hear(&mut self) -> FromInit {
        let read = read_message(&mut self.control, &mut self.buffer);
        soon("a message from init", read).await.unwrap()
    }

    pub(crate) async fn job_ended(&mut self) -> JobState {
        loop {
            if let Some(Notice::JobEnded(state)) = self.notices.pop() {
                return state;
            }
            match self.hear().await {
                FromInit::Notice(notice) => self.notices.push(notice),
                FromInit::Reply(reply) => panic!("unexpected {reply:?}"),
            }
        }
    }

    pub(crate) async fn open(&mut self, stream: Stream) -> UnixStream {
        let id = self.tell(Request::Open(stream)).await;
        accept(self.listener.as_ref().unwrap(), Role::Stream(id)).await
    }

    pub(crate) async fn start_job(&mut self, spec: JobSpec) -> JobState {
        match self.ask(Request::StartJob(spec)).await {
            Reply::Job(state) => state,
            other => panic!("not started: {other:?}"),
        }
    }

    pub(crate) async fn attach(&mut self, state: &JobState, from: u64) -> Attached {
        let stream = Stream::Attach { job: state.job, epoch: state.epoch, from };
        let connection = self.open(stream).await;
        Attached { connection, next: from, output: Vec::new(), gaps: Vec::new() }
    }

    /// Opens an exec and waits until it runs.
    pub(crate) async fn begin(&mut self, spec: ExecSpec) -> Running {
        let mut connection = self.open(Stream::Exec(spec)).await;
        let mut buffer = Vec::new();
        let first = soon("a start", read_message(&mut connection, &mut buffer)).await.unwrap();
        match first {
            ExecEvent::Started { pid } => Running { pid, connection },
            other => panic!("not started: {other:?}"),
        }
    }

    pub(crate) async fn run(&mut self, spec: ExecSpec) -> Finished {
        self.begin(spec).await.finish().await
    }

    pub(crate) async fn run_sh(&mut self, script: &str) -> Finished {
        self.run(exec(sh(script))).await
    }

    /// Why an exec did not start.
    pub(crate) async fn failure(&mut self, spec: ExecSpec) -> StartError {
        let mut connection = self.open(Stream::Exec(spec)).await;
        let mut buffer = Vec::new();
        match soon("an answer", read_message(&mut connection, &mut buffer)).await.unwrap() {
            ExecEvent::Failed(error) => error,
            other => panic!("not refused: {other:?}"),
        }
    }

    /// Asks init to stop, and waits for it.
    pub(crate) fn stop(&mut self) -> ProcessStatus {
        signal(self.init.id(), libc::SIGTERM);
        self.init.wait().unwrap()
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if self.init.try_wait().is_ok_and(|ended| ended.is_none()) {
            self.stop();
        }
    }
}

async fn accept(listener: &UnixListener, role: Role) -> UnixStream {
    let (mut connection, _) = soon("a dial", listener.accept()).await.unwrap();
    let mut buffer = Vec::new();
    let hello: Hello = read_message(&mut connection, &mut buffer).await.unwrap();
    assert_eq!(hello, Hello { version: VERSION, token: TOKEN.to_owned(), role });
    connection
}

/// An exec that runs.
pub(crate) struct Running {
    pub(crate) pid: u32,
    pub(crate) connection: UnixStream,
}

impl Running {
    pub(crate) async fn data(&mut self, bytes: &[u8]) {
        write_frame(&mut self.connection, Kind::Data, [bytes, &[]]).await.unwrap();
    }

    pub(crate) async fn finish(mut self) -> Finished {
        Finished::read(&mut self.connection).await
    }

    /// Reads output until it ends with `end`.
    pub(crate) async fn until(&mut self, end: &str) -> String {
        let mut output = Vec::new();
        let mut buffer = Vec::new();
        while !output.ends_with(end.as_bytes()) {
            let read = read_frame(&mut self.connection, &mut buffer);
            let frame = soon(end, read).await.unwrap();
            assert_eq!(frame.kind, Kind::Data, "{frame:?}");
            output.extend_from_slice(frame.payload);
        }
        String::from_utf8(output).unwrap()
    }
}

/// What became of an exec.
#[derive(Debug, Default)]
pub(crate) struct Finished {
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    pub(crate) status: Option<ExitStatus>,
    pub(crate) timed_out: bool,
}

impl Finished {
    /// Reads to the end of an exec.
    pub(crate) async fn read<R: AsyncRead + Unpin>(reader: &mut R) -> Self {
        let mut finished = Self::default();
        let mut buffer = Vec::new();
        loop {
            let read = read_frame(reader, &mut buffer);
            let frame = soon("a frame", read).await.unwrap();
            match frame.kind {
                Kind::Data => finished.stdout.extend_from_slice(frame.payload),
                Kind::Stderr => finished.stderr.extend_from_slice(frame.payload),
                Kind::Message => match frame.message().unwrap() {
                    ExecEvent::Exited { status, timed_out } => {
                        finished.status = Some(status);
                        finished.timed_out = timed_out;
                        return finished;
                    }
                    other => panic!("unexpected {other:?}"),
                },
                Kind::End | Kind::Record => panic!("unexpected {frame:?}"),
            }
        }
    }

    pub(crate) fn stdout(&self) -> &str {
        str::from_utf8(&self.stdout).unwrap()
    }

    pub(crate) fn code(&self) -> i32 {
        match self.status {
            Some(ExitStatus::Code(code)) => code,
            _ => panic!("no code: {self:?}"),
        }
    }
}

/// An attach, and what came over it.
pub(crate) struct Attached {
    pub(crate) connection: UnixStream,
    pub(crate) next: u64,
    pub(crate) output: Vec<u8>,
    pub(crate) gaps: Vec<(u64, u64)>,
}

impl Attached {
    /// Reads one frame; says how the job ended when it has.
    pub(crate) async fn step(&mut self) -> Option<ExitStatus> {
        let mut buffer = Vec::new();
        let read = read_frame(&mut self.connection, &mut buffer);
        let frame = soon("output", read).await.unwrap();
        if frame.kind == Kind::Record {
            let (head, bytes) = frame.record().unwrap();
            assert_eq!(head.offset, self.next, "no byte is left out untold");
            self.next += bytes.len() as u64;
            self.output.extend_from_slice(bytes);
            return None;
        }
        match frame.message().unwrap() {
            AttachEvent::Gap { from, to } => {
                assert_eq!(from, self.next);
                self.gaps.push((from, to));
                self.next = to;
                None
            }
            AttachEvent::Ended { status, end } => {
                assert_eq!(end, self.next);
                Some(status)
            }
            AttachEvent::Unknown => panic!("unknown job"),
        }
    }

    pub(crate) async fn until(&mut self, text: &str) {
        while !self.text().contains(text) {
            assert_eq!(self.step().await, None, "ended without {text:?}: {:?}", self.text());
        }
    }

    pub(crate) async fn until_end(&mut self) -> ExitStatus {
        loop {
            if let Some(status) = self.step().await {
                return status;
            }
        }
    }

    pub(crate) async fn type_in(&mut self, text: &str) {
        write_frame(&mut self.connection, Kind::Data, [text.as_bytes(), &[]]).await.unwrap();
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.output).into_owned()
    }
}

/// A pipe by which programs show that they are alive: reading ends when all of them
/// are gone.
pub(crate) struct Lifeline {
    path: std::path::PathBuf,
    reader: std::fs::File,
}

impl Lifeline {
    pub(crate) fn new(folder: &TempDir) -> Self {
        let path = folder.path().join("lifeline");
        let made = Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        // Open for both at first, so that opening does not wait for a writer.
        let both = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let reader = std::fs::File::open(&path).unwrap();
        drop(both);
        Self { path, reader }
    }

    /// Shell text that makes descriptor 9 the other end.
    pub(crate) fn hold(&self) -> String {
        format!("exec 9>{}", self.path.display())
    }

    /// Waits until nobody holds the other end, and returns what they wrote.
    pub(crate) async fn cut(mut self) -> String {
        let reading = tokio::task::spawn_blocking(move || {
            let mut text = String::new();
            self.reader.read_to_string(&mut text).unwrap();
            text
        });
        soon("the death of all", reading).await.unwrap()
    }
}

/// Whether a process is there and has not ended.
pub(crate) fn is_alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|line| !line.rsplit(')').next().unwrap_or("").trim_start().starts_with('Z'))
}

pub(crate) fn signal(pid: u32, signal: i32) {
    // SAFETY: takes two numbers.
    unsafe { libc::kill(i32::try_from(pid).unwrap(), signal) };
}
