//! What every store has to do, whatever its database: each function is one
//! promise. An adapter's tests call [`holds`] with a store of their own.

mod first_version;
mod rows;

use std::collections::HashSet;

use sandtree_actors::ports::{Filter, MoveWrite, Store, Write, Written};
use sandtree_model::durations::Timeout;
use sandtree_model::project::{
    Container, Idempotency, NewProject, Project, ProjectPatch, Settings,
};
use sandtree_model::{Limits, Move, Phase, ProcessRecord, ProcessSpec, Target};

/// Every promise, each as a test of its own on a fresh store from `$open`, which
/// answers a store and what has to outlive it. Its owners are [`OWNERS`].
macro_rules! holds {
    ($open:path) => {
        $crate::store::contract::holds!(@ $open:
            a_new_project_is_found_by_both_its_names,
            an_id_is_taken_until_its_project_is_deleted,
            a_repeated_request_finds_the_first_ones_project,
            a_move_is_allowed_from_its_generation_alone,
            moves_of_one_batch_follow_each_other,
            a_refused_write_does_not_disturb_the_others,
            a_move_changes_what_it_names,
            a_patch_changes_settings_and_no_generation,
            the_process_and_the_activity_are_kept,
            a_list_follows_its_cursor_and_its_filters,
            unsettled_projects_are_paged_across_tenants,
            resting_projects_of_a_profile_come_in_the_order_of_their_rest,
            owned_sandboxes_are_those_of_living_projects,
            what_a_deleted_project_leaves_has_no_secrets,
            owners_are_given_once_and_again_when_free,
            a_reserved_owner_is_given_to_nobody_else,
            a_store_belongs_to_its_first_instance,
            odd_texts_are_kept_as_they_are,
        );
    };
    (@ $open:path: $($promise:ident,)*) => {
        $(
            #[tokio::test]
            async fn $promise() {
                let (store, _kept) = $open().await;
                $crate::store::contract::$promise(&store).await;
            }
        )*
    };
}
pub(super) use holds;

pub(super) use first_version::{
    rows_of_the_first_version, rows_of_the_first_version_are_as_new_ones,
};
pub(super) use rows::{OWNERS, create, moved, new, step, uid};
use rows::{delete, ids, key, made, row, sandbox, write};

pub(super) async fn a_new_project_is_found_by_both_its_names(store: &impl Store) {
    assert_eq!(store.write(&[]).await.unwrap().len(), 0);
    let wanted = new(1);
    let project = made(store, wanted.clone()).await;
    assert_eq!(
        (&project.uid, &project.key, &project.sandbox),
        (&wanted.uid, &wanted.key, &wanted.sandbox)
    );
    assert_eq!(
        (project.phase, project.generation, project.target),
        (Phase::Creating, 1, Target::Stopped)
    );
    assert_eq!((&project.settings, project.owner), (&wanted.settings, (1000, 1000)));
    assert_eq!((&project.container, &project.process), (&None, &None));
    assert_eq!(
        (project.created_at, project.updated_at, project.active_at),
        (wanted.at, wanted.at, wanted.at)
    );

    assert_eq!(store.project(&wanted.key).await.unwrap().as_ref(), Some(&project));
    assert_eq!(store.project_by_uid(&wanted.uid).await.unwrap().as_ref(), Some(&project));
    assert_eq!(store.project(&key("b", "p-1")).await.unwrap(), None, "another tenant's");
    assert_eq!(store.project_by_uid(&uid(2)).await.unwrap(), None);
    let log = store.transitions(&wanted.uid, 0, 10).await.unwrap();
    assert_eq!(log.len(), 1);
    assert_eq!(
        (log[0].generation, log[0].from, log[0].by, log[0].to),
        (1, None, None, Phase::Creating)
    );
    assert_eq!((&*log[0].principal, log[0].at), ("key:admin", wanted.at));
    store.ping().await.unwrap();
}

