//! Projects and writes for the tests of stores.

use sandtree_actors::ports::{MoveWrite, Store, Write, Written};
use sandtree_model::durations::Timeout;
use sandtree_model::project::{NewProject, Project, Settings};
use sandtree_model::{Limits, Move, Network, Phase, ProjectKey, ProjectUid, SandboxUid, Target};

use crate::store::OwnerRange;

/// The owners of the stores under test: few, so that they run out.
pub(in crate::store) const OWNERS: OwnerRange = OwnerRange { first: 5000, count: 20 };

/// The `number`th uid; uids sort as their numbers do.
pub(in crate::store) fn uid(number: u64) -> ProjectUid {
    format!("p{number:019}").parse().unwrap()
}

pub(super) fn sandbox(number: u64) -> SandboxUid {
    format!("s{number:019}").parse().unwrap()
}

pub(in crate::store) fn key(tenant: &str, id: &str) -> ProjectKey {
    ProjectKey { tenant: tenant.parse().unwrap(), id: id.parse().unwrap() }
}

pub(super) fn settings() -> Settings {
    Settings {
        name: None,
        profile: "default".into(),
        image: "image".into(),
        env: [("SECRET".into(), "hunter2".into())].into(),
        labels: [("team".into(), "red".into())].into(),
        limits: Limits { memory_bytes: 1 << 28, cpu_millis: 1000, pids: 100, tmp_bytes: 1 << 24 },
        network: Network::None,
        idle_timeout: Timeout::Never,
        max_lifetime: Timeout::Never,
    }
}

/// A new project of tenant `a` whose id is `p-<number>`.
pub(in crate::store) fn new(number: u64) -> NewProject {
    NewProject {
        uid: uid(number),
        key: key("a", &format!("p-{number}")),
        target: Target::Stopped,
        settings: settings(),
        sandbox: sandbox(number),
        owner: Some((1000, 1000)),
        container: None,
        idempotency: None,
        principal: "key:admin".into(),
        at: 1_000_000 + number,
    }
}

pub(in crate::store) fn create(new: NewProject) -> Write {
    Write::Create(Box::new(new))
}

/// A move of the `number`th project from `generation` to `to`.
pub(in crate::store) fn step(number: u64, generation: u64, by: Move, to: Phase) -> MoveWrite {
    MoveWrite {
        uid: uid(number),
        generation,
        by,
        to,
        target: None,
        container: None,
        reason: "because".into(),
        principal: "janitor".into(),
        at: 2_000_000 + generation,
    }
}

pub(in crate::store) fn moved(write: MoveWrite) -> Write {
    Write::Move(Box::new(write))
}

pub(super) async fn write(store: &impl Store, write: Write) -> Written {
    let mut written = store.write(&[write]).await.unwrap();
    assert_eq!(written.len(), 1);
    written.remove(0)
}

pub(super) fn row(written: Written) -> Project {
    match written {
        Written::Row(project) => *project,
        Written::Repeated(_)
        | Written::Done
        | Written::Owner(_)
        | Written::Taken(_)
        | Written::KeyReused
        | Written::NoOwnerLeft
        | Written::Stale => panic!("no row, but {written:?}"),
    }
}

pub(super) async fn made(store: &impl Store, new: NewProject) -> Project {
    row(write(store, create(new)).await)
}

pub(super) async fn delete(store: &impl Store, number: u64, generation: u64, target: Target) {
    let ask = step(number, generation, Move::DeleteAsked, Phase::Deleting);
    row(write(store, moved(MoveWrite { target: Some(target), ..ask })).await);
    row(write(store, moved(step(number, generation + 1, Move::Removed, Phase::Deleted))).await);
}

pub(super) fn ids(projects: &[Project]) -> Vec<&str> {
    projects.iter().map(|project| project.key.id.as_str()).collect()
}
