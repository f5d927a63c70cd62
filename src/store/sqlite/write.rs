//! A batch of writes within one transaction.
//!
//! Each write looks before it changes anything, and nobody else writes, so a
//! write that is refused has nothing to undo and needs no savepoint. An error of
//! the database undoes the whole batch.

use std::collections::{HashMap, HashSet};

use sandtree_actors::ports::{MoveWrite, StoreError, Write, Written};
use sandtree_model::project::{Idempotency, NewProject, Project, ProjectPatch};
use sandtree_model::{Phase, ProcessRecord, ProjectUid};
use sqlx::SqliteConnection;

use super::super::OwnerRange;
use super::super::row::{self, ProjectRow, signed};
use super::super::sql;
use super::ProjectQuery;
use super::error::fault;

/// The key in `meta` of the number that the next owner gets.
const NEXT_OWNER: &str = "next_owner";

/// Does every write of the batch, in order.
pub(super) async fn all(
    connection: &mut SqliteConnection,
    batch: &[Write],
    owners: OwnerRange,
) -> Result<Vec<Written>, StoreError> {
    let mut written = Vec::with_capacity(batch.len());
    let mut rest = batch;
    while !rest.is_empty() {
        let moves = leading_moves(rest);
        if moves.is_empty() {
            written.push(one(connection, &rest[0], owners).await?);
            rest = &rest[1..];
        } else {
            written.extend(move_all(connection, &moves).await?);
            rest = &rest[moves.len()..];
        }
    }
    Ok(written)
}

/// The moves that `writes` begins with, as far as each is of another project:
/// these can be one statement.
fn leading_moves(writes: &[Write]) -> Vec<&MoveWrite> {
    let mut seen = HashSet::new();
    let moves = writes.iter().map_while(|write| match write {
        Write::Move(write) => Some(&**write),
        Write::Create(_)
        | Write::Patch(..)
        | Write::Process(..)
        | Write::Activity(_)
        | Write::ReserveOwner => None,
    });
    moves.take_while(|write| seen.insert(&write.uid)).collect()
}

async fn one(
    connection: &mut SqliteConnection,
    write: &Write,
    owners: OwnerRange,
) -> Result<Written, StoreError> {
    match write {
        Write::Create(new) => create(connection, new, owners).await,
        Write::Move(write) => {
            let mut written = move_all(connection, &[write]).await?;
            Ok(written.pop().unwrap_or(Written::Stale))
        }
        Write::Patch(uid, change) => patch(connection, uid, change).await,
        Write::Process(uid, record) => process(connection, uid, record.as_deref()).await,
        Write::Activity(times) => {
            let query = sqlx::query(sql::ACTIVITY).bind(row::activity(times)?);
            query.execute(connection).await.map_err(|why| fault(&why))?;
            Ok(Written::Done)
        }
        Write::ReserveOwner => {
            let owner = next_owner(connection, owners).await?;
            Ok(owner.map_or(Written::NoOwnerLeft, Written::Owner))
        }
    }
}

/// Moves of projects that differ, in two statements however many they are.
async fn move_all(
    connection: &mut SqliteConnection,
    moves: &[&MoveWrite],
) -> Result<Vec<Written>, StoreError> {
    let rows = row::moves(moves)?;
    let log = sqlx::query(sql::MOVES_LOG).bind(rows.clone());
    log.execute(&mut *connection).await.map_err(|why| fault(&why))?;
    let query: ProjectQuery = sqlx::query_as(sql::MOVES).bind(rows);
    let moved = query.fetch_all(&mut *connection).await.map_err(|why| fault(&why))?;
    let mut projects = HashMap::with_capacity(moved.len());
    for moved in moved {
        let mut project = Project::try_from(moved)?;
        if project.phase == Phase::Deleted {
            project = scrub(connection, project).await?;
        }
        projects.insert(project.uid.clone(), project);
    }
    let outcome = |write: &&MoveWrite| match projects.remove(&write.uid) {
        Some(project) => Written::Row(Box::new(project)),
        None => Written::Stale,
    };
    Ok(moves.iter().map(outcome).collect())
}