pub(super) async fn an_id_is_taken_until_its_project_is_deleted(store: &impl Store) {
    let first = made(store, new(1)).await;
    let same_id = NewProject { key: first.key.clone(), ..new(2) };
    let answer = write(store, create(same_id.clone())).await;
    assert!(matches!(answer, Written::Taken(taker) if *taker == first));
    let elsewhere = NewProject { key: key("b", first.key.id.as_str()), ..new(3) };
    made(store, elsewhere).await;
    let answer = write(store, create(new(1))).await;
    assert!(
        matches!(answer, Written::Repeated(same) if *same == first),
        "the very same write again"
    );

    delete(store, 1, 1, Target::Deleted).await;
    assert_eq!(store.project(&first.key).await.unwrap(), None);
    assert_eq!(store.project_by_uid(&first.uid).await.unwrap(), None);
    let second = made(store, same_id).await;
    assert_eq!((second.generation, &second.key), (1, &first.key));
    assert_ne!(second.uid, first.uid);
    assert_eq!(store.transitions(&first.uid, 0, 10).await.unwrap().len(), 3, "the log stays");
    let late = write(store, moved(step(1, 3, Move::StartAsked, Phase::Starting))).await;
    assert!(matches!(late, Written::Stale), "nothing moves a deleted project");
}

pub(super) async fn a_repeated_request_finds_the_first_ones_project(store: &impl Store) {
    let promise =
        |key: &str, hash| Some(Idempotency { key: key.into(), request_sha256: [hash; 32] });
    let first = made(store, NewProject { idempotency: promise("k", 1), ..new(1) }).await;
    let again = NewProject { idempotency: promise("k", 1), ..new(2) };
    let answer = write(store, create(again.clone())).await;
    assert!(matches!(answer, Written::Repeated(project) if *project == first));
    let other = NewProject { idempotency: promise("k", 2), ..new(3) };
    assert!(matches!(write(store, create(other)).await, Written::KeyReused));
    let tenant = NewProject { key: key("b", "x"), idempotency: promise("k", 2), ..new(4) };
    made(store, tenant).await;

    delete(store, 1, 1, Target::Deleted).await;
    let answer = write(store, create(again)).await;
    assert!(
        matches!(answer, Written::Row(project) if project.uid == uid(2)),
        "it lasts as long as its project"
    );
}

pub(super) async fn a_move_is_allowed_from_its_generation_alone(store: &impl Store) {
    made(store, new(1)).await;
    let start = step(1, 1, Move::StartAsked, Phase::Starting);
    for generation in [0, 2, u64::MAX] {
        let wrong = MoveWrite { generation, ..start.clone() };
        assert!(matches!(write(store, moved(wrong)).await, Written::Stale), "{generation}");
    }
    let project = row(write(store, moved(start.clone())).await);
    assert_eq!((project.phase, project.generation), (Phase::Starting, 2));
    assert!(matches!(write(store, moved(start)).await, Written::Stale), "the same again");
    let unknown = step(9, 1, Move::StartAsked, Phase::Starting);
    assert!(matches!(write(store, moved(unknown)).await, Written::Stale));
    let log = store.transitions(&uid(1), 1, 10).await.unwrap();
    assert_eq!(log.len(), 1);
    let last = &log[0];
    assert_eq!(
        (last.generation, last.from, last.by),
        (2, Some(Phase::Creating), Some(Move::StartAsked))
    );
    assert_eq!((last.to, &*last.reason, &*last.principal), (Phase::Starting, "because", "janitor"));
    assert_eq!(store.transitions(&uid(1), 0, 1).await.unwrap()[0].generation, 1, "oldest first");
}

