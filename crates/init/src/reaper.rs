//! Reaps whatever ends below init, and knows which ids are still taken.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::sys::{self, Pid};

/// A process whose id must not be used once somebody else may have it.
#[derive(Debug)]
pub(crate) struct Watched {
    pid: Pid,
    reaped: Cell<bool>,
}

impl Watched {
    /// Its id; meaningful only while it is not reaped.
    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// Whether init has reaped it, so that its id may belong to another by now.
    pub(crate) fn reaped(&self) -> bool {
        self.reaped.get()
    }
}

/// See the module. Only init reaps its children, so what it has not reaped is there.
#[derive(Debug, Default)]
pub(crate) struct Reaper {
    watched: RefCell<BTreeMap<Pid, Rc<Watched>>>,
}

impl Reaper {
    /// Watches a process that is init's child, or becomes it when its parent dies.
    pub(crate) fn watch(&self, pid: Pid) -> Rc<Watched> {
        let watched = Rc::new(Watched { pid, reaped: Cell::new(false) });
        self.watched.borrow_mut().insert(pid, Rc::clone(&watched));
        watched
    }

    /// Reaps all that have ended. Says whether no child is left.
    pub(crate) fn reap(&self) -> bool {
        loop {
            // SAFETY: the status is not wanted; touches no memory of ours.
            match unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) } {
                0 => return false,
                pid if pid > 0 => self.note(pid),
                _ if sys::errno() == libc::EINTR => {}
                _ => return true,
            }
        }
    }

    fn note(&self, pid: Pid) {
        if let Some(watched) = self.watched.borrow_mut().remove(&pid) {
            watched.reaped.set(true);
        }
    }
}
