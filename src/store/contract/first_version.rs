//! A database that the first version has written: its rows are those of every later one.

use sandtree_actors::ports::{Filter, Store, Written};
use sandtree_model::project::NewProject;
use sandtree_model::{Move, Phase};

use super::rows::{OWNERS, create, delete, ids, key, made, moved, new, row, step, uid, write};

/// Statements that either database understands, for its tables as `0001` made them: a
/// project that is stopped, one that runs, one that failed, and one that is deleted and had
/// the id of the first.
pub(in crate::store) fn rows_of_the_first_version() -> Vec<String> {
    let rows = [(1, "p-1", "stopped"), (2, "p-2", "running"), (3, "p-3", "failed")];
    let rows = rows.into_iter().chain([(4, "p-1", "deleted")]);
    let settings = serde_json::to_string(&new(1).settings).unwrap();
    let owner = OWNERS.first;
    rows.flat_map(|(number, id, phase)| {
        let (uid, target) = (uid(number), if phase == "deleted" { phase } else { "stopped" });
        let sandbox = new(number).sandbox;
        [
            format!(
                "INSERT INTO projects VALUES ('{uid}', 'a', '{id}', '{phase}', 1, '{target}', \
                 'created', '{settings}', '{sandbox}', {owner}, {owner}, NULL, NULL, {number}, \
                 {number}, {number})"
            ),
            format!(
                "INSERT INTO transitions VALUES ('{uid}', 1, NULL, NULL, '{phase}', 'created', \
                 'key:admin', {number})"
            ),
        ]
    })
    .collect()
}

/// That nothing can be told of their age.
pub(in crate::store) async fn rows_of_the_first_version_are_as_new_ones(store: &impl Store) {
    let stopped = store.project(&key("a", "p-1")).await.unwrap().unwrap();
    assert_eq!((stopped.uid, stopped.phase), (uid(1), Phase::Stopped), "not the deleted one");
    assert_eq!(stopped.settings, new(1).settings);
    assert_eq!(store.project_by_uid(&uid(4)).await.unwrap(), None);
    let all = Filter { limit: 10, ..Filter::default() };
    assert_eq!(ids(&store.list(&key("a", "x").tenant, &all).await.unwrap()), ["p-1", "p-2", "p-3"]);
    let resting = store.resting("default", 10).await.unwrap();
    assert_eq!(ids(&resting), ["p-1", "p-3"], "found by their profile");
    assert_eq!(ids(&store.unsettled(None, 10).await.unwrap()), ["p-2"]);

    let taken = write(store, create(NewProject { key: key("a", "p-1"), ..new(5) })).await;
    assert!(matches!(taken, Written::Taken(_)), "{taken:?}");
    let started = write(store, moved(step(1, 1, Move::StartAsked, Phase::Starting))).await;
    assert_eq!(row(started).generation, 2);
    delete(store, 3, 1, sandtree_model::Target::Deleted).await;
    made(store, NewProject { key: key("a", "p-3"), ..new(6) }).await;
    assert_eq!(store.transitions(&uid(3), 0, 10).await.unwrap().len(), 3);
}