pub(super) async fn moves_of_one_batch_follow_each_other(store: &impl Store) {
    for number in 1..=3 {
        made(store, new(number)).await;
    }
    let batch = [
        moved(step(1, 1, Move::StartAsked, Phase::Starting)),
        moved(step(2, 1, Move::StartAsked, Phase::Starting)),
        moved(step(1, 2, Move::InitReady, Phase::Running)),
        moved(step(1, 2, Move::StopAsked, Phase::Stopping)),
        moved(step(3, 7, Move::StartAsked, Phase::Starting)),
        moved(step(1, 3, Move::StopAsked, Phase::Stopping)),
    ];
    let written = store.write(&batch).await.unwrap();
    let phases = written.into_iter().map(|written| match written {
        Written::Row(project) => Some((project.phase, project.generation)),
        Written::Stale => None,
        Written::Repeated(_)
        | Written::Done
        | Written::Owner(_)
        | Written::Taken(_)
        | Written::KeyReused
        | Written::NoOwnerLeft => panic!("{written:?}"),
    });
    assert_eq!(
        phases.collect::<Vec<_>>(),
        [
            Some((Phase::Starting, 2)),
            Some((Phase::Starting, 2)),
            Some((Phase::Running, 3)),
            None,
            None,
            Some((Phase::Stopping, 4)),
        ]
    );
    let log = store.transitions(&uid(1), 0, 10).await.unwrap();
    assert_eq!(log.iter().map(|row| row.generation).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!(log[3].from, Some(Phase::Running));
}

pub(super) async fn a_refused_write_does_not_disturb_the_others(store: &impl Store) {
    made(store, new(1)).await;
    let batch = [
        create(NewProject { key: key("a", "p-1"), ..new(2) }),
        create(new(3)),
        moved(step(2, 1, Move::StartAsked, Phase::Starting)),
        Write::Patch(uid(2), Box::default()),
        Write::Process(uid(2), None),
        Write::Activity(vec![(uid(2), 5), (uid(3), 9_000_000)]),
        moved(step(3, 1, Move::StartAsked, Phase::Starting)),
        create(new(4)),
    ];
    let written = store.write(&batch).await.unwrap();
    let [taken, made, stale, unpatched, unset, done, moved, last] = &written[..] else { panic!() };
    assert!(matches!(taken, Written::Taken(_)) && matches!(made, Written::Row(_)));
    for refused in [stale, unpatched, unset] {
        assert!(matches!(refused, Written::Stale), "{refused:?}");
    }
    assert!(matches!(done, Written::Done) && matches!(last, Written::Row(_)));
    assert!(matches!(moved, Written::Row(project) if project.active_at == 9_000_000));
    assert_eq!(store.project_by_uid(&uid(2)).await.unwrap(), None);
    assert_eq!(
        store
            .list(&key("a", "x").tenant, &Filter { limit: 10, ..Filter::default() })
            .await
            .unwrap()
            .len(),
        3
    );
}

pub(super) async fn a_move_changes_what_it_names(store: &impl Store) {
    let before = made(store, new(1)).await;
    let container = Container { id: "abc".into(), made_with: "print".into(), started_at: 7 };
    let start = MoveWrite {
        target: Some(Target::Running),
        container: Some(Some(container.clone())),
        ..step(1, 1, Move::StartAsked, Phase::Starting)
    };
    let started = row(write(store, moved(start.clone())).await);
    let expected = Project {
        phase: Phase::Starting,
        generation: 2,
        target: Target::Running,
        reason: "because".into(),
        container: Some(container),
        updated_at: start.at,
        ..before
    };
    assert_eq!(started, expected);
    let ready = row(write(store, moved(step(1, 2, Move::InitReady, Phase::Running))).await);
    assert_eq!((&ready.container, ready.target), (&expected.container, Target::Running), "kept");
    let lost = MoveWrite { container: Some(None), ..step(1, 3, Move::Faulted, Phase::Failed) };
    assert_eq!(row(write(store, moved(lost)).await).container, None);
}

pub(super) async fn a_patch_changes_settings_and_no_generation(store: &impl Store) {
    let before = made(store, new(1)).await;
    let limits = Limits { pids: 7, ..before.settings.limits };
    let patch = ProjectPatch {
        labels: Some([("team".into(), "blue".into())].into()),
        limits: Some(limits),
        at: 3_000_000,
        ..ProjectPatch::default()
    };
    let after = row(write(store, Write::Patch(uid(1), Box::new(patch.clone()))).await);
    let settings = Settings { labels: patch.labels.unwrap(), limits, ..before.settings.clone() };
    assert_eq!(after, Project { settings, updated_at: 3_000_000, ..before.clone() });
    let tenant = &before.key.tenant;
    for (value, count) in [("red", 0), ("blue", 1)] {
        let label = Some(("team".into(), value.into()));
        let filter = Filter { label, limit: 10, ..Filter::default() };
        assert_eq!(store.list(tenant, &filter).await.unwrap().len(), count, "{value}");
    }
    let patch = ProjectPatch {
        image: Some("another:1".into()),
        env: Some([("A".into(), "1".into())].into()),
        idle_timeout: Some(Timeout::After(std::time::Duration::from_secs(5))),
        max_lifetime: Some(Timeout::After(std::time::Duration::from_secs(6))),
        at: 4_000_000,
        ..ProjectPatch::default()
    };
    let last = row(write(store, Write::Patch(uid(1), Box::new(patch.clone()))).await).settings;
    assert_eq!(Some(&last.image), patch.image.as_ref());
    assert_eq!((Some(&last.env), last.limits), (patch.env.as_ref(), limits));
    assert_eq!(
        (Some(last.idle_timeout), Some(last.max_lifetime)),
        (patch.idle_timeout, patch.max_lifetime)
    );
    assert_eq!(last.labels, after.settings.labels);
}

pub(super) async fn the_process_and_the_activity_are_kept(store: &impl Store) {
    let before = made(store, new(1)).await;
    let spec: ProcessSpec = serde_json::from_str(r#"{"argv": ["/bin/sh", "-c", "true"]}"#).unwrap();
    let record = ProcessRecord { spec, epoch: 3, wanted: true, restarts: 1, ended: None };
    let after = row(write(store, Write::Process(uid(1), Some(Box::new(record.clone())))).await);
    assert_eq!(after, Project { process: Some(record), ..before.clone() });
    let after = row(write(store, Write::Process(uid(1), None)).await);
    assert_eq!(after, before);

    let latest = before.active_at + 100;
    for at in [latest, before.active_at + 50] {
        let answer =
            write(store, Write::Activity(vec![(uid(1), at), (uid(9), at), (uid(1), 1)])).await;
        assert!(matches!(answer, Written::Done));
        let project = store.project_by_uid(&uid(1)).await.unwrap().unwrap();
        assert_eq!(project, Project { active_at: latest, ..before.clone() }, "never goes back");
    }
}

pub(super) async fn a_list_follows_its_cursor_and_its_filters(store: &impl Store) {
    for (number, id) in ["b-1", "a", "b", "z", "a-0"].into_iter().enumerate() {
        let number = u64::try_from(number).unwrap();
        let mut new = NewProject { key: key("a", id), ..new(number) };
        if id.starts_with('b') {
            new.settings.labels.insert("team".into(), "blue".into());
        }
        made(store, new).await;
    }
    made(store, NewProject { key: key("b", "aa"), ..new(9) }).await;
    row(write(store, moved(step(2, 1, Move::StartAsked, Phase::Starting))).await);
    let tenant = key("a", "x").tenant;
    let label = |value: &str| Some(("team".into(), value.into()));
    let all = Filter { limit: 1000, ..Filter::default() };
    let cases = [
        (all.clone(), vec!["a", "a-0", "b", "b-1", "z"]),
        (Filter { limit: 2, ..all.clone() }, vec!["a", "a-0"]),
        (Filter { limit: 0, ..all.clone() }, vec![]),
        (
            Filter { limit: u32::MAX, after: Some("a-0".into()), ..all.clone() },
            vec!["b", "b-1", "z"],
        ),
        (Filter { phase: Some(Phase::Starting), ..all.clone() }, vec!["b"]),
        (
            Filter { phase: Some(Phase::Creating), after: Some("a".into()), ..all.clone() },
            vec!["a-0", "b-1", "z"],
        ),
        (Filter { phase: Some(Phase::Deleted), ..all.clone() }, vec![]),
        (Filter { label: label("blue"), ..all.clone() }, vec!["b", "b-1"]),
        (Filter { label: label("blue"), after: Some("b".into()), ..all.clone() }, vec!["b-1"]),
        (Filter { label: label("red"), limit: 2, ..all.clone() }, vec!["a", "a-0"]),
        (Filter { label: label("blue"), phase: Some(Phase::Starting), ..all.clone() }, vec!["b"]),
        (Filter { label: label("' OR 1=1 --"), ..all.clone() }, vec![]),
        (Filter { label: label("blue\0"), ..all }, vec![]),
    ];
    for (filter, expected) in cases {
        assert_eq!(ids(&store.list(&tenant, &filter).await.unwrap()), expected, "{filter:?}");
    }
}

pub(super) async fn unsettled_projects_are_paged_across_tenants(store: &impl Store) {
    for number in 0..7 {
        let tenant = if number % 2 == 0 { "a" } else { "b" };
        made(store, NewProject { key: key(tenant, &format!("p-{number}")), ..new(number) }).await;
    }
    row(write(store, moved(step(1, 1, Move::Created, Phase::Stopped))).await);
    row(write(store, moved(step(3, 1, Move::Faulted, Phase::Failed))).await);
    delete(store, 5, 1, Target::Deleted).await;
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = store.unsettled(after.as_ref(), 3).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.uid.clone());
        seen.extend(page.into_iter().map(|project| project.uid));
    }
    assert_eq!(seen, [uid(0), uid(2), uid(4), uid(6)]);
}

