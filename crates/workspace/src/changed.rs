//! What has changed in a workspace since a moment.
//!
//! A moment is taken from the file system's own clock, which goes in steps of up to ten
//! milliseconds: [`Workspace::mark`] waits for the next step. So whatever was changed before it is
//! older, and whatever is changed after it is not; no clock of the process is compared with it.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::fs::{Stat, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, fstat, futimens};

use crate::confine::{self, DIRECTORY, Links};
use crate::copy::Limits;
use crate::entry::{self, Kind};
use crate::error::WorkspaceError;
use crate::path::WorkspacePath;
use crate::search::{Case, Glob, Globs, SearchError};
use crate::staging::{Leftover, new_file};
use crate::walk::{Entered, Step, Walk};
use crate::workspace::Workspace;

/// Longest wait for the next step of the file system's clock, in pauses.
const PAUSES_MAX: u32 = 200;
/// Time between two looks at it.
const PAUSE: Duration = Duration::from_micros(250);
/// Most entries that one look for changes meets.
const ENTRIES_MAX: usize = 1_000_000;

/// A moment, by the clock of a workspace's file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    seconds: i64,
    nanos: i64,
}

/// By which time a file counts as changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangedBy {
    /// Its content was written, as `find -newer` takes it. Code in the sandbox can set this time;
    /// a file that was moved or unpacked keeps an old one.
    Content,
    /// Anything about it was changed: its content, mode, name or place. The kernel alone sets this
    /// time.
    Anything,
}

/// Which files are meant.
#[derive(Clone, Debug)]
pub struct ChangedOptions {
    /// Only what was changed since then; absent: whenever.
    pub since: Option<Mark>,
    /// By which time.
    pub by: ChangedBy,
    /// Whether names that begin with a dot, and what is below them, are met.
    pub hidden: bool,
    /// Only what matches one of these, compared with paths from the directory on; empty: everything.
    pub include: Vec<Glob>,
    /// Files and bytes beyond these are left out, and that is told.
    pub limits: Limits,
}

/// The files that were found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// Regular files, from the directory on, in the order of their names.
    pub files: Vec<WorkspacePath>,
    /// Bytes of content in all.
    pub bytes: u64,
    /// Some are left out: they pass a limit, have a name that is no path, or are nested too deep.
    pub truncated: bool,
}

impl Workspace {
    /// This moment. Waits a few milliseconds for the next step of the file system's clock.
    ///
    /// # Errors
    ///
    /// [`WorkspaceError::Busy`] when its clock stands still; [`WorkspaceError::NoSpace`] or
    /// [`WorkspaceError::Io`] when the disk fails.
    pub fn mark(&self) -> Result<Mark, WorkspaceError> {
        let leftover = Leftover::new(&self.inner);
        let file = new_file(&self.inner.staging, leftover.name())?;
        let before = changed_at(&fstat(&file)?);
        for _ in 0..PAUSES_MAX {
            touch(&file)?;
            let now = changed_at(&fstat(&file)?);
            if now > before {
                return Ok(now);
            }
            // Nobody unparks this thread, and it would be no harm.
            std::thread::park_timeout(PAUSE);
        }
        Err(WorkspaceError::Busy)
    }

    /// The regular files below a directory that were changed. Links are not followed; what was
    /// removed is not told.
    ///
    /// # Errors
    ///
    /// [`SearchError::Glob`]; [`SearchError::Workspace`] when there is no such directory.
    pub fn changed_since(
        &self,
        dir: &WorkspacePath,
        options: &ChangedOptions,
    ) -> Result<Changed, SearchError> {
        let include = Globs::compile(&options.include, Case::Sensitive)?;
        let start = confine::open(&self.inner.root, dir.as_str(), DIRECTORY, Links::Follow)
            .map_err(WorkspaceError::from)?;
        let mut walk = Walk::new(start, ENTRIES_MAX)?;
        let mut changed = Changed::default();
        while let Some(step) = walk.next()? {
            if !options.hidden && step.name.to_bytes().starts_with(b".") {
                continue;
            }
            if step.kind() == Kind::Directory {
                changed.truncated |=
                    matches!(walk.enter(&step)?, Entered::TooDeep | Entered::Unreadable);
            } else if step.kind() == Kind::File
                && options.is_changed(&step.stat)
                && (include.is_empty() || include.matches(step.name.to_bytes(), &step.path))
            {
                changed.add(&step, &options.limits);
            }
        }
        changed.truncated |= walk.is_cut();
        Ok(changed)
    }
}

impl ChangedOptions {
    fn is_changed(&self, stat: &Stat) -> bool {
        self.since.is_none_or(|since| match self.by {
            ChangedBy::Content => written_at(stat) >= since,
            ChangedBy::Anything => changed_at(stat) >= since,
        })
    }
}

impl Changed {
    fn add(&mut self, step: &Step, limits: &Limits) {
        let bytes = self.bytes.saturating_add(entry::size(&step.stat));
        let path = WorkspacePath::parse_bytes(&step.path).ok();
        let Some(path) =
            path.filter(|_| bytes <= limits.bytes_max && self.files.len() < limits.entries_max)
        else {
            self.truncated = true;
            return;
        };
        self.bytes = bytes;
        self.files.push(path);
    }
}

