//! Signals: all are blocked, two kinds are read from a descriptor.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::rc::Rc;

use tokio::io::Interest;

use crate::init::Init;
use crate::sys::{self, check};

/// Bytes of one `signalfd_siginfo`.
const INFO_BYTES: usize = size_of::<libc::signalfd_siginfo>();

/// Where signals are read.
pub(crate) struct Signals(OwnedFd);

impl Signals {
    /// Blocks every signal, sets what the kernel may have left ignored back to its
    /// default, and opens the descriptor for CHLD, TERM and INT.
    ///
    /// # Errors
    ///
    /// What the kernel failed with.
    pub(crate) fn open() -> io::Result<Self> {
        for signal in 1..=libc::SIGRTMAX() {
            set_default(signal);
        }
        // SAFETY: SIG_IGN is no handler. A closed connection is an error, not a death.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
        let mut wanted = MaybeUninit::uninit();
        // SAFETY: sets are initialised by the calls that fill them, and only then
        // used; the new descriptor is nobody else's.
        unsafe {
            let mut every = MaybeUninit::uninit();
            libc::sigfillset(every.as_mut_ptr());
            check(libc::sigprocmask(libc::SIG_SETMASK, every.as_ptr(), std::ptr::null_mut()))?;
            libc::sigemptyset(wanted.as_mut_ptr());
            for signal in [libc::SIGCHLD, libc::SIGTERM, libc::SIGINT] {
                libc::sigaddset(wanted.as_mut_ptr(), signal);
            }
            let flags = libc::SFD_NONBLOCK | libc::SFD_CLOEXEC;
            let fd = check(libc::signalfd(-1, wanted.as_ptr(), flags))?;
            Ok(Self(OwnedFd::from_raw_fd(fd)))
        }
    }

    /// Reaps children, and begins the stop when it is asked for. Ends only when the
    /// descriptor fails, which it does not.
    ///
    /// # Errors
    ///
    /// What the descriptor failed with.
    pub(crate) async fn serve(self, init: Rc<Init>) -> io::Result<()> {
        let fd = sys::watch(self.0, Interest::READABLE)?;
        let mut bytes = [0; 8 * INFO_BYTES];
        loop {
            let mut ready = fd.readable().await?;
            let read = ready.try_io(|fd| sys::read(fd.get_ref().as_fd(), &mut bytes));
            let Ok(count) = read else { continue };
            for info in bytes.get(..count?).unwrap_or_default().chunks_exact(INFO_BYTES) {
                if stop_is_meant(info) {
                    crate::stop::begin(&init);
                }
            }
            init.childless.send_replace(init.reaper.reap());
        }
    }
}

/// By the kernel's own call: libraries keep a few signals to themselves.
fn set_default(signal: libc::c_int) {
    // The kernel's structure with nothing set, which is the default.
    let action = [0_u64; 4];
    let mask_bytes = 8_usize;
    let before = std::ptr::null_mut::<u64>();
    // SAFETY: the kernel reads one structure of that size, and writes none. KILL and
    // STOP are refused, which is fine.
    unsafe {
        libc::syscall(libc::SYS_rt_sigaction, signal, action.as_ptr(), before, mask_bytes);
    }
}

/// Gives a child what a program expects. Called between fork and exec.
pub(crate) fn reset_for_program() {
    // SAFETY: installs no handler; the set is initialised before it is used.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        let mut none = MaybeUninit::uninit();
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut());
    }
}

/// Whether this is a request to stop. As PID 1 only one from outside counts: a
/// process of another namespace has no id here, so the kernel says 0.
fn stop_is_meant(info: &[u8]) -> bool {
    let field = |at: usize| {
        let bytes = info.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map(u32::from_ne_bytes).unwrap_or_default()
    };
    let signal = field(std::mem::offset_of!(libc::signalfd_siginfo, ssi_signo));
    let sender = field(std::mem::offset_of!(libc::signalfd_siginfo, ssi_pid));
    let ends = [libc::SIGTERM.unsigned_abs(), libc::SIGINT.unsigned_abs()].contains(&signal);
    ends && (sender == 0 || sys::own_pid() != 1)
}