pub(super) async fn resting_projects_of_a_profile_come_in_the_order_of_their_rest(
    store: &impl Store,
) {
    for number in 0..6 {
        let tenant = if number % 2 == 0 { "a" } else { "b" };
        let mut new = NewProject { key: key(tenant, &format!("p-{number}")), ..new(number) };
        if number == 4 {
            new.settings.profile = "other".into();
        }
        made(store, new).await;
    }
    let at = |number, to, by, at| moved(MoveWrite { at, ..step(number, 1, by, to) });
    row(write(store, at(3, Phase::Stopped, Move::Created, 10)).await);
    row(write(store, at(0, Phase::Stopped, Move::Created, 30)).await);
    row(write(store, at(1, Phase::Failed, Move::Faulted, 20)).await);
    row(write(store, at(4, Phase::Stopped, Move::Created, 5)).await);
    let half =
        MoveWrite { target: Some(Target::Running), ..step(5, 1, Move::Created, Phase::Stopped) };
    row(write(store, moved(half)).await);
    let uids = |page: Vec<Project>| page.into_iter().map(|row| row.uid).collect::<Vec<_>>();
    assert_eq!(uids(store.resting("default", 10).await.unwrap()), [uid(3), uid(1), uid(0)]);
    assert_eq!(uids(store.resting("default", 2).await.unwrap()), [uid(3), uid(1)]);
    assert_eq!(store.resting_count("default").await.unwrap(), 3);
    assert_eq!(uids(store.resting("other", 10).await.unwrap()), [uid(4)]);
    assert_eq!(store.resting_count("none").await.unwrap(), 0);
    row(write(store, moved(step(3, 2, Move::DeleteAsked, Phase::Deleting))).await);
    assert_eq!(store.resting_count("default").await.unwrap(), 2);
}

