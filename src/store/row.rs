//! Rows as the database has them, and the values they stand for.

use std::collections::BTreeMap;
use std::fmt::Display;

use sandtree_actors::ports::{MoveWrite, StoreError};
use sandtree_model::project::{NewProject, Project, ProjectPatch, Settings, Texts};
use sandtree_model::{Phase, ProjectKey, ProjectUid, Transition};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A row of `projects`, column by column.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct ProjectRow {
    uid: String,
    tenant: String,
    id: String,
    phase: String,
    generation: i64,
    target: String,
    reason: String,
    settings: String,
    sandbox: String,
    owner_uid: i64,
    owner_gid: i64,
    container: Option<String>,
    process: Option<String>,
    created_at: i64,
    updated_at: i64,
    active_at: i64,
}

impl TryFrom<ProjectRow> for Project {
    type Error = StoreError;

    fn try_from(row: ProjectRow) -> Result<Self, StoreError> {
        let bad = |column: &str, why: &dyn Display| {
            let text = format!("the row of project {} has a bad {column}: {why}", row.uid);
            StoreError(text.into())
        };
        Ok(Self {
            uid: row.uid.parse().map_err(|why| bad("uid", &why))?,
            key: ProjectKey {
                tenant: row.tenant.parse().map_err(|why| bad("tenant", &why))?,
                id: row.id.parse().map_err(|why| bad("id", &why))?,
            },
            phase: row.phase.parse().map_err(|why| bad("phase", &why))?,
            generation: unsigned(row.generation),
            target: row.target.parse().map_err(|why| bad("target", &why))?,
            reason: row.reason.as_str().into(),
            settings: parse(&row.settings).map_err(|why| bad("settings", &why))?,
            sandbox: row.sandbox.parse().map_err(|why| bad("sandbox", &why))?,
            owner: (
                u32::try_from(row.owner_uid).map_err(|why| bad("owner_uid", &why))?,
                u32::try_from(row.owner_gid).map_err(|why| bad("owner_gid", &why))?,
            ),
            container: maybe(row.container.as_deref()).map_err(|why| bad("container", &why))?,
            process: maybe(row.process.as_deref()).map_err(|why| bad("process", &why))?,
            created_at: unsigned(row.created_at),
            updated_at: unsigned(row.updated_at),
            active_at: unsigned(row.active_at),
        })
    }
}

/// A row of `transitions`.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct TransitionRow {
    generation: i64,
    from_phase: Option<String>,
    #[sqlx(rename = "move")]
    by: Option<String>,
    to_phase: String,
    reason: String,
    principal: String,
    at: i64,
}

impl TryFrom<TransitionRow> for Transition {
    type Error = StoreError;

    fn try_from(row: TransitionRow) -> Result<Self, StoreError> {
        let bad = |_| StoreError("a row of transitions has a word that is not known".into());
        Ok(Self {
            generation: unsigned(row.generation),
            from: row.from_phase.map(|word| word.parse()).transpose().map_err(bad)?,
            by: row.by.map(|word| word.parse()).transpose().map_err(bad)?,
            to: row.to_phase.parse().map_err(bad)?,
            reason: row.reason.into(),
            principal: row.principal.into(),
            at: unsigned(row.at),
        })
    }
}

/// All rows, or the first that cannot be read.
pub(super) fn all<R, T: TryFrom<R, Error = StoreError>>(
    rows: Vec<R>,
) -> Result<Vec<T>, StoreError> {
    rows.into_iter().map(T::try_from).collect()
}

/// Moves as one JSON array, each an array of what `Each::moves` counts on:
/// uid, generation, move, phase, target, reason, whether the container changes,
/// container, principal, time.
pub(super) fn moves<'a>(
    moves: impl IntoIterator<Item = &'a MoveWrite>,
) -> Result<String, StoreError> {
    let mut rows = Vec::new();
    for write in moves {
        let container = write.container.as_ref().map(|container| match container {
            Some(container) => json(container).map(Some),
            None => Ok(None),
        });
        let container = container.transpose()?;
        rows.push((
            &write.uid,
            signed(write.generation),
            write.by,
            write.to,
            write.target,
            clean(&write.reason),
            u8::from(container.is_some()),
            container.flatten(),
            clean(&write.principal),
            signed(write.at),
        ));
    }
    json(&rows)
}

