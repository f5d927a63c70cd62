//! Changes that are held back for a moment, in which some of them become one.

use sandtree_wire::{CHANGES_BYTES_MAX, CHANGES_MAX, Change, WhatChanged};

/// Most changes that are held back.
const PENDING_MAX: usize = 8192;

/// A change, unless it was taken back.
struct Held {
    change: Change,
    is_wanted: bool,
}

/// See the module.
#[derive(Default)]
pub(super) struct Pending {
    /// In their order. What was taken back stays, unwanted, for its path.
    changes: Vec<Held>,
    /// Places of the last change of each path, in the order of the paths. No map of the
    /// standard library, because its code would be too large a part of init.
    last: Vec<usize>,
    /// First halves of renames: what they have in common with the second, and the place.
    moved: Vec<(u32, usize)>,
    has_overflowed: bool,
}

impl Pending {
    /// More happened than is held back.
    pub(super) fn has_overflowed(&self) -> bool {
        self.has_overflowed
    }

    /// Something is there now.
    pub(super) fn created(&mut self, path: String, is_dir: bool) {
        if self.last_is(&path, |what| *what == WhatChanged::Created) {
            return;
        }
        self.push(Change { path, is_dir, what: WhatChanged::Created });
    }

    /// A file was written.
    pub(super) fn modified(&mut self, path: String) {
        let is_told =
            |what: &WhatChanged| matches!(what, WhatChanged::Created | WhatChanged::Modified);
        if !self.last_is(&path, is_told) {
            self.push(Change { path, is_dir: false, what: WhatChanged::Modified });
        }
    }

    /// Something is gone. A file that came and went within the moment is not told.
    pub(super) fn removed(&mut self, path: String, is_dir: bool) {
        if !is_dir && self.last_is(&path, |what| *what == WhatChanged::Created) {
            self.take_back(&path);
            return;
        }
        self.push(Change { path, is_dir, what: WhatChanged::Removed });
    }

    /// Something was moved away; until the other half comes it counts as gone.
    pub(super) fn moved_from(&mut self, path: String, is_dir: bool, cookie: u32) {
        self.moved.push((cookie, self.changes.len()));
        self.push(Change { path, is_dir, what: WhatChanged::Removed });
    }

    /// Something was moved here. Answers from where, if that is known.
    pub(super) fn moved_to(&mut self, path: &str, is_dir: bool, cookie: u32) -> Option<String> {
        // The halves are next to each other, so it is found at once if at all.
        let half = self.moved.iter().rposition(|(of, _)| *of == cookie);
        let place = half.map(|half| self.moved.swap_remove(half).1);
        let Some(first) = place.and_then(|place| self.changes.get_mut(place)) else {
            self.created(path.to_owned(), is_dir);
            return None;
        };
        first.is_wanted = false;
        let from = first.change.path.clone();
        let what = WhatChanged::Renamed { from: from.clone() };
        self.push(Change { path: path.to_owned(), is_dir, what });
        Some(from)
    }

    /// Directories that were moved to where nothing is watched, and are not there again.
    pub(super) fn directories_moved_away(&mut self) -> Vec<String> {
        let mut away = Vec::new();
        for (_, place) in std::mem::take(&mut self.moved) {
            if let Some(Held { change, .. }) = self.changes.get(place)
                && change.is_dir
                && self.place_of(&change.path) == Some(place)
            {
                away.push(change.path.clone());
            }
        }
        away
    }

    /// All of them, in pieces that fit into a message.
    pub(super) fn take(&mut self) -> Vec<Vec<Change>> {
        let Self { changes, .. } = std::mem::take(self);
        let mut pieces: Vec<Vec<Change>> = Vec::new();
        let mut bytes = usize::MAX;
        let wanted = changes.into_iter().filter(|held| held.is_wanted);
        for Held { change, .. } in wanted {
            if bytes >= CHANGES_BYTES_MAX
                || pieces.last().is_none_or(|piece| piece.len() >= CHANGES_MAX)
            {
                pieces.push(Vec::new());
                bytes = 0;
            }
            bytes += length(&change);
            if let Some(piece) = pieces.last_mut() {
                piece.push(change);
            }
        }
        pieces
    }

