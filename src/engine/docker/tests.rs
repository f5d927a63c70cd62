//! Against the real daemon, which this project requires.

mod bench;
mod faults;
mod floor;
mod images;

use std::time::{Duration, Instant};

use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{CreateContainerOptionsBuilder, RemoveContainerOptions};
use futures_util::StreamExt as _;
use sandtree_actors::ports::{ContainerState, Engine, EngineError, WhatHappened};

use super::{INSTANCE_LABEL, SANDBOX_LABEL};
use bench::{Bench, uid, until};

const STOPPED: ContainerState = ContainerState::NotRunning { out_of_memory: false };

async fn state(bench: &Bench, sandbox: &sandtree_model::SandboxUid) -> Option<ContainerState> {
    bench.docker.inspect(sandbox).await.unwrap().map(|seen| seen.state)
}

#[tokio::test]
async fn every_operation_can_be_repeated() {
    let bench = Bench::new().await;
    let spec = bench.spec("");
    let docker = &bench.docker;
    assert_eq!(state(&bench, &spec.sandbox).await, None);

    let container = docker.create(&spec).await.unwrap();
    assert_eq!(docker.create(&spec).await.unwrap(), container, "create again");
    assert_eq!(state(&bench, &spec.sandbox).await, Some(STOPPED));
    assert!(matches!(docker.stats(&container).await, Err(EngineError::Gone)));
    assert!(matches!(docker.pause(&container).await, Err(EngineError::Gone)));
    assert!(matches!(docker.resume(&container).await, Err(EngineError::Gone)));

    for round in ["start", "start again"] {
        docker.start(&container).await.expect(round);
        assert_eq!(state(&bench, &spec.sandbox).await, Some(ContainerState::Running), "{round}");
    }
    let seen = docker.inspect(&spec.sandbox).await.unwrap().unwrap();
    let pid = seen.init_pid.expect("a running init has a pid");
    assert!(std::path::Path::new(&format!("/proc/{pid}")).exists());
    let usage = docker.stats(&container).await.unwrap();
    assert!(usage.pids >= 1 && usage.memory_bytes > 0 && usage.cpu_us > 0, "{usage:?}");

    for round in ["pause", "pause again"] {
        docker.pause(&container).await.expect(round);
        assert_eq!(state(&bench, &spec.sandbox).await, Some(ContainerState::Paused), "{round}");
    }
    for round in ["resume", "resume again"] {
        docker.resume(&container).await.expect(round);
        assert_eq!(state(&bench, &spec.sandbox).await, Some(ContainerState::Running), "{round}");
    }
    for round in ["stop", "stop again"] {
        docker.stop(&container, Duration::from_secs(10)).await.expect(round);
        assert_eq!(state(&bench, &spec.sandbox).await, Some(STOPPED), "{round}");
    }
    docker.start(&container).await.expect("start after stop");
    docker.pause(&container).await.unwrap();
    docker.stop(&container, Duration::from_secs(10)).await.expect("stop while frozen");
    assert_eq!(state(&bench, &spec.sandbox).await, Some(STOPPED));
    docker.start(&container).await.unwrap();
    docker.pause(&container).await.unwrap();
    for round in ["remove while frozen", "remove again"] {
        docker.remove(&container).await.expect(round);
        assert_eq!(state(&bench, &spec.sandbox).await, None, "{round}");
    }
    docker.stop(&container, Duration::ZERO).await.expect("stop what is gone");
    for gone in [
        docker.start(&container).await,
        docker.pause(&container).await,
        docker.resume(&container).await,
    ] {
        assert!(matches!(gone, Err(EngineError::Gone)), "{gone:?}");
    }
}

#[tokio::test]
async fn racing_calls_make_one_container_and_leave_none() {
    let bench = Bench::new().await;
    let spec = bench.spec("");
    let made = futures_util::future::join_all((0..8).map(|_| bench.docker.create(&spec))).await;
    let ids = made.into_iter().map(Result::unwrap).collect::<std::collections::HashSet<_>>();
    assert_eq!(ids.len(), 1);
    let id = ids.into_iter().next().unwrap();
    let starts = futures_util::future::join_all((0..4).map(|_| bench.docker.start(&id))).await;
    assert!(starts.iter().all(Result::is_ok), "{starts:?}");
    let removes = futures_util::future::join_all((0..4).map(|_| bench.docker.remove(&id))).await;
    assert!(removes.iter().all(Result::is_ok), "{removes:?}");
    assert_eq!(bench.docker.list().await.unwrap(), Vec::new());
    assert_ne!(bench.docker.create(&spec).await.unwrap(), id, "the name is free again");
}

#[tokio::test]
async fn a_stubborn_init_is_killed_after_its_grace() {
    let bench = Bench::new().await;
    let spec = bench.spec("stubborn");
    let (container, _) = bench.run(&spec).await;
    let began = Instant::now();
    bench.docker.stop(&container, Duration::from_millis(900)).await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(900), "the grace period is given");
    assert_eq!(state(&bench, &spec.sandbox).await, Some(STOPPED));
}

