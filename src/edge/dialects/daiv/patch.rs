//! What commands changed, as a patch: of sessions of earlier versions, which asked for it.
//!
//! It is made by the git of the sandbox, in a repository beside the files that nobody else
//! uses. Without git in the image there is no patch. What the archive brought is watched
//! whole; of what is new, files that the repository ignores are left out.

use std::io::Cursor;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sandtree_actors::Sandbox;
use sandtree_wire::{ExecSpec, WORKSPACE};
use sandtree_workspace::{
    ArchiveError, Parents, Recursive, Workspace, WorkspaceError, WorkspacePath,
};
use serde_json::Value;
use warp::http::StatusCode;

use super::refused::Refused;
use super::seed;
use super::session::{EXTRACTS_PATCH, IS_EPHEMERAL, Session};
use crate::edge::exec;

/// Largest patch, in bytes.
const PATCH_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Longest time of git.
const GIT_TIMEOUT: Duration = Duration::from_secs(120);

/// `git` on the repository of the patch, which no configuration but its own speaks to.
const GIT: &str = "set -e
dir=\"$HOME/.local/state/patch.git\"
export GIT_DIR=\"$dir\" GIT_WORK_TREE=. GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null
quiet() { git -c core.autocrlf=false -c core.safecrlf=false \"$@\" >/dev/null 2>&1; }
";
/// Remembers the tree as it is.
const BEGIN: &str = "rm -rf \"$dir\"
mkdir -p \"$dir\"
quiet init
quiet add --all --force .
git write-tree > \"$dir/before\"
";
/// Tells what is different now.
const END: &str = "quiet add --all .
git diff --binary --find-renames --no-color --no-ext-diff --no-textconv \\
    \"$(cat \"$dir/before\")\" \"$(git write-tree)\"
";

/// A patch that was begun.
pub(super) struct Patch {
    /// Whether there is a git to end it with.
    can_end: bool,
}

impl Session {
    /// Puts the archive of a run into its place, and begins the patch of a session that
    /// wants one.
    pub(super) async fn begin_patch(
        &self,
        sandbox: &Sandbox,
        archive: Option<Vec<u8>>,
    ) -> Result<Option<Patch>, Refused> {
        let labels = self.settings().await?.labels;
        if let Some(archive) = archive.filter(|archive| !archive.is_empty()) {
            self.replace_repository(archive, labels.contains_key(IS_EPHEMERAL)).await?;
        }
        if !labels.contains_key(EXTRACTS_PATCH) {
            return Ok(None);
        }
        let (code, _) = git(sandbox, BEGIN).await?;
        if code != 0 {
            tracing::debug!(code, "no patch: the sandbox has no git that works");
        }
        Ok(Some(Patch { can_end: code == 0 }))
    }

    async fn replace_repository(&self, archive: Vec<u8>, is_cleared: bool) -> Result<(), Refused> {
        let files = self.files().await?;
        let unpacked = files.write(move |workspace| {
            let mut notes = Vec::new();
            let outcome = repository(workspace, is_cleared)
                .map_err(ArchiveError::from)
                .and_then(|repo| seed::unpack(workspace, Cursor::new(archive), &repo, &mut notes));
            (Ok(outcome), notes)
        });
        unpacked.await?.map_err(|error| seed::invalid("archive", &error))
    }
}

impl Patch {
    /// The patch in base64; null when nothing has changed.
    pub(super) async fn end(self, sandbox: &Sandbox) -> Result<Value, Refused> {
        if !self.can_end {
            return Ok(Value::Null);
        }
        match git(sandbox, END).await? {
            (0, patch) if patch.is_empty() => Ok(Value::Null),
            (0, patch) => Ok(STANDARD.encode(patch).into()),
            (code, _) => {
                let words = format!("the patch could not be made: git ended with {code}");
                Err(Refused::said(StatusCode::INTERNAL_SERVER_ERROR, words))
            }
        }
    }
}

/// The folder of the repository; cleared, if it is to be.
fn repository(workspace: &Workspace, is_cleared: bool) -> Result<WorkspacePath, WorkspaceError> {
    let repo = WorkspacePath::parse("repo")?;
    if is_cleared {
        match workspace.remove(&repo, Recursive::Yes) {
            Ok(()) | Err(WorkspaceError::NotFound) => workspace.mkdir(&repo, Parents::Create)?,
            Err(error) => return Err(error),
        }
    }
    Ok(repo)
}

/// Runs a part of the work in the sandbox; its exit code and what it wrote.
async fn git(sandbox: &Sandbox, part: &str) -> Result<(i32, Vec<u8>), Refused> {
    let spec = ExecSpec {
        argv: vec!["/bin/sh".to_owned(), "-c".to_owned(), format!("{GIT}{part}")],
        cwd: Some(format!("{WORKSPACE}/repo")),
        timeout_ms: u64::try_from(GIT_TIMEOUT.as_millis()).ok(),
        ..ExecSpec::default()
    };
    let done = exec::run_to_end(sandbox, spec, Vec::new(), PATCH_BYTES_MAX).await?;
    if done.is_truncated() {
        let words = format!("the patch has more than {PATCH_BYTES_MAX} bytes");
        return Err(Refused::said(StatusCode::INTERNAL_SERVER_ERROR, words));
    }
    Ok((done.exit_code(), done.into_stdout()))
}
