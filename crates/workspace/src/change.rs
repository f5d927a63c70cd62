//! Moving things about inside a workspace.

use crate::error::WorkspaceError;
use crate::path::{BadPath, WorkspacePath};
use crate::staging::rename;
use crate::workspace::{Existing, Parents, Workspace};

impl Workspace {
    /// Moves a file, a link or a directory, in one step. A link itself is moved, not what it points
    /// to.
    ///
    /// # Errors
    ///
    /// [`WorkspaceError::NotFound`] when `from` or the parent of `to` is missing;
    /// [`WorkspaceError::Exists`] with [`Existing::Keep`]; [`WorkspaceError::NotEmpty`],
    /// [`WorkspaceError::NotAFile`] or [`WorkspaceError::NotADirectory`] when `to` is a directory
    /// with content, or only one of the two is a directory; [`BadPath::IntoItself`];
    /// [`WorkspaceError::Escapes`].
    pub fn rename(
        &self,
        from: &WorkspacePath,
        to: &WorkspacePath,
        existing: Existing,
    ) -> Result<(), WorkspaceError> {
        let source = self.place(from, Parents::Require)?;
        let target = self.place(to, Parents::Require)?;
        match rename(&source.dir, &source.name, &target.dir, &target.name, existing) {
            // The kernel compares directories, so no link hides this.
            Err(WorkspaceError::Io(error)) if error.kind() == std::io::ErrorKind::InvalidInput => {
                return Err(BadPath::IntoItself.into());
            }
            outcome => outcome?,
        }
        // The new name first: after a crash in between, two names are better than none.
        self.settle(&target.dir)?;
        self.settle(&source.dir)
    }
}
