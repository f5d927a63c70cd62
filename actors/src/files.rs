//! The files of a project: reads go straight to the disk, writes go through the
//! file-writer, both confined by the kernel in `sandtree-workspace`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ractor::ActorRef;
use sandtree_model::event::FileChange;
use sandtree_model::{Answer, Event, Failure, Fault, SandboxUid};
use sandtree_workspace::{Owner, Recursive, Workspace, WorkspaceError, WorkspacePath};
use tokio::sync::oneshot;

use crate::crash::{self, Point};
use crate::disk::{Aside, blocking};
use crate::file_writer::FileWriterMsg;
use crate::layout::SandboxDir;
use crate::live::Busy;
use crate::project::ProjectMsg;
use crate::tree::Places;

/// What is older than this in the trash is not being removed by anybody.
const TRASH_KEPT: Duration = Duration::from_secs(600);

/// The files of one project. While the handle lives, the project counts as active.
#[derive(Clone)]
pub struct Files {
    pub(crate) workspace: Arc<Aside<Workspace>>,
    pub(crate) project: ActorRef<ProjectMsg>,
    pub(crate) busy: Arc<Busy>,
    /// A write that waits is a request in flight, and bounded as such until it is done:
    /// whoever asked for it may be gone before.
    places: Arc<Places>,
}

/// What the event log shows of a write.
#[derive(Debug, Clone)]
pub struct FileNote {
    /// Relative to the workspace.
    pub path: Box<str>,
    /// What was done.
    pub change: FileChange,
}

/// Why a write did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The files say no.
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
    /// The write was not done.
    #[error(transparent)]
    Failure(#[from] Failure),
}

impl Files {
    /// For reads, which are direct; call it where blocking is allowed.
    #[must_use]
    pub fn workspace(&self) -> &Arc<Aside<Workspace>> {
        &self.workspace
    }

    /// Does one write after all earlier ones of this project, on a thread where
    /// blocking is allowed. The notes are what the event log shows of it.
    ///
    /// # Errors
    ///
    /// What `work` returned, or a fault when it was not run.
    ///
    /// # Cancel safety
    ///
    /// A write that has been handed over is done even if nobody waits for it.
    pub async fn write<T, F>(&self, work: F) -> Result<T, WriteError>
    where
        T: Send + 'static,
        F: FnOnce(&Workspace) -> (Result<T, WorkspaceError>, Vec<FileNote>) + Send + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        let (workspace, busy) = (Arc::clone(&self.workspace), Arc::clone(&self.busy));
        let places = Arc::clone(&self.places);
        let job = Box::new(move || {
            let _places = places;
            let (outcome, notes) = work(&workspace);
            for FileNote { path, change } in notes {
                busy.live().tell(Event::FileChanged { path, change });
            }
            // Who gave up finds the file as it is.
            let _ = sender.send(outcome);
        });
        let sent = self.project.cast(ProjectMsg::Files(FileWriterMsg::Write(job)));
        let gone = || {
            Failure::from(Fault::Internal("the file-writer is being restarted; try again".into()))
        };
        sent.map_err(|_| gone())?;
        let outcome = receiver.await.map_err(|_| gone())?;
        crash::at(Point::FileWritten).await;
        Ok(outcome?)
    }
}

/// Makes the workspace's directories if need be, and opens them.
pub(crate) fn open_workspace(
    dir: &SandboxDir,
    (uid, gid): (u32, u32),
) -> Result<Workspace, WorkspaceError> {
    Workspace::create(&dir.workspace(), &dir.staging(), Owner { uid, gid })
}

/// Removes what a deleted project leaves on the disk. The workspace's content is
/// hostile, and may be nested deeper than a recursion can go: the whole directory
/// is renamed into the trash in one step, and taken apart there by descriptors.
pub(crate) fn remove_sandbox_dir(
    data_dir: &Path,
    sandbox: &SandboxUid,
    keep_files: bool,
) -> Result<(), WorkspaceError> {
    let sandboxes = sandboxes(data_dir)?;
    let parts: &[&str] = if keep_files {
        &["/staging", "/home", "/log", "/etc", "/user", "/screen", "/init.sha256"]
    } else {
        &[""]
    };
    for part in parts {
        let path = WorkspacePath::parse(&format!("{sandbox}{part}"))?;
        match sandboxes.remove(&path, Recursive::Yes) {
            Ok(()) | Err(WorkspaceError::NotFound) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Removes what an earlier removal left in the trash, such as what a process that
/// was being killed had still kept alive.
pub(crate) fn sweep_trash(data_dir: &Path) -> Result<usize, WorkspaceError> {
    sandboxes(data_dir)?.sweep_staging(TRASH_KEPT)
}

fn sandboxes(data_dir: &Path) -> Result<Workspace, WorkspaceError> {
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    let owner = Owner { uid: uid.as_raw(), gid: gid.as_raw() };
    Workspace::create(&data_dir.join("sandboxes"), &data_dir.join("trash"), owner)
}

/// Opens the files of a live project.
pub(crate) async fn open(
    dir: SandboxDir,
    busy: Busy,
    project: ActorRef<ProjectMsg>,
    places: Places,
) -> Answer<Files> {
    let busy = Arc::new(busy);
    let live = Arc::clone(busy.live());
    let opened = blocking(move || live.workspace(&dir)).await?;
    let workspace = opened.map_err(|error| Fault::Disk(error.to_string().into()))?;
    Ok(Files { workspace, project, busy, places: Arc::new(places) })
}
