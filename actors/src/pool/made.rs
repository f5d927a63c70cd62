//! How a sandbox gets into the pool, and out of it unused.

use std::io;
use std::path::Path;
use std::sync::Arc;

use sandtree_model::project::Container;
use sandtree_model::{Answer, Fault, SandboxUid};
use serde::{Deserialize, Serialize};

use crate::container::engine_fault;
use crate::context::Context;
use crate::disk::on_disk;
use crate::files::{open_workspace, remove_sandbox_dir};
use crate::home::{Home, OpenHome};
use crate::link::Link;
use crate::ports::{ContainerState, Seen, StoreError, Write, Written};
use crate::shape::{Shape, fingerprint};
use crate::tree::opaque;

/// Notes of one directory that are looked at.
const NOTES_MAX: usize = 10_000;

/// What is written down of a pooled sandbox before it is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Note {
    pub(crate) sandbox: SandboxUid,
    pub(crate) shape: Shape,
    /// Owner of its workspace; 0 until it has one.
    pub(crate) owner: (u32, u32),
}

/// A sandbox that waits to be claimed.
pub(crate) struct Warm {
    pub(crate) note: Note,
    pub(crate) container: Container,
    pub(crate) home: OpenHome,
    pub(crate) link: Arc<Link>,
}

impl Warm {
    /// Whether its init is there.
    pub(crate) fn is_linked(&self) -> bool {
        !self.link.is_closed()
    }
}

/// A note of a sandbox that is to be made.
pub(super) fn fresh(shape: Shape) -> Answer<Note> {
    let sandbox = opaque("")?.parse();
    let sandbox = sandbox.map_err(|_| Fault::Internal("a fresh id is no id".into()))?;
    Ok(Note { sandbox, shape, owner: (0, 0) })
}

/// Makes and starts a sandbox. What cannot be finished is removed again.
pub(super) async fn make(context: &Context, mut note: Note) -> Answer<Warm> {
    let began = tokio::time::Instant::now();
    note.owner = reserve_owner(context, &note.shape).await?;
    let (path, text) = (context.pool_note(&note.sandbox), written(&note)?);
    on_disk(move || write_down(&path, &text)).await?;
    let made = started(context, &note).await;
    if made.is_err()
        && let Err(failure) = discard(context, &note).await
    {
        tracing::warn!(sandbox = %note.sandbox, %failure, "half a sandbox is left to be swept");
    }
    metrics::histogram!("sandtree_pool_fill_seconds").record(began.elapsed());
    made
}

/// Takes over a sandbox that an earlier pool has made. One that is of no use any
/// more is removed.
pub(super) async fn take_over(context: &Context, note: Note) -> Answer<Warm> {
    let found = found(context, &note).await;
    if found.is_err() {
        discard(context, &note).await?;
    }
    found
}

/// Removes the container, the files, and at last the note.
pub(super) async fn discard(context: &Context, note: &Note) -> Answer<()> {
    let engine = &context.engine;
    let seen = context.on_engine(engine.inspect(&note.sandbox)).await.map_err(engine_fault)?;
    if let Some(seen) = seen {
        context.on_engine(engine.remove(&seen.container)).await.map_err(engine_fault)?;
    }
    let (data_dir, sandbox) = (context.settings.data_dir.clone(), note.sandbox.clone());
    let path = context.pool_note(&note.sandbox);
    on_disk(move || {
        remove_sandbox_dir(&data_dir, &sandbox, false).map_err(io::Error::other)?;
        forget(&path);
        Ok(())
    })
    .await
}

/// The notes of sandboxes that belong to no project.
pub(super) async fn left_behind(context: &Context) -> Answer<Vec<Note>> {
    let dir = context.pool_dir();
    let notes = on_disk(move || read_notes(&dir)).await?;
    let sandboxes: Vec<SandboxUid> = notes.iter().map(|note| note.sandbox.clone()).collect();
    let owned = context.store.owned(&sandboxes).await;
    let owned = owned.map_err(|StoreError(why)| Fault::StoreAway(why))?;
    let (claimed, left): (Vec<Note>, _) =
        notes.into_iter().partition(|note| owned.contains(&note.sandbox));
    for note in claimed {
        // It became a project's just before the server ended.
        let path = context.pool_note(&note.sandbox);
        on_disk(move || {
            forget(&path);
            Ok(())
        })
        .await?;
    }
    Ok(left)
}

/// Removes a note.
pub(super) fn forget(path: &Path) {
    if let Err(error) = std::fs::remove_file(path) {
        tracing::debug!(%error, path = %path.display(), "no note to remove");
    }
}

