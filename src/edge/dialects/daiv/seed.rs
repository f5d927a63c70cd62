//! The first files of a session, from archives.

mod form;

use std::fs::File;
use std::io::{Read, Seek as _};

use sandtree_actors::FileNote;
use sandtree_model::event::FileChange;
use sandtree_workspace::{
    ArchiveError, Existing, ExtractOptions, Limits, Manner, Workspace, WorkspaceError,
    WorkspacePath, check_archive,
};
use warp::http::StatusCode;

use super::refused::Refused;
use super::session::Session;
use crate::edge::archive;
use crate::edge::context::Call;
use crate::edge::files::{note, off_thread};
use crate::edge::reply::{self, Response};

/// How an archive becomes the files of a session.
const OPTIONS: ExtractOptions = ExtractOptions {
    format: None,
    limits: Limits { bytes_max: 16 * 1024 * 1024 * 1024, entries_max: 500_000 },
    ratio_max: 200,
    existing: Existing::Replace,
    manner: Manner::Uniform,
};

/// An archive on its way, and the folder that it is for.
struct Seed {
    field: &'static str,
    folder: &'static str,
    file: File,
}

/// Puts archives into the folders of a session, once. Both are looked at before anything is
/// written.
pub(super) async fn seed(mut call: Call) -> Result<Response, Refused> {
    let place = call.context.places.archives.take()?;
    let seeds = form::receive(&mut call).await?;
    if seeds.is_empty() {
        let words = "At least one of repo_archive and skills_archive must be provided";
        return Err(Refused::said(StatusCode::UNPROCESSABLE_ENTITY, words));
    }
    // Held by what goes on when the client has gone.
    let checked = off_thread(move || check(seeds).map(|seeds| (seeds, place))).await?;
    let (seeds, place) = checked?;
    let session = Session::enter(&call).await?;
    if session.is_seeded().await? {
        return Err(Refused::said(StatusCode::CONFLICT, "Session already seeded"));
    }
    let files = session.files().await?;
    let unpacked = files.write(move |workspace| {
        let mut notes = Vec::new();
        let outcome = seeds.into_iter().try_for_each(|seed| seed.unpack(workspace, &mut notes));
        drop(place);
        (Ok(outcome), notes)
    });
    unpacked.await??;
    session.note_seeded().await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

fn check(mut seeds: Vec<Seed>) -> Result<Vec<Seed>, Refused> {
    for seed in &mut seeds {
        let checked = check_archive(&seed.file, &OPTIONS);
        checked.map_err(|error| invalid(seed.field, &error))?;
        seed.file
            .rewind()
            .map_err(|error| invalid(seed.field, &ArchiveError::Unreadable(error)))?;
    }
    Ok(seeds)
}

impl Seed {
    fn unpack(self, workspace: &Workspace, notes: &mut Vec<FileNote>) -> Result<(), Refused> {
        let folder = WorkspacePath::parse(self.folder).map_err(WorkspaceError::from);
        let unpacked = folder
            .map_err(ArchiveError::from)
            .and_then(|folder| unpack(workspace, self.file, &folder, notes));
        unpacked.map_err(|error| invalid(self.field, &error))
    }
}

/// Unpacks an archive into a folder of the workspace.
pub(super) fn unpack(
    workspace: &Workspace,
    from: impl Read,
    folder: &WorkspacePath,
    notes: &mut Vec<FileNote>,
) -> Result<(), ArchiveError> {
    // What was unpacked before a failure stays, so it is told in any case.
    notes.push(note(folder, FileChange::Written));
    workspace.archive_in(from, folder, &OPTIONS).map(drop)
}

/// What is told of an archive that cannot be taken.
pub(super) fn invalid(field: &str, error: &ArchiveError) -> Refused {
    let why = match error {
        ArchiveError::Unreadable(source) => format!("{error}: {source}"),
        ArchiveError::OverLimit { .. }
        | ArchiveError::Ratio { .. }
        | ArchiveError::BadMember { .. }
        | ArchiveError::Header { .. } => error.to_string(),
        // Not the archive's fault.
        ArchiveError::Unwritable(_) | ArchiveError::Workspace(_) => {
            return Refused::Problem(archive::problem(error));
        }
    };
    let words = format!("{field} is invalid: {why}");
    Refused::said(StatusCode::UNPROCESSABLE_ENTITY, words)
}
