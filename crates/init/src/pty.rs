//! The terminal that a shell sits at.

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

use sandtree_wire::Size;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::subreaper::Stdio;
use crate::sys::{self, check};

/// Init's side of a terminal.
pub(crate) struct Pty {
    master: AsyncFd<OwnedFd>,
    /// Without it a shell that closes its own would hang the terminal up for good.
    shell: OwnedFd,
}

impl Pty {
    /// Opens a terminal of this size in the sandbox's devpts.
    ///
    /// # Errors
    ///
    /// When there is no devpts, or no terminal is left in it.
    pub(crate) fn open(size: Size) -> io::Result<Self> {
        let flags = libc::O_NOCTTY | libc::O_NONBLOCK;
        let master =
            OpenOptions::new().read(true).write(true).custom_flags(flags).open("/dev/ptmx")?;
        let unlocked: libc::c_int = 0;
        // SAFETY: TIOCSPTLCK reads one int.
        check(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlocked) })?;
        let shell = open_shell_side(&master)?;
        expect_utf8(&shell);
        let interest = Interest::READABLE | Interest::WRITABLE;
        let pty = Self { master: sys::watch(master.into(), interest)?, shell };
        pty.resize(size)?;
        Ok(pty)
    }

    /// What becomes the shell's input, output and error.
    pub(crate) fn stdio(&self) -> Stdio<'_> {
        [self.shell.as_fd(); 3]
    }

    /// The same for a program that gets no input.
    pub(crate) fn stdio_without_input<'a>(&'a self, null: &'a File) -> Stdio<'a> {
        [null.as_fd(), self.shell.as_fd(), self.shell.as_fd()]
    }

    /// Sets the size; the program in the foreground gets WINCH.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub(crate) fn resize(&self, size: Size) -> io::Result<()> {
        let size =
            libc::winsize { ws_row: size.rows, ws_col: size.cols, ws_xpixel: 0, ws_ypixel: 0 };
        let master = self.master.get_ref().as_raw_fd();
        // SAFETY: TIOCSWINSZ reads one winsize.
        check(unsafe { libc::ioctl(master, libc::TIOCSWINSZ, &raw const size) }).map(drop)
    }

    /// Waits until there is output and hands at most `max` bytes of it to `take`,
    /// which are in `scratch`.
    ///
    /// # Cancel safety
    ///
    /// Safe: once there is output nothing waits.
    pub(crate) async fn collect(
        &self,
        scratch: &RefCell<Vec<u8>>,
        max: usize,
        take: impl FnOnce(&[u8]),
    ) {
        let Ok(mut ready) = self.master.readable().await else {
            return;
        };
        let mut scratch = scratch.borrow_mut();
        let max = max.min(scratch.len());
        let count = self.read_now(&mut scratch[..max]);
        if count < max {
            ready.clear_ready();
        }
        take(&scratch[..count]);
    }

    /// Reads what is there now. A terminal hands out at most 4 KiB at once, so it is
    /// asked again until it has no more.
    pub(crate) fn read_now(&self, buffer: &mut [u8]) -> usize {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match sys::read(self.master.as_fd(), rest) {
                Ok(count) if count > 0 => filled += count,
                Ok(_) | Err(_) => break,
            }
        }
        filled
    }

    /// Types all bytes, at the terminal's pace.
    ///
    /// # Errors
    ///
    /// When nobody holds the other side.
    pub(crate) async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let mut ready = self.master.writable().await?;
            if let Ok(count) = ready.try_io(|master| sys::write(master.get_ref().as_fd(), bytes)) {
                bytes = bytes.get(count?..).unwrap_or_default();
            }
        }
        Ok(())
    }
}

fn open_shell_side(master: &File) -> io::Result<OwnedFd> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: TIOCGPTPEER takes flags and returns a new descriptor, or fails.
    let fd = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags) };
    if fd >= 0 {
        // SAFETY: new, and nobody else's.
        return Ok(unsafe { OwnedFd::from_raw_fd(fd) });
    }
    let mut number: libc::c_uint = 0;
    // SAFETY: TIOCGPTN writes one unsigned int.
    check(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTN, &raw mut number) })?;
    let options = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NOCTTY).clone();
    Ok(options.open(format!("/dev/pts/{number}"))?.into())
}

/// Lets the line editor of the kernel erase whole characters. Only a nicety.
fn expect_utf8(shell: &OwnedFd) {
    let mut settings = std::mem::MaybeUninit::<libc::termios>::uninit();
    // SAFETY: tcgetattr fills the settings, which are used only if it did.
    unsafe {
        if libc::tcgetattr(shell.as_raw_fd(), settings.as_mut_ptr()) == 0 {
            let mut settings = settings.assume_init();
            settings.c_iflag |= libc::IUTF8;
            libc::tcsetattr(shell.as_raw_fd(), libc::TCSANOW, &raw const settings);
        }
    }
}
