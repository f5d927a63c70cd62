//! What every world of these tests stands on, whoever runs its trees.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use sandtree_actors::{Operation, TreeSettings};
use sandtree_model::durations::{Span, Timeout};
use sandtree_model::profile::{Expiry, User};
use sandtree_model::{Limits, Network, Principal, Profile, ProjectKey};

/// A deletion that takes the files along.
pub(crate) const DELETE: Operation = Operation::Delete { keep_files: false };

/// Settings of a tree below `dir`, whose sandboxes belong to whoever runs the test.
pub(crate) fn settings(dir: &Path) -> TreeSettings {
    let meta = dir.metadata().expect("a directory just made");
    let profile = profile(User::Fixed { uid: meta.uid(), gid: meta.gid() });
    TreeSettings::with_defaults(
        "instance000000000000".parse().expect("a valid id"),
        dir.to_owned(),
        dir.join("init"),
        BTreeMap::from([("default".into(), profile)]),
    )
}

/// The one profile.
fn profile(user: User) -> Profile {
    const MIB: u64 = 1024 * 1024;
    Profile {
        image: "image".into(),
        user,
        read_only_root: true,
        capabilities: Vec::new(),
        network: Network::None,
        runtime: "".into(),
        limits: Limits { memory_bytes: 64 * MIB, cpu_millis: 1000, pids: 64, tmp_bytes: 16 * MIB },
        env: BTreeMap::new(),
        shells: vec!["/bin/sh".into()],
        idle_timeout: Timeout::Never,
        max_lifetime: Timeout::Never,
        stop_grace: Span::from_secs(1),
        restarts_max: 3,
        expiry: Expiry::Stop,
        stopped_retention: Timeout::Never,
        stopped_max: 0,
    }
}

/// The address of a project of the default tenant.
pub(crate) fn key(id: &str) -> ProjectKey {
    key_of("default", id)
}

/// The address of a project.
pub(crate) fn key_of(tenant: &str, id: &str) -> ProjectKey {
    ProjectKey {
        tenant: tenant.parse().expect("a valid tenant"),
        id: id.parse().expect("a valid id"),
    }
}

/// Who asks in these tests.
pub(crate) fn tester() -> Principal {
    Principal::of_default_tenant("tester")
}
