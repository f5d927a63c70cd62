//! Images that are there, under an alias, and not there.

use std::time::{Duration, Instant};

use sandtree_actors::ports::{Engine as _, EngineError, SandboxSpec};

use super::bench::{Bench, uid};

#[tokio::test]
async fn an_image_that_is_there_is_used_at_once() {
    let bench = Bench::new().await;
    bench.docker.ensure_image(&bench.image).await.unwrap();
    bench.docker.ensure_image(&bench.image).await.unwrap();
}

#[tokio::test]
async fn an_alias_stands_in_for_an_image_that_is_not_there() {
    let wanted = format!("sandtree-absent-{}:1", uid());
    let local = Bench::new().await;
    let (from, to) = (wanted.as_str().into(), local.image.clone());
    let bench = Bench::with(|config| {
        config.image_aliases.insert(from, to);
    })
    .await;
    bench.docker.ensure_image(&wanted).await.unwrap();
    let spec = SandboxSpec { image: wanted.into(), ..bench.spec("") };
    let container = bench.docker.create(&spec).await.unwrap();
    let config = bench.raw.inspect_container(&container, None).await.unwrap().config.unwrap();
    assert_eq!(config.image.unwrap(), *local.image);
}

#[tokio::test]
async fn an_image_that_cannot_be_had_is_a_clear_error_soon() {
    let bench = Bench::with(|config| config.pull_begin_timeout = Duration::from_secs(5)).await;
    let wanted = format!("localhost:1/sandtree/absent:{}", uid());
    let began = Instant::now();
    let answers =
        futures_util::future::join_all((0..8).map(|_| bench.docker.ensure_image(&wanted)));
    for answer in answers.await {
        let Err(EngineError::Image { image, why }) = answer else { panic!("{answer:?}") };
        assert_eq!(*image, *wanted);
        assert!(why.contains("images/build"), "{why}");
    }
    assert!(began.elapsed() < Duration::from_secs(20), "all of them share one attempt");
    let spec = SandboxSpec { image: wanted.into(), ..bench.spec("") };
    assert!(matches!(bench.docker.create(&spec).await, Err(EngineError::Image { .. })));
}

#[tokio::test]
async fn an_image_that_was_removed_meanwhile_is_noticed() {
    let bench = Bench::new().await;
    bench.docker.ensure_image(&bench.image).await.unwrap();
    let options = None::<bollard::query_parameters::RemoveImageOptions>;
    bench.raw.remove_image(&bench.image, options, None).await.unwrap();
    let answer = bench.docker.create(&bench.spec("")).await;
    assert!(matches!(answer, Err(EngineError::Image { .. })), "{answer:?}");
}

#[tokio::test]
async fn names_that_could_lead_elsewhere_are_refused() {
    let bench = Bench::new().await;
    for bad in ["", "../containers/x", "a b", "a?b"] {
        let answer = bench.docker.ensure_image(bad).await;
        assert!(matches!(answer, Err(EngineError::Image { .. })), "{bad:?}: {answer:?}");
    }
}

#[tokio::test]
async fn a_registry_that_never_answers_is_not_waited_for() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let bench = Bench::with(|config| config.pull_begin_timeout = Duration::from_secs(1)).await;
    let wanted = format!("{}/sandtree/absent:1", silent.local_addr().unwrap());
    let began = Instant::now();
    let answer = bench.docker.ensure_image(&wanted).await;
    let Err(EngineError::Image { why, .. }) = answer else { panic!("{answer:?}") };
    assert!(why.contains("no registry answered within 1s"), "{why}");
    assert!(began.elapsed() < Duration::from_secs(10));
}
