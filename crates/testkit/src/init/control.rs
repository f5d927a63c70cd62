//! The control connection: dialled again and again, as a real init does.

use std::sync::Arc;

use sandtree_wire::{
    Change, DialEvent, ExitStatus, FrameError, FromInit, Numbered, Reply, Request, Role,
    StartError, Stats, Stream, WatchEvent, WatchSpec, Welcome, WhatChanged, read_message,
    write_message,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{InitTrouble, Shared, exec};

/// A port of the sandbox where nothing listens; all others echo.
const CLOSED_PORT: u16 = 1;

pub(super) async fn live(shared: Arc<Shared>) {
    let token = shared.token();
    let Some(token) = token.filter(|_| shared.trouble != Some(InitTrouble::NeverDials)) else {
        return std::future::pending().await;
    };
    let (shortest, longest) = shared.redial;
    let mut pause = shortest;
    loop {
        let handshakes = shared.lock().handshakes;
        match shared.trouble {
            Some(InitTrouble::Garbage) => drop(babble(&shared, &[0xff; 4096]).await),
            Some(InitTrouble::HugeHello) => {
                drop(babble(&shared, &[0, 0xff, 0xff, 0xff, 0xff]).await);
            }
            _ => drop(talk(&shared, &token).await),
        }
        if shared.lock().handshakes > handshakes {
            pause = shortest;
        }
        // How a real init waits between two attempts.
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(longest);
    }
}

async fn babble(shared: &Shared, bytes: &[u8]) -> Result<(), FrameError> {
    let mut connection = UnixStream::connect(shared.home.join(sandtree_wire::SOCKET_NAME)).await?;
    connection.write_all(bytes).await?;
    let mut buffer = Vec::new();
    // Until the server closes.
    let _: Welcome = read_message(&mut connection, &mut buffer).await?;
    Ok(())
}

/// One control connection, from the hello until it ends.
async fn talk(shared: &Arc<Shared>, token: &str) -> Result<(), FrameError> {
    let mut cut = shared.cut.subscribe();
    let mut notices = shared.notices.subscribe();
    let mut connection = shared.dial(token, Role::Control).await?;
    let _: Welcome = read_message(&mut connection, &mut Vec::new()).await?;
    shared.lock().handshakes += 1;
    shared.note();
    let (reader, mut writer) = connection.into_split();
    let (sender, mut requests) = mpsc::channel(64);
    let mut tasks = JoinSet::new();
    tasks.spawn(read_requests(reader, sender));
    loop {
        let said = tokio::select! {
            biased;
            request = requests.recv() => {
                let Some(Numbered { id, body }) = request else { return Ok(()) };
                shared.thawed().await;
                let Some(body) = shared.answer(id, body, token, &mut tasks) else { continue };
                FromInit::Reply(Numbered { id, body })
            }
            Ok(notice) = notices.recv() => FromInit::Notice(notice),
            _ = cut.changed() => return Ok(()),
        };
        match shared.trouble {
            Some(InitTrouble::Silent) => {}
            Some(InitTrouble::BadReplies) => writer.write_all(&[0xff; 64]).await?,
            _ => write_message(&mut writer, &said).await?,
        }
    }
}

async fn read_requests(mut reader: OwnedReadHalf, sender: mpsc::Sender<Numbered<Request>>) {
    let mut buffer = Vec::new();
    while let Ok(request) = read_message(&mut reader, &mut buffer).await {
        if sender.send(request).await.is_err() {
            return;
        }
    }
}

impl Shared {
    /// Does what was asked; streams have no reply.
    fn answer(
        self: &Arc<Self>,
        id: u64,
        request: Request,
        token: &str,
        tasks: &mut JoinSet<()>,
    ) -> Option<Reply> {
        let reply = match request {
            Request::Configure(configuration) => self.configure(configuration),
            Request::Open(stream) => {
                tasks.spawn(open(Arc::clone(self), token.to_owned(), id, stream));
                return None;
            }
            Request::StartJob(spec) => self.start_job(spec),
            Request::StopJob { job, epoch, grace_ms: _ } => {
                if self.lock().jobs.has(job, epoch) {
                    self.end(job, ExitStatus::Signal(15));
                }
                Reply::Done
            }
            Request::SignalJob { job, signal } => self.signal(job, signal),
            Request::Durable { job, epoch, offset } => {
                self.lock().jobs.free(job, epoch, offset);
                Reply::Done
            }
            Request::Resize(size) => {
                self.lock().size = Some(size);
                Reply::Done
            }
            Request::Stats => Reply::Stats(self.stats()),
        };
        self.note();
        Some(reply)
    }

    fn configure(&self, configuration: sandtree_wire::Configuration) -> Reply {
        let mut state = self.lock();
        state.configuration = Some(configuration);
        Reply::Configured { jobs: state.jobs.states() }
    }

    fn start_job(&self, spec: sandtree_wire::JobSpec) -> Reply {
        let (job, argv) = (spec.job, spec.argv_choices.first().cloned().unwrap_or_default());
        let size = spec.size;
        let (state, is_new) = match self.lock().jobs.start(spec) {
            Ok(started) => started,
            Err(what) => return Reply::Refused(StartError { errno: 16, what }),
        };
        if is_new {
            self.script(job, &argv);
            if job == sandtree_wire::Job::Terminal {
                self.lock().size = Some(size);
            }
        }
        Reply::Job(state)
    }

    /// What a job does by itself.
    fn script(&self, job: sandtree_wire::Job, argv: &[String]) {
        let words: Vec<&str> = argv.iter().map(String::as_str).collect();
        match (job, words.as_slice()) {
            (sandtree_wire::Job::Terminal, _) => self.say(job, 1, b"$ "),
            (_, ["count", lines]) => {
                for line in 0..lines.parse::<u64>().unwrap_or(0) {
                    self.say(job, 1, format!("line {line}\n").as_bytes());
                }
            }
            (_, ["exit", code]) => self.end(job, ExitStatus::Code(code.parse().unwrap_or(0))),
            _ => {}
        }
    }

    fn signal(&self, job: sandtree_wire::Job, signal: i32) -> Reply {
        self.lock().signals.push((job, signal));
        if matches!(signal, 2 | 9 | 15) {
            self.end(job, ExitStatus::Signal(signal));
        }
        Reply::Done
    }

    fn stats(&self) -> Stats {
        let state = self.lock();
        Stats {
            cpu_us: 1_000,
            memory_bytes: 1024 * 1024,
            pids: 1 + state.execs,
            execs: state.execs,
        }
    }
}

/// Dials the connection of a stream and serves it.
async fn open(shared: Arc<Shared>, token: String, id: u64, stream: Stream) {
    let Ok(connection) = shared.dial(&token, Role::Stream(id)).await else { return };
    // A stream that breaks is the server's to notice.
    let _ = match stream {
        Stream::Exec(spec) => exec::run(&shared, connection, spec).await,
        Stream::Attach { job, epoch, from } => shared.attach(connection, job, epoch, from).await,
        Stream::Dial { port, .. } => echo(connection, port).await,
        Stream::Watch(spec) => tell_changes(connection, &spec).await,
    };
}

/// Tells the same of every directory but one.
async fn tell_changes(mut connection: UnixStream, spec: &WatchSpec) -> Result<(), FrameError> {
    if spec.path.ends_with("/none") {
        let failed = WatchEvent::Failed(StartError { errno: 2, what: "watch".into() });
        return write_message(&mut connection, &failed).await;
    }
    let change = |path: &str, is_dir, what| Change { path: path.into(), is_dir, what };
    let renamed = WhatChanged::Renamed { from: "a".into() };
    for event in [
        WatchEvent::Ready { directories: spec.directories_max },
        WatchEvent::Changes(vec![
            change("a", false, WhatChanged::Created),
            change("a", false, WhatChanged::Modified),
            change("b", false, renamed),
            change("d", true, WhatChanged::Removed),
        ]),
        WatchEvent::Limited { directories: 7 },
        WatchEvent::Overflow,
    ] {
        write_message(&mut connection, &event).await?;
    }
    // Until the server hangs up; it sends nothing.
    let _ = connection.read_u8().await;
    Ok(())
}

async fn echo(mut connection: UnixStream, port: u16) -> Result<(), FrameError> {
    if port == CLOSED_PORT {
        let what = format!("connect to port {port}");
        let refused = DialEvent::Failed(StartError { errno: 111, what });
        return write_message(&mut connection, &refused).await;
    }
    write_message(&mut connection, &DialEvent::Connected).await?;
    let (mut reader, mut writer) = connection.split();
    tokio::io::copy(&mut reader, &mut writer).await?;
    writer.shutdown().await?;
    Ok(())
}
