//! A terminal of this machine, with nothing in between.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use tokio::io::unix::AsyncFd;
use tokio::process::{Child, Command};

/// The image's shell on a terminal of this machine; dropping it ends the shell.
pub(crate) struct Local {
    terminal: AsyncFd<OwnedFd>,
    _shell: Child,
}

impl Local {
    /// The image is made from this machine's busybox, so its shell is the same.
    pub(super) fn open() -> io::Result<Self> {
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
        grantpt(&terminal)?;
        unlockpt(&terminal)?;
        let name = ptsname(&terminal, Vec::new())?;
        let name = name.to_str().map_err(io::Error::other)?;
        let shell = File::options().read(true).write(true).open(name)?;
        let shell = Command::new("busybox")
            .args(["setsid", "-c", "busybox", "sh"])
            .env("TERM", "xterm-256color")
            .stdin(shell.try_clone()?)
            .stdout(shell.try_clone()?)
            .stderr(shell)
            .kill_on_drop(true)
            .spawn()?;
        fcntl_setfl(&terminal, fcntl_getfl(&terminal)? | OFlags::NONBLOCK)?;
        #[expect(deprecated, reason = "its successor is unsafe; this descriptor stays the same")]
        let terminal = AsyncFd::new(terminal)?;
        Ok(Self { terminal, _shell: shell })
    }

    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<()> {
        // What a person types always fits.
        rustix::io::write(self.terminal.as_fd(), bytes)?;
        Ok(())
    }

    pub(super) async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut ready = self.terminal.readable().await?;
            let read = ready.try_io(|fd| Ok(rustix::io::read(fd.as_fd(), &mut *buffer)?));
            if let Ok(count) = read {
                return count;
            }
        }
    }
}
