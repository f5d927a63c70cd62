//! The fake init against a server that is written out by hand.

use std::collections::BTreeMap;
use std::path::Path;

use sandtree_actors::ports::{ContainerState, Engine as _, SandboxSpec};
use sandtree_model::{Limits, Network};
use sandtree_wire::{
    AttachEvent, ExecEvent, ExecSpec, FromInit, Hello, JobSpec, Kind, Numbered, Reply, Request,
    Role, Size, Stream, Welcome, read_frame, read_message, write_frame, write_message,
};
use tokio::net::{UnixListener, UnixStream};

use super::*;
use crate::{FakeEngine, FaultPlan, Mischief, Op};

const TOKEN: &str = "0123";

struct Server {
    listener: UnixListener,
    control: UnixStream,
    next_id: u64,
}

impl Server {
    async fn open(home: &Path) -> UnixListener {
        std::fs::write(home.join(TOKEN_NAME), TOKEN).unwrap();
        UnixListener::bind(home.join(SOCKET_NAME)).unwrap()
    }

    async fn greet(listener: UnixListener) -> Self {
        let (mut control, _) = listener.accept().await.unwrap();
        let hello: Hello = read_message(&mut control, &mut Vec::new()).await.unwrap();
        assert_eq!(hello, Hello { version: VERSION, token: TOKEN.into(), role: Role::Control });
        write_message(&mut control, &Welcome { version: VERSION }).await.unwrap();
        Self { listener, control, next_id: 1 }
    }

    async fn send(&mut self, body: Request) -> u64 {
        self.next_id += 1;
        let request = Numbered { id: self.next_id, body };
        write_message(&mut self.control, &request).await.unwrap();
        self.next_id
    }

    async fn ask(&mut self, body: Request) -> Reply {
        let asked = self.send(body).await;
        match read_message(&mut self.control, &mut Vec::new()).await.unwrap() {
            FromInit::Reply(Numbered { id, body }) if id == asked => body,
            other @ (FromInit::Reply(_) | FromInit::Notice(_)) => panic!("{other:?}"),
        }
    }

    async fn stream(&mut self, stream: Stream) -> UnixStream {
        let asked = self.send(Request::Open(stream)).await;
        let (mut connection, _) = self.listener.accept().await.unwrap();
        let hello: Hello = read_message(&mut connection, &mut Vec::new()).await.unwrap();
        assert_eq!(hello.role, Role::Stream(asked));
        connection
    }
}

fn spec(home: &Path) -> SandboxSpec {
    SandboxSpec {
        sandbox: "abcdefghij0123456789".parse().unwrap(),
        image: "image".into(),
        user: (1, 1),
        read_only_root: true,
        capabilities: Vec::new(),
        network: Network::None,
        runtime: "".into(),
        limits: Limits { memory_bytes: 1, cpu_millis: 1, pids: 1, tmp_bytes: 1 },
        init: "/init".into(),
        home: home.to_owned(),
        home_dir: "/home/sandbox".into(),
        kept_home: None,
        workspace: home.to_owned(),
        files: BTreeMap::new(),
    }
}

fn configure() -> Request {
    Request::Configure(Configuration { env: BTreeMap::new(), execs_max: 1, stop_grace_ms: None })
}

#[tokio::test]
async fn it_dials_home_runs_commands_and_keeps_its_jobs() {
    let home = tempfile::tempdir().unwrap();
    let engine = FakeEngine::new(FaultPlan::none());
    let listener = Server::open(home.path()).await;
    let spec = spec(home.path());
    let id = engine.create(&spec).await.unwrap();
    assert_eq!(engine.create(&spec).await.unwrap(), id, "a second create answers the first");
    engine.start(&id).await.unwrap();

    let mut server = Server::greet(listener).await;
    assert_eq!(server.ask(configure()).await, Reply::Configured { jobs: vec![] });
    assert_eq!(run_echo(&mut server).await, b"hello\n");
    let started = server.ask(Request::StartJob(count_to_three())).await;
    let Reply::Job(job) = started else { panic!("{started:?}") };

    let listener = server.listener;
    drop(server.control);
    let mut server = Server::greet(listener).await;
    let jobs = vec![engine.init(&spec.sandbox).jobs()[0]];
    assert_eq!((jobs[0].pid, jobs[0].end), (job.pid, 21), "the job lived on");
    assert_eq!(server.ask(configure()).await, Reply::Configured { jobs });
    assert_eq!(read_job(&mut server, 7).await, b"line 1\nline 2\n");
    assert_eq!(engine.count(Op::Create), 2);
}