pub(super) async fn owned_sandboxes_are_those_of_living_projects(store: &impl Store) {
    for number in 1..=3 {
        made(store, new(number)).await;
    }
    delete(store, 2, 1, Target::Deleted).await;
    let asked = [sandbox(1), sandbox(2), sandbox(3), sandbox(4)];
    let owned = store.owned(&asked).await.unwrap().into_iter().collect::<HashSet<_>>();
    assert_eq!(owned, HashSet::from([sandbox(1), sandbox(3)]));
    assert_eq!(store.owned(&[]).await.unwrap(), Vec::new());
}

pub(super) async fn what_a_deleted_project_leaves_has_no_secrets(store: &impl Store) {
    made(store, new(1)).await;
    row(write(store, moved(step(1, 1, Move::DeleteAsked, Phase::Deleting))).await);
    let gone = row(write(store, moved(step(1, 2, Move::Removed, Phase::Deleted))).await);
    assert!(gone.settings.env.is_empty() && gone.settings.labels.is_empty(), "{gone:?}");
    let label = Some(("team".into(), "red".into()));
    let filter = Filter { label, limit: 10, ..Filter::default() };
    assert_eq!(store.list(&gone.key.tenant, &filter).await.unwrap(), Vec::new());
}

pub(super) async fn owners_are_given_once_and_again_when_free(store: &impl Store) {
    let own = |number| NewProject { owner: None, ..new(number) };
    let count = u64::from(OWNERS.count);
    let batch = (0..count).map(|number| create(own(number))).collect::<Vec<_>>();
    let written = store.write(&batch).await.unwrap();
    let owners = written.into_iter().map(|written| row(written).owner).collect::<Vec<_>>();
    let expected = (0..OWNERS.count).map(|nth| (OWNERS.first + nth, OWNERS.first + nth));
    assert_eq!(owners, expected.collect::<Vec<_>>());
    assert!(matches!(write(store, create(own(100))).await, Written::NoOwnerLeft));
    assert_eq!(store.project_by_uid(&uid(100)).await.unwrap(), None);

    delete(store, 4, 1, Target::DeletedKeepingFiles).await;
    assert!(
        matches!(write(store, create(own(101))).await, Written::NoOwnerLeft),
        "files are still there"
    );
    delete(store, 7, 1, Target::Deleted).await;
    delete(store, 0, 1, Target::Deleted).await;
    assert_eq!(made(store, own(102)).await.owner.0, OWNERS.first);
    assert_eq!(made(store, own(103)).await.owner.0, OWNERS.first + 7);
    assert!(matches!(write(store, create(own(104))).await, Written::NoOwnerLeft));
    made(store, new(105)).await;
}

