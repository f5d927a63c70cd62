//! From this machine into a workspace: a file as it is, a folder as an archive, both
//! while they are read.

use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::Method;
use sandtree_client::{Client, ClientError, Pieces, Response, path as encode_path, query};
use serde_json::Value;
use tokio::sync::mpsc;

use super::at;
use super::place::Remote;
use crate::cli::failed::Failed;
use crate::cli::progress::Copied;
use crate::cli::remote::{note, project};

/// Longest time of one copy.
pub(super) const COPY_MAX: Duration = Duration::from_secs(24 * 3600);
/// How long a copy that broke off waits to hear whether it was for a reason of its own.
const LAST_WORDS_MAX: Duration = Duration::from_secs(1);
/// Bytes of one piece on its way.
const PIECE_BYTES: usize = 64 * 1024;
/// Levels of a folder that are copied; the server takes no more.
const DEPTH_MAX: usize = 64;
/// Entries that the server did not take and that are named.
const SKIPPED_SHOWN: usize = 10;

/// Writes a file, with the permissions that it has here; its size.
pub(super) async fn file(client: &Client, from: &Path, to: &Remote) -> Result<u64, Failed> {
    let unreadable = |error: io::Error| Failed::here(from.display(), &error);
    let file = File::open(from).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    let mode = format!("{:04o}", metadata.permissions().mode() & 0o777);
    // A file that says it has nothing may have something, such as those in /proc.
    let size = Some(metadata.len()).filter(|size| *size > 0);
    let progress = Copied::new(name_of(from), size);
    let feed = move |to: mpsc::Sender<io::Result<Bytes>>| {
        let mut to = Feed::new(to, progress);
        let from: Box<dyn Read> = match size {
            Some(left) => Box::new(Exactly { from: file, left }),
            None => Box::new(file),
        };
        let copied = io::copy(&mut io::BufReader::with_capacity(PIECE_BYTES, from), &mut to);
        to.finish(copied.map(|_| ()))
    };
    put_file(client, to, &[("mode", &mode)], size, feed).await
}

/// Writes what comes from standard input; how much it was.
pub(super) async fn stdin(client: &Client, to: &Remote) -> Result<u64, Failed> {
    let progress = Copied::new("standard input", None);
    let feed = move |to: mpsc::Sender<io::Result<Bytes>>| {
        let mut to = Feed::new(to, progress);
        let copied = io::copy(&mut io::stdin().lock(), &mut to);
        to.finish(copied.map(|_| ()))
    };
    put_file(client, to, &[], None, feed).await
}

/// Unpacks a folder into a directory of the workspace; how many bytes its archive had.
pub(super) async fn folder(client: &Client, from: &Path, to: &Remote) -> Result<u64, Failed> {
    let mut pairs = vec![("format", "tar")];
    if !to.path.is_empty() {
        pairs.push(("path", &to.path));
    }
    let below = format!("archive{}", query(&pairs));
    let (folder, progress) = (from.to_owned(), Copied::new(name_of(from), None));
    let left_out = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&left_out);
    let feed = move |to: mpsc::Sender<io::Result<Bytes>>| {
        let mut tar = tar::Builder::new(Feed::new(to, progress));
        let packed = pack(&mut tar, &folder, Path::new(""), 0);
        let packed = packed.and_then(|count| {
            counted.store(count, Ordering::Relaxed);
            tar.finish()
        });
        match tar.into_inner() {
            Ok(feed) => feed.finish(packed),
            Err(error) => Err(error),
        }
    };
    let (answer, size) = put(client, to, &below, "application/x-tar", None, feed).await?;
    match left_out.load(Ordering::Relaxed) + tell_skipped(&answer.json()?) {
        0 => Ok(size),
        // The rest is there, but who asked for all of it has to know.
        count => {
            note(&format!("everything else was copied; left out: {count}"));
            Err(Failed::Said(1))
        }
    }
}

async fn put_file(
    client: &Client,
    to: &Remote,
    pairs: &[(&str, &str)],
    length: Option<u64>,
    feed: impl FnOnce(mpsc::Sender<io::Result<Bytes>>) -> io::Result<u64> + Send + 'static,
) -> Result<u64, Failed> {
    let below = format!("files/{}{}", encode_path(&to.path), query(pairs));
    Ok(put(client, to, &below, "application/octet-stream", length, feed).await?.1)
}

/// Puts what `feed` gives; the answer, and how much it was.
async fn put(
    client: &Client,
    to: &Remote,
    below: &str,
    media: &str,
    length: Option<u64>,
    feed: impl FnOnce(mpsc::Sender<io::Result<Bytes>>) -> io::Result<u64> + Send + 'static,
) -> Result<(Response, u64), Failed> {
    let (sender, pieces) = Pieces::new(length);
    let feeding = tokio::task::spawn_blocking(move || feed(sender));
    let path = project(&to.project, below);
    let request = client.request(Method::PUT, &path).pieces(media, pieces);
    let answer = request.answer_within(COPY_MAX).send().await;
    let answer = match answer.and_then(Response::accepted) {
        Ok(answer) => answer,
        Err(ClientError::Broken(error)) => {
            // Perhaps because there was nothing to send any more. Standard input may
            // stay open and bring nothing, which is not waited for.
            return match tokio::time::timeout(LAST_WORDS_MAX, feeding).await {
                Ok(Ok(Err(ours))) if ours.kind() != io::ErrorKind::BrokenPipe => {
                    Err(Failed::here("reading failed", &ours))
                }
                Ok(_) | Err(_) => Err(ClientError::Broken(error).into()),
            };
        }
        Err(error) => return Err(Failed::about(to)(error)),
    };
    // A server may have its answer before it has read all: it has what it needs.
    let size = feeding.await.map_err(|error| Failed::Other(error.into()))?.unwrap_or_default();
    Ok((answer, size))
}