async fn run_echo(server: &mut Server) -> Vec<u8> {
    let argv = vec!["echo".into(), "hello".into()];
    let exec = ExecSpec { argv, ..ExecSpec::default() };
    let mut connection = server.stream(Stream::Exec(exec)).await;
    let (mut buffer, mut said) = (Vec::new(), Vec::new());
    loop {
        let frame = read_frame(&mut connection, &mut buffer).await.unwrap();
        if frame.kind == Kind::Data {
            said.extend_from_slice(frame.payload);
            continue;
        }
        match frame.message().unwrap() {
            ExecEvent::Started { .. } => {}
            ExecEvent::Exited { status, timed_out } => {
                assert_eq!((status, timed_out), (ExitStatus::Code(0), false));
                return said;
            }
            ExecEvent::Failed(error) => panic!("{error:?}"),
        }
    }
}

fn count_to_three() -> JobSpec {
    JobSpec {
        job: Job::Process,
        epoch: 1,
        argv_choices: vec![vec!["count".into(), "3".into()]],
        cwd: None,
        env: BTreeMap::new(),
        size: Size { cols: 80, rows: 24 },
        ring_bytes: 1024,
        block_when_full: false,
    }
}

/// Reads the job's output from `from` on, then stops the job.
async fn read_job(server: &mut Server, from: u64) -> Vec<u8> {
    let attach = Stream::Attach { job: Job::Process, epoch: 1, from };
    let mut connection = server.stream(attach).await;
    let stop = Request::StopJob { job: Job::Process, epoch: 1, grace_ms: 0 };
    server.send(stop).await;
    let (mut buffer, mut said) = (Vec::new(), Vec::new());
    loop {
        let frame = read_frame(&mut connection, &mut buffer).await.unwrap();
        if frame.kind == Kind::Record {
            said.extend_from_slice(frame.record().unwrap().1);
            continue;
        }
        let event: AttachEvent = frame.message().unwrap();
        assert_eq!(event, AttachEvent::Ended { status: ExitStatus::Signal(15), end: 21 });
        return said;
    }
}

#[tokio::test]
async fn a_frozen_init_answers_when_it_is_thawed() {
    let home = tempfile::tempdir().unwrap();
    let engine = FakeEngine::new(FaultPlan::none());
    let listener = Server::open(home.path()).await;
    let spec = spec(home.path());
    let id = engine.create(&spec).await.unwrap();
    engine.start(&id).await.unwrap();
    let mut server = Server::greet(listener).await;

    engine.pause(&id).await.unwrap();
    let asked = server.send(Request::Stats).await;
    engine.behind(&spec.sandbox, Mischief::IsResumed);
    assert_eq!(engine.state_of(&spec.sandbox), Some(ContainerState::Running));
    match read_message(&mut server.control, &mut Vec::new()).await.unwrap() {
        FromInit::Reply(Numbered { id, body: Reply::Stats(_) }) => assert_eq!(id, asked),
        other @ (FromInit::Reply(_) | FromInit::Notice(_)) => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_terminal_echoes_and_ends_at_exit() {
    let home = tempfile::tempdir().unwrap();
    let engine = FakeEngine::new(FaultPlan::none());
    let listener = Server::open(home.path()).await;
    let spec = spec(home.path());
    let id = engine.create(&spec).await.unwrap();
    engine.start(&id).await.unwrap();
    let mut server = Server::greet(listener).await;
    let shell = JobSpec { job: Job::Terminal, ..count_to_three() };
    assert!(matches!(server.ask(Request::StartJob(shell)).await, Reply::Job(_)));

    let attach = Stream::Attach { job: Job::Terminal, epoch: 1, from: 0 };
    let mut connection = server.stream(attach).await;
    write_frame(&mut connection, Kind::Data, [b"exit\n", &[]]).await.unwrap();
    let (mut buffer, mut said) = (Vec::new(), Vec::new());
    loop {
        let frame = read_frame(&mut connection, &mut buffer).await.unwrap();
        if frame.kind == Kind::Message {
            break;
        }
        said.extend_from_slice(frame.record().unwrap().1);
    }
    assert_eq!(said, b"$ exit\n");
}
