//! From a workspace to this machine. Files come in an archive as well, because it has
//! their permissions and times.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use hyper::Method;
use sandtree_client::{Client, ClientError, Streaming, path as encode_path, query};
use tokio::sync::mpsc;

use super::at;
use super::place::Remote;
use crate::cli::failed::Failed;
use crate::cli::progress::Copied;
use crate::cli::remote::{project, say};

/// Pieces that wait to be unpacked.
const PIECES_MAX: usize = 8;
/// Names that are tried for a file on its way.
const NAMES_MAX: u32 = 100;

/// Writes a file to standard output; its size.
pub(super) async fn stdout(client: &Client, from: &Remote) -> Result<u64, Failed> {
    let path = project(&from.project, &format!("files/{}", encode_path(&from.path)));
    let answer = client.request(Method::GET, &path).stream().await;
    let mut answer = answer.map_err(Failed::about(from))?;
    let mut size = 0;
    while let Some(piece) = answer.next().await? {
        size += piece.len() as u64;
        say(piece).await?;
    }
    Ok(size)
}

/// Writes a file, which appears whole or not at all; its size.
///
/// A link is followed, and stays. What is no file, such as a pipe or `/dev/null`, is
/// written into and never replaced.
pub(super) async fn file(client: &Client, from: &Remote, to: &Path) -> Result<u64, Failed> {
    let unwritable = |error: io::Error| Failed::here(to.display(), &error);
    let target = Target::of(to).map_err(unwritable)?;
    let answer = archive(client, from).await?;
    let name = from.name().to_owned();
    match target {
        Target::File(real) => {
            let (file, staged) = Staged::beside(&real).map_err(unwritable)?;
            let shown = to.to_owned();
            let write = move |from| at(&shown, one_file(from, file));
            let (size, _) = unpack(answer, name, write).await?;
            staged.commit(&real).map_err(unwritable)?;
            Ok(size)
        }
        Target::Special => {
            let to = to.to_owned();
            let write = move |from| {
                // A pipe may wait here for who reads it.
                let mut special = at(&to, File::options().write(true).open(&to))?;
                at(&to, content(from, &mut special))?.size()
            };
            unpack(answer, name, write).await.map(|(size, _)| size)
        }
    }
}

/// What is there already where a file is to be.
enum Target {
    /// A file, or nothing: here, once all links are followed.
    File(PathBuf),
    /// A pipe, a device, or a socket.
    Special,
}

impl Target {
    fn of(path: &Path) -> io::Result<Self> {
        match fs::metadata(path) {
            Ok(there) if there.is_file() => fs::canonicalize(path).map(Target::File),
            Ok(there) if there.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
            Ok(_) => Ok(Target::Special),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !path.is_symlink() => {
                Ok(Target::File(path.to_owned()))
            }
            Err(error) => Err(error),
        }
    }
}

/// Unpacks a directory of the workspace into a folder, which is made if it is missing;
/// how many bytes its archive had.
pub(super) async fn folder(client: &Client, from: &Remote, to: &Path) -> Result<u64, Failed> {
    let answer = archive(client, from).await?;
    let folder = to.to_owned();
    let write = move |from| {
        let mut archive = tar::Archive::new(from);
        archive.set_preserve_permissions(true);
        // The archive comes from a sandbox: the library takes no member that would
        // land outside the folder, nor one that goes through a link.
        archive.unpack(&folder)
    };
    unpack(answer, from.name().to_owned(), write).await.map(|((), came)| came)
}

async fn archive(client: &Client, from: &Remote) -> Result<Streaming, Failed> {
    let mut pairs = vec![("format", "tar")];
    if !from.path.is_empty() {
        pairs.push(("path", &from.path));
    }
    let path = project(&from.project, &format!("archive{}", query(&pairs)));
    client.request(Method::GET, &path).stream().await.map_err(Failed::about(from))
}

