//! The end of the sandbox: TERM to all, a moment, KILL to the rest.

use std::rc::Rc;
use std::time::Duration;

use tokio::task::spawn_local;
use tokio::time::{Instant, sleep, timeout};

use crate::init::{Exit, Init};
use crate::{processes, sys};
use sandtree_wire::{Job, STOP_GRACE_MS};

/// For what was killed to be gone.
const KILLED_MAX: Duration = Duration::from_secs(1);

/// Begins the stop, once; it ends with the end of init.
pub(crate) fn begin(init: &Rc<Init>) {
    if init.stopping.replace(true) {
        return;
    }
    let init = Rc::clone(init);
    spawn_local(async move {
        // A shell at its prompt ignores TERM, and leaves when its terminal does.
        if let Some(terminal) = init.job(Job::Terminal) {
            let _ = terminal.signal(libc::SIGHUP);
        }
        signal_all(libc::SIGTERM);
        signal_all(libc::SIGCONT);
        if timeout(grace(&init), childless(&init)).await.is_err() {
            let until = Instant::now() + KILLED_MAX;
            while !*init.childless.borrow() && Instant::now() < until {
                signal_all(libc::SIGKILL);
                sleep(Duration::from_millis(5)).await;
                init.childless.send_replace(init.reaper.reap());
            }
        }
        std::process::exit(Exit::Stopped as i32);
    });
}

/// Between TERM and KILL.
fn grace(init: &Init) -> Duration {
    let configured = init.configuration().and_then(|configuration| configuration.stop_grace_ms);
    Duration::from_millis(configured.unwrap_or(STOP_GRACE_MS))
}

async fn childless(init: &Init) {
    let mut childless = init.childless.subscribe();
    init.childless.send_replace(init.reaper.reap());
    let _ = childless.wait_for(|childless| *childless).await;
}

/// Signals everything but init. Outside a sandbox that is what descends from it.
fn signal_all(signal: i32) {
    if sys::own_pid() == 1 {
        let _ = sys::kill(-1, signal);
        return;
    }
    for process in processes::descendants(&processes::all(), sys::own_pid()) {
        let _ = sys::kill(process.pid, signal);
    }
}
