//! Who dies first when memory runs out: not init.

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};

/// What programs of the sandbox begin with.
const CHILD_SCORE: i32 = 200;

/// Init's own score. It is raised for the moment of a fork, because the child, being
/// undumpable, may not open its own file, and because a child's score is inherited.
#[derive(Debug)]
pub(crate) struct OomScore {
    own: Option<(RefCell<File>, i32)>,
}

impl OomScore {
    /// Opens init's own score; has to come before init is undumpable. Where that is
    /// not possible, nothing is changed later.
    pub(crate) fn open() -> Self {
        Self { own: open().filter(|(_, score)| *score < CHILD_SCORE) }
    }

    /// Runs `fork`, whose child gets the score of children.
    pub(crate) fn of_children<T>(&self, fork: impl FnOnce() -> T) -> T {
        self.set(CHILD_SCORE);
        let result = fork();
        if let Some((_, score)) = &self.own {
            self.set(*score);
        }
        result
    }

    fn set(&self, score: i32) {
        if let Some((file, _)) = &self.own {
            // A kernel that refuses leaves init as it is, which is no reason to fail.
            let _ = write!(file.borrow_mut(), "{score}");
        }
    }
}

fn open() -> Option<(RefCell<File>, i32)> {
    let path = "/proc/self/oom_score_adj";
    let mut file = OpenOptions::new().read(true).write(true).open(path).ok()?;
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    let score = text.trim().parse().ok()?;
    file.seek(SeekFrom::Start(0)).ok()?;
    Some((RefCell::new(file), score))
}
