//! Daemons that are away, silent, broken or slow: sockets of our own.

use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use sandtree_actors::ports::{Engine as _, EngineError, WhatHappened};
use sandtree_model::InstanceId;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};

use super::bench::uid;
use crate::engine::docker::{BadHost, Docker, DockerConfig};

const LIMIT: Duration = Duration::from_millis(300);

fn docker(socket: &Path) -> Docker {
    let instance: InstanceId = uid().parse().unwrap();
    let host = format!("unix://{}", socket.display()).into();
    let config = DockerConfig {
        host,
        request_timeout: LIMIT,
        concurrency_max: 2,
        pull_begin_timeout: LIMIT,
        ..DockerConfig::new(instance)
    };
    Docker::connect(config).unwrap()
}

/// Every call is answered with "away", and none takes much longer than it may.
async fn is_away(docker: &Docker) {
    let sandbox = uid().parse().unwrap();
    let began = Instant::now();
    let answers = [
        ("ping", docker.ping().await),
        ("start", docker.start("abc").await),
        ("stop", docker.stop("abc", Duration::ZERO).await),
        ("remove", docker.remove("abc").await),
        ("pause", docker.pause("abc").await),
        ("resume", docker.resume("abc").await),
        ("stats", docker.stats("abc").await.map(drop)),
        ("inspect", docker.inspect(&sandbox).await.map(drop)),
        ("list", docker.list().await.map(drop)),
        ("events", docker.events().await.map(drop)),
        ("ensure_image", docker.ensure_image("busybox").await),
        ("facts", docker.facts().await.map(drop)),
    ];
    for (name, answer) in answers {
        assert!(matches!(answer, Err(EngineError::Away(_))), "{name}: {answer:?}");
    }
    assert!(began.elapsed() < LIMIT * 12 * 3);
}

/// Answers every connection on a socket with the same bytes, then closes it.
fn serve(listener: UnixListener, bytes: &'static [u8]) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0_u8; 4096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(bytes).await;
        }
    })
}

#[tokio::test]
async fn a_daemon_that_never_ran_is_away_and_found_once_it_runs() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("docker.sock");
    let docker = docker(&socket);
    is_away(&docker).await;
    let listener = UnixListener::bind(&socket).unwrap();
    let serving = serve(listener, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK");
    docker.ping().await.unwrap();
    serving.abort();
    let _ = serving.await;
    is_away(&docker).await;
}

#[tokio::test]
async fn a_daemon_that_hangs_is_away_within_the_timeout() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("docker.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let docker = docker(&socket);
    is_away(&docker).await;
    let began = Instant::now();
    let crowd = futures_util::future::join_all((0..50).map(|_| docker.ping())).await;
    assert!(crowd.iter().all(|answer| matches!(answer, Err(EngineError::Away(_)))));
    assert!(began.elapsed() < LIMIT * 4, "the wait for a place counts too");
    drop(listener);
}

#[tokio::test]
async fn a_daemon_that_stops_in_the_middle_of_an_answer_is_away() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("docker.sock");
    let half =
        b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\nContent-Type: application/json\r\n\r\n{\"Id\":";
    let serving = serve(UnixListener::bind(&socket).unwrap(), half);
    let docker = docker(&socket);
    for answer in [docker.list().await.map(drop), docker.remove("abc").await] {
        assert!(matches!(answer, Err(EngineError::Away(_))), "{answer:?}");
    }
    serving.abort();
}

#[tokio::test]
async fn an_answer_that_makes_no_sense_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("docker.sock");
    let odd =
        b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nContent-Type: application/json\r\n\r\n[[[nope";
    let serving = serve(UnixListener::bind(&socket).unwrap(), odd);
    let docker = docker(&socket);
    for answer in [docker.list().await.map(drop), docker.stop("abc", LIMIT).await] {
        assert!(matches!(answer, Err(EngineError::Refused(_))), "{answer:?}");
    }
    serving.abort();
}

#[tokio::test]
async fn a_daemon_that_is_unavailable_is_away() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("docker.sock");
    let busy =
        b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 18\r\n\r\n{\"message\":\"busy\"}";
    let serving = serve(UnixListener::bind(&socket).unwrap(), busy);
    is_away(&docker(&socket)).await;
    serving.abort();
}

#[tokio::test]
async fn events_end_when_the_daemon_goes_away() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("docker.sock");
    let proxy = Proxy::start(&socket);
    let bench = super::Bench::new().await;
    let config = DockerConfig {
        host: socket.to_str().unwrap().into(),
        ..DockerConfig::new(bench.instance.clone())
    };
    let docker = Docker::connect(config).unwrap();
    let mut events = docker.events().await.unwrap();
    let container = bench.docker.create(&bench.spec("end")).await.unwrap();
    bench.docker.start(&container).await.unwrap();
    assert_eq!(events.next().await.unwrap().what, WhatHappened::Started);
    proxy.cut();
    let rest = tokio::time::timeout(Duration::from_secs(5), events.collect::<Vec<_>>()).await;
    assert!(rest.expect("the stream ends").iter().all(|event| event.what == WhatHappened::Died));
    assert!(matches!(docker.ping().await, Err(EngineError::Away(_))));
    let _proxy = Proxy::start(&socket);
    docker.ping().await.expect("the next call connects anew");
}

#[test]
fn only_unix_sockets_are_daemons() {
    for bad in ["", "tcp://127.0.0.1:2375", "docker.sock", "http://x"] {
        let instance = uid().parse().unwrap();
        let config = DockerConfig { host: bad.into(), ..DockerConfig::new(instance) };
        assert_eq!(Docker::connect(config).err(), Some(BadHost(bad.into())));
    }
}

/// Stands in front of the real daemon, and can be cut.
struct Proxy(tokio_util::task::AbortOnDropHandle<()>);

impl Proxy {
    fn start(socket: &Path) -> Self {
        let _ = std::fs::remove_file(socket);
        let listener = UnixListener::bind(socket).unwrap();
        let task = tokio::spawn(async move {
            let mut links = tokio::task::JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                links.spawn(async move {
                    let mut far = UnixStream::connect("/var/run/docker.sock").await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                });
            }
        });
        Self(tokio_util::task::AbortOnDropHandle::new(task))
    }

    fn cut(self) {
        self.0.abort();
    }
}