    fn last_is(&self, path: &str, is: impl Fn(&WhatChanged) -> bool) -> bool {
        self.place_of(path).is_some_and(|place| {
            let Held { change, is_wanted } = &self.changes[place];
            *is_wanted && is(&change.what)
        })
    }

    /// Where in `last` a path is, or where it belongs.
    fn search(&self, path: &str) -> Result<usize, usize> {
        self.last.binary_search_by(|place| self.changes[*place].change.path.as_str().cmp(path))
    }

    /// The place of a path's last change.
    fn place_of(&self, path: &str) -> Option<usize> {
        self.search(path).ok().map(|found| self.last[found])
    }

    fn take_back(&mut self, path: &str) {
        if let Some(place) = self.place_of(path) {
            self.changes[place].is_wanted = false;
        }
    }

    fn push(&mut self, change: Change) {
        if self.changes.len() >= PENDING_MAX {
            self.has_overflowed = true;
            return;
        }
        let place = self.changes.len();
        match self.search(&change.path) {
            Ok(found) => self.last[found] = place,
            Err(found) => self.last.insert(found, place),
        }
        self.changes.push(Held { change, is_wanted: true });
    }
}

fn length(change: &Change) -> usize {
    let from = match &change.what {
        WhatChanged::Renamed { from } => from.len(),
        WhatChanged::Created | WhatChanged::Modified | WhatChanged::Removed => 0,
    };
    change.path.len() + from
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(pending: &mut Pending) -> Vec<String> {
        let changes = pending.take().into_iter().flatten();
        changes.map(|Change { path, what, .. }| format!("{what:?} {path}")).collect()
    }

    #[test]
    fn many_writes_are_one_and_a_file_that_came_and_went_is_none() {
        let mut pending = Pending::default();
        pending.created("new".into(), false);
        pending.modified("new".into());
        pending.modified("old".into());
        pending.modified("old".into());
        pending.created("tmp".into(), false);
        pending.modified("tmp".into());
        pending.removed("tmp".into(), false);
        pending.removed("old".into(), false);
        pending.created("old".into(), false);
        assert_eq!(
            told(&mut pending),
            ["Created new", "Modified old", "Removed old", "Created old"]
        );
        assert!(told(&mut pending).is_empty());
    }

    #[test]
    fn the_halves_of_a_rename_find_each_other_and_alone_they_are_something_else() {
        let mut pending = Pending::default();
        pending.moved_from("a".into(), false, 1);
        pending.moved_from("away".into(), true, 2);
        pending.modified("x".into());
        assert_eq!(pending.moved_to("b", false, 1).as_deref(), Some("a"));
        assert_eq!(pending.moved_to("from-afar", false, 3), None);
        assert_eq!(pending.directories_moved_away(), ["away"]);
        let expected =
            ["Removed away", "Modified x", "Renamed { from: \"a\" } b", "Created from-afar"];
        assert_eq!(told(&mut pending), expected);
    }

    #[test]
    fn what_is_held_back_has_bounds_and_is_sent_in_pieces() {
        let mut pending = Pending::default();
        for number in 0..PENDING_MAX {
            pending.modified(number.to_string());
        }
        assert!(!pending.has_overflowed());
        let pieces = pending.take();
        assert_eq!(pieces.iter().map(Vec::len).sum::<usize>(), PENDING_MAX);
        assert!(pieces.iter().all(|piece| piece.len() <= CHANGES_MAX));

        let long = "x".repeat(4000);
        for number in 0..=PENDING_MAX {
            pending.created(format!("{number}{long}"), false);
        }
        assert!(pending.has_overflowed());
        let most = pending.take().iter().map(|piece| piece.iter().map(length).sum()).max();
        assert!(most < Some(CHANGES_BYTES_MAX + 5000));
    }
}