/// Leaves of a deleted project what its log and its uid need.
async fn scrub(connection: &mut SqliteConnection, project: Project) -> Result<Project, StoreError> {
    drop_labels(connection, &project.uid).await?;
    let settings = row::json(&row::scrubbed(project.settings))?;
    let query = sqlx::query_as(sql::SCRUB).bind(project.uid.to_string()).bind(settings);
    changed(connection, query).await?.ok_or_else(vanished)
}

async fn create(
    connection: &mut SqliteConnection,
    new: &NewProject,
    owners: OwnerRange,
) -> Result<Written, StoreError> {
    if let Some(idempotency) = &new.idempotency
        && let Some(earlier) = earlier_request(connection, new, idempotency).await?
    {
        return Ok(earlier);
    }
    let by_key = sqlx::query_as(sql::PROJECT_BY_KEY)
        .bind(new.key.tenant.to_string())
        .bind(new.key.id.to_string());
    if let Some(taker) = changed(connection, by_key).await? {
        // The same uid is this very write, repeated after its outcome was lost.
        let is_repeated = taker.uid == new.uid;
        let taker = Box::new(taker);
        return Ok(if is_repeated { Written::Repeated(taker) } else { Written::Taken(taker) });
    }
    let owner = match new.owner {
        Some(owner) => owner,
        None => match next_owner(connection, owners).await? {
            Some(number) => (number, number),
            None => return Ok(Written::NoOwnerLeft),
        },
    };
    insert(connection, new, owner).await.map(|project| Written::Row(Box::new(project)))
}

/// What an earlier request with the same idempotency key came to.
async fn earlier_request(
    connection: &mut SqliteConnection,
    new: &NewProject,
    idempotency: &Idempotency,
) -> Result<Option<Written>, StoreError> {
    let query = sqlx::query_as::<_, (String, Vec<u8>)>(sql::IDEMPOTENCY)
        .bind(new.key.tenant.to_string())
        .bind(idempotency.key.to_string());
    let earlier = query.fetch_optional(&mut *connection).await.map_err(|why| fault(&why))?;
    let Some((uid, request_sha256)) = earlier else { return Ok(None) };
    if request_sha256 != idempotency.request_sha256 {
        return Ok(Some(Written::KeyReused));
    }
    let query = sqlx::query_as(sql::PROJECT_BY_UID).bind(uid);
    let project = changed(connection, query).await?.ok_or_else(vanished)?;
    if project.phase != Phase::Deleted {
        return Ok(Some(Written::Repeated(Box::new(project))));
    }
    // A promise lasts as long as its project: what could not be made, or was
    // deleted since, can be asked for again.
    let query = sqlx::query(sql::IDEMPOTENCY_REMOVE)
        .bind(new.key.tenant.to_string())
        .bind(idempotency.key.to_string());
    query.execute(connection).await.map_err(|why| fault(&why))?;
    Ok(None)
}

/// The next number of the range: the one after the last that was given, or,
/// once all were, the next that nothing belongs to any more.
async fn next_owner(
    connection: &mut SqliteConnection,
    owners: OwnerRange,
) -> Result<Option<u32>, StoreError> {
    let (first, end) = (i64::from(owners.first), owners.end());
    let query = sqlx::query_scalar::<_, String>(sql::META).bind(NEXT_OWNER);
    let next = query.fetch_optional(&mut *connection).await.map_err(|why| fault(&why))?;
    let next = next.and_then(|text| text.parse().ok()).unwrap_or(first).max(first);
    let mut owner = free_owner(connection, next, end).await?;
    if owner.is_none() {
        owner = free_owner(connection, first, end).await?;
    }
    let Some(owner) = owner else { return Ok(None) };
    let query = sqlx::query(sql::META_SET).bind(NEXT_OWNER).bind((owner + 1).to_string());
    query.execute(connection).await.map_err(|why| fault(&why))?;
    Ok(u32::try_from(owner).ok())
}

async fn free_owner(
    connection: &mut SqliteConnection,
    from: i64,
    end: i64,
) -> Result<Option<i64>, StoreError> {
    if from >= end {
        return Ok(None);
    }
    let query = sqlx::query_scalar::<_, i64>(sql::OWNER_IN_USE).bind(from);
    if query.fetch_optional(&mut *connection).await.map_err(|why| fault(&why))?.is_none() {
        return Ok(Some(from));
    }
    let query = sqlx::query_scalar::<_, i64>(sql::OWNER_AFTER).bind(from).bind(end);
    query.fetch_optional(connection).await.map_err(|why| fault(&why))
}

