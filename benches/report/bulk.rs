//! Large bodies, as cheaply as a client can move them: on threads that block, with as few copies as
//! there can be, and with the disk at work meanwhile. What is measured is the server.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Write};
use std::net::TcpStream;
use std::num::NonZeroU64;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use rustix::fs::{Advice, fadvise, sendfile};
use rustix::io::Errno;

/// Most bytes of one read, and of one write to the file: larger ones are no faster, and slower where
/// the host of a virtual machine has taken back the memory that they need.
const PIECE_BYTES: usize = 128 * 1024;
/// How much of a file the disk is given at a time.
const GIVEN_BYTES: u64 = 8 * 1024 * 1024;
/// Longest silence of the server.
const SILENCE_MAX: Duration = Duration::from_secs(120);

/// `PUT`s a file.
pub(crate) fn send(address: &str, path: &str, file: &Path) -> anyhow::Result<Duration> {
    let body = File::open(file)?;
    let length = body.metadata()?.len();
    let began = Instant::now();
    let mut stream = connect(address)?;
    let head = format!(
        "PUT {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    move_to(&stream, &body, length)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.starts_with("HTTP/1.1 2"), "PUT {path}: {answer}");
    Ok(began.elapsed())
}

/// `GET`s into a file and waits for the disk.
pub(crate) fn receive(address: &str, path: &str, file: &Path) -> anyhow::Result<Duration> {
    let mut target = Target::create(file)?;
    let began = Instant::now();
    let mut stream = connect(address)?;
    let head = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    let mut stream = BufReader::with_capacity(PIECE_BYTES, stream);
    let (mut length, mut line) = (None, String::new());
    while stream.read_line(&mut line)? > 2 {
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        ensure!(!name.starts_with("HTTP/1.1 4"), "GET {path}: {line}");
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().ok();
        }
        line.clear();
    }
    match length {
        Some(length) => whole(&mut stream, length, &mut target)?,
        None => chunks(&mut stream, &mut target).with_context(|| format!("GET {path}"))?,
    }
    target.file.sync_all()?;
    Ok(began.elapsed())
}

/// A file whose bytes go to the disk while more of them come.
struct Target {
    file: File,
    written: u64,
    given: u64,
}

impl Target {
    fn create(file: &Path) -> io::Result<Self> {
        Ok(Self { file: File::create(file)?, written: 0, given: 0 })
    }
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(&bytes[..bytes.len().min(PIECE_BYTES)])?;
        self.written += count as u64;
        let waiting = NonZeroU64::new(self.written - self.given);
        if waiting.is_some_and(|bytes| bytes.get() >= GIVEN_BYTES) {
            // Written at once, without waiting for it, and kept in memory until it is.
            fadvise(&self.file, self.given, waiting, Advice::DontNeed)?;
            self.given = self.written;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// The kernel moves the bytes. `io::copy` would read and write them, 8 KiB at a time: a file may
/// change while it lies in a socket.
fn move_to(stream: &TcpStream, file: &File, mut length: u64) -> anyhow::Result<()> {
    while length > 0 {
        let count = usize::try_from(length)?;
        let moved = match sendfile(stream, file, None, count) {
            Err(Errno::INTR) => continue,
            moved => moved?,
        };
        ensure!(moved > 0, "the file ends {length} bytes early");
        length -= moved as u64;
    }
    Ok(())
}

fn connect(address: &str) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(SILENCE_MAX))?;
    stream.set_write_timeout(Some(SILENCE_MAX))?;
    Ok(stream)
}

/// A body whose length is told in the head.
fn whole(
    stream: &mut BufReader<TcpStream>,
    mut length: u64,
    target: &mut Target,
) -> anyhow::Result<()> {
    while length > 0 {
        // As much as there is; `io::copy` would move 8 KiB at a time here.
        let there = stream.fill_buf()?;
        ensure!(!there.is_empty(), "the body ends {length} bytes early");
        let count = usize::try_from(length).unwrap_or(usize::MAX).min(there.len());
        target.write_all(&there[..count])?;
        stream.consume(count);
        length -= count as u64;
    }
    Ok(())
}

/// A body whose length is told piece by piece.
fn chunks(stream: &mut BufReader<TcpStream>, target: &mut Target) -> anyhow::Result<()> {
    let (mut line, mut piece) = (String::new(), Vec::new());
    loop {
        line.clear();
        stream.read_line(&mut line)?;
        let length = usize::from_str_radix(line.trim(), 16).context("no length of a piece")?;
        // Two bytes end each piece.
        piece.resize(length + 2, 0);
        stream.read_exact(&mut piece)?;
        if length == 0 {
            return Ok(());
        }
        target.write_all(&piece[..length])?;
    }
}
