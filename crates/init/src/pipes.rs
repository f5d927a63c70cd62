//! The pipes between init and a program.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use tokio::net::unix::pipe::{Receiver, Sender};

use crate::subreaper::Stdio;

/// Init's ends; they never block.
pub(crate) struct Ours {
    /// Standard input, unless it is empty.
    pub(crate) stdin: Option<Sender>,
    /// Standard output.
    pub(crate) stdout: Receiver,
    /// Standard error.
    pub(crate) stderr: Receiver,
}

/// The program's ends; they block as programs expect. To be dropped once it runs.
pub(crate) struct Theirs {
    stdin: Option<OwnedFd>,
    stdout: OwnedFd,
    stderr: OwnedFd,
}

impl Theirs {
    /// What the program gets as 0, 1 and 2.
    pub(crate) fn stdio<'a>(&'a self, null: &'a File) -> Stdio<'a> {
        let stdin = self.stdin.as_ref().map_or(null.as_fd(), AsFd::as_fd);
        [stdin, self.stdout.as_fd(), self.stderr.as_fd()]
    }
}

/// Opens the pipes for one program, with or without input.
///
/// # Errors
///
/// When descriptors are exhausted.
pub(crate) fn open(input: bool) -> io::Result<(Ours, Theirs)> {
    let (stdin, their_stdin) = if input {
        let (theirs, ours) = io::pipe()?;
        (Some(Sender::from_owned_fd(ours.into())?), Some(theirs.into()))
    } else {
        (None, None)
    };
    let (stdout, their_stdout) = output()?;
    let (stderr, their_stderr) = output()?;
    let theirs = Theirs { stdin: their_stdin, stdout: their_stdout, stderr: their_stderr };
    Ok((Ours { stdin, stdout, stderr }, theirs))
}

fn output() -> io::Result<(Receiver, OwnedFd)> {
    let (ours, theirs) = io::pipe()?;
    Ok((Receiver::from_owned_fd(ours.into())?, theirs.into()))
}

/// Writes all bytes to a program, at the program's pace.
///
/// # Errors
///
/// When it no longer reads.
pub(crate) async fn write_all(stdin: &Sender, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        stdin.writable().await?;
        match stdin.try_write(bytes) {
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