/// Gives an answer to what unpacks it, as it comes; what that says, and how many bytes
/// came.
async fn unpack<T: Send + 'static>(
    mut answer: Streaming,
    name: String,
    work: impl FnOnce(Incoming) -> io::Result<T> + Send + 'static,
) -> Result<(T, u64), Failed> {
    let (sender, pieces) = mpsc::channel(PIECES_MAX);
    let unpacking =
        tokio::task::spawn_blocking(move || work(Incoming { pieces, piece: Bytes::new() }));
    let mut progress = Copied::new(name, answer.length());
    let mut broken = None;
    loop {
        match answer.next().await {
            Ok(Some(piece)) => {
                progress.add(piece.len());
                if sender.send(Some(piece)).await.is_err() {
                    break;
                }
            }
            Ok(None) => {
                // Who has read enough does not wait for the end.
                let _ = sender.send(None).await;
                break;
            }
            Err(error) => {
                broken = Some(error);
                break;
            }
        }
    }
    drop(sender);
    let unpacked = unpacking.await.map_err(|error| Failed::Other(error.into()))?;
    match (unpacked, broken) {
        (_, Some(error)) => Err(ClientError::into(error)),
        (Ok(done), None) => Ok((done, progress.done())),
        (Err(error), None) => Err(Failed::Other(chain(&error).into())),
    }
}

/// What an error says, with its causes: the tar library hides them.
fn chain(error: &io::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.get_ref().and_then(|inner| inner.source());
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

/// Writes the one file of an archive, with its permissions and its time; its size.
fn one_file(from: Incoming, mut to: File) -> io::Result<u64> {
    let header = content(from, &mut to)?;
    to.set_permissions(fs::Permissions::from_mode(header.mode()? & 0o777))?;
    let modified = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(header.mtime()?));
    modified.map_or(Ok(()), |modified| to.set_modified(modified))?;
    header.size()
}

/// Writes what the one file of an archive has; its header.
fn content(from: Incoming, to: &mut File) -> io::Result<tar::Header> {
    let mut archive = tar::Archive::new(from);
    let none = || io::Error::other("the server's archive has no file in it");
    let mut entry = archive.entries()?.next().ok_or_else(none)??;
    if !entry.header().entry_type().is_file() {
        return Err(none());
    }
    let size = entry.size();
    let copied = io::copy(&mut entry, to)?;
    if copied != size {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(entry.header().clone())
}

/// What has come of an answer. Its end has to be told: pieces that just stop are an
/// error.
struct Incoming {
    pieces: mpsc::Receiver<Option<Bytes>>,
    piece: Bytes,
}

impl Read for Incoming {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.pieces.blocking_recv() {
                Some(Some(piece)) => self.piece = piece,
                Some(None) => return Ok(0),
                None => return Err(io::Error::other("it broke off")),
            }
        }
        let count = into.len().min(self.piece.len());
        into[..count].copy_from_slice(&self.piece.split_to(count));
        Ok(count)
    }
}

/// A file on its way, beside the one that it will be. It is removed when this is
/// dropped before that.
struct Staged {
    path: PathBuf,
    is_done: bool,
}

impl Staged {
    fn beside(target: &Path) -> io::Result<(File, Self)> {
        let mut number = 0;
        loop {
            // Without the target's name, which may be as long as a name can be.
            let path =
                target.with_file_name(format!(".sandtree-cp-{}-{number}", std::process::id()));
            let opened = File::options().write(true).create_new(true).mode(0o600).open(&path);
            match opened {
                Ok(file) => return Ok((file, Self { path, is_done: false })),
                Err(error)
                    if error.kind() == io::ErrorKind::AlreadyExists && number < NAMES_MAX =>
                {
                    number += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn commit(mut self, target: &Path) -> io::Result<()> {
        fs::rename(&self.path, target)?;
        self.is_done = true;
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.is_done {
            // It may be gone already.
            let _ = fs::remove_file(&self.path);
        }
    }
}
