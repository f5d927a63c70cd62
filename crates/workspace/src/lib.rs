//! The files of one project: kernel-confined access to a directory whose content is hostile.
//!
//! The directory is bind-mounted into a sandbox. Code in there plants links, fifos and trees
//! without end, and swaps one thing for another between any two instructions of ours, while we are
//! root. Three rules keep every operation inside:
//!
//! 1. A path becomes a descriptor by `openat2` with `RESOLVE_BENEATH`, `RESOLVE_NO_MAGICLINKS` and
//!    `RESOLVE_NO_XDEV`, and in no other way (`confine`). Comparing strings is never a defence;
//!    [`WorkspacePath`] is syntax.
//! 2. After that, work is on descriptors, or on a directory's descriptor and one component, links
//!    not followed. Trees are walked the same way (`walk`).
//! 3. What appears in the workspace is made in a staging directory out of the sandbox's reach, given
//!    its owner and mode there, and renamed into place. So nothing half-made is ever seen, and no
//!    owner or mode is changed by name where the sandbox is in control.
//!
//! What is absent: no operation takes an absolute path after [`Workspace::open`]; no special file
//! is ever read, written or made (one that is opened, without waiting, is closed once it is known);
//! set-user-id bits are never set; nothing recurses, and everything is bounded.
//!
//! All of it blocks: async callers clone the [`Workspace`] into `spawn_blocking`.

#![forbid(unsafe_code)]

mod archive;
mod change;
mod changed;
mod confine;
mod copy;
mod entry;
mod error;
mod path;
mod read;
mod remove;
mod search;
mod staging;
mod tree;
mod walk;
mod workspace;

pub use archive::{
    ArchiveError, ArchiveFormat, ArchiveSummary, ExtractOptions, Manner, SKIPPED_MAX, SkipReason,
    Skipped, check_archive, uniform_mode,
};
pub use changed::{Changed, ChangedBy, ChangedOptions, Mark};
pub use copy::{Copied, Limits};
pub use entry::{Entry, Etag, Kind};
pub use error::{Limit, WorkspaceError};
pub use path::{BadPath, COMPONENT_BYTES_MAX, COMPONENTS_MAX, PATH_BYTES_MAX, WorkspacePath};
pub use read::{ListOptions, Listing};
pub use remove::Recursive;
pub use search::{
    Cancel, Case, Glob, MatchedLine, Pattern, PatternSyntax, SearchError, SearchLimits,
    SearchMatch, SearchOutcome, SearchRequest, SkippedFiles,
};
pub use staging::{Precondition, Staged};
pub use tree::{Tree, TreeEntry, TreeOptions, Usage};
pub use workspace::{Existing, Owner, Parents, Workspace};

#[cfg(test)]
mod tests;
