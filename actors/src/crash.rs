//! Where a crash hurts most: the points between two things that have to agree.
//!
//! Without the feature `crash-points` each of them is nothing at all. With it, the
//! `fail` crate decides at each point what happens there: [`HANG`] stops the task
//! for good, as if its process were gone (for trees that share one), and [`DIE`]
//! ends the process as SIGKILL does (for the whole server). The tests visit every
//! point of [`Point::ALL`] both ways.

use std::sync::{Mutex, PoisonError};

/// What a point is armed with to stop whoever comes by, for ever.
pub const HANG: &str = "return(hang)";
/// What a point is armed with to kill the process.
pub const DIE: &str = "return(die)";

/// Declares the points once: the enum, the list, and the names.
macro_rules! points {
    ($($(#[doc = $doc:literal])+ $point:ident = $name:literal,)+) => {
        /// A point in the code at which a crash is survived.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Point {
            $($(#[doc = $doc])+ $point,)+
        }

        impl Point {
            /// Every point there is.
            pub const ALL: &[Point] = &[$(Point::$point,)+];

            /// The name by which it is armed.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Point::$point => $name,)+
                }
            }
        }
    };
}

points! {
    /// A transition is decided and not written.
    BeforeCommit = "before-commit",
    /// A transition is written, and the engine was not asked yet.
    AfterCommit = "after-commit",
    /// The directories of a new project are there; its row says `creating`.
    WorkspaceMade = "workspace-made-before-commit",
    /// The engine has made the container; it was not started.
    ContainerCreated = "container-created-before-start",
    /// The token of the next start is written; the engine was not asked to start.
    TokenWritten = "token-written-before-start",
    /// The engine has started the container; its init was not waited for.
    ContainerStarted = "container-started-before-link",
    /// Init is linked and configured; the row says `starting`.
    Linked = "linked-before-commit",
    /// The engine has frozen the container; the row says `pausing`.
    ContainerPaused = "container-paused-before-commit",
    /// The engine has thawed the container; the row says `resuming`.
    ContainerResumed = "container-resumed-before-commit",
    /// The engine has stopped the container; the row says `stopping`.
    ContainerStopped = "container-stopped-before-commit",
    /// The engine has removed the container; the files are there.
    ContainerRemoved = "container-removed-before-files",
    /// The files are gone as well; the row says `deleting`.
    FilesRemoved = "files-removed-before-commit",
    /// The process's record is written; init was not asked to start it.
    ProcessRecorded = "process-recorded-before-start",
    /// Init has started the process; nobody was told.
    ProcessStarted = "process-started-before-told",
    /// Output is durable in the log; init was not told to forget it.
    OutputDurable = "output-durable-before-told",
    /// Init has started the shell; nobody was told.
    ShellStarted = "shell-started-before-told",
    /// A file is written; who asked for it was not told.
    FileWritten = "file-written-before-answer",
}

/// The points at which somebody hangs, in the order in which they were reached.
static REACHED: Mutex<Vec<Point>> = Mutex::new(Vec::new());

/// The points at which a task has stopped so far in this process.
#[must_use]
pub fn reached() -> Vec<Point> {
    REACHED.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Arms a point for the next one who comes by, `after` others have passed.
///
/// # Errors
///
/// When this build has no crash points, or `action` is none.
pub fn arm(point: Point, after: usize, action: &str) -> Result<(), String> {
    if !fail::has_failpoints() {
        return Err("this build has no crash points; build it with the feature".into());
    }
    fail::cfg(point.name(), &format!("{after}*off->1*{action}->off"))
}

/// Arms the points that the environment variable `FAILPOINTS` names, such as
/// `after-commit=2*off->1*return(die)`. In a build without crash points: nothing.
pub fn arm_from_environment() {
    if fail::has_failpoints() {
        // Its end would disarm all of them.
        std::mem::forget(fail::FailScenario::setup());
    }
}

/// Here a crash is survived.
pub(crate) async fn at(point: Point) {
    match action_at(point).as_deref() {
        None => {}
        Some("die") => die(),
        Some(_) => {
            REACHED.lock().unwrap_or_else(PoisonError::into_inner).push(point);
            std::future::pending().await
        }
    }
}

/// What the point is armed with.
fn action_at(point: Point) -> Option<String> {
    fail::fail_point!(point.name(), |action| action);
    // Only the macro above looks at it, and only with the feature.
    let _ = point;
    None
}

/// As SIGKILL: nothing is flushed, closed or told.
fn die() -> ! {
    // It cannot fail: the process may always kill itself.
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    // The signal is on its way.
    loop {
        std::thread::park();
    }
}
