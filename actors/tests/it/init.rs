//! Inits that misbehave, and links that break.

use sandtree_testkit::{FaultPlan, InitTrouble};

use crate::world::*;

#[tokio::test]
async fn an_init_that_does_not_shake_hands_fails_its_project_and_is_stopped() {
    for trouble in [
        InitTrouble::NeverDials,
        InitTrouble::FalseToken,
        InitTrouble::Ancient,
        InitTrouble::Garbage,
        InitTrouble::HugeHello,
        InitTrouble::BadReplies,
    ] {
        let world = World::with(FaultPlan::none().init(1..=1, trouble));
        let tree = world.spawn().await;
        let made = tree.stopped("demo").await;
        let failed = tree.operate("demo", Operation::Start).await;
        assert!(matches!(failed, Err(Failure::Faulted(_))), "{trouble:?}: {failed:?}");
        assert_eq!(tree.get("demo").await.expect("it").project.phase, Phase::Failed, "{trouble:?}");
        let state = world.engine.state_of(&made.project.sandbox);
        assert!(matches!(state, Some(ContainerState::NotRunning { .. })), "{trouble:?}: {state:?}");
        tree.operate("demo", Operation::Start).await.expect("a start with a good init");
        world.store.assert_sound();
    }
}

#[tokio::test]
async fn an_init_that_never_answers_is_given_up_in_time() {
    let world = World::with(FaultPlan::none().init(1..=1, InitTrouble::Silent));
    let tree = world.spawn().await;
    tree.stopped("demo").await;
    let failed = tree.operate("demo", Operation::Start).await;
    assert!(matches!(failed, Err(Failure::Faulted(Fault::TimedOut { .. }))), "{failed:?}");
}

#[tokio::test]
async fn an_init_that_is_newer_than_the_server_is_welcome() {
    let world = World::with(FaultPlan::none().init(1..=1, InitTrouble::FromTheFuture));
    let tree = world.spawn().await;
    tree.running("demo").await;
}

#[tokio::test]
async fn a_link_that_breaks_is_made_again_and_the_project_runs_on() {
    let world = World::new();
    let tree = world.spawn().await;
    let before = tree.running("demo").await;
    let init = world.engine.init(&before.project.sandbox);
    init.disconnect();
    init.until("a second handshake", |init| init.handshakes() == 2).await;
    sandtree_testkit::until("commands to work again", async || {
        let leased = tree.call(|tree| async move { tree.sandbox(&key("demo")).await.map(|_| ()) });
        leased.await.is_ok()
    })
    .await;
    let after = tree.get("demo").await.expect("the project");
    assert_eq!(after.project.generation, before.project.generation, "nothing moved");
}

#[tokio::test]
async fn the_token_is_gone_after_the_handshake() {
    let world = World::new();
    let tree = world.spawn().await;
    let view = tree.running("demo").await;
    let home = world.dir.path().join("sandboxes").join(view.project.sandbox.as_str()).join("home");
    assert!(home.join(sandtree_wire::SOCKET_NAME).exists());
    assert!(!home.join(sandtree_wire::TOKEN_NAME).exists());
}
