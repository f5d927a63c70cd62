//! The PID 1 of every sandbox.
//!
//! It starts what the server asks for, keeps two jobs alive while the server is
//! away, and reaps what others leave behind. It dials the server, never the other
//! way round, so a sandbox needs no network interface and listens on nothing.
//!
//! ```text
//! phase 1  read the one-time token                 init
//!       2  become undumpable, take a name          main
//!       3  block signals, open their descriptor    signals, stop
//!       4  dial the server, again and again        home, control
//!       5  serve: exec, attach, dial, watch, ...   stream, exec, attach, dial, watch, stats
//! jobs                                             job, ring, pace, memory, pty
//! processes         command → subreaper → tree, watched by reaper and processes
//! ```
//!
//! The server is trusted but every count is bounded. Everything in the sandbox is
//! hostile and runs as the same user: it can kill what init starts, but neither
//! read init's memory nor signal it. A panic here would end the sandbox, so there
//! is no `unwrap`.
//!
//! Usage: `sandtree-init [home]`. Exit codes are [`init::Exit`]'s.

mod attach;
mod clock;
mod command;
mod control;
mod dial;
mod exec;
mod hangup;
mod home;
mod init;
mod job;
mod memory;
mod oom;
mod pace;
mod pipes;
mod processes;
mod pty;
mod reaper;
mod ring;
mod signals;
mod stats;
mod stop;
mod stream;
mod subreaper;
mod sys;
mod tree;
mod watch;

use std::io;
use std::path::PathBuf;
use std::rc::Rc;

use tokio::runtime::{Builder, LocalOptions};

use init::{Exit, Init};
use signals::Signals;

fn main() {
    let (exit, error) = match run() {
        Ok(never) => match never {},
        Err(failure) => failure,
    };
    eprintln!("sandtree-init: {error}");
    std::process::exit(exit as i32);
}

fn run() -> Result<std::convert::Infallible, (Exit, io::Error)> {
    let no_kernel = |error| (Exit::NoKernel, error);

    // 1. The token, while nothing else runs.
    let home = std::env::args_os().nth(1).map_or_else(|| sandtree_wire::HOME.into(), PathBuf::from);
    let init = Init::new(home)?;

    // 2. From here on nobody in the sandbox can look into this process.
    harden().map_err(no_kernel)?;

    // 3. Signals are read, never delivered.
    let signals = Signals::open().map_err(no_kernel)?;

    // 4 and 5.
    let runtime = Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_io_events_per_tick(64)
        .build_local(LocalOptions::default())
        .map_err(no_kernel)?;
    runtime.block_on(async move {
        let init = Rc::new(init);
        let serving = signals.serve(Rc::clone(&init));
        tokio::select! {
            never = home::stay_connected(&init) => match never {},
            result = serving => {
                let error = result.err().unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into());
                Err((Exit::NoKernel, error))
            }
        }
    })
}

/// Makes this process unreadable for others of its user, and gives it what its
/// children are to inherit.
fn harden() -> io::Result<()> {
    // SAFETY: numbers, and one literal that ends in NUL; touches no memory of ours.
    unsafe {
        sys::check(libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0))?;
        sys::check(libc::prctl(libc::PR_SET_NAME, c"sandtree-init".as_ptr(), 0, 0, 0))?;
        libc::umask(0o022);
        if sys::own_pid() != 1 {
            sys::check(libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))?;
        }
    }
    Ok(())
}
