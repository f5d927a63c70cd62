//! The directories that are watched, and what their events mean.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use sandtree_wire::WatchSpec;
use tokio::task::yield_now;

use super::inotify::{Event, Inotify, Watch, events};
use super::pending::Pending;

/// Entries that are met before others get their turn: init has one thread.
const ENTRIES_AT_ONCE: u32 = 256;
/// Reads of events before what they said is told.
const READS_MAX: u32 = 256;

/// What reading the events came to.
#[must_use]
pub(super) enum Outcome {
    /// All that happened is pending.
    Told,
    /// Something was lost, or cannot be made sense of.
    Lost,
}

/// See the module.
pub(super) struct Tree {
    spec: WatchSpec,
    inotify: Inotify,
    /// Paths from the root on, in the order of the watches, whose numbers rise.
    watched: Vec<(Watch, PathBuf)>,
    is_limited: bool,
    entries_met: u32,
}

impl Tree {
    /// Watches a directory and what is below it.
    pub(super) async fn watch(spec: WatchSpec) -> io::Result<Self> {
        let (inotify, watched) = (Inotify::new()?, Vec::new());
        let mut tree = Self { spec, inotify, watched, is_limited: false, entries_met: 0 };
        tree.add_below(PathBuf::new(), None).await?;
        Ok(tree)
    }

    /// Watches all of it again, without what was to be read.
    pub(super) async fn watch_anew(&mut self) -> io::Result<()> {
        self.inotify = Inotify::new()?;
        self.watched.clear();
        self.add_below(PathBuf::new(), None).await
    }

    /// How many directories are watched.
    pub(super) fn directories(&self) -> u32 {
        u32::try_from(self.watched.len()).unwrap_or(u32::MAX)
    }

    /// There are more than are watched.
    pub(super) fn is_limited(&self) -> bool {
        self.is_limited
    }

    /// Waits until something has happened.
    pub(super) async fn happened(&self) -> io::Result<()> {
        self.inotify.readable().await
    }

    /// Reads what has happened.
    pub(super) async fn drain(&mut self, pending: &mut Pending) -> io::Result<Outcome> {
        let mut buffer = Vec::new();
        for _ in 0..READS_MAX {
            if !self.inotify.read(&mut buffer)? {
                break;
            }
            for event in events(&buffer) {
                if let Outcome::Lost = self.take(&event, pending).await? {
                    return Ok(Outcome::Lost);
                }
            }
            yield_now().await;
        }
        Ok(Outcome::Told)
    }

    /// Ends the watches of a directory that is elsewhere now.
    pub(super) fn forget_below(&mut self, path: &str) {
        let inotify = &self.inotify;
        self.watched.retain(|(watch, watched)| {
            let stays = !watched.starts_with(path);
            if !stays {
                inotify.remove(*watch);
            }
            stays
        });
    }

    async fn take(&mut self, event: &Event<'_>, pending: &mut Pending) -> io::Result<Outcome> {
        if event.is(libc::IN_Q_OVERFLOW) {
            return Ok(Outcome::Lost);
        }
        let Ok(place) = self.search(event.watch) else { return Ok(Outcome::Told) };
        let dir = &self.watched[place].1;
        if event.name.is_empty() {
            let is_root = dir.as_os_str().is_empty();
            return self.ended(event, is_root).map(|()| Outcome::Told);
        }
        if self.is_excluded(event.name) {
            return Ok(Outcome::Told);
        }
        let (path, is_dir) = (dir.join(event.name), event.is(libc::IN_ISDIR));
        let told = path.to_string_lossy().into_owned();
        if event.is(libc::IN_MODIFY) {
            pending.modified(told);
        } else if event.is(libc::IN_DELETE) {
            pending.removed(told, is_dir);
        } else if event.is(libc::IN_MOVED_FROM) {
            pending.moved_from(told, is_dir, event.cookie);
        } else if event.is(libc::IN_CREATE) {
            pending.created(told, is_dir);
            if is_dir {
                self.appeared(path, pending).await?;
            }
        } else if event.is(libc::IN_MOVED_TO) {
            return self.moved_to(path, is_dir, event.cookie, pending).await;
        }
        Ok(Outcome::Told)
    }

    /// Something about a watched directory itself.
    fn ended(&mut self, event: &Event<'_>, is_root: bool) -> io::Result<()> {
        let bits = libc::IN_IGNORED | libc::IN_DELETE_SELF | libc::IN_MOVE_SELF | libc::IN_UNMOUNT;
        if is_root && event.is(bits) {
            return Err(io::Error::from_raw_os_error(libc::ENOENT));
        }
        if event.is(libc::IN_IGNORED) {
            self.watched.retain(|(watch, _)| *watch != event.watch);
        }
        Ok(())
    }

