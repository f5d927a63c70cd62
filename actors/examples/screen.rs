//! How fast a terminal's screen follows its output, and what a snapshot costs.
//!
//! `cargo run --release -p sandtree-actors --example screen`

use std::time::Instant;

use bytes::Bytes;
use sandtree_actors::fanout::Fanout;
use sandtree_actors::screen::Screen;
use sandtree_actors::view::Cursor;
use sandtree_wire::Size;

const OUTPUT_BYTES: usize = 64 << 20;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let line = "\x1b[1;32mcompiling\x1b[m some-crate v1.2.3 (/workspace/some/path/of/a/crate)\r\n";
    let plain = "some words of plain text without any colour, as a log has them, line by line\r\n";
    for (name, line) in [("coloured", line), ("plain", plain)] {
        for (cols, rows) in [(80, 24), (200, 50)] {
            run(name, line, Size { cols, rows }).await;
        }
    }
}

async fn run(name: &str, line: &str, size: Size) {
    let output = Bytes::from(line.repeat(OUTPUT_BYTES / line.len()));
    let start = Cursor { epoch: 1, offset: 0 };
    let fanout = Fanout::new(OUTPUT_BYTES, start);
    let screen = Screen::new(start, size);
    let reader = fanout.join(start);
    fanout.push(output.clone());
    drop(fanout);
    let began = Instant::now();
    screen.clone().follow(reader, None).await;
    let followed = output.len() as f64 / began.elapsed().as_secs_f64() / 1e6;
    let began = Instant::now();
    let bytes = (0..100).map(|_| screen.snapshot().bytes.len()).max().unwrap_or_default();
    let snapshot = began.elapsed().as_secs_f64() * 1e4;
    println!(
        "{name:8}  {}x{}  follows {followed:4.0} MB/s  snapshot {snapshot:4.0} us, {bytes} bytes",
        size.cols, size.rows,
    );
}
