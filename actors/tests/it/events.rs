//! Following what happens in a project.

use std::time::Duration;

use sandtree_actors::FileNote;
use sandtree_model::event::FileChange;
use sandtree_model::{Event, EventId};

use crate::world::*;

/// More transitions than are read from the store at once.
const ROUNDS: usize = 70;

#[tokio::test]
async fn who_comes_back_to_a_burst_of_events_is_told_of_one_gap_and_goes_on() {
    let mut world = World::new();
    world.settings.events_kept = ROUNDS * 4;
    let tree = world.spawn().await;
    tree.running("demo").await;
    let followed = tree.call(|tree| async move { tree.events(&key("demo"), None).await });
    let mut followed = followed.await.expect("a follower");
    for _ in 0..2 {
        note(&tree).await;
        world.clock.advance(Duration::from_secs(1));
    }
    let (first, _) = followed.next().await.expect("an event");
    for _ in 0..ROUNDS {
        tree.operate("demo", Operation::Pause).await.expect("a pause");
        tree.operate("demo", Operation::Resume).await.expect("a resume");
    }
    let back = tree.call(move |tree| async move { tree.events(&key("demo"), Some(first)).await });
    let mut back = back.await.expect("a follower that comes back");
    assert!(matches!(back.next().await, Some((_, Event::Gap))), "the second note is gone");
    let (id, event) = back.next().await.expect("what came after it");
    assert!(matches!(event, Event::Transition(_)), "{id:?}: {event:?}");
    assert_eq!(id, EventId { generation: first.generation + 1, number: 0 });
}

/// Something happens that is no transition.
async fn note(tree: &Running) {
    let noting = tree.call(|tree| async move {
        let files = tree.files(&key("demo")).await.expect("the files");
        let note = FileNote { path: "file".into(), change: FileChange::Written };
        files.write(move |_| (Ok(()), vec![note])).await
    });
    noting.await.expect("a note");
}
