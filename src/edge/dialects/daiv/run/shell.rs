//! What runs a command: bash where the image has it, else a shell that fails a pipeline of
//! which any part fails, else the image's. Both outputs go into one pipe, in their order.

use crate::edge::errors::Problem;
use crate::edge::exec::command::{Checked, Command};

/// Looks for the best shell, at the cost of a shell that does so.
const ANY: &str = "exec 2>&1
[ -x /bin/bash ] && exec /bin/bash -o pipefail -c \"$1\"
(set -o pipefail) 2>/dev/null && exec /bin/sh -o pipefail -c \"$1\"
exec /bin/sh -c \"$1\"";

/// A command for the best shell of any image, in a directory.
///
/// # Errors
///
/// 413 for one that is too large, 422 for one that cannot be run.
pub(in super::super) fn any(command: &str, cwd: &str) -> Result<Checked, Problem> {
    checked(["/bin/sh", "-c", ANY, "sh", command], cwd)
}

/// A command for bash itself. What stands before it is on its own first line, so that bash
/// counts the lines of the command and of nothing else.
///
/// # Errors
///
/// As [`any`].
pub(super) fn bash(command: &str, cwd: &str) -> Result<Checked, Problem> {
    checked(["/bin/bash", "-o", "pipefail", "-c", &format!("exec 2>&1; {command}")], cwd)
}

fn checked(argv: [&str; 5], cwd: &str) -> Result<Checked, Problem> {
    let argv = Some(argv.map(str::to_owned).into());
    Command { argv, cwd: Some(cwd.to_owned()), ..Command::default() }.check()
}