async fn insert(
    connection: &mut SqliteConnection,
    new: &NewProject,
    (owner_uid, owner_gid): (u32, u32),
) -> Result<Project, StoreError> {
    let (uid, at) = (new.uid.to_string(), signed(new.at));
    let query = sqlx::query_as(sql::PROJECT_ADD)
        .bind(uid.clone())
        .bind(new.key.tenant.to_string())
        .bind(new.key.id.to_string())
        .bind(Phase::Creating.as_str())
        .bind(new.target.as_str())
        .bind(row::json(&new.settings)?)
        .bind(new.sandbox.to_string())
        .bind(i64::from(owner_uid))
        .bind(i64::from(owner_gid))
        .bind(at)
        .bind(new.container.as_ref().map(row::json).transpose()?);
    let project = changed(connection, query).await?.ok_or_else(vanished)?;
    let query = sqlx::query(sql::TRANSITION_ADD)
        .bind(uid.clone())
        .bind(Phase::Creating.as_str())
        .bind(new.principal.replace('\0', "\u{fffd}"))
        .bind(at);
    query.execute(&mut *connection).await.map_err(|why| fault(&why))?;
    add_labels(connection, &project).await?;
    if let Some(Idempotency { key, request_sha256 }) = &new.idempotency {
        let query = sqlx::query(sql::IDEMPOTENCY_ADD)
            .bind(new.key.tenant.to_string())
            .bind(key.to_string())
            .bind(uid)
            .bind(request_sha256.to_vec())
            .bind(at);
        query.execute(connection).await.map_err(|why| fault(&why))?;
    }
    Ok(project)
}

async fn patch(
    connection: &mut SqliteConnection,
    uid: &ProjectUid,
    patch: &ProjectPatch,
) -> Result<Written, StoreError> {
    let query = sqlx::query_as(sql::PROJECT_BY_UID).bind(uid.to_string());
    let Some(project) = changed(connection, query).await? else { return Ok(Written::Stale) };
    let settings = row::patched(project.settings, patch);
    let query = sqlx::query_as(sql::SETTINGS)
        .bind(uid.to_string())
        .bind(row::json(&settings)?)
        .bind(signed(patch.at));
    let Some(project) = changed(connection, query).await? else { return Ok(Written::Stale) };
    if patch.labels.is_some() {
        drop_labels(connection, uid).await?;
        add_labels(connection, &project).await?;
    }
    Ok(Written::Row(Box::new(project)))
}

async fn process(
    connection: &mut SqliteConnection,
    uid: &ProjectUid,
    record: Option<&ProcessRecord>,
) -> Result<Written, StoreError> {
    let record = record.map(row::json).transpose()?;
    let query = sqlx::query_as(sql::PROCESS).bind(uid.to_string()).bind(record);
    let project = changed(connection, query).await?;
    Ok(project.map_or(Written::Stale, |project| Written::Row(Box::new(project))))
}

async fn add_labels(
    connection: &mut SqliteConnection,
    project: &Project,
) -> Result<(), StoreError> {
    if project.settings.labels.is_empty() {
        return Ok(());
    }
    let query = sqlx::query(sql::LABELS_ADD)
        .bind(row::labels(&project.settings.labels)?)
        .bind(project.key.tenant.to_string())
        .bind(project.key.id.to_string())
        .bind(project.uid.to_string());
    query.execute(connection).await.map_err(|why| fault(&why)).map(drop)
}

async fn drop_labels(
    connection: &mut SqliteConnection,
    uid: &ProjectUid,
) -> Result<(), StoreError> {
    let query = sqlx::query(sql::LABELS_DROP).bind(uid.to_string());
    query.execute(connection).await.map_err(|why| fault(&why)).map(drop)
}

/// The project that a query shows or has changed, if there is one.
async fn changed(
    connection: &mut SqliteConnection,
    query: ProjectQuery,
) -> Result<Option<Project>, StoreError> {
    let row: Option<ProjectRow> =
        query.fetch_optional(connection).await.map_err(|why| fault(&why))?;
    row.map(Project::try_from).transpose()
}

fn vanished() -> StoreError {
    StoreError("the database lost a row within one transaction".into())
}
