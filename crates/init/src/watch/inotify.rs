//! The kernel's side.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::sys;

/// What is watched for in every directory.
const MASK: u32 = libc::IN_CREATE
    | libc::IN_DELETE
    | libc::IN_MODIFY
    | libc::IN_MOVED_FROM
    | libc::IN_MOVED_TO
    | libc::IN_DELETE_SELF
    | libc::IN_MOVE_SELF
    | libc::IN_ONLYDIR
    | libc::IN_DONT_FOLLOW
    | libc::IN_EXCL_UNLINK;

/// Room for what is read at once; the longest event takes 272 bytes.
const READ_BYTES: usize = 16 * 1024;

/// Number of a watch.
pub(super) type Watch = libc::c_int;

/// An inotify instance.
pub(super) struct Inotify {
    fd: AsyncFd<OwnedFd>,
}

/// One event.
pub(super) struct Event<'a> {
    /// In which directory, or -1.
    pub(super) watch: Watch,
    /// What happened, in bits.
    pub(super) mask: u32,
    /// What the two halves of a rename have in common.
    pub(super) cookie: u32,
    /// To which of its entries; empty: to itself.
    pub(super) name: &'a OsStr,
}

impl Event<'_> {
    pub(super) fn is(&self, bits: u32) -> bool {
        self.mask & bits != 0
    }
}

impl Inotify {
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: takes flags and answers a descriptor.
        let fd = unsafe { libc::inotify_init1(libc::IN_NONBLOCK | libc::IN_CLOEXEC) };
        let fd = sys::check(fd)?;
        // SAFETY: the descriptor was made just now and is nobody else's.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self { fd: sys::watch(fd, Interest::READABLE)? })
    }

    /// Watches a directory; one that is watched already keeps its number.
    pub(super) fn add(&self, path: &Path) -> io::Result<Watch> {
        let path = CString::new(path.as_os_str().as_bytes())?;
        let fd = self.fd.get_ref().as_raw_fd();
        // SAFETY: the path ends in NUL and lives through the call.
        sys::check(unsafe { libc::inotify_add_watch(fd, path.as_ptr(), MASK) })
    }

    /// Ends a watch; the kernel may have done so already.
    pub(super) fn remove(&self, watch: Watch) {
        // SAFETY: takes two numbers.
        unsafe { libc::inotify_rm_watch(self.fd.get_ref().as_raw_fd(), watch) };
    }

    /// Waits until there is something to read.
    pub(super) async fn readable(&self) -> io::Result<()> {
        loop {
            let mut ready = self.fd.readable().await?;
            if sys::polls(self.fd.as_fd(), libc::POLLIN) {
                return Ok(());
            }
            // It was all read before: the kernel tells of the next event again.
            ready.clear_ready();
        }
    }

    /// Reads once what is there into `buffer`; false when there is nothing.
    pub(super) fn read(&self, buffer: &mut Vec<u8>) -> io::Result<bool> {
        buffer.resize(READ_BYTES, 0);
        match sys::read(self.fd.as_fd(), buffer) {
            Ok(count) => {
                buffer.truncate(count);
                Ok(count > 0)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// The events in what was read.
pub(super) fn events(mut bytes: &[u8]) -> impl Iterator<Item = Event<'_>> {
    const HEAD: usize = size_of::<libc::inotify_event>();
    std::iter::from_fn(move || {
        let number = |at: usize| {
            let four = bytes.get(at..at + 4)?;
            Some(u32::from_ne_bytes(four.try_into().ok()?))
        };
        let (watch, mask, cookie, length) = (number(0)?, number(4)?, number(8)?, number(12)?);
        let end = HEAD + usize::try_from(length).ok()?;
        let name = bytes.get(HEAD..end)?;
        // It is filled up with zeros.
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        bytes = &bytes[end..];
        let watch = Watch::from_ne_bytes(watch.to_ne_bytes());
        Some(Event { watch, mask, cookie, name: OsStr::from_bytes(name) })
    })
}