    /// A directory is here that was not.
    async fn appeared(&mut self, path: PathBuf, pending: &mut Pending) -> io::Result<()> {
        if !self.spec.recursive {
            return Ok(());
        }
        // One that was moved away from here a moment ago is not this one.
        self.forget_below(&path.to_string_lossy());
        self.add_below(path, Some(pending)).await
    }

    async fn moved_to(
        &mut self,
        path: PathBuf,
        is_dir: bool,
        cookie: u32,
        pending: &mut Pending,
    ) -> io::Result<Outcome> {
        let from = pending.moved_to(&path.to_string_lossy(), is_dir, cookie);
        let Some(from) = from else {
            if is_dir {
                self.appeared(path, pending).await?;
            }
            return Ok(Outcome::Told);
        };
        if !is_dir || !self.spec.recursive {
            return Ok(Outcome::Told);
        }
        if from.contains(char::REPLACEMENT_CHARACTER) {
            // It is not known which directory this was.
            return Ok(Outcome::Lost);
        }
        let is_known = self.renamed(Path::new(&from), &path);
        // One that was not watched yet may have got content that nobody was told of.
        let tell = (!is_known).then_some(pending);
        self.add_below(path, tell).await?;
        Ok(Outcome::Told)
    }

    /// Gives watched directories their new paths; false when the first is not watched.
    fn renamed(&mut self, from: &Path, to: &Path) -> bool {
        let mut is_known = false;
        for (_, watched) in &mut self.watched {
            if let Ok(rest) = watched.strip_prefix(from) {
                is_known |= rest.as_os_str().is_empty();
                // Joined with nothing, a path would get a slash at its end.
                *watched = if rest.as_os_str().is_empty() { to.into() } else { to.join(rest) };
            }
        }
        is_known
    }

    /// Where a watch is, or where it belongs.
    fn search(&self, watch: Watch) -> Result<usize, usize> {
        self.watched.binary_search_by_key(&watch, |(watch, _)| *watch)
    }

    fn note(&mut self, watch: Watch, path: PathBuf) {
        match self.search(watch) {
            Ok(place) => self.watched[place].1 = path,
            Err(place) => self.watched.insert(place, (watch, path)),
        }
    }

    /// Watches a directory and what is below it; with `tell`, what is found there counts as
    /// created. First the watch, then the look, so that nothing is missed.
    ///
    /// # Errors
    ///
    /// When it is the root and cannot be watched.
    async fn add_below(
        &mut self,
        start: PathBuf,
        mut tell: Option<&mut Pending>,
    ) -> io::Result<()> {
        let mut waiting = vec![start];
        while let Some(dir) = waiting.pop() {
            if self.watched.len() >= self.spec.directories_max as usize {
                self.is_limited = true;
                return Ok(());
            }
            let place = Path::new(&self.spec.path).join(&dir);
            match self.inotify.add(&place) {
                Ok(watch) => self.note(watch, dir.clone()),
                Err(error) if dir.as_os_str().is_empty() => return Err(error),
                Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => {
                    self.is_limited = true;
                    return Ok(());
                }
                // It is gone, or no directory any more, or closed to us.
                Err(_) => continue,
            }
            if self.spec.recursive {
                self.look_into(&dir, &place, &mut waiting, &mut tell).await;
            }
        }
        Ok(())
    }

    async fn look_into(
        &mut self,
        dir: &Path,
        place: &Path,
        waiting: &mut Vec<PathBuf>,
        tell: &mut Option<&mut Pending>,
    ) {
        let Ok(entries) = std::fs::read_dir(place) else { return };
        for entry in entries.flatten() {
            self.entries_met = self.entries_met.wrapping_add(1);
            if self.entries_met.is_multiple_of(ENTRIES_AT_ONCE) {
                yield_now().await;
            }
            let name = entry.file_name();
            if self.is_excluded(&name) {
                continue;
            }
            let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let path = dir.join(name);
            if let Some(pending) = tell {
                pending.created(path.to_string_lossy().into_owned(), is_dir);
            }
            if is_dir {
                waiting.push(path);
            }
        }
    }

    fn is_excluded(&self, name: &OsStr) -> bool {
        self.spec.exclude.iter().any(|pattern| matches(pattern.as_bytes(), name.as_bytes()))
    }
}

/// Whether a name is what a pattern means, in which `*` stands for anything.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut in_name) = (0, 0);
    // Where the last star is, and from where in the name on it ends.
    let mut star: Option<(usize, usize)> = None;
    while in_name < name.len() {
        if pattern.get(at) == Some(&b'*') {
            star = Some((at, in_name));
            at += 1;
        } else if pattern.get(at) == Some(&name[in_name]) {
            at += 1;
            in_name += 1;
        } else if let Some((place, end)) = star {
            star = Some((place, end + 1));
            at = place + 1;
            in_name = end + 1;
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, name, expected) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "", true),
            ("*.py", "x.py", true),
            ("*.py", "x.pyc", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c", false),
            ("*.egg-info", "x.egg-info", true),
            ("**", "x", true),
            ("", "x", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
    }
}