pub(super) async fn a_reserved_owner_is_given_to_nobody_else(store: &impl Store) {
    let Written::Owner(reserved) = write(store, Write::ReserveOwner).await else {
        panic!("no owner");
    };
    assert_eq!(reserved, OWNERS.first);
    let own = NewProject { owner: None, ..new(1) };
    assert_eq!(made(store, own).await.owner.0, OWNERS.first + 1);
    let container = Container { id: "c".into(), made_with: "f".into(), started_at: 5 };
    let claimed = NewProject {
        owner: Some((reserved, reserved)),
        container: Some(container.clone()),
        ..new(2)
    };
    let claimed = made(store, claimed).await;
    assert_eq!((claimed.owner.0, claimed.container), (reserved, Some(container)));
    let other = write(store, Write::ReserveOwner).await;
    assert!(matches!(other, Written::Owner(owner) if owner == OWNERS.first + 2), "{other:?}");
}

pub(super) async fn a_store_belongs_to_its_first_instance(store: &impl Store) {
    let (first, second) = ("i0000000000000000001", "i0000000000000000002");
    let first = first.parse().unwrap();
    assert_eq!(store.instance(&first).await.unwrap(), first);
    assert_eq!(store.instance(&second.parse().unwrap()).await.unwrap(), first);
}

pub(super) async fn odd_texts_are_kept_as_they_are(store: &impl Store) {
    let odd = "'; DROP TABLE projects; -- \"\\ \u{1F600} \n\u{7f} {} [] $1";
    let mut wanted = NewProject { principal: odd.into(), ..new(1) };
    wanted.settings.env.insert("ODD".into(), odd.into());
    wanted.settings.labels.insert(odd.into(), odd.into());
    assert_eq!(made(store, wanted.clone()).await.settings, wanted.settings);
    let start = MoveWrite { reason: odd.into(), ..step(1, 1, Move::StartAsked, Phase::Starting) };
    assert_eq!(&*row(write(store, moved(start)).await).reason, odd);
    let label = Some((odd.into(), odd.into()));
    let filter = Filter { label, limit: 10, ..Filter::default() };
    assert_eq!(store.list(&wanted.key.tenant, &filter).await.unwrap().len(), 1);
    let log = store.transitions(&uid(1), 0, 10).await.unwrap();
    assert_eq!((&*log[0].principal, &*log[1].reason), (odd, odd));
    let nul = MoveWrite { reason: "a\0b".into(), ..step(1, 2, Move::Faulted, Phase::Failed) };
    assert_eq!(&*row(write(store, moved(nul)).await).reason, "a\u{fffd}b");
}