/// Times of activity as one JSON array of `[uid, at]`, the latest of each project.
pub(super) fn activity(times: &[(ProjectUid, u64)]) -> Result<String, StoreError> {
    let mut latest = BTreeMap::new();
    for (uid, at) in times {
        let kept = latest.entry(uid).or_insert(*at);
        *kept = (*at).max(*kept);
    }
    json(&latest.into_iter().collect::<Vec<_>>())
}

/// New projects with their owners as one JSON array, each an array of what
/// `Each::projects_add` counts on: uid, tenant, id, phase, target, settings,
/// sandbox, owner, group, time, principal, container.
pub(super) fn projects<'a>(
    new: impl IntoIterator<Item = (&'a NewProject, (u32, u32))>,
) -> Result<String, StoreError> {
    let mut rows = Vec::new();
    for (new, (owner_uid, owner_gid)) in new {
        rows.push((
            &new.uid,
            &new.key.tenant,
            &new.key.id,
            Phase::Creating,
            new.target,
            json(&new.settings)?,
            &new.sandbox,
            owner_uid,
            owner_gid,
            signed(new.at),
            clean(&new.principal),
            new.container.as_ref().map(json).transpose()?,
            clean(&new.settings.profile),
        ));
    }
    json(&rows)
}

/// Labels of projects as one JSON array of `[tenant, name, value, id, uid]`, if
/// there are any.
pub(super) fn labels<'a>(
    projects: impl IntoIterator<Item = &'a Project>,
) -> Result<Option<String>, StoreError> {
    let mut rows = Vec::new();
    for Project { uid, key, settings, .. } in projects {
        for (name, value) in &settings.labels {
            rows.push((&key.tenant, clean(name), clean(value), &key.id, uid));
        }
    }
    if rows.is_empty() { Ok(None) } else { json(&rows).map(Some) }
}

/// Values as one JSON array of arrays of one.
pub(super) fn singles<T: Serialize>(
    values: impl IntoIterator<Item = T>,
) -> Result<String, StoreError> {
    json(&values.into_iter().map(|value| [value]).collect::<Vec<_>>())
}

/// Settings with the changes of `patch`.
pub(super) fn patched(mut settings: Settings, patch: &ProjectPatch) -> Settings {
    let ProjectPatch { image, env, labels, limits, idle_timeout, max_lifetime, at: _ } = patch;
    if let Some(image) = image {
        settings.image.clone_from(image);
    }
    if let Some(env) = env {
        settings.env.clone_from(env);
    }
    if let Some(labels) = labels {
        settings.labels.clone_from(labels);
    }
    settings.limits = limits.unwrap_or(settings.limits);
    settings.idle_timeout = idle_timeout.unwrap_or(settings.idle_timeout);
    settings.max_lifetime = max_lifetime.unwrap_or(settings.max_lifetime);
    settings
}

/// What may stay of the settings of a deleted project: nothing that a tenant
/// wrote, because it may be secret.
pub(super) fn scrubbed(settings: Settings) -> Settings {
    Settings { env: Texts::new(), labels: Texts::new(), ..settings }
}

/// A value as JSON text.
pub(super) fn json<T: Serialize + ?Sized>(value: &T) -> Result<String, StoreError> {
    let unwritable = |why| StoreError(format!("a value cannot be written as JSON: {why}").into());
    serde_json::to_string(value).map_err(unwritable)
}

/// A number for the database, which has no unsigned ones.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

fn parse<T: DeserializeOwned>(text: &str) -> Result<T, serde_json::Error> {
    serde_json::from_str(text)
}

fn maybe<T: DeserializeOwned>(text: Option<&str>) -> Result<Option<T>, serde_json::Error> {
    text.map(parse).transpose()
}

/// Without NUL, which databases do not keep in texts.
fn clean(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}
