//! Projects that live as long as somebody holds them: for one request, and no longer.
//!
//! What is held is deleted when the hold is dropped, however that happens. A server that
//! dies cannot do so, so each has a note in `once/` from before it is made until it is
//! gone, with the mark of the server's life in its name. The reconciler of a later life
//! deletes what the notes of earlier ones name, in whatever phase it is.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use sandtree_model::durations::Timeout;
use sandtree_model::{Answer, Fault, Principal, ProjectKey, ProjectUid};

use crate::clear_up::{Made, clear_up};
use crate::context::Context;
use crate::disk::on_disk;
use crate::ports::StoreError;
use crate::request::CreateRequest;
use crate::tree::{Tree, fresh_uid};
use crate::view::View;

/// Notes that are looked at in one go.
const NOTES_MAX: usize = 10_000;

/// A project of one request. Dropped, it is deleted with all that is in it, in the
/// background.
pub struct Once {
    tree: Tree,
    by: Principal,
    key: ProjectKey,
    uid: ProjectUid,
}

impl Once {
    /// Its address.
    #[must_use]
    pub fn key(&self) -> &ProjectKey {
        &self.key
    }
}

impl Drop for Once {
    fn drop(&mut self) {
        if tokio::runtime::Handle::try_current().is_err() {
            // The server has ended; the next one finds the note.
            return;
        }
        let made = Made::Once(self.key.clone(), self.uid.clone());
        clear_up(&self.tree, &self.by, made);
    }
}

impl Tree {
    /// Makes a project for one request and starts it. It does not idle, since whoever
    /// holds it is at work, and it stops at the latest after the request's
    /// `max_lifetime`.
    ///
    /// # Errors
    ///
    /// As [`Tree::create`].
    ///
    /// # Cancel safety
    ///
    /// What was begun goes on when its asker is gone, and is deleted as soon as it is made.
    pub async fn once(&self, by: &Principal, request: CreateRequest) -> Answer<(Once, View)> {
        let (tree, by) = (self.clone(), by.clone());
        let made = self.context().tasks.spawn(async move { tree.once_whole(&by, request).await });
        made.await.unwrap_or_else(|error| Err(Fault::Internal(error.to_string().into()).into()))
    }

    async fn once_whole(&self, by: &Principal, request: CreateRequest) -> Answer<(Once, View)> {
        let request = CreateRequest {
            start: true,
            idle_timeout: Some(Timeout::Never),
            idempotency: None,
            ..request
        };
        let uid = fresh_uid()?;
        let note = self.context().once_note(&uid);
        on_disk(move || write_down(&note)).await?;
        match self.create_with(by, request, uid.clone()).await {
            Ok((view, _)) => {
                let key = view.project.key.clone();
                Ok((Once { tree: self.clone(), by: by.clone(), key, uid }, view))
            }
            Err(failure) => {
                clear_up(self, by, Made::Perhaps { uid, has_idempotency_key: false });
                Err(failure)
            }
        }
    }
}

impl Context {
    fn once_dir(&self) -> PathBuf {
        self.settings.data_dir.join("once")
    }

    fn once_note(&self, uid: &ProjectUid) -> PathBuf {
        self.once_dir().join(format!("{uid}.{}", self.life))
    }

    /// Removes the note of a project that is gone, if it has one.
    pub(crate) async fn forget_once(&self, uid: &ProjectUid) {
        let note = self.once_note(uid);
        let forgotten = on_disk(move || forget(&note)).await;
        if let Err(failure) = forgotten {
            tracing::warn!(%failure, "a note could not be removed; the next start does it");
        }
    }
}

/// Deletes what servers before this one held.
///
/// # Errors
///
/// When the disk or the store does not answer.
pub(crate) async fn sweep(tree: &Tree) -> Answer<usize> {
    let (dir, life) = (tree.context().once_dir(), tree.context().life.clone());
    let notes = on_disk(move || left_behind(&dir, &life)).await?;
    let count = notes.len();
    for (uid, note) in notes {
        let row = tree.context().store.project_by_uid(&uid).await;
        let row = row.map_err(|StoreError(why)| Fault::StoreAway(why))?;
        if let Some(row) = row {
            let by = Principal { tenant: row.key.tenant.clone(), name: "reconciler".into() };
            // Only a note of this life is removed once it is gone, so it gets one.
            let fresh = tree.context().once_note(&uid);
            on_disk(move || fs::rename(note, fresh)).await?;
            clear_up(tree, &by, Made::Once(row.key, uid));
        } else {
            on_disk(move || forget(&note)).await?;
        }
    }
    Ok(count)
}

/// The notes that are not of this life.
fn left_behind(dir: &Path, life: &str) -> io::Result<Vec<(ProjectUid, PathBuf)>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut notes = Vec::new();
    for entry in entries.take(NOTES_MAX) {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if let Some((uid, other)) = name.split_once('.')
            && other != life
            && let Ok(uid) = uid.parse()
        {
            notes.push((uid, path));
        }
    }
    Ok(notes)
}

/// Its name says all; it is on disk before the project is.
fn write_down(note: &Path) -> io::Result<()> {
    let dir = note.parent().unwrap_or(note);
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    File::create(note)?;
    File::open(dir)?.sync_all()
}

fn forget(note: &Path) -> io::Result<()> {
    match fs::remove_file(note) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_notes_of_other_lives_are_left_behind() {
        let dir = tempfile::tempdir().unwrap();
        assert!(left_behind(&dir.path().join("none"), "1").unwrap().is_empty());
        let uid = |letter: &str| letter.repeat(20);
        for name in [format!("{}.1", uid("a")), format!("{}.2", uid("b")), "odd".into()] {
            write_down(&dir.path().join("once").join(name)).unwrap();
        }
        let left = left_behind(&dir.path().join("once"), "1").unwrap();
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].0.as_str(), uid("b"));
        forget(&left[0].1).unwrap();
        assert!(left_behind(&dir.path().join("once"), "1").unwrap().is_empty());
    }
}
