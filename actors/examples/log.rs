//! How fast a process's log is written and read back.
//!
//! `cargo run --release -p sandtree-actors --example log -- <directory on a disk>`

use std::path::{Path, PathBuf};
use std::time::Instant;

use sandtree_actors::log::{LogReader, LogSettings, LogWriter, Tail};
use sandtree_actors::tree::LogItem;
use sandtree_actors::view::Cursor;
use sandtree_model::Answer;
use sandtree_wire::frame::RecordHead;
use tokio::sync::watch;

const LOG_BYTES: usize = 56 << 20;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = std::env::args().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    for record_bytes in [100, 4 << 10, 64 << 10] {
        let log = dir.join(format!("log-example-{record_bytes}"));
        run(&log, record_bytes).await?;
        std::fs::remove_dir_all(&log)?;
    }
    Ok(())
}

async fn run(dir: &Path, record_bytes: usize) -> Result<(), Box<dyn std::error::Error>> {
    let mut writer = LogWriter::open(dir, LogSettings::default())?;
    let record = vec![b'x'; record_bytes];
    let began = Instant::now();
    for offset in (0..LOG_BYTES as u64).step_by(record_bytes) {
        writer.append(1, RecordHead { offset, at: 0, stream: 1 }, &record)?;
    }
    writer.flush()?;
    let written = rate(LOG_BYTES, began);
    writer.sync()?;
    let synced = rate(LOG_BYTES, began);

    let (_grown, seen) = watch::channel(0);
    let began = Instant::now();
    let read = read_all(&mut LogReader::new(dir.to_path_buf(), None, seen.clone())).await?;
    let read_rate = rate(read, began);
    let end = writer.end().ok_or("nothing was written")?;
    let began = Instant::now();
    let near_end = Cursor { offset: end.offset - 1, ..end };
    LogReader::new(dir.to_path_buf(), Some(near_end), seen.clone()).next().await?;
    let seek_ms = began.elapsed().as_secs_f64() * 1e3;
    let began = Instant::now();
    LogReader::tail(dir.to_path_buf(), Tail { records: 100, bytes: 1 << 20 }, seen).await?;
    let tail_ms = began.elapsed().as_secs_f64() * 1e3;
    let began = Instant::now();
    LogWriter::open(dir, LogSettings::default())?;
    let open_ms = began.elapsed().as_secs_f64() * 1e3;
    println!(
        "records of {record_bytes:5}: write {written:5.0} MB/s, with sync {synced:5.0} MB/s, \
         read {read_rate:5.0} MB/s, worst seek {seek_ms:4.1} ms, tail {tail_ms:4.1} ms, \
         open {open_ms:4.1} ms",
    );
    Ok(())
}

async fn read_all(reader: &mut LogReader) -> Answer<usize> {
    let mut read = 0;
    while let Some(item) = reader.next().await? {
        if let LogItem::Record(record) = item {
            read += record.bytes.len();
        }
    }
    Ok(read)
}

fn rate(bytes: usize, began: Instant) -> f64 {
    bytes as f64 / began.elapsed().as_secs_f64() / 1e6
}
