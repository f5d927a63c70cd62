//! The few system calls that the standard library does not offer, as safe functions.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Id of a process.
pub(crate) type Pid = libc::pid_t;

/// Turns the answer of a system call into a result.
pub(crate) fn check(answer: libc::c_int) -> io::Result<libc::c_int> {
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(answer) }
}

/// Number of the last error of this thread.
pub(crate) fn errno() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// Sends a signal to a process; to a group when `pid` is negative.
pub(crate) fn kill(pid: Pid, signal: i32) -> io::Result<()> {
    // SAFETY: takes two numbers and touches no memory of ours.
    check(unsafe { libc::kill(pid, signal) }).map(drop)
}

/// Our own id.
pub(crate) fn own_pid() -> Pid {
    // SAFETY: always succeeds and touches no memory.
    unsafe { libc::getpid() }
}

/// Our own process group.
pub(crate) fn own_group() -> Pid {
    // SAFETY: always succeeds and touches no memory.
    unsafe { libc::getpgrp() }
}

/// Bytes that a read of this pipe would find now.
pub(crate) fn readable_bytes(fd: BorrowedFd<'_>) -> usize {
    let mut count: libc::c_int = 0;
    // SAFETY: FIONREAD writes one int, and `count` is one.
    let answer = unsafe { libc::ioctl(fd.as_raw_fd(), libc::FIONREAD, &raw mut count) };
    if answer < 0 { 0 } else { usize::try_from(count).unwrap_or(0) }
}

/// Whether one of these poll events holds for the descriptor now.
pub(crate) fn polls(fd: BorrowedFd<'_>, events: libc::c_short) -> bool {
    let mut poll = libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 };
    // SAFETY: one valid pollfd, and a count of one.
    let answer = unsafe { libc::poll(&raw mut poll, 1, 0) };
    answer > 0 && poll.revents & events != 0
}

/// Reads once into `buffer`.
pub(crate) fn read(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the kernel writes at most `len` bytes into a buffer of that length.
    let count = unsafe { libc::read(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// Writes once from `bytes`.
pub(crate) fn write(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: the kernel reads at most `len` bytes of a slice of that length.
    let count = unsafe { libc::write(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// Sends bytes on a unix socket, and with the first of them a descriptor.
pub(crate) fn send_with(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    passed: BorrowedFd<'_>,
) -> io::Result<usize> {
    const FD_BYTES: u32 = size_of::<libc::c_int>() as u32;
    // A head of sixteen bytes and one descriptor, aligned as heads are.
    let mut control = [0_u64; 3];
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: all zeroes is a message with no parts. The kernel only reads `bytes`; `control`
    // is as large as CMSG_SPACE says, so that there is a first head and room behind it.
    let count = unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = libc::CMSG_SPACE(FD_BYTES) as _;
        let head = libc::CMSG_FIRSTHDR(&raw const message);
        (*head).cmsg_level = libc::SOL_SOCKET;
        (*head).cmsg_type = libc::SCM_RIGHTS;
        (*head).cmsg_len = libc::CMSG_LEN(FD_BYTES) as _;
        libc::CMSG_DATA(head).cast::<libc::c_int>().write_unaligned(passed.as_raw_fd());
        libc::sendmsg(socket.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL)
    };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// Lets the runtime watch a descriptor, which has to be non-blocking to be of use.
pub(crate) fn watch(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the descriptor is owned, so it stays open and the same until the
    // result is dropped.
    Ok(unsafe { AsyncFd::register_with_interest(fd, interest) }?)
}

/// Gives memory that is free back to the kernel, after something large has ended.
pub(crate) fn trim_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: touches only what the allocator has free.
    unsafe {
        libc::malloc_trim(0);
    }
}