#[tokio::test]
async fn foreign_containers_are_left_alone() {
    let bench = Bench::new().await;
    let (spec, other) = (bench.spec(""), uid());
    let name = format!("sandtree-{}", spec.sandbox);
    let labels = [(INSTANCE_LABEL, other.as_str()), (SANDBOX_LABEL, spec.sandbox.as_str())];
    let body = ContainerCreateBody {
        image: Some(bench.image.to_string()),
        labels: Some(labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into()),
        ..ContainerCreateBody::default()
    };
    let options = CreateContainerOptionsBuilder::default().name(&name).build();
    let foreign = bench.raw.create_container(Some(options), body).await.unwrap().id;

    let refused = |answer: Result<(), EngineError>| matches!(answer, Err(EngineError::Refused(_)));
    assert!(refused(bench.docker.create(&spec).await.map(drop)));
    assert!(refused(bench.docker.remove(&foreign).await));
    assert!(refused(bench.docker.remove(&name).await));
    assert!(refused(bench.docker.stop(&foreign, Duration::ZERO).await));
    assert!(refused(bench.docker.pause(&foreign).await));
    assert_eq!(bench.docker.inspect(&spec.sandbox).await.unwrap(), None);
    assert_eq!(bench.docker.list().await.unwrap(), Vec::new());
    assert!(bench.raw.inspect_container(&foreign, None).await.is_ok(), "it is still there");
    bench.raw.remove_container(&foreign, None::<RemoveContainerOptions>).await.unwrap();
}

#[tokio::test]
async fn the_list_shows_this_instance_in_every_state() {
    let bench = Bench::new().await;
    let (rests, runs, frozen) = (bench.spec(""), bench.spec(""), bench.spec(""));
    bench.docker.create(&rests).await.unwrap();
    bench.run(&runs).await;
    let (id, _) = bench.run(&frozen).await;
    bench.docker.pause(&id).await.unwrap();

    let listed = bench.docker.list().await.unwrap();
    assert_eq!(listed.len(), 3);
    for (spec, expected) in
        [(rests, STOPPED), (runs, ContainerState::Running), (frozen, ContainerState::Paused)]
    {
        let seen = listed.iter().find(|seen| seen.sandbox == spec.sandbox).unwrap();
        assert_eq!(seen.state, expected);
    }
}

#[tokio::test]
async fn what_happens_to_a_container_is_seen() {
    let bench = Bench::new().await;
    let mut events = bench.docker.events().await.unwrap();
    let spec = bench.spec("");
    let (container, _) = bench.run(&spec).await;
    bench.docker.pause(&container).await.unwrap();
    bench.docker.resume(&container).await.unwrap();
    bench.docker.stop(&container, Duration::from_secs(10)).await.unwrap();
    bench.docker.remove(&container).await.unwrap();

    use WhatHappened::{Died, Paused, Removed, Resumed, Started};
    for expected in [Started, Paused, Resumed, Died, Removed] {
        let next = tokio::time::timeout(Duration::from_secs(10), events.next()).await;
        let next = next.expect("an event in time").expect("the stream goes on");
        assert_eq!((next.sandbox, next.what), (spec.sandbox.clone(), expected));
    }
}

#[tokio::test]
async fn a_sandbox_that_runs_out_of_memory_is_seen_as_such() {
    let bench = Bench::new().await;
    let mut events = bench.docker.events().await.unwrap();
    let spec = bench.spec("hog");
    let container = bench.docker.create(&spec).await.unwrap();
    bench.docker.start(&container).await.unwrap();
    let ended = until(|| async {
        match state(&bench, &spec.sandbox).await.unwrap() {
            ContainerState::Running | ContainerState::Paused => None,
            ended @ ContainerState::NotRunning { .. } => Some(ended),
        }
    });
    assert_eq!(ended.await, ContainerState::NotRunning { out_of_memory: true });
    let mut seen = Vec::new();
    while !(seen.contains(&WhatHappened::OutOfMemory) && seen.contains(&WhatHappened::Died)) {
        let next = tokio::time::timeout(Duration::from_secs(10), events.next()).await;
        seen.push(next.expect("both events in time").unwrap().what);
    }
}

#[tokio::test]
async fn names_that_could_lead_elsewhere_are_refused() {
    let bench = Bench::new().await;
    let long = "a".repeat(129);
    for bad in ["", "../images/x", "a/b", "a?force=1", "a#", "-a", "a b", "a%2f", "ä", "a\n", &long]
    {
        let answers = [
            bench.docker.start(bad).await,
            bench.docker.stop(bad, Duration::ZERO).await,
            bench.docker.remove(bad).await,
            bench.docker.pause(bad).await,
            bench.docker.resume(bad).await,
            bench.docker.stats(bad).await.map(drop),
        ];
        for answer in answers {
            assert!(matches!(answer, Err(EngineError::Refused(_))), "{bad:?}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn the_daemon_tells_what_it_is() {
    let bench = Bench::new().await;
    let facts = bench.docker.facts().await.unwrap();
    assert!(
        !facts.version.is_empty() && !facts.api_version.is_empty() && facts.cpus > 0,
        "{facts:?}"
    );
    assert!(["1", "2"].contains(&&*facts.cgroup_version), "{facts:?}");
    let warned = facts.advice.iter().any(|advice| advice.contains("live-restore"));
    assert_eq!(warned, !facts.live_restore);
    bench.docker.ping().await.unwrap();
}