fn changed_at(stat: &Stat) -> Mark {
    mark(stat.st_ctime, stat.st_ctime_nsec)
}

fn written_at(stat: &Stat) -> Mark {
    mark(stat.st_mtime, stat.st_mtime_nsec)
}

/// The fields differ in their types from one architecture to the next.
fn mark(seconds: i64, nanos: impl TryInto<i64>) -> Mark {
    Mark { seconds, nanos: nanos.try_into().unwrap_or(0) }
}

fn touch(file: &OwnedFd) -> Result<(), WorkspaceError> {
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
    };
    Ok(futimens(file, &times)?)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::time::SystemTime;

    use super::*;
    use crate::tests::{Fixture, LIMITS};

    fn options(since: Option<Mark>, by: ChangedBy) -> ChangedOptions {
        ChangedOptions { since, by, hidden: false, include: Vec::new(), limits: LIMITS }
    }

    fn found(fixture: &Fixture, dir: &str, options: &ChangedOptions) -> (Vec<String>, bool) {
        let dir =
            if dir.is_empty() { WorkspacePath::root() } else { WorkspacePath::parse(dir).unwrap() };
        let changed = fixture.workspace.changed_since(&dir, options).unwrap();
        (changed.files.iter().map(ToString::to_string).collect(), changed.truncated)
    }

    fn write(fixture: &Fixture, path: &str, content: &str) {
        let path = fixture.host(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    #[test]
    fn what_was_written_just_before_a_mark_is_older_and_just_after_is_not() {
        let fixture = Fixture::new();
        for round in 0..20 {
            write(&fixture, &format!("before{round}"), "x");
            let since = Some(fixture.workspace.mark().unwrap());
            write(&fixture, &format!("after{round}"), "x");
            for by in [ChangedBy::Content, ChangedBy::Anything] {
                let (files, _) = found(&fixture, "", &options(since, by));
                assert_eq!(files, [format!("after{round}")], "{by:?}");
            }
        }
    }

    #[test]
    fn a_file_that_was_moved_or_dated_back_has_changed_but_not_its_content() {
        let fixture = Fixture::new();
        for path in ["moved", "mode", "dated", "same", "appended"] {
            write(&fixture, path, "x");
        }
        let since = Some(fixture.workspace.mark().unwrap());
        fs::rename(fixture.host("moved"), fixture.host("new")).unwrap();
        fs::set_permissions(fixture.host("mode"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(fixture.host("dated"), "y").unwrap();
        let file = fs::File::options().append(true).open(fixture.host("dated")).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        let mut file = fs::File::options().append(true).open(fixture.host("appended")).unwrap();
        file.write_all(b"y").unwrap();
        let (files, _) = found(&fixture, "", &options(since, ChangedBy::Content));
        assert_eq!(files, ["appended"]);
        let (files, _) = found(&fixture, "", &options(since, ChangedBy::Anything));
        assert_eq!(files, ["appended", "dated", "mode", "new"]);
    }

    #[test]
    fn only_regular_files_without_a_dot_on_the_way_are_told_from_the_directory_on() {
        let fixture = Fixture::new();
        for path in ["d/a", "d/.hid", "d/.git/x", "d/e/b", "out"] {
            write(&fixture, path, "x");
        }
        symlink("a", fixture.host("d/link")).unwrap();
        symlink(fixture.outside(), fixture.host("d/away")).unwrap();
        let all = options(None, ChangedBy::Content);
        assert_eq!(found(&fixture, "d", &all), (vec!["a".into(), "e/b".into()], false));
        let hidden = ChangedOptions { hidden: true, ..all.clone() };
        assert_eq!(found(&fixture, "d", &hidden).0, [".git/x", ".hid", "a", "e/b"]);
        let include = vec![Glob::new("e/*")];
        assert_eq!(found(&fixture, "d", &ChangedOptions { include, ..all.clone() }).0, ["e/b"]);
        let dir = WorkspacePath::parse("d/away").unwrap();
        let refused = fixture.workspace.changed_since(&dir, &all);
        assert!(matches!(refused, Err(SearchError::Workspace(WorkspaceError::Escapes))));
    }

    #[test]
    fn what_passes_a_limit_is_left_out_and_told() {
        let fixture = Fixture::new();
        write(&fixture, "a", "123");
        write(&fixture, "b", "12345678");
        write(&fixture, "c", "12");
        let all = options(None, ChangedBy::Content);
        let with = |bytes_max, entries_max| ChangedOptions {
            limits: Limits { bytes_max, entries_max },
            ..all.clone()
        };
        assert_eq!(found(&fixture, "", &with(5, 9)), (vec!["a".into(), "c".into()], true));
        assert_eq!(found(&fixture, "", &with(99, 2)), (vec!["a".into(), "b".into()], true));
        assert!(!found(&fixture, "", &with(13, 3)).1);
    }
}
