//! What a container is made with, apart from whose it is.

use sandtree_model::profile::{Network, Profile, ProfileName, User};
use sandtree_model::{Answer, Limits, SandboxUid, Settings};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::context::Context;
use crate::ports::SandboxSpec;

/// Sandboxes of one shape differ in nothing but their owner and their files, so a
/// project can be given any of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shape {
    pub(crate) profile: ProfileName,
    pub(crate) image: Box<str>,
    pub(crate) limits: Limits,
    pub(crate) network: Network,
}

impl Shape {
    /// The shape that a project's settings ask for.
    pub(crate) fn of(settings: &Settings) -> Self {
        Self {
            profile: settings.profile.clone(),
            image: settings.image.clone(),
            limits: settings.limits,
            network: settings.network,
        }
    }

    /// The shape of a project that changes nothing of its profile.
    pub(crate) fn of_profile(name: &str, profile: &Profile) -> Self {
        Self {
            profile: name.into(),
            image: profile.image.clone(),
            limits: profile.limits,
            network: profile.network,
        }
    }

    /// What the engine is told of a sandbox of this shape.
    ///
    /// # Errors
    ///
    /// When the configuration has its profile no longer.
    pub(crate) fn spec(
        &self,
        context: &Context,
        sandbox: &SandboxUid,
        owner: (u32, u32),
    ) -> Answer<SandboxSpec> {
        let profile = context.profile(&self.profile)?;
        let dir = context.sandbox_dir(sandbox);
        let etc = |name: &str| (format!("/etc/{name}").into_boxed_str(), dir.etc(name));
        // The image knows its own user.
        let files: &[&str] = if profile.user == User::Image { &[] } else { &["passwd", "group"] };
        Ok(SandboxSpec {
            sandbox: sandbox.clone(),
            image: self.image.clone(),
            user: owner,
            read_only_root: profile.read_only_root,
            capabilities: profile.capabilities.clone(),
            // A project may be older than the bound.
            network: self.network.min(context.settings.network_max),
            runtime: profile.runtime.clone(),
            limits: self.limits,
            init: context.settings.init.clone(),
            home: dir.home(),
            workspace: dir.workspace(),
            home_dir: profile.home_dir().into(),
            kept_home: (!profile.read_only_root).then(|| dir.user_home()),
            files: files.iter().copied().map(etc).collect(),
        })
    }
}

/// Tells whether two specs make the same container. The path of init is left
/// out: a newer server goes on with the init that a container was made with.
pub(crate) fn fingerprint(spec: &SandboxSpec) -> Box<str> {
    let settings = (
        (&spec.image, spec.user, spec.read_only_root, &spec.capabilities),
        (spec.network, &spec.runtime, spec.limits),
        (&spec.home_dir, spec.kept_home.is_some()),
    );
    let digest = Sha256::digest(format!("{settings:?}"));
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect::<String>().into()
}