/// Names what the server did not take; how many entries that are.
fn tell_skipped(taken: &Value) -> u64 {
    let total = taken["skipped_total"].as_u64().unwrap_or_default();
    let skipped = taken["skipped"].as_array().map(Vec::as_slice).unwrap_or_default();
    for entry in skipped.iter().take(SKIPPED_SHOWN) {
        let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
        note(&format!("not copied: {}: {}", text("name"), text("why")));
    }
    total
}

/// Adds what is in a folder. Links stay links, and what is neither file, folder nor
/// link is left out; how many those were.
fn pack(tar: &mut tar::Builder<Feed>, folder: &Path, name: &Path, depth: usize) -> io::Result<u64> {
    if depth > DEPTH_MAX {
        return Err(io::Error::other(format!("{}: nested too deep", folder.display())));
    }
    let mut entries =
        at(folder, fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>))?;
    entries.sort_by_key(fs::DirEntry::file_name);
    let mut left_out = 0;
    for entry in entries {
        let (path, name) = (entry.path(), name.join(entry.file_name()));
        let metadata = at(&path, fs::symlink_metadata(&path))?;
        let kind = metadata.file_type();
        if kind.is_dir() {
            let mut header = header(&metadata, tar::EntryType::Directory, 0);
            tar.append_data(&mut header, &name, io::empty())?;
            left_out += pack(tar, &path, &name, depth + 1)?;
        } else if kind.is_symlink() {
            let target = at(&path, fs::read_link(&path))?;
            let mut header = header(&metadata, tar::EntryType::Symlink, 0);
            tar.append_link(&mut header, &name, target)?;
        } else if kind.is_file() {
            let file = at(&path, File::open(&path))?;
            let size = metadata.len();
            let mut header = header(&metadata, tar::EntryType::Regular, size);
            at(&path, tar.append_data(&mut header, &name, Exactly { from: file, left: size }))?;
        } else {
            left_out += 1;
            note(&format!("not copied: {}: neither file, folder nor link", name.display()));
        }
    }
    Ok(left_out)
}

fn header(metadata: &Metadata, kind: tar::EntryType, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_metadata_in_mode(metadata, tar::HeaderMode::Complete);
    header.set_entry_type(kind);
    header.set_size(size);
    header
}

fn name_of(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |it| it.to_string_lossy().into())
}

/// The folder or file that a path means, for a name in the target.
pub(super) fn real_name(path: &Path) -> Result<String, Failed> {
    let whole = |path: PathBuf| path.file_name()?.to_str().map(str::to_owned);
    let name = match path.file_name() {
        Some(name) => name.to_str().map(str::to_owned),
        // `.` and `..` have no name of their own.
        None => fs::canonicalize(path).ok().and_then(whole),
    };
    name.ok_or_else(|| {
        Failed::Usage(format!("{}: its name cannot be used; name the target", path.display()))
    })
}

/// Gives exactly as many bytes as were promised, or fails.
struct Exactly<R> {
    from: R,
    left: u64,
}

impl<R: Read> Read for Exactly<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let wanted = into.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if wanted == 0 {
            return Ok(0);
        }
        let read = self.from.read(&mut into[..wanted])?;
        if read == 0 {
            return Err(io::Error::other("it became shorter while it was read"));
        }
        self.left -= read as u64;
        Ok(read)
    }
}

/// Hands over what is written, in pieces, to a request.
struct Feed {
    to: mpsc::Sender<io::Result<Bytes>>,
    buffer: BytesMut,
    progress: Copied,
}

impl Feed {
    fn new(to: mpsc::Sender<io::Result<Bytes>>, progress: Copied) -> Self {
        Self { to, buffer: BytesMut::with_capacity(PIECE_BYTES), progress }
    }

    /// The end: of all, or of what there was until something failed.
    fn finish(mut self, outcome: io::Result<()>) -> io::Result<u64> {
        match outcome.and_then(|()| self.hand_over()) {
            Ok(()) => Ok(self.progress.done()),
            Err(error) => {
                // Without it the request would look whole.
                let told = io::Error::new(error.kind(), error.to_string());
                let _ = self.to.blocking_send(Err(told));
                Err(error)
            }
        }
    }

    fn hand_over(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let piece = self.buffer.split().freeze();
        self.progress.add(piece.len());
        self.buffer.reserve(PIECE_BYTES);
        let sent = self.to.blocking_send(Ok(piece));
        sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for Feed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(PIECE_BYTES - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..taken]);
        if self.buffer.len() == PIECE_BYTES {
            self.hand_over()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
