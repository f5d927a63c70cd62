//! What can be asked of the tree, checked before anything is done.

use sandtree_model::durations::Timeout;
use sandtree_model::limits::OutOfRange;
use sandtree_model::project::{
    ENV_BYTES_MAX, ENV_ENTRIES_MAX, Idempotency, LABEL_BYTES_MAX, LABELS_MAX, Texts, TextsPatch,
    patched,
};
use sandtree_model::{
    Limits, LimitsPatch, Network, Profile, ProjectId, ProjectPatch, Refusal, Settings,
};

/// What a new project is to be; what is absent comes from its profile.
#[derive(Debug, Clone, Default)]
pub struct CreateRequest {
    /// Its id; absent: a fresh one.
    pub id: Option<ProjectId>,
    /// See [`sandtree_model::Settings`].
    pub name: Option<Box<str>>,
    /// Absent: the profile `default`.
    pub profile: Option<Box<str>>,
    /// See [`sandtree_model::Settings`].
    pub image: Option<Box<str>>,
    /// Added to the profile's.
    pub env: Texts,
    /// The tenant's own notes.
    pub labels: Texts,
    /// Changes to the profile's.
    pub limits: LimitsPatch,
    /// See [`sandtree_model::Settings`].
    pub network: Option<Network>,
    /// See [`sandtree_model::Settings`].
    pub idle_timeout: Option<Timeout>,
    /// See [`sandtree_model::Settings`].
    pub max_lifetime: Option<Timeout>,
    /// Whether it is started at once.
    pub start: bool,
    /// Makes a repeated request find the first one's project.
    pub idempotency: Option<Idempotency>,
}

/// A change of a project; what is absent stays.
#[derive(Debug, Clone, Default)]
pub struct PatchRequest {
    /// Replaces the image from the next start on.
    pub image: Option<Box<str>>,
    /// Changes the environment; programs started from now on see it.
    pub env: TextsPatch,
    /// Changes the labels.
    pub labels: TextsPatch,
    /// Changes the limits from the next start on.
    pub limits: LimitsPatch,
    /// Replaces the idle timeout.
    pub idle_timeout: Option<Timeout>,
    /// Replaces the maximum lifetime.
    pub max_lifetime: Option<Timeout>,
}

impl PatchRequest {
    /// What it makes of the settings as they are.
    pub(crate) fn of(self, now: &Settings, at: u64) -> Result<ProjectPatch, Refusal> {
        let texts = |texts: &Texts, patch: TextsPatch| {
            (!patch.is_empty()).then(|| patched(texts.clone(), patch))
        };
        let (env, labels) = (texts(&now.env, self.env), texts(&now.labels, self.labels));
        self.image.as_deref().map_or(Ok(()), check_image)?;
        env.as_ref().map_or(Ok(()), check_env)?;
        labels.as_ref().map_or(Ok(()), check_labels)?;
        Ok(ProjectPatch {
            image: self.image,
            env,
            labels,
            limits: Some(check_limits(now.limits.with(self.limits))?),
            idle_timeout: self.idle_timeout,
            max_lifetime: self.max_lifetime,
            at,
        })
    }
}

/// Longest name of an image, in bytes.
const IMAGE_BYTES_MAX: usize = 255;

impl CreateRequest {
    /// The settings of the new project.
    pub(crate) fn settings(
        &self,
        name: &str,
        profile: &Profile,
        network_max: Network,
    ) -> Result<Settings, Refusal> {
        let image = self.image.clone().unwrap_or_else(|| profile.image.clone());
        check_image(&image)?;
        let mut env = profile.env.clone();
        env.extend(self.env.clone());
        check_env(&env)?;
        check_labels(&self.labels)?;
        Ok(Settings {
            name: self.name.clone(),
            profile: name.into(),
            image,
            env,
            labels: self.labels.clone(),
            limits: check_limits(profile.limits.with(self.limits))?,
            network: self.network.unwrap_or(profile.network).min(network_max),
            idle_timeout: self.idle_timeout.unwrap_or(profile.idle_timeout),
            max_lifetime: self.max_lifetime.unwrap_or(profile.max_lifetime),
        })
    }
}

pub(crate) fn check_image(image: &str) -> Result<(), Refusal> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-/:@".contains(c);
    let is_good = (1..=IMAGE_BYTES_MAX).contains(&image.len())
        && image.starts_with(|c: char| c.is_ascii_alphanumeric())
        && image.chars().all(is_plain)
        && !image.contains("..");
    if is_good {
        return Ok(());
    }
    Err(Refusal::invalid("image", "must be the name of an image, like \"python:3.11-slim\""))
}

pub(crate) fn check_limits(limits: Limits) -> Result<Limits, Refusal> {
    let refuse =
        |wrong: OutOfRange| Refusal::invalid(format!("limits.{}", wrong.field), wrong.to_string());
    limits.check().map(|()| limits).map_err(refuse)
}

pub(crate) fn check_env(env: &Texts) -> Result<(), Refusal> {
    let bytes: usize = env.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
    if env.len() > ENV_ENTRIES_MAX || bytes > ENV_BYTES_MAX {
        let problem =
            format!("has at most {ENV_ENTRIES_MAX} variables and {ENV_BYTES_MAX} bytes in all");
        return Err(Refusal::invalid("env", problem));
    }
    for (name, value) in env {
        let is_name = !name.is_empty() && !name.contains(['=', '\0']);
        if !is_name || value.contains('\0') {
            let problem = "has names without \"=\" and no NUL anywhere";
            return Err(Refusal::invalid(format!("env.{name}"), problem));
        }
    }
    Ok(())
}

pub(crate) fn check_labels(labels: &Texts) -> Result<(), Refusal> {
    let fits = |text: &str| text.len() <= LABEL_BYTES_MAX && !text.contains('\0');
    let is_good = labels.len() <= LABELS_MAX
        && labels.iter().all(|(name, value)| !name.is_empty() && fits(name) && fits(value));
    if is_good {
        return Ok(());
    }
    let problem =
        format!("has at most {LABELS_MAX} labels of at most {LABEL_BYTES_MAX} bytes a side");
    Err(Refusal::invalid("labels", problem))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_names_and_nothing_else() {
        for good in ["a", "python:3.11-slim", "host.example:5000/a/b@sha256:0"] {
            assert!(check_image(good).is_ok(), "{good}");
        }
        for bad in ["", "../x", "a/../b", "-v", "a b", "a?x=1", "\u{e9}"] {
            assert!(check_image(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_environment_has_names_and_an_end() {
        let one = |name: &str, value: &str| Texts::from([(name.into(), value.into())]);
        assert!(check_env(&one("A", "b=c")).is_ok());
        for bad in [one("", "x"), one("A=B", "x"), one("A", "\0"), one("A", &"x".repeat(70_000))] {
            assert!(check_env(&bad).is_err());
        }
    }
}
