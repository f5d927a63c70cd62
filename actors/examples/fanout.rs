//! How fast a terminal's output goes out to its viewers.
//!
//! `cargo run --release -p sandtree-actors --example fanout`

use std::time::Instant;

use bytes::Bytes;
use sandtree_actors::fanout::{Fanout, FanoutItem, FanoutReader};
use sandtree_actors::view::Cursor;
use sandtree_model::ExitStatus;
use tokio::task::JoinSet;

const PUSHED_BYTES: u64 = 2 << 30;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    println!("viewers  stalled  chunk    push MB/s  delivered MB/s  read by each");
    for chunk_bytes in [1 << 10, 4 << 10, 64 << 10] {
        for (viewers, stalled) in [(0, 0), (1, 0), (50, 0), (50, 49)] {
            run(viewers, stalled, chunk_bytes).await;
        }
    }
}

async fn run(viewers: usize, stalled: usize, chunk_bytes: usize) {
    let start = Cursor { epoch: 1, offset: 0 };
    let fanout = Fanout::new(Fanout::RING_BYTES, start);
    let stalled_readers: Vec<_> = (0..stalled).map(|_| fanout.join(start)).collect();
    let mut readers = JoinSet::new();
    for _ in stalled..viewers {
        readers.spawn(read_all(fanout.join(start)));
    }
    let began = Instant::now();
    let pushing = tokio::spawn(push_all(fanout, chunk_bytes));
    let fanout = pushing.await;
    let push_seconds = began.elapsed().as_secs_f64();
    let read: u64 = readers.join_all().await.into_iter().sum();
    let seconds = began.elapsed().as_secs_f64();
    let reading = (viewers - stalled).max(1) as f64;
    println!(
        "{viewers:7}  {stalled:7}  {:4} KiB  {:9.0}  {:14.0}  {:9.1} %",
        chunk_bytes >> 10,
        PUSHED_BYTES as f64 / push_seconds / 1e6,
        read as f64 / seconds / 1e6,
        100.0 * read as f64 / reading / PUSHED_BYTES as f64,
    );
    drop((fanout, stalled_readers));
}

/// Pushes fresh chunks, as they come from a connection.
async fn push_all(fanout: Fanout, chunk_bytes: usize) -> Fanout {
    for pushed in (0..PUSHED_BYTES).step_by(chunk_bytes) {
        fanout.push(Bytes::from(vec![b'x'; chunk_bytes]));
        if pushed % (128 << 10) == 0 {
            tokio::task::yield_now().await;
        }
    }
    fanout.end(ExitStatus::Code(0));
    fanout
}

async fn read_all(mut reader: FanoutReader) -> u64 {
    let mut read = 0;
    while let Some(item) = reader.next().await {
        match item {
            FanoutItem::Bytes(bytes) => read += bytes.len() as u64,
            FanoutItem::Gap { .. } | FanoutItem::Fresh { .. } => {}
            FanoutItem::Ended(_) => break,
        }
    }
    read
}