async fn reserve_owner(context: &Context, shape: &Shape) -> Answer<(u32, u32)> {
    let profile = context.profile(&shape.profile)?;
    if let Some(owner) = context.owner_of(profile, &shape.image).await? {
        return Ok(owner);
    }
    if let Written::Owner(number) = context.write(None, Write::ReserveOwner).await? {
        return Ok((number, number));
    }
    Err(Fault::StoreAway("the range of uids for sandboxes is used up".into()).into())
}

async fn started(context: &Context, note: &Note) -> Answer<Warm> {
    let spec = note.shape.spec(context, &note.sandbox, note.owner)?;
    let (dir, owner) = (context.sandbox_dir(&note.sandbox), note.owner);
    let (root, mounted) = (dir.root().to_owned(), spec.clone());
    on_disk(move || {
        dir.prepare(&mounted)?;
        open_workspace(&dir, owner).map(drop).map_err(io::Error::other)
    })
    .await?;
    let home = open_home(context, &root)?;
    context.engine.ensure_image(&spec.image).await.map_err(engine_fault)?;
    let created = context.on_engine(context.engine.create(&spec)).await;
    let id = created.map_err(engine_fault)?;
    let renewing = Arc::clone(&home.home);
    on_disk(move || renewing.renew_token(owner)).await?;
    context.on_engine(context.engine.start(&id)).await.map_err(engine_fault)?;
    linked(context, note, home, fingerprint(&spec)).await
}

async fn found(context: &Context, note: &Note) -> Answer<Warm> {
    let spec = note.shape.spec(context, &note.sandbox, note.owner)?;
    let profile = context.profile(&note.shape.profile)?;
    if note.shape != Shape::of_profile(&note.shape.profile, profile) {
        return Err(Fault::Sandbox("its profile has changed".into()).into());
    }
    if running(context, note).await?.is_none() {
        return Err(Fault::Sandbox("it does not run any more".into()).into());
    }
    let root = context.sandbox_dir(&note.sandbox).root().to_owned();
    let home = open_home(context, &root)?;
    linked(context, note, home, fingerprint(&spec)).await
}

fn open_home(context: &Context, root: &Path) -> Answer<OpenHome> {
    let opened = OpenHome::open(root, context.settings.home_bounds());
    Ok(opened.map_err(|error| Fault::Disk(error.to_string().into()))?)
}

/// Waits until init has dialled home, and makes sure that it is the right one.
async fn linked(
    context: &Context,
    note: &Note,
    home: OpenHome,
    made_with: Box<str>,
) -> Answer<Warm> {
    let limit = context.settings.boot_timeout;
    let timed_out = |_| Fault::TimedOut { what: "the pooled sandbox's init".into(), limit };
    let link = tokio::time::timeout(limit, home.home.link()).await.map_err(timed_out)??;
    let Some(seen) = running(context, note).await? else {
        return Err(Fault::Sandbox("it ended as soon as it was started".into()).into());
    };
    context.check_identity(&note.shape.profile, &home.home, seen.init_pid)?;
    Home::vouch(&home.home, &link);
    let started_at = context.clock.now();
    let container = Container { id: seen.container, made_with, started_at };
    Ok(Warm { note: note.clone(), container, home, link })
}

async fn running(context: &Context, note: &Note) -> Answer<Option<Seen>> {
    let seen = context.on_engine(context.engine.inspect(&note.sandbox)).await;
    let seen = seen.map_err(engine_fault)?;
    Ok(seen.filter(|seen| seen.state == ContainerState::Running))
}

fn written(note: &Note) -> Answer<Vec<u8>> {
    Ok(serde_json::to_vec(note).map_err(|error| Fault::Internal(error.to_string().into()))?)
}

/// Whole or not at all after a crash; what a power cut takes took the sandbox, too.
fn write_down(path: &Path, text: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("new");
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    std::fs::write(&fresh, text)?;
    std::fs::rename(fresh, path)
}

fn read_notes(dir: &Path) -> io::Result<Vec<Note>> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut notes = Vec::new();
    for entry in entries.take(NOTES_MAX) {
        let path = entry?.path();
        if path.extension().is_some() {
            // Not renamed yet when the server ended: nothing was made of it.
            forget(&path);
            continue;
        }
        match std::fs::read(&path).map(|text| serde_json::from_slice(&text)) {
            Ok(Ok(note)) => notes.push(note),
            Ok(Err(error)) => {
                tracing::warn!(%error, path = %path.display(), "a note of the pool is not whole");
                forget(&path);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(notes)
}
