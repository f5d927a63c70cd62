//! Requests that come one after another.

use std::time::Duration;

use sandtree_model::durations::Timeout;

use crate::world::*;

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_turn_is_one_requests_and_counts_as_activity() {
    let world = World::new().profile(|profile| profile.idle_timeout = Timeout::After(10 * MINUTE));
    let tree = world.spawn().await;
    tree.running("demo").await;
    let take = |wait| tree.call(move |tree| async move { tree.turn(&key("demo"), wait).await });
    let turn = take(MINUTE).await.expect("a turn");
    let refused = take(Duration::ZERO).await.err().expect("no second turn");
    assert!(matches!(refused, Failure::Refused(Refusal::Busy { .. })), "{refused}");
    let waiting = tree.begin_call(|tree| async move { tree.turn(&key("demo"), MINUTE).await });
    world.clock.advance(10 * MINUTE);
    drop(turn);
    let turn = waiting.await.expect("no panic").expect("the next turn");
    assert_eq!(tree.get("demo").await.expect("it").project.phase, Phase::Running);
    tree.operate("demo", DELETE).await.expect("a deletion");
    drop(turn);
    let gone = take(MINUTE).await.err().expect("no turn");
    assert!(matches!(gone, Failure::Refused(Refusal::NotFound { .. })), "{gone}");
}
